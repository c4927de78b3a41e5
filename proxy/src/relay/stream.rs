//! A node's answer to the client, with back-pressure: the next bytes are read from the node only when
//! the client has taken the last.

use std::io::IoSlice;
use std::time::{Duration, Instant};

use crate::http1::{HeadWriter, Pieces, end_to_end, reason};
use crate::io::{Deadline, clock};
use crate::telemetry::Counter;
use crate::upstream::{Answer, Connection, Fault};

use super::Context;
use super::attempt::Downstream;
use super::body::{Body, Framing};
use super::client::{Client, Gone};
use super::route::Reply;
use super::watch::Watch;

/// Slices of one write: a head, a size line, sixteen pieces and what follows them.
const SLICES_MAX: usize = 20;
/// How long a head waits for the first bytes of its body, so that both leave in one write. vLLM sends
/// the head of a stream at once and the first token when it has it; a client must see the head soon all
/// the same.
const HEAD_HOLD: Duration = Duration::from_millis(50);

/// How an answer ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// The client has all of it; the connection is as `Reply` says.
    Whole,
    /// The node broke it off before anything of it was sent on.
    Unsent(Fault),
    /// The node broke it off. The client has seen a part, and must see that it is a part: its
    /// connection has been ended.
    Cut(Fault),
    /// The client has gone. The node's connection, if no byte of a body had come yet: the node may not
    /// have taken the request in.
    ClientLeft(Option<Connection>),
}

/// Relays `answer`, head and body, to the client; the body's first byte is waited for until `first_by`, if
/// that is sooner than the longest pause of a stream. Ends the node's connection unless the answer ended
/// exactly at its boundary; then it goes back to the pool.
///
/// # Cancel safety
///
/// Dropping it leaves a part unsent; both connections must be closed.
pub(super) async fn relay(
    context: &Context,
    down: &mut Downstream<'_>,
    answer: Answer,
    first_by: Option<Instant>,
) -> Ending {
    let Downstream {
        client,
        reply,
        watch,
    } = down;
    let mut body = Body::new(answer.body, reply.is_http11);
    reply.keep_alive &= body.framing() != Framing::Close;
    let mut head = write_head(&answer, reply, body.framing());
    let is_reusable = answer.is_reusable();
    let tail = answer.tail().to_vec();
    let upstream = answer.connection;
    // The head's buffer is not needed while the stream runs, which may be for hours.
    drop(answer.bytes);

    let relayed = if reply.is_head || body.is_over() {
        send(client, &mut [IoSlice::new(&head)])
            .await
            .map(|()| tail.is_empty())
    } else {
        let relay = Relay {
            client,
            context,
            upstream: &upstream,
            first_by,
            since: watch.since(),
        };
        relay.run(&mut body, &mut head, tail, watch).await
    };
    match relayed {
        // A HEAD's answer leaves the node's body unread.
        Ok(is_clean) => {
            if is_clean && is_reusable && !reply.is_head {
                context.pool.give_back(upstream, clock::now());
            }
            Ending::Whole
        }
        Err(Broken::Client) => Ending::ClientLeft(Some(upstream).filter(|_| !body.has_begun())),
        Err(Broken::Node(fault)) if !head.is_empty() => Ending::Unsent(fault),
        Err(Broken::Node(fault)) => {
            if body.framing() == Framing::Close {
                // The end of the connection would be the end of the body.
                client.stream.reset_on_close();
            } else {
                client.stream.shutdown();
            }
            Ending::Cut(fault)
        }
    }
}

/// Who broke a stream off.
#[derive(Debug)]
enum Broken {
    Client,
    Node(Fault),
}

impl From<Gone> for Broken {
    fn from(_: Gone) -> Self {
        Self::Client
    }
}

impl From<Fault> for Broken {
    fn from(fault: Fault) -> Self {
        Self::Node(fault)
    }
}

struct Relay<'a> {
    client: &'a Client,
    context: &'a Context,
    upstream: &'a Connection,
    /// When the body's first byte is due.
    first_by: Option<Instant>,
    /// When the request was complete.
    since: Instant,
}

impl Relay<'_> {
    /// Relays the body, and `head` before it; `head` is emptied when it has been sent. Whether the
    /// node's bytes ended where the body did.
    async fn run(
        &self,
        body: &mut Body,
        head: &mut Vec<u8>,
        tail: Vec<u8>,
        watch: &mut Watch,
    ) -> Result<bool, Broken> {
        let mut step = if tail.is_empty() {
            if !self.wait(watch, HEAD_HOLD).await? {
                send(self.client, &mut [IoSlice::new(head)]).await?;
                head.clear();
            }
            self.turn(body, head)?
        } else {
            self.pass(body, head, &tail)?
        };
        drop(tail);
        loop {
            self.flush(step.unsent).await?;
            if let Some(is_clean) = step.ended {
                return Ok(is_clean);
            }
            if !self.wait(watch, self.patience(body)).await? {
                return Err(Fault::Timeout.into());
            }
            step = self.turn(body, head)?;
        }
    }

    /// How long the node may take to send more of `body`.
    fn patience(&self, body: &Body) -> Duration {
        let idle = self.context.settings().stream_idle;
        match self.first_by {
            Some(by) if !body.has_begun() => idle.min(by.saturating_duration_since(clock::now())),
            _ => idle,
        }
    }

    /// Waits until the node has sent something, at most for `limit`; false if it has not.
    async fn wait(&self, watch: &mut Watch, limit: Duration) -> Result<bool, Broken> {
        let deadline: &Deadline = &self.client.deadline;
        deadline.set(limit);
        match watch
            .or_gone(deadline.within(self.upstream.stream.readable()))
            .await?
        {
            Ok(ready) => ready
                .map(|()| true)
                .map_err(|error| Fault::Cut(error).into()),
            Err(_) => Ok(false),
        }
    }

    /// Reads once and writes what was read. This runs once per token: one receive, one send, no
    /// allocation and no wait.
    fn turn(&self, body: &mut Body, head: &mut Vec<u8>) -> Result<Step, Broken> {
        let mut buffer = self.context.relay_buffer.borrow_mut();
        match self
            .upstream
            .stream
            .try_read(&mut buffer)
            .map_err(Fault::Cut)?
        {
            None => Ok(Step {
                unsent: Vec::new(),
                ended: None,
            }),
            Some(0) => {
                let end = body.end_of_stream()?;
                let unsent = self.write(&[IoSlice::new(head), IoSlice::new(end)])?;
                head.clear();
                // The node's connection has ended with the body.
                Ok(Step {
                    unsent,
                    ended: Some(false),
                })
            }
            Some(bytes) => self.pass(body, head, buffer.get(..bytes).unwrap_or_default()),
        }
    }

    /// Writes `head`, if it is still to be sent, and what goes on of `input`.
    fn pass(&self, body: &mut Body, head: &mut Vec<u8>, input: &[u8]) -> Result<Step, Broken> {
        let (mut rest, mut unsent) = (input, Vec::new());
        let mut pieces = Pieces::new();
        let counters = &self.context.counters;
        counters.count(Counter::Reads);
        if !body.has_begun() {
            self.upstream.node.answered();
            counters.first_token(clock::now().saturating_duration_since(self.since));
        }
        loop {
            let passed = body.pass(rest, &mut pieces)?;
            let mut slices = [IoSlice::new(b""); SLICES_MAX];
            let parts = std::iter::once(head.as_slice())
                .chain(pieces.iter(rest))
                .chain(std::iter::once(passed.suffix))
                .filter(|part| !part.is_empty());
            let mut count = 0;
            for (slot, part) in slices.iter_mut().zip(parts) {
                *slot = IoSlice::new(part);
                count += 1;
            }
            let slices = slices.get(..count).unwrap_or_default();
            if unsent.is_empty() {
                unsent = self.write(slices)?;
            } else {
                // The client is behind already; what came with it waits with it.
                slices
                    .iter()
                    .for_each(|slice| unsent.extend_from_slice(slice));
            }
            if !head.is_empty() {
                *head = Vec::new();
            }
            counters.add(
                Counter::BytesOut,
                u64::try_from(pieces.byte_count()).unwrap_or(0),
            );
            rest = rest.get(passed.consumed..).unwrap_or_default();
            if passed.done {
                // Bytes behind the end belong to no answer: the connection is not used again.
                return Ok(Step {
                    unsent,
                    ended: Some(rest.is_empty()),
                });
            }
            if rest.is_empty() {
                return Ok(Step {
                    unsent,
                    ended: None,
                });
            }
        }
    }

    /// Writes what the client takes now; a copy of the rest.
    fn write(&self, slices: &[IoSlice<'_>]) -> Result<Vec<u8>, Gone> {
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        if total == 0 {
            return Ok(Vec::new());
        }
        let written = self
            .client
            .stream
            .try_write(slices)
            .or(Err(Gone))?
            .unwrap_or(0);
        if written == total {
            return Ok(Vec::new());
        }
        let mut skip = written;
        let mut unsent = Vec::with_capacity(total - written);
        for slice in slices {
            let from = skip.min(slice.len());
            skip -= from;
            unsent.extend_from_slice(slice.get(from..).unwrap_or_default());
        }
        Ok(unsent)
    }

    /// Waits until a slow client has taken `unsent`. The node is not read meanwhile.
    async fn flush(&self, unsent: Vec<u8>) -> Result<(), Broken> {
        if unsent.is_empty() {
            return Ok(());
        }
        Ok(self.client.write_all(&mut [IoSlice::new(&unsent)]).await?)
    }
}

/// What one turn left to do.
struct Step {
    /// Bytes the client has not taken yet.
    unsent: Vec<u8>,
    /// Whether the body has ended, and if so, whether nothing followed it.
    ended: Option<bool>,
}

async fn send(client: &Client, slices: &mut [IoSlice<'_>]) -> Result<(), Broken> {
    Ok(client.write_all(slices).await?)
}

/// The head of a node's answer as the client gets it: status, reason and end-to-end fields as they came,
/// framing and connection as this connection needs them, and the client's own request id.
fn write_head(answer: &Answer, reply: &Reply, framing: Framing) -> Vec<u8> {
    let bytes = answer.bytes.get(..answer.head_bytes).unwrap_or_default();
    let mut head = Vec::with_capacity(answer.head_bytes + 128);
    let status = answer.head.status;
    let given = answer.head.reason.get(bytes);
    let given = if given.is_empty() {
        reason(status).as_bytes()
    } else {
        given
    };
    // A node echoes the id that names both nodes, when told to by --enable-request-id-headers.
    let kept = end_to_end(&answer.head.fields, bytes)
        .filter(|(name, _)| !name.eq_ignore_ascii_case(b"x-request-id"));
    let writer = HeadWriter::status(&mut head, status, given).fields(kept);
    let writer = match framing {
        Framing::None | Framing::Close => writer,
        Framing::Length(length) => writer.field_u64("content-length", length),
        Framing::Chunked => writer.field("transfer-encoding", "chunked"),
    };
    reply.write_fields(writer).finish();
    head
}
