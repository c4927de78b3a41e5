//! A histogram with fixed buckets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds in milliseconds of vLLM's time-to-first-token buckets (0.11 to 0.33), so that both can
/// be drawn on one panel; one bucket more for whatever is longer.
pub(super) const BOUNDS_MS: [u64; 22] = [
    1, 5, 10, 20, 40, 60, 80, 100, 250, 500, 750, 1_000, 2_500, 5_000, 7_500, 10_000, 20_000,
    40_000, 80_000, 160_000, 640_000, 2_560_000,
];

/// Durations counted by one shard.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS_MS.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    /// Counts one duration. Only the owning shard calls it.
    pub fn observe(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MS.partition_point(|bound_ms| bound_ms * 1_000 < us);
        if let Some(cell) = self.buckets.get(bucket) {
            add(cell, 1);
        }
        add(&self.sum_us, us);
    }

    /// Adds this histogram's counts to `buckets` and its sum to `sum_us`.
    pub(super) fn add_to(&self, buckets: &mut [u64; BOUNDS_MS.len() + 1], sum_us: &mut u64) {
        for (total, cell) in buckets.iter_mut().zip(&self.buckets) {
            *total += cell.load(Ordering::Relaxed);
        }
        *sum_us += self.sum_us.load(Ordering::Relaxed);
    }
}

/// Adds to a cell that only this thread writes: no locked instruction is needed.
pub(super) fn add(cell: &AtomicU64, amount: u64) {
    cell.store(
        cell.load(Ordering::Relaxed).wrapping_add(amount),
        Ordering::Relaxed,
    );
}
