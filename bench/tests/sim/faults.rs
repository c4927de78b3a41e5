//! Every fault does on the wire what it says.

use crate::client::{Client, End, ask, get, post};
use pd_bench::sim::{Action, Fault, Options, Role, Sim, State};
use serde_json::{Value, json};
use std::time::Duration;

fn node(action: Action) -> Sim {
    Sim::start(Options {
        faults: vec![Fault::once(action)],
        ..Options::of(Role::Both)
    })
    .unwrap()
}

fn stream() -> Value {
    json!({"prompt": "a", "max_tokens": 30, "stream": true})
}

#[test]
fn refusal_has_its_status_and_strikes_once() {
    let sim = node(Action::Refuse {
        status: 503,
        body: None,
    });

    let reply = post(&sim, "/v1/completions", &stream());
    assert_eq!(reply.status, 503);
    assert_eq!(reply.json()["error"]["code"], 503);

    assert_eq!(post(&sim, "/v1/completions", &stream()).status, 200);
    let ledger = sim.stop();
    assert_eq!((ledger.total().refused, ledger.total().finished), (1, 1));
    assert_eq!(ledger.faults["refuse"], 1);
}

#[test]
fn refusal_after_generation_did_the_work() {
    let sim = node(Action::RefuseAfter { status: 500 });

    let reply = post(&sim, "/v1/completions", &stream());

    assert_eq!(reply.status, 500);
    assert_eq!(sim.ledger().tokens, 30);
}

#[test]
fn connection_ends_before_the_head_as_told() {
    let sim = node(Action::ResetBeforeHead);
    assert_eq!(post(&sim, "/v1/completions", &stream()).end, End::Reset);

    sim.inject(Fault::once(Action::CloseBeforeHead));
    assert_eq!(post(&sim, "/v1/completions", &stream()).end, End::Cut);
}

#[test]
fn stream_is_cut_after_so_many_events() {
    let sim = node(Action::CloseMidStream { events: 4 });
    let reply = post(&sim, "/v1/completions", &stream());
    assert_eq!((reply.chunks.len(), reply.end), (4, End::Cut));

    sim.inject(Fault::once(Action::ResetMidStream { events: 7 }));
    let reply = post(&sim, "/v1/completions", &stream());
    assert_eq!(reply.end, End::Reset);
    assert!(reply.chunks.len() <= 7);
    let aborted = |ledger: &pd_bench::sim::Ledger| ledger.total().aborted == 2;
    assert!(sim.wait_until(Duration::from_secs(10), aborted));
}

#[test]
fn error_event_comes_inside_a_good_stream() {
    let sim = node(Action::StreamError { events: 2 });

    let reply = post(&sim, "/v1/completions", &stream());

    assert_eq!((reply.status, reply.end), (200, End::Complete));
    let events = reply.events();
    assert_eq!(events.len(), 3);
    assert_eq!(events[2]["error"]["type"], "InternalServerError");
    assert!(reply.text().ends_with("data: [DONE]\n\n"));
}

#[test]
fn stall_delays_and_may_last_for_ever() {
    let sim = node(Action::StallBeforeHead { ms: Some(150) });
    let since = std::time::Instant::now();
    assert_eq!(post(&sim, "/v1/completions", &stream()).status, 200);
    assert!(since.elapsed() >= Duration::from_millis(150));

    sim.inject(Fault::once(Action::StallBeforeHead { ms: None }));
    let mut client = Client::to(sim.http_addr()).patience(Duration::from_millis(200));
    client.send("POST", "/v1/completions", "", &stream().to_string());
    assert_eq!(client.reply().end, End::Silent);
    assert_eq!(post(&sim, "/v1/completions", &stream()).status, 200);
}

#[test]
fn trickled_answer_is_whole() {
    let sim = node(Action::Trickle);

    let reply = post(&sim, "/v1/completions", &stream());

    assert_eq!((reply.end, reply.chunks.len()), (End::Complete, 31));
}

#[test]
fn frozen_engine_hides_behind_good_health() {
    let sim = node(Action::Freeze);
    let mut client = Client::to(sim.http_addr()).patience(Duration::from_millis(200));
    client.send(
        "POST",
        "/v1/chat/completions",
        "",
        r#"{"messages":[{"role":"user","content":"a"}]}"#,
    );

    assert_eq!(client.reply().end, End::Silent);
    assert_eq!(sim.state(), State::Frozen);
    assert_eq!(get(&sim, "/health").status, 200);
}

#[test]
fn killed_engine_takes_the_node_with_it() {
    let mut sim = node(Action::Die);

    assert_eq!(
        post(&sim, "/v1/completions", &json!({"prompt": "a"})).status,
        500
    );
    assert_eq!(sim.wait(), State::Dead);
}

#[test]
fn health_answers_what_it_is_told() {
    let sim = node(Action::Health { status: 503 });

    assert_eq!(get(&sim, "/health").status, 503);
    assert_eq!(get(&sim, "/health").status, 200);
}

#[test]
fn idle_limit_can_be_cut_short() {
    let sim = node(Action::CloseIdle { ms: 20 });
    let mut client = Client::to(sim.http_addr());
    client.send("GET", "/health", "", "");

    assert_eq!(client.reply().status, 200);
    assert_eq!(client.end(), End::Cut);
}

#[test]
fn faults_are_set_and_cleared_over_http() {
    let sim = Sim::start(Options::of(Role::Both)).unwrap();
    let fault = json!({"action": "refuse", "status": 429, "path": "/v1/completions"});

    assert_eq!(post(&sim, "/sim/faults", &fault).status, 200);
    assert_eq!(get(&sim, "/sim/faults").json().as_array().unwrap().len(), 1);
    assert_eq!(post(&sim, "/v1/completions", &stream()).status, 429);
    assert_eq!(ask(&sim, "DELETE", "/sim/faults", "", "").json(), json!([]));
    assert_eq!(post(&sim, "/v1/completions", &stream()).status, 200);
    assert_eq!(
        post(&sim, "/sim/faults", &json!({"action": "no"})).status,
        400
    );
}
