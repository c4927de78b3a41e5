//! Response bodies and the guards that travel with them.

use super::shared::Shared;
use super::socket::Busy;
use super::stream::EventStream;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// One request in the account; dropped without an outcome it counts as aborted.
#[derive(Debug)]
pub(crate) struct Ticket {
    shared: Arc<Shared>,
    path: &'static str,
    settled: bool,
}

impl Ticket {
    pub(crate) fn open(shared: &Arc<Shared>, path: &'static str) -> Self {
        shared.record(|ledger| ledger.requests_of(path).started += 1);
        Self {
            shared: Arc::clone(shared),
            path,
            settled: false,
        }
    }

    /// Every byte of the answer was handed over.
    pub(crate) fn finish(&mut self) {
        if !std::mem::replace(&mut self.settled, true) {
            self.shared
                .record(|ledger| ledger.requests_of(self.path).finished += 1);
        }
    }

    /// The answer is an error.
    pub(crate) fn refuse(&mut self) {
        if !std::mem::replace(&mut self.settled, true) {
            self.shared
                .record(|ledger| ledger.requests_of(self.path).refused += 1);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.settled {
            self.shared
                .record(|ledger| ledger.requests_of(self.path).aborted += 1);
        }
    }
}

#[derive(Debug)]
enum Content {
    Whole(Option<Bytes>),
    Events(Box<EventStream>),
}

/// A response body: one piece with its length, or a stream of events.
#[derive(Debug)]
pub(crate) struct Answer {
    content: Content,
    ticket: Option<Ticket>,
    _busy: Busy,
}

impl Answer {
    /// A whole body.
    pub(crate) fn whole(bytes: impl Into<Bytes>, busy: Busy) -> Self {
        let bytes = Some(bytes.into()).filter(|bytes| !bytes.is_empty());
        Self {
            content: Content::Whole(bytes),
            ticket: None,
            _busy: busy,
        }
    }

    /// A body that is told as it comes.
    pub(crate) fn events(events: EventStream, busy: Busy) -> Self {
        Self {
            content: Content::Events(Box::new(events)),
            ticket: None,
            _busy: busy,
        }
    }

    /// Settles the ticket as finished once the body is handed over.
    pub(crate) fn with(mut self, ticket: Ticket) -> Self {
        self.ticket = Some(ticket);
        self
    }

    fn finish(&mut self) {
        if let Some(ticket) = &mut self.ticket {
            ticket.finish();
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let (bytes, last) = match &mut self.content {
            Content::Whole(bytes) => (bytes.take(), true),
            Content::Events(events) => {
                let bytes = std::task::ready!(events.poll_event(cx));
                (bytes, events.is_over())
            }
        };
        if last {
            self.finish();
        }
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.is_none(),
            Content::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => {
                let len = bytes.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(len).unwrap_or(u64::MAX))
            }
            Content::Events(_) => SizeHint::default(),
        }
    }
}
