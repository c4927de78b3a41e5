//! What the node's thread and the handle in a test both see.

use super::faults::{Action, Faults, Place};
use super::ledger::{Ledger, State};
use super::options::Options;
use super::register::Registration;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Settings, account and faults of one node.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Options,
    ledger: Mutex<Ledger>,
    changed: Condvar,
    waiters: AtomicUsize,
    faults: Mutex<Faults>,
    registration: Mutex<Option<Registration>>,
    /// Ends the node's thread, dropping every socket at once.
    pub(crate) stop: Notify,
}

impl Shared {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            ledger: Mutex::new(Ledger::new(options.role, options.ledger_ids)),
            changed: Condvar::new(),
            waiters: AtomicUsize::new(0),
            faults: Mutex::new(Faults::new(options.faults.clone(), options.seed)),
            registration: Mutex::default(),
            stop: Notify::new(),
            options,
        }
    }

    /// Changes the account and wakes whoever waits on it.
    pub(crate) fn record<T>(&self, change: impl FnOnce(&mut Ledger) -> T) -> T {
        let result = change(&mut self.lock());
        // Notifying costs a system call, and almost always nobody waits.
        if self.waiters.load(Ordering::SeqCst) > 0 {
            self.changed.notify_all();
        }
        result
    }

    /// Reads the account.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Ledger) -> T) -> T {
        look(&self.lock())
    }

    pub(crate) fn set_state(&self, state: State) {
        self.record(|ledger| ledger.state = state);
    }

    /// Waits until the account satisfies `done`; false when `limit` passed first.
    pub(crate) fn wait(&self, limit: Duration, mut done: impl FnMut(&Ledger) -> bool) -> bool {
        let end = Instant::now() + limit;
        self.waiters.fetch_add(1, Ordering::SeqCst);
        let mut ledger = self.lock();
        let met = loop {
            if done(&ledger) {
                break true;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break false;
            }
            ledger = self
                .changed
                .wait_timeout(ledger, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        };
        drop(ledger);
        self.waiters.fetch_sub(1, Ordering::SeqCst);
        met
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn registration(&self) -> MutexGuard<'_, Option<Registration>> {
        self.registration
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the registration connections, if there are any.
    pub(crate) fn end_registration(&self) {
        // The guard is given back first: closing waits for the ping thread.
        let registration = self.registration().take();
        drop(registration);
    }

    /// The fault that strikes here, noted in the account.
    pub(crate) fn draw(&self, place: Place, path: &str) -> Option<Action> {
        let action = self.faults().draw(place, path)?;
        self.record(|ledger| *ledger.faults.entry(action.name()).or_insert(0) += 1);
        Some(action)
    }
}
