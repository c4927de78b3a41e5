//! Request heads.

use std::mem::MaybeUninit;

use super::bytes::list;
use super::connection::Connection;
use super::fields::{Fields, Span};
use super::framing::{Framing, Known};
use super::head_error::HeadError;
use super::host::Authority;
use super::refusal;
use super::target::Target;
use crate::limits::{HEAD_BYTES_MAX, HEAD_FIELDS_MAX, METHOD_BYTES_MAX};

/// The methods we tell apart (RFC 9110 §9.3). Methods are case-sensitive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// `GET`.
    Get,
    /// `HEAD`.
    Head,
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
    /// `DELETE`.
    Delete,
    /// `OPTIONS`.
    Options,
    /// `PATCH`.
    Patch,
    /// `CONNECT`.
    Connect,
    /// `TRACE`.
    Trace,
    /// Any other token.
    Other,
}

impl Method {
    /// The method as it stands in a request line; `OTHER` for the ones we do not know.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Patch => "PATCH",
            Self::Connect => "CONNECT",
            Self::Trace => "TRACE",
            Self::Other => "OTHER",
        }
    }

    fn of(text: &str) -> Self {
        match text {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            "OPTIONS" => Self::Options,
            "PATCH" => Self::Patch,
            "CONNECT" => Self::Connect,
            "TRACE" => Self::Trace,
            _ => Self::Other,
        }
    }
}

/// The versions we speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

impl Version {
    /// The version of a tokenizer that knows these two only, by its minor number.
    pub(super) const fn of_minor(minor: u8) -> Self {
        if minor == 0 {
            Self::Http10
        } else {
            Self::Http11
        }
    }
}

/// How a request's body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestBody {
    /// There is none.
    None,
    /// This many bytes follow; may be 0.
    Length(u64),
    /// Chunks follow.
    Chunked,
}

/// A request head, checked.
///
/// Places count from the first byte of the head it was parsed from.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// What is asked.
    pub method: Method,
    /// Path and query as they go to a node; `*` for `OPTIONS *`; `host:port` for `CONNECT`.
    pub target: Span,
    /// `target` without its query.
    pub path: Span,
    /// The client's version.
    pub version: Version,
    /// All fields.
    pub fields: Fields,
    /// How the body is framed.
    pub body: RequestBody,
    /// Whether the client means to use the connection again.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
}

impl RequestHead {
    /// Reads `head`, which is exactly one head: what [`HeadScan::find`](super::HeadScan::find)
    /// measured.
    ///
    /// Nothing is taken on trust from that search; other bytes are refused, not misread.
    ///
    /// # Errors
    ///
    /// Why the request is refused; [`HeadError::status`] says with which status.
    pub fn parse(head: &[u8]) -> Result<Self, HeadError> {
        if head.len() > HEAD_BYTES_MAX {
            return Err(HeadError::TooLarge);
        }
        // RFC 9112 §2.2: one empty line before the request line is skipped.
        let start = head.strip_prefix(b"\r\n").unwrap_or(head);
        let mut slots = [const { MaybeUninit::uninit() }; HEAD_FIELDS_MAX];
        let mut found = httparse::Request::new(&mut []);
        match found.parse_with_uninit_headers(start, &mut slots) {
            Ok(httparse::Status::Complete(bytes)) if bytes == start.len() => {}
            Ok(_) => return Err(HeadError::Incomplete),
            Err(error) => return Err(refusal::of_request(start, error)),
        }
        let (Some(method), Some(target), Some(minor)) = (found.method, found.path, found.version)
        else {
            return Err(HeadError::Incomplete);
        };
        let fields = Fields::of(found.headers, head);
        refusal::check_lines(start, head, &fields)?;
        if method.len() > METHOD_BYTES_MAX {
            return Err(HeadError::Method);
        }
        let method = Method::of(method);
        let version = Version::of_minor(minor);
        let target = Target::parse(method, target.as_bytes())?;
        let known = KnownFields::read(&fields, head)?;
        known.framing.check(version)?;
        known.check_host(version, target)?;

        let body = match (known.framing.chunked, known.framing.content_length) {
            (true, _) => RequestBody::Chunked,
            (false, Some(bytes)) => RequestBody::Length(bytes),
            (false, None) => RequestBody::None,
        };
        // RFC 9110 §10.1.1: an expectation of HTTP/1.0 is ignored.
        let expects = if version == Version::Http11 {
            known.expectation
        } else {
            Expectation::None
        };
        if expects == Expectation::Unknown {
            return Err(HeadError::Expectation);
        }
        let has_body = !matches!(body, RequestBody::None | RequestBody::Length(0));
        Ok(Self {
            method,
            target: Span::of(target.target, head),
            path: Span::of(target.path, head),
            version,
            fields,
            body,
            keep_alive: known.connection.persists(version),
            expects_continue: expects == Expectation::Continue && has_body,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expectation {
    None,
    Continue,
    Unknown,
}

/// What a request's fields say to its reader.
struct KnownFields<'a> {
    framing: Framing,
    connection: Connection,
    expectation: Expectation,
    host: Option<Authority<'a>>,
}

impl<'a> KnownFields<'a> {
    fn read(fields: &Fields, head: &'a [u8]) -> Result<Self, HeadError> {
        let mut known = Self {
            framing: Framing::default(),
            connection: Connection::default(),
            expectation: Expectation::None,
            host: None,
        };
        for &field in fields.spans() {
            let (name, value) = (field.0.get(head), field.1.get(head));
            match Known::of(name)? {
                None => {}
                Some(Known::Host) => known.note_host(value)?,
                Some(Known::ContentLength) => known.framing.note_length(field, head)?,
                Some(Known::TransferEncoding) => known.framing.note_encoding(field, head)?,
                Some(Known::Connection) => known.connection.note(value)?,
                Some(Known::Expect) => known.note_expectation(value),
            }
        }
        Ok(known)
    }

    fn note_host(&mut self, value: &'a [u8]) -> Result<(), HeadError> {
        if self.host.is_some() {
            return Err(HeadError::RepeatedHost);
        }
        // RFC 9112 §3.2 allows an empty Host only where the target has no authority. Ours are http
        // URIs, which always have one.
        self.host = Some(Authority::parse(value).ok_or(HeadError::Host)?);
        Ok(())
    }

    fn note_expectation(&mut self, value: &[u8]) {
        let is_known = list(value).all(|member| member.eq_ignore_ascii_case(b"100-continue"));
        if !is_known {
            self.expectation = Expectation::Unknown;
        } else if self.expectation == Expectation::None {
            self.expectation = Expectation::Continue;
        }
    }

    /// Exactly one `Host` in HTTP/1.1 (RFC 9112 §3.2), and none that contradicts the target: the
    /// target would win (§3.2.2), but whoever sends both differently is trying something.
    fn check_host(&self, version: Version, target: Target<'_>) -> Result<(), HeadError> {
        match (self.host, target.authority) {
            (None, _) if version == Version::Http11 => Err(HeadError::MissingHost),
            (Some(host), Some((authority, default_port)))
                if !host.is_same(authority, default_port) =>
            {
                Err(HeadError::HostContradictsTarget)
            }
            _ => Ok(()),
        }
    }
}
