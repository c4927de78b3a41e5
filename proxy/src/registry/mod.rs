//! How nodes come and go.
//!
//! One thread owns everything about registration: the ZMQ sockets that nodes send to, the table of
//! their leases, the health probes. Shards share nothing with it but the published [`Snapshot`], which
//! they read without a lock, and a node's suspicion, which they raise. What a node sends is untrusted:
//! it can neither end the thread nor make it wait, nor have the table keep more than a fixed amount.
//!
//! The frames, the lease, the states of a node and what a shard may assume are told in
//! [`docs`].

mod admission;
mod clock;
mod frame;
mod network;
mod probe;
mod publish;
mod resolve;
mod socket;
mod stats;
mod table;
mod thread;
mod wake;

#[doc = include_str!("../../docs/registration.md")]
pub mod docs {}

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;

pub use self::frame::check_registration;
pub use self::network::{InvalidNetwork, Network};
pub use self::stats::Stats;
pub use self::table::check_table;

use self::admission::Admission;
use self::probe::Probes;
use self::publish::Publisher;
use self::resolve::Resolver;
use self::socket::Router;
use self::table::{Settings, Table};
use self::thread::{Alive, Members, Registry};
use self::wake::Wake;
use crate::limits;
use crate::nodes::Snapshot;

/// What the registry is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// The IP address to listen at.
    pub host: String,
    /// The ports to listen at; none for a fleet that never changes.
    pub ports: Vec<u16>,
    /// Shards that will count their requests at the nodes.
    pub shards: usize,
    /// Where this proxy listens for HTTP. A registration with one of these addresses is refused, as is
    /// one with the same port and a loopback address, or any of this machine if we listen at all.
    pub own_http: Vec<SocketAddr>,
    /// The networks in which nodes may be; empty for all.
    pub allow: Vec<Network>,
    /// After this without a message a node is suspect; see [`limits::NODE_FRESH`].
    pub fresh: Duration,
    /// After this without a message a node is gone; see [`limits::NODE_EXPIRY`].
    pub expiry: Duration,
}

impl Default for Config {
    /// One shard, and the address that vLLM's example proxy listens at.
    fn default() -> Self {
        Self {
            host: "0.0.0.0".to_owned(),
            ports: vec![30001],
            shards: 1,
            own_http: Vec::new(),
            allow: Vec::new(),
            fresh: limits::NODE_FRESH,
            expiry: limits::NODE_EXPIRY,
        }
    }
}

/// Why there is no registry.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The host is not an IP address.
    #[error("registration host {0:?} is not an IP address")]
    Host(String),
    /// The port is in use, not permitted, or the host is no address of this machine.
    #[error("cannot listen for registrations at {address}: {why}")]
    Bind {
        /// Host and port.
        address: SocketAddr,
        /// What the system said.
        #[source]
        why: io::Error,
    },
    /// The system has no thread or descriptor for it.
    #[error("cannot start the registry: {0}")]
    System(#[from] io::Error),
}

/// A running registry. Dropping it does what [`Self::stop`] does.
#[derive(Debug)]
pub struct Handle {
    stop: Arc<AtomicBool>,
    wake: Wake,
    thread: Option<JoinHandle<()>>,
}

impl Handle {
    /// Ends the thread and closes its sockets, and returns when both are done. The last snapshot stays
    /// published.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.wake.ring();
        if let Some(thread) = self.thread.take() {
            // A panic has been told by the thread itself.
            drop(thread.join());
        }
    }
}

/// Starts the registry. Its sockets are bound when this returns; nodes appear in `fleet` as they
/// register, and what happens is counted in `stats`.
///
/// # Errors
///
/// Why it cannot listen or run.
pub fn start(
    config: Config,
    fleet: Arc<ArcSwap<Snapshot>>,
    stats: Arc<Stats>,
) -> Result<Handle, StartError> {
    let Ok(host) = config.host.parse::<IpAddr>() else {
        return Err(StartError::Host(config.host));
    };
    let context = zmq::Context::new();
    let bind = |port: &u16| {
        let address = SocketAddr::new(host, *port);
        Router::bind(&context, address).map_err(|why| StartError::Bind { address, why })
    };
    let routers = config.ports.iter().map(bind).collect::<Result<_, _>>()?;

    let table = Table::new(Settings {
        fresh: config.fresh,
        expiry: config.expiry,
        capacity: limits::NODES_MAX,
        shards: config.shards,
    });
    let admission = Admission::new(&config.own_http, config.allow);
    let publisher = Publisher::new(fleet, Arc::clone(&stats));
    let wake = Wake::new()?;
    let stop = Arc::new(AtomicBool::new(false));
    let registry = Registry {
        routers,
        members: Members::new(table, admission, publisher),
        probes: Probes::default(),
        resolver: Resolver::new(resolve::system, wake.clone()),
        clock: stats.clock(),
        wake: wake.clone(),
        stop: Arc::clone(&stop),
    };
    stats.turned(stats.clock().now());
    let alive = Alive::new(stats);
    let run = move || {
        let _alive = alive;
        registry.run();
    };
    let thread = std::thread::Builder::new()
        .name("registry".to_owned())
        .spawn(run)?;
    Ok(Handle {
        stop,
        wake,
        thread: Some(thread),
    })
}

#[cfg(test)]
mod tests;
