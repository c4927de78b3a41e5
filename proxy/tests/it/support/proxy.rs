//! The real process.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use super::PATIENCE;
use super::client::{Client, Response, get, post};

/// A running `pd-proxy`. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Proxy {
    child: Child,
    pub(crate) http: SocketAddr,
    pub(crate) zmq_port: u16,
    log: Arc<Log>,
}

#[derive(Debug, Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

/// The command, on the driver under test, with nothing of the tester's environment.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pd-proxy"));
    command
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    if let Some(driver) = driver() {
        command.args(["--io-driver", &driver]);
    }
    command
}

/// The driver under test, if one is named.
pub(crate) fn driver() -> Option<String> {
    std::env::var("PD_TEST_IO_DRIVER").ok()
}

/// A port of loopback that nobody has now. Ports are handed out in turn, below the range that the
/// kernel takes its own from, so that no two tests get the same one.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes that run side by side begin at different places.
    let begin = u16::try_from(std::process::id() % 16).unwrap() * 1_000;
    loop {
        let port = 12_000 + (begin + NEXT.fetch_add(1, Ordering::Relaxed)) % 16_000;
        if is_free(port) {
            return port;
        }
    }
}

/// Whether nobody listens on `port`. It is tried without listening: a child that another test forks at
/// this moment holds the socket too until it runs its program, and a listener would keep the port.
fn is_free(port: u16) -> bool {
    use rustix::net::{AddressFamily, SocketType, bind, socket, sockopt};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_reuseaddr(&socket, true).unwrap();
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    bind(&socket, &address).is_ok()
}

impl Proxy {
    /// Two shards on free ports of loopback.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// As [`Proxy::start`], with more arguments.
    pub(crate) fn start_with(args: &[&str]) -> Self {
        Self::start_command(command().args(args))
    }

    /// As [`Proxy::start`], from a command that may have arguments and variables already.
    pub(crate) fn start_command(command: &mut Command) -> Self {
        Self::start_on(command, free_port(), free_port())
    }

    /// As [`Proxy::start_command`], on these ports.
    pub(crate) fn start_on(command: &mut Command, port: u16, zmq_port: u16) -> Self {
        let proxy = Self::start_unchecked(command, port, zmq_port);
        if let Some(driver) = driver() {
            assert_eq!(
                proxy.metric(&format!("io_driver_info{{driver=\"{driver}\"}}")),
                1
            );
        }
        proxy
    }

    /// As [`Proxy::start_on`], on whatever driver the command asks for.
    pub(crate) fn start_unchecked(command: &mut Command, port: u16, zmq_port: u16) -> Self {
        command.args(["--host", "127.0.0.1", "--shards", "2"]);
        if !command.get_args().any(|arg| arg == "--log-level") {
            command.args(["--log-level", "debug"]);
        }
        command.args([
            "--port",
            &port.to_string(),
            "--zmq-port",
            &zmq_port.to_string(),
        ]);
        let mut child = command.spawn().expect("pd-proxy starts");
        let log = Arc::new(Log::default());
        let stderr = child.stderr.take().expect("a pipe");
        let lines = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lines.lock().unwrap().push(line);
                lines.more.notify_all();
            }
        });
        let http = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let proxy = Self {
            child,
            http,
            zmq_port,
            log,
        };
        proxy.wait_for_log("is ready");
        proxy
    }

    /// `host:port` at which nodes register.
    pub(crate) fn registration(&self) -> String {
        format!("127.0.0.1:{}", self.zmq_port)
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.http)
    }

    /// One request on a connection of its own.
    pub(crate) fn get(&self, path: &str) -> Response {
        self.connect().send(get(path)).response()
    }

    /// One request on a connection of its own.
    pub(crate) fn post(&self, path: &str, body: &str) -> Response {
        self.connect().send(post(path, body)).response()
    }

    /// The value of a sample of `/metrics`, name without the prefix; 0 if there is none.
    pub(crate) fn metric(&self, sample: &str) -> u64 {
        let text = self.get("/metrics").text();
        let name = format!("pd_proxy_{sample} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&name));
        value.map_or(0, |value| value.parse().expect("a whole number"))
    }

    /// Returns when every shard has served somebody who came after this call: what had happened on the
    /// sockets before it, they have seen.
    pub(crate) fn catch_up(&self) {
        let served = |shard| self.metric(&format!("shard_connections_total{{shard=\"{shard}\"}}"));
        let before = [served(0), served(1)];
        super::eventually("both shards serve", || {
            served(0) > before[0] && served(1) > before[1]
        });
    }

    /// Waits until a line of the log holds `text`; the line.
    pub(crate) fn wait_for_log(&self, text: &str) -> String {
        let until = Instant::now() + PATIENCE;
        let mut lines = self.log.lines.lock().unwrap();
        loop {
            if let Some(line) = lines.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "no {text:?} in the log:\n{}",
                lines.join("\n")
            );
            lines = self.log.more.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// The log so far.
    pub(crate) fn log(&self) -> String {
        self.log.lines.lock().unwrap().join("\n")
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it runs");
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it does not end:\n{}", self.log());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the proxy's log:\n{}", self.log());
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
