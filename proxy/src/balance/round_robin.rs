//! Pairs in turn, as vLLM's example proxy forms them.

use std::sync::Arc;

use crate::limits;
use crate::nodes::{Node, Role, Snapshot};

/// The nodes chosen for one request.
#[derive(Clone, Debug)]
pub struct Pair {
    /// Computes the prompt's KV cache.
    pub prefill: Arc<Node>,
    /// Generates the tokens.
    pub decode: Arc<Node>,
}

/// The nodes that have failed this request already.
#[derive(Debug, Default)]
pub struct Tried {
    failed: Vec<Arc<Node>>,
}

impl Tried {
    /// Remembers that `node` failed this request.
    pub fn failed(&mut self, node: &Arc<Node>) {
        debug_assert!(self.failed.len() < 2 * limits::ATTEMPTS_MAX);
        self.failed.push(Arc::clone(node));
    }

    fn has(&self, node: &Arc<Node>) -> bool {
        self.failed.iter().any(|failed| Arc::ptr_eq(failed, node))
    }
}

/// The pair of the `turn`-th request: P = turn mod |P| and D = turn mod |D|, in registration order
/// (vLLM's example proxy, 0.9.2 to 0.23). With equal numbers a P always meets the same D, so that few
/// connections between nodes are needed. A node that failed the request is skipped; the next in order
/// takes its place.
///
/// # Errors
///
/// The role that has no node left.
pub fn choose(fleet: &Snapshot, turn: u64, tried: &Tried) -> Result<Pair, Role> {
    let prefill = nth(fleet, Role::Prefill, turn, tried).ok_or(Role::Prefill)?;
    let decode = nth(fleet, Role::Decode, turn, tried).ok_or(Role::Decode)?;
    Ok(Pair { prefill, decode })
}

fn nth(fleet: &Snapshot, role: Role, turn: u64, tried: &Tried) -> Option<Arc<Node>> {
    let usable = fleet.usable(role);
    let count = u64::try_from(usable.clone().count()).ok()?;
    let first = usize::try_from(turn.checked_rem(count)?).ok()?;
    // From the one whose turn it is to the last, then from the first.
    let from_first = usable.clone().skip(first).chain(usable.take(first));
    from_first
        .into_iter()
        .find(|node| !tried.has(node))
        .map(Arc::clone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::{HttpAddress, KvAddress, State};

    fn node(role: Role, port: u16) -> Arc<Node> {
        let http = HttpAddress::parse(&format!("10.0.0.1:{port}")).unwrap();
        let kv = KvAddress::parse(&format!("10.0.0.1:{}", port + 1000)).unwrap();
        Arc::new(Node::new(
            role,
            http.clone(),
            http.socket_addr().unwrap(),
            kv,
            1,
        ))
    }

    fn fleet(prefill: u16, decode: u16) -> Snapshot {
        let nodes = (0..prefill)
            .map(|i| node(Role::Prefill, 100 + i))
            .chain((0..decode).map(|i| node(Role::Decode, 200 + i)))
            .map(|node| (node, State::Ready))
            .collect();
        Snapshot { epoch: 1, nodes }
    }

    fn ports(fleet: &Snapshot, turn: u64, tried: &Tried) -> (u16, u16) {
        let pair = choose(fleet, turn, tried).unwrap();
        (pair.prefill.http.port(), pair.decode.http.port())
    }

    #[test]
    fn turns_go_round_both_roles_in_registration_order() {
        let fleet = fleet(2, 3);
        let pairs: Vec<_> = (0..6)
            .map(|turn| ports(&fleet, turn, &Tried::default()))
            .collect();
        assert_eq!(
            pairs,
            [
                (100, 200),
                (101, 201),
                (100, 202),
                (101, 200),
                (100, 201),
                (101, 202)
            ]
        );
        assert_eq!(ports(&fleet, u64::MAX, &Tried::default()), (101, 200));
    }

    #[test]
    fn missing_role_is_named() {
        assert_eq!(
            choose(&fleet(0, 1), 0, &Tried::default()).unwrap_err(),
            Role::Prefill
        );
        assert_eq!(
            choose(&fleet(1, 0), 0, &Tried::default()).unwrap_err(),
            Role::Decode
        );
    }

    #[test]
    fn failed_node_is_skipped_and_the_last_one_leaves_none() {
        let fleet = fleet(2, 1);
        let mut tried = Tried::default();
        tried.failed(&fleet.nodes[1].0);
        assert_eq!(ports(&fleet, 1, &tried), (100, 200));
        tried.failed(&fleet.nodes[0].0);
        assert_eq!(choose(&fleet, 1, &tried).unwrap_err(), Role::Prefill);
    }

    #[test]
    fn node_that_a_shard_saw_fail_is_avoided_until_it_is_the_only_one() {
        let fleet = fleet(2, 1);
        fleet.nodes[0].0.distrust();
        assert_eq!(ports(&fleet, 0, &Tried::default()).0, 101);
        fleet.nodes[1].0.distrust();
        assert_eq!(ports(&fleet, 0, &Tried::default()).0, 100);
    }

    #[test]
    fn pending_node_is_never_chosen() {
        let mut fleet = fleet(1, 1);
        fleet.nodes[0].1 = State::Pending;
        assert_eq!(
            choose(&fleet, 0, &Tried::default()).unwrap_err(),
            Role::Prefill
        );
    }
}
