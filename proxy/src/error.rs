//! What can go wrong with a request, whose doing it is, and what the client is told.
//!
//! Every refusal of the proxy's own is made here, in one table, in the shape OpenAI's clients expect.
//! What a node answered is passed on as it is and never comes here.

use std::borrow::Cow;
use std::time::Duration;

use crate::http1::{ChunkedError, HeadError};
use crate::nodes::Role;
use crate::openai::{JsonError, Refusal};
use crate::telemetry::{Cause, Side, Stage};
use crate::upstream::{Failure, Fault};

/// Why a request got no answer from a node.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request's head cannot be read or must not be trusted.
    #[error("{0}")]
    Head(#[from] HeadError),
    /// The request's chunked body cannot be read.
    #[error("the request body is not validly chunked: {0}")]
    Chunked(#[from] ChunkedError),
    /// The client ended its side before the request was complete.
    #[error("the connection was closed before the request was complete")]
    Truncated,
    /// The head took too long to arrive.
    #[error("the request head did not arrive in time")]
    HeadTimeout,
    /// The body stopped arriving.
    #[error("the request body did not arrive in time")]
    BodyTimeout,
    /// The body is longer than this proxy takes.
    #[error(
        "the request body is larger than {limit} bytes, the most this proxy takes \
         (--max-payload-size)"
    )]
    BodyTooLarge {
        /// What it takes, in bytes.
        limit: u64,
    },
    /// The body is not declared to be JSON.
    #[error("the Content-Type must be application/json")]
    ContentType,
    /// The body is compressed.
    #[error("the Content-Encoding must be identity: send the body uncompressed")]
    ContentEncoding,
    /// The body is not a JSON object, or names a key twice whose value we must know.
    #[error("{0}")]
    Json(#[from] JsonError),
    /// The body asks for what a prefill and a decode node cannot do together.
    #[error("{0}")]
    Refusal(#[from] Refusal),
    /// The client has no key, or a wrong one.
    #[error("this proxy asks for a key: send a valid one as Authorization: Bearer KEY")]
    Unauthorized,
    /// There is no such endpoint.
    #[error(
        "this proxy serves /v1/completions, /v1/chat/completions, /v1/models, /health, /version and /metrics"
    )]
    UnknownRoute,
    /// The endpoint has no such method.
    #[error("this endpoint takes {allow} only")]
    WrongMethod {
        /// The methods it has, as an `Allow` field lists them.
        allow: &'static str,
    },
    /// The request has been through this very process before.
    #[error("the request came back to the proxy that sent it: a node's address is the proxy's own")]
    Loop,
    /// The method is one that no resource of ours has.
    #[error("this proxy has neither CONNECT nor TRACE")]
    MethodOfOthers,
    /// No node of a role may be given a request.
    #[error("no {} node is ready", .0.name())]
    NoNode(Role),
    /// A node did not answer.
    #[error("the {} node did not answer: {failure}", role.name())]
    Node {
        /// What the node was to do.
        role: Role,
        /// What happened.
        failure: Failure,
    },
    /// The prefill node answered with an error of its own.
    #[error("the prefill node failed with status {status}")]
    PrefillFailed {
        /// The status, of its answer or of the error event inside it.
        status: u16,
    },
}

/// What the client is told of an [`Error`], and how it is counted.
#[derive(Debug)]
pub struct Rescue {
    /// The HTTP status.
    pub status: u16,
    /// The field of the request that is to blame, if there is one.
    pub param: Option<Cow<'static, str>>,
    /// When it may be worth another try.
    pub retry_after: Option<Duration>,
    /// An `Allow` field's value.
    pub allow: Option<&'static str>,
    /// Whether the rest of the connection's bytes cannot be trusted or will not be read.
    pub closes: bool,
    /// Where it happened.
    pub stage: Stage,
    /// Whose doing it is.
    pub side: Side,
    /// Why.
    pub cause: Cause,
}

/// Nodes ping every 3 s: sooner than that a fleet that has no ready node will not have one.
const RETRY_AFTER: Duration = Duration::from_secs(3);

impl Error {
    /// The one table from causes to answers.
    pub fn rescue(&self) -> Rescue {
        let of_client = |status, cause| Rescue {
            status,
            param: None,
            retry_after: None,
            allow: None,
            closes: false,
            stage: Stage::Request,
            side: Side::Client,
            cause,
        };
        let closing = |status, cause| Rescue {
            closes: true,
            ..of_client(status, cause)
        };
        match self {
            Self::Head(error) => closing(error.status(), Cause::Invalid),
            Self::Chunked(_) | Self::Truncated => closing(400, Cause::Invalid),
            Self::HeadTimeout | Self::BodyTimeout => closing(408, Cause::Timeout),
            Self::BodyTooLarge { .. } => closing(413, Cause::Invalid),
            // Its body is not read.
            Self::Unauthorized => closing(401, Cause::Unauthorized),
            Self::ContentType => of_client(400, Cause::Invalid),
            Self::ContentEncoding => of_client(415, Cause::Invalid),
            Self::Json(error) => Rescue {
                param: error.param().map(Cow::Borrowed),
                ..of_client(400, Cause::Invalid)
            },
            Self::Refusal(refusal) => Rescue {
                param: Some(Cow::Borrowed(refusal.param())),
                ..of_client(400, Cause::Invalid)
            },
            Self::UnknownRoute => of_client(404, Cause::Invalid),
            Self::WrongMethod { allow } => Rescue {
                allow: Some(*allow),
                ..of_client(405, Cause::Invalid)
            },
            // What follows a refused CONNECT may be the bytes of the tunnel that its client took for
            // granted, written by whoever is at the other end of that client.
            Self::MethodOfOthers => Rescue {
                allow: Some("GET, HEAD, POST"),
                ..closing(405, Cause::Invalid)
            },
            Self::Loop => Rescue {
                side: Side::Proxy,
                ..of_client(508, Cause::Invalid)
            },
            Self::NoNode(role) => Rescue {
                retry_after: Some(RETRY_AFTER),
                stage: stage(*role),
                side: Side::Proxy,
                ..of_client(503, Cause::NoNode)
            },
            Self::Node { role, failure } => {
                let (status, cause) = of_fault(&failure.fault);
                Rescue {
                    stage: stage(*role),
                    side: side(*role),
                    ..of_client(status, cause)
                }
            }
            Self::PrefillFailed { .. } => Rescue {
                stage: Stage::Prefill,
                side: Side::Prefill,
                ..of_client(502, Cause::Failed)
            },
        }
    }
}

/// The status a node's silence is reported with, and its cause.
pub(crate) const fn of_fault(fault: &Fault) -> (u16, Cause) {
    match fault {
        Fault::Connect(_) => (502, Cause::Connect),
        Fault::ConnectTimeout => (504, Cause::Connect),
        Fault::Cut(_) => (502, Cause::Cut),
        Fault::Timeout => (504, Cause::Timeout),
        Fault::Head(_) | Fault::Chunked(_) | Fault::Interim => (502, Cause::Protocol),
    }
}

/// Whose doing the failure of a node of `role` is.
pub(crate) const fn side(role: Role) -> Side {
    match role {
        Role::Prefill => Side::Prefill,
        Role::Decode => Side::Decode,
    }
}

const fn stage(role: Role) -> Stage {
    match role {
        Role::Prefill => Stage::Prefill,
        Role::Decode => Stage::Decode,
    }
}
