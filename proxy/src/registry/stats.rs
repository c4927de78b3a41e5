//! What the registry counts, for `/metrics`.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::clock::Clock;
use super::frame::FrameError;

/// A closed set of outcomes, each with a counter.
pub(super) trait Outcome: Copy + 'static {
    /// All of them, in the order of their indices.
    const ALL: &'static [Self];
    /// Its place among [`Self::ALL`].
    fn index(self) -> usize;
    /// The value of its label, in metrics and logs.
    fn cause(self) -> &'static str;
    /// Its series: metric name and label.
    fn series(self) -> &'static str;
}

/// Declares an enum of outcomes: variant, label, reason.
macro_rules! outcomes {
    (
        $(#[$meta:meta])*
        $name:ident of $metric:literal {
            $($(#[$doc:meta])* $variant:ident = $label:literal,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum $name {
            $($(#[$doc])* $variant,)+
        }

        impl $crate::registry::stats::Outcome for $name {
            const ALL: &'static [Self] = &[$(Self::$variant,)+];

            fn index(self) -> usize {
                self as usize
            }

            fn cause(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)+
                }
            }

            fn series(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($metric, "{outcome=\"", $label, "\"}"),)+
                }
            }
        }
    };
}
pub(super) use outcomes;

outcomes! {
    /// What became of a message that holds a registration, or was none at all.
    Message of "pd_registry_messages_total" {
        /// A node not known before.
        Added = "added",
        /// A known node, unchanged.
        Refreshed = "refreshed",
        /// A known node with a new KV address.
        KvChanged = "kv_changed",
        /// A known node with the other role.
        RoleChanged = "role_changed",
        /// There is no place for another node.
        TableFull = "table_full",
        /// It does not have exactly one body frame.
        Frames = "frames",
        /// Its address is the unspecified one, or a multicast one.
        Unreachable = "unreachable_address",
        /// Its address is this proxy's own.
        Own = "own_address",
        /// Its address is outside of the allowed networks.
        NotAllowed = "not_allowed",
    }
}

outcomes! {
    /// How a health probe ended.
    Probed of "pd_registry_probes_total" {
        /// `/health` said 200.
        Healthy = "healthy",
        /// The connection was refused, or there was no way to the node.
        Refused = "refused",
        /// `/health` said something else than 200.
        Status = "status",
        /// The answer was no HTTP, or ended before its status line.
        Broken = "broken",
        /// There was no answer in time.
        Timeout = "timeout",
        /// This process had no descriptor or port for it: it says nothing of the node.
        NotRun = "not_run",
    }
}

outcomes! {
    /// How the resolving of a host name ended.
    Resolved of "pd_registry_resolves_total" {
        /// It has an address.
        Found = "found",
        /// It has none, or the resolver failed.
        Failed = "failed",
        /// Its address is one that may not be registered.
        Refused = "refused",
    }
}

/// A counter for each outcome of a set.
#[derive(Debug)]
struct Tally<O> {
    cells: Box<[AtomicU64]>,
    outcome: PhantomData<O>,
}

impl<O: Outcome> Tally<O> {
    fn new() -> Self {
        let cells = O::ALL.iter().map(|_| AtomicU64::new(0)).collect();
        Self {
            cells,
            outcome: PhantomData,
        }
    }

    fn add(&self, outcome: O) {
        if let Some(cell) = self.cells.get(outcome.index()) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn each(&self, f: &mut impl FnMut(&'static str, u64)) {
        for (outcome, cell) in O::ALL.iter().zip(&self.cells) {
            f(outcome.series(), cell.load(Ordering::Relaxed));
        }
    }
}

/// The registry's counters. The registry thread alone writes them; anybody may read them.
#[derive(Debug)]
pub struct Stats {
    messages: Tally<Message>,
    refusals: Tally<FrameError>,
    probes: Tally<Probed>,
    resolves: Tally<Resolved>,
    added: AtomicU64,
    removed: AtomicU64,
    /// Milliseconds on `clock` when the last turn began.
    turn: AtomicU64,
    running: AtomicBool,
    clock: Clock,
}

impl Default for Stats {
    fn default() -> Self {
        Self::new()
    }
}

impl Stats {
    /// Counters at zero, of a registry that does not run yet.
    pub fn new() -> Self {
        Self {
            messages: Tally::new(),
            refusals: Tally::new(),
            probes: Tally::new(),
            resolves: Tally::new(),
            added: AtomicU64::new(0),
            removed: AtomicU64::new(0),
            turn: AtomicU64::new(0),
            running: AtomicBool::new(false),
            clock: Clock::start(),
        }
    }

    /// Hands every series to `f`: its Prometheus name with its label, and its value. Those whose name
    /// ends in `_total` before the label are counters, the others gauges.
    pub fn each(&self, mut f: impl FnMut(&'static str, u64)) {
        self.messages.each(&mut f);
        self.refusals.each(&mut f);
        self.probes.each(&mut f);
        self.resolves.each(&mut f);
        f(
            "pd_registry_nodes_added_total",
            self.added.load(Ordering::Relaxed),
        );
        f(
            "pd_registry_nodes_removed_total",
            self.removed.load(Ordering::Relaxed),
        );
        f("pd_registry_turn_age_seconds", self.turn_age().as_secs());
        f("pd_registry_up", u64::from(self.is_running()));
    }

    /// Time since the registry thread last began a turn, which it does every
    /// [`REGISTRY_TURN`](crate::limits::REGISTRY_TURN): a larger age means that it is stuck or gone,
    /// and that the published snapshot is as old.
    pub fn turn_age(&self) -> Duration {
        let turn = Duration::from_millis(self.turn.load(Ordering::Relaxed));
        self.clock.now().saturating_sub(turn)
    }

    /// Whether the registry thread lives.
    pub fn is_running(&self) -> bool {
        self.running.load(Ordering::Relaxed)
    }

    /// The clock whose readings [`Self::turned`] is given.
    pub(super) fn clock(&self) -> Clock {
        self.clock
    }

    pub(super) fn turned(&self, now: Duration) {
        let milliseconds = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        self.turn.store(milliseconds, Ordering::Relaxed);
    }

    pub(super) fn set_running(&self, running: bool) {
        self.running.store(running, Ordering::Relaxed);
    }

    pub(super) fn message(&self, message: Message) {
        self.messages.add(message);
    }

    pub(super) fn refusal(&self, error: FrameError) {
        self.refusals.add(error);
    }

    pub(super) fn probe(&self, probed: Probed) {
        self.probes.add(probed);
    }

    pub(super) fn resolve(&self, resolved: Resolved) {
        self.resolves.add(resolved);
    }

    pub(super) fn node_added(&self) {
        self.added.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn node_removed(&self) {
        self.removed.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn every_series_has_its_own_name() {
        let mut seen = HashMap::new();

        Stats::new().each(|series, value| {
            assert!(
                seen.insert(series, value).is_none(),
                "{series} is there twice"
            );
        });

        assert!(seen.contains_key("pd_registry_messages_total{outcome=\"added\"}"));
        assert!(seen.contains_key("pd_registry_messages_total{outcome=\"trailing_bytes\"}"));
    }

    #[test]
    fn a_count_stands_under_its_own_label() {
        let stats = Stats::new();

        stats.message(Message::NotAllowed);
        stats.refusal(FrameError::Trailing);
        stats.refusal(FrameError::Trailing);

        let mut counted = Vec::new();
        stats.each(|series, value| {
            if value != 0 {
                counted.push((series, value));
            }
        });
        assert_eq!(
            counted,
            [
                ("pd_registry_messages_total{outcome=\"not_allowed\"}", 1),
                ("pd_registry_messages_total{outcome=\"trailing_bytes\"}", 2),
            ]
        );
    }
}
