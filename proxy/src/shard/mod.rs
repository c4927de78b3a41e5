//! One core, one driver, one listener, and all they own.
//!
//! Shards share nothing but what [`relay::Shared`](crate::relay::Shared) holds: the published fleet, the
//! turn of the next pair, and counters that only one shard writes. This room knows nothing of how the
//! fleet comes about.

mod accept;
mod spawn;

pub use spawn::{Ready, Shards, Start, StartError, spawn};
