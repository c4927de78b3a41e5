//! What a node is, as the shards see it.
//!
//! The registry builds an immutable, ordered, numbered [`Snapshot`] of the fleet; each shard reads the
//! newest one without a lock. The only things of a node that change in place are its per-shard
//! in-flight counts, each written by one shard, and its suspicion, raised by any shard and withdrawn
//! by the registry alone. This room knows no sockets, no ZMQ and no policy.

mod in_flight;
mod node;
mod snapshot;

pub use in_flight::InFlight;
pub use node::{HttpAddress, InvalidAddress, KvAddress, Node, Role, State};
pub use snapshot::Snapshot;
