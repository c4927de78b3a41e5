//! Connections to nodes: used again when that is safe, and never otherwise.

use std::io::Write;
use std::net::Shutdown;
use std::sync::mpsc::channel;

use pd_bench::sim::{Action, Fault};

use crate::support::client::{Client, post};
use crate::support::eventually;
use crate::support::fleet::Fleet;
use crate::support::node::{Node, Reads, Seen, event, events, json, stream_head};
use crate::support::proxy::Proxy;
use crate::support::script::{
    STREAM, Script, Scripted, in_turn, prefills, says, says_and_closes, says_and_resets,
};

const COMPLETIONS: &str = "/v1/completions";

/// One more request of `client`, whose answer is `status`. One client's connection is served by one
/// shard, and a shard has a pool of its own.
#[track_caller]
fn ask(client: &mut Client, status: u16) {
    client.send(post(COMPLETIONS, STREAM));
    let response = client.response();
    assert_eq!(response.status, status, "{}", response.text());
}

fn ok() -> Script {
    says(json(200, "{}"))
}

#[test]
fn connections_to_both_nodes_are_used_again() {
    let nodes = Scripted::decoding(says(events(&["1"])));
    let mut client = nodes.proxy.connect();
    for _ in 0..5 {
        ask(&mut client, 200);
    }
    for node in [&nodes.prefill[0], &nodes.decode[0]] {
        let first = node.next().connection;
        for _ in 1..5 {
            assert_eq!(node.next().connection, first);
        }
    }
    assert_eq!(nodes.proxy.metric("upstream_connects_total"), 2);
    assert_eq!(nodes.proxy.metric("upstream_reused_total"), 8);
    nodes.assert_idle();
}

#[test]
fn connection_that_a_node_closed_while_it_was_idle_is_not_used() {
    let (closing, closed) = channel();
    let (close, told) = channel::<()>();
    let first: Script = Box::new(move |_, stream| {
        stream.write_all(&json(200, "{}")).unwrap();
        told.recv().unwrap();
        stream.shutdown(Shutdown::Both).unwrap();
        closing.send(()).unwrap();
        false
    });
    let nodes = Scripted::decoding(in_turn([first, ok()]));
    let mut client = nodes.proxy.connect();
    ask(&mut client, 200);
    close.send(()).unwrap();
    closed.recv().unwrap();
    ask(&mut client, 200);
    let seen = [nodes.decode[0].next(), nodes.decode[0].next()];
    assert_ne!(seen[0].connection, seen[1].connection);
    // Nothing was sent on it to be sent again.
    assert_eq!(nodes.proxy.metric("upstream_resent_total"), 0);
    nodes.prefill[0].next();
    nodes.prefill[0].next();
    nodes.assert_idle();
}

/// Asserts that what a node got on a connection that ended at the moment of reuse was sent to it once
/// more, on another.
#[track_caller]
fn assert_resent(node: &Node) {
    let [first, lost, again] = [node.next(), node.next(), node.next()];
    assert_eq!(first.connection, lost.connection);
    assert_ne!(again.connection, lost.connection);
    assert_eq!((again.head, again.body), (lost.head, lost.body));
}

#[test]
fn decode_is_sent_again_when_its_connection_ends_at_the_moment_of_reuse() {
    for lost in [says_and_closes(""), says_and_resets("")] {
        let nodes = Scripted::decoding(in_turn([ok(), lost, ok()]));
        let mut client = nodes.proxy.connect();
        ask(&mut client, 200);
        ask(&mut client, 200);
        assert_resent(&nodes.decode[0]);
        // There was one prefill for it: the request is the same one.
        nodes.prefill[0].next();
        nodes.prefill[0].next();
        assert_eq!(nodes.proxy.metric("upstream_resent_total"), 1);
        nodes.assert_idle();
    }
}

#[test]
fn prefill_is_sent_again_when_its_connection_ends_at_the_moment_of_reuse() {
    let script = in_turn([prefills(), says_and_closes(""), prefills()]);
    let nodes = Scripted::of([script], [ok()]);
    let mut client = nodes.proxy.connect();
    ask(&mut client, 200);
    ask(&mut client, 200);
    assert_resent(&nodes.prefill[0]);
    nodes.decode[0].next();
    nodes.decode[0].next();
    nodes.assert_idle();
}

#[test]
fn nothing_is_sent_a_third_time() {
    let script = in_turn([ok(), says_and_closes(""), says_and_closes("")]);
    let nodes = Scripted::decoding(script);
    let mut client = nodes.proxy.connect();
    ask(&mut client, 200);
    ask(&mut client, 502);
    assert_resent(&nodes.decode[0]);
    nodes.prefill[0].next();
    nodes.prefill[0].next();
    nodes.assert_idle();
}

#[test]
fn nothing_is_sent_again_on_a_first_connection() {
    let nodes = Scripted::decoding(says_and_closes(""));
    ask(&mut nodes.proxy.connect(), 502);
    nodes.prefill[0].next();
    nodes.decode[0].next();
    assert_eq!(nodes.proxy.metric("upstream_resent_total"), 0);
    nodes.assert_idle();
}

#[test]
fn nothing_is_sent_again_after_a_byte_of_an_answer() {
    let nodes = Scripted::decoding(in_turn([ok(), says_and_closes("H")]));
    let mut client = nodes.proxy.connect();
    ask(&mut client, 200);
    ask(&mut client, 502);
    nodes.decode[0].next();
    nodes.decode[0].next();
    nodes.prefill[0].next();
    nodes.prefill[0].next();
    assert_eq!(nodes.proxy.metric("upstream_resent_total"), 0);
    nodes.assert_idle();
}

/// Asserts that a connection is not used again after D has answered with `first`, and stays open.
#[track_caller]
fn assert_not_reused(first: impl Into<Vec<u8>>, status: u16) {
    let nodes = Scripted::decoding(in_turn([says(first), ok()]));
    let mut client = nodes.proxy.connect();
    client.send(post(COMPLETIONS, STREAM));
    assert_eq!(client.response().status, status);
    ask(&mut client, 200);
    let seen = [nodes.decode[0].next(), nodes.decode[0].next()];
    assert_ne!(seen[0].connection, seen[1].connection);
    assert_eq!(nodes.proxy.metric("upstream_resent_total"), 0);
    nodes.prefill[0].next();
    nodes.prefill[0].next();
    nodes.assert_idle();
}

#[test]
fn connection_is_not_used_after_connection_close() {
    assert_not_reused(
        "HTTP/1.1 200 OK\r\nConnection: close\r\ncontent-length: 2\r\n\r\n{}",
        200,
    );
}

#[test]
fn connection_of_http10_is_not_used_again() {
    assert_not_reused("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}", 200);
}

#[test]
fn connection_is_not_used_after_bytes_behind_an_answer() {
    assert_not_reused(
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
        200,
    );
    let chunked = [stream_head(), &event("1"), b"0\r\n\r\n", b"HTTP/1.1 "];
    assert_not_reused(chunked.concat(), 200);
}

#[test]
fn connection_is_not_used_after_an_answer_that_makes_no_sense() {
    assert_not_reused("HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n{}", 502);
    assert_not_reused([stream_head(), b"zz\r\n"].concat(), 502);
}

#[test]
fn connection_is_not_used_after_a_stray_length() {
    assert_not_reused("HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n", 204);
}

#[test]
fn connection_is_not_used_after_a_close_delimited_answer() {
    let first = says_and_closes("HTTP/1.1 200 OK\r\n\r\n{}");
    let nodes = Scripted::decoding(in_turn([first, ok()]));
    let mut client = nodes.proxy.connect();
    ask(&mut client, 200);
    ask(&mut client, 200);
    let seen = [nodes.decode[0].next(), nodes.decode[0].next()];
    assert_ne!(seen[0].connection, seen[1].connection);
}

#[test]
fn bytes_on_an_idle_connection_end_it() {
    let (sent, is_sent) = channel();
    let (send, told) = channel::<()>();
    let first: Script = Box::new(move |_, stream| {
        stream.write_all(&json(200, "{}")).unwrap();
        told.recv().unwrap();
        stream.write_all(&json(200, "\"evil\"")).unwrap();
        sent.send(()).unwrap();
        true
    });
    let nodes = Scripted::decoding(in_turn([first, ok()]));
    let mut client = nodes.proxy.connect();
    ask(&mut client, 200);
    send.send(()).unwrap();
    is_sent.recv().unwrap();
    client.send(post(COMPLETIONS, STREAM));
    assert_eq!(client.response().text(), "{}");
    let seen = [nodes.decode[0].next(), nodes.decode[0].next()];
    assert_ne!(seen[0].connection, seen[1].connection);
}

#[test]
fn connection_is_not_used_after_an_answer_that_came_before_the_request_was_sent() {
    let proxy = Proxy::start();
    let refuses = |seen: &Seen, stream: &mut std::net::TcpStream| {
        assert!(seen.head.starts_with("POST "), "{}", seen.head);
        stream.write_all(&json(413, "{\"too\":\"much\"}")).is_ok()
    };
    let prefill = Node::start_reading(Reads::Head, &proxy, "P", refuses);
    let decode = Node::start(&proxy, "D", prefills());
    eventually("the nodes are ready", || proxy.get("/health").status == 200);
    // More than the sockets between them hold.
    let prompt = "x".repeat(32 << 20);
    let body = format!("{{\"prompt\":\"{prompt}\"}}");
    let mut client = proxy.connect();
    for _ in 0..2 {
        client.send(post(COMPLETIONS, &body));
        let response = client.response();
        assert_eq!(
            (response.status, response.text().as_str()),
            (413, "{\"too\":\"much\"}")
        );
    }
    let seen = [prefill.next(), prefill.next()];
    assert_ne!(seen[0].connection, seen[1].connection);
    decode.assert_idle();
}

#[test]
fn connection_of_a_prefill_that_failed_is_not_used_again() {
    let script = in_turn([says(json(500, "{}")), prefills()]);
    let nodes = Scripted::of([script], [ok()]);
    let mut client = nodes.proxy.connect();
    ask(&mut client, 502);
    ask(&mut client, 200);
    let seen = [nodes.prefill[0].next(), nodes.prefill[0].next()];
    assert_ne!(seen[0].connection, seen[1].connection);
    nodes.decode[0].next();
    nodes.assert_idle();
}

#[test]
fn connection_of_a_client_that_left_is_closed() {
    let (felt, is_felt) = channel();
    let script: Script = Box::new(move |_, stream| {
        use std::io::Read;
        stream.write_all(stream_head()).unwrap();
        stream.write_all(&event("1")).unwrap();
        // The end of the stream, or a reset: the proxy has let go of it.
        felt.send(stream.read(&mut [0; 1]).unwrap_or(0)).unwrap();
        false
    });
    let nodes = Scripted::decoding(script);
    let mut client = nodes.proxy.connect();
    client.send(post(COMPLETIONS, STREAM)).wait_for(b"data: 1");
    client.reset();
    assert_eq!(is_felt.recv_timeout(crate::support::PATIENCE).unwrap(), 0);
}

#[test]
fn nodes_that_close_idle_connections_lose_no_request() {
    let fleet = Fleet::start();
    for sim in fleet.prefill.iter().chain(&fleet.decode) {
        sim.inject(Fault::always(Action::CloseIdle { ms: 1 }));
    }
    let model = &fleet.decode[0].options().model;
    let body = format!("{{\"model\":\"{model}\",\"prompt\":\"x\",\"max_tokens\":1}}");
    let mut client = fleet.proxy.connect();
    for _ in 0..200 {
        client.send(post(COMPLETIONS, &body));
        let response = client.response();
        assert_eq!(response.status, 200, "{}", response.text());
    }
    for sim in fleet.prefill.iter().chain(&fleet.decode) {
        assert_eq!(sim.ledger().total().finished, 200);
        assert_eq!(sim.ledger().total().started, 200);
    }
    fleet.assert_clean();
}
