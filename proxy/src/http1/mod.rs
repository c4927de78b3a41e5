//! HTTP/1.1 on the wire: bytes to meaning and back (RFC 9110, RFC 9112).
//!
//! This room is dry: no socket, no clock, no await. It reads heads ([`HeadScan`], [`RequestHead`],
//! [`ResponseHead`]) and chunked bodies ([`Chunked`], [`ChunkedRelay`]), says which fields may be
//! passed on ([`end_to_end`]), and writes heads ([`HeadWriter`]). It knows nothing of nodes, of
//! JSON or of what a status means to a client.
//!
//! Strict in, canonical out: of a message whose framing two readers might understand differently,
//! not one byte is passed on. Where RFC 9112 lets a recipient be lenient (bare LF, folded fields,
//! `Content-Length` beside `Transfer-Encoding`, repeated lengths) this room refuses, and what it
//! hands on is meaning, not framing. Two things are forgiven, because peers are known to do them
//! and they cannot be misread: one empty line before a request line, and a status line that ends
//! with its code.
//!
//! What it costs: one allocation per head, for the list of fields, and none per chunk; heads are
//! kept as [`Span`]s of the buffer they arrived in. Bytes of a body are never looked at.

mod bytes;
mod check;
mod chunked;
mod chunked_relay;
mod connection;
mod fields;
mod framing;
mod head_error;
mod head_scan;
mod hop_by_hop;
mod host;
mod refusal;
mod request;
mod response;
mod size_line;
mod target;
#[cfg(test)]
mod tests;
mod write;

pub use check::{check_chunked, check_request_head, check_response_head};
pub use chunked::{Chunked, ChunkedError, ChunkedEvent};
pub use chunked_relay::{ChunkedRelay, Pieces, RelayProgress};
pub use fields::{Fields, Span};
pub use head_error::HeadError;
pub use head_scan::HeadScan;
pub use hop_by_hop::end_to_end;
pub use request::{Method, RequestBody, RequestHead, Version};
pub use response::{ResponseBody, ResponseHead};
pub use size_line::{LAST_CHUNK, SizeLine};
pub use write::{HeadWriter, reason};
