//! One pair's try at one request: prefill, decode, relay, under an id of its own.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::balance::Pair;
use crate::error::{Error, of_fault, side};
use crate::io::clock;
use crate::kv_transfer::RequestId;
use crate::limits;
use crate::nodes::{InFlight, Node, Role};
use crate::openai::Patch;
use crate::telemetry::{Cause, Counter, Side, Stage};
use crate::upstream::{Answer, Failure, Fault};

use super::client::Client;
use super::context::Context;
use super::decode::{self, Prefilled};
use super::drain::Drain;
use super::incoming::Incoming;
use super::ledger::{Action, Event, Ledger, Phase};
use super::prefill::{self, NotPrefilled, Refused};
use super::request::Ended;
use super::respond::{self, Local};
use super::route::Reply;
use super::stream::{self, Ending};
use super::watch::Watch;

/// What is to be generated.
#[derive(Debug)]
pub(super) struct Job {
    /// The request.
    pub(super) incoming: Incoming,
    /// What makes the prefill form of its body.
    pub(super) patch: Patch,
}

/// What became of an attempt.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The request is over; the status of its answer.
    Over(Result<u16, Ended>),
    /// A node failed before a byte of an answer; another pair may try.
    Failed {
        /// What the client is told if none does.
        error: Error,
        /// The job, to be tried again.
        again: Box<Job>,
        /// The node that failed.
        node: Arc<Node>,
    },
}

/// The client's side of an attempt.
#[derive(Debug)]
pub(super) struct Downstream<'a> {
    pub(super) client: &'a Client,
    pub(super) reply: &'a mut Reply,
    pub(super) watch: &'a mut Watch,
}

/// One pair's try at one request.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    context: &'a Rc<Context>,
    prefill: Arc<Node>,
    decode: InFlight,
    id: RequestId,
    ledger: Ledger,
}

impl<'a> Attempt<'a> {
    /// Counts the request at D, where KV will come for it, and gives it an id that names both nodes.
    pub(super) fn new(context: &'a Rc<Context>, pair: &Pair) -> Self {
        Self {
            context,
            prefill: Arc::clone(&pair.prefill),
            decode: InFlight::new(Arc::clone(&pair.decode), context.shard),
            id: RequestId::new(&pair.prefill.kv, &pair.decode.kv, context.random()),
            ledger: Ledger::new(),
        }
    }

    /// The id that both nodes know the request by.
    pub(super) const fn id(&self) -> &RequestId {
        &self.id
    }

    /// Runs both legs. What the nodes are owed if one of them fails, or the client leaves, is the
    /// ledger's to say and is done here.
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes the connections to the nodes, and may leave KV at D.
    pub(super) async fn run(mut self, job: Job, mut down: Downstream<'_>) -> Outcome {
        let began = clock::now();
        let busy = InFlight::new(Arc::clone(&self.prefill), self.context.shard);
        self.ledger.note(Event::SendPrefill);
        let leg = prefill::run(self.context, &busy, &job, &self.id);
        // Once it was sent it is waited for, whether or not the client still waits.
        // Boxed, as each leg is: a stream that runs for hours holds no room for what is over.
        let prefilled = down.watch.beside(Box::pin(leg)).await;
        if down.watch.is_gone() {
            self.ledger.note(Event::ClientLeft);
        }
        let staged = self.took(Stage::Prefill, began);
        if let Err(error) = prefilled {
            return Box::pin(self.not_prefilled(error, job, down)).await;
        }
        // P has nothing to do with what follows, which may take hours.
        drop(busy);
        if self.ledger.note(Event::PrefillSucceeded) == Action::Drain {
            self.drain(job);
            return Outcome::Over(Err(Ended::ClientLeft));
        }

        let proof = Prefilled::new(self.id.clone());
        let is_sent = Cell::new(false);
        let answer = {
            let leg = decode::start(self.context, &self.decode, &job.incoming, proof, &is_sent);
            let mut leg = Box::pin(leg);
            let answer = down.watch.or_gone(leg.as_mut()).await;
            if answer.is_err() && is_sent.get() {
                grace(self.context, staged, leg).await;
            }
            answer
        };
        if is_sent.get() {
            self.ledger.note(Event::SendDecode);
        }
        match answer {
            // D ends a request whose connection is closed; one that it never got, it must be told of.
            Err(_) => {
                if self.ledger.note(Event::ClientLeft) == Action::Drain {
                    self.drain(job);
                }
                Outcome::Over(Err(Ended::ClientLeft))
            }
            Ok(Err(failure)) => self.not_decoded(failure, job),
            Ok(Ok(answer)) => {
                self.took(Stage::Decode, staged);
                Outcome::Over(self.relay(answer, job, &mut down, staged).await)
            }
        }
    }

    /// Relays D's answer to the decode that was begun at `since`, whatever its status.
    async fn relay(
        mut self,
        answer: Answer,
        job: Job,
        down: &mut Downstream<'_>,
        since: Instant,
    ) -> Result<u16, Ended> {
        let (context, status, began) = (self.context, answer.head.status, clock::now());
        let event = match status {
            200..300 => Event::DecodeAccepted,
            400..500 => Event::DecodeRefused,
            _ => Event::DecodeUnknown,
        };
        let action = self.ledger.note(event);
        let mut ledger = self.ledger;
        let busy = match action {
            Action::Drain => self.drain(job),
            Action::CountStranded | Action::None | Action::CloseDecode => {
                if action == Action::CountStranded {
                    context.counters.count(Counter::Stranded);
                    context
                        .counters
                        .failed(Stage::Decode, Side::Decode, Cause::Failed);
                }
                // The request's bytes have done their work; a stream may run for hours.
                drop(job);
                let Self { decode, .. } = self;
                decode
            }
        };
        let first_by = context
            .settings()
            .first_byte_within
            .map(|within| since + within);
        let ended = relay(context, answer, down, Role::Decode, first_by).await;
        if ledger.phase() == Phase::Streaming {
            ledger.note(Event::StreamEnded);
        }
        // D was busy until the last byte.
        drop(busy);
        context
            .counters
            .took(Stage::Stream, clock::now().saturating_duration_since(began));
        ended.map(|()| status)
    }

    /// P has made no KV, or nobody knows: no decode.
    async fn not_prefilled(
        mut self,
        error: NotPrefilled,
        job: Job,
        mut down: Downstream<'_>,
    ) -> Outcome {
        let (context, node) = (self.context, Arc::clone(&self.prefill));
        match error {
            NotPrefilled::Refused(refused) => {
                self.ledger.note(Event::PrefillRefused);
                context
                    .counters
                    .failed(Stage::Prefill, Side::Prefill, Cause::Refused);
                drop(job);
                match refused {
                    Refused::Answer(answer) => {
                        let status = answer.head.status;
                        let ended = relay(context, *answer, &mut down, Role::Prefill, None).await;
                        Outcome::Over(ended.map(|()| status))
                    }
                    Refused::Event { status, body } => {
                        let local = Local {
                            status,
                            ..Local::ok("application/json", &body)
                        };
                        let sent = respond::local(down.client, down.reply, local).await;
                        Outcome::Over(sent.map(|()| status).map_err(Ended::from))
                    }
                }
            }
            NotPrefilled::Failed { status } => {
                self.count_stranded(Event::PrefillUnknown);
                node.distrust();
                context
                    .counters
                    .failed(Stage::Prefill, Side::Prefill, Cause::Failed);
                Outcome::Failed {
                    error: Error::PrefillFailed { status },
                    again: Box::new(job),
                    node,
                }
            }
            NotPrefilled::Node(failure) => {
                if failure.may_have_run {
                    self.count_stranded(Event::PrefillUnknown);
                } else {
                    self.ledger.note(Event::PrefillRefused);
                }
                self.node_failed(Role::Prefill, &node, failure, job)
            }
        }
    }

    /// D has not answered, or not with a head. Another pair may try only if no byte of an answer came: a
    /// D that answers nonsense has worked on the request.
    fn not_decoded(mut self, failure: Failure, job: Job) -> Outcome {
        let is_unreachable = self.ledger.may_decode();
        let event = if is_unreachable {
            Event::DecodeUnreachable
        } else {
            Event::DecodeUnknown
        };
        self.count_stranded(event);
        let node = Arc::clone(self.decode.node());
        let has_answered = failure.has_answered;
        match self.node_failed(Role::Decode, &node, failure, job) {
            Outcome::Failed { error, .. } if has_answered => Outcome::Over(Err(error.into())),
            outcome => outcome,
        }
    }

    fn node_failed(&self, role: Role, node: &Arc<Node>, failure: Failure, job: Job) -> Outcome {
        failure.fault.blame(node);
        tracing::debug!(role = role.name(), node = %node.http, %failure, "a node failed");
        let stage = if role == Role::Prefill {
            Stage::Prefill
        } else {
            Stage::Decode
        };
        self.context
            .counters
            .failed(stage, side(role), of_fault(&failure.fault).1);
        let error = Error::Node { role, failure };
        Outcome::Failed {
            error,
            again: Box::new(job),
            node: Arc::clone(node),
        }
    }

    fn count_stranded(&mut self, event: Event) {
        if self.ledger.note(event) == Action::CountStranded {
            self.context.counters.count(Counter::Stranded);
        }
    }

    /// Makes D forget the KV of this id; a guard of D for whoever still relays its answer.
    fn drain(self, job: Job) -> InFlight {
        let Self {
            context,
            decode,
            id,
            ..
        } = self;
        let guard = InFlight::new(Arc::clone(decode.node()), context.shard);
        Drain {
            node: decode,
            job,
            id,
        }
        .start(context);
        guard
    }

    /// Counts how long a stage took that began at `since`; now.
    fn took(&self, stage: Stage, since: Instant) -> Instant {
        let now = clock::now();
        self.context
            .counters
            .took(stage, now.saturating_duration_since(since));
        now
    }
}

/// Holds a leg that nobody waits for any longer until its node has surely taken the request in: closed
/// sooner, it might never end there. See [`limits::ADMISSION_GRACE`].
async fn grace<T>(
    context: &Context,
    since: Instant,
    leg: impl Future<Output = Result<T, Failure>>,
) {
    let held = async {
        if let Ok(_open) = leg.await {
            std::future::pending::<()>().await;
        }
    };
    let deadline = context.timers.deadline();
    let spent = clock::now().saturating_duration_since(since);
    deadline.set(limits::ADMISSION_GRACE.saturating_sub(spent));
    // Passing is what it is for; a node that failed needs no time.
    deadline.within(held).await.unwrap_or_default();
}

/// Relays a node's answer, whose body must begin before `first_by`, and counts its end.
pub(super) async fn relay(
    context: &Context,
    answer: Answer,
    down: &mut Downstream<'_>,
    role: Role,
    first_by: Option<Instant>,
) -> Result<(), Ended> {
    let node = Arc::clone(&answer.connection.node);
    let count = |fault: Fault| {
        fault.blame(&node);
        tracing::debug!(node = %node.http, %fault, "an answer broke off");
        context
            .counters
            .failed(Stage::Stream, side(role), of_fault(&fault).1);
        fault
    };
    let began = clock::now();
    match stream::relay(context, down, answer, first_by).await {
        Ending::Whole => Ok(()),
        Ending::ClientLeft(unanswered) => {
            if let Some(connection) = unanswered {
                grace(context, began, async { Ok::<_, Failure>(connection) }).await;
            }
            Err(Ended::ClientLeft)
        }
        Ending::Cut(fault) => {
            count(fault);
            Err(Ended::Cut)
        }
        Ending::Unsent(fault) => {
            let failure = count(fault).after_sending(true);
            Err(Ended::Refused(Error::Node { role, failure }))
        }
    }
}
