//! Connections: keep-alive, idle closing, opening late and dying.

use crate::client::{Client, End, get, post};
use pd_bench::sim::{Options, Role, Sim, State};
use serde_json::json;
use std::net::TcpStream;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(10);

fn node(keep_alive: Duration) -> Sim {
    Sim::start(Options {
        keep_alive,
        ..Options::of(Role::Both)
    })
    .unwrap()
}

#[test]
fn idle_connection_is_closed_after_the_limit() {
    let sim = node(Duration::from_millis(300));
    let mut client = Client::to(sim.http_addr());
    for _ in 0..3 {
        client.send("GET", "/health", "", "");
        assert_eq!(client.reply().status, 200);
    }

    let since = Instant::now();
    assert_eq!(client.end(), End::Cut);

    let idle = since.elapsed();
    assert!(
        idle >= Duration::from_millis(290) && idle < SOON,
        "{idle:?}"
    );
}

#[test]
fn connection_without_a_request_stays_open() {
    let sim = node(Duration::from_millis(30));
    let mut quiet = Client::to(sim.http_addr());
    let mut used = Client::to(sim.http_addr());
    used.send("GET", "/health", "", "");
    assert_eq!(used.reply().status, 200);

    // The used one has been closed for idling; the quiet one is older.
    assert_eq!(used.end(), End::Cut);

    quiet.send("GET", "/health", "", "");
    assert_eq!(quiet.reply().status, 200);
}

#[test]
fn half_a_request_stops_the_idle_clock() {
    let sim = node(Duration::from_millis(100));
    let mut client = Client::to(sim.http_addr());
    client.send("GET", "/health", "", "");
    assert_eq!(client.reply().status, 200);
    client.raw("GET /health HT");
    let mut other = Client::to(sim.http_addr());
    other.send("GET", "/health", "", "");
    assert_eq!(other.reply().status, 200);
    assert_eq!(other.end(), End::Cut);

    client.raw("TP/1.1\r\nhost: x\r\n\r\n");

    assert_eq!(client.reply().status, 200);
}

#[test]
fn stream_longer_than_the_idle_limit_is_not_cut() {
    let sim = Sim::start(Options {
        keep_alive: Duration::from_millis(50),
        speed: 1.0,
        ..Options::of(Role::Both)
    })
    .unwrap();

    let body = json!({"prompt": "a", "max_tokens": 20, "stream": true});
    let reply = post(&sim, "/v1/completions", &body);

    assert_eq!((reply.end, reply.chunks.len()), (End::Complete, 21));
}

#[test]
fn port_opens_late_although_it_is_bound() {
    let sim = Sim::start(Options {
        ready_after: Duration::from_millis(800),
        ..Options::of(Role::Both)
    })
    .unwrap();

    let early = TcpStream::connect(sim.http_addr());
    assert_eq!(
        early.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionRefused
    );
    let since = Instant::now();
    while TcpStream::connect(sim.http_addr()).is_err() && since.elapsed() < SOON {
        std::thread::yield_now();
    }
    assert_eq!(get(&sim, "/health").status, 200);
}

#[test]
fn killed_node_leaves_nothing_behind() {
    let mut sim = Sim::start(Options {
        speed: 1.0,
        ..Options::of(Role::Both)
    })
    .unwrap();
    let mut client = Client::to(sim.http_addr());
    let body = json!({"prompt": "a", "max_tokens": 5000, "stream": true});
    client.send("POST", "/v1/completions", "", &body.to_string());
    client.head().unwrap();
    client.chunk().unwrap();

    sim.kill();

    assert_eq!(sim.state(), State::Stopped);
    assert!(matches!(client.reply_rest(), End::Cut | End::Reset));
    assert!(TcpStream::connect(sim.http_addr()).is_err());
    let again = Sim::start(Options {
        port: sim.http_addr().port(),
        ..Options::of(Role::Both)
    });
    assert_eq!(get(&again.unwrap(), "/health").status, 200);
}

#[test]
fn client_leaving_before_the_head_aborts_its_request() {
    let sim = Sim::start(Options {
        speed: 1.0,
        ..Options::of(Role::Both)
    })
    .unwrap();
    let mut client = Client::to(sim.http_addr());
    let body = json!({"prompt": "a", "max_tokens": 5000});
    client.send("POST", "/v1/completions", "", &body.to_string());
    assert!(sim.wait_until(SOON, |ledger| ledger.tokens > 0));

    drop(client);

    assert!(sim.wait_until(SOON, |ledger| ledger.total().aborted == 1));
}
