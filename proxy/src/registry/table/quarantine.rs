//! A node that let a request wait for longer than it may.

use std::time::Duration;

use crate::limits;

/// How long a node is kept away from requests although its `/health` says 200: the HTTP server of vLLM
/// answers it for an engine that is frozen. Every time in a row is twice as long as the last, until the
/// node has answered a request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Quarantine {
    until: Duration,
    /// Times in a row.
    count: u32,
}

impl Quarantine {
    /// Begins at `now`. Requests that were sent before expire one by one; they are one silence.
    pub(super) fn begin(&mut self, now: Duration) {
        if self.holds(now) {
            return;
        }
        let doublings = self.count.min(16);
        self.count = self.count.saturating_add(1);
        let time = limits::QUARANTINE.saturating_mul(1 << doublings);
        self.until = now.saturating_add(time.min(limits::QUARANTINE_MAX));
    }

    /// Whether it lasts at `now`.
    pub(super) fn holds(&self, now: Duration) -> bool {
        now < self.until
    }

    /// When it ends or has ended.
    pub(super) fn until(&self) -> Duration {
        self.until
    }

    /// The node has answered a request since: the next time is a first time.
    pub(super) fn forgive(&mut self) {
        self.count = 0;
    }

    /// Another process may stand behind the address now.
    pub(super) fn lift(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long the next one lasts that begins when the last has just ended.
    fn next(quarantine: &mut Quarantine) -> u64 {
        let now = quarantine.until();
        quarantine.begin(now);
        assert!(quarantine.holds(now));
        (quarantine.until() - now).as_secs()
    }

    #[test]
    fn time_doubles_up_to_its_bound_until_the_node_has_answered() {
        let mut quarantine = Quarantine::default();
        let times: Vec<u64> = (0..7).map(|_| next(&mut quarantine)).collect();
        assert_eq!(times, [10, 20, 40, 80, 160, 300, 300]);
        quarantine.forgive();
        assert_eq!(next(&mut quarantine), 10);
    }

    #[test]
    fn requests_that_expire_one_after_the_other_are_one_silence() {
        let mut quarantine = Quarantine::default();
        quarantine.begin(Duration::from_secs(1));
        quarantine.begin(Duration::from_secs(10));
        assert_eq!(quarantine.until(), Duration::from_secs(11));
        assert!(!quarantine.holds(Duration::from_secs(11)));
    }

    #[test]
    fn any_number_of_times_is_counted() {
        let mut quarantine = Quarantine {
            count: u32::MAX,
            ..Quarantine::default()
        };
        assert_eq!(next(&mut quarantine), 300);
    }
}
