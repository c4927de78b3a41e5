//! Sizes and times: what is too much is refused early, and costs neither memory nor other clients.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::client::{Client, End, get, post};
use crate::support::eventually;
use crate::support::node::{Node, Seen, event, stream_head};
use crate::support::procfs::{descriptors, resident_bytes};
use crate::support::proxy::Proxy;
use crate::support::scripted::{Scripted, completion, echo, prompt_body, wait_for_nodes};

const MIB: u64 = 1 << 20;

fn head(fields: &str) -> String {
    format!("GET /health HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

#[test]
fn head_over_the_limit_is_refused_with_431() {
    let nodes = Scripted::echo();
    let at_limit = |total: usize| {
        let fixed = head("X: \r\n").len();
        head(&format!("X: {}\r\n", "y".repeat(total - fixed)))
    };
    let mut client = nodes.proxy.connect();
    assert_eq!(client.send(at_limit(65_536)).response().status, 200);
    client.send(at_limit(65_537)).response().openai_error(431);
    client.assert_closed();

    // An endless one is refused before it ends.
    let mut client = nodes.proxy.connect();
    client
        .send("GET /health HTTP/1.1\r\nX: ")
        .send("y".repeat(70_000));
    client.response().openai_error(431);
    client.assert_closed();
    nodes.assert_untouched();
}

#[test]
fn more_fields_than_the_limit_are_refused_with_431() {
    let nodes = Scripted::echo();
    let mut client = nodes.proxy.connect();
    assert_eq!(
        client.send(head(&"X: y\r\n".repeat(99))).response().status,
        200
    );
    client
        .send(head(&"X: y\r\n".repeat(100)))
        .response()
        .openai_error(431);
    client.assert_closed();

    let mut client = nodes.proxy.connect();
    let options = format!("Connection: {}\r\n", "x,".repeat(40));
    client.send(head(&options)).response().openai_error(431);
    client.assert_closed();
    nodes.assert_untouched();
}

#[test]
fn target_over_the_limit_is_refused_with_414() {
    let nodes = Scripted::echo();
    let request = |total: usize| {
        let target = format!("/health?{}", "x".repeat(total - "/health?".len()));
        format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
    };
    let mut client = nodes.proxy.connect();
    assert_eq!(client.send(request(8_192)).response().status, 200);
    client.send(request(8_193)).response().openai_error(414);
    client.assert_closed();

    // An endless one is refused before it ends.
    let mut client = nodes.proxy.connect();
    client
        .send("GET /")
        .send("x".repeat(9_000))
        .response()
        .openai_error(414);
    client.assert_closed();
    nodes.assert_untouched();
}

#[test]
fn declared_body_over_the_limit_is_refused_before_it_is_sent() {
    let nodes = Scripted::behind(Proxy::start_with(&["--max-payload-size", "1000"]), echo);
    for (length, expect) in [
        ("1001", ""),
        ("18446744073709551615", ""),
        ("1001", "Expect: 100-continue\r\n"),
    ] {
        let mut client = nodes.proxy.connect();
        let request = format!(
            "POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n{expect}\r\n"
        );
        let message = client.send(request).response().openai_error(413);
        assert!(
            message.contains("1000") && message.contains("--max-payload-size"),
            "{message}"
        );
        client.assert_closed();
    }
    nodes.assert_untouched();
    let prompt = "x".repeat(1_000 - prompt_body("").len());
    let response = nodes.proxy.connect().send(completion(&prompt)).response();
    assert_eq!((response.status, response.body.len()), (200, 1_000));
}

#[test]
fn chunked_body_over_the_limit_is_refused_when_it_gets_there() {
    let nodes = Scripted::behind(Proxy::start_with(&["--max-payload-size", "1000"]), echo);
    let head = "POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
        Transfer-Encoding: chunked\r\n\r\n";
    let mut client = nodes.proxy.connect();
    client.send(head);
    for _ in 0..11 {
        client.send(format!("64\r\n{}\r\n", "x".repeat(100)));
    }
    client.response().openai_error(413);
    client.assert_closed();
    // One chunk that says so itself, and goes on for ever.
    let mut client = nodes.proxy.connect();
    client
        .send(head)
        .send("fffffffffffff\r\n")
        .send("x".repeat(2_000));
    client.response().openai_error(413);
    client.assert_closed();
    nodes.assert_untouched();
}

#[test]
fn nothing_is_reserved_for_a_length_that_is_only_claimed() {
    let nodes = Scripted::echo();
    let before = resident_bytes(&nodes.proxy);
    let request = "POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
        Content-Length: 60000000\r\n\r\n{";
    let clients: Vec<Client> = (0..50)
        .map(|_| {
            let mut client = nodes.proxy.connect();
            client.send(request);
            client
        })
        .collect();
    eventually("all of them are being read", || {
        nodes.proxy.metric("connections") == 51
    });
    let grown = resident_bytes(&nodes.proxy).saturating_sub(before);
    assert!(
        grown < 16 * MIB,
        "{grown} bytes for {} claims",
        clients.len()
    );
    nodes.assert_untouched();
}

#[test]
fn head_that_trickles_in_is_answered_with_408_in_time() {
    let proxy = Proxy::start_with(&["--head-timeout-secs", "0.5"]);
    let began = Instant::now();
    let mut client = proxy.connect();
    let mut trickle = client.stream.try_clone().unwrap();
    // Each byte is in time, the head is not.
    let trickling = std::thread::spawn(move || {
        for byte in head(&"X: y\r\n".repeat(90)).bytes() {
            if trickle.write_all(&[byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    // Others do not feel it.
    let mut other = proxy.connect();
    for _ in 0..20 {
        other.send(get("/health")).response().openai_error(503);
    }
    client.response().openai_error(408);
    assert!(
        began.elapsed() >= Duration::from_millis(500),
        "it was early"
    );
    client.assert_closed();
    drop(client);
    trickling.join().unwrap();
}

#[test]
fn body_that_stops_arriving_is_answered_with_408_and_one_that_goes_on_is_not() {
    let proxy = Proxy::start_with(&[
        "--body-idle-timeout-secs",
        "0.6",
        "--head-timeout-secs",
        "0.3",
    ]);
    let nodes = Scripted::behind(proxy, echo);
    let whole = completion("patience");
    let (start, end) = whole.split_at(whole.len() - 8);
    let mut stalled = nodes.proxy.connect();
    stalled.send(start);
    let mut chunked = nodes.proxy.connect();
    chunked.send(
        "POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\n5\r\n{",
    );
    let mut slow = nodes.proxy.connect();
    slow.send(start);
    // Its body takes longer than any pause may.
    for byte in end {
        std::thread::sleep(Duration::from_millis(100));
        slow.send([*byte]);
    }
    assert_eq!(slow.response().text(), prompt_body("patience"));
    for mut client in [stalled, chunked] {
        client.response().openai_error(408);
        client.assert_closed();
    }
    nodes.prefill.next();
    nodes.decode.next();
    nodes.assert_untouched();
}

/// A decode node that streams until it cannot, and counts the bytes that the proxy has taken; it stops
/// by itself after `limit`.
fn endless(taken: Arc<AtomicU64>, limit: u64) -> impl FnMut(&Seen, &mut TcpStream) -> bool {
    move |_, stream| {
        let event = event(&"x".repeat(8_000)).repeat(4);
        if stream.write_all(stream_head()).is_err() {
            return false;
        }
        while taken.load(Ordering::Relaxed) < limit {
            if stream.write_all(&event).is_err() {
                return false;
            }
            taken.fetch_add(event.len() as u64, Ordering::Relaxed);
        }
        stream.write_all(b"0\r\n\r\n").is_ok()
    }
}

/// Waits until `taken` no longer grows: the node's writes block.
fn wait_until_still(taken: &AtomicU64) -> u64 {
    let (mut last, mut since) = (0, Instant::now());
    eventually("the node is held back", || {
        let now = taken.load(Ordering::Relaxed);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        last > 0 && since.elapsed() > Duration::from_millis(300)
    });
    last
}

const STREAM: &str = r#"{"prompt":"a","stream":true}"#;

#[test]
fn client_that_stops_reading_holds_the_node_back_and_costs_little() {
    let taken = Arc::new(AtomicU64::new(0));
    let nodes = Scripted::behind(Proxy::start(), endless(Arc::clone(&taken), u64::MAX));
    let before = resident_bytes(&nodes.proxy);
    let mut client = nodes.proxy.connect();
    client.send(post("/v1/completions", STREAM));
    let held = wait_until_still(&taken);
    // The kernel's buffers on both ways hold some MiB; the proxy holds next to nothing.
    assert!(held < 64 * MIB, "the node was never held back");
    let grown = resident_bytes(&nodes.proxy).saturating_sub(before);
    assert!(
        grown < 4 * MIB,
        "{grown} bytes for a client that does not read"
    );
    // Reading makes it go on.
    let mut sink = vec![0; 1 << 20];
    while taken.load(Ordering::Relaxed) < held + MIB {
        assert!(client.stream.read(&mut sink).unwrap() > 0);
    }
}

#[test]
fn client_that_stops_reading_is_cut_off_visibly_after_the_write_deadline() {
    for version in ["1.1", "1.0"] {
        let taken = Arc::new(AtomicU64::new(0));
        let proxy = Proxy::start_with(&["--write-timeout-secs", "0.5"]);
        let nodes = Scripted::behind(proxy, endless(Arc::clone(&taken), u64::MAX));
        let open = descriptors(&nodes.proxy);
        let mut client = nodes.proxy.connect();
        client.send(format!(
            "POST /v1/completions HTTP/{version}\r\nHost: a\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{STREAM}",
            STREAM.len()
        ));
        eventually("the stream has begun", || taken.load(Ordering::Relaxed) > 0);
        eventually("both its connections are closed", || {
            nodes.proxy.metric("connections") == 1 && descriptors(&nodes.proxy) <= open
        });
        // What it reads now, if anything, must not look like the whole answer.
        let mut rest = Vec::new();
        let end = client.stream.read_to_end(&mut rest);
        assert!(
            end.is_err() && !rest.ends_with(b"0\r\n\r\n"),
            "HTTP/{version}: {end:?}"
        );
    }
}

#[test]
fn client_that_reads_slowly_gets_every_byte() {
    const TOTAL: u64 = 12 * MIB;
    let taken = Arc::new(AtomicU64::new(0));
    let proxy = Proxy::start_with(&["--write-timeout-secs", "2"]);
    let nodes = Scripted::behind(proxy, endless(Arc::clone(&taken), TOTAL));
    let mut client = nodes.proxy.connect();
    client.send(post("/v1/completions", STREAM));
    // It lets everything fill up first.
    wait_until_still(&taken);
    let response = client.response();
    assert_eq!(response.end, End::Whole);
    let expected = format!("data: {}\n\n", "x".repeat(8_000));
    assert_eq!(response.body.len() % expected.len(), 0);
    assert!(response.body.len() as u64 >= TOTAL / 2);
    assert!(
        response
            .body
            .chunks(expected.len())
            .all(|event| event == expected.as_bytes())
    );
    let events = response.body.len() / expected.len();
    let framed = event(&"x".repeat(8_000)).len();
    assert_eq!((events * framed) as u64, taken.load(Ordering::Relaxed));
}

#[test]
fn descriptors_and_memory_return_after_a_load_of_connections() {
    // Nodes that close their connections, so that the proxy keeps none of them.
    let proxy = Proxy::start();
    let once = |_: &Seen, stream: &mut TcpStream| {
        let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
        stream.write_all(answer).ok();
        false
    };
    let _nodes = ["P", "D"].map(|role| Node::start(&proxy, role, once));
    wait_for_nodes(&proxy, "prefill", 1);
    wait_for_nodes(&proxy, "decode", 1);
    let round = || {
        let clients: Vec<Client> = (0..100).map(|_| proxy.connect()).collect();
        for (number, mut client) in clients.into_iter().enumerate() {
            let request = completion("load");
            match number % 5 {
                0 => assert_eq!(client.send(request).response().status, 200),
                // Gone before the answer.
                1 => drop(client.send(request)),
                // Gone in the middle of the request.
                2 => drop(client.send(&request[..request.len() / 2])),
                // Reset.
                3 => {
                    let now = Some(Duration::ZERO);
                    client.send(&request[..40]);
                    rustix::net::sockopt::set_socket_linger(&client.stream, now).unwrap();
                }
                // Never a byte.
                _ => {}
            }
        }
        eventually("they are all closed", || proxy.metric("connections") == 1);
    };
    let start = descriptors(&proxy);
    round();
    let after_one = resident_bytes(&proxy);
    for _ in 0..4 {
        round();
    }
    eventually("descriptors are back", || descriptors(&proxy) <= start);
    let grown = resident_bytes(&proxy).saturating_sub(after_one);
    assert!(grown < 8 * MIB, "{grown} bytes stayed");
}
