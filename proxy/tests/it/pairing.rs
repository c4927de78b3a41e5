//! Which nodes a request goes to, and how long it counts there.

use crate::support::client::{Client, End, post};
use crate::support::eventually;
use crate::support::node::{Node, event, events, json, stream_head};
use crate::support::script::{STREAM, Script, Scripted, on_cue, prefills, says, says_and_closes};

const COMPLETIONS: &str = "/v1/completions";

/// The number of the node that got a request.
#[track_caller]
fn asked(nodes: &[Node]) -> usize {
    let mut numbers = nodes.iter().enumerate();
    let at = numbers.find(|(_, node)| node.got_one());
    at.expect("a node was asked").0
}

#[test]
fn nodes_take_turns_in_the_order_of_their_registration() {
    let answers = || (0..3).map(|_| says(events(&["1"])));
    let nodes = Scripted::of(answers().take(2), answers());
    let mut client = nodes.proxy.connect();
    for turn in 0..12 {
        client.send(post(COMPLETIONS, STREAM));
        assert_eq!(client.response().status, 200);
        assert_eq!(asked(&nodes.prefill), turn % 2, "turn {turn}");
        assert_eq!(asked(&nodes.decode), turn % 3, "turn {turn}");
    }
    nodes.assert_idle();
}

#[test]
fn all_shards_share_one_turn() {
    let answers = || (0..3).map(|_| says(events(&["1"])));
    let nodes = Scripted::of(answers(), answers().take(2));
    let of_shard = |shard| {
        let sample = format!("shard_connections_total{{shard=\"{shard}\"}}");
        nodes.proxy.metric(&sample)
    };
    // Connections of both shards, to be used in turn.
    let mut clients: Vec<Client> = Vec::new();
    let before = [of_shard(0), of_shard(1)];
    eventually("both shards have connections", || {
        clients.push(nodes.proxy.connect());
        clients.len() >= 8 && of_shard(0) > before[0] && of_shard(1) > before[1]
    });
    let mut turn = 0;
    for _ in 0..2 {
        for client in &mut clients {
            client.send(post(COMPLETIONS, STREAM));
            assert_eq!(client.response().status, 200);
            assert_eq!(asked(&nodes.prefill), turn % 3, "turn {turn}");
            assert_eq!(asked(&nodes.decode), turn % 2, "turn {turn}");
            turn += 1;
        }
    }
    nodes.assert_idle();
}

#[test]
fn refused_request_takes_no_turn() {
    let answers = || (0..2).map(|_| says(events(&["1"])));
    let nodes = Scripted::of(answers(), answers());
    for turn in 0..4 {
        nodes.proxy.post(COMPLETIONS, "{}]").openai_error(400);
        nodes.proxy.get("/v1/models");
        asked(&nodes.decode);
        nodes.proxy.post(COMPLETIONS, STREAM);
        assert_eq!(asked(&nodes.prefill), turn % 2, "turn {turn}");
        assert_eq!(asked(&nodes.decode), turn % 2, "turn {turn}");
    }
}

/// Requests at the one prefill node and at the one decode node.
fn in_flight(nodes: &Scripted) -> (u64, u64) {
    (
        nodes.in_flight("prefill", &nodes.prefill[0]),
        nodes.in_flight("decode", &nodes.decode[0]),
    )
}

/// A stream that is open, of which the client has seen an event. The sender makes D do as `last` says.
fn open_stream(last: Script) -> (Scripted, Client, std::sync::mpsc::Sender<()>) {
    let first = [stream_head(), &event("1")].concat();
    let (cue, script) = on_cue(vec![first], last);
    let nodes = Scripted::decoding(script);
    let mut client = nodes.proxy.connect();
    client.send(post(COMPLETIONS, STREAM));
    cue.send(()).unwrap();
    client.wait_for(b"data: 1\n\n");
    (nodes, client, cue)
}

#[test]
fn request_counts_at_both_nodes_while_prefill_works() {
    let (cue, script) = on_cue(Vec::new(), prefills());
    let nodes = Scripted::of([script], [says(json(200, "{}"))]);
    let mut client = nodes.proxy.connect();
    client.send(post(COMPLETIONS, STREAM));
    nodes.prefill[0].next();
    assert_eq!(in_flight(&nodes), (1, 1));
    cue.send(()).unwrap();
    client.response();
    nodes.decode[0].next();
    nodes.assert_idle();
}

#[test]
fn request_counts_at_decode_until_its_last_byte() {
    let (nodes, mut client, cue) = open_stream(says("0\r\n\r\n"));
    nodes.prefill[0].next();
    nodes.decode[0].next();
    assert_eq!(in_flight(&nodes), (0, 1));
    cue.send(()).unwrap();
    assert_eq!(client.response().end, End::Whole);
    nodes.assert_idle();
}

#[test]
fn request_that_was_aborted_counts_no_longer() {
    let (nodes, client, _cue) = open_stream(says("0\r\n\r\n"));
    assert_eq!(in_flight(&nodes).1, 1);
    client.reset();
    eventually("it counts no longer", || in_flight(&nodes) == (0, 0));
}

#[test]
fn request_that_was_cut_counts_no_longer() {
    let (nodes, mut client, cue) = open_stream(says_and_closes(""));
    assert_eq!(in_flight(&nodes).1, 1);
    cue.send(()).unwrap();
    assert_eq!(client.response().end, End::Cut);
    eventually("it counts no longer", || in_flight(&nodes) == (0, 0));
}

#[test]
fn request_that_failed_counts_no_longer() {
    for (prefill, decode) in [
        (says(json(500, "{}")), prefills()),
        (says(json(400, "{}")), prefills()),
        (says_and_closes(""), prefills()),
        (prefills(), says_and_closes("")),
        (prefills(), says(json(503, "{}"))),
        (prefills(), says("nonsense\r\n\r\n")),
    ] {
        let nodes = Scripted::of([prefill], [decode]);
        assert_ne!(nodes.proxy.post(COMPLETIONS, STREAM).status, 200);
        eventually("it counts no longer", || in_flight(&nodes) == (0, 0));
    }
}
