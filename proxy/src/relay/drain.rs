//! Making a D forget KV that nobody will ask for.

use std::cell::Cell;
use std::rc::Rc;

use crate::io::{self, clock, spawn, unless_panicked};
use crate::kv_transfer::RequestId;
use crate::nodes::InFlight;
use crate::openai::Patch;
use crate::telemetry::{Cause, Counter, Side, Stage};
use crate::upstream::{Request, exchange};

use super::Context;
use super::context::Open;
use super::incoming::Incoming;
use super::leg;
use super::prefill::read_body;

/// A decode of one token, sent for its effect on D alone: the KV that P pushed under an id is dropped
/// only when D sees a request of that id end (vLLM 0.9.2 to 0.23, PUT and PUT_ASYNC).
#[derive(Debug)]
pub(super) struct Drain {
    /// The node that holds the KV, counted as busy until it has forgotten it.
    pub(super) node: InFlight,
    /// The request; its prefill form asks for one token.
    pub(super) incoming: Incoming,
    /// What makes the prefill form of it.
    pub(super) patch: Patch,
    /// The id the KV came under.
    pub(super) id: RequestId,
}

impl Drain {
    /// Sends it, apart from the client's connection. The process does not end before it has ended.
    pub(super) fn start(self, context: &Rc<Context>) {
        let context = Rc::clone(context);
        let open = context.open();
        spawn(async move {
            let ran = unless_panicked(self.run(&context, open)).await;
            if let Err(panic) = ran {
                tracing::error!(%panic, "a drain panicked");
            }
        });
    }

    async fn run(self, context: &Context, open: Open) {
        let since = clock::now();
        context.counters.count(Counter::Drained);
        if let Err(fault) = self.send(context).await {
            context.counters.count(Counter::Stranded);
            context
                .counters
                .failed(Stage::Drain, Side::Decode, Cause::Failed);
            tracing::warn!(node = %self.node.node().http, %fault, "KV could not be drained");
        }
        context
            .counters
            .took(Stage::Drain, clock::now().saturating_duration_since(since));
        drop(open);
    }

    async fn send(&self, context: &Context) -> Result<(), Box<dyn std::error::Error>> {
        let deadline: io::Deadline = context.timers.deadline();
        let node = self.node.node();
        let body: Vec<&[u8]> = self.patch.slices(self.incoming.body()).collect();
        let body_bytes = self.patch.len(self.incoming.body());
        let id = self.id.as_str();
        let head = leg::head(context, &self.incoming, node, Some(id), Some(body_bytes));
        let answer_within = context.settings().answer_within;
        let request = Request {
            head: &head,
            body: &body,
            answer_within,
            is_sent: &Cell::new(false),
        };
        let answer = exchange(&context.pool, node, request, &deadline, clock::now()).await?;
        let is_clean = read_body(&answer, &deadline, |_| ()).await?;
        let status = answer.head.status;
        if is_clean && answer.is_reusable() {
            context.pool.give_back(answer.connection, clock::now());
        }
        if status == 200 {
            Ok(())
        } else {
            Err(format!("status {status}").into())
        }
    }
}
