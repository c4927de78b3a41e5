//! Why a node did not answer.

use std::io;

use crate::http1::{ChunkedError, HeadError};
use crate::nodes::Node;

/// What went wrong on the way to a node or back.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// No connection could be made.
    #[error("connecting failed: {0}")]
    Connect(#[source] io::Error),
    /// No connection was made in time.
    #[error("connecting took too long")]
    ConnectTimeout,
    /// The connection broke, or the node closed it, before its answer was complete.
    #[error("the connection was cut: {0}")]
    Cut(#[source] io::Error),
    /// The node did not answer in time.
    #[error("no answer in time")]
    Timeout,
    /// What it sent is not an HTTP head that may be relayed.
    #[error("its answer is not valid HTTP: {0}")]
    Head(#[from] HeadError),
    /// What it sent is not a chunked body.
    #[error("its answer is not validly chunked: {0}")]
    Chunked(#[from] ChunkedError),
    /// It sent 101, which nobody had asked for, or more interim responses than anybody needs.
    #[error("it sent an interim response that was not asked for")]
    Interim,
}

/// A [`Fault`], and what is known of the request's fate.
#[derive(Debug, thiserror::Error)]
#[error("{fault}")]
pub struct Failure {
    /// What went wrong.
    #[source]
    pub fault: Fault,
    /// Whether the node may have begun to work on the request: false only if no byte of it can have
    /// reached the node's application.
    pub may_have_run: bool,
    /// Whether a byte of an answer had come.
    pub has_answered: bool,
}

impl Fault {
    /// Has `node`, whose fault this is, avoided until its `/health` says 200. After a silence that does not
    /// say enough.
    pub(crate) fn blame(&self, node: &Node) {
        if matches!(self, Self::Timeout) {
            node.quarantine();
        } else {
            node.distrust();
        }
    }

    /// The failure of a request that may have reached the node, which had begun to answer or had not.
    pub(crate) const fn after_sending(self, has_answered: bool) -> Failure {
        Failure {
            fault: self,
            may_have_run: true,
            has_answered,
        }
    }

    /// The failure of a request that was never sent.
    pub(crate) const fn before_sending(self) -> Failure {
        Failure {
            fault: self,
            may_have_run: false,
            has_answered: false,
        }
    }

    /// The end of the stream where bytes were due.
    pub(crate) fn end_of_stream() -> Self {
        Self::Cut(io::ErrorKind::UnexpectedEof.into())
    }
}
