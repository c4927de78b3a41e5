//! One registered node: its lease, its health and its schedules.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::quarantine::Quarantine;
use super::retry::Retry;
use crate::nodes::{HttpAddress, KvAddress, Node, Role, State};
use crate::registry::frame::Registration;

/// A distrust this soon after trust was given doubles the pause before the next probe: a node whose
/// `/health` says 200 while its requests fail must not be given back to the shards at once each time.
const FLAP_WINDOW: Duration = Duration::from_secs(10);

/// What the probes and the shards have told of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// Its `/health` has never said 200.
    Unknown,
    /// Its `/health` said 200, and nothing has been said against it since.
    Good,
    /// It failed since, or was silent; the next 200 heals it.
    Doubted,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) role: Role,
    pub(super) http: HttpAddress,
    pub(super) kv: KvAddress,
    /// The peer whose message made this entry; it is charged for it until the node is proven.
    pub(super) source: Option<IpAddr>,
    /// What the shards see of it; none while its name has not been resolved.
    pub(super) node: Option<Arc<Node>>,
    pub(super) health: Health,
    /// Whether `/health` at this address has ever said 200. Others may have to make room.
    pub(super) proven: bool,
    pub(super) probe: Retry,
    pub(super) resolve: Retry,
    /// While it lasts, `/health` does not heal.
    pub(super) quarantine: Quarantine,
    /// Its state in the last snapshot, if it was in it.
    pub(super) shown: Option<State>,
    last_ping: Duration,
    trusted_at: Duration,
}

impl Entry {
    pub(super) fn new(registration: Registration, source: Option<IpAddr>, now: Duration) -> Self {
        let Registration { role, http, kv } = registration;
        Self {
            role,
            http,
            kv,
            source,
            node: None,
            health: Health::Unknown,
            proven: false,
            probe: Retry::default(),
            resolve: Retry::default(),
            quarantine: Quarantine::default(),
            shown: None,
            last_ping: now,
            trusted_at: Duration::ZERO,
        }
    }

    /// Time since the last ping.
    pub(super) fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.last_ping)
    }

    /// Extends the lease. A node that comes back after a silence may be a new process that does not
    /// serve yet, so it is probed again before it is trusted; it may also be one that is not frozen.
    pub(super) fn ping(&mut self, now: Duration, fresh: Duration) {
        if self.age(now) > fresh && (self.health == Health::Good || self.quarantine.holds(now)) {
            self.health = Health::Doubted;
            self.quarantine.lift();
            self.probe.want(now);
        }
        self.last_ping = self.last_ping.max(now);
    }

    /// Makes a new node of what is registered: nothing is known of it yet.
    pub(super) fn renew(&mut self, socket: SocketAddr, shards: usize, now: Duration) {
        let node = Node::new(
            self.role,
            self.http.clone(),
            socket,
            self.kv.clone(),
            shards,
        );
        self.node = Some(Arc::new(node));
        self.health = Health::Unknown;
        self.quarantine.lift();
        self.probe.want(now);
    }

    /// Which of the addresses of its name to use. One that has served is kept as long as it is one of
    /// them; one that has not gives way to the next, because a name may have addresses at which its
    /// server does not listen.
    pub(super) fn choose(&self, sockets: &[SocketAddr]) -> Option<SocketAddr> {
        let current = self.node.as_ref().map(|node| node.socket);
        let place = sockets.iter().position(|socket| Some(*socket) == current);
        match place {
            Some(place) if self.proven => sockets.get(place).copied(),
            Some(place) => sockets.iter().cycle().nth(place + 1).copied(),
            None => sockets.first().copied(),
        }
    }

    /// Takes note of a shard's distrust.
    pub(super) fn heed_shards(&mut self, now: Duration) {
        let Some(node) = &self.node else { return };
        if node.heed_silence() {
            // A probe that has just ended may have withdrawn it.
            node.distrust();
            self.quarantine.begin(now);
            if self.health == Health::Good {
                self.health = Health::Doubted;
            }
            self.probe.want_at(self.quarantine.until());
            return;
        }
        if !node.is_silent() {
            self.quarantine.forgive();
        }
        if self.health != Health::Good || !node.is_suspect() {
            return;
        }
        self.health = Health::Doubted;
        if now.saturating_sub(self.trusted_at) < FLAP_WINDOW {
            self.probe.want_later(now);
        } else {
            self.probe.want(now);
        }
    }

    /// `/health` said 200.
    pub(super) fn trust(&mut self, now: Duration) {
        if self.health == Health::Unknown {
            // A slow start is no failure of the node that has now started.
            self.probe.want(now);
        }
        self.probe.succeed();
        self.health = Health::Good;
        self.proven = true;
        self.trusted_at = now;
        if let Some(node) = &self.node {
            node.trust();
        }
    }

    /// What the shards are to be told.
    pub(super) fn state(&self, now: Duration, fresh: Duration) -> State {
        match self.health {
            Health::Unknown => State::Pending,
            Health::Good if self.age(now) <= fresh => State::Ready,
            Health::Good | Health::Doubted => State::Suspect,
        }
    }
}
