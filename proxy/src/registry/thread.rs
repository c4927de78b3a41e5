//! The registry thread: it waits, takes what has come, and tells what has changed.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::admission::{Admission, Refusal};
use super::clock::Clock;
use super::frame::{self, Registration};
use super::probe::Probes;
use super::publish::Publisher;
use super::resolve::Resolver;
use super::socket::{Arrival, Router};
use super::stats::{Message, Outcome as _, Probed, Resolved, Stats};
use super::table::{Change, Departed, Id, Table, Ticket};
use super::wake::Wake;
use crate::limits;
use crate::nodes::HttpAddress;

/// Refused addresses of which a human is told; further ones are only counted.
const WARNED_MAX: usize = 64;

/// All that the thread owns.
pub(super) struct Registry {
    pub(super) routers: Vec<Router>,
    pub(super) members: Members,
    pub(super) probes: Probes,
    pub(super) resolver: Resolver,
    pub(super) clock: Clock,
    pub(super) wake: Wake,
    pub(super) stop: Arc<AtomicBool>,
}

/// What a registration meets.
pub(super) struct Members {
    table: Table,
    admission: Admission,
    publisher: Publisher,
    warned: Vec<HttpAddress>,
}

/// Tells, when it is dropped for whatever reason, that the thread is no more.
pub(super) struct Alive(Arc<Stats>);

impl Alive {
    pub(super) fn new(stats: Arc<Stats>) -> Self {
        stats.set_running(true);
        Self(stats)
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.set_running(false);
        if std::thread::panicking() {
            tracing::error!("the registry has stopped: nodes no longer come and go");
        }
    }
}

impl Registry {
    /// Turns until it is stopped. Nothing that arrives ends it.
    pub(super) fn run(mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            let is_ready = self.wait();
            self.turn(&is_ready);
        }
    }

    /// Waits until something can be done, at most [`limits::REGISTRY_TURN`], and returns which probes
    /// can be carried on.
    fn wait(&self) -> Vec<bool> {
        let mut items = vec![zmq::PollItem::from_fd(self.wake.fd(), zmq::POLLIN)];
        items.extend(self.routers.iter().map(Router::poll_item));
        items.extend(self.probes.interests().map(|(fd, is_writing)| {
            zmq::PollItem::from_fd(
                fd,
                if is_writing {
                    zmq::POLLOUT
                } else {
                    zmq::POLLIN
                },
            )
        }));
        let timeout = i64::try_from(limits::REGISTRY_TURN.as_millis()).unwrap_or(i64::MAX);
        // An error leaves nothing ready. Polling fails when a signal came, and otherwise only if the
        // memory for the descriptors is not to be had.
        if zmq::poll(&mut items, timeout).is_err() {
            return Vec::new();
        }
        let probes = items.iter().skip(1 + self.routers.len());
        probes.map(|item| !item.get_revents().is_empty()).collect()
    }

    fn turn(&mut self, is_ready: &[bool]) {
        let now = self.clock.now();
        self.wake.answer();
        self.members.publisher.turn(now);
        for router in &mut self.routers {
            router.receive(|arrival| self.members.arrived(arrival, now));
        }
        while let Some(answer) = self.resolver.answer() {
            self.members
                .resolved(answer.id, &answer.http, &answer.sockets, now);
        }
        self.probes.drive(is_ready, now, |ticket, probed| {
            self.members.probed(&ticket, probed, now);
        });
        self.members.expire(now);

        for (id, http) in self.members.table.resolve_due(self.resolver.running(), now) {
            if !self.resolver.ask(id, http.clone()) {
                self.members.resolved(id, &http, &[], now);
            }
        }
        for ticket in self.members.table.probe_due(self.probes.running(), now) {
            if let Some((ticket, probed)) = self.probes.start(ticket, now) {
                self.members.probed(&ticket, probed, now);
            }
        }
        if let Some(news) = self.members.table.news(now) {
            self.members.publisher.publish(news);
        }
    }
}

impl Members {
    pub(super) fn new(table: Table, admission: Admission, publisher: Publisher) -> Self {
        Self {
            table,
            admission,
            publisher,
            warned: Vec::new(),
        }
    }

    /// Takes one message of a peer.
    fn arrived(&mut self, arrival: Option<Arrival<'_>>, now: Duration) {
        let Some(Arrival { body, source }) = arrival else {
            self.publisher.stats().message(Message::Frames);
            return;
        };
        let registration = match frame::decode(body) {
            Ok(registration) => registration,
            Err(error) => {
                self.publisher.stats().refusal(error);
                if tracing::enabled!(tracing::Level::DEBUG) && self.publisher.may_log() {
                    tracing::debug!(cause = error.cause(), ?source, "a registration is refused");
                }
                return;
            }
        };
        let message = self.register(registration, source, now);
        self.publisher.stats().message(message);
    }

    fn register(
        &mut self,
        registration: Registration,
        source: Option<IpAddr>,
        now: Duration,
    ) -> Message {
        // An address that is in the table has been admitted; a name is looked at once it is resolved.
        if let Some(socket) = registration.http.socket_addr()
            && !self.table.knows(&registration.http)
            && let Err(refusal) = self.admission.admit(socket)
        {
            self.refused(&registration.http, refusal);
            return refusal.message();
        }
        let node = Departed {
            role: registration.role,
            http: registration.http.clone(),
            kv: registration.kv.clone(),
        };
        let (departed, message) = match self.table.apply(registration, source, now) {
            Change::Refreshed => return Message::Refreshed,
            Change::TableFull => return Message::TableFull,
            Change::Added { evicted } => (evicted, Message::Added),
            Change::KvChanged(departed) => (Some(departed), Message::KvChanged),
            Change::RoleChanged(departed) => (Some(departed), Message::RoleChanged),
        };
        if let Some(departed) = departed {
            self.publisher.removed(&departed);
        }
        self.publisher.added(&node);
        message
    }

    /// Tells a human of a refused address, once.
    fn refused(&mut self, http: &HttpAddress, refusal: Refusal) {
        if self.warned.len() >= WARNED_MAX || self.warned.contains(http) {
            return;
        }
        self.warned.push(http.clone());
        let reason = match refusal {
            Refusal::Unreachable => "nobody can connect to it; set VLLM_HOST_IP at the node",
            Refusal::Own => "it is this proxy's own",
            Refusal::NotAllowed => "it is outside of the allowed networks",
        };
        tracing::warn!(
            http = http.as_str(),
            reason,
            "a registered address is refused"
        );
    }

    fn resolved(&mut self, id: Id, http: &HttpAddress, sockets: &[SocketAddr], now: Duration) {
        let mut admitted = Vec::new();
        let mut resolved = Resolved::Failed;
        for socket in sockets {
            match self.admission.admit(*socket) {
                Ok(socket) => admitted.push(socket),
                Err(refusal) => {
                    resolved = Resolved::Refused;
                    self.refused(http, refusal);
                }
            }
        }
        if !admitted.is_empty() {
            resolved = Resolved::Found;
        } else if self.publisher.may_log() {
            tracing::warn!(
                http = http.as_str(),
                cause = resolved.cause(),
                "a node's name leads nowhere"
            );
        }
        self.publisher.stats().resolve(resolved);
        self.table.resolved(id, &admitted, now);
    }

    fn probed(&mut self, ticket: &Ticket, probed: Probed, now: Duration) {
        self.publisher.stats().probe(probed);
        if tracing::enabled!(tracing::Level::DEBUG) && self.publisher.may_log() {
            let http = ticket.node.http.as_str();
            tracing::debug!(http, outcome = probed.cause(), "a node is probed");
        }
        self.table.probed(ticket, probed, now);
    }

    fn expire(&mut self, now: Duration) {
        for departed in self.table.expire(now) {
            self.publisher.removed(&departed);
        }
    }
}
