//! How long the body is: RFC 9112 §6, with every doubt refused.

use super::bytes::{decimal, is_ows};
use super::fields::Span;
use super::head_error::HeadError;
use super::request::Version;

/// The fields a reader of heads itself looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Connection,
    ContentLength,
    Expect,
    Host,
    TransferEncoding,
}

impl Known {
    /// The field called `name`, if it is one of ours.
    ///
    /// # Errors
    ///
    /// [`HeadError::FramingLookalike`]: gateways that turn names into variables see
    /// `Content_Length` and `Content-Length` as one.
    pub(super) fn of(name: &[u8]) -> Result<Option<Self>, HeadError> {
        // Length and first letter tell most names apart.
        let (known, full) = match (name.len(), name.first().map(u8::to_ascii_lowercase)) {
            (4, Some(b'h')) => (Self::Host, "host"),
            (6, Some(b'e')) => (Self::Expect, "expect"),
            (10, Some(b'c')) => (Self::Connection, "connection"),
            (14, Some(b'c')) => (Self::ContentLength, "content-length"),
            (17, Some(b't')) => (Self::TransferEncoding, "transfer-encoding"),
            _ => return Ok(None),
        };
        if name.eq_ignore_ascii_case(full.as_bytes()) {
            return Ok(Some(known));
        }
        let is_lookalike = name.iter().zip(full.as_bytes()).all(|(byte, expected)| {
            byte.eq_ignore_ascii_case(expected) || (*byte == b'_' && *expected == b'-')
        });
        if is_lookalike {
            Err(HeadError::FramingLookalike)
        } else {
            Ok(None)
        }
    }
}

/// The framing fields of one head.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Framing {
    /// `Content-Length`, if it was given.
    pub(super) content_length: Option<u64>,
    /// Whether `Transfer-Encoding: chunked` was given.
    pub(super) chunked: bool,
}

impl Framing {
    /// Takes in a `Content-Length` field of `head`.
    ///
    /// Repeated equal values are refused too, though RFC 9112 §6.3 item 5 would let them pass: who
    /// sends two lengths does not know what it sends.
    pub(super) fn note_length(
        &mut self,
        field: (Span, Span),
        head: &[u8],
    ) -> Result<(), HeadError> {
        let value = field.1.get(head);
        if self.content_length.is_some() {
            return Err(HeadError::RepeatedContentLength);
        }
        if has_odd_padding(field, head) {
            return Err(HeadError::ContentLength);
        }
        self.content_length = Some(decimal(value).ok_or(HeadError::ContentLength)?);
        Ok(())
    }

    /// Takes in a `Transfer-Encoding` field of `head`.
    pub(super) fn note_encoding(
        &mut self,
        field: (Span, Span),
        head: &[u8],
    ) -> Result<(), HeadError> {
        let value = field.1.get(head);
        if self.chunked {
            return Err(HeadError::RepeatedTransferEncoding);
        }
        if has_odd_padding(field, head) || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(HeadError::TransferEncoding);
        }
        self.chunked = true;
        Ok(())
    }

    /// Whether the fields agree with each other and with the version (RFC 9112 §6.1).
    pub(super) const fn check(self, version: Version) -> Result<(), HeadError> {
        match (self.chunked, version, self.content_length) {
            (true, Version::Http10, _) => Err(HeadError::TransferEncodingInHttp10),
            (true, Version::Http11, Some(_)) => Err(HeadError::TransferEncodingWithContentLength),
            (true, Version::Http11, None) | (false, _, _) => Ok(()),
        }
    }
}

/// Whether a tab stands around a field's value.
///
/// RFC 9110 §5.5 allows it, but beside framing fields it is only ever seen where someone tries
/// whether two readers differ.
fn has_odd_padding((name, value): (Span, Span), head: &[u8]) -> bool {
    let before = head.get(name.end()..value.start()).unwrap_or_default();
    let after = head.get(value.end()..).unwrap_or_default();
    before.contains(&b'\t')
        || after
            .iter()
            .take_while(|byte| is_ows(**byte))
            .any(|byte| *byte == b'\t')
}
