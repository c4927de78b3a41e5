//! The table against a naive one, by operations that are read from bytes.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::entry::Health;
use super::quarantine::Quarantine;
use super::{Change, Settings, Table, Ticket};
use crate::nodes::{HttpAddress, KvAddress, Node, Role, State};
use crate::registry::frame::Registration;
use crate::registry::stats::Probed;

const SETTINGS: Settings = Settings {
    fresh: Duration::from_secs(5),
    expiry: Duration::from_secs(12),
    capacity: 6,
    shards: 1,
};

/// What the naive table knows of a node; the oldest stands first.
#[derive(Clone)]
struct Naive {
    registration: Registration,
    source: Option<IpAddr>,
    socket: Option<SocketAddr>,
    /// The node as the last snapshot had it; none when the next one must have a new one.
    node: Option<Arc<Node>>,
    health: Health,
    is_proven: bool,
    is_probed: bool,
    /// Its last request expired, and the registry has not heard of it yet.
    is_silenced: bool,
    quarantine: Quarantine,
    last_ping: Duration,
}

impl Naive {
    fn new(registration: Registration, source: Option<IpAddr>, now: Duration) -> Self {
        let socket = registration.http.socket_addr();
        Self {
            registration,
            source,
            socket,
            node: None,
            health: Health::Unknown,
            is_proven: false,
            is_probed: false,
            is_silenced: false,
            quarantine: Quarantine::default(),
            last_ping: now,
        }
    }

    fn renew(&mut self) {
        self.node = None;
        self.health = Health::Unknown;
        self.is_silenced = false;
        self.quarantine.lift();
    }

    fn state(&self, now: Duration) -> State {
        match self.health {
            Health::Unknown => State::Pending,
            Health::Good if now - self.last_ping <= SETTINGS.fresh => State::Ready,
            Health::Good | Health::Doubted => State::Suspect,
        }
    }
}

/// Both tables, and what was last published.
struct Pair {
    table: Table,
    naive: Vec<Naive>,
    tickets: Vec<Ticket>,
    now: Duration,
    epoch: u64,
    published: Vec<(Arc<Node>, State)>,
}

/// The property of the table, for tests and fuzzing: whatever comes in whatever order, it holds what a
/// naive list of nodes holds. No address is there twice, nothing is there beyond the capacity or after
/// its lease, the order is that of registration, a node is the same object until it changes, and a
/// snapshot with a higher number is published when and only when something in it has changed.
///
/// # Panics
///
/// When it does not hold.
pub fn check_table(data: &[u8]) {
    let mut pair = Pair {
        table: Table::new(SETTINGS),
        naive: Vec::new(),
        tickets: Vec::new(),
        now: Duration::ZERO,
        epoch: 0,
        published: Vec::new(),
    };
    for operation in data.as_chunks::<2>().0 {
        let [kind, argument] = *operation;
        match kind % 8 {
            0..=2 => pair.register(argument),
            3 => pair.now += Duration::from_millis(50) * u32::from(argument),
            4 => pair.start_probes(),
            5 => pair.end_probe(kind, argument),
            6 => pair.distrust(kind, argument),
            _ => pair.resolve(argument),
        }
        pair.expire();
        pair.compare();
    }
}

impl Pair {
    fn register(&mut self, argument: u8) {
        let number = argument & 15;
        let http = if number < 12 {
            format!("10.0.0.{number}:80")
        } else {
            format!("node-{number}:80")
        };
        let role = if argument & 16 == 0 {
            Role::Prefill
        } else {
            Role::Decode
        };
        let kv = if argument & 32 == 0 {
            "10.0.0.9:1"
        } else {
            "10.0.0.9:2"
        };
        let source = Some(IpAddr::from([10, 1, 1, argument >> 6]));
        let (Ok(http), Ok(kv)) = (HttpAddress::parse(&http), KvAddress::parse(kv)) else {
            return;
        };
        let registration = Registration { role, http, kv };

        let change = self.table.apply(registration.clone(), source, self.now);
        let expected = self.register_naively(registration, source);
        assert_eq!(
            std::mem::discriminant(&change),
            std::mem::discriminant(&expected),
            "{change:?}"
        );
    }

    /// What the naive table does with a registration, and the kind of change that it is.
    fn register_naively(&mut self, registration: Registration, source: Option<IpAddr>) -> Change {
        let now = self.now;
        let departed = super::Departed {
            role: registration.role,
            http: registration.http.clone(),
            kv: registration.kv.clone(),
        };
        let known = self
            .naive
            .iter()
            .position(|node| node.registration.http == registration.http);
        let Some(at) = known else {
            if self.naive.len() == SETTINGS.capacity && !self.evict() {
                return Change::TableFull;
            }
            self.naive.push(Naive::new(registration, source, now));
            return Change::Added { evicted: None };
        };
        let mut node = self.naive.remove(at);
        if node.registration.role != registration.role {
            let moved = Naive::new(registration, node.source, now);
            self.naive.push(Naive {
                is_proven: node.is_proven,
                socket: node.socket,
                ..moved
            });
            return Change::RoleChanged(departed);
        }
        if now - node.last_ping > SETTINGS.fresh
            && (node.health == Health::Good || node.quarantine.holds(now))
        {
            node.health = Health::Doubted;
            node.quarantine.lift();
        }
        node.last_ping = now;
        let is_same = node.registration.kv == registration.kv;
        if !is_same {
            node.registration = registration;
            node.renew();
        }
        self.naive.insert(at, node);
        if is_same {
            Change::Refreshed
        } else {
            Change::KvChanged(departed)
        }
    }

    fn evict(&mut self) -> bool {
        let mut counts: BTreeMap<Option<IpAddr>, usize> = BTreeMap::new();
        for node in self.naive.iter().filter(|node| !node.is_proven) {
            *counts.entry(node.source).or_default() += 1;
        }
        let Some(source) = counts
            .iter()
            .max_by_key(|(_, count)| **count)
            .map(|(source, _)| *source)
        else {
            return false;
        };
        let is_theirs = |node: &Naive| !node.is_proven && node.source == source;
        let idle = self
            .naive
            .iter()
            .position(|node| is_theirs(node) && !node.is_probed);
        let at = idle.or_else(|| self.naive.iter().position(is_theirs));
        at.map(|at| self.naive.remove(at)).is_some()
    }

    fn start_probes(&mut self) {
        for node in &mut self.naive {
            if std::mem::take(&mut node.is_silenced) {
                node.quarantine.begin(self.now);
                if node.health == Health::Good {
                    node.health = Health::Doubted;
                }
            }
            let is_suspect = node.node.as_ref().is_some_and(|node| node.is_suspect());
            if node.health == Health::Good && is_suspect {
                node.health = Health::Doubted;
            }
        }
        for ticket in self.table.probe_due(self.tickets.len(), self.now) {
            let node = self
                .naive
                .iter_mut()
                .find(|node| node.registration.http == ticket.node.http);
            assert!(node.is_some(), "a node that is gone is probed");
            if let Some(node) = node {
                assert!(!node.is_probed && node.health != Health::Good);
                assert!(
                    node.node
                        .as_ref()
                        .is_some_and(|node| Arc::ptr_eq(node, &ticket.node))
                );
                node.is_probed = true;
            }
            self.tickets.push(ticket);
        }
        assert!(self.tickets.len() <= crate::limits::PROBES_MAX);
    }

    fn end_probe(&mut self, kind: u8, argument: u8) {
        if self.tickets.is_empty() {
            return;
        }
        let ticket = self
            .tickets
            .swap_remove(usize::from(argument) % self.tickets.len());
        let probed = match kind / 8 % 4 {
            0 | 1 => Probed::Healthy,
            2 => Probed::Refused,
            _ => Probed::NotRun,
        };
        // The naive table cannot tell a successor under the same address but by its node, which is the
        // one last published.
        let is_live = self.table.entries.contains_key(&ticket.id);
        self.table.probed(&ticket, probed, self.now);
        let Some(node) = self
            .naive
            .iter_mut()
            .find(|node| is_live && node.registration.http == ticket.node.http)
        else {
            return;
        };
        node.is_probed = false;
        let is_same = node
            .node
            .as_ref()
            .is_some_and(|node| Arc::ptr_eq(node, &ticket.node));
        if is_same && probed == Probed::Healthy && !node.quarantine.holds(self.now) {
            node.health = Health::Good;
            node.is_proven = true;
            assert!(!ticket.node.is_suspect());
        }
    }

    fn distrust(&mut self, kind: u8, argument: u8) {
        let at = usize::from(argument) % self.published.len().max(1);
        let Some((node, _)) = self.published.get(at) else {
            return;
        };
        if kind < 128 {
            node.distrust();
            return;
        }
        node.quarantine();
        let is_it = |naive: &&mut Naive| {
            let known = naive.node.as_ref();
            known.is_some_and(|known| Arc::ptr_eq(known, node))
        };
        if let Some(naive) = self.naive.iter_mut().find(is_it) {
            naive.is_silenced = true;
        }
    }

    fn resolve(&mut self, argument: u8) {
        for (id, http) in self.table.resolve_due(0, self.now) {
            let socket =
                (argument & 3 != 0).then(|| SocketAddr::from(([10, 0, 1, argument & 3], 80)));
            self.table.resolved(id, socket.as_slice(), self.now);
            let node = self
                .naive
                .iter_mut()
                .find(|node| node.registration.http == http);
            assert!(node.is_some(), "a name that is gone is resolved");
            if let Some(node) = node
                && socket.is_some()
                && node.socket != socket
            {
                node.socket = socket;
                node.renew();
            }
        }
    }

    fn expire(&mut self) {
        let now = self.now;
        let departed = self.table.expire(now).len();
        let before = self.naive.len();
        self.naive
            .retain(|node| now - node.last_ping <= SETTINGS.expiry);
        assert_eq!(departed, before - self.naive.len());
    }

    fn compare(&mut self) {
        assert_eq!(self.table.entries.len(), self.naive.len());
        assert_eq!(self.table.ids.len(), self.naive.len());
        assert!(self.naive.len() <= SETTINGS.capacity);
        for (entry, naive) in self.table.entries.values().zip(&self.naive) {
            let Registration { role, http, kv } = &naive.registration;
            assert_eq!((&entry.role, &entry.http, &entry.kv), (role, http, kv));
            assert_eq!(entry.proven, naive.is_proven);
        }

        let visible: Vec<&Naive> = self
            .naive
            .iter()
            .filter(|node| node.socket.is_some())
            .collect();
        let is_same = visible.len() == self.published.len()
            && visible
                .iter()
                .zip(&self.published)
                .all(|(naive, (node, state))| {
                    naive
                        .node
                        .as_ref()
                        .is_some_and(|known| Arc::ptr_eq(known, node))
                        && naive.state(self.now) == *state
                });
        let news = self.table.news(self.now);
        assert_eq!(news.is_none(), is_same);
        let Some(news) = news else { return };

        assert_eq!(news.snapshot.epoch, self.epoch + 1);
        assert_eq!(news.snapshot.nodes.len(), visible.len());
        for ((node, state), naive) in news.snapshot.nodes.iter().zip(visible) {
            let Registration { role, http, kv } = &naive.registration;
            assert_eq!((&node.role, &node.http, &node.kv), (role, http, kv));
            assert_eq!(Some(node.socket), naive.socket);
            assert_eq!(*state, naive.state(self.now));
            match &naive.node {
                Some(known) => assert!(
                    Arc::ptr_eq(known, node),
                    "an unchanged node is a new object"
                ),
                None => {
                    let is_old = self.published.iter().any(|(old, _)| Arc::ptr_eq(old, node));
                    assert!(!is_old, "a changed node is the old object");
                }
            }
        }
        self.epoch = news.snapshot.epoch;
        self.published = news.snapshot.nodes;
        let mut nodes = self.published.iter();
        for naive in self.naive.iter_mut().filter(|node| node.socket.is_some()) {
            naive.node = nodes.next().map(|(node, _)| Arc::clone(node));
        }
    }
}
