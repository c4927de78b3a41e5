//! A client's connection: its bytes in and out.

use std::io::{self, IoSlice};
use std::rc::Rc;

use crate::io::{Deadline, Expired, Stream, Timers};
use crate::limits;

use super::ClientTimes;

/// The client has gone, or takes no bytes: there is nobody to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone;

/// One client connection.
#[derive(Debug)]
pub(super) struct Client {
    /// The socket; the watch for a leaving client holds it too.
    pub(super) stream: Rc<Stream>,
    /// Bytes read and not used yet: the beginning of the next request.
    pub(super) inbox: Vec<u8>,
    /// The connection's one deadline; whoever waits sets it.
    pub(super) deadline: Deadline,
    /// How long it may take for what.
    pub(super) times: ClientTimes,
}

impl Client {
    pub(super) fn new(stream: Stream, timers: &Rc<Timers>, times: ClientTimes) -> Self {
        Self {
            stream: Rc::new(stream),
            inbox: Vec::new(),
            deadline: timers.deadline(),
            times,
        }
    }

    /// Appends what arrives to `buffer`; false at the end of the stream. The deadline must be set.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any point; bytes it took are in `buffer`.
    pub(super) async fn read_more(&self, buffer: &mut Vec<u8>) -> Result<bool, ReadError> {
        loop {
            self.deadline.within(self.stream.readable()).await??;
            // Reserved only now: a connection that waits holds no buffer. What has arrived bounds what
            // is reserved, whatever length was announced.
            buffer.reserve(limits::READ_CHUNK_BYTES.max(buffer.len()));
            if let Some(bytes) = self.stream.try_read_to(buffer)? {
                return Ok(bytes > 0);
            }
        }
    }

    /// Writes all of `slices`; gives up on a client that takes nothing for [`ClientTimes::write`].
    ///
    /// # Cancel safety
    ///
    /// Dropping it leaves a part unwritten; the connection must be closed.
    pub(super) async fn write_all(&self, slices: &mut [IoSlice<'_>]) -> Result<(), Gone> {
        let mut rest = slices;
        loop {
            // Empty slices in front would count as nothing written.
            IoSlice::advance_slices(&mut rest, 0);
            if rest.is_empty() {
                return Ok(());
            }
            match self.stream.try_write(rest).or(Err(Gone))? {
                Some(written) => IoSlice::advance_slices(&mut rest, written),
                None => self.writable().await?,
            }
        }
    }

    /// Waits until the client takes bytes again.
    pub(super) async fn writable(&self) -> Result<(), Gone> {
        self.deadline.set(self.times.write);
        match self.deadline.within(self.stream.writable()).await {
            Ok(ready) => ready.or(Err(Gone)),
            Err(Expired) => {
                // What the kernel holds for it would outlive the connection, and a client of HTTP/1.0
                // would take the end of the bytes for the end of the answer.
                self.stream.reset_on_close();
                Err(Gone)
            }
        }
    }

    /// Ends the connection after an answer that was given early: our end is closed, and what the client
    /// still sends is read and dropped for a while. Closing at once would make the kernel reset the
    /// connection, and the client might never see the answer (RFC 9112 §9.6).
    pub(super) async fn close(self, buffer: &mut [u8]) {
        self.stream.shutdown_write();
        self.deadline.set(limits::DISCARD_TIMEOUT);
        let mut discarded = 0;
        while discarded < limits::DISCARD_BYTES_MAX {
            if self.deadline.within(self.stream.readable()).await.is_err() {
                return;
            }
            match self.stream.try_read(buffer) {
                Ok(Some(0)) | Err(_) => return,
                Ok(Some(bytes)) => discarded += bytes,
                Ok(None) => {}
            }
        }
    }
}

/// Why nothing more could be read from a client.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The deadline passed.
    Expired,
    /// The connection broke.
    Broken,
}

impl From<Expired> for ReadError {
    fn from(_: Expired) -> Self {
        Self::Expired
    }
}

impl From<io::Error> for ReadError {
    fn from(_: io::Error) -> Self {
        Self::Broken
    }
}
