//! A node that does what a test tells it, byte by byte.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::PATIENCE;
use super::client::find;
use super::proxy::{Proxy, free_port};

/// A node made of raw sockets. It answers health probes by itself; every other request is handed to the
/// test's script, which writes the answer.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) http: SocketAddr,
    /// The address that stands for it in request ids. Nobody listens there.
    pub(crate) kv: String,
    accepting: Accepting,
    seen: Mutex<Receiver<Seen>>,
    _registration: Registration,
}

/// The thread that takes a node's connections.
#[derive(Debug)]
struct Accepting {
    ends: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What a node reads before its script runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// The whole request.
    Everything,
    /// Its head; the body is left in the socket.
    Head,
}

/// One request as the node got it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// Number of the connection it came on, from 0.
    pub(crate) connection: usize,
}

impl Seen {
    /// The values of a field.
    pub(crate) fn fields(&self, name: &str) -> Vec<&str> {
        let lines = self
            .head
            .split("\r\n")
            .skip(1)
            .filter_map(|line| line.split_once(": "));
        lines
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }

    /// The one value of a field.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> &str {
        match self.fields(name)[..] {
            [value] => value,
            _ => panic!("not one {name} in {}", self.head),
        }
    }

    /// Its request id.
    #[track_caller]
    pub(crate) fn id(&self) -> &str {
        self.field("x-request-id")
    }

    /// Its body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }
}

/// Writes the answer to a request; false closes the connection.
type Script = dyn FnMut(&Seen, &mut TcpStream) -> bool + Send;

impl Node {
    /// A node of `role` (`"P"` or `"D"`), registered with `proxy` and kept so.
    pub(crate) fn start(
        proxy: &Proxy,
        role: &str,
        script: impl FnMut(&Seen, &mut TcpStream) -> bool + Send + 'static,
    ) -> Self {
        Self::start_reading(Reads::Everything, proxy, role, script)
    }

    /// As [`Node::start`], reading no more than `reads` before the script runs.
    pub(crate) fn start_reading(
        reads: Reads,
        proxy: &Proxy,
        role: &str,
        script: impl FnMut(&Seen, &mut TcpStream) -> bool + Send + 'static,
    ) -> Self {
        // A port of ours: one of the kernel's choice could be another connection's by the time a test
        // that has closed it binds it again.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, free_port())).unwrap();
        let http = listener.local_addr().unwrap();
        let (sender, seen) = channel();
        let script: Arc<Mutex<Box<Script>>> = Arc::new(Mutex::new(Box::new(script)));
        let ends = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&ends);
        let thread = std::thread::spawn(move || {
            for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let (script, sender) = (Arc::clone(&script), sender.clone());
                std::thread::spawn(move || serve(stream, number, reads, &script, &sender));
            }
        });
        let kv = format!("node-{}.test:21001", http.port());
        let registration = register(proxy, role, &http.to_string(), &kv);
        Self {
            http,
            kv,
            accepting: Accepting {
                ends,
                thread: Mutex::new(Some(thread)),
            },
            seen: Mutex::new(seen),
            _registration: registration,
        }
    }

    /// Closes its port: from now on it refuses connections, and stays registered.
    pub(crate) fn close_port(&self) {
        self.accepting.ends.store(true, Ordering::SeqCst);
        TcpStream::connect(self.http).expect("it accepts still");
        let thread = self.accepting.thread.lock().unwrap().take();
        thread.expect("it is closed once").join().unwrap();
    }

    /// The next request it got.
    #[track_caller]
    pub(crate) fn next(&self) -> Seen {
        self.seen
            .lock()
            .unwrap()
            .recv_timeout(PATIENCE)
            .expect("the node gets a request")
    }

    /// Whether it got a request that has not been looked at yet; that one is taken.
    pub(crate) fn got_one(&self) -> bool {
        self.seen.lock().unwrap().try_recv().is_ok()
    }

    /// Asserts that it got no other request so far.
    #[track_caller]
    pub(crate) fn assert_idle(&self) {
        if let Ok(seen) = self.seen.lock().unwrap().try_recv() {
            panic!("the node got {}", seen.head);
        }
    }
}

/// A node's announcements, once a second, until it is dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    /// Its end is the end of the announcements.
    _ends: Sender<()>,
}

/// Announces a node from a DEALER, as vLLM does.
pub(crate) fn register(proxy: &Proxy, role: &str, http: &str, kv: &str) -> Registration {
    let socket = zmq::Context::new().socket(zmq::DEALER).unwrap();
    socket.set_linger(0).unwrap();
    socket
        .connect(&format!("tcp://{}", proxy.registration()))
        .unwrap();
    let body = registration(role, http, kv);
    let (sender, ended) = channel::<()>();
    std::thread::spawn(move || {
        loop {
            socket.send(&body, 0).unwrap();
            let pause = ended.recv_timeout(std::time::Duration::from_secs(1));
            if pause == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        }
    });
    Registration { _ends: sender }
}

/// The body of a registration.
pub(crate) fn registration(role: &str, http: &str, kv: &str) -> Vec<u8> {
    let mut body = Vec::new();
    rmp::encode::write_map_len(&mut body, 3).unwrap();
    for (key, value) in [("type", role), ("http_address", http), ("zmq_address", kv)] {
        rmp::encode::write_str(&mut body, key).unwrap();
        rmp::encode::write_str(&mut body, value).unwrap();
    }
    body
}

fn serve(
    mut stream: TcpStream,
    connection: usize,
    reads: Reads,
    script: &Mutex<Box<Script>>,
    seen: &Sender<Seen>,
) {
    let mut inbox = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut inbox, connection, reads) {
        if request.head.starts_with("GET /health ") {
            let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            stream.write_all(ok).ok();
            return;
        }
        seen.send(request.clone()).ok();
        if !script.lock().unwrap()(&request, &mut stream) {
            return;
        }
    }
}

/// Reads one request framed by its length, the only way the proxy frames.
fn read_request(
    stream: &mut TcpStream,
    inbox: &mut Vec<u8>,
    connection: usize,
    reads: Reads,
) -> Option<Seen> {
    let mut more = |inbox: &mut Vec<u8>| {
        let mut buffer = [0; 16_384];
        let bytes = stream.read(&mut buffer).ok().filter(|bytes| *bytes > 0)?;
        inbox.extend_from_slice(&buffer[..bytes]);
        Some(())
    };
    let end = loop {
        match find(inbox, b"\r\n\r\n") {
            Some(at) => break at + 4,
            None => more(inbox)?,
        }
    };
    let head = String::from_utf8(inbox.drain(..end).collect()).expect("the head is UTF-8");
    let mut seen = Seen {
        head,
        body: Vec::new(),
        connection,
    };
    if reads == Reads::Head {
        inbox.clear();
        return Some(seen);
    }
    let length = seen
        .fields("content-length")
        .first()
        .map_or(0, |length| length.parse().unwrap());
    while inbox.len() < length {
        more(inbox)?;
    }
    seen.body = inbox.drain(..length).collect();
    Some(seen)
}

/// A JSON answer.
pub(crate) fn json(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// An event stream of these data, in one chunk each, ended as vLLM ends it.
pub(crate) fn events(data: &[&str]) -> Vec<u8> {
    let mut out = stream_head().to_vec();
    for data in data.iter().chain(&["[DONE]"]) {
        out.extend(event(data));
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

/// The head of an event stream.
pub(crate) fn stream_head() -> &'static [u8] {
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
      transfer-encoding: chunked\r\n\r\n"
}

/// One event, in a chunk of its own.
pub(crate) fn event(data: &str) -> Vec<u8> {
    let event = format!("data: {data}\n\n");
    format!("{:x}\r\n{event}\r\n", event.len()).into_bytes()
}
