//! One simulated node: its thread, its sockets and the handle that tests hold.

use super::engine::Engine;
use super::faults::Fault;
use super::http;
use super::kv::{self, KvStore};
use super::ledger::{Ledger, State};
use super::options::{Options, Role};
use super::register::{Announcement, Registration};
use super::shared::Shared;
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::{TcpListener, TcpSocket};

/// How long a dying node still answers: the real API server needs a moment to notice, too.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// Connections the kernel queues, as uvicorn asks for.
const BACKLOG: u32 = 2048;

/// What the tasks of one node share.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) shared: Arc<Shared>,
    pub(crate) engine: Rc<Engine>,
    random: RefCell<fastrand::Rng>,
    /// Start in seconds since the epoch.
    pub(crate) started: u64,
}

impl Node {
    /// 16 lower-case hexadecimal digits, as vLLM makes ids up.
    pub(crate) fn random_id(&self) -> String {
        format!("{:016x}", self.random.borrow_mut().u64(..))
    }
}

/// Wall time in seconds since the epoch.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// A running simulated node. Dropping it stops it.
#[derive(Debug)]
pub struct Sim {
    shared: Arc<Shared>,
    http: SocketAddr,
    kv: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

/// Stops a [`Sim`] from another thread.
#[derive(Debug, Clone)]
pub struct Stopper(Arc<Shared>);

impl Stopper {
    /// Drops everything the node has, at once.
    pub fn stop(&self) {
        self.0.stop.notify_one();
    }
}

impl Sim {
    /// Starts a node on a thread of its own and returns once its ports are bound.
    ///
    /// # Errors
    /// A port that is taken, a proxy address that libzmq refuses, or no thread.
    pub fn start(options: Options) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(options));
        let (bound, addresses) = channel();
        let inner = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("pd-sim".to_owned())
            .spawn(move || run(inner, &bound))?;
        let (http, kv) = addresses
            .recv()
            .unwrap_or_else(|_| Err(io::Error::other("the node's thread ended early")))?;
        Ok(Self {
            shared,
            http,
            kv,
            thread: Some(thread),
        })
    }

    /// Where it serves HTTP.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.http
    }

    /// Where it takes and gives KV.
    #[must_use]
    pub fn kv_addr(&self) -> SocketAddr {
        self.kv
    }

    /// The HTTP address it announces.
    #[must_use]
    pub fn http_address(&self) -> String {
        self.shared.options.announced(self.http.port())
    }

    /// The KV address it announces; request ids name nodes by it.
    #[must_use]
    pub fn zmq_address(&self) -> String {
        self.shared.options.announced(self.kv.port())
    }

    /// What it was told at start.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// A copy of its account.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.shared.read(Clone::clone)
    }

    /// Its state now.
    #[must_use]
    pub fn state(&self) -> State {
        self.shared.read(|ledger| ledger.state)
    }

    /// Blocks until its account satisfies `done`; false when `limit` passed first.
    pub fn wait_until(&self, limit: Duration, done: impl FnMut(&Ledger) -> bool) -> bool {
        self.shared.wait(limit, done)
    }

    /// Adds a fault.
    pub fn inject(&self, fault: Fault) {
        self.shared.faults().add(fault);
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.shared.faults().clear();
    }

    /// Stops pinging; the registration connection stays open.
    pub fn pause_pings(&self) {
        if let Some(registration) = self.shared.registration().as_ref() {
            registration.pause();
        }
    }

    /// Pings again, at once.
    pub fn resume_pings(&self) {
        if let Some(registration) = self.shared.registration().as_ref() {
            registration.resume();
        }
    }

    /// Sends one ping out of turn.
    pub fn ping_now(&self) {
        if let Some(registration) = self.shared.registration().as_ref() {
            registration.now();
        }
    }

    /// Closes the registration connection for good; HTTP goes on.
    pub fn end_pings(&self) {
        self.shared.end_registration();
    }

    /// A handle that can stop it from elsewhere.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.shared))
    }

    /// Ends it as a power cut would: every socket closes at once, nothing is finished. Returns when
    /// that is done; the account stays readable.
    pub fn kill(&mut self) {
        self.stopper().stop();
        self.wait();
    }

    /// Stops it and takes its account.
    #[must_use]
    pub fn stop(mut self) -> Ledger {
        self.kill();
        self.ledger()
    }

    /// Blocks until it has ended, by its own death or because it was stopped.
    pub fn wait(&mut self) -> State {
        if let Some(thread) = self.thread.take() {
            // A panic of the node's thread is a bug here, and shows as the state not being final.
            thread.join().ok();
        }
        self.state()
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.kill();
    }
}

type Bound = Sender<io::Result<(SocketAddr, SocketAddr)>>;

/// The node's thread.
fn run(shared: Arc<Shared>, bound: &Bound) {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            // The other end waits for exactly one answer.
            bound.send(Err(error)).ok();
            return;
        }
    };
    let local = tokio::task::LocalSet::new();
    let ended = local.block_on(&runtime, serve(&shared, bound));
    // Sockets close here, before the state says so.
    drop(local);
    drop(runtime);
    shared.end_registration();
    if let Some(state) = ended {
        shared.set_state(state);
    }
}

/// Binds, serves and says how it ended; `None` when binding failed.
async fn serve(shared: &Arc<Shared>, bound: &Bound) -> Option<State> {
    let sockets = bind(&shared.options).and_then(|sockets| {
        *shared.registration() = register(&shared.options, sockets.2)?;
        Ok(sockets)
    });
    let (http, kv_listener) = match sockets {
        Ok((http, kv, addresses)) => {
            bound.send(Ok(addresses)).ok()?;
            (http, kv)
        }
        Err(error) => {
            bound.send(Err(error)).ok();
            return None;
        }
    };
    let store = Rc::new(KvStore::new(Arc::clone(shared)));
    let node = Rc::new(Node {
        shared: Arc::clone(shared),
        engine: Rc::new(Engine::new(Arc::clone(shared), Rc::clone(&store))),
        random: RefCell::new(fastrand::Rng::with_seed(shared.options.id_seed())),
        started: unix_seconds(),
    });
    let engine = Rc::clone(&node.engine);
    let ready_after = shared.options.ready_after;
    let serving = async move {
        let listener = match http {
            Door::Open(listener) => Ok(listener),
            Door::Later(socket) => {
                tokio::time::sleep(ready_after).await;
                socket.listen(BACKLOG)
            }
        };
        if let Ok(listener) = listener {
            http::listen(listener, node).await;
        }
    };
    let accepting = tokio::task::spawn_local(serving);
    tokio::select! {
        () = shared.stop.notified() => return Some(State::Stopped),
        () = kv::listen(kv_listener, store) => return Some(State::Stopped),
        death = engine.run() => {
            accepting.abort();
            shared.record(|ledger| ledger.death = Some(death.0));
        }
    }
    tokio::select! {
        () = shared.stop.notified() => {}
        () = tokio::time::sleep(LAST_WORDS) => {}
    }
    Some(State::Dead)
}

/// The HTTP port: always bound, so that its number is known, but a node that is not ready does not
/// listen on it yet and refuses connections.
#[derive(Debug)]
enum Door {
    Open(TcpListener),
    Later(TcpSocket),
}

type Sockets = (Door, TcpListener, (SocketAddr, SocketAddr));

/// Starts to ping, if this node does that: as soon as its ports are known, long before it can serve.
fn register(
    options: &Options,
    (http, kv): (SocketAddr, SocketAddr),
) -> io::Result<Option<Registration>> {
    if !options.register || options.role == Role::Both || options.proxies.is_empty() {
        return Ok(None);
    }
    let announcement = Announcement {
        role: options.role,
        http_address: options.announced(http.port()),
        zmq_address: options.announced(kv.port()),
    };
    Registration::start(&announcement, &options.proxies, options.ping_interval).map(Some)
}

fn bind(options: &Options) -> io::Result<Sockets> {
    let socket = |port| {
        let address = SocketAddr::new(options.host, port);
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok::<_, io::Error>(socket)
    };
    let http = socket(options.port)?;
    let kv = socket(options.kv_port)?.listen(BACKLOG)?;
    let addresses = (http.local_addr()?, kv.local_addr()?);
    let http = if options.ready_after.is_zero() {
        Door::Open(http.listen(BACKLOG)?)
    } else {
        Door::Later(http)
    };
    Ok((http, kv, addresses))
}
