//! Making a D forget KV that nobody will ask for.

use std::rc::Rc;

use crate::io::{clock, spawn, unless_panicked};
use crate::kv_transfer::RequestId;
use crate::nodes::InFlight;
use crate::telemetry::{Cause, Counter, Side, Stage};

use super::Context;
use super::attempt::Job;
use super::context::Open;
use super::prefill::{self, read_body};

/// A decode of one token, sent for its effect on D alone: the KV that P pushed under an id is dropped
/// only when D sees a request of that id end (vLLM 0.9.2 to 0.23, PUT and PUT_ASYNC).
#[derive(Debug)]
pub(super) struct Drain {
    /// The node that holds the KV, counted as busy until it has forgotten it.
    pub(super) node: InFlight,
    /// The request, of which the prefill's form is sent: it asks for one token.
    pub(super) job: Job,
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
        let deadline = context.timers.deadline();
        let within = context.settings().decode_within();
        let node = self.node.node();
        let sent = prefill::send(context, &self.node, &self.job, &self.id, within, &deadline);
        let answer = sent
            .await
            .inspect_err(|failure| failure.fault.blame(node))?;
        let body = read_body(&answer, &deadline, |_| ());
        let is_clean = body.await.inspect_err(|fault| fault.blame(node))?;
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
