//! What goes to a node: a request rebuilt from parsed fields.

use crate::http1::{HeadWriter, end_to_end};
use crate::nodes::Node;

use super::Context;
use super::incoming::Incoming;

/// The head of a request to `node` with `body_bytes` of body (none for a GET).
///
/// The client's end-to-end fields go with it, but for those that are ours to say: `Host`, `Expect`
/// (answered here), the request id, `Accept-Encoding` (a compressed answer could not be searched for
/// errors, and vLLM compresses nothing), and `Authorization` if the operator gave a key for the nodes or
/// keys for clients: a key that opens this proxy is no node's business.
pub(super) fn head(
    context: &Context,
    incoming: &Incoming,
    node: &Node,
    request_id: Option<&str>,
    body_bytes: Option<u64>,
) -> Vec<u8> {
    let settings = context.settings();
    let bytes = incoming.head_bytes();
    let mut head = Vec::with_capacity(bytes.len() + 384);
    let method = if body_bytes.is_some() { "POST" } else { "GET" };
    let has_key = settings.node_authorization.is_some() || settings.access.is_guarded();
    let is_ours =
        |name: &[u8]| is_replaced(name) || (has_key && name.eq_ignore_ascii_case(b"authorization"));
    let kept = end_to_end(&incoming.head.fields, bytes).filter(|(name, _)| !is_ours(name));
    let mut writer = HeadWriter::request(&mut head, method, incoming.head.target.get(bytes))
        .field("host", node.http.as_str())
        .fields(kept)
        .field("via", settings.via.as_bytes());
    if let Some(authorization) = &settings.node_authorization {
        writer = writer.field("authorization", authorization.expose());
    }
    if let Some(request_id) = request_id {
        writer = writer.field("x-request-id", request_id);
    }
    if let Some(body_bytes) = body_bytes {
        writer = writer.field_u64("content-length", body_bytes);
    }
    writer.finish();
    head
}

/// Whether a field of the client's is said anew or answered here.
fn is_replaced(name: &[u8]) -> bool {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    match name.len() {
        4 => is("host"),
        6 => is("expect"),
        12 => is("x-request-id"),
        15 => is("accept-encoding"),
        _ => false,
    }
}
