//! The four forms of a request target (RFC 9112 §3.2).

use super::bytes::is_uri;
use super::head_error::HeadError;
use super::host::Authority;
use super::request::Method;
use crate::limits::TARGET_BYTES_MAX;

/// A request target, reduced to what goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// Path and query; `*`; or `host:port` of a `CONNECT`.
    pub(super) target: &'a [u8],
    /// `target` without its query.
    pub(super) path: &'a [u8],
    /// The server an absolute-form target names, and the port it means if it names none.
    pub(super) authority: Option<(Authority<'a>, u16)>,
}

impl<'a> Target<'a> {
    /// Reads the target of a request with `method`.
    pub(super) fn parse(method: Method, text: &'a [u8]) -> Result<Self, HeadError> {
        if text.len() > TARGET_BYTES_MAX {
            return Err(HeadError::TargetTooLong);
        }
        if !is_uri_text(text) {
            return Err(HeadError::TargetByte);
        }
        match (method, text) {
            (Method::Connect, _) => Self::authority_form(text),
            (_, [b'/', ..]) => Ok(Self::of_path(text, None)),
            (Method::Options, b"*") => Ok(Self {
                target: text,
                path: text,
                authority: None,
            }),
            _ => Self::absolute_form(text),
        }
    }

    fn authority_form(text: &'a [u8]) -> Result<Self, HeadError> {
        Authority::parse(text)
            .filter(|authority| authority.has_port())
            .map(|_| Self {
                target: text,
                path: text,
                authority: None,
            })
            .ok_or(HeadError::TargetForm)
    }

    /// An URL: RFC 9112 §3.2.2 has every server accept it.
    fn absolute_form(text: &'a [u8]) -> Result<Self, HeadError> {
        let (scheme_bytes, default_port) = match text {
            [
                b'h' | b'H',
                b't' | b'T',
                b't' | b'T',
                b'p' | b'P',
                b':',
                b'/',
                b'/',
                ..,
            ] => (7, 80),
            [
                b'h' | b'H',
                b't' | b'T',
                b't' | b'T',
                b'p' | b'P',
                b's' | b'S',
                b':',
                b'/',
                b'/',
                ..,
            ] => (8, 443),
            _ => return Err(HeadError::TargetForm),
        };
        let rest = text.get(scheme_bytes..).unwrap_or_default();
        let authority_bytes = rest
            .iter()
            .position(|byte| matches!(byte, b'/' | b'?'))
            .unwrap_or(rest.len());
        let (authority, path) = rest
            .split_at_checked(authority_bytes)
            .ok_or(HeadError::TargetForm)?;
        let authority = Authority::parse(authority).ok_or(HeadError::TargetForm)?;
        let path = match path {
            [b'/', ..] => path,
            // An empty path goes on as "/" (RFC 9112 §3.2.1), and there is one at hand: that before
            // the authority.
            [] => text.get(scheme_bytes - 1..scheme_bytes).unwrap_or_default(),
            // "http://host?query" would have to be put together anew. It names nothing we serve.
            _ => return Err(HeadError::TargetForm),
        };
        Ok(Self::of_path(path, Some((authority, default_port))))
    }

    fn of_path(target: &'a [u8], authority: Option<(Authority<'a>, u16)>) -> Self {
        let path = target
            .split(|byte| *byte == b'?')
            .next()
            .unwrap_or_default();
        Self {
            target,
            path,
            authority,
        }
    }
}

/// Whether `text` is made of the bytes of a URI, with every `%` followed by two hexadecimal digits
/// (RFC 3986 §2.1).
fn is_uri_text(mut text: &[u8]) -> bool {
    loop {
        match text {
            [] => return true,
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                text = rest;
            }
            [b'%', ..] => return false,
            [byte, rest @ ..] if is_uri(*byte) => text = rest,
            [_, ..] => return false,
        }
    }
}
