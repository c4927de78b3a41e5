//! A raw HTTP client that shows every byte it got.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::PATIENCE;

/// One connection to the proxy.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    /// Bytes received and not yet taken for a response.
    inbox: Vec<u8>,
    /// Whether the connection ended with a reset.
    is_reset: bool,
}

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// As its framing says.
    Whole,
    /// The connection ended before.
    Cut,
}

/// One response, framing taken off.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) end: End,
    /// The head, as it came.
    pub(crate) head: String,
}

impl Response {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.fields.iter().filter(|(field, _)| field == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(
            found.next().is_none(),
            "{name} is repeated in {}",
            self.head
        );
        value
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("the body is UTF-8")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }

    /// Asserts that this is an error as OpenAI's clients expect it; its message.
    #[track_caller]
    pub(crate) fn openai_error(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}{}", self.head, self.text());
        assert_eq!(
            self.field("content-type"),
            Some("application/json"),
            "{}",
            self.head
        );
        let body = self.json();
        let error = &body["error"];
        assert_eq!(error["code"], status, "{body}");
        assert!(error["type"].is_string(), "{body}");
        assert!(
            error
                .as_object()
                .is_some_and(|error| error.contains_key("param")),
            "{body}"
        );
        error["message"].as_str().expect("a message").to_owned()
    }

    /// The data of the events of a stream.
    pub(crate) fn events(&self) -> Vec<String> {
        let text = self.text();
        let events = text
            .split("\n\n")
            .filter_map(|event| event.strip_prefix("data: "));
        events.map(str::to_owned).collect()
    }

    /// The text of a completion or chat, streamed or not, of its first choice.
    pub(crate) fn generated(&self) -> String {
        let of = |choice: &serde_json::Value| {
            let part = [
                &choice["text"],
                &choice["delta"]["content"],
                &choice["message"]["content"],
            ];
            part.iter()
                .find_map(|text| text.as_str())
                .unwrap_or_default()
                .to_owned()
        };
        if self
            .field("content-type")
            .is_some_and(|kind| kind.starts_with("text/event-stream"))
        {
            let data = self.events();
            let chunks = data.iter().filter(|data| *data != "[DONE]");
            let chunks =
                chunks.map(|data| serde_json::from_str::<serde_json::Value>(data).unwrap());
            chunks.map(|chunk| of(&chunk["choices"][0])).collect()
        } else {
            of(&self.json()["choices"][0])
        }
    }
}

/// A POST of JSON, framed by its length.
pub(crate) fn post(path: &str, body: &str) -> Vec<u8> {
    post_with(path, "", body)
}

/// As [`post`], with more fields, each ended by CRLF.
pub(crate) fn post_with(path: &str, fields: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: proxy\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n{fields}\r\n{body}"
    )
    .into_bytes()
}

pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: proxy\r\n\r\n").into_bytes()
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the proxy accepts");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            inbox: Vec::new(),
            is_reset: false,
        }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream
            .write_all(bytes.as_ref())
            .expect("the proxy reads");
        self
    }

    /// Ends our side; the proxy's may go on.
    pub(crate) fn half_close(&mut self) -> &mut Self {
        self.stream.shutdown(Shutdown::Write).unwrap();
        self
    }

    /// Sends the last bytes and ends our side in the same segment, so that the proxy learns of both at
    /// the same time.
    pub(crate) fn send_and_half_close(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let more = rustix::net::SendFlags::MORE;
        let sent = rustix::net::send(&self.stream, bytes.as_ref(), more);
        assert_eq!(sent, Ok(bytes.as_ref().len()));
        self.half_close()
    }

    /// Leaves without another word: a reset.
    pub(crate) fn reset(self) {
        reset_on_close(&self.stream);
    }

    /// The next response to anything but a HEAD.
    #[track_caller]
    pub(crate) fn response(&mut self) -> Response {
        self.read_response(false)
    }

    /// The next response to a HEAD.
    #[track_caller]
    pub(crate) fn head_response(&mut self) -> Response {
        self.read_response(true)
    }

    /// Appends what arrives next to the inbox; false at the end of the stream.
    #[track_caller]
    fn more(&mut self) -> bool {
        let mut buffer = [0; 16_384];
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(bytes) => {
                self.inbox.extend_from_slice(&buffer[..bytes]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                self.is_reset = true;
                false
            }
            Err(error) => panic!("{error}; so far {:?}", String::from_utf8_lossy(&self.inbox)),
        }
    }

    /// Reads until the inbox holds `pattern`; what came before and with it.
    #[track_caller]
    pub(crate) fn read_until(&mut self, pattern: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = find(&self.inbox, pattern) {
                return self.inbox.drain(..at + pattern.len()).collect();
            }
            let so_far = String::from_utf8_lossy(&self.inbox).into_owned();
            assert!(self.more(), "the connection ended after {so_far:?}");
        }
    }

    /// Reads until the inbox holds `pattern`, and leaves it there.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, pattern: &[u8]) {
        let mut bytes = self.read_until(pattern);
        bytes.append(&mut self.inbox);
        self.inbox = bytes;
    }

    /// Everything up to the end of the connection.
    #[track_caller]
    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.inbox)
    }

    /// Asserts that the proxy closes the connection without another byte.
    #[track_caller]
    pub(crate) fn assert_closed(&mut self) {
        let rest = self.read_to_end();
        assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
    }

    #[track_caller]
    fn read_response(&mut self, is_head: bool) -> Response {
        let head = String::from_utf8(self.read_until(b"\r\n\r\n")).expect("the head is UTF-8");
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap();
        assert!(status_line.starts_with("HTTP/1.1 "), "{head}");
        let status = status_line
            .get(9..12)
            .unwrap_or_default()
            .parse()
            .expect("a status");
        let fields: Vec<(String, String)> = lines
            .filter(|line| !line.is_empty())
            .map(|line| line.split_once(": ").expect("a field"))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut response = Response {
            status,
            fields,
            body: Vec::new(),
            end: End::Whole,
            head,
        };
        if (100..200).contains(&status) || status == 204 || status == 304 || is_head {
            return response;
        }
        let is_chunked = response.field("transfer-encoding") == Some("chunked");
        let length = response
            .field("content-length")
            .map(|length| length.parse().unwrap());
        let done = match (is_chunked, length) {
            (true, None) => self.read_chunks(&mut response.body),
            (false, Some(length)) => self.read_length(length, &mut response.body),
            (false, None) => {
                // Nothing but a reset tells a cut body from a whole one.
                response.body = self.read_to_end();
                !self.is_reset
            }
            (true, Some(_)) => panic!("two framings in {}", response.head),
        };
        response.end = if done { End::Whole } else { End::Cut };
        response
    }

    fn read_length(&mut self, length: usize, body: &mut Vec<u8>) -> bool {
        while self.inbox.len() < length {
            if !self.more() {
                body.append(&mut self.inbox);
                return false;
            }
        }
        body.extend(self.inbox.drain(..length));
        true
    }

    fn read_chunks(&mut self, body: &mut Vec<u8>) -> bool {
        loop {
            let Some(end) = self.find_or_end(b"\r\n") else {
                return false;
            };
            let line = String::from_utf8(self.inbox[..end].to_vec()).expect("a size line");
            let size = usize::from_str_radix(&line, 16).expect("a bare size line");
            self.inbox.drain(..end + 2);
            if size == 0 {
                // A part of a last chunk already says that the body is whole.
                let end = self.find_or_end(b"\r\n").expect("a whole last chunk");
                assert_eq!(end, 0, "a trailer");
                self.inbox.drain(..2);
                return true;
            }
            while self.inbox.len() < size + 2 {
                if !self.more() {
                    let have = self.inbox.len().min(size);
                    body.extend(self.inbox.drain(..have));
                    return false;
                }
            }
            body.extend(self.inbox.drain(..size));
            assert_eq!(&self.inbox[..2], b"\r\n", "the end of a chunk");
            self.inbox.drain(..2);
        }
    }

    fn find_or_end(&mut self, pattern: &[u8]) -> Option<usize> {
        loop {
            if let Some(at) = find(&self.inbox, pattern) {
                return Some(at);
            }
            if !self.more() {
                return None;
            }
        }
    }
}

/// Makes closing `stream` a reset.
pub(crate) fn reset_on_close(stream: &TcpStream) {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO)).unwrap();
}

pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}
