//! How many requests a node is serving, and the guard that gives them back.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Node;

/// One request at one node. It is made where the node is chosen, travels with the response body and
/// gives its count back when the last byte is written, or when anything else drops it. There is no
/// other way to lower the count.
#[derive(Debug)]
pub struct InFlight {
    node: Arc<Node>,
    shard: usize,
}

impl InFlight {
    /// Counts one request of `shard` at `node`.
    pub fn new(node: Arc<Node>, shard: usize) -> Self {
        let guard = Self { node, shard };
        guard.add(1);
        guard
    }

    /// The node that serves the request.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Only this shard's thread writes the cell, so a load and a store do without a locked instruction.
    fn add(&self, delta: u64) {
        if let Some(cell) = self.node.in_flight.get(self.shard) {
            let count = cell.0.load(Ordering::Relaxed).wrapping_add(delta);
            cell.0.store(count, Ordering::Relaxed);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.add(u64::MAX); // Minus one.
    }
}
