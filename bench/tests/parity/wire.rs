//! Raw HTTP/1.1 with a deadline: what a node said, and how it fell silent.

use serde_json::Value;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How listening ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The node closed the connection.
    Closed,
    /// Patience ran out.
    Silent,
    /// There was no connection, or it was reset.
    Gone,
}

/// What came back for one request.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: Option<u16>,
    pub(crate) body: String,
    pub(crate) end: End,
}

/// One connection that carries one request.
#[derive(Debug)]
pub(crate) struct Call {
    stream: Option<TcpStream>,
    bytes: Vec<u8>,
}

impl Call {
    /// Sends a request. `headers` are whole lines, each with its line end.
    pub(crate) fn send(
        to: SocketAddr,
        (method, path): (&str, &str),
        headers: &str,
        body: &str,
    ) -> Self {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: node\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let stream = TcpStream::connect(to).ok().and_then(|mut stream| {
            stream.set_nodelay(true).ok()?;
            stream.write_all(request.as_bytes()).ok()?;
            Some(stream)
        });
        Self {
            stream,
            bytes: Vec::new(),
        }
    }

    /// Reads until `needle` was seen; how listening ended if it was not.
    pub(crate) fn until(&mut self, needle: &str, patience: Duration) -> Result<(), End> {
        let deadline = Instant::now() + patience;
        while !String::from_utf8_lossy(&self.bytes).contains(needle) {
            self.read(deadline)?;
        }
        Ok(())
    }

    /// Reads until the node closes the connection or patience runs out.
    pub(crate) fn reply(mut self, patience: Duration) -> Reply {
        let deadline = Instant::now() + patience;
        let end = loop {
            if let Err(end) = self.read(deadline) {
                break end;
            }
        };
        let text = String::from_utf8_lossy(&self.bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let chunked = head
            .to_ascii_lowercase()
            .contains("transfer-encoding: chunked");
        Reply {
            status: head.split(' ').nth(1).and_then(|code| code.parse().ok()),
            body: if chunked {
                unchunk(body)
            } else {
                body.to_owned()
            },
            end,
        }
    }

    /// One read; what is known of the connection when there is nothing more.
    pub(crate) fn read(&mut self, deadline: Instant) -> Result<(), End> {
        let stream = self.stream.as_mut().ok_or(End::Gone)?;
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(End::Silent);
        }
        stream.set_read_timeout(Some(left)).unwrap();
        let mut piece = [0; 16 * 1024];
        match stream.read(&mut piece) {
            Ok(0) => Err(End::Closed),
            Ok(count) => {
                self.bytes.extend_from_slice(&piece[..count]);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(End::Silent),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(_) => Err(End::Gone),
        }
    }
}

/// The chunks of a body, joined; what was cut short is left as far as it came.
fn unchunk(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, tail)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap_or(0);
        let Some(chunk) = tail.get(..size).filter(|_| size > 0) else {
            break;
        };
        body.push_str(chunk);
        rest = tail.get(size + 2..).unwrap_or_default();
    }
    body
}

impl Reply {
    /// In a few words: the status, and what of the body is the same on every node.
    pub(crate) fn told(&self) -> String {
        let Some(status) = self.status else {
            return match self.end {
                End::Silent => "silence".to_owned(),
                End::Closed | End::Gone => "cut".to_owned(),
            };
        };
        let mut facts = vec![status.to_string()];
        if self.body.starts_with("data: ") {
            facts.push("stream".to_owned());
            for event in self.body.split_terminator("\n\n") {
                match event.strip_prefix("data: ") {
                    Some("[DONE]") => facts.push("[DONE]".to_owned()),
                    Some(json) => facts.extend(facts_of(json)),
                    None => facts.push(format!("not an event: {event}")),
                }
            }
        } else {
            facts.extend(facts_of(&self.body));
        }
        if self.end == End::Silent {
            facts.push("silence".to_owned());
        }
        facts.join(", ")
    }
}

/// The error of a JSON text, or its usage.
fn facts_of(json: &str) -> Option<String> {
    let value: Value = serde_json::from_str(json).ok()?;
    if let Some(error) = value.get("error") {
        let word = |name| error[name].as_str().unwrap_or("null").to_owned();
        return Some(format!(
            "{} param {} code {}",
            word("type"),
            word("param"),
            error["code"]
        ));
    }
    let tokens = value["usage"]["completion_tokens"].as_u64()?;
    Some(format!("{tokens} tokens"))
}
