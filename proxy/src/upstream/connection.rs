//! One connection to a node.

use std::io::{self, IoSlice};
use std::sync::Arc;

use crate::http1::HeadScan;
use crate::io::{Deadline, Either, Stream, race};
use crate::limits;
use crate::nodes::Node;

use super::Fault;

/// A connection to a node, in use by one request.
#[derive(Debug)]
pub struct Connection {
    /// The socket.
    pub stream: Stream,
    /// The node at its other end.
    pub node: Arc<Node>,
    /// Whether it has served a request before: the node may have closed it at the very moment of reuse.
    pub is_reused: bool,
}

/// How the sending of a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// Every byte went out.
    Whole,
    /// The node answered before it had all of it; the rest was kept back.
    Answered,
}

impl Connection {
    /// Sends `slices`. While the node does not take them, its answer is looked out for: a node may
    /// refuse a large body early, and would wait for ever for us to read.
    ///
    /// # Cancel safety
    ///
    /// Dropping it leaves the request cut; the connection must be closed.
    pub(super) async fn send(
        &self,
        slices: &mut [IoSlice<'_>],
        deadline: &Deadline,
    ) -> Result<Sent, Fault> {
        let mut rest = slices;
        while !rest.is_empty() {
            match self.stream.try_write(rest).map_err(Fault::Cut)? {
                Some(written) => IoSlice::advance_slices(&mut rest, written),
                None => {
                    let ready = race(self.stream.writable(), self.stream.readable());
                    let ready = deadline.within(ready).await.or(Err(Fault::Timeout))?;
                    if let Either::Second(_) = ready
                        && self.stream.peek().map_err(Fault::Cut)?.is_some()
                    {
                        return Ok(Sent::Answered);
                    }
                }
            }
        }
        Ok(Sent::Whole)
    }

    /// Appends at least one byte to `buffer`.
    ///
    /// # Errors
    ///
    /// [`Fault::Cut`] at the end of the stream too, and [`Fault::Timeout`].
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any point; bytes it took are in `buffer`.
    pub async fn read_more(&self, buffer: &mut Vec<u8>, deadline: &Deadline) -> Result<(), Fault> {
        buffer.reserve(limits::READ_CHUNK_BYTES);
        loop {
            deadline
                .within(self.stream.readable())
                .await
                .or(Err(Fault::Timeout))?
                .map_err(Fault::Cut)?;
            match self.stream.try_read_to(buffer).map_err(Fault::Cut)? {
                Some(0) => return Err(Fault::end_of_stream()),
                Some(_) => return Ok(()),
                None => {}
            }
        }
    }

    /// Reads into `buffer` until it holds a whole head; its length.
    ///
    /// # Cancel safety
    ///
    /// As [`Self::read_more`].
    pub(super) async fn read_head(
        &self,
        buffer: &mut Vec<u8>,
        deadline: &Deadline,
    ) -> Result<usize, Fault> {
        let mut scan = HeadScan::response();
        loop {
            if let Some(end) = scan.find(buffer)? {
                return Ok(end);
            }
            self.read_more(buffer, deadline).await?;
        }
    }

    /// Whether the connection is open and quiet: a byte or an end on an idle connection belongs to no
    /// answer, and nobody may take it for one.
    pub(super) fn is_quiet(&self) -> bool {
        matches!(self.stream.peek(), Ok(None))
    }
}

/// A connection refused, reset or closed by the other side, as opposed to something of our own.
pub(super) fn is_peers_doing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::NotConnected
    )
}
