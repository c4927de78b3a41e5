//! A small HTTP/1.1 client that knows when each byte came.
//!
//! One [`Client`] talks to one [`Endpoint`]. [`Client::send`] gives a [`Response`] as soon as its head
//! is there; the body is then pulled piece by piece, line by line or event by event, each with the
//! instant at which its last byte was read. Dropping the response drops the connection, which is how
//! a client leaves in the middle of a stream.

mod endpoint;
mod error;
mod framing;
mod response;
mod sse;

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::timeout_at;

pub use endpoint::{Endpoint, EndpointError};
pub use error::Error;
pub use framing::{BodyDecoder, BodyLength, FramingError, check_chunked_decoder};
pub use response::{Event, Response};
pub use sse::{EventTooLong, SseLines, check_sse_lines};

/// Longest TCP connect, unless the whole exchange has less time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle connections kept. More than any concurrency worth measuring, and a bound all the same.
const IDLE_MAX: usize = 4096;

/// Talks to one endpoint.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    settings: Settings,
    addresses: OnceCell<Vec<SocketAddr>>,
    idle: Mutex<Vec<Connection>>,
}

/// How a [`Client`] behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Sent as `Authorization: Bearer …` with each request.
    pub bearer: Option<String>,
    /// From before the connect to the last byte of the answer.
    pub timeout: Duration,
    /// Whether a connection whose answer was read to its end is used again.
    pub keep_alive: bool,
}

/// One connection and the bytes that were read from it but not yet understood.
#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
    reused: bool,
}

/// What is asked of the endpoint.
#[derive(Debug, Clone, Copy)]
pub enum Request<'a> {
    /// `GET` of a path.
    Get {
        /// Origin-form target, starting with a slash.
        path: &'a str,
    },
    /// `POST` of a JSON document to the endpoint's own path.
    PostJson {
        /// The document.
        body: &'a [u8],
    },
}

impl Client {
    /// A client for an endpoint. Nothing is resolved or connected before the first request.
    #[must_use]
    pub fn new(endpoint: Endpoint, settings: Settings) -> Self {
        Self {
            endpoint,
            settings,
            addresses: OnceCell::new(),
            idle: Mutex::new(Vec::new()),
        }
    }

    /// Sends a request and reads the head of its answer; interim (1xx) heads are skipped.
    ///
    /// A kept connection that proves dead before the first byte of an answer is replaced by a fresh
    /// one, once: the server closed it while idle, which says nothing about the request
    /// (RFC 9112 §9.3.1; asking for a completion twice has no effect beyond its cost).
    ///
    /// # Errors
    ///
    /// The endpoint cannot be resolved, reached or understood, or the time is up.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn send(&self, request: Request<'_>) -> Result<Response<'_>, Error> {
        let deadline = tokio::time::Instant::now() + self.settings.timeout;
        let message = self.message(request);
        loop {
            let mut connection = self.connection(deadline).await?;
            let reused = connection.reused;
            let sent = timeout_at(deadline, connection.stream.write_all(&message))
                .await
                .map_err(Error::timeout)?
                .map_err(Error::Send);
            // A server that refuses early closes its side; its answer may be there all the same.
            let answer = Response::read_head(self, connection, deadline).await;
            match (sent, answer) {
                (_, Err(Error::NoAnswer(_))) | (Err(_), Err(_)) if reused => {}
                (Err(error), Err(_)) => return Err(error),
                (_, answer) => return answer,
            }
        }
    }

    /// An idle connection, or a fresh one.
    async fn connection(&self, deadline: tokio::time::Instant) -> Result<Connection, Error> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        if let Some(connection) = idle {
            return Ok(connection);
        }
        let connect_by = deadline.min(tokio::time::Instant::now() + CONNECT_TIMEOUT);
        let stream = timeout_at(connect_by, self.connect())
            .await
            .map_err(Error::connect_timeout)??;
        Ok(Connection {
            stream,
            unread: Vec::new(),
            reused: false,
        })
    }

    async fn connect(&self) -> Result<TcpStream, Error> {
        let addresses = self
            .addresses
            .get_or_try_init(|| self.endpoint.resolve())
            .await?;
        let stream = TcpStream::connect(addresses.as_slice())
            .await
            .map_err(|source| Error::Connect {
                endpoint: self.endpoint.authority(),
                source,
            })?;
        // A request is one write; waiting for more bytes would only delay it.
        stream.set_nodelay(true).map_err(Error::Send)?;
        Ok(stream)
    }

    fn keep(&self, mut connection: Connection) {
        connection.reused = true;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
    }

    fn message(&self, request: Request<'_>) -> Vec<u8> {
        let (method, path) = match request {
            Request::Get { path } => ("GET", path),
            Request::PostJson { .. } => ("POST", self.endpoint.path()),
        };
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nuser-agent: pd-bench/{}\r\naccept: */*\r\n",
            self.endpoint.authority(),
            env!("CARGO_PKG_VERSION"),
        );
        if let Some(bearer) = &self.settings.bearer {
            head.push_str("authorization: Bearer ");
            head.push_str(bearer);
            head.push_str("\r\n");
        }
        if !self.settings.keep_alive {
            head.push_str("connection: close\r\n");
        }
        let mut message = head.into_bytes();
        if let Request::PostJson { body } = request {
            let fields = format!(
                "content-type: application/json\r\ncontent-length: {}\r\n",
                body.len()
            );
            message.extend_from_slice(fields.as_bytes());
            message.extend_from_slice(b"\r\n");
            message.extend_from_slice(body);
        } else {
            message.extend_from_slice(b"\r\n");
        }
        message
    }
}

/// The clock of every timestamp of this module.
fn now() -> Instant {
    Instant::now()
}
