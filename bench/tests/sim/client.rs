//! A tiny blocking HTTP client that shows what was on the wire: chunks, and how it ended.

use pd_bench::sim::Sim;
use serde_json::Value;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How a response ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// As its framing says it should.
    Complete,
    /// FIN before that.
    Cut,
    /// RST before that.
    Reset,
    /// Nothing more for as long as the client listened.
    Silent,
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    /// Chunks of a chunked body, or the whole body as one.
    pub(crate) chunks: Vec<Vec<u8>>,
    pub(crate) end: End,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.chunks.concat()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text()).expect("a JSON body")
    }

    /// The JSON of every event but `[DONE]`.
    pub(crate) fn events(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line.strip_prefix("data: ").unwrap());
        self.text()
            .split_terminator("\n\n")
            .filter(|line| *line != "data: [DONE]")
            .map(|line| parse(line).unwrap())
            .collect()
    }

    /// The text of choice `index`, whichever endpoint and whether streamed or not.
    pub(crate) fn choice(&self, index: u64) -> String {
        let values = if self.text().starts_with("data: ") {
            self.events()
        } else {
            vec![self.json()]
        };
        let choices = values
            .iter()
            .flat_map(|value| value["choices"].as_array().unwrap())
            .filter(|choice| choice["index"] == index);
        choices
            .map(|choice| {
                let text = [
                    &choice["text"],
                    &choice["delta"]["content"],
                    &choice["message"]["content"],
                ];
                text.into_iter()
                    .find_map(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect()
    }
}

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// Listens at most this long for each read.
    pub(crate) fn patience(self, limit: Duration) -> Self {
        self.stream.set_read_timeout(Some(limit)).unwrap();
        self
    }

    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &str, body: &str) {
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: sim\r\ncontent-type: application/json\r\n\
             {headers}content-length: {length}\r\n\r\n"
        );
        self.stream
            .write_all(format!("{head}{body}").as_bytes())
            .unwrap();
    }

    /// Sends bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).unwrap();
    }

    /// Reads chunks to the end; how it came.
    pub(crate) fn reply_rest(&mut self) -> End {
        loop {
            match self.chunk() {
                Ok(chunk) if chunk.is_empty() => return End::Complete,
                Ok(_) => {}
                Err(end) => return end,
            }
        }
    }

    /// Reads until `done` says so; how it ended if it did not.
    fn fill(&mut self, mut done: impl FnMut(&[u8]) -> bool) -> Result<(), End> {
        let mut piece = [0; 16 * 1024];
        while !done(&self.buffer) {
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(End::Cut),
                Ok(count) => self.buffer.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return Err(End::Reset);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(End::Silent),
                Err(error) => panic!("{error}"),
            }
        }
        Ok(())
    }

    /// Waits for the head alone; `Err` says what came instead.
    pub(crate) fn head(&mut self) -> Result<(u16, String), End> {
        let find = |buffer: &[u8]| buffer.windows(4).position(|four| four == b"\r\n\r\n");
        self.fill(|buffer| find(buffer).is_some())?;
        let at = find(&self.buffer).unwrap() + 4;
        let head: Vec<u8> = self.buffer.drain(..at).collect();
        let head = String::from_utf8(head).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Ok((status, head))
    }

    /// The next chunk; empty for the last one.
    pub(crate) fn chunk(&mut self) -> Result<Vec<u8>, End> {
        let line = |buffer: &[u8]| buffer.windows(2).position(|two| two == b"\r\n");
        self.fill(|buffer| line(buffer).is_some())?;
        let at = line(&self.buffer).unwrap();
        let size = std::str::from_utf8(&self.buffer[..at]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        self.fill(|buffer| buffer.len() >= at + size + 4)?;
        let chunk = self.buffer[at + 2..at + 2 + size].to_vec();
        self.buffer.drain(..at + size + 4);
        Ok(chunk)
    }

    /// Reads a whole response.
    pub(crate) fn reply(&mut self) -> Reply {
        let (status, head) = match self.head() {
            Ok(found) => found,
            Err(end) => {
                return Reply {
                    status: 0,
                    head: String::new(),
                    chunks: Vec::new(),
                    end,
                };
            }
        };
        let mut chunks = Vec::new();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map(|length| length.parse::<usize>().unwrap());
        let end = if let Some(length) = length {
            let end = self.fill(|buffer| buffer.len() >= length);
            chunks.push(self.buffer.drain(..length.min(self.buffer.len())).collect());
            end.err().unwrap_or(End::Complete)
        } else {
            loop {
                match self.chunk() {
                    Ok(chunk) if chunk.is_empty() => break End::Complete,
                    Ok(chunk) => chunks.push(chunk),
                    Err(end) => break end,
                }
            }
        };
        Reply {
            status,
            head,
            chunks,
            end,
        }
    }

    /// How the connection ends when nothing more is asked.
    pub(crate) fn end(&mut self) -> End {
        match self.fill(|buffer| !buffer.is_empty()) {
            Err(end) => end,
            Ok(()) => panic!("bytes of no response"),
        }
    }
}

/// One request on a connection of its own.
pub(crate) fn ask(sim: &Sim, method: &str, path: &str, headers: &str, body: &str) -> Reply {
    let mut client = Client::to(sim.http_addr());
    client.send(method, path, headers, body);
    client.reply()
}

pub(crate) fn get(sim: &Sim, path: &str) -> Reply {
    ask(sim, "GET", path, "", "")
}

pub(crate) fn post(sim: &Sim, path: &str, body: &Value) -> Reply {
    ask(sim, "POST", path, "", &body.to_string())
}

/// A generation request under an id.
pub(crate) fn post_as(sim: &Sim, path: &str, id: &str, body: &Value) -> Reply {
    let header = format!("x-request-id: {id}\r\n");
    ask(sim, "POST", path, &header, &body.to_string())
}

/// The value of a metric without labels of its own.
pub(crate) fn metric(sim: &Sim, name: &str) -> f64 {
    let page = get(sim, "/metrics").text();
    let line = page
        .lines()
        .find(|line| line.starts_with(&format!("{name}{{")))
        .expect("the metric");
    line.rsplit(' ').next().unwrap().parse().unwrap()
}
