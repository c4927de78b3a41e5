//! When something that may fail is tried (again).

use std::time::Duration;

use crate::limits;

/// The schedule of one repeated attempt: of an entry's health probe, or of its resolving.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Retry {
    /// From when on it may be tried; none when there is nothing to try.
    due: Option<Duration>,
    /// Failures in a row.
    failures: u32,
    /// Whether it is being tried now.
    running: bool,
}

impl Retry {
    /// Whether it is to be started at `now`.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        !self.running && self.due.is_some_and(|due| due <= now)
    }

    /// Whether it is being tried.
    pub(super) fn is_running(&self) -> bool {
        self.running
    }

    /// Whether it is being tried or will be.
    pub(super) fn is_wanted(&self) -> bool {
        self.running || self.due.is_some()
    }

    /// Notes that it is being tried.
    pub(super) fn start(&mut self) {
        self.running = true;
    }

    /// Wants it at once, whatever was before.
    pub(super) fn want(&mut self, now: Duration) {
        self.failures = 0;
        self.due = Some(now);
    }

    /// Wants it at `due` and not sooner.
    pub(super) fn want_at(&mut self, due: Duration) {
        self.due = Some(due);
    }

    /// Wants it once more after a pause, as after a failure. The pause doubles from one to the next.
    pub(super) fn want_later(&mut self, now: Duration) {
        self.failures = self.failures.saturating_add(1);
        self.due = Some(now.saturating_add(pause(self.failures)));
    }

    /// Notes the end of an attempt that says nothing: it stays wanted as it was.
    pub(super) fn stop(&mut self) {
        self.running = false;
    }

    /// Notes that there is nothing more to try. The failures before are remembered for
    /// [`Self::want_later`].
    pub(super) fn succeed(&mut self) {
        self.running = false;
        self.due = None;
    }

    /// Sorts those that are due: first those whose entry has proven itself, then those never tried, the
    /// newest first, then the others, the longest waiting first. A crowd of dead entries thus delays
    /// neither a node that has served nor one that has just come.
    pub(super) fn rank(&self, proven: bool, id: u64) -> (u8, u128) {
        let due = self.due.unwrap_or_default().as_nanos();
        match (proven, self.failures) {
            (true, _) => (0, due),
            (false, 0) => (1, u128::from(u64::MAX - id)),
            (false, _) => (2, due),
        }
    }
}

fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    limits::PROBE_INTERVAL
        .saturating_mul(1 << doublings)
        .min(limits::PROBE_INTERVAL_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pause_doubles_up_to_its_bound() {
        let mut retry = Retry::default();
        retry.want(Duration::ZERO);

        let pauses: Vec<u128> = (0..6)
            .map(|_| {
                retry.want_later(Duration::ZERO);
                retry.due.unwrap().as_millis()
            })
            .collect();

        assert_eq!(pauses, [500, 1000, 2000, 4000, 4000, 4000]);
    }

    #[test]
    fn any_number_of_failures_is_counted() {
        assert_eq!(pause(u32::MAX), limits::PROBE_INTERVAL_MAX);
    }
}
