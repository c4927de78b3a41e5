//! A way to end the registry thread's wait from another thread.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};

/// An eventfd: readable from a [`Self::ring`] on, until it is answered.
#[derive(Clone, Debug)]
pub(super) struct Wake(Arc<OwnedFd>);

impl Wake {
    pub(super) fn new() -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(fd)))
    }

    /// Ends the wait, or the next one.
    pub(super) fn ring(&self) {
        // It can fail only when its counter is full, and then it rings already.
        rustix::io::write(&*self.0, &1_u64.to_ne_bytes()).ok();
    }

    /// Takes note of all rings so far.
    pub(super) fn answer(&self) {
        let mut count = [0; 8];
        // It can fail only when nobody has rung.
        rustix::io::read(&*self.0, &mut count).ok();
    }

    /// What is to be polled for reading.
    pub(super) fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
