//! The time model: what prefill, decode steps and KV transfer cost, and the clock that pays for it.

use std::cell::Cell;
use std::time::Duration;
use tokio::time::Instant;

/// What the simulated accelerator's work costs. All times are seconds at speed 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Profile {
    /// Fixed cost of one engine step: the weights are read once whatever the batch.
    pub step_base_s: f64,
    /// Cost of computing one prompt token (prefix cache hits cost nothing).
    pub prefill_per_token_s: f64,
    /// Cost that each decoding sequence adds to a step.
    pub decode_per_sequence_s: f64,
    /// KV bytes of one prompt token, over all layers.
    pub kv_bytes_per_token: u64,
    /// Fixed cost of handing over one request's KV.
    pub transfer_base_s: f64,
    /// Bandwidth of the KV hand-over in bytes per second.
    pub transfer_bytes_per_s: f64,
}

/// A 7B model in bf16 on one A100, near the published figures of the reference testbed.
///
/// 14 GB of weights at 1.5 TB/s make the step base; 14 GFLOP per token at half of 312 TFLOP/s make
/// the prefill cost; 28 layers × 4 KV heads × 128 × 2 tensors × 2 bytes make the KV bytes; the
/// transfer runs over PCIe 4.0 x16.
pub const A100_7B: Profile = Profile {
    step_base_s: 0.0115,
    prefill_per_token_s: 0.000_09,
    decode_per_sequence_s: 0.000_18,
    kv_bytes_per_token: 57_344,
    transfer_base_s: 0.002,
    transfer_bytes_per_s: 20e9,
};

impl Default for Profile {
    fn default() -> Self {
        A100_7B
    }
}

impl Profile {
    /// Duration of one engine step that computes `prefill_tokens` new prompt tokens and samples one
    /// token for each of `decoding` sequences.
    #[must_use]
    pub fn step(&self, prefill_tokens: u64, decoding: usize) -> Duration {
        seconds(
            self.step_base_s
                + as_f64(prefill_tokens) * self.prefill_per_token_s
                + as_f64(u64::try_from(decoding).unwrap_or(u64::MAX)) * self.decode_per_sequence_s,
        )
    }

    /// KV bytes of a prompt.
    #[must_use]
    pub fn kv_bytes(&self, prompt_tokens: u64) -> u64 {
        self.kv_bytes_per_token.saturating_mul(prompt_tokens)
    }

    /// Duration of handing over `bytes` of KV.
    #[must_use]
    pub fn transfer(&self, bytes: u64) -> Duration {
        seconds(self.transfer_base_s + as_f64(bytes) / self.transfer_bytes_per_s)
    }
}

/// Not a time anybody reads: precision beyond 2^53 is of no use here.
#[expect(
    clippy::cast_precision_loss,
    reason = "token and byte counts stay far below 2^53"
)]
fn as_f64(count: u64) -> f64 {
    count as f64
}

fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value.max(0.0)).unwrap_or(Duration::MAX)
}

/// Below this a wait is only noted, not slept: tokio's timer ticks once a millisecond.
const GRAIN: Duration = Duration::from_millis(1);
/// How far behind the clock may fall before lost time is given up rather than made good.
const MAX_LAG: Duration = Duration::from_millis(50);

/// Pays simulated durations in real time, `speed` times faster than life.
///
/// Durations accumulate into one due time, so many short ones come out right on average although
/// the timer is coarse.
#[derive(Debug)]
pub(crate) struct Clock {
    speed: f64,
    due: Cell<Instant>,
}

impl Clock {
    pub(crate) fn new(speed: f64) -> Self {
        Self {
            speed,
            due: Cell::new(Instant::now()),
        }
    }

    /// Forgets what is owed either way: work starts anew after an idle time.
    pub(crate) fn restart(&self) {
        self.due.set(Instant::now());
    }

    /// Lets `cost` of simulated time pass. Always lets other tasks run at least once.
    pub(crate) async fn pay(&self, cost: Duration) {
        if let Some(due) = self.owe(cost, Instant::now()) {
            tokio::time::sleep_until(due).await;
        } else {
            tokio::task::yield_now().await;
        }
    }

    /// Adds `cost` at time `now`; the instant to sleep until, if that is worth a timer.
    fn owe(&self, cost: Duration, now: Instant) -> Option<Instant> {
        let real = if self.speed.is_finite() {
            seconds(cost.as_secs_f64() / self.speed)
        } else {
            Duration::ZERO
        };
        let earliest = now.checked_sub(MAX_LAG).unwrap_or(now);
        let due = self.due.get().max(earliest) + real;
        self.due.set(due);
        (due.saturating_duration_since(now) >= GRAIN).then_some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn step_grows_with_tokens_and_batch() {
        let idle = A100_7B.step(0, 0);

        assert!(A100_7B.step(1000, 0) > idle + Duration::from_millis(50));
        assert!(A100_7B.step(0, 16) > A100_7B.step(0, 1));
    }

    #[test]
    fn transfer_is_linear_in_bytes() {
        let one = A100_7B.transfer(20_000_000_000);
        assert_eq!(one, Duration::from_millis(1002));
        assert_eq!(A100_7B.kv_bytes(1000), 57_344_000);
    }

    #[test]
    fn short_waits_add_up_to_one_timer() {
        let clock = Clock::new(10.0);
        let now = clock.due.get();

        let slept: Vec<_> = (0..20)
            .map(|_| clock.owe(Duration::from_millis(1), now).is_some())
            .collect();

        assert!(slept.iter().take(9).all(|sleeps| !sleeps));
        assert!(slept.iter().skip(9).all(|sleeps| *sleeps));
        assert_eq!(clock.due.get(), now + Duration::from_millis(2));
    }

    #[test]
    fn late_wake_ups_are_made_good() {
        let clock = Clock::new(1.0);
        let start = clock.due.get();

        clock.owe(Duration::from_millis(10), start);
        let late = start + Duration::from_millis(13);

        assert_eq!(
            clock.owe(Duration::from_millis(10), late),
            Some(start + Duration::from_millis(20))
        );
    }

    #[test]
    fn time_lost_beyond_the_lag_is_given_up() {
        let clock = Clock::new(1.0);
        let late = clock.due.get() + Duration::from_secs(3);

        clock.owe(Duration::from_millis(10), late);

        assert_eq!(clock.due.get(), late - MAX_LAG + Duration::from_millis(10));
    }

    #[test]
    fn infinite_speed_never_sleeps() {
        let clock = Clock::new(f64::INFINITY);
        assert_eq!(clock.owe(Duration::from_secs(9), clock.due.get()), None);
    }
}
