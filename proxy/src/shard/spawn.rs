//! Starting the shards and waiting for their end.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use crate::io::{Driver, DriverChoice, Listener, RuntimeError, clock, run, sleep, spawn as task};
use crate::limits;
use crate::relay::{Context, Shared};

use super::accept::accept;

/// What a shard is started with.
#[derive(Debug)]
pub struct Start {
    /// What it shares with the others.
    pub shared: Arc<Shared>,
    /// Its listeners: each shard has one of each address.
    pub listeners: Vec<Listener>,
    /// The driver that the operator asked for.
    pub driver: DriverChoice,
    /// The core it is pinned to, if there are cores to choose from.
    pub core: Option<core_affinity::CoreId>,
}

/// A shard has started.
#[derive(Debug)]
pub struct Ready {
    /// The driver it runs on.
    pub driver: Driver,
    /// Why it is not the one that was preferred.
    pub refused: Option<RuntimeError>,
}

/// A shard could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its driver was refused.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// Its thread could not be started, or its listener not be watched.
    #[error("a shard could not be started: {0}")]
    Io(#[from] io::Error),
}

/// The running shards.
#[derive(Debug)]
pub struct Shards {
    threads: Vec<JoinHandle<()>>,
    ended: Receiver<usize>,
}

impl Shards {
    /// Waits for the next shard to end, at most for `limit`: its number, or `None` if none did. A shard
    /// ends when the process drains and its last stream has ended, or by a defect.
    pub fn next_end(&self, limit: std::time::Duration) -> Option<usize> {
        self.ended.recv_timeout(limit).ok()
    }

    /// How many there are.
    pub const fn count(&self) -> usize {
        self.threads.len()
    }
}

/// Starts the shards and waits until each runs on its driver.
///
/// # Errors
///
/// Why one of them does not. The process must then end, and takes the others with it.
pub fn spawn(starts: Vec<Start>) -> Result<(Shards, Vec<Ready>), StartError> {
    let (ended_sender, ended) = mpsc::channel();
    let (ready_sender, ready) = mpsc::channel();
    let count = starts.len();
    let mut threads = Vec::with_capacity(count);
    for (index, start) in starts.into_iter().enumerate() {
        let (ended, ready) = (ended_sender.clone(), ready_sender.clone());
        let thread = std::thread::Builder::new().name(format!("shard-{index}"));
        threads.push(thread.spawn(move || {
            // Sent also when the thread unwinds: a shard that dies must not go unnoticed.
            let _ended = Ended {
                index,
                sender: ended,
            };
            body(index, start, &ready);
        })?);
    }
    drop(ready_sender);
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        let gone = |error| io::Error::other(format!("it ended before it was ready: {error}"));
        all.push(ready.recv().map_err(gone)??);
    }
    Ok((Shards { threads, ended }, all))
}

/// Tells that a shard's thread is ending.
struct Ended {
    index: usize,
    sender: Sender<usize>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        // Nobody listens any more when the process is ending.
        self.sender.send(self.index).unwrap_or_default();
    }
}

fn body(index: usize, start: Start, ready: &Sender<Result<Ready, StartError>>) {
    let Start {
        shared,
        listeners,
        driver,
        core,
    } = start;
    if let Some(core) = core {
        // A container may forbid it; the shard then runs where the scheduler puts it.
        core_affinity::set_for_current(core);
    }
    let ran = run(driver, async |driver, refused| {
        let counters = shared
            .counters
            .get(index)
            .map(Arc::clone)
            .unwrap_or_default();
        let context = Rc::new(Context::new(index, shared, counters));
        for listener in listeners {
            match listener.readiness() {
                Ok(readiness) => {
                    let context = Rc::clone(&context);
                    task(async move { accept(&context, &listener, &readiness).await });
                }
                Err(error) => return ready.send(Err(error.into())).unwrap_or_default(),
            }
        }
        ready
            .send(Ok(Ready { driver, refused }))
            .unwrap_or_default();
        turn(&context).await;
    });
    if let Err(error) = ran {
        ready.send(Err(error.into())).unwrap_or_default();
    }
}

/// The shard's own clockwork, until it has drained: deadlines, idle connections, the drain itself.
async fn turn(context: &Rc<Context>) {
    let (mut last, mut was_draining) = (clock::now(), false);
    loop {
        sleep(limits::TICK).await;
        let now = clock::now();
        let elapsed = now.saturating_duration_since(last).as_millis();
        let ticks = elapsed / limits::TICK.as_millis();
        // A whole number of ticks is taken off, so that what is left over counts for the next turn.
        let ticks = u32::try_from(ticks).unwrap_or(u32::MAX);
        last += limits::TICK * ticks;
        context.timers.advance(u64::from(ticks));
        context.pool.sweep(&context.fleet(), now);
        if context.is_draining() {
            if !was_draining {
                tracing::debug!(
                    shard = context.shard,
                    open = context.open_count(),
                    "draining"
                );
                was_draining = true;
            }
            context.timers.end_idle();
            if context.open_count() == 0 {
                return;
            }
        }
    }
}
