//! The first leg: P computes the prompt's KV and pushes it to D.

use std::cell::Cell;
use std::time::Duration;

use crate::http1::{Chunked, ChunkedEvent, ResponseBody};
use crate::io::{Deadline, clock};
use crate::kv_transfer::RequestId;
use crate::nodes::InFlight;
use crate::openai::{ErrorEvent, EventScan};
use crate::upstream::{Answer, Failure, Fault, Request, exchange};

use super::Context;
use super::attempt::Job;
use super::leg;

/// Why there is no KV at D.
#[derive(Debug)]
pub(super) enum NotPrefilled {
    /// P refused the request: the client is to be told what P said.
    Refused(Refused),
    /// P answered with an error of its own; its KV may or may not have reached D.
    Failed {
        /// The status of its answer, or of the error event inside it.
        status: u16,
    },
    /// P did not answer.
    Node(Failure),
}

/// P's refusal, as it came.
#[derive(Debug)]
pub(super) enum Refused {
    /// A 4xx answer of which the body is still to be relayed.
    Answer(Box<Answer>),
    /// An error event inside a 200: a status and a JSON body.
    Event {
        /// The status that the event names.
        status: u16,
        /// The event's data.
        body: Vec<u8>,
    },
}

impl From<Fault> for NotPrefilled {
    fn from(fault: Fault) -> Self {
        Self::Node(fault.after_sending(true))
    }
}

/// Sends the prefill under `id` and waits for its end. It is never cut short once it was sent: what P
/// has begun, it pushes to D, whoever still waits for it.
///
/// # Cancel safety
///
/// It must be run to its end.
pub(super) async fn run(
    context: &Context,
    node: &InFlight,
    job: &Job,
    id: &RequestId,
) -> Result<(), NotPrefilled> {
    // A deadline of its own: the client's is needed by whoever watches the client.
    let deadline = context.timers.deadline();
    let answer_within = context.settings().answer_within;
    let sent = send(context, node, job, id, answer_within, &deadline).await;
    let answer = sent.map_err(NotPrefilled::Node)?;
    match answer.head.status {
        200 => {
            finish(context, answer, &deadline).await?;
            node.node().answered();
            Ok(())
        }
        400..500 => Err(NotPrefilled::Refused(Refused::Answer(Box::new(answer)))),
        status => Err(NotPrefilled::Failed { status }),
    }
}

/// Sends the request for one token under `id` to `node`, P or D, and reads the head of its answer, for which it
/// has `answer_within`.
///
/// # Cancel safety
///
/// Dropping it closes the connection.
pub(super) async fn send(
    context: &Context,
    node: &InFlight,
    job: &Job,
    id: &RequestId,
    answer_within: Duration,
    deadline: &Deadline,
) -> Result<Answer, Failure> {
    let Job { incoming, patch } = job;
    let node = node.node();
    let body: Vec<&[u8]> = patch.slices(incoming.body()).collect();
    let body_bytes = patch.len(incoming.body());
    let head = leg::head(context, incoming, node, Some(id.as_str()), Some(body_bytes));
    let request = Request {
        head: &head,
        body: &body,
        answer_within,
        is_sent: &Cell::new(false),
    };
    exchange(&context.pool, node, request, deadline, clock::now()).await
}

/// Reads a 200 to its end. vLLM reports what fails after admission as an event inside it.
async fn finish(
    context: &Context,
    answer: Answer,
    deadline: &Deadline,
) -> Result<(), NotPrefilled> {
    const EVENTS: &[u8] = b"text/event-stream";
    let kind = answer.head.fields.get(&answer.bytes, "content-type");
    let kind = kind.and_then(|kind| kind.get(..EVENTS.len()));
    let is_stream = kind.is_some_and(|kind| kind.eq_ignore_ascii_case(EVENTS));
    let mut events = EventScan::new();
    let is_clean = read_body(&answer, deadline, |data| {
        if is_stream {
            events.feed(data);
        }
    })
    .await?;
    if is_clean && answer.is_reusable() {
        context.pool.give_back(answer.connection, clock::now());
    }
    let verdict = events.finish();
    if !is_stream || verdict.is_success() {
        return Ok(());
    }
    match verdict.error {
        Some(ErrorEvent {
            status: Some(status @ 400..500),
            json: Some(body),
        }) => Err(NotPrefilled::Refused(Refused::Event { status, body })),
        Some(ErrorEvent { status, .. }) => Err(NotPrefilled::Failed {
            status: status.unwrap_or(500),
        }),
        // It gave up on the request, or stopped without a word.
        None => Err(NotPrefilled::Failed { status: 200 }),
    }
}

/// Reads the rest of `answer`'s body and shows its data to `see`; whether nothing followed it.
pub(super) async fn read_body(
    answer: &Answer,
    deadline: &Deadline,
    mut see: impl FnMut(&[u8]),
) -> Result<bool, Fault> {
    let mut buffer = answer.tail().to_vec();
    let mut chunked = Chunked::new();
    let mut left = match answer.body {
        ResponseBody::None => 0,
        ResponseBody::Length(length) => length,
        ResponseBody::Chunked | ResponseBody::UntilClose => u64::MAX,
    };
    loop {
        match answer.body {
            ResponseBody::None | ResponseBody::Length(_) => {
                let length = u64::try_from(buffer.len()).unwrap_or(u64::MAX);
                let taken =
                    usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
                see(buffer.get(..taken).unwrap_or_default());
                if length >= left {
                    return Ok(length == left);
                }
                left -= length;
            }
            ResponseBody::Chunked => {
                let mut at = 0;
                loop {
                    match chunked.next(&buffer, &mut at)? {
                        ChunkedEvent::Data(data) => see(buffer.get(data).unwrap_or_default()),
                        ChunkedEvent::Done => return Ok(at == buffer.len()),
                        ChunkedEvent::NeedMore => break,
                    }
                }
            }
            ResponseBody::UntilClose => see(&buffer),
        }
        buffer.clear();
        match answer.connection.read_more(&mut buffer, deadline).await {
            Ok(()) => {}
            Err(Fault::Cut(error))
                if answer.body == ResponseBody::UntilClose
                    && error.kind() == std::io::ErrorKind::UnexpectedEof =>
            {
                return Ok(false);
            }
            Err(fault) => return Err(fault),
        }
    }
}
