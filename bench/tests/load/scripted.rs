//! A raw server that answers by script and remembers what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Number of the connection, from zero.
    pub(crate) connection: usize,
    /// Start line and fields, lower-cased.
    pub(crate) head: String,
    pub(crate) body: serde_json::Value,
}

impl Seen {
    pub(crate) fn streams(&self) -> bool {
        self.body["stream"] == true
    }
}

/// What a request is answered with.
pub(crate) enum Answer {
    /// These bytes; then the next request is read.
    Keep(Vec<u8>),
    /// These bytes; then the connection is closed.
    Close(Vec<u8>),
    /// These bytes; then nothing until the client leaves, which is told in [`Server::departures`].
    Hang(Vec<u8>),
}

pub(crate) struct Server {
    address: SocketAddr,
    seen: Receiver<Seen>,
    /// Gets the connection's number when a client leaves one that hangs.
    pub(crate) departures: Receiver<usize>,
}

impl Server {
    /// Answers each request by `script` until the process ends.
    pub(crate) fn start(script: impl Fn(&Seen) -> Answer + Clone + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (see, seen) = channel();
        let (depart, departures) = channel();
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let (script, see, depart) = (script.clone(), see.clone(), depart.clone());
                thread::spawn(move || serve(stream.unwrap(), connection, script, &see, &depart));
            }
        });
        Self {
            address,
            seen,
            departures,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1/chat/completions", self.address)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// The requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.try_iter().collect()
    }
}

fn serve(
    stream: TcpStream,
    connection: usize,
    script: impl Fn(&Seen) -> Answer,
    see: &Sender<Seen>,
    depart: &Sender<usize>,
) {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader, connection) {
        let answer = script(&request);
        see.send(request).ok();
        let (Answer::Keep(bytes) | Answer::Close(bytes) | Answer::Hang(bytes)) = &answer;
        // A client that has left is part of some scripts.
        writer.write_all(bytes).ok();
        match answer {
            Answer::Keep(_) => {}
            Answer::Close(_) => return,
            Answer::Hang(_) => {
                reader.read_to_end(&mut Vec::new()).ok();
                depart.send(connection).ok();
                return;
            }
        }
    }
}

fn read_request(reader: &mut impl BufRead, connection: usize) -> Option<Seen> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return None;
        }
    }
    let head = head.to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    Some(Seen {
        connection,
        head,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    })
}

/// A whole answer with a JSON body.
pub(crate) fn json(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The head of an event stream and its events, one chunk each, without the last chunk.
pub(crate) fn event_stream(events: &[&str]) -> Vec<u8> {
    let mut answer =
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            .to_vec();
    for event in events {
        answer.extend_from_slice(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes());
    }
    answer
}
