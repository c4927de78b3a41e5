//! Who is registered, for how long, and in what state.
//!
//! The table is pure: it is told the time and what happened, and never looks for itself. It is keyed
//! by the HTTP address, so that no node is in two roles; the ZMQ identity of a peer, which any peer
//! can choose, is never used.
//!
//! A node's first message makes an entry, every further one extends its lease, and an entry without
//! a message for [`Settings::expiry`] is gone, be it the last of its role. The table is bounded. When
//! it is full, a newcomer takes the place of an entry whose `/health` has never said 200, the oldest
//! of the peer that has most of these: registering dead nodes costs their sender its own entries, and
//! never one of a node that has served.

mod check;
mod entry;
mod newcomers;
mod quarantine;
mod retry;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

pub use check::check_table;

use self::entry::Entry;
use self::newcomers::Newcomers;
use self::retry::Retry;
use super::admission::canonical;
use super::frame::Registration;
use super::stats::Probed;
use crate::limits;
use crate::nodes::{HttpAddress, KvAddress, Node, Role, Snapshot, State};

/// What a table is bounded by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// After this without a message a node is suspect.
    pub(super) fresh: Duration,
    /// After this without a message a node is gone.
    pub(super) expiry: Duration,
    /// Entries.
    pub(super) capacity: usize,
    /// Shards that count their requests at a node.
    pub(super) shards: usize,
}

/// Names an entry for as long as it lives; no other will have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id(u64);

#[cfg(test)]
impl Id {
    pub(super) const fn test(id: u64) -> Self {
        Self(id)
    }
}

/// A node as it was when it left, or before it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Departed {
    pub(super) role: Role,
    pub(super) http: HttpAddress,
    pub(super) kv: KvAddress,
}

/// What a registration did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// There is a new entry, and another may have made room for it.
    Added {
        /// The one that is gone.
        evicted: Option<Departed>,
    },
    /// The lease of an entry is longer.
    Refreshed,
    /// The entry has a new KV address, and thus a new node.
    KvChanged(Departed),
    /// The entry has changed its role: it left the one and is the newest of the other.
    RoleChanged(Departed),
    /// Every entry is of a node that has served; the registration is refused.
    TableFull,
}

/// A node to be probed.
#[derive(Clone, Debug)]
pub(super) struct Ticket {
    id: Id,
    /// The node as it is now; what is learnt of it is not held for true of a successor.
    pub(super) node: Arc<Node>,
}

/// A new snapshot.
#[derive(Debug)]
pub(super) struct News {
    pub(super) snapshot: Snapshot,
    /// The nodes that were in the last one with another state.
    pub(super) moved: Vec<(Arc<Node>, State)>,
}

/// The registered nodes.
#[derive(Debug)]
pub(super) struct Table {
    settings: Settings,
    /// In registration order, because ids grow.
    entries: BTreeMap<Id, Entry>,
    ids: HashMap<HttpAddress, Id>,
    /// The entries that have not proven themselves.
    newcomers: Newcomers,
    next_id: u64,
    epoch: u64,
    /// Whether a node in the last snapshot has been replaced or removed since.
    is_stale: bool,
}

impl Table {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            entries: BTreeMap::new(),
            ids: HashMap::new(),
            newcomers: Newcomers::default(),
            next_id: 0,
            epoch: 0,
            is_stale: false,
        }
    }

    /// Whether there is an entry for `http`.
    pub(super) fn knows(&self, http: &HttpAddress) -> bool {
        self.ids.contains_key(http)
    }

    /// Takes a registration that the peer at `source` has sent.
    pub(super) fn apply(
        &mut self,
        registration: Registration,
        source: Option<IpAddr>,
        now: Duration,
    ) -> Change {
        let known = self.ids.get(&registration.http).copied();
        let Some((id, entry)) = known.and_then(|id| Some((id, self.entries.get_mut(&id)?))) else {
            return self.add(registration, source, now);
        };
        if entry.role != registration.role {
            return self.change_role(id, registration, now);
        }
        entry.ping(now, self.settings.fresh);
        if entry.kv == registration.kv {
            return Change::Refreshed;
        }
        let departed = departed(entry);
        entry.kv = registration.kv;
        if let Some(node) = entry.node.take() {
            self.is_stale |= entry.shown.take().is_some();
            entry.renew(node.socket, self.settings.shards, now);
        }
        Change::KvChanged(departed)
    }

    /// Removes the entries whose lease has ended.
    pub(super) fn expire(&mut self, now: Duration) -> Vec<Departed> {
        let expiry = self.settings.expiry;
        let is_over = |entry: &Entry| entry.age(now) > expiry;
        let ids: Vec<Id> = self
            .entries
            .iter()
            .filter(|(_, entry)| is_over(entry))
            .map(|(id, _)| *id)
            .collect();
        ids.into_iter()
            .filter_map(|id| self.remove(id))
            .map(|entry| departed(&entry))
            .collect()
    }

    /// The nodes whose `/health` is to be asked now, when `running` probes are under way already. Each
    /// has its answer given to [`Self::probed`].
    pub(super) fn probe_due(&mut self, running: usize, now: Duration) -> Vec<Ticket> {
        for entry in self.entries.values_mut() {
            entry.heed_shards(now);
        }
        let due = self.due(|entry| &entry.probe, limits::PROBES_MAX, running, now);
        due.into_iter()
            .filter_map(|id| {
                let entry = self.entries.get_mut(&id)?;
                let node = Arc::clone(entry.node.as_ref()?);
                entry.probe.start();
                Some(Ticket { id, node })
            })
            .collect()
    }

    /// Takes the end of a probe.
    pub(super) fn probed(&mut self, ticket: &Ticket, probed: Probed, now: Duration) {
        let Some(entry) = self.entries.get_mut(&ticket.id) else {
            return;
        };
        entry.probe.stop();
        if !entry
            .node
            .as_ref()
            .is_some_and(|node| Arc::ptr_eq(node, &ticket.node))
        {
            return;
        }
        match probed {
            Probed::Healthy if entry.quarantine.holds(now) => {
                entry.probe.want_at(entry.quarantine.until());
            }
            Probed::Healthy => {
                let was_proven = entry.proven;
                let source = entry.source;
                entry.trust(now);
                if !was_proven {
                    self.newcomers.discharge(source);
                }
            }
            Probed::NotRun => {}
            Probed::Refused | Probed::Status | Probed::Broken | Probed::Timeout => {
                entry.probe.want_later(now);
                // A name may have moved to another address.
                if entry.http.socket_addr().is_none() && !entry.resolve.is_wanted() {
                    entry.resolve.want_later(now);
                }
            }
        }
    }

    /// The names that are to be resolved now, when `running` are being resolved already. Each has its
    /// answer given to [`Self::resolved`].
    pub(super) fn resolve_due(&mut self, running: usize, now: Duration) -> Vec<(Id, HttpAddress)> {
        let due = self.due(|entry| &entry.resolve, limits::RESOLVES_MAX, running, now);
        due.into_iter()
            .filter_map(|id| {
                let entry = self.entries.get_mut(&id)?;
                entry.resolve.start();
                Some((id, entry.http.clone()))
            })
            .collect()
    }

    /// Takes the end of a resolving: the addresses that may be used, the best first, or none.
    pub(super) fn resolved(&mut self, id: Id, sockets: &[SocketAddr], now: Duration) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.resolve.stop();
        let Some(socket) = entry.choose(sockets) else {
            entry.resolve.want_later(now);
            return;
        };
        entry.resolve.succeed();
        if entry.node.as_ref().is_none_or(|node| node.socket != socket) {
            self.is_stale |= entry.shown.take().is_some();
            entry.renew(socket, self.settings.shards, now);
        }
    }

    /// A new snapshot, if the shards would see anything in it that was not in the last one.
    pub(super) fn news(&mut self, now: Duration) -> Option<News> {
        let mut is_new = std::mem::take(&mut self.is_stale);
        let mut moved = Vec::new();
        for entry in self.entries.values_mut() {
            let Some(node) = &entry.node else { continue };
            let state = entry.state(now, self.settings.fresh);
            let shown = entry.shown.replace(state);
            if shown == Some(state) {
                continue;
            }
            is_new = true;
            if shown.is_some() {
                moved.push((Arc::clone(node), state));
            }
        }
        if !is_new {
            return None;
        }
        self.epoch += 1;
        let visible = |entry: &Entry| Some((Arc::clone(entry.node.as_ref()?), entry.shown?));
        let nodes = self.entries.values().filter_map(visible).collect();
        Some(News {
            snapshot: Snapshot {
                epoch: self.epoch,
                nodes,
            },
            moved,
        })
    }

    fn add(&mut self, registration: Registration, source: Option<IpAddr>, now: Duration) -> Change {
        let mut evicted = None;
        if self.entries.len() >= self.settings.capacity {
            let Some(id) = self.least_missed() else {
                return Change::TableFull;
            };
            evicted = self.remove(id).map(|entry| departed(&entry));
        }
        let mut entry = Entry::new(registration, source, now);
        match entry.http.socket_addr() {
            Some(socket) => entry.renew(canonical(socket), self.settings.shards, now),
            None => entry.resolve.want(now),
        }
        self.insert(entry);
        Change::Added { evicted }
    }

    /// Moves an entry out of one role and to the end of the other. Its address is the same, so that
    /// what is known of the address is kept, but the process behind it must be another.
    fn change_role(&mut self, id: Id, registration: Registration, now: Duration) -> Change {
        let Some(old) = self.remove(id) else {
            return Change::TableFull;
        };
        let mut entry = Entry::new(registration, old.source, now);
        entry.proven = old.proven;
        match &old.node {
            Some(node) => entry.renew(node.socket, self.settings.shards, now),
            None => entry.resolve.want(now),
        }
        self.insert(entry);
        Change::RoleChanged(departed(&old))
    }

    fn insert(&mut self, entry: Entry) {
        let id = Id(self.next_id);
        self.next_id += 1;
        if !entry.proven {
            self.newcomers.charge(entry.source);
        }
        self.ids.insert(entry.http.clone(), id);
        self.entries.insert(id, entry);
    }

    fn remove(&mut self, id: Id) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        self.ids.remove(&entry.http);
        if !entry.proven {
            self.newcomers.discharge(entry.source);
        }
        self.is_stale |= entry.shown.is_some();
        Some(entry)
    }

    /// The entry that makes room: of the peer with the most unproven entries, the oldest of these that
    /// is not being probed just now.
    fn least_missed(&self) -> Option<Id> {
        let source = self.newcomers.heaviest()?;
        let theirs = |(_, entry): &(&Id, &Entry)| !entry.proven && entry.source == source;
        let idle = |(_, entry): &(&Id, &Entry)| !entry.probe.is_running();
        let mut candidates = self.entries.iter().filter(theirs);
        let first = candidates.clone().next();
        candidates.find(idle).or(first).map(|(id, _)| *id)
    }

    /// The entries whose attempt (`of` an entry) is due, as many as may run besides `running` others out
    /// of `max`. Entries that have not proven themselves have at most three quarters of all places, and
    /// those of one peer a quarter.
    fn due(&self, of: fn(&Entry) -> &Retry, max: usize, running: usize, now: Duration) -> Vec<Id> {
        let mut free = max.saturating_sub(running);
        let mut due: Vec<(&Id, &Entry)> = self
            .entries
            .iter()
            .filter(|(_, entry)| of(entry).is_due(now))
            .collect();
        if free == 0 || due.is_empty() {
            return Vec::new();
        }
        due.sort_by_key(|(id, entry)| of(entry).rank(entry.proven, id.0));

        let mut newcomers = Newcomers::default();
        for entry in self
            .entries
            .values()
            .filter(|entry| !entry.proven && of(entry).is_running())
        {
            newcomers.charge(entry.source);
        }
        let mut chosen = Vec::new();
        for (id, entry) in due {
            if free == 0 {
                break;
            }
            if !entry.proven {
                if newcomers.total() >= max * 3 / 4 || newcomers.of(entry.source) >= max / 4 {
                    continue;
                }
                newcomers.charge(entry.source);
            }
            free -= 1;
            chosen.push(*id);
        }
        chosen
    }
}

fn departed(entry: &Entry) -> Departed {
    Departed {
        role: entry.role,
        http: entry.http.clone(),
        kv: entry.kv.clone(),
    }
}

#[cfg(test)]
mod tests;
