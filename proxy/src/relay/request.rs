//! One request, from its head to its answer's last byte.
//!
//! ```text
//! read head → read body → scan → choose pair → prefill → decode → relay → release
//! ```
//!
//! Every request goes this way, whatever its endpoint; what the proxy or any one node can answer leaves
//! it after `read body`, and comes back to it for its answer. `attempt` is the part
//! that a second pair may go through again. What is counted at a node is given back when its guard is
//! dropped, wherever the request ends.

use std::rc::Rc;

use crate::balance::{self, Tried};
use crate::error::Error;
use crate::io::clock;
use crate::limits;
use crate::openai::{self, Patch};
use crate::telemetry::{Cause, Counter, Route, Side, Stage};

use super::any_node;
use super::attempt::{Attempt, Downstream, Job, Outcome};
use super::client::{Client, Gone};
use super::context::Context;
use super::incoming::{self, Incoming, NoRequest};
use super::local;
use super::respond;
use super::route::{self, Reply, Target};
use super::watch::Watch;

/// What becomes of the connection after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It takes another.
    Request,
    /// It is closed now.
    Close,
    /// It is closed when the client has had time to read the answer.
    Linger,
}

/// Serves the next request of `client`.
///
/// # Cancel safety
///
/// Dropping it closes the connections to the nodes; the client's must be closed.
pub(super) async fn serve(client: &mut Client, context: &Rc<Context>) -> Next {
    let mut reply = Reply::to_unreadable();
    let incoming = match read(client, context, &mut reply).await {
        Ok(incoming) => incoming,
        Err(NoRequest::Ended) => return Next::Close,
        Err(NoRequest::Refused(error)) => {
            return refuse(client, context, &mut reply, Route::Other, &error).await;
        }
    };
    reply.keep_alive &= !context.is_draining();
    let path = incoming.head.path.get(incoming.head_bytes());
    let target = match route::target(path, incoming.head.method) {
        Ok(target) => target,
        Err(error) => return refuse(client, context, &mut reply, Route::Other, &error).await,
    };
    let (route, complete) = (target.route(), incoming.complete);
    let outcome = match target {
        Target::Local(route) => local::answer(client, context, &reply, route)
            .await
            .map_err(Ended::from),
        Target::Node(route) => {
            Box::pin(any_node::answer(
                client, context, &mut reply, incoming, route,
            ))
            .await
        }
        Target::Generate(_) => Box::pin(generate(client, context, &mut reply, incoming)).await,
    };
    match outcome {
        Ok(status) => {
            let took = clock::now().saturating_duration_since(complete);
            context.counters.answered(route, status);
            context.counters.request(took);
            tracing::debug!(route = route.label(), status, ?took, client_id = %reply.id(), "answered");
            if reply.keep_alive {
                Next::Request
            } else {
                Next::Linger
            }
        }
        Err(Ended::Refused(error)) => refuse(client, context, &mut reply, route, &error).await,
        Err(Ended::Cut) => Next::Close,
        Err(Ended::ClientLeft) => {
            context
                .counters
                .failed(Stage::Stream, Side::Client, Cause::Aborted);
            tracing::debug!(route = route.label(), client_id = %reply.id(), "the client left");
            Next::Close
        }
    }
}

/// Why a request got no whole answer.
#[derive(Debug)]
pub(super) enum Ended {
    /// It is refused by us.
    Refused(Error),
    /// The answer broke off; the client's connection has been ended so that it can see that.
    Cut,
    /// There is nobody to answer.
    ClientLeft,
}

impl From<Gone> for Ended {
    fn from(_: Gone) -> Self {
        Self::ClientLeft
    }
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// Reads one request and refuses what must not go to any node. As soon as its head says how, `reply` is
/// set to the manner of its answer.
async fn read(
    client: &mut Client,
    context: &Context,
    reply: &mut Reply,
) -> Result<Incoming, NoRequest> {
    let (head, head_bytes) = incoming::read_head(client, context).await?;
    let bytes = client.inbox.get(..head_bytes).unwrap_or_default();
    *reply = Reply::to(&head, bytes);
    // Before the body: who has no key does not fill our memory either.
    if !context.settings().access.admits(&head, bytes) {
        return Err(Error::Unauthorized.into());
    }
    let incoming = incoming::read_body(client, context, head, head_bytes).await?;
    let via = context.settings().via.as_bytes();
    let is_ours = |hops: &[u8]| {
        hops.split(|byte| *byte == b',')
            .any(|hop| hop.trim_ascii() == via)
    };
    let came_back = incoming
        .head
        .fields
        .get_all(incoming.head_bytes(), "via")
        .any(is_ours);
    if came_back {
        Err(Error::Loop.into())
    } else {
        Ok(incoming)
    }
}

/// Refuses a request and decides what becomes of its connection.
async fn refuse(
    client: &Client,
    context: &Context,
    reply: &mut Reply,
    route: Route,
    error: &Error,
) -> Next {
    let rescue = error.rescue();
    reply.keep_alive &= !rescue.closes;
    context
        .counters
        .failed(rescue.stage, rescue.side, rescue.cause);
    context.counters.answered(route, rescue.status);
    let (route, status) = (route.label(), rescue.status);
    tracing::debug!(route, status, %error, client_id = %reply.id(), "refused");
    match respond::error(client, reply, error, &rescue).await {
        Ok(()) if reply.keep_alive => Next::Request,
        Ok(()) => Next::Linger,
        Err(Gone) => Next::Close,
    }
}

/// Generates tokens with a pair of nodes, or after a failure with a second pair; the status.
async fn generate(
    client: &Client,
    context: &Rc<Context>,
    reply: &mut Reply,
    incoming: Incoming,
) -> Result<u16, Ended> {
    check_media_type(&incoming)?;
    let scan = openai::scan(incoming.body()).map_err(Error::Json)?;
    openai::admit(&scan, incoming.body()).map_err(Error::Refusal)?;
    let patch = Patch::prefill(&scan, incoming.body());

    // One view of the fleet and one turn, for a second try too.
    let (fleet, turn) = (context.fleet(), context.next_turn());
    let mut tried = Tried::default();
    let mut job = Job { incoming, patch };
    let watch = &mut Watch::new(&client.stream, job.incoming.complete);
    for attempts_left in (0..limits::ATTEMPTS_MAX).rev() {
        let pair = balance::choose(&fleet, turn, &tried).map_err(Error::NoNode)?;
        let attempt = Attempt::new(context, &pair);
        tracing::debug!(id = %attempt.id(), client_id = %reply.id(), "pair chosen");
        let down = Downstream {
            client,
            reply,
            watch,
        };
        match attempt.run(job, down).await {
            Outcome::Over(result) => return result,
            Outcome::Failed { error, again, node } => {
                tried.failed(&node);
                let has_another = balance::choose(&fleet, turn, &tried).is_ok();
                if attempts_left == 0 || !has_another || watch.is_gone() {
                    return Err(error.into());
                }
                context.counters.count(Counter::Retried);
                job = *again;
            }
        }
    }
    Err(Error::NoNode(crate::nodes::Role::Prefill).into())
}

/// A body that vLLM would refuse for its type is refused before it costs a prefill.
fn check_media_type(incoming: &Incoming) -> Result<(), Error> {
    let kind = incoming.field("content-type").unwrap_or_default();
    let essence = kind
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii();
    if !essence.eq_ignore_ascii_case(b"application/json") {
        return Err(Error::ContentType);
    }
    match incoming.field("content-encoding") {
        Some(coding) if !coding.eq_ignore_ascii_case(b"identity") => Err(Error::ContentEncoding),
        _ => Ok(()),
    }
}
