//! What a shard lends to its requests.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Cache};

use crate::io::Timers;
use crate::limits;
use crate::nodes::Snapshot;
use crate::secret::Secret;
use crate::telemetry::Counters;
use crate::upstream::Pool;

use super::access::Access;

/// Random bytes fetched at once: enough for 256 ids.
const RANDOM_BYTES: usize = 4_096;

/// What an operator may set of the request path. The same for every shard.
#[derive(Debug)]
pub struct Settings {
    /// Longest request body in bytes.
    pub body_bytes_max: u64,
    /// `Authorization` of both legs, when the operator gave a key for the nodes.
    pub node_authorization: Option<Secret>,
    /// Who may ask.
    pub access: Access,
    /// What this process adds to `Via`, and refuses to see again. Unique to the process.
    pub via: Box<str>,
    /// Time for one answer of a node to begin.
    pub answer_within: Duration,
    /// Time for the first byte of a decode's answer to come, its body's included; as the two others, if the
    /// operator set none.
    pub first_byte_within: Option<Duration>,
    /// Longest pause inside a stream of a node.
    pub stream_idle: Duration,
    /// Times that a client's connection is given.
    pub client_times: ClientTimes,
    /// Renders `/metrics`; the relay does not know the other shards.
    pub metrics: fn(&Shared) -> String,
}

impl Settings {
    /// Time for D to begin its answer.
    pub(super) fn decode_within(&self) -> Duration {
        self.first_byte_within
            .map_or(self.answer_within, |within| within.min(self.answer_within))
    }
}

/// Times that a client's connection is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientTimes {
    /// From the first byte of a request's head to its end.
    pub head: Duration,
    /// Longest pause inside a request's body.
    pub body_idle: Duration,
    /// Longest pause between two requests.
    pub keep_alive: Duration,
    /// Longest time without taking a byte of an answer.
    pub write: Duration,
}

/// What all shards share: settings, the published fleet, and three words of memory.
#[derive(Debug)]
pub struct Shared {
    /// What the operator set.
    pub settings: Settings,
    /// The newest view of the fleet; written by the registry alone.
    pub fleet: Arc<ArcSwap<Snapshot>>,
    /// Every shard's counters, for a scrape.
    pub counters: Vec<Arc<Counters>>,
    /// Requests so far: the turn of the next pair, as the example proxy counts.
    pub turn: AtomicU64,
    /// Whether the process is ending.
    pub phase: PhaseCell,
    /// The name of the driver.
    pub driver: std::sync::OnceLock<&'static str>,
    /// When the process became ready.
    pub started: Instant,
    /// What the registry counts.
    pub registry: Arc<crate::registry::Stats>,
}

/// How far the process is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// It serves.
    Serving = 0,
    /// It accepts nothing new and finishes what runs.
    Draining = 1,
}

/// The process's [`Phase`], set by the main thread and read by the shards.
#[derive(Debug, Default)]
pub struct PhaseCell(AtomicU8);

impl PhaseCell {
    /// Begins the drain.
    pub fn drain(&self) {
        self.0.store(Phase::Draining as u8, Ordering::Relaxed);
    }

    /// The phase now.
    pub fn get(&self) -> Phase {
        if self.0.load(Ordering::Relaxed) == 0 {
            Phase::Serving
        } else {
            Phase::Draining
        }
    }
}

/// One shard's own things.
#[derive(Debug)]
pub struct Context {
    /// Number of the shard, from 0.
    pub shard: usize,
    /// What all shards share.
    pub shared: Arc<Shared>,
    /// This shard's counters.
    pub counters: Arc<Counters>,
    /// This shard's deadlines.
    pub timers: Rc<Timers>,
    /// This shard's idle connections to nodes.
    pub pool: Pool,
    fleet: RefCell<Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>>,
    /// What one read of a stream goes through on its way to the other side. It is used between two
    /// awaits only, so one is enough for all streams, and it stays in the processor's cache.
    pub(super) relay_buffer: RefCell<Box<[u8]>>,
    open: Cell<usize>,
    random: RefCell<Random>,
}

/// Random bytes from the kernel, fetched for many ids at once.
#[derive(Debug)]
struct Random {
    bytes: Box<[u8]>,
    used: usize,
}

impl Default for Random {
    fn default() -> Self {
        let bytes = vec![0; RANDOM_BYTES].into_boxed_slice();
        Self {
            used: bytes.len(),
            bytes,
        }
    }
}

impl Random {
    fn take(&mut self) -> [u8; 16] {
        if self.used >= self.bytes.len() {
            // It fails only before the kernel has any randomness, at boot; this process
            // would not be serving then.
            getrandom::fill(&mut self.bytes).unwrap_or_default();
            self.used = 0;
        }
        let next = self
            .bytes
            .get(self.used..)
            .and_then(|rest| rest.first_chunk());
        self.used += 16;
        next.copied().unwrap_or_default()
    }
}

/// One client connection or drain of a shard; dropping it ends the count.
#[derive(Debug)]
pub struct Open(Rc<Context>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
    }
}

impl Context {
    /// The things of shard number `shard`.
    pub fn new(shard: usize, shared: Arc<Shared>, counters: Arc<Counters>) -> Self {
        let pool = Pool::new(
            Arc::clone(&counters),
            limits::CONNECT_TIMEOUT,
            limits::UPSTREAM_IDLE_TIMEOUT,
        );
        let fleet = RefCell::new(Cache::new(Arc::clone(&shared.fleet)));
        Self {
            shard,
            shared,
            counters,
            timers: Rc::new(Timers::new()),
            pool,
            fleet,
            relay_buffer: RefCell::new(vec![0; limits::RELAY_BUFFER_BYTES].into()),
            open: Cell::new(0),
            random: RefCell::default(),
        }
    }

    /// The newest view of the fleet, without a lock.
    pub fn fleet(&self) -> Arc<Snapshot> {
        Arc::clone(self.fleet.borrow_mut().load())
    }

    /// The next request's turn; advanced once per routed request, over all shards.
    pub fn next_turn(&self) -> u64 {
        self.shared.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// What makes a request id unlike any other, and impossible to guess.
    pub(super) fn random(&self) -> [u8; 16] {
        self.random.borrow_mut().take()
    }

    /// What the operator set.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Whether the process is ending.
    pub fn is_draining(&self) -> bool {
        self.shared.phase.get() == Phase::Draining
    }

    /// Counts one more connection or drain that the process must not end before.
    pub fn open(self: &Rc<Self>) -> Open {
        self.open.set(self.open.get() + 1);
        Open(Rc::clone(self))
    }

    /// Connections and drains under way.
    pub fn open_count(&self) -> usize {
        self.open.get()
    }
}
