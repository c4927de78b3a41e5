//! What the tests stand on.

pub(crate) mod client;
pub(crate) mod fleet;
pub(crate) mod node;
pub(crate) mod procfs;
pub(crate) mod proxy;
pub(crate) mod script;
pub(crate) mod scripted;

use std::time::{Duration, Instant};

/// How long anything that must happen may take on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `condition` holds; panics with `what` if it does not within [`PATIENCE`]. For conditions
/// that only asking can tell; everything else is waited for by reading.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < until, "it never happened that {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
