//! Nodes come and go through real ZMQ sockets, and anybody else may send there too.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::client::{get, post};
use crate::support::eventually;
use crate::support::fleet::Fleet;
use crate::support::node::registration;
use crate::support::procfs::resident_bytes;
use crate::support::proxy::{Proxy, free_port};
use crate::support::scripted::{Scripted, completion, wait_for_nodes};

/// A vLLM node's socket, under the hand of the test.
struct Dealer(zmq::Socket);

impl Dealer {
    fn connect(port: u16) -> Self {
        let socket = zmq::Context::new().socket(zmq::DEALER).unwrap();
        socket.set_linger(0).unwrap();
        socket.connect(&format!("tcp://127.0.0.1:{port}")).unwrap();
        Self(socket)
    }

    fn send(&self, body: &[u8]) {
        self.0.send(body, 0).unwrap();
    }

    fn register(&self, role: &str, http: SocketAddr) {
        self.send(&registration(role, &http.to_string(), "127.0.0.1:9"));
    }
}

/// An HTTP server that answers everything with one status, and counts what is no health probe.
struct Server {
    http: SocketAddr,
    status: Arc<AtomicU16>,
    requests: Arc<AtomicU64>,
}

impl Server {
    fn start(status: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let server = Self {
            http: listener.local_addr().unwrap(),
            status: Arc::new(status.into()),
            requests: Arc::default(),
        };
        let (status, requests) = (Arc::clone(&server.status), Arc::clone(&server.requests));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut buffer = [0; 4096];
                let bytes = stream.read(&mut buffer).unwrap_or(0);
                let is_probe = buffer[..bytes].starts_with(b"GET /health ");
                requests.fetch_add(u64::from(!is_probe && bytes > 0), Ordering::Relaxed);
                let status = status.load(Ordering::Relaxed);
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{{}}"
                );
                stream.write_all(answer.as_bytes()).ok();
            }
        });
        server
    }
}

fn messages(proxy: &Proxy, outcome: &str) -> u64 {
    proxy.metric(&format!("registry_messages_total{{outcome=\"{outcome}\"}}"))
}

#[track_caller]
fn wait_for_messages(proxy: &Proxy, outcome: &str, count: u64) {
    eventually(&format!("{count} messages are {outcome}"), || {
        messages(proxy, outcome) == count
    });
}

fn known(proxy: &Proxy) -> u64 {
    let text = proxy.get("/metrics").text();
    let nodes = text
        .lines()
        .filter(|line| line.starts_with("pd_proxy_nodes{"));
    nodes
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
        .sum()
}

#[test]
fn nodes_register_on_every_port_that_was_given() {
    let second = free_port();
    let proxy = Proxy::start_with(&["--zmq-port", &second.to_string()]);
    let (prefill, decode) = (Server::start(200), Server::start(200));
    let (first, other) = (Dealer::connect(proxy.zmq_port), Dealer::connect(second));
    first.register("P", prefill.http);
    other.register("D", decode.http);
    wait_for_nodes(&proxy, "prefill", 1);
    wait_for_nodes(&proxy, "decode", 1);
    // The same node on both is one node.
    first.register("D", decode.http);
    wait_for_messages(&proxy, "refreshed", 1);
    assert_eq!(known(&proxy), 2);
}

#[test]
fn coming_and_going_is_logged_in_the_words_of_the_example_proxy() {
    let proxy = Proxy::start_with(&["--node-fresh-secs", "0.3", "--node-expiry-secs", "0.6"]);
    let server = Server::start(200);
    let words = format!("[HTTP:{}, ZMQ:127.0.0.1:9]", server.http);
    let dealer = Dealer::connect(proxy.zmq_port);
    dealer.register("P", server.http);
    proxy.wait_for_log(&format!("Add {words}"));
    proxy.wait_for_log(&format!("Remove {words}"));
    eventually("the node is gone", || known(&proxy) == 0);
}

#[test]
fn malformed_messages_are_ignored_and_a_good_one_after_them_counts() {
    let proxy = Proxy::start();
    let server = Server::start(200);
    let dealer = Dealer::connect(proxy.zmq_port);
    let good = registration("P", &server.http.to_string(), "127.0.0.1:9");
    let bodies: [(&str, Vec<u8>); 12] = [
        ("truncated", Vec::new()),
        ("truncated", good[..good.len() - 1].to_vec()),
        ("truncated", vec![0xDF, 0x00, 0x00, 0x00, 0x03]),
        ("too_many_entries", vec![0xDF, 0xFF, 0xFF, 0xFF, 0xFF]),
        ("malformed", vec![0x81, 0xC1]),
        ("not_a_map", b"hello".to_vec()),
        ("not_a_map", vec![0xDD, 0xFF, 0xFF, 0xFF, 0xFF]),
        ("trailing_bytes", [good.as_slice(), b"\0"].concat()),
        ("missing_key", vec![0x80]),
        (
            "unknown_type",
            registration("X", "127.0.0.1:1", "127.0.0.1:2"),
        ),
        (
            "legacy",
            registration("HELLO", "127.0.0.1:1", "127.0.0.1:2"),
        ),
        ("truncated", vec![0x91; 3_000]),
    ];
    let mut counts = std::collections::BTreeMap::new();
    for (outcome, body) in &bodies {
        dealer.send(body);
        *counts.entry(*outcome).or_insert(0) += 1;
    }
    // An array in an array in an array, which is no map from its first byte.
    let nested = counts.remove("truncated").unwrap_or(0) - 1;
    *counts.entry("not_a_map").or_insert(0) += 1;
    counts.insert("truncated", nested);
    dealer.0.send_multipart([&b"one"[..], b"two"], 0).unwrap();
    dealer.0.send_multipart([&b""[..]; 100], 0).unwrap();
    counts.insert("frames", 2);
    for (outcome, count) in counts {
        wait_for_messages(&proxy, outcome, count);
    }
    assert_eq!(known(&proxy), 0);
    dealer.send(&good);
    wait_for_nodes(&proxy, "prefill", 1);
}

#[test]
fn what_speaks_no_zmq_ends_its_own_connection_alone() {
    let proxy = Proxy::start();
    let dealer = Dealer::connect(proxy.zmq_port);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, proxy.zmq_port));
    let before = resident_bytes(&proxy);
    let huge_frame = [
        &[0xFF_u8; 10][..],
        &[0x02, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
    ]
    .concat();
    for bytes in [
        &get("/")[..],
        b"\x16\x03\x01\x02\x00",
        &[0xFF; 4_096],
        &[0; 4_096],
        &huge_frame,
    ] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(bytes).ok();
    }
    // Longer than any registration: the connection is closed before it is read.
    let flood = Dealer::connect(proxy.zmq_port);
    flood.send(&vec![0; 1 << 20]);
    let server = Server::start(200);
    dealer.register("P", server.http);
    wait_for_nodes(&proxy, "prefill", 1);
    let grown = resident_bytes(&proxy).saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes");
}

#[test]
fn hostile_addresses_are_refused() {
    let proxy = Proxy::start();
    let dealer = Dealer::connect(proxy.zmq_port);
    let http = [
        "",
        ":80",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:+80",
        "127.0.0.1:80\r\nX: y",
        "127.0.0.1\r\n:80",
        "127.0.0.1:80 ",
        " 127.0.0.1:80",
        "a b:80",
        "127.0.0.1:80/path",
        "http://127.0.0.1:80",
        "u@127.0.0.1:80",
        "127.0.0.1:80#x",
        "a\0b:80",
        "[::1:80",
        "a___decode_addr_b:80/",
        "\u{e9}:80",
    ];
    for address in http {
        dealer.send(&registration("P", address, "127.0.0.1:9"));
    }
    wait_for_messages(&proxy, "http_address", http.len() as u64);
    let kv = [
        "",
        "127.0.0.1",
        "127.0.0.1:0",
        "127.0.0.1:9\r\nX: y",
        "127.0.0.1:9___decode_addr_6.6.6.6:6",
        "127.0.0.1:9 ",
        "127.0.0.1:9/",
        "___prefill_addr_a:1",
        "a___b:9",
        "tcp://127.0.0.1:9",
    ];
    for address in kv {
        dealer.send(&registration("P", "127.0.0.1:8100", address));
    }
    wait_for_messages(&proxy, "kv_address", kv.len() as u64);
    let nobody = ["0.0.0.0:80", "[::]:80", "224.0.0.1:80"];
    for address in nobody {
        dealer.send(&registration("P", address, "127.0.0.1:9"));
    }
    wait_for_messages(&proxy, "unreachable_address", nobody.len() as u64);
    let line = proxy.wait_for_log("a registered address is refused");
    assert!(
        line.contains("0.0.0.0:80") && line.contains("VLLM_HOST_IP"),
        "{line}"
    );
    assert_eq!(known(&proxy), 0);
    assert!(!proxy.log().contains("Add ["), "{}", proxy.log());
}

#[test]
fn own_address_is_refused() {
    let proxy = Proxy::start();
    let dealer = Dealer::connect(proxy.zmq_port);
    let port = proxy.http.port();
    for host in ["127.0.0.1", "127.0.0.2", "[::1]", "[::ffff:127.0.0.1]"] {
        dealer.send(&registration("D", &format!("{host}:{port}"), "127.0.0.1:9"));
    }
    wait_for_messages(&proxy, "own_address", 4);
    assert_eq!(known(&proxy), 0);
    let line = proxy.wait_for_log("a registered address is refused");
    assert!(line.contains("this proxy's own"), "{line}");
}

#[test]
fn request_that_came_round_to_the_proxy_that_sent_it_is_refused() {
    let nodes = Scripted::echo();
    nodes.proxy.connect().send(completion("a")).response();
    let seen = nodes.decode.next();
    nodes.prefill.next();
    let via = seen.fields("via")[0].to_owned();
    let request = crate::support::client::post_with(
        "/v1/completions",
        &format!("Via: 1.0 other, {via}\r\n"),
        r#"{"prompt":"a"}"#,
    );
    let response = nodes.proxy.connect().send(request).response();
    response.openai_error(508);
    nodes.assert_untouched();
}

#[test]
fn node_that_changes_its_role_moves() {
    let proxy = Proxy::start();
    let server = Server::start(200);
    let dealer = Dealer::connect(proxy.zmq_port);
    dealer.register("P", server.http);
    wait_for_nodes(&proxy, "prefill", 1);
    dealer.register("D", server.http);
    wait_for_nodes(&proxy, "decode", 1);
    assert_eq!(known(&proxy), 1);
    let words = format!("[HTTP:{}, ZMQ:127.0.0.1:9]", server.http);
    proxy.wait_for_log(&format!("Remove {words}"));
    let response = proxy.post("/v1/completions", r#"{"prompt":"a"}"#);
    let message = response.openai_error(503);
    assert!(message.contains("prefill"), "{message}");
    assert_eq!(response.field("retry-after"), Some("3"));
    assert_eq!(server.requests.load(Ordering::Relaxed), 0);
}

#[test]
fn node_that_is_not_healthy_gets_no_request_until_it_is() {
    let proxy = Proxy::start();
    let (prefill, decode) = (Server::start(503), Server::start(200));
    let dealer = Dealer::connect(proxy.zmq_port);
    dealer.register("P", prefill.http);
    dealer.register("D", decode.http);
    wait_for_nodes(&proxy, "decode", 1);
    eventually("it was probed", || {
        proxy.metric("registry_probes_total{outcome=\"status\"}") > 0
    });
    let mut client = proxy.connect();
    for _ in 0..5 {
        client.send(completion("a")).response().openai_error(503);
    }
    let message = client.send(get("/health")).response().openai_error(503);
    assert!(message.contains("health check"), "{message}");
    assert_eq!(prefill.requests.load(Ordering::Relaxed), 0);
    assert_eq!(decode.requests.load(Ordering::Relaxed), 0);

    prefill.status.store(200, Ordering::Relaxed);
    wait_for_nodes(&proxy, "prefill", 1);
    assert_eq!(client.send(get("/health")).response().status, 200);
    assert_eq!(client.send(completion("a")).response().status, 200);
    assert_eq!(prefill.requests.load(Ordering::Relaxed), 1);
}

#[test]
fn node_whose_pings_stop_is_forgotten_be_it_the_last_of_its_role() {
    let proxy = Proxy::start_with(&["--node-fresh-secs", "0.7", "--node-expiry-secs", "1.2"]);
    let fleet = Fleet::behind(proxy, 1, 1, |mut options| {
        options.ping_interval = Duration::from_millis(150);
        options
    });
    let body = r#"{"model":"Qwen/Qwen2.5-7B-Instruct","prompt":"a","max_tokens":3}"#;
    assert_eq!(fleet.proxy.post("/v1/completions", body).status, 200);
    // Its HTTP server goes on.
    fleet.decode[0].pause_pings();
    let began = Instant::now();
    eventually("it is gone", || known(&fleet.proxy) == 1);
    assert!(
        began.elapsed() > Duration::from_millis(900),
        "it was forgotten too soon"
    );
    let message = fleet.proxy.get("/health").openai_error(503);
    assert!(
        message.contains("no decode node has registered"),
        "{message}"
    );
    fleet
        .proxy
        .connect()
        .send(post("/v1/completions", body))
        .response()
        .openai_error(503);
    fleet.decode[0].resume_pings();
    eventually("it is back", || fleet.proxy.get("/health").status == 200);
    assert_eq!(fleet.proxy.post("/v1/completions", body).status, 200);
    fleet.assert_clean();
}

#[test]
fn flood_of_registrations_keeps_nobody_out_and_is_bounded() {
    let nodes = Scripted::echo();
    let dealer = Dealer::connect(nodes.proxy.zmq_port);
    let before = resident_bytes(&nodes.proxy);
    for number in 0..5_000_u32 {
        let [_, a, b, c] = number.to_be_bytes();
        // Nobody is at an address of the block for benchmarks.
        let http = format!("198.{}.{b}.{c}:80", 18 + a % 2);
        dealer.send(&registration("P", &http, "127.0.0.1:9"));
    }
    eventually("they have all been read", || {
        messages(&nodes.proxy, "added") >= 5_002
    });
    assert!(known(&nodes.proxy) <= 1_024);
    let mut client = nodes.proxy.connect();
    for _ in 0..20 {
        assert_eq!(client.send(completion("a")).response().status, 200);
    }
    let grown = resident_bytes(&nodes.proxy).saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes");
    nodes
        .proxy
        .wait_for_log("more to log than it may in one second");
}
