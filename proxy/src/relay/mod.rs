//! The story: a client's connection, its requests, and what becomes of each.
//!
//! [`request`] is the one path of a request, top to bottom, every phase by name. Endpoints differ by a
//! value, never by a second path. This room knows neither ZMQ nor threads.

mod access;
mod any_node;
mod attempt;
mod body;
mod client;
mod connection;
mod context;
mod decode;
mod drain;
mod incoming;
pub mod ledger;
mod leg;
mod local;
mod prefill;
pub mod request;
mod respond;
mod route;
mod stream;
mod watch;

pub use access::Access;
pub use connection::serve;
pub use context::{ClientTimes, Context, Phase, PhaseCell, Settings, Shared};
