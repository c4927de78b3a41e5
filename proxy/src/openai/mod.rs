//! The little that must be known of OpenAI's API to run one request on two nodes.
//!
//! [`scan()`] reads a request body once, in place, and notes where a handful of top-level values stand.
//! [`admit()`] refuses what a pair of nodes cannot serve. [`Patch`] turns the client's body into the
//! prefill leg's without copying it. [`EventScan`] reads the prefill leg's answer, an event stream, and
//! tells whether it carried an error. [`error_body()`] writes our own errors as clients expect them.
//!
//! The room refuses to know sockets, HTTP framing, nodes and time: bytes come in, values go out. It
//! never builds a tree of a body, never recurses over one and never writes to one. It does not validate
//! requests either, but for what [`admit()`] names: nodes do that, and say it in their own words.
//!
//! The invariant: a decode leg gets the client's bytes as they came, and a prefill leg the same bytes
//! but for the values named in [`Patch::prefill`]. What two readers might read differently in those
//! values — a key given twice, or written with escapes — never gets past [`scan()`].

mod admit;
mod error_body;
mod json;
mod lax;
#[cfg(test)]
mod oracle;
mod patch;
mod scan;
mod sse;
mod text;

pub use admit::{Refusal, admit, wants_stream};
pub use error_body::{error_body, error_event, error_type};
pub use json::{JsonError, JsonErrorKind, Kind, Value};
pub use patch::{Patch, check_patch};
pub use scan::{Key, Scan, check_scan, scan};
pub use sse::{ErrorEvent, EventScan, Verdict, check_sse};
