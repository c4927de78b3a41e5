//! What a request asks for, and how it is to be answered.

use crate::error::Error;
use crate::http1::{HeadWriter, Method, RequestHead, Version};
use crate::telemetry::Route;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Tokens, from a prefill and a decode node.
    Generate(Route),
    /// What any one node can say.
    Node(Route),
    /// What the proxy says itself.
    Local(Route),
}

impl Target {
    pub(super) const fn route(self) -> Route {
        match self {
            Self::Generate(route) | Self::Node(route) | Self::Local(route) => route,
        }
    }
}

/// The endpoint that `path` and `method` name.
///
/// # Errors
///
/// 404 and 405, with the methods there are.
pub(super) fn target(path: &[u8], method: Method) -> Result<Target, Error> {
    let get = |target| match method {
        Method::Get | Method::Head => Ok(target),
        _ => Err(Error::WrongMethod { allow: "GET, HEAD" }),
    };
    let post = |target| match method {
        Method::Post => Ok(target),
        _ => Err(Error::WrongMethod { allow: "POST" }),
    };
    match path {
        // No request has these two methods for a resource (RFC 9110 §9.3.6, §9.3.8).
        _ if matches!(method, Method::Connect | Method::Trace) => Err(Error::MethodOfOthers),
        b"/v1/completions" => post(Target::Generate(Route::Completions)),
        b"/v1/chat/completions" => post(Target::Generate(Route::ChatCompletions)),
        b"/v1/models" => get(Target::Node(Route::Models)),
        b"/version" => get(Target::Node(Route::Version)),
        b"/health" => get(Target::Local(Route::Health)),
        b"/metrics" => get(Target::Local(Route::Metrics)),
        _ => Err(Error::UnknownRoute),
    }
}

/// How a request is to be answered, whatever the answer is.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    /// The request was a HEAD: the answer has no body.
    pub(super) is_head: bool,
    /// The client understands chunked coding (RFC 9112 §7.1).
    pub(super) is_http11: bool,
    /// The connection takes another request after this one.
    pub(super) keep_alive: bool,
    /// The client's own id, or one of ours: it is logged and echoed, and never sent to a node.
    pub(super) request_id: Box<[u8]>,
}

impl Reply {
    /// The manner that the request with this head asks for.
    pub(super) fn to(head: &RequestHead, bytes: &[u8]) -> Self {
        let request_id = head.fields.get(bytes, "x-request-id").unwrap_or_default();
        Self {
            is_head: head.method == Method::Head,
            is_http11: head.version == Version::Http11,
            keep_alive: head.keep_alive,
            request_id: request_id.into(),
        }
    }

    /// The manner of a refusal of what could not be read.
    pub(super) fn to_unreadable() -> Self {
        Self {
            is_head: false,
            is_http11: true,
            keep_alive: false,
            request_id: Box::default(),
        }
    }

    /// The client's own id, for a log line.
    pub(super) fn id(&self) -> impl std::fmt::Display + '_ {
        String::from_utf8_lossy(&self.request_id)
    }

    /// The fields that every answer of ours has.
    pub(super) fn write_fields<'a>(&self, mut writer: HeadWriter<'a>) -> HeadWriter<'a> {
        if !self.request_id.is_empty() {
            writer = writer.field("x-request-id", &self.request_id);
        }
        match (self.keep_alive, self.is_http11) {
            (false, _) => writer.field("connection", "close"),
            // HTTP/1.0 closes unless told otherwise.
            (true, false) => writer.field("connection", "keep-alive"),
            (true, true) => writer,
        }
    }
}
