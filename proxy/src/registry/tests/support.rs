//! A running registry, nodes that register at it, and the servers they speak of.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::nodes::{Node, Role, Snapshot, State};
use crate::registry::clock::Clock;
use crate::registry::{Config, Handle, StartError, Stats, start};

/// Longest a test waits for what must come.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Rests for a moment, or until the thread is woken.
pub(super) fn rest() {
    std::thread::park_timeout(Duration::from_millis(2));
}

/// Waits until `is_so`, and gives up loudly.
pub(super) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let clock = Clock::start();
    while !is_so() {
        assert!(clock.now() < PATIENCE, "waited in vain: {what}");
        rest();
    }
}

/// A port that was free a moment ago.
pub(super) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// A registry on a port of its own.
pub(super) struct Fixture {
    pub(super) port: u16,
    pub(super) fleet: Arc<ArcSwap<Snapshot>>,
    pub(super) stats: Arc<Stats>,
    pub(super) handle: Handle,
}

impl Fixture {
    /// Leases that do not end during a test.
    pub(super) fn start() -> Self {
        Self::with(patient())
    }

    /// `config`, but on loopback and on a free port.
    pub(super) fn with(config: Config) -> Self {
        // Another test may have taken the port in the meantime.
        for _ in 0..50 {
            if let Some(fixture) = Self::at(free_port(), config.clone()) {
                return fixture;
            }
        }
        panic!("no port is free");
    }

    /// `config`, but on loopback and on `port`, unless that is in use.
    pub(super) fn at(port: u16, config: Config) -> Option<Self> {
        let fleet = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
        let stats = Arc::new(Stats::new());
        let config = Config {
            host: "127.0.0.1".to_owned(),
            ports: vec![port],
            ..config
        };
        match start(config, Arc::clone(&fleet), Arc::clone(&stats)) {
            Ok(handle) => Some(Self {
                port,
                fleet,
                stats,
                handle,
            }),
            Err(StartError::Bind { why, .. }) if why.kind() == io::ErrorKind::AddrInUse => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// The value of a series.
    pub(super) fn count(&self, series: &str) -> u64 {
        let mut found = None;
        self.stats.each(|name, value| {
            if name == series {
                found = Some(value);
            }
        });
        found.unwrap()
    }

    /// Messages that ended so.
    pub(super) fn messages(&self, outcome: &str) -> u64 {
        self.count(&format!(
            "pd_registry_messages_total{{outcome=\"{outcome}\"}}"
        ))
    }

    /// The published node at `http`, with its role and state.
    pub(super) fn node(&self, http: SocketAddr) -> Option<(Arc<Node>, State)> {
        let fleet = self.fleet.load();
        fleet
            .nodes
            .iter()
            .find(|(node, _)| node.socket == http)
            .cloned()
    }

    /// Whether the node at `http` is published with `role` in `state`.
    pub(super) fn shows(&self, http: SocketAddr, role: Role, state: State) -> bool {
        self.node(http)
            .is_some_and(|(node, shown)| node.role == role && shown == state)
    }

    pub(super) fn wait_for(&self, http: SocketAddr, role: Role, state: State) {
        wait_until(state.name(), || self.shows(http, role, state));
    }

    /// A message can still register a node, and the thread still turns.
    pub(super) fn assert_alive(&self) {
        let health = Health::start(200);
        let peer = Peer::connect(self.port, None);
        peer.send(&ping("P", &health.address.to_string()));
        self.wait_for(health.address, Role::Prefill, State::Ready);
        assert!(self.stats.is_running());
    }
}

/// A configuration whose leases do not end during a test.
pub(super) fn patient() -> Config {
    let long = Duration::from_secs(600);
    Config {
        fresh: long,
        expiry: long,
        ..Config::default()
    }
}

/// A peer of the registry: a DEALER, as nodes have it.
pub(super) struct Peer {
    socket: zmq::Socket,
}

impl Peer {
    pub(super) fn connect(port: u16, identity: Option<&str>) -> Self {
        let socket = zmq::Context::new().socket(zmq::DEALER).unwrap();
        socket.set_linger(0).unwrap();
        // Nothing that is sent may be lost or block for ever in a test.
        socket.set_sndtimeo(30_000).unwrap();
        if let Some(identity) = identity {
            socket.set_identity(identity.as_bytes()).unwrap();
        }
        socket.connect(&format!("tcp://127.0.0.1:{port}")).unwrap();
        Self { socket }
    }

    pub(super) fn send(&self, body: &[u8]) {
        self.socket.send(body, 0).unwrap();
    }

    pub(super) fn send_frames(&self, frames: &[&[u8]]) {
        self.socket.send_multipart(frames, 0).unwrap();
    }
}

/// The body that a node sends.
pub(super) fn ping(role: &str, http: &str) -> Vec<u8> {
    ping_with_kv(role, http, "10.0.0.9:21001")
}

pub(super) fn ping_with_kv(role: &str, http: &str, kv: &str) -> Vec<u8> {
    let mut body = vec![0x83];
    for text in ["type", role, "http_address", http, "zmq_address", kv] {
        rmp::encode::write_str(&mut body, text).unwrap();
    }
    body
}

/// A node's HTTP server, as far as its health goes.
pub(super) struct Health {
    pub(super) address: SocketAddr,
    status: Arc<AtomicU16>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Health {
    /// A server that answers every request with `status`; with 0 it closes the connection.
    pub(super) fn start(status: u16) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), status)
    }

    pub(super) fn at(address: SocketAddr, status: u16) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let status = Arc::new(AtomicU16::new(status));
        let is_over = Arc::new(AtomicBool::new(false));
        let (said, ended) = (Arc::clone(&status), Arc::clone(&is_over));
        let serve = move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                // A client that leaves early is no concern of this server.
                stream
                    .and_then(|stream| answer(stream, said.load(Ordering::Relaxed)))
                    .ok();
            }
        };
        let thread = Some(std::thread::spawn(serve));
        Self {
            address,
            status,
            is_over,
            thread,
        }
    }

    pub(super) fn say(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }
}

impl Drop for Health {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        TcpStream::connect(self.address).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn answer(mut stream: TcpStream, status: u16) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut head = Vec::new();
    let mut buffer = [0; 512];
    while !head.ends_with(b"\r\n\r\n") {
        let bytes = stream.read(&mut buffer)?;
        if bytes == 0 {
            return Ok(());
        }
        head.extend_from_slice(&buffer[..bytes]);
    }
    assert!(head.starts_with(b"GET /health HTTP/1.1\r\n"));
    if status == 0 {
        return Ok(());
    }
    write!(
        stream,
        "HTTP/1.1 {status} Whatever\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
}
