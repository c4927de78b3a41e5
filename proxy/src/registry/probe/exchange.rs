//! What a probe says and hears, without a socket.

use crate::limits;
use crate::nodes::HttpAddress;
use crate::registry::stats::Probed;

/// One `GET /health` and the start of its answer.
#[derive(Debug)]
pub(super) struct Exchange {
    request: Box<[u8]>,
    sent: usize,
    answer: Vec<u8>,
}

impl Exchange {
    pub(super) fn new(http: &HttpAddress) -> Self {
        let request = format!("GET /health HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n\r\n");
        Self {
            request: request.into_bytes().into(),
            sent: 0,
            answer: Vec::new(),
        }
    }

    /// What of the request is still to be sent.
    pub(super) fn unsent(&self) -> &[u8] {
        self.request.get(self.sent..).unwrap_or_default()
    }

    /// Notes that the first `bytes` of [`Self::unsent`] are sent.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent = self.sent.saturating_add(bytes);
    }

    /// Whether anything has been sent, which takes a connection.
    pub(super) fn is_connected(&self) -> bool {
        self.sent > 0
    }

    /// Takes a piece of the answer; the status line decides.
    pub(super) fn received(&mut self, bytes: &[u8]) -> Option<Probed> {
        let room = limits::PROBE_ANSWER_BYTES_MAX.saturating_sub(self.answer.len());
        self.answer
            .extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        if let Some(end) = memchr::memchr(b'\n', &self.answer) {
            self.answer.truncate(end + 1);
            return Some(judge(&self.answer));
        }
        (self.answer.len() >= limits::PROBE_ANSWER_BYTES_MAX).then_some(Probed::Broken)
    }
}

/// What a status line says, given with its line end.
fn judge(line: &[u8]) -> Probed {
    let head = [line, b"\r\n"].concat();
    let mut response = httparse::Response::new(&mut []);
    match (response.parse(&head), response.code) {
        (Ok(httparse::Status::Complete(_)), Some(200)) => Probed::Healthy,
        (Ok(httparse::Status::Complete(_)), Some(_)) => Probed::Status,
        _ => Probed::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange() -> Exchange {
        Exchange::new(&HttpAddress::parse("10.0.0.1:8100").unwrap())
    }

    #[test]
    fn request_names_the_node_and_keeps_nothing_alive() {
        let mut exchange = exchange();
        assert_eq!(
            exchange.unsent(),
            b"GET /health HTTP/1.1\r\nHost: 10.0.0.1:8100\r\nConnection: close\r\n\r\n"
        );

        exchange.sent(4);
        assert!(exchange.unsent().starts_with(b"/health"));
        exchange.sent(exchange.unsent().len());
        assert!(exchange.unsent().is_empty());
    }

    #[test]
    fn status_line_decides_wherever_the_answer_is_split() {
        let answers: [(&[u8], Probed); 7] = [
            (
                b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
                Probed::Healthy,
            ),
            (b"HTTP/1.0 200 \r\n\r\n", Probed::Healthy),
            (b"HTTP/1.1 200\r\n\r\n", Probed::Healthy),
            (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", Probed::Status),
            (b"HTTP/1.1 404 Not Found\r\n\r\n", Probed::Status),
            (b"SSH-2.0-OpenSSH_9.6\r\n", Probed::Broken),
            (b"\r\nHTTP/1.1 200 OK\r\n\r\n", Probed::Broken),
        ];
        for (answer, probed) in answers {
            for at in 0..=answer.len() {
                let mut exchange = exchange();
                let (one, two) = answer.split_at(at);
                let decided = exchange.received(one).or_else(|| exchange.received(two));
                assert_eq!(decided, Some(probed), "{answer:?} split at {at}");
            }
        }
    }

    #[test]
    fn line_without_an_end_is_not_kept() {
        let mut exchange = exchange();

        let probed = (0..).find_map(|_| exchange.received(&[b'H'; 100]));

        assert_eq!(probed, Some(Probed::Broken));
        assert!(exchange.answer.len() <= limits::PROBE_ANSWER_BYTES_MAX);
    }
}
