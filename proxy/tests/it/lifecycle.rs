//! How the process starts, what it does when it is told to end, and what is left when it is killed.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::client::{Client, End, get, post};
use crate::support::eventually;
use crate::support::fleet::Fleet;
use crate::support::node::{event, stream_head};
use crate::support::procfs::processor_time;
use crate::support::proxy::{Proxy, command, free_port};
use crate::support::scripted::{Scripted, completion, echo};

const STREAM: &str = r#"{"prompt":"a","stream":true}"#;

/// What the process says and how it ends, with `args` and variables of `env`.
fn run(args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = command();
    command
        .args(args)
        .envs(env.iter().copied())
        .stdout(Stdio::piped());
    command.output().expect("pd-proxy starts")
}

/// Asserts that the process ends with status 1 soon and says `parts` on standard error.
#[track_caller]
fn assert_start_fails(args: &[&str], parts: &[&str]) {
    let began = Instant::now();
    let output = run(args, &[]);
    let took = began.elapsed();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    for part in parts {
        assert!(told.contains(part), "no {part:?} in {told}");
    }
    assert!(!told.contains("is ready"), "{told}");
    assert!(took < Duration::from_secs(3), "it took {took:?}");
}

/// Nodes whose decode streams an event for each message that the test sends, until it hangs up.
fn streaming(proxy: Proxy) -> (Scripted, Sender<String>) {
    let (sender, events): (Sender<String>, Receiver<String>) = channel();
    let nodes = Scripted::behind(proxy, move |_, stream| {
        stream.write_all(stream_head()).unwrap();
        for data in events.iter() {
            if stream.write_all(&event(&data)).is_err() {
                return false;
            }
        }
        stream.write_all(b"0\r\n\r\n").is_ok()
    });
    (nodes, sender)
}

/// A client of which the first event has arrived.
fn open_stream(nodes: &Scripted, events: &Sender<String>) -> Client {
    let mut client = nodes.proxy.connect();
    client.send(post("/v1/completions", STREAM));
    events.send("first".to_owned()).unwrap();
    client.read_until(b"data: first\n\n\r\n");
    client
}

#[test]
fn port_in_use_ends_the_start_and_is_told_with_its_flag() {
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let taken = other.local_addr().unwrap().port().to_string();
    let (free, free_too) = (free_port().to_string(), free_port().to_string());
    let at = format!("127.0.0.1:{taken}");
    let host = ["--host", "127.0.0.1"];
    assert_start_fails(
        &[&host[..], &["--port", &taken, "--zmq-port", &free]].concat(),
        &[&at, "Address already in use", "--port", "PROXY_HTTP_PORT"],
    );
    for ports in [vec![&taken], vec![&free, &taken], vec![&taken, &free]] {
        let ports = ports
            .iter()
            .map(|port| port.as_str())
            .collect::<Vec<_>>()
            .join(",");
        assert_start_fails(
            &[&host[..], &["--port", &free_too, "--zmq-port", &ports]].concat(),
            &[
                &at,
                "Address already in use",
                "--zmq-port",
                "PROXY_ZMQ_PORT",
            ],
        );
    }
}

#[test]
fn port_of_another_proxy_is_not_shared() {
    let proxy = Proxy::start();
    let (http, zmq) = (proxy.http.port().to_string(), proxy.zmq_port.to_string());
    let free = free_port().to_string();
    for host in ["127.0.0.1", "0.0.0.0"] {
        assert_start_fails(
            &["--host", host, "--port", &http, "--zmq-port", &free],
            &["Address already in use", &http, "--port"],
        );
        assert_start_fails(
            &["--host", host, "--port", &free, "--zmq-port", &zmq],
            &["Address already in use", &zmq, "--zmq-port"],
        );
    }
}

#[test]
fn address_of_another_machine_is_told_with_its_flag() {
    // An address of the block for documentation is no interface of this machine.
    let ports = [free_port().to_string(), free_port().to_string()];
    assert_start_fails(
        &[
            "--host",
            "192.0.2.1",
            "--port",
            &ports[0],
            "--zmq-port",
            &ports[1],
        ],
        &["192.0.2.1", "--host"],
    );
}

#[test]
fn every_socket_is_bound_before_the_process_says_that_it_is_ready() {
    let second = free_port();
    let proxy = Proxy::start_with(&["--zmq-port", &second.to_string()]);
    // `start_with` waits for the line and for nothing else.
    let line = proxy.wait_for_log("is ready");
    for port in [proxy.http.port(), proxy.zmq_port, second] {
        assert!(line.contains(&port.to_string()), "{line}");
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it is bound");
    }
    proxy.get("/health").openai_error(503);
}

#[test]
fn help_and_version_end_well_and_mistakes_with_64() {
    let version = run(&["--version"], &[]);
    assert_eq!(version.status.code(), Some(0));
    let said = String::from_utf8(version.stdout).unwrap();
    assert_eq!(said, format!("pd-proxy {}\n", env!("CARGO_PKG_VERSION")));
    for flag in ["--help", "-h"] {
        let help = run(&[flag], &[]);
        assert_eq!(help.status.code(), Some(0));
        assert!(
            String::from_utf8(help.stdout)
                .unwrap()
                .contains("--zmq-port")
        );
    }
    for (args, part) in [
        (["--no-such-flag"].as_slice(), "--no-such-flag"),
        (&["--port", "http"], "--port"),
        (&["positional"], "positional"),
    ] {
        let output = run(args, &[]);
        assert_eq!(output.status.code(), Some(64));
        assert!(String::from_utf8(output.stderr).unwrap().contains(part));
    }
    let output = run(&[], &[("PROXY_HTTP_PORT", "http")]);
    assert_eq!(output.status.code(), Some(64));
}

#[test]
fn variables_set_what_flags_do_not() {
    let (http, zmq) = (free_port(), free_port());
    let mut child = command()
        .env("PROXY_HTTP_PORT", http.to_string())
        .env("PROXY_ZMQ_PORT", zmq.to_string())
        .env("PROXY_HOST", "127.0.0.1")
        .env("PROXY_SHARDS", "1")
        .spawn()
        .unwrap();
    let is_bound = |port| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
    eventually("both ports are bound", || is_bound(http) && is_bound(zmq));
    child.kill().unwrap();
    child.wait().unwrap();

    // A flag wins.
    let mut command = command();
    command
        .env("PROXY_HTTP_PORT", "1")
        .env("PROXY_ZMQ_PORT", "2,3");
    let proxy = Proxy::start_command(&mut command);
    assert_eq!(proxy.get("/metrics").status, 200);
}

#[test]
fn signal_refuses_new_connections_and_lets_open_streams_finish() {
    for signal in [Signal::TERM, Signal::INT] {
        let (mut nodes, events) = streaming(Proxy::start());
        let mut stream = open_stream(&nodes, &events);
        let mut idle: Vec<Client> = (0..5).map(|_| nodes.proxy.connect()).collect();
        idle[0].send(get("/metrics")).response();
        // In the middle of its head, it is not idle.
        let mut asking = nodes.proxy.connect();
        asking.send("GET /health HTTP/1.1\r\n");
        eventually("all are accepted", || {
            nodes.proxy.metric("connections") == 8
        });

        nodes.proxy.signal(signal);
        nodes.proxy.wait_for_log("no new connections");
        eventually("new connections are refused", || {
            TcpStream::connect(nodes.proxy.http).is_err()
        });
        for client in &mut idle {
            client.assert_closed();
        }
        let health = asking.send("Host: a\r\n\r\n").response();
        let message = health.openai_error(503);
        assert!(message.contains("shutting down"), "{message}");
        assert_eq!(health.field("connection"), Some("close"));
        asking.assert_closed();

        events.send("late".to_owned()).unwrap();
        drop(events);
        let rest = stream.read_to_end();
        assert!(rest.ends_with(b"data: late\n\n\r\n0\r\n\r\n"));
        assert_eq!(nodes.proxy.wait().code(), Some(0), "{}", nodes.proxy.log());
    }
}

#[test]
fn process_without_streams_ends_at_once() {
    let mut nodes = Scripted::echo();
    let mut idle = nodes.proxy.connect();
    idle.send(completion("a")).response();
    let began = Instant::now();
    nodes.proxy.signal(Signal::TERM);
    assert_eq!(nodes.proxy.wait().code(), Some(0));
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    idle.assert_closed();
}

#[test]
fn drain_ends_after_its_time_and_what_is_cut_then_is_visibly_cut() {
    let (mut nodes, events) = streaming(Proxy::start_with(&["--drain-timeout", "0.4"]));
    let mut stream = open_stream(&nodes, &events);
    let began = Instant::now();
    nodes.proxy.signal(Signal::TERM);
    assert_eq!(nodes.proxy.wait().code(), Some(0), "{}", nodes.proxy.log());
    assert!(
        began.elapsed() >= Duration::from_millis(400),
        "it did not wait"
    );
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    assert!(!stream.read_to_end().ends_with(b"0\r\n\r\n"));
    nodes.proxy.wait_for_log("they are cut");
}

#[test]
fn second_signal_ends_the_process_at_once() {
    let (mut nodes, events) = streaming(Proxy::start());
    let mut stream = open_stream(&nodes, &events);
    nodes.proxy.signal(Signal::TERM);
    nodes.proxy.wait_for_log("no new connections");
    nodes.proxy.signal(Signal::INT);
    assert_eq!(nodes.proxy.wait().code(), Some(130));
    assert!(!stream.read_to_end().ends_with(b"0\r\n\r\n"));
}

#[test]
fn killed_process_leaves_no_listener_and_its_ports_are_free_at_once() {
    let (mut nodes, events) = streaming(Proxy::start());
    let mut stream = open_stream(&nodes, &events);
    let idle: Vec<Client> = (0..50).map(|_| nodes.proxy.connect()).collect();
    eventually("all are accepted", || {
        nodes.proxy.metric("connections") == 52
    });
    let (http, zmq_port) = (nodes.proxy.http, nodes.proxy.zmq_port);

    nodes.proxy.signal(Signal::KILL);
    nodes.proxy.wait();
    let began = Instant::now();
    let mut late = 0;
    while began.elapsed() < Duration::from_millis(50) {
        late += usize::from(TcpStream::connect(http).is_ok());
    }
    assert_eq!(late, 0, "connections to a dead process");
    assert!(!stream.read_to_end().ends_with(b"0\r\n\r\n"));
    for mut client in idle {
        client.assert_closed();
    }
    let again = Proxy::start_on(&mut command(), http.port(), zmq_port);
    assert_eq!(again.get("/metrics").status, 200);
}

#[test]
fn nodes_come_back_by_themselves_after_a_restart() {
    let mut fleet = Fleet::behind(Proxy::start(), 1, 1, |mut options| {
        options.ping_interval = Duration::from_millis(500);
        options
    });
    let body = r#"{"model":"Qwen/Qwen2.5-7B-Instruct","prompt":"again","max_tokens":3}"#;
    assert_eq!(fleet.proxy.post("/v1/completions", body).status, 200);
    let (http, zmq_port) = (fleet.proxy.http, fleet.proxy.zmq_port);
    fleet.proxy.signal(Signal::KILL);
    fleet.proxy.wait();
    fleet.proxy = Proxy::start_on(&mut command(), http.port(), zmq_port);
    let began = Instant::now();
    eventually("a request is served", || {
        fleet.proxy.post("/v1/completions", body).status == 200
    });
    // A ping, the pause of libzmq before it connects again, and a loaded machine.
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    fleet.assert_clean();
}

/// The command, with so few descriptors that a test can use them up.
fn with_descriptors(limit: u32) -> Command {
    let inner = command();
    let mut outer = Command::new("/bin/sh");
    outer
        .env_clear()
        .args(["-c", &format!("ulimit -n {limit}; exec \"$0\" \"$@\"")])
        .arg(inner.get_program())
        .args(inner.get_args())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    outer
}

#[test]
fn process_without_descriptors_pauses_and_recovers() {
    let proxy = Proxy::start_command(&mut with_descriptors(96));
    proxy.wait_for_log("only 96 open files are allowed");
    let (nodes, events) = streaming(proxy);
    let mut stream = open_stream(&nodes, &events);
    let mut witness = nodes.proxy.connect();
    let pauses = |witness: &mut Client| {
        let text = witness.send(get("/metrics")).response().text();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("pd_proxy_accept_pauses_total "));
        line.map_or(0, |count| count.parse::<u64>().unwrap())
    };
    // They are all in the queue, and those that were accepted hold everything.
    let crowd: Vec<Client> = (0..150).map(|_| nodes.proxy.connect()).collect();
    eventually("accepting pauses", || pauses(&mut witness) > 0);

    let paused = pauses(&mut witness);
    let (began, spent) = (Instant::now(), processor_time(&nodes.proxy));
    events.send("in the crowd".to_owned()).unwrap();
    stream.read_until(b"data: in the crowd\n\n\r\n");
    eventually("a while has passed", || {
        began.elapsed() > Duration::from_millis(700)
    });
    let spent = processor_time(&nodes.proxy) - spent;
    let paused = pauses(&mut witness) - paused;
    let elapsed = began.elapsed();
    assert!(spent < elapsed / 3, "{spent:?} of {elapsed:?}");
    // Two shards that each try again every 50 ms.
    let tries = u64::try_from(elapsed.as_millis()).unwrap() / 50 + 1;
    assert!(paused <= 2 * tries, "{paused} tries in {elapsed:?}");

    drop(crowd);
    drop(events);
    assert!(stream.read_to_end_of_chunks());
    eventually("it accepts again", || {
        let mut client = nodes.proxy.connect();
        client.send(get("/metrics")).response().status == 200
    });
}

impl Client {
    /// Whether what follows ends with the last chunk.
    fn read_to_end_of_chunks(&mut self) -> bool {
        self.read_until(b"0\r\n\r\n").ends_with(b"0\r\n\r\n")
    }
}

#[test]
fn process_that_cannot_even_start_its_shards_says_so() {
    let mut command = with_descriptors(12);
    let ports = [free_port().to_string(), free_port().to_string()];
    command.args([
        "--host",
        "127.0.0.1",
        "--port",
        &ports[0],
        "--zmq-port",
        &ports[1],
    ]);
    let output = command.output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{told}");
    assert!(!told.is_empty() && !told.contains("is ready"), "{told}");
}

#[test]
fn connection_that_was_queued_when_the_process_ended_is_not_left_hanging() {
    let mut nodes = Scripted::behind(Proxy::start(), echo);
    let address: SocketAddr = nodes.proxy.http;
    nodes.proxy.signal(Signal::TERM);
    // Some of these are refused, some accepted and closed, none waits.
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(300) {
        let Ok(mut stream) = TcpStream::connect(address) else {
            continue;
        };
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        stream.write_all(&get("/health")).ok();
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
    assert_eq!(nodes.proxy.wait().code(), Some(0));
}

#[test]
fn answer_under_way_when_the_signal_comes_is_whole() {
    let mut nodes = Scripted::behind(Proxy::start(), |seen, stream| {
        std::thread::sleep(Duration::from_millis(300));
        echo(seen, stream)
    });
    let mut client = nodes.proxy.connect();
    client.send(completion("slow"));
    nodes.decode.next();
    nodes.proxy.signal(Signal::TERM);
    let response = client.response();
    assert_eq!((response.status, response.end), (200, End::Whole));
    assert_eq!(nodes.proxy.wait().code(), Some(0));
}
