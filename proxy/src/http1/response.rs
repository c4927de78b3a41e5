//! Response heads.

use std::mem::MaybeUninit;

use super::connection::Connection;
use super::fields::{Fields, Span};
use super::framing::{Framing, Known};
use super::head_error::HeadError;
use super::refusal;
use super::request::Version;
use crate::limits::{HEAD_BYTES_MAX, HEAD_FIELDS_MAX};

/// How a response's body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseBody {
    /// There is none, whatever the fields say.
    None,
    /// This many bytes follow; may be 0.
    Length(u64),
    /// Chunks follow.
    Chunked,
    /// Everything until the connection ends. A body that was cut cannot be told from a whole one.
    UntilClose,
}

/// A response head, checked.
///
/// Places count from the first byte of the head it was parsed from.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// The status code, from 100 to 599.
    pub status: u16,
    /// The reason phrase; may be empty.
    pub reason: Span,
    /// The node's version.
    pub version: Version,
    /// All fields.
    pub fields: Fields,
    /// Whether the connection may be used again after the body. False if only its end ends the
    /// body.
    pub keep_alive: bool,
    framing: Framing,
}

impl ResponseHead {
    /// Reads `head`, which is exactly one head: what [`HeadScan::find`](super::HeadScan::find)
    /// measured.
    ///
    /// Nothing is taken on trust from that search; other bytes are refused, not misread.
    ///
    /// # Errors
    ///
    /// Why the response cannot be relayed. Faults of framing are found here even in responses that
    /// have no body.
    pub fn parse(head: &[u8]) -> Result<Self, HeadError> {
        if head.len() > HEAD_BYTES_MAX {
            return Err(HeadError::TooLarge);
        }
        // The tokenizer would skip empty lines, which are not allowed before a status line.
        if !head.starts_with(b"HTTP/1.") {
            return Err(HeadError::StatusLine);
        }
        let mut slots = [const { MaybeUninit::uninit() }; HEAD_FIELDS_MAX];
        let mut found = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default()
            .parse_response_with_uninit_headers(&mut found, head, &mut slots);
        match parsed {
            Ok(httparse::Status::Complete(bytes)) if bytes == head.len() => {}
            Ok(_) => return Err(HeadError::Incomplete),
            Err(error) => return Err(refusal::of_response(head, error)),
        }
        let (Some(status), Some(minor)) = (found.code, found.version) else {
            return Err(HeadError::Incomplete);
        };
        let fields = Fields::of(found.headers, head);
        refusal::check_lines(head, head, &fields)?;
        if !(100..600).contains(&status) {
            return Err(HeadError::Status);
        }
        let version = Version::of_minor(minor);
        let mut framing = Framing::default();
        let mut connection = Connection::default();
        for &field in fields.spans() {
            match Known::of(field.0.get(head))? {
                Some(Known::ContentLength) => framing.note_length(field, head)?,
                Some(Known::TransferEncoding) => framing.note_encoding(field, head)?,
                Some(Known::Connection) => connection.note(field.1.get(head))?,
                Some(Known::Host | Known::Expect) | None => {}
            }
        }
        framing.check(version)?;

        let mut response = Self {
            status,
            reason: reason(head),
            version,
            fields,
            keep_alive: connection.persists(version),
            framing,
        };
        if framing.chunked && response.has_no_framing() {
            return Err(HeadError::BodyForbidden);
        }
        let has_stray_length =
            response.has_no_framing() && framing.content_length.is_some_and(|bytes| bytes > 0);
        if has_stray_length || response.body(false) == ResponseBody::UntilClose {
            response.keep_alive = false;
        }
        Ok(response)
    }

    /// How the body is framed, by RFC 9112 §6.3 in its order.
    pub const fn body(&self, request_was_head: bool) -> ResponseBody {
        if request_was_head || self.has_no_framing() || self.status == 304 {
            return ResponseBody::None;
        }
        match (self.framing.chunked, self.framing.content_length) {
            (true, _) => ResponseBody::Chunked,
            (false, Some(bytes)) => ResponseBody::Length(bytes),
            (false, None) => ResponseBody::UntilClose,
        }
    }

    /// Whether another response to the same request follows (RFC 9110 §15.2). 101 is among them:
    /// who never asks for an upgrade refuses it.
    pub const fn is_interim(&self) -> bool {
        self.status < 200
    }

    /// Whether the status allows neither a body nor framing fields (RFC 9110 §8.6, RFC 9112 §6.1).
    /// A `Content-Length` there is ignored, and unless it is 0 the connection is not used again:
    /// its sender may think that a body follows.
    const fn has_no_framing(&self) -> bool {
        self.status < 200 || self.status == 204
    }
}

/// The place of the reason phrase: what stands behind `HTTP/1.1 nnn ` in a head that was tokenized.
fn reason(head: &[u8]) -> Span {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    Span::of(line.get(b"HTTP/1.1 200 ".len()..).unwrap_or_default(), head)
}
