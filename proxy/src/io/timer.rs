//! Deadlines: one object per connection, moved by writing a number.
//!
//! A timer of the runtime per wait would cost an insertion and a removal per token. Here a deadline is
//! a cell that its owner moves as often as it likes; a wheel looks at the cell when the time that it
//! knew of has come, and goes on waiting if the deadline has been moved meanwhile.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::limits;

/// Slots of the wheel; one turn is [`SLOTS`] ticks.
const SLOTS: usize = 256;
const NEVER: u64 = u64::MAX;
/// Length of a tick; a second has a whole number of them.
const TICK_MS: u32 = limits::TICK.subsec_millis();
const _: () = assert!(limits::TICK.as_secs() == 0 && 1_000 % TICK_MS == 0);

/// The deadline has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the deadline has passed")]
pub struct Expired;

/// Waits for `duration`, by the runtime's own timer: rounded up to a millisecond.
pub async fn sleep(duration: Duration) {
    monoio::time::sleep(duration).await;
}

/// The deadlines of one shard, in ticks of [`limits::TICK`].
#[derive(Debug)]
pub struct Timers {
    now: Cell<u64>,
    slots: RefCell<Vec<Vec<Rc<Entry>>>>,
}

#[derive(Debug)]
struct Entry {
    /// The tick at which it passes; [`NEVER`] while nothing is waited for.
    due: Cell<u64>,
    /// The tick of the slot it stands in; [`NEVER`] if it stands in none. An entry found in the slot of
    /// another tick is a leftover from before it was moved forward.
    filed: Cell<u64>,
    /// Passes at once when [`Timers::end_idle`] is called.
    idle: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// One deadline. It is set and moved without allocating; dropping it ends it.
#[derive(Debug)]
pub struct Deadline {
    entry: Rc<Entry>,
    timers: Rc<Timers>,
}

impl Default for Timers {
    fn default() -> Self {
        Self::new()
    }
}

impl Timers {
    /// A wheel without deadlines, at tick 0.
    pub fn new() -> Self {
        let slots = (0..SLOTS).map(|_| Vec::new()).collect();
        Self {
            now: Cell::new(0),
            slots: RefCell::new(slots),
        }
    }

    /// A new deadline, not set yet.
    pub fn deadline(self: &Rc<Self>) -> Deadline {
        let entry = Entry {
            due: Cell::new(NEVER),
            filed: Cell::new(NEVER),
            idle: Cell::new(false),
            waker: RefCell::new(None),
        };
        Deadline {
            entry: Rc::new(entry),
            timers: Rc::clone(self),
        }
    }

    /// Moves the time on by `ticks` and wakes whoever waits for a deadline that has passed.
    pub fn advance(&self, ticks: u64) {
        for _ in 0..ticks {
            let now = self.now.get() + 1;
            self.now.set(now);
            let slot = self
                .slots
                .borrow_mut()
                .get_mut(index(now))
                .map(std::mem::take);
            for entry in slot.unwrap_or_default() {
                if Rc::strong_count(&entry) > 1 && entry.filed.get() == now {
                    entry.filed.set(NEVER);
                    if entry.due.get() <= now {
                        entry.wake();
                    } else {
                        self.file(&entry);
                    }
                }
            }
        }
    }

    /// Lets every deadline pass that was marked idle: a connection that waits for its next request has
    /// none to finish.
    pub fn end_idle(&self) {
        let slots = self.slots.borrow();
        for entry in slots.iter().flatten().filter(|entry| entry.idle.get()) {
            entry.due.set(self.now.get());
            entry.wake();
        }
    }

    /// Puts `entry` where it will be looked at: at its due tick, or a whole turn from now.
    fn file(&self, entry: &Rc<Entry>) {
        let due = entry.due.get();
        if due == NEVER {
            return;
        }
        let now = self.now.get();
        let at = due.clamp(now + 1, now + SLOTS as u64 - 1);
        entry.filed.set(at);
        if let Some(slot) = self.slots.borrow_mut().get_mut(index(at)) {
            slot.push(Rc::clone(entry));
        }
    }
}

/// `delay` in ticks, rounded up. It runs once per token; all divisors are constants.
const fn ticks(delay: Duration) -> u64 {
    const PER_SECOND: u64 = 1_000 / TICK_MS as u64;
    let part = delay.subsec_nanos().div_ceil(1_000_000).div_ceil(TICK_MS);
    delay
        .as_secs()
        .saturating_mul(PER_SECOND)
        .saturating_add(part as u64)
}

/// The slot of a tick.
fn index(tick: u64) -> usize {
    usize::try_from(tick % SLOTS as u64).unwrap_or(0)
}

impl Entry {
    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl Deadline {
    /// Lets it pass after `delay`, rounded up to a tick. Moving it further away costs one store.
    pub fn set(&self, delay: Duration) {
        let ticks = ticks(delay).max(1);
        // The present tick has begun already; without one more the deadline could be early.
        let due = self
            .timers
            .now
            .get()
            .saturating_add(ticks)
            .saturating_add(1)
            .min(NEVER - 1);
        self.entry.due.set(due);
        self.entry.idle.set(false);
        if due < self.entry.filed.get() {
            self.timers.file(&self.entry);
        }
    }

    /// As [`Deadline::set`], and lets [`Timers::end_idle`] end it before its time.
    pub fn set_idle(&self, delay: Duration) {
        self.set(delay);
        self.entry.idle.set(true);
    }

    /// It will not pass until it is set again.
    pub fn clear(&self) {
        self.entry.due.set(NEVER);
        self.entry.idle.set(false);
    }

    /// Whether it has passed.
    pub fn is_expired(&self) -> bool {
        self.entry.due.get() <= self.timers.now.get()
    }

    /// Ready when it has passed.
    pub fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.is_expired() {
            return Poll::Ready(());
        }
        let mut waker = self.entry.waker.borrow_mut();
        if !waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Waits for `future`, but not beyond the deadline. Both wake the one task that owns them.
    ///
    /// # Errors
    ///
    /// [`Expired`], if the deadline passed first.
    ///
    /// # Cancel safety
    ///
    /// As `future`.
    pub async fn within<F: Future>(&self, future: F) -> Result<F::Output, Expired> {
        let mut future = std::pin::pin!(future);
        poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            self.poll(cx).map(|()| Err(Expired))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = limits::TICK;

    fn timers() -> Rc<Timers> {
        Rc::new(Timers::new())
    }

    #[test]
    fn deadline_is_never_early_and_at_most_two_ticks_late() {
        for ticks in [1_u32, 2, 255, 256, 257, 1000] {
            let timers = timers();
            let deadline = timers.deadline();
            deadline.set(TICK * ticks);
            timers.advance(u64::from(ticks));
            assert!(!deadline.is_expired(), "{ticks} ticks: early");
            timers.advance(1);
            assert!(deadline.is_expired(), "{ticks} ticks: late");
        }
    }

    #[test]
    fn waiter_is_woken_when_the_deadline_passes() {
        struct Count(std::sync::atomic::AtomicUsize);
        impl std::task::Wake for Count {
            fn wake(self: std::sync::Arc<Self>) {
                self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let count = std::sync::Arc::new(Count(0.into()));
        let waker = Waker::from(std::sync::Arc::clone(&count));
        let woken = || count.0.load(std::sync::atomic::Ordering::Relaxed);
        let timers = timers();
        let deadline = timers.deadline();
        deadline.set(TICK * 600);
        assert!(deadline.poll(&Context::from_waker(&waker)).is_pending());

        timers.advance(300);
        // Moved nearer than the slot it is filed in, then further than that.
        deadline.set(TICK * 3);
        deadline.set(TICK * 10);
        timers.advance(10);
        assert_eq!(woken(), 0);
        timers.advance(1);
        assert_eq!(woken(), 1);
        assert!(deadline.poll(&Context::from_waker(&waker)).is_ready());
    }

    #[test]
    fn cleared_deadline_does_not_pass_and_can_be_set_again() {
        let timers = timers();
        let deadline = timers.deadline();
        deadline.set(TICK);
        deadline.clear();
        timers.advance(1000);
        assert!(!deadline.is_expired());
        deadline.set(TICK);
        timers.advance(2);
        assert!(deadline.is_expired());
    }

    #[test]
    fn idle_deadlines_end_at_once_and_others_do_not() {
        let timers = timers();
        let (idle, busy) = (timers.deadline(), timers.deadline());
        idle.set_idle(TICK * 100);
        busy.set(TICK * 100);
        timers.end_idle();
        assert!(idle.is_expired());
        assert!(!busy.is_expired());
    }

    #[test]
    fn dropped_deadlines_leave_the_wheel() {
        let timers = timers();
        for _ in 0..100 {
            timers.deadline().set(TICK * 5);
        }
        timers.advance(SLOTS as u64);
        assert!(timers.slots.borrow().iter().all(Vec::is_empty));
    }
}
