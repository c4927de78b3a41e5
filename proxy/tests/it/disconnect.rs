//! Clients that leave, and what the nodes are owed then.

use std::time::Duration;

use pd_bench::sim::{Action, Fault, completion_text};
use serde_json::json;

use crate::support::client::{Client, post};
use crate::support::fleet::Fleet;
use crate::support::node::{events, json};
use crate::support::proxy::Proxy;
use crate::support::script::{STREAM, Script, Scripted, in_turn, on_cue, prefills, says};
use crate::support::{PATIENCE, eventually};

const MODEL: &str = "Qwen/Qwen2.5-7B-Instruct";
const COMPLETIONS: &str = "/v1/completions";
/// How soon a decode node feels that its client has left.
const FELT_WITHIN: Duration = Duration::from_secs(2);
/// A FIN this long after its request is no half-close any more.
const PAST_HALF_CLOSE: Duration = Duration::from_millis(200);

/// Nodes as slow as life.
fn slow_fleet() -> Fleet {
    Fleet::behind(Proxy::start(), 1, 1, |mut options| {
        options.speed = 1.0;
        options
    })
}

/// A request for more tokens than any test waits for.
fn long(is_stream: bool) -> Vec<u8> {
    let body =
        json!({"model": MODEL, "prompt": "on and on", "max_tokens": 20_000, "stream": is_stream});
    post(COMPLETIONS, &body.to_string())
}

/// Asserts that D felt its client leave, and lets the fleet be checked.
#[track_caller]
fn assert_aborted(fleet: &Fleet) {
    let is_felt = fleet.decode[0].wait_until(FELT_WITHIN, |ledger| ledger.total().aborted == 1);
    assert!(is_felt, "{}", fleet.decode[0].ledger().report());
    assert_eq!(fleet.proxy.metric("kv_drains_total"), 0);
    fleet.assert_clean();
}

#[test]
fn client_that_closes_during_a_stream_ends_the_decode() {
    let fleet = slow_fleet();
    let mut client = fleet.proxy.connect();
    client.send(long(true)).wait_for(b"data: ");
    drop(client);
    assert_aborted(&fleet);
}

#[test]
fn client_that_resets_during_a_stream_ends_the_decode() {
    let fleet = slow_fleet();
    let mut client = fleet.proxy.connect();
    client.send(long(true)).wait_for(b"data: ");
    client.reset();
    assert_aborted(&fleet);
}

#[test]
fn client_that_leaves_before_the_answers_head_ends_the_decode() {
    let fleet = slow_fleet();
    let mut client = fleet.proxy.connect();
    client.send(long(false));
    let decodes = fleet.decode[0].wait_until(PATIENCE, |ledger| ledger.kv_loaded == 1);
    assert!(decodes, "{}", fleet.decode[0].ledger().report());
    client.reset();
    assert_aborted(&fleet);
}

/// P's answer on cue, and a request of a client at it.
fn during_prefill(
    last: Script,
    more: impl IntoIterator<Item = Script>,
    decode: Script,
) -> (Scripted, Client, std::sync::mpsc::Sender<()>) {
    let (cue, script) = on_cue(Vec::new(), last);
    let prefill = std::iter::once(script).chain(more);
    let nodes = Scripted::of(prefill, [decode]);
    let mut client = nodes.proxy.connect();
    client.send(post(COMPLETIONS, STREAM));
    (nodes, client, cue)
}

/// Asserts that the prefill finishes when its client has left as `leave` does, and that D is sent one
/// drain under its id.
#[track_caller]
fn assert_drained(leave: impl FnOnce(Client)) {
    let (nodes, client, cue) = during_prefill(prefills(), [], prefills());
    let prefill = nodes.prefill[0].next();
    leave(client);
    nodes.proxy.catch_up();
    cue.send(()).unwrap();
    let drain = nodes.decode[0].next();
    assert_eq!(drain.id(), prefill.id());
    assert_eq!(drain.json()["max_tokens"], 1);
    assert_eq!(drain.body, prefill.body);
    nodes.assert_idle();
    assert_eq!(nodes.proxy.metric("kv_drains_total"), 1);
    assert_eq!(nodes.proxy.metric("kv_stranded_total"), 0);
}

#[test]
fn client_that_resets_during_prefill_leaves_one_drain() {
    assert_drained(Client::reset);
}

#[test]
fn client_that_closes_during_prefill_leaves_one_drain() {
    assert_drained(|client| {
        // Not to wait for anything: a FIN any sooner would be a half-close.
        std::thread::sleep(PAST_HALF_CLOSE);
        drop(client);
    });
}

#[test]
fn prefill_that_fails_for_a_client_that_has_left_is_not_tried_again() {
    let (nodes, client, cue) = during_prefill(says(json(500, "{}")), [prefills()], prefills());
    nodes.prefill[0].next();
    client.reset();
    nodes.proxy.catch_up();
    cue.send(()).unwrap();
    nodes.assert_idle();
    assert_eq!(nodes.proxy.metric("kv_drains_total"), 0);
    assert_eq!(nodes.proxy.metric("retries_total"), 0);
}

#[test]
fn drain_that_fails_is_counted_and_not_repeated() {
    let (nodes, client, cue) = during_prefill(prefills(), [], says(json(500, "{}")));
    nodes.prefill[0].next();
    client.reset();
    nodes.proxy.catch_up();
    cue.send(()).unwrap();
    nodes.decode[0].next();
    eventually("it is counted", || {
        nodes.proxy.metric("kv_stranded_total") == 1
    });
    nodes.assert_idle();
}

#[test]
fn kv_of_a_client_that_left_during_prefill_is_released() {
    let fleet = Fleet::start();
    let stall = Action::StallBeforeHead { ms: Some(1_000) };
    fleet.prefill[0].inject(Fault::once(stall));
    let mut client = fleet.proxy.connect();
    client.send(long(true));
    fleet.prefill[0].wait_until(PATIENCE, |ledger| ledger.total().started == 1);
    client.reset();
    let is_drained = fleet.decode[0].wait_until(PATIENCE, |ledger| ledger.total().finished == 1);
    assert!(is_drained, "{}", fleet.decode[0].ledger().report());
    assert_eq!(fleet.prefill[0].ledger().total().finished, 1);
    assert_eq!(fleet.decode[0].ledger().tokens, 1);
    fleet.assert_clean();
}

#[test]
fn kv_of_a_request_that_decode_refuses_is_released() {
    let fleet = Fleet::start();
    let body = json!({"model": MODEL, "prompt": "too much", "max_tokens": 40_000});
    let response = fleet.proxy.post(COMPLETIONS, &body.to_string());
    assert_eq!(response.status, 400, "{}", response.text());
    let message = response.json()["error"]["message"].to_string();
    assert!(message.contains("40000"), "{message}");
    eventually("D gets the drain", || {
        let total = fleet.decode[0].ledger().total();
        (total.refused, total.finished) == (1, 1)
    });
    assert_eq!(fleet.prefill[0].ledger().total().started, 1);
    assert_eq!(fleet.proxy.metric("kv_drains_total"), 1);
    fleet.assert_clean();
}

#[test]
fn refusal_of_decode_is_followed_by_one_drain_under_its_id() {
    let nodes = Scripted::of(
        [prefills()],
        [in_turn([says(json(400, "{}")), says(events(&["x"]))])],
    );
    assert_eq!(nodes.proxy.post(COMPLETIONS, STREAM).status, 400);
    let prefill = nodes.prefill[0].next();
    let (decode, drain) = (nodes.decode[0].next(), nodes.decode[0].next());
    assert_eq!(decode.text(), STREAM);
    assert_eq!(drain.body, prefill.body);
    assert_eq!([decode.id(), drain.id()], [prefill.id(), prefill.id()]);
    nodes.assert_idle();
}

#[test]
fn half_closing_client_gets_its_full_stream() {
    let fleet = slow_fleet();
    let body = json!({"model": MODEL, "prompt": "bye", "max_tokens": 20, "stream": true});
    let mut client = fleet.proxy.connect();
    client
        .send(post(COMPLETIONS, &body.to_string()))
        .half_close();
    let response = client.response();
    let expected = completion_text(MODEL, "bye", 0, 20);
    assert_eq!(response.generated(), expected);
    assert_eq!(response.events().last().map(String::as_str), Some("[DONE]"));
    client.assert_closed();
    fleet.assert_clean();
}

#[test]
fn half_closing_client_gets_its_full_answer() {
    let fleet = slow_fleet();
    let body = json!({"model": MODEL, "prompt": "bye", "max_tokens": 20});
    let mut client = fleet.proxy.connect();
    client
        .send(post(COMPLETIONS, &body.to_string()))
        .half_close();
    let expected = completion_text(MODEL, "bye", 0, 20);
    assert_eq!(client.response().generated(), expected);
    client.assert_closed();
    fleet.assert_clean();
}
