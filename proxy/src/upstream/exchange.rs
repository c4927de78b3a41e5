//! One request and one response head over one connection.

use std::cell::Cell;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::http1::{ResponseBody, ResponseHead};
use crate::io::Deadline;
use crate::limits;
use crate::nodes::Node;
use crate::telemetry::Counter;

use super::connection::{Sent, is_peers_doing};
use super::{Connection, Failure, Fault, Pool};

/// A request, ready to be sent: its head and the slices of its body.
#[derive(Debug)]
pub struct Request<'a> {
    /// The head, its blank line included.
    pub head: &'a [u8],
    /// The body, in pieces that are sent without being copied together.
    pub body: &'a [&'a [u8]],
    /// How long the node may take to take it and to answer with a head.
    pub answer_within: Duration,
    /// Set when the node may have got a byte of it, and withdrawn when it turns out that it has not.
    pub is_sent: &'a Cell<bool>,
}

/// A response of which the head has been read.
#[derive(Debug)]
pub struct Answer {
    /// The connection that the body is still to be read from.
    pub connection: Connection,
    /// The head, whose spans refer to `bytes`.
    pub head: ResponseHead,
    /// How the body ends.
    pub body: ResponseBody,
    /// The head's bytes, and behind `head_bytes` the beginning of the body.
    pub bytes: Vec<u8>,
    /// Length of the head in `bytes`.
    pub head_bytes: usize,
    /// Whether the request went out whole: otherwise the connection is of no further use.
    pub is_sent: bool,
}

impl Answer {
    /// The part of the body that came with the head.
    pub fn tail(&self) -> &[u8] {
        self.bytes.get(self.head_bytes..).unwrap_or_default()
    }

    /// Whether the connection may serve another request once the body has ended at its boundary.
    pub fn is_reusable(&self) -> bool {
        self.head.keep_alive && self.is_sent && self.body != ResponseBody::UntilClose
    }
}

/// Sends `request` to `node` and reads the head of its answer. `deadline` is used for connecting, then
/// for the answer, and is left set to that.
///
/// The request is sent a second time, on a fresh connection, in one case only: the first was a reused
/// connection and ended without one byte of an answer. Then the node had closed it before the request
/// arrived (it closes idle connections after 5 s), and has not seen the request.
///
/// # Errors
///
/// Why there is no answer, and whether the node may have begun to work on it.
///
/// # Cancel safety
///
/// Dropping it closes the connection.
pub async fn exchange(
    pool: &Pool,
    node: &Arc<Node>,
    request: Request<'_>,
    deadline: &Deadline,
    now: Instant,
) -> Result<Answer, Failure> {
    let connection = pool.connection(node, deadline, now).await?;
    let is_reused = connection.is_reused;
    match attempt(connection, &request, deadline).await {
        Err((Fault::Cut(error), 0)) if is_reused && is_peers_doing(&error) => {
            pool.counters().count(Counter::Resent);
            request.is_sent.set(false);
            let fresh = pool.connect(node, deadline).await?;
            let outcome = attempt(fresh, &request, deadline).await;
            outcome.map_err(|(fault, bytes)| fault.after_sending(bytes > 0))
        }
        outcome => outcome.map_err(|(fault, bytes)| fault.after_sending(bytes > 0)),
    }
}

/// One try. A fault comes with the number of bytes of the answer that had been read.
async fn attempt(
    connection: Connection,
    request: &Request<'_>,
    deadline: &Deadline,
) -> Result<Answer, (Fault, usize)> {
    deadline.set(request.answer_within);
    let mut slices = Vec::with_capacity(1 + request.body.len());
    slices.push(IoSlice::new(request.head));
    slices.extend(request.body.iter().map(|slice| IoSlice::new(slice)));
    let mut bytes = Vec::new();
    request.is_sent.set(true);
    let is_sent = match connection.send(&mut slices, deadline).await {
        Ok(sent) => sent == Sent::Whole,
        // The node may have refused the rest and said why before it closed: look before giving up.
        Err(Fault::Cut(_)) => false,
        Err(fault) => return Err((fault, 0)),
    };
    for _ in 0..=limits::INTERIM_RESPONSES_MAX {
        let head_bytes = match connection.read_head(&mut bytes, deadline).await {
            Ok(head_bytes) => head_bytes,
            Err(fault) => return Err((fault, bytes.len())),
        };
        let parsed = bytes.get(..head_bytes).unwrap_or_default();
        let head = ResponseHead::parse(parsed).map_err(|error| (error.into(), head_bytes))?;
        if head.is_interim() && head.status != 101 {
            bytes.drain(..head_bytes);
            continue;
        }
        if head.status == 101 {
            return Err((Fault::Interim, head_bytes));
        }
        let body = head.body(false);
        return Ok(Answer {
            connection,
            head,
            body,
            bytes,
            head_bytes,
            is_sent,
        });
    }
    Err((Fault::Interim, bytes.len()))
}
