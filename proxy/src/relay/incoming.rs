//! Reading one request.

use std::io::IoSlice;
use std::ops::Range;
use std::time::Instant;

use crate::error::Error;
use crate::http1::{Chunked, ChunkedEvent, HeadScan, RequestBody, RequestHead};
use crate::io::clock;

use super::Context;
use super::client::{Client, ReadError};

/// One request, whole.
#[derive(Debug)]
pub(super) struct Incoming {
    /// What was read of it.
    bytes: Vec<u8>,
    /// Its head, whose spans refer to the beginning of `bytes`.
    pub(super) head: RequestHead,
    head_bytes: usize,
    /// Where in `bytes` its body is, without framing.
    body: Range<usize>,
    /// When its last byte had been read.
    pub(super) complete: Instant,
}

/// Why there is no request.
#[derive(Debug)]
pub(super) enum NoRequest {
    /// The client has ended the connection, was idle for too long, or broke off: nobody is to be
    /// answered.
    Ended,
    /// It must be refused.
    Refused(Error),
}

impl From<Error> for NoRequest {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl Incoming {
    /// The head's bytes.
    pub(super) fn head_bytes(&self) -> &[u8] {
        self.bytes.get(..self.head_bytes).unwrap_or_default()
    }

    /// The body's bytes.
    pub(super) fn body(&self) -> &[u8] {
        self.bytes.get(self.body.clone()).unwrap_or_default()
    }

    /// The first field called `name`.
    pub(super) fn field(&self, name: &str) -> Option<&[u8]> {
        self.head.fields.get(self.head_bytes(), name)
    }
}

/// Reads the head of the next request, into the client's inbox; it and its length.
///
/// # Cancel safety
///
/// It may be dropped at any point; what was read is in the inbox.
pub(super) async fn read_head(
    client: &mut Client,
    context: &Context,
) -> Result<(RequestHead, usize), NoRequest> {
    let mut scan = HeadScan::request();
    let mut inbox = std::mem::take(&mut client.inbox);
    if inbox.is_empty() {
        // An idle connection keeps no buffer, and ends at once when the process does.
        inbox = Vec::new();
        client.deadline.set_idle(client.times.keep_alive);
        if context.is_draining() || !client.read_more(&mut inbox).await.unwrap_or(false) {
            return Err(NoRequest::Ended);
        }
    }
    client.deadline.set(client.times.head);
    loop {
        match scan.find(&inbox) {
            Ok(Some(head_bytes)) => {
                let head = RequestHead::parse(inbox.get(..head_bytes).unwrap_or_default());
                client.inbox = inbox;
                return Ok((head.map_err(Error::Head)?, head_bytes));
            }
            Ok(None) => {}
            Err(error) => return Err(Error::Head(error).into()),
        }
        match client.read_more(&mut inbox).await {
            Ok(true) => {}
            Ok(false) => return Err(Error::Truncated.into()),
            Err(ReadError::Expired) => return Err(Error::HeadTimeout.into()),
            Err(ReadError::Broken) => return Err(NoRequest::Ended),
        }
    }
}

/// Reads the body that belongs to `head`, which stands at the beginning of the inbox. What follows it
/// stays there.
///
/// # Cancel safety
///
/// Dropping it loses the request; the connection must be closed.
pub(super) async fn read_body(
    client: &mut Client,
    context: &Context,
    head: RequestHead,
    head_bytes: usize,
) -> Result<Incoming, NoRequest> {
    let limit = context.settings().body_bytes_max;
    let mut bytes = std::mem::take(&mut client.inbox);
    let body = match head.body {
        RequestBody::None => head_bytes..head_bytes,
        RequestBody::Length(length) => {
            // Refused before any of it is kept.
            let length = usize::try_from(length).ok().filter(|_| length <= limit);
            let length = length.ok_or(Error::BodyTooLarge { limit })?;
            let end = head_bytes.saturating_add(length);
            if bytes.len() < end {
                invite(client, &head).await?;
            }
            while bytes.len() < end {
                read_body_part(client, &mut bytes).await?;
            }
            client.inbox = bytes.split_off(end);
            head_bytes..end
        }
        RequestBody::Chunked => {
            let rest = bytes.split_off(head_bytes);
            if rest.is_empty() {
                invite(client, &head).await?;
            }
            client.inbox = read_chunked(client, rest, &mut bytes, limit).await?;
            head_bytes..bytes.len()
        }
    };
    if matches!(head.body, RequestBody::None) {
        client.inbox = bytes.split_off(head_bytes);
    }
    client.deadline.clear();
    context.counters.add(
        crate::telemetry::Counter::BytesIn,
        u64::try_from(body.len()).unwrap_or(u64::MAX),
    );
    Ok(Incoming {
        bytes,
        head,
        head_bytes,
        body,
        complete: clock::now(),
    })
}

/// Tells a client that waits for it to send the body (RFC 9110 §10.1.1).
async fn invite(client: &Client, head: &RequestHead) -> Result<(), NoRequest> {
    if head.expects_continue {
        let go_on = IoSlice::new(b"HTTP/1.1 100 Continue\r\n\r\n");
        client
            .write_all(&mut [go_on])
            .await
            .or(Err(NoRequest::Ended))?;
    }
    Ok(())
}

/// Appends decoded chunks to `body` until the last; what was read beyond it.
async fn read_chunked(
    client: &Client,
    mut raw: Vec<u8>,
    body: &mut Vec<u8>,
    limit: u64,
) -> Result<Vec<u8>, NoRequest> {
    let (head_bytes, mut chunked) = (body.len(), Chunked::new());
    loop {
        let mut at = 0;
        loop {
            match chunked.next(&raw, &mut at).map_err(Error::Chunked)? {
                ChunkedEvent::Data(data) => {
                    body.extend_from_slice(raw.get(data).unwrap_or_default());
                    let length = u64::try_from(body.len() - head_bytes).unwrap_or(u64::MAX);
                    if length > limit {
                        return Err(Error::BodyTooLarge { limit }.into());
                    }
                }
                ChunkedEvent::Done => return Ok(raw.split_off(at)),
                ChunkedEvent::NeedMore => break,
            }
        }
        raw.drain(..at);
        read_body_part(client, &mut raw).await?;
    }
}

async fn read_body_part(client: &Client, buffer: &mut Vec<u8>) -> Result<(), NoRequest> {
    client.deadline.set(client.times.body_idle);
    match client.read_more(buffer).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::Truncated.into()),
        Err(ReadError::Expired) => Err(Error::BodyTimeout.into()),
        Err(ReadError::Broken) => Err(NoRequest::Ended),
    }
}
