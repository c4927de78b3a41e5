//! The registry's own clock.

use std::time::{Duration, Instant};

/// Monotonic time since a start. Everything in this room is told the time as such a duration; wall
/// time, which jumps, is never read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that stands at zero.
    pub(super) fn start() -> Self {
        Self { start: instant() }
    }

    /// Time since the start.
    pub(super) fn now(self) -> Duration {
        instant().saturating_duration_since(self.start)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the registry has a thread of its own and no shard's clock; this is its one reading"
)]
fn instant() -> Instant {
    Instant::now()
}
