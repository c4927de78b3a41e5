//! Answers of the proxy's own.

use std::io::IoSlice;

use crate::error::{Error, Rescue};
use crate::http1::{HeadWriter, reason};
use crate::io::clock;
use crate::openai;

use super::client::{Client, Gone};
use super::route::Reply;

/// An answer made here: a status, a body, and what the head needs beside them.
#[derive(Debug)]
pub(super) struct Local<'a> {
    pub(super) status: u16,
    pub(super) content_type: &'a str,
    pub(super) body: &'a [u8],
    pub(super) retry_after_s: Option<u64>,
    pub(super) allow: Option<&'static str>,
}

impl<'a> Local<'a> {
    /// A 200 of the given type.
    pub(super) const fn ok(content_type: &'a str, body: &'a [u8]) -> Self {
        Self {
            status: 200,
            content_type,
            body,
            retry_after_s: None,
            allow: None,
        }
    }
}

/// Answers with `local`, in the manner of `reply`.
pub(super) async fn local(client: &Client, reply: &Reply, local: Local<'_>) -> Result<(), Gone> {
    let mut head = Vec::with_capacity(256);
    let mut writer = HeadWriter::status(&mut head, local.status, reason(local.status).as_bytes())
        .field("date", httpdate::fmt_http_date(clock::wall()))
        .field("server", "pd-proxy")
        .field("content-type", local.content_type)
        .field_u64(
            "content-length",
            u64::try_from(local.body.len()).unwrap_or(0),
        );
    if local.status == 401 {
        // RFC 9110 §11.6.1 asks for it.
        writer = writer.field("www-authenticate", "Bearer");
    }
    if let Some(allow) = local.allow {
        writer = writer.field("allow", allow);
    }
    if let Some(retry_after_s) = local.retry_after_s {
        writer = writer.field_u64("retry-after", retry_after_s);
    }
    reply.write_fields(writer).finish();
    let body = if reply.is_head { &[][..] } else { local.body };
    client
        .write_all(&mut [IoSlice::new(&head), IoSlice::new(body)])
        .await
}

/// Refuses a request, in the shape OpenAI's clients expect.
pub(super) async fn error(
    client: &Client,
    reply: &Reply,
    error: &Error,
    rescue: &Rescue,
) -> Result<(), Gone> {
    let message = error.to_string();
    let body = openai::error_body(rescue.status, &message, rescue.param.as_deref());
    let answer = Local {
        status: rescue.status,
        content_type: "application/json",
        body: &body,
        retry_after_s: rescue.retry_after.map(|after| after.as_secs()),
        allow: rescue.allow,
    };
    local(client, reply, answer).await
}
