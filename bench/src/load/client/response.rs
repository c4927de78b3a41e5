//! An answer that is arriving.

use std::io;
use std::time::Instant;

use tokio::io::AsyncReadExt;
use tokio::time::timeout_at;

use super::sse::SseLines;
use super::{BodyDecoder, BodyLength, Client, Connection, Error, now};

/// Bytes of a response head.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Fields of a response head.
const HEAD_FIELDS_MAX: usize = 128;
/// Bytes of a line of the body.
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Room made for one read.
const READ_BYTES: usize = 16 * 1024;

/// One event of an event stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What its `data` fields hold.
    pub data: Vec<u8>,
    /// When its last byte was read.
    pub at: Instant,
}

/// An answer whose head has arrived.
#[derive(Debug)]
pub struct Response<'a> {
    client: &'a Client,
    /// `None` once the body has ended.
    connection: Option<Connection>,
    deadline: tokio::time::Instant,
    status: u16,
    persistent: bool,
    decoder: BodyDecoder,
    /// Content not handed out yet.
    content: Vec<u8>,
    events: SseLines,
    read_at: Instant,
    first_byte_at: Option<Instant>,
}

/// What the head says about the rest.
struct Head {
    bytes: usize,
    status: u16,
    persistent: bool,
    length: BodyLength,
}

impl<'a> Response<'a> {
    pub(super) async fn read_head(
        client: &'a Client,
        mut connection: Connection,
        deadline: tokio::time::Instant,
    ) -> Result<Self, Error> {
        let head = loop {
            if let Some(head) = parse_head(&connection.unread)? {
                connection.unread.drain(..head.bytes);
                // 101 is final: nothing else would follow it in this protocol.
                if matches!(head.status, 100 | 102..=199) {
                    continue;
                }
                break head;
            }
            if connection.unread.len() >= HEAD_BYTES_MAX {
                return Err(Error::TooLong {
                    part: "response head",
                    limit: HEAD_BYTES_MAX,
                });
            }
            let started = !connection.unread.is_empty();
            match read(&mut connection, deadline).await {
                Ok(0) if started => return Err(Error::Truncated),
                Ok(0) => return Err(Error::NoAnswer(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(Error::Receive(error)) if !started => return Err(Error::NoAnswer(error)),
                Err(error) => return Err(error),
            }
        };
        Ok(Self {
            client,
            connection: Some(connection),
            deadline,
            status: head.status,
            persistent: head.persistent,
            decoder: BodyDecoder::new(head.length),
            content: Vec::new(),
            events: SseLines::default(),
            read_at: now(),
            first_byte_at: None,
        })
    }

    /// The status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// When the latest bytes of this answer were read.
    #[must_use]
    pub fn read_at(&self) -> Instant {
        self.read_at
    }

    /// When the first byte of the body's content was read; `None` while there is none.
    #[must_use]
    pub fn first_byte_at(&self) -> Option<Instant> {
        self.first_byte_at
    }

    /// The next line of the body without its line end. The last one may lack it; a body that ends
    /// with a line end has no empty line after it.
    ///
    /// # Errors
    ///
    /// The body is cut short, malformed or late, or the line is absurdly long.
    pub async fn line(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let mut searched = 0;
        loop {
            let unseen = self.content.get(searched..).unwrap_or_default();
            if let Some(at) = unseen.iter().position(|&byte| byte == b'\n') {
                let mut line: Vec<u8> = self.content.drain(..=searched + at).collect();
                line.pop();
                line.pop_if(|byte| *byte == b'\r');
                return Ok(Some(line));
            }
            searched = self.content.len();
            if searched > LINE_BYTES_MAX {
                return Err(Error::TooLong {
                    part: "line",
                    limit: LINE_BYTES_MAX,
                });
            }
            if !self.fill().await? {
                let rest = std::mem::take(&mut self.content);
                return Ok((!rest.is_empty()).then_some(rest));
            }
        }
    }

    /// The next event of an event stream; `None` when the body ended as it should.
    ///
    /// # Errors
    ///
    /// The body is cut short, malformed or late, or the event is absurdly long.
    pub async fn event(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(data) = self.events.next_event() {
                return Ok(Some(Event {
                    data,
                    at: self.read_at,
                }));
            }
            let more = self.fill().await?;
            self.events
                .feed(&self.content)
                .map_err(|event| Error::TooLong {
                    part: "event",
                    limit: event.limit,
                })?;
            self.content.clear();
            if !more {
                return Ok(None);
            }
        }
    }

    /// All of the body that has not been handed out.
    ///
    /// # Errors
    ///
    /// The body is cut short, malformed or late, or longer than `limit` bytes.
    pub async fn body(&mut self, limit: usize) -> Result<Vec<u8>, Error> {
        while self.fill().await? {
            if self.content.len() > limit {
                return Err(Error::TooLong {
                    part: "response body",
                    limit,
                });
            }
        }
        Ok(std::mem::take(&mut self.content))
    }

    /// Brings more content in, if only by a step; false when there is none any more.
    async fn fill(&mut self) -> Result<bool, Error> {
        let Some(connection) = &mut self.connection else {
            return Ok(false);
        };
        if self.decoder.is_done() {
            self.finish();
            return Ok(false);
        }
        if connection.unread.is_empty() {
            let count = read(connection, self.deadline).await?;
            self.read_at = now();
            if count == 0 {
                self.connection = None;
                return if self.decoder.may_end_with_connection() {
                    Ok(false)
                } else {
                    Err(Error::Truncated)
                };
            }
        }
        let taken = self.decoder.decode(&connection.unread, &mut self.content)?;
        connection.unread.drain(..taken);
        if !self.content.is_empty() {
            self.first_byte_at.get_or_insert(self.read_at);
        }
        if self.decoder.is_done() {
            self.finish();
        }
        Ok(true)
    }

    /// Gives the connection back if another answer can follow on it.
    fn finish(&mut self) {
        if let Some(connection) = self.connection.take()
            && self.persistent
            && self.client.settings.keep_alive
            // Bytes that nobody asked for would be taken for the next answer.
            && connection.unread.is_empty()
        {
            self.client.keep(connection);
        }
    }
}

async fn read(connection: &mut Connection, deadline: tokio::time::Instant) -> Result<usize, Error> {
    connection.unread.reserve(READ_BYTES);
    timeout_at(deadline, connection.stream.read_buf(&mut connection.unread))
        .await
        .map_err(Error::timeout)?
        .map_err(Error::Receive)
}

/// `None` when the head is not complete.
fn parse_head(bytes: &[u8]) -> Result<Option<Head>, Error> {
    let mut fields = [httparse::EMPTY_HEADER; HEAD_FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let length = match response.parse(bytes).map_err(Error::Head)? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return Ok(None),
    };
    let status = response.code.unwrap_or(0);
    let closes = response
        .headers
        .iter()
        .filter(|field| field.name.eq_ignore_ascii_case("connection"))
        .flat_map(|field| field.value.split(|&byte| byte == b','))
        .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"));
    Ok(Some(Head {
        bytes: length,
        status,
        // HTTP/1.0 could keep a connection too, but needs to say so; not worth a rule here.
        persistent: response.version == Some(1) && !closes,
        length: BodyLength::of_response(status, response.headers)?,
    }))
}
