//! What can go wrong in one exchange.

use std::io;

use super::framing::FramingError;

/// Why an exchange gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The endpoint's name has no address.
    #[error("cannot resolve {host}: {source}")]
    Resolve {
        /// The name that was looked up.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// No connection to the endpoint.
    #[error("cannot connect to {endpoint}: {source}")]
    Connect {
        /// Host and port.
        endpoint: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The connect took too long.
    #[error("cannot connect: timed out")]
    ConnectTimeout,
    /// The time for the exchange is up.
    #[error("timed out")]
    Timeout,
    /// The request could not be written.
    #[error("connection failed while sending: {0}")]
    Send(io::Error),
    /// The answer could not be read.
    #[error("connection failed while receiving: {0}")]
    Receive(io::Error),
    /// The connection ended before the first byte of an answer.
    #[error("connection ended without an answer: {0}")]
    NoAnswer(io::Error),
    /// The connection was closed inside the answer.
    #[error("answer cut short")]
    Truncated,
    /// The head of the answer is not HTTP/1.x.
    #[error("malformed response head: {0}")]
    Head(httparse::Error),
    /// The body's framing is wrong or ambiguous.
    #[error("malformed response body: {0}")]
    Framing(#[from] FramingError),
    /// A part of the answer is longer than this client accepts.
    #[error("{part} longer than {limit} bytes")]
    TooLong {
        /// Which part.
        part: &'static str,
        /// What would have been accepted.
        limit: usize,
    },
}

impl Error {
    /// The connect's deadline passed; tokio has no more to say about it.
    pub(super) fn connect_timeout(_: tokio::time::error::Elapsed) -> Self {
        Self::ConnectTimeout
    }

    /// The exchange's deadline passed; tokio has no more to say about it.
    pub(super) fn timeout(_: tokio::time::error::Elapsed) -> Self {
        Self::Timeout
    }
}
