//! KV hand-over and the rules of the connector, broken one by one.

use crate::client::{Client, End, Reply, get, metric, post, post_as};
use pd_bench::sim::{Event, Ledger, Options, Role, Rule, Sim, State};
use serde_json::{Value, json};
use std::time::Duration;

const COMPLETIONS: &str = "/v1/completions";
const CHAT: &str = "/v1/chat/completions";
const SOON: Duration = Duration::from_secs(10);

/// A prefill and a decode node.
struct Pair {
    prefill: Sim,
    decode: Sim,
}

impl Pair {
    fn start() -> Self {
        Self {
            prefill: Sim::start(Options::of(Role::Prefill)).unwrap(),
            decode: Sim::start(Options::of(Role::Decode)).unwrap(),
        }
    }

    /// A request id that names both; `number` makes it unique.
    fn id(&self, number: u128) -> String {
        format!(
            "___prefill_addr_{}___decode_addr_{}_{number:032x}",
            self.prefill.zmq_address(),
            self.decode.zmq_address()
        )
    }

    fn prefill(&self, path: &str, id: &str, body: &Value) -> Reply {
        let mut body = body.clone();
        body["max_tokens"] = json!(1);
        if body.get("max_completion_tokens").is_some() {
            body["max_completion_tokens"] = json!(1);
        }
        post_as(&self.prefill, path, id, &body)
    }

    /// Both legs, as a proxy would do it.
    fn relay(&self, path: &str, number: u128, body: &Value) -> Reply {
        let id = self.id(number);
        assert_eq!(self.prefill(path, &id, body).status, 200);
        post_as(&self.decode, path, &id, body)
    }
}

fn chat(text: &str) -> Value {
    json!([{"role": "user", "content": text}])
}

#[test]
fn two_legs_say_what_one_node_says() {
    let pair = Pair::start();
    let both = Sim::start(Options::of(Role::Both)).unwrap();
    let requests = [
        (
            COMPLETIONS,
            json!({"prompt": "once upon a time", "max_tokens": 40}),
        ),
        (
            COMPLETIONS,
            json!({"prompt": ["a b c", "d e"], "n": 2, "max_tokens": 9}),
        ),
        (
            COMPLETIONS,
            json!({"prompt": [5, 6, 7], "max_tokens": 12, "stream": true}),
        ),
        (
            COMPLETIONS,
            json!({"prompt": "x y", "stop": ["in", "to"], "max_tokens": 200}),
        ),
        (
            CHAT,
            json!({"messages": chat("hello there"), "max_completion_tokens": 30}),
        ),
        (
            CHAT,
            json!({"messages": chat("hello you"), "n": 3, "stream": true, "max_tokens": 8}),
        ),
        (
            CHAT,
            json!({"messages": chat("no limit at all"), "stream": true}),
        ),
    ];
    for (number, (path, body)) in requests.iter().enumerate() {
        let apart = pair.relay(path, number as u128, body);
        let alone = post(&both, path, body);

        assert_eq!((apart.status, apart.end), (200, End::Complete));
        for index in 0..4 {
            assert_eq!(apart.choice(index), alone.choice(index), "{body}");
        }
        assert!(!apart.choice(0).is_empty());
    }

    let (p, d) = (pair.prefill.stop(), pair.decode.stop());
    assert!(p.is_clean() && d.is_clean(), "{p:?} {d:?}");
    // One hand-over for each choice of each prompt.
    assert_eq!((p.kv_pushed, d.kv_loaded, d.kv_dropped), (12, 12, 12));
}

#[test]
fn history_of_an_id_shows_the_hand_over() {
    let pair = Pair::start();
    pair.relay(COMPLETIONS, 1, &json!({"prompt": "a", "max_tokens": 2}));

    let id = format!("cmpl-{}-0", pair.id(1));
    assert_eq!(
        pair.prefill.ledger().history(&id),
        [
            Event::Queued,
            Event::Scheduled,
            Event::Pushed,
            Event::Finished
        ]
    );
    assert_eq!(
        pair.decode.ledger().history(&id),
        [
            Event::Received,
            Event::Queued,
            Event::Loaded,
            Event::Scheduled,
            Event::Finished,
            Event::Dropped
        ]
    );
}

#[test]
fn decode_without_kv_freezes_the_node_until_it_comes() {
    let pair = Pair::start();
    let body = json!({"prompt": "hello", "max_tokens": 3});
    let mut early = Client::to(pair.decode.http_addr());
    let id = pair.id(1);
    early.send(
        "POST",
        COMPLETIONS,
        &format!("x-request-id: {id}\r\n"),
        &body.to_string(),
    );
    assert!(
        pair.decode
            .wait_until(SOON, |ledger| ledger.state == State::Frozen)
    );

    // A request in perfect order hangs as well, while health and metrics look well.
    let other = pair.id(2);
    assert_eq!(pair.prefill(COMPLETIONS, &other, &body).status, 200);
    let mut late = Client::to(pair.decode.http_addr()).patience(Duration::from_millis(200));
    late.send(
        "POST",
        COMPLETIONS,
        &format!("x-request-id: {other}\r\n"),
        &body.to_string(),
    );
    assert_eq!(late.reply().end, End::Silent);
    assert_eq!(get(&pair.decode, "/health").status, 200);
    assert!(metric(&pair.decode, "vllm:num_requests_running") == 0.0);
    assert_eq!(pair.decode.ledger().count(Rule::DecodeWithoutKv), 1);

    // The late KV wakes the worker.
    assert_eq!(pair.prefill(COMPLETIONS, &id, &body).status, 200);
    assert_eq!(early.reply().status, 200);
    assert_eq!(late.patience(SOON).reply().status, 200);
    assert_eq!(pair.decode.state(), State::Running);
}

#[test]
fn frozen_node_still_sends_the_head_of_a_stream() {
    let pair = Pair::start();
    let mut client = Client::to(pair.decode.http_addr()).patience(Duration::from_millis(200));
    client.send(
        "POST",
        COMPLETIONS,
        &format!("x-request-id: {}\r\n", pair.id(1)),
        r#"{"prompt": "a", "stream": true}"#,
    );

    assert_eq!(client.head().unwrap().0, 200);
    assert_eq!(client.chunk().unwrap_err(), End::Silent);
}

#[test]
fn second_decode_of_one_id_freezes_the_node() {
    let pair = Pair::start();
    let body = json!({"prompt": "hello", "max_tokens": 3});
    assert_eq!(pair.relay(COMPLETIONS, 1, &body).status, 200);

    let mut again = Client::to(pair.decode.http_addr());
    again.send(
        "POST",
        COMPLETIONS,
        &format!("x-request-id: {}\r\n", pair.id(1)),
        &body.to_string(),
    );

    assert!(
        pair.decode
            .wait_until(SOON, |ledger| ledger.state == State::Frozen)
    );
}

#[test]
fn second_token_kills_the_prefill_node() {
    let mut pair = Pair::start();
    let body = json!({"prompt": "hello", "max_tokens": 2});

    let reply = post_as(&pair.prefill, COMPLETIONS, &pair.id(1), &body);

    assert_eq!(reply.status, 500);
    assert_eq!(pair.prefill.wait(), State::Dead);
    assert_eq!(pair.prefill.ledger().count(Rule::SecondTokenOnPrefill), 1);
    // The first token was computed and its KV is stranded.
    assert_eq!(pair.decode.ledger().leaks().len(), 1);
}

#[test]
fn max_completion_tokens_kills_the_prefill_node_too() {
    let mut pair = Pair::start();
    let body = json!({"messages": chat("hi"), "max_tokens": 1, "max_completion_tokens": 4,
                      "stream": true});

    let reply = post_as(&pair.prefill, CHAT, &pair.id(1), &body);

    assert_eq!(reply.status, 200);
    let last = reply.events().pop().unwrap();
    assert_eq!(last["error"]["code"], 500);
    assert_eq!(pair.prefill.wait(), State::Dead);
}

#[test]
fn id_without_markers_kills_either_node() {
    for role in [Role::Prefill, Role::Decode] {
        let mut sim = Sim::start(Options::of(role)).unwrap();

        let reply = post(&sim, COMPLETIONS, &json!({"prompt": "a", "max_tokens": 1}));

        assert_eq!(reply.status, 500);
        assert_eq!(sim.wait(), State::Dead);
        assert_eq!(sim.ledger().count(Rule::IdWithoutMarkers), 1);
        assert!(std::net::TcpStream::connect(sim.http_addr()).is_err());
    }
}

#[test]
fn id_naming_a_dead_decode_freezes_prefill_for_all() {
    let mut pair = Pair::start();
    let body = json!({"prompt": "hello", "max_tokens": 1});
    assert_eq!(pair.prefill(COMPLETIONS, &pair.id(1), &body).status, 200);
    let live = Sim::start(Options::of(Role::Decode)).unwrap();
    let dead_id = pair.id(2);
    let live_id = dead_id.replace(&pair.decode.zmq_address(), &live.zmq_address());
    pair.decode.kill();

    let mut first = Client::to(pair.prefill.http_addr());
    let header = format!("x-request-id: {dead_id}\r\n");
    first.send("POST", COMPLETIONS, &header, &body.to_string());
    assert!(
        pair.prefill
            .wait_until(SOON, |ledger| ledger.state == State::Frozen)
    );
    let mut second = Client::to(pair.prefill.http_addr()).patience(Duration::from_millis(200));
    let header = format!("x-request-id: {live_id}\r\n");
    second.send("POST", COMPLETIONS, &header, &body.to_string());

    assert_eq!(second.reply().end, End::Silent);
    assert_eq!(pair.prefill.ledger().count(Rule::DecodeUnreachable), 1);
    assert_eq!(get(&pair.prefill, "/health").status, 200);
}

#[test]
fn prefill_without_decode_leaks() {
    let pair = Pair::start();
    let body = json!({"prompt": "hello", "max_tokens": 3});

    assert_eq!(pair.prefill(COMPLETIONS, &pair.id(1), &body).status, 200);

    let engine_id = format!("cmpl-{}-0", pair.id(1));
    let ledger = pair.decode.stop();
    assert_eq!(ledger.leaks(), [engine_id.as_str()]);
    assert!(ledger.violations.is_empty() && !ledger.is_clean());
}

#[test]
fn decode_that_refuses_keeps_the_kv() {
    let options = Options {
        max_model_len: 50,
        ..Options::of(Role::Decode)
    };
    let mut pair = Pair::start();
    pair.decode = Sim::start(options).unwrap();
    let body = json!({"prompt": "a ".repeat(40), "max_tokens": 30});

    let reply = pair.relay(COMPLETIONS, 1, &body);

    assert_eq!(reply.status, 400);
    assert_eq!(reply.json()["error"]["param"], "input_tokens");
    assert_eq!(pair.decode.ledger().leaks().len(), 1);
}

#[test]
fn abort_frees_the_kv() {
    let options = Options {
        speed: 1.0,
        ..Options::of(Role::Decode)
    };
    let mut pair = Pair::start();
    pair.decode = Sim::start(options).unwrap();
    let body = json!({"prompt": "hello", "max_tokens": 5000, "stream": true});
    let id = pair.id(1);
    assert_eq!(pair.prefill(COMPLETIONS, &id, &body).status, 200);

    let mut client = Client::to(pair.decode.http_addr());
    let header = format!("x-request-id: {id}\r\n");
    client.send("POST", COMPLETIONS, &header, &body.to_string());
    client.head().unwrap();
    client.chunk().unwrap();
    drop(client);

    let freed = |ledger: &Ledger| ledger.kv_held.is_empty() && ledger.total().aborted == 1;
    assert!(pair.decode.wait_until(SOON, freed));
    let ledger = pair.decode.ledger();
    assert_eq!(ledger.kv_dropped, 1);
    let history = ledger.history(&format!("cmpl-{id}-0"));
    assert!(history.contains(&Event::Aborted) && !history.contains(&Event::Finished));
    assert!(ledger.is_clean());
}

#[test]
fn different_prompts_on_the_legs_are_noticed_and_change_the_text() {
    let pair = Pair::start();
    let id = pair.id(1);
    pair.prefill(COMPLETIONS, &id, &json!({"prompt": "hello"}));

    let reply = post_as(
        &pair.decode,
        COMPLETIONS,
        &id,
        &json!({"prompt": "hullo", "max_tokens": 20}),
    );

    let model = &pair.decode.options().model;
    let expected = pd_bench::sim::completion_text(model, "hello", 0, 20);
    assert_eq!(reply.choice(0), expected);
    assert_eq!(pair.decode.ledger().count(Rule::PromptMismatch), 1);
}

#[test]
fn kv_of_a_longer_prompt_kills_the_decode_node() {
    let mut pair = Pair::start();
    let id = pair.id(1);
    let body = |words| json!({"prompt": "a ".repeat(words), "max_tokens": 1});
    assert_eq!(pair.prefill(COMPLETIONS, &id, &body(100)).status, 200);

    let reply = post_as(&pair.decode, COMPLETIONS, &id, &body(20));

    assert_eq!(reply.status, 500);
    assert_eq!(pair.decode.wait(), State::Dead);
    assert_eq!(pair.decode.ledger().count(Rule::PromptMismatch), 1);
}

#[test]
fn beam_search_never_meets_its_kv() {
    let pair = Pair::start();
    let id = pair.id(1);
    let body = json!({"prompt": "hello", "max_tokens": 1, "use_beam_search": true});
    assert_eq!(pair.prefill(COMPLETIONS, &id, &body).status, 200);

    let mut client = Client::to(pair.decode.http_addr());
    let header = format!("x-request-id: {id}\r\n");
    client.send("POST", COMPLETIONS, &header, &body.to_string());

    assert!(
        pair.decode
            .wait_until(SOON, |ledger| ledger.state == State::Frozen)
    );
    assert_eq!(pair.decode.ledger().leaks().len(), 1);
}

#[test]
fn prompt_logprobs_kill_the_decode_node() {
    let mut pair = Pair::start();
    let body = json!({"prompt": "hello", "max_tokens": 3, "echo": true, "logprobs": 1});

    let reply = pair.relay(COMPLETIONS, 1, &body);

    assert_eq!(reply.status, 500);
    assert_eq!(pair.decode.wait(), State::Dead);
}

#[test]
fn id_that_runs_already_kills_the_node() {
    let options = Options {
        speed: 1.0,
        ..Options::of(Role::Decode)
    };
    let mut pair = Pair::start();
    pair.decode = Sim::start(options).unwrap();
    let body = json!({"prompt": "hello", "max_tokens": 5000, "stream": true});
    let id = pair.id(1);
    assert_eq!(pair.prefill(COMPLETIONS, &id, &body).status, 200);
    let mut client = Client::to(pair.decode.http_addr());
    let header = format!("x-request-id: {id}\r\n");
    client.send("POST", COMPLETIONS, &header, &body.to_string());
    client.head().unwrap();
    client.chunk().unwrap();

    let second = post_as(&pair.decode, COMPLETIONS, &id, &body);

    assert_eq!((second.status, second.end), (0, End::Cut));
    assert_eq!(pair.decode.wait(), State::Dead);
    assert_eq!(pair.decode.ledger().count(Rule::DuplicateId), 1);
}

#[test]
fn overflow_of_the_buffer_kills_the_listener() {
    let options = Options {
        kv_buffer_bytes: 300_000,
        ..Options::of(Role::Decode)
    };
    let mut pair = Pair::start();
    pair.decode = Sim::start(options).unwrap();
    let body = json!({"prompt": "a b c", "max_tokens": 1});
    assert_eq!(pair.prefill(COMPLETIONS, &pair.id(1), &body).status, 200);

    let mut client = Client::to(pair.prefill.http_addr()).patience(Duration::from_millis(200));
    let header = format!("x-request-id: {}\r\n", pair.id(2));
    client.send("POST", COMPLETIONS, &header, &body.to_string());

    assert!(
        pair.decode
            .wait_until(SOON, |ledger| ledger.count(Rule::KvBufferFull) == 1)
    );
    assert_eq!(client.reply().end, End::Silent);
}

#[test]
fn decode_counts_external_prefix_hits() {
    let pair = Pair::start();
    let body = json!({"prompt": "a b c d e f g h", "max_tokens": 4});
    pair.relay(COMPLETIONS, 1, &body);

    let count = |name: &str| metric(&pair.decode, name);
    assert!(count("vllm:external_prefix_cache_hits_total") == 7.0);
    assert!(count("vllm:external_prefix_cache_queries_total") == 8.0);
    assert!(count("vllm:generation_tokens_total") == 4.0);
}

#[test]
fn client_leaving_during_the_prefill_step_strands_the_kv() {
    let mut pair = Pair::start();
    pair.prefill = Sim::start(Options {
        speed: 1.0,
        ..Options::of(Role::Prefill)
    })
    .unwrap();
    let id = pair.id(1);
    let engine_id = format!("cmpl-{id}-0");
    let body = json!({"prompt": "word ".repeat(2000), "max_tokens": 1});
    let mut client = Client::to(pair.prefill.http_addr());
    let header = format!("x-request-id: {id}\r\n");
    client.send("POST", COMPLETIONS, &header, &body.to_string());
    let scheduled = |ledger: &Ledger| ledger.history(&engine_id).contains(&Event::Scheduled);
    assert!(pair.prefill.wait_until(SOON, scheduled));

    drop(client);

    assert!(
        pair.decode
            .wait_until(SOON, |ledger| ledger.leaks() == [engine_id.as_str()])
    );
    assert_eq!(pair.prefill.ledger().total().aborted, 1);
}

#[test]
fn frozen_prefill_thaws_when_the_decode_appears() {
    let pair = Pair::start();
    let body = json!({"prompt": "hello", "max_tokens": 1});
    let mut decode = Sim::start(Options::of(Role::Decode)).unwrap();
    let id = pair
        .id(1)
        .replace(&pair.decode.zmq_address(), &decode.zmq_address());
    let port = decode.kv_addr().port();
    decode.kill();
    let mut client = Client::to(pair.prefill.http_addr());
    let header = format!("x-request-id: {id}\r\n");
    client.send("POST", COMPLETIONS, &header, &body.to_string());
    assert!(
        pair.prefill
            .wait_until(SOON, |ledger| ledger.state == State::Frozen)
    );

    let _decode = Sim::start(Options {
        kv_port: port,
        ..Options::of(Role::Decode)
    })
    .unwrap();

    assert_eq!(client.reply().status, 200);
    assert_eq!(pair.prefill.state(), State::Running);
}
