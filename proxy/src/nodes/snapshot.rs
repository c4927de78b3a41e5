//! The published view of the fleet.

use std::sync::Arc;

use super::{Node, Role, State};

/// An immutable, ordered, numbered view of the fleet. A request sees one snapshot from start to end.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Grows by one with every change; a larger number is newer.
    pub epoch: u64,
    /// Every known node with its state, in the order of registration.
    pub nodes: Vec<(Arc<Node>, State)>,
}

impl Snapshot {
    /// The nodes of `role` that may be given a request, in registration order: the ready ones that no
    /// shard has seen fail; if there is none, the suspect ones, because a suspicion may be wrong and
    /// refusing everybody is not better.
    pub fn usable(&self, role: Role) -> impl Iterator<Item = &Arc<Node>> + Clone {
        let is_good = move |(node, state): &&(Arc<Node>, State)| {
            node.role == role && *state == State::Ready && !node.is_suspect()
        };
        let any_good = self.nodes.iter().any(|entry| is_good(&entry));
        self.nodes
            .iter()
            .filter(move |entry| {
                if any_good {
                    is_good(entry)
                } else {
                    entry.0.role == role && entry.1 != State::Pending
                }
            })
            .map(|(node, _)| node)
    }

    /// Whether a request can be served at all: a usable node of each role.
    pub fn can_serve(&self) -> bool {
        Role::ALL
            .into_iter()
            .all(|role| self.usable(role).next().is_some())
    }

    /// Nodes of `role` in `state`.
    pub fn count(&self, role: Role, state: State) -> usize {
        self.nodes
            .iter()
            .filter(|(node, node_state)| {
                node.role == role && Self::effective(node, *node_state) == state
            })
            .count()
    }

    /// `state`, with what the shards have seen since it was published.
    pub fn effective(node: &Node, state: State) -> State {
        if state == State::Ready && node.is_suspect() {
            State::Suspect
        } else {
            state
        }
    }
}
