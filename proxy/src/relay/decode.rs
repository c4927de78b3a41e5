//! The second leg: D takes the KV and generates the tokens.

use std::cell::Cell;

use crate::io::clock;
use crate::kv_transfer::RequestId;
use crate::nodes::InFlight;
use crate::upstream::{Answer, Failure, Request, exchange};

use super::Context;
use super::incoming::Incoming;
use super::leg;

/// Proof that P has answered with success under this id: without it D must not be sent a decode, for it
/// would wait for the KV for ever, and all its other requests with it (vLLM 0.9.2 to 0.23). It can be
/// used once: a second decode of one id has the same end.
#[derive(Debug)]
pub(super) struct Prefilled {
    id: RequestId,
}

impl Prefilled {
    /// The proof, made by the one who saw the prefill succeed.
    pub(super) const fn new(id: RequestId) -> Self {
        Self { id }
    }
}

/// Sends the client's own bytes to D under the id of the prefill, and reads the head of its answer.
///
/// `is_sent` is set when D may have got a byte of it.
///
/// # Errors
///
/// Why there is none.
///
/// # Cancel safety
///
/// Dropping it closes the connection, and D aborts the request.
pub(super) async fn start(
    context: &Context,
    node: &InFlight,
    incoming: &Incoming,
    prefilled: Prefilled,
    is_sent: &Cell<bool>,
) -> Result<Answer, Failure> {
    let deadline = context.timers.deadline();
    let body = incoming.body();
    let body_bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
    let id = prefilled.id.as_str();
    let head = leg::head(context, incoming, node.node(), Some(id), Some(body_bytes));
    let answer_within = context.settings().decode_within();
    let request = Request {
        head: &head,
        body: &[body],
        answer_within,
        is_sent,
    };
    exchange(&context.pool, node.node(), request, &deadline, clock::now()).await
}
