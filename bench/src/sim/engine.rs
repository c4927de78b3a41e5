//! The engine: continuous batching over simulated time, and what kills or freezes it.
//!
//! One task advances all sequences in steps, as the real engine core does. Everything that the real
//! worker does inside a step without a timeout — waiting for KV, pushing KV — stops this task too,
//! and with it every other request of the node.

use super::kv::{KvStore, Links};
use super::ledger::{Event, State};
use super::metrics::{Finished, Metrics, add};
use super::options::Role;
use super::prefix_cache::{BLOCK_TOKENS, PrefixCache};
use super::sequence::{Plan, Sequence};
use super::shared::Shared;
use super::timing::Clock;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::Notify;

/// Why the engine is gone, in words.
#[derive(Debug)]
pub(crate) struct Death(pub(crate) String);

/// The queue in front of the engine and its switches; the running batch belongs to [`Engine::run`].
#[derive(Debug)]
pub(crate) struct Engine {
    pub(super) shared: Arc<Shared>,
    pub(crate) metrics: Rc<Metrics>,
    pub(super) kv: Rc<KvStore>,
    waiting: RefCell<VecDeque<Rc<Sequence>>>,
    work: Notify,
    frozen: Cell<bool>,
    doomed: RefCell<Option<Death>>,
    dead: Cell<bool>,
}

/// A sequence in the batch.
pub(super) struct Running {
    pub(super) sequence: Rc<Sequence>,
    blocks: usize,
}

/// The batch and what belongs to it.
pub(super) struct Batch {
    pub(super) running: Vec<Running>,
    blocks: usize,
    prefixes: PrefixCache,
    pub(super) links: Links,
    pub(super) clock: Clock,
}

impl Engine {
    pub(crate) fn new(shared: Arc<Shared>, kv: Rc<KvStore>) -> Self {
        Self {
            shared,
            metrics: Rc::default(),
            kv,
            waiting: RefCell::default(),
            work: Notify::new(),
            frozen: Cell::new(false),
            doomed: RefCell::default(),
            dead: Cell::new(false),
        }
    }

    /// Queues the sequences of one request.
    pub(crate) fn submit(&self, sequences: &[Rc<Sequence>]) {
        self.shared.record(|ledger| {
            for sequence in sequences {
                ledger.live(&sequence.engine_id, true);
                ledger.event(&sequence.engine_id, Event::Queued);
            }
        });
        if self.dead.get() {
            for sequence in sequences {
                sequence.signal.die();
            }
            return;
        }
        self.waiting.borrow_mut().extend(sequences.iter().cloned());
        self.work.notify_one();
    }

    /// The client of these sequences left.
    pub(crate) fn abort(&self, sequences: &[Rc<Sequence>]) {
        for sequence in sequences.iter().filter(|s| !s.is_finished()) {
            sequence.aborted.set(true);
        }
        self.work.notify_one();
    }

    /// Stops for good; nothing shows it but the silence.
    pub(crate) fn freeze(&self) {
        self.frozen.set(true);
        self.work.notify_one();
    }

    /// Dies at the next step.
    pub(crate) fn doom(&self, why: impl Into<String>) {
        *self.doomed.borrow_mut() = Some(Death(why.into()));
        self.work.notify_one();
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.get()
    }

    /// Requests that wait or run, by the queue's own account.
    pub(crate) fn load(&self) -> usize {
        self.metrics.running.get() + self.waiting.borrow().len()
    }

    /// Steps until something kills the engine.
    pub(crate) async fn run(&self) -> Death {
        let options = &self.shared.options;
        let mut batch = Batch {
            running: Vec::new(),
            blocks: 0,
            prefixes: PrefixCache::new(options.prefix_cache_blocks),
            links: Links::default(),
            clock: Clock::new(options.speed),
        };
        let death = loop {
            match self.step(&mut batch).await {
                Ok(()) => {}
                Err(death) => break death,
            }
        };
        self.dead.set(true);
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        let running = batch.running.into_iter().map(|running| running.sequence);
        for sequence in running.chain(waiting) {
            sequence.signal.die();
        }
        death
    }

    /// One step, or one wait for work.
    async fn step(&self, batch: &mut Batch) -> Result<(), Death> {
        self.reap(batch);
        if self.frozen.get() {
            self.hang().await;
        }
        if let Some(death) = self.doomed.take() {
            return Err(death);
        }
        let fresh = self.admit(batch);
        if batch.running.is_empty() {
            self.gauge(batch);
            self.work.notified().await;
            batch.clock.restart();
            return Ok(());
        }
        self.check_prefill(batch, fresh)?;
        let mut compute = 0;
        for index in fresh..batch.running.len() {
            compute += self.load_prompt(batch, index).await?;
        }
        let decoding = batch.running.len();
        batch
            .clock
            .pay(self.shared.options.profile.step(compute, decoding))
            .await;
        if self.shared.options.role == Role::Prefill {
            for index in fresh..batch.running.len() {
                self.push(batch, index).await;
            }
        }
        self.advance(batch);
        self.gauge(batch);
        Ok(())
    }

    /// Takes out sequences whose client left.
    fn reap(&self, batch: &mut Batch) {
        let mut gone = Vec::new();
        let mut freed = 0;
        batch.running.retain(|running| {
            let aborted = running.sequence.aborted.get();
            if aborted {
                freed += running.blocks;
                gone.push(Rc::clone(&running.sequence));
            }
            !aborted
        });
        batch.blocks -= freed.min(batch.blocks);
        self.waiting.borrow_mut().retain(|sequence| {
            let aborted = sequence.aborted.get();
            if aborted {
                gone.push(Rc::clone(sequence));
            }
            !aborted
        });
        for sequence in gone {
            self.metrics.finished(Finished::Abort);
            self.end(&sequence, Event::Aborted);
        }
    }

    /// A sequence ended: its KV goes with it.
    fn end(&self, sequence: &Sequence, how: Event) {
        self.shared.record(|ledger| {
            ledger.live(&sequence.engine_id, false);
            ledger.event(&sequence.engine_id, how);
        });
        self.kv.free(&sequence.engine_id);
    }

    /// Moves what fits from the queue into the batch; the index of the first newcomer.
    fn admit(&self, batch: &mut Batch) -> usize {
        let options = &self.shared.options;
        let fresh = batch.running.len();
        let mut budget = options.max_num_batched_tokens;
        let mut waiting = self.waiting.borrow_mut();
        while let Some(sequence) = waiting.front() {
            let tokens = sequence.prompt.tokens.len();
            let compute = match options.role {
                Role::Decode => 1,
                Role::Prefill | Role::Both => tokens,
            };
            // Reserving the whole answer stands in for preemption.
            let answer = sequence.limits.named.unwrap_or(options.natural_length.1);
            let total = tokens.saturating_add(usize::try_from(answer).unwrap_or(usize::MAX));
            let blocks = total.div_ceil(BLOCK_TOKENS);
            let alone = batch.running.is_empty();
            let fits = batch.running.len() < options.max_num_seqs
                && batch.blocks.saturating_add(blocks) <= options.kv_blocks
                && (compute <= budget || batch.running.len() == fresh);
            if !fits && !alone {
                break;
            }
            budget = budget.saturating_sub(compute);
            batch.blocks = batch.blocks.saturating_add(blocks);
            if let Some(sequence) = waiting.pop_front() {
                batch.running.push(Running { sequence, blocks });
            }
        }
        fresh
    }

    /// Brings a newcomer's prompt in: KV from the store on a decode node, cached blocks elsewhere.
    /// Answers how many tokens are left to compute.
    async fn load_prompt(&self, batch: &mut Batch, index: usize) -> Result<u64, Death> {
        let Some(running) = batch.running.get(index) else {
            return Ok(0);
        };
        let sequence = Rc::clone(&running.sequence);
        let options = &self.shared.options;
        self.check_markers(&sequence)?;
        let prompt = u64::from(sequence.prompt.len());
        let cached = batch.prefixes.admit(&sequence.prompt.tokens);
        let cached = u64::try_from(cached).unwrap_or(0);
        let mut hash = sequence.prompt.hash;
        let mut computed = prompt - cached;
        add(&self.metrics.prefix_queries, prompt);
        add(&self.metrics.prefix_hits, cached);
        if options.role == Role::Decode {
            hash = self.await_kv(&sequence).await?;
            add(&self.metrics.external_queries, prompt - cached);
            add(
                &self.metrics.external_hits,
                (prompt - cached).saturating_sub(1),
            );
            computed = 1;
        }
        let room = options.max_model_len.saturating_sub(sequence.prompt.len());
        let plan = Plan::new(
            &options.model,
            hash,
            sequence.choice,
            &sequence.limits,
            room,
            options.natural_length,
        );
        // A sequence enters a batch once, so its plan cannot be there yet.
        sequence.plan.set(plan).ok();
        add(&self.metrics.prompt_tokens, prompt);
        self.shared
            .record(|ledger| ledger.event(&sequence.engine_id, Event::Scheduled));
        Ok(computed)
    }

    /// One more token for everyone; what is complete leaves the batch.
    fn advance(&self, batch: &mut Batch) {
        let tokens = u64::try_from(batch.running.len()).unwrap_or(u64::MAX);
        let mut done = Vec::new();
        let mut freed = 0;
        batch.running.retain(|running| {
            let sequence = &running.sequence;
            if sequence.produced.get() == 0 {
                let waited = sequence.arrived.elapsed();
                self.metrics.first_token(waited.as_secs_f64());
            }
            sequence.produced.set(sequence.produced.get() + 1);
            let finished = sequence.is_finished();
            if finished {
                freed += running.blocks;
                done.push(Rc::clone(sequence));
            } else {
                sequence.signal.wake();
            }
            !finished
        });
        batch.blocks -= freed.min(batch.blocks);
        add(&self.metrics.generation_tokens, tokens);
        self.shared.record(|ledger| ledger.tokens += tokens);
        for sequence in done {
            let stopped = sequence.plan.get().is_some_and(|plan| plan.stop.is_some());
            self.metrics.finished(if stopped {
                Finished::Stop
            } else {
                Finished::Length
            });
            // The account is settled before the client can know.
            self.end(&sequence, Event::Finished);
            sequence.signal.wake();
        }
    }

    fn gauge(&self, batch: &Batch) {
        self.metrics.running.set(batch.running.len());
        self.metrics.waiting.set(self.waiting.borrow().len());
        self.metrics
            .kv_usage
            .set(ratio(batch.blocks, self.shared.options.kv_blocks));
    }

    async fn hang(&self) {
        self.shared.set_state(State::Frozen);
        std::future::pending::<()>().await;
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "block counts stay far below 2^53"
)]
fn ratio(used: usize, of: usize) -> f64 {
    used as f64 / of.max(1) as f64
}
