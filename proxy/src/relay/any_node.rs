//! What any one node can say: which models it serves, and which vLLM it is.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use crate::error::{Error, of_fault, side};
use crate::io::clock;
use crate::nodes::{InFlight, Node, Role};
use crate::telemetry::{Route, Stage};
use crate::upstream::{Answer, Failure, Request, exchange};

use super::attempt::{Downstream, relay};
use super::client::Client;
use super::context::Context;
use super::incoming::Incoming;
use super::leg;
use super::prefill::read_body;
use super::request::Ended;
use super::respond::{self, Local};
use super::route::Reply;
use super::watch::Watch;

/// Bytes of a node's `/version` that are looked at.
const VERSION_BYTES_MAX: usize = 4 * 1024;

/// Answers with what a node says; the status. Decode nodes are asked first, for they are the ones a
/// client's tokens come from.
pub(super) async fn answer(
    client: &Client,
    context: &Rc<Context>,
    reply: &mut Reply,
    incoming: Incoming,
    route: Route,
) -> Result<u16, Ended> {
    let asked = ask(context, &incoming).await;
    if route == Route::Version {
        let version = match asked {
            Ok((answer, _guard)) => version(context, answer).await,
            Err(_) => None,
        };
        let body = version_body(version.as_deref());
        respond::local(
            client,
            reply,
            Local::ok("application/json", body.as_bytes()),
        )
        .await?;
        return Ok(200);
    }
    let (answer, _guard) = asked?;
    let (status, role) = (answer.head.status, answer.connection.node.role);
    let watch = &mut Watch::new(&client.stream, incoming.complete);
    relay(
        context,
        answer,
        &mut Downstream {
            client,
            reply,
            watch,
        },
        role,
        None,
    )
    .await?;
    Ok(status)
}

/// The head of the first answer that a node gives.
async fn ask(context: &Context, incoming: &Incoming) -> Result<(Answer, InFlight), Error> {
    let fleet = context.fleet();
    let first = |role| fleet.usable(role).next();
    let mut error = Error::NoNode(Role::Decode);
    for node in [first(Role::Decode), first(Role::Prefill)]
        .into_iter()
        .flatten()
    {
        let guard = InFlight::new(Arc::clone(node), context.shard);
        match get(context, incoming, node).await {
            Ok(answer) => return Ok((answer, guard)),
            Err(failure) => {
                failure.fault.blame(node);
                let cause = of_fault(&failure.fault).1;
                context
                    .counters
                    .failed(Stage::Request, side(node.role), cause);
                error = Error::Node {
                    role: node.role,
                    failure,
                };
            }
        }
    }
    Err(error)
}

async fn get(context: &Context, incoming: &Incoming, node: &Arc<Node>) -> Result<Answer, Failure> {
    let deadline = context.timers.deadline();
    let head = leg::head(context, incoming, node, None, None);
    let answer_within = context.settings().answer_within;
    let is_sent = &Cell::new(false);
    let request = Request {
        head: &head,
        body: &[],
        answer_within,
        is_sent,
    };
    exchange(&context.pool, node, request, &deadline, clock::now()).await
}

/// The version of vLLM in a node's answer.
async fn version(context: &Context, answer: Answer) -> Option<String> {
    let deadline = context.timers.deadline();
    deadline.set(crate::limits::PROBE_TIMEOUT);
    let mut body = Vec::new();
    let is_clean = read_body(&answer, &deadline, |data| {
        let room = VERSION_BYTES_MAX.saturating_sub(body.len());
        body.extend_from_slice(data.get(..data.len().min(room)).unwrap_or_default());
    });
    if is_clean.await.ok()? && answer.is_reusable() {
        context.pool.give_back(answer.connection, clock::now());
    }
    let value = simd_json::to_owned_value(&mut body).ok()?;
    let version = simd_json::prelude::ValueObjectAccessAsScalar::get_str(&value, "version")?;
    Some(version.to_owned())
}

/// vLLM's own shape, and who stands before it.
fn version_body(version: Option<&str>) -> String {
    use simd_json::prelude::Writable;
    let own = simd_json::json!({ "name": "pd-proxy", "version": env!("CARGO_PKG_VERSION") });
    simd_json::json!({ "version": version, "proxy": own }).encode()
}
