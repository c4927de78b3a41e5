//! The one place that reads clocks.

use std::time::{Instant, SystemTime};

/// The monotonic clock. Every decision about time takes an `Instant` as an argument; the rim reads it
/// here.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the clock that the rest is told to read"
)]
pub fn now() -> Instant {
    Instant::now()
}

/// The wall clock, for what a person or a `Date` field shows. Nothing is decided by it.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the clock that the rest is told to read"
)]
pub fn wall() -> SystemTime {
    SystemTime::now()
}
