//! Talking to a node: one request and one response head over one connection.
//!
//! Connections are pooled per shard and per node. A connection goes back to the pool only when an
//! answer ended exactly at its boundary and nothing about it was odd; whatever else happens closes it.
//! This room knows no JSON, no policies and no clients.

mod connection;
mod exchange;
mod failure;
mod pool;

pub use connection::Connection;
pub use exchange::{Answer, Request, exchange};
pub use failure::{Failure, Fault};
pub use pool::Pool;
