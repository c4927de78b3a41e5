//! Who is charged for the entries that have not proven themselves.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// A count for each peer, and the sum of all.
#[derive(Debug, Default)]
pub(super) struct Newcomers {
    /// No count is 0.
    counts: BTreeMap<Option<IpAddr>, usize>,
    total: usize,
}

impl Newcomers {
    /// Charges a peer with one more.
    pub(super) fn charge(&mut self, source: Option<IpAddr>) {
        *self.counts.entry(source).or_default() += 1;
        self.total += 1;
    }

    /// Takes one back from a peer that was charged with it.
    pub(super) fn discharge(&mut self, source: Option<IpAddr>) {
        let Some(count) = self.counts.get_mut(&source) else {
            return;
        };
        self.total -= 1;
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&source);
        }
    }

    /// What a peer is charged with.
    pub(super) fn of(&self, source: Option<IpAddr>) -> usize {
        self.counts.get(&source).copied().unwrap_or_default()
    }

    /// What all peers are charged with.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// The peer that is charged with most.
    pub(super) fn heaviest(&self) -> Option<Option<IpAddr>> {
        self.counts
            .iter()
            .max_by_key(|(_, count)| **count)
            .map(|(source, _)| *source)
    }
}
