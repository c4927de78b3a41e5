//! Noticing that a client leaves while it is being served.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use crate::io::{Stream, clock};
use crate::limits;

use super::client::Gone;

/// Waits for a client to leave, from its request's last byte to its answer's.
///
/// A FIN within [`limits::HALF_CLOSE_WINDOW`] of the request's last byte is a client that has said all
/// it will say and waits for its answer; a later one, or a reset, is a client that has gone. Bytes are
/// the next request: they stay in the socket, and the watch ends, for the end of the stream cannot be
/// seen behind them; a failing write will tell.
pub(super) struct Watch {
    stream: Rc<Stream>,
    readable: Option<Pin<Box<dyn Future<Output = io::Result<()>>>>>,
    /// When the request was complete.
    since: Instant,
    is_gone: bool,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch")
            .field("is_gone", &self.is_gone)
            .finish_non_exhaustive()
    }
}

impl Watch {
    /// Watches the client at the other end of `stream`, whose request was complete at `since`.
    pub(super) fn new(stream: &Rc<Stream>, since: Instant) -> Self {
        let mut watch = Self {
            stream: Rc::clone(stream),
            readable: None,
            since,
            is_gone: false,
        };
        watch.arm();
        watch
    }

    /// When the request was complete.
    pub(super) const fn since(&self) -> Instant {
        self.since
    }

    /// Whether the client was seen to leave.
    pub(super) const fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Runs `work` to its end and notices meanwhile whether the client leaves.
    ///
    /// # Cancel safety
    ///
    /// As `work`.
    pub(super) async fn beside<F: Future>(&mut self, work: F) -> F::Output {
        let mut work = pin!(work);
        poll_fn(|cx| {
            let output = work.as_mut().poll(cx);
            // A client that leaves is only noted; `work` goes on.
            if output.is_pending() && !self.is_gone && self.poll_gone(cx).is_ready() {
                debug_assert!(self.is_gone);
            }
            output
        })
        .await
    }

    /// Runs `work` until it ends or the client leaves; in that case it is dropped.
    ///
    /// # Errors
    ///
    /// [`Gone`], if the client left first.
    ///
    /// # Cancel safety
    ///
    /// As `work`.
    pub(super) async fn or_gone<F: Future>(&mut self, work: F) -> Result<F::Output, Gone> {
        let mut work = pin!(work);
        poll_fn(|cx| {
            if let Poll::Ready(output) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            self.poll_gone(cx).map(|()| Err(Gone))
        })
        .await
    }

    /// Ready once the client has left.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.is_gone {
            let Some(readable) = &mut self.readable else {
                return Poll::Pending;
            };
            let Poll::Ready(woken) = readable.as_mut().poll(cx) else {
                return Poll::Pending;
            };
            self.readable = None;
            match woken.and_then(|()| self.stream.peek()) {
                Ok(None) => self.arm(),
                Ok(Some(0)) => {
                    let since = clock::now().saturating_duration_since(self.since);
                    self.is_gone = since > limits::HALF_CLOSE_WINDOW;
                }
                Ok(Some(_)) => {}
                Err(_) => self.is_gone = true,
            }
        }
        Poll::Ready(())
    }

    fn arm(&mut self) {
        let stream = Rc::clone(&self.stream);
        self.readable = Some(Box::pin(async move { stream.readable().await }));
    }
}
