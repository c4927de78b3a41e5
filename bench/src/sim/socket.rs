//! A connection's socket with the handles that faults and idle closing need.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Pause after a failed accept.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// How a fault ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// RST.
    Reset,
    /// FIN without completing the answer.
    Close,
}

/// What the task that owns a connection has to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Drop the connection now.
    Drop,
    /// Close it for having been idle too long.
    Idle,
}

/// State of one connection, shared by its socket, its requests and its task.
#[derive(Debug)]
pub(crate) struct Control {
    ending: Cell<Option<Ending>>,
    changed: Notify,
    busy: Cell<u32>,
    served: Cell<bool>,
    /// Bytes came in since the last answer ended: a request is on its way.
    heard: Cell<bool>,
    idle_since: Cell<Instant>,
    idle_limit: Cell<Duration>,
    pub(crate) trickle: Cell<bool>,
}

impl Control {
    pub(crate) fn new(idle_limit: Duration) -> Rc<Self> {
        Rc::new(Self {
            ending: Cell::new(None),
            changed: Notify::new(),
            busy: Cell::new(0),
            served: Cell::new(false),
            heard: Cell::new(false),
            idle_since: Cell::new(Instant::now()),
            idle_limit: Cell::new(idle_limit),
            trickle: Cell::new(false),
        })
    }

    /// Ends the connection abruptly.
    pub(crate) fn end(&self, how: Ending) {
        self.ending.set(Some(how));
        self.changed.notify_one();
    }

    /// Closes the connection this long after the current answer.
    pub(crate) fn limit_idle(&self, limit: Duration) {
        self.idle_limit.set(limit);
    }

    /// Marks the connection busy until the guard is dropped.
    pub(crate) fn busy(self: &Rc<Self>) -> Busy {
        self.busy.set(self.busy.get() + 1);
        self.served.set(true);
        Busy(Rc::clone(self))
    }

    /// Resolves when the connection has to go.
    ///
    /// As uvicorn does, only a connection that has carried a request is ever idle, and any byte of
    /// the next request stops the clock.
    pub(crate) async fn due(&self) -> Due {
        loop {
            if self.ending.get().is_some() {
                return Due::Drop;
            }
            if self.busy.get() > 0 || !self.served.get() || self.heard.get() {
                self.changed.notified().await;
                continue;
            }
            let end = self.idle_since.get() + self.idle_limit.get();
            if Instant::now() >= end {
                return Due::Idle;
            }
            tokio::select! {
                () = tokio::time::sleep_until(end) => {}
                () = self.changed.notified() => {}
            }
        }
    }
}

/// A request or its answer is under way.
#[derive(Debug)]
pub(crate) struct Busy(Rc<Control>);

impl Drop for Busy {
    fn drop(&mut self) {
        let control = &self.0;
        control.busy.set(control.busy.get().saturating_sub(1));
        control.heard.set(false);
        control.idle_since.set(Instant::now());
        control.changed.notify_one();
    }
}

/// The socket. Dropping it sends RST if a fault said so, FIN otherwise.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    control: Rc<Control>,
    /// Between two trickled bytes the other tasks get a turn.
    rested: RefCell<bool>,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream, control: Rc<Control>) -> Self {
        Self {
            stream,
            control,
            rested: RefCell::new(false),
        }
    }

    /// Pending once before every trickled byte.
    fn rest(&self, cx: &Context<'_>) -> Poll<()> {
        let rested = self.rested.replace_with(|rested| !*rested);
        if rested {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.control.ending.get() == Some(Ending::Reset) {
            // A socket that is gone already needs no reset.
            self.stream.set_zero_linger().ok();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.control.heard.set(true);
        }
        result
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut buf = buf;
        if self.control.trickle.get() {
            std::task::ready!(self.rest(cx));
            buf = buf.get(..1).unwrap_or_default();
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.control.trickle.get() {
            let first = bufs.iter().find(|buf| !buf.is_empty());
            return self.poll_write(cx, first.map_or(&[], |buf| &**buf));
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
