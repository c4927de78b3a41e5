//! What the proxy says itself.

use crate::nodes::{Role, Snapshot, State};
use crate::telemetry::Route;

use super::Context;
use super::client::{Client, Gone};
use super::respond::{self, Local};
use super::route::Reply;

/// Answers a [`Target::Local`](super::route::Target) route; the status.
pub(super) async fn answer(
    client: &Client,
    context: &Context,
    reply: &Reply,
    route: Route,
) -> Result<u16, Gone> {
    let fleet = context.fleet();
    if route == Route::Metrics {
        let text = (context.settings().metrics)(&context.shared);
        let kind = "text/plain; version=0.0.4; charset=utf-8";
        respond::local(client, reply, Local::ok(kind, text.as_bytes())).await?;
        return Ok(200);
    }
    let reason = unhealthy(&fleet, context.is_draining());
    let Some(reason) = reason else {
        // Empty, as vLLM's own.
        respond::local(client, reply, Local::ok("text/plain; charset=utf-8", b"")).await?;
        return Ok(200);
    };
    let body = crate::openai::error_body(503, &reason, None);
    let answer = Local {
        status: 503,
        content_type: "application/json",
        body: &body,
        retry_after_s: Some(3),
        allow: None,
    };
    respond::local(client, reply, answer).await?;
    Ok(503)
}

/// Why no request can be served; `None` if one can.
fn unhealthy(fleet: &Snapshot, is_draining: bool) -> Option<String> {
    if is_draining {
        return Some("the proxy is shutting down".to_owned());
    }
    let missing = Role::ALL
        .into_iter()
        .find(|role| fleet.usable(*role).next().is_none())?;
    let count = |state| fleet.count(missing, state);
    Some(match (count(State::Pending), missing.name()) {
        (0, role) => format!("no {role} node has registered"),
        (pending, role) => format!(
            "{pending} {role} node(s) registered, but the health check of none has succeeded yet"
        ),
    })
}
