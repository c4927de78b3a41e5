//! Idle connections of this shard, by node.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::io::{Deadline, Stream};
use crate::limits;
use crate::nodes::{Node, Snapshot};
use crate::telemetry::{Counter, Counters};

use super::{Connection, Failure, Fault};

/// Idle connections of one shard.
///
/// A connection waits here for at most [`limits::UPSTREAM_IDLE_TIMEOUT`], because vLLM closes it after
/// 5 s; one that became readable meanwhile (the node closed it, or sent what nobody asked for) is
/// dropped by the next [`Pool::sweep`], and never handed out.
#[derive(Debug)]
pub struct Pool {
    /// By the node's address in memory: a new `Node` is made whenever an address means something else,
    /// and a connection keeps its `Node` alive, so the key cannot be taken by another.
    idle: RefCell<HashMap<*const Node, Vec<Idle>>>,
    counters: Arc<Counters>,
    connect_timeout: Duration,
    idle_timeout: Duration,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

impl Pool {
    /// An empty pool.
    pub fn new(counters: Arc<Counters>, connect_timeout: Duration, idle_timeout: Duration) -> Self {
        Self {
            idle: RefCell::default(),
            counters,
            connect_timeout,
            idle_timeout,
        }
    }

    /// A connection to `node`: the one that went idle last, or a new one.
    ///
    /// # Errors
    ///
    /// When no connection can be made in time. `deadline` is used for it and cleared.
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes a half-open connection.
    pub async fn connection(
        &self,
        node: &Arc<Node>,
        deadline: &Deadline,
        now: Instant,
    ) -> Result<Connection, Failure> {
        if let Some(connection) = self.take(node, now) {
            self.counters.count(Counter::Reused);
            return Ok(connection);
        }
        self.connect(node, deadline).await
    }

    /// A new connection to `node`.
    ///
    /// # Errors
    ///
    /// As [`Pool::connection`].
    ///
    /// # Cancel safety
    ///
    /// As [`Pool::connection`].
    pub async fn connect(
        &self,
        node: &Arc<Node>,
        deadline: &Deadline,
    ) -> Result<Connection, Failure> {
        deadline.set(self.connect_timeout);
        let connected = deadline.within(Stream::connect(node.socket)).await;
        deadline.clear();
        let stream = match connected {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(Fault::Connect(error).before_sending()),
            Err(_) => return Err(Fault::ConnectTimeout.before_sending()),
        };
        self.counters.count(Counter::Connects);
        Ok(Connection {
            stream,
            node: Arc::clone(node),
            is_reused: false,
        })
    }

    /// Takes back a connection whose answer ended exactly at its boundary.
    pub fn give_back(&self, mut connection: Connection, now: Instant) {
        connection.is_reused = true;
        let mut idle = self.idle.borrow_mut();
        let of_node = idle.entry(Arc::as_ptr(&connection.node)).or_default();
        if of_node.len() < limits::IDLE_PER_NODE_MAX {
            of_node.push(Idle {
                connection,
                since: now,
            });
        }
    }

    /// Drops what has been idle for too long, what the node has closed, and what leads to nodes that
    /// `fleet` no longer has.
    pub fn sweep(&self, fleet: &Snapshot, now: Instant) {
        self.idle.borrow_mut().retain(|node, of_node| {
            let is_known = fleet
                .nodes
                .iter()
                .any(|(known, _)| Arc::as_ptr(known) == *node);
            of_node
                .retain(|idle| is_known && self.is_fresh(idle, now) && idle.connection.is_quiet());
            !of_node.is_empty()
        });
    }

    /// The cells this pool counts in.
    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Closes every idle connection: descriptors are needed elsewhere.
    pub fn clear(&self) {
        self.idle.borrow_mut().clear();
    }

    /// Connections waiting for a request.
    pub fn len(&self) -> usize {
        self.idle.borrow().values().map(Vec::len).sum()
    }

    /// Whether none is waiting.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The one that went idle last is the least likely to be closed by its node.
    fn take(&self, node: &Arc<Node>, now: Instant) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let of_node = idle.get_mut(&Arc::as_ptr(node))?;
        while let Some(candidate) = of_node.pop() {
            if self.is_fresh(&candidate, now) && candidate.connection.is_quiet() {
                return Some(candidate.connection);
            }
        }
        None
    }

    fn is_fresh(&self, idle: &Idle, now: Instant) -> bool {
        now.saturating_duration_since(idle.since) < self.idle_timeout
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::rc::Rc;

    use super::*;
    use crate::io::{DriverChoice, Timers, clock, run};
    use crate::nodes::{HttpAddress, KvAddress, Role};

    /// A node that takes connections.
    fn node() -> (TcpListener, Arc<Node>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = listener.local_addr().unwrap();
        let http = HttpAddress::parse(&socket.to_string()).unwrap();
        let kv = KvAddress::parse("10.0.0.1:1").unwrap();
        let node = Node::new(Role::Decode, http, socket, kv, 1);
        (listener, Arc::new(node))
    }

    /// What `test` says of a pool as shards have it.
    fn with_pool<T>(test: impl AsyncFnOnce(Pool, Deadline) -> T) -> T {
        let counters = Arc::new(Counters::default());
        let pool = Pool::new(
            counters,
            limits::CONNECT_TIMEOUT,
            limits::UPSTREAM_IDLE_TIMEOUT,
        );
        let deadline = Rc::new(Timers::new()).deadline();
        run(DriverChoice::Auto, |_, _| test(pool, deadline)).unwrap()
    }

    #[test]
    fn idle_connection_is_handed_out_for_less_than_four_seconds() {
        assert_eq!(limits::UPSTREAM_IDLE_TIMEOUT, Duration::from_secs(4));
        let (_listener, node) = node();
        with_pool(async |pool, deadline| {
            let since = clock::now();
            for (idle_ms, is_handed_out) in [(0, true), (3_999, true), (4_000, false)] {
                let connection = pool.connect(&node, &deadline).await.unwrap();
                pool.give_back(connection, since);
                let then = since + Duration::from_millis(idle_ms);
                assert_eq!(pool.take(&node, then).is_some(), is_handed_out, "{idle_ms}");
            }
        });
    }

    #[test]
    fn sweep_drops_what_has_been_idle_for_four_seconds() {
        let (_listener, node) = node();
        with_pool(async |pool, deadline| {
            let since = clock::now();
            let fleet = Snapshot {
                epoch: 1,
                nodes: vec![(Arc::clone(&node), crate::nodes::State::Ready)],
            };
            let connection = pool.connect(&node, &deadline).await.unwrap();
            pool.give_back(connection, since);
            pool.sweep(&fleet, since + Duration::from_millis(3_999));
            assert_eq!(pool.len(), 1);
            pool.sweep(&fleet, since + Duration::from_secs(4));
            assert!(pool.is_empty());
        });
    }

    #[test]
    fn sweep_drops_connections_to_nodes_that_are_gone() {
        let (_listener, node) = node();
        with_pool(async |pool, deadline| {
            let connection = pool.connect(&node, &deadline).await.unwrap();
            pool.give_back(connection, clock::now());
            pool.sweep(&Snapshot::default(), clock::now());
            assert!(pool.is_empty());
        });
    }

    #[test]
    fn connection_is_handed_out_for_its_own_node_alone() {
        let ((_listener, one), (_other_listener, other)) = (node(), node());
        with_pool(async |pool, deadline| {
            let connection = pool.connect(&one, &deadline).await.unwrap();
            pool.give_back(connection, clock::now());
            assert!(pool.take(&other, clock::now()).is_none());
            let taken = pool.take(&one, clock::now()).expect("its own");
            assert!(taken.is_reused);
        });
    }

    #[test]
    fn no_more_connections_wait_than_allowed() {
        let (_listener, node) = node();
        with_pool(async |pool, deadline| {
            for _ in 0..=limits::IDLE_PER_NODE_MAX {
                let connection = pool.connect(&node, &deadline).await.unwrap();
                pool.give_back(connection, clock::now());
            }
            assert_eq!(pool.len(), limits::IDLE_PER_NODE_MAX);
        });
    }
}
