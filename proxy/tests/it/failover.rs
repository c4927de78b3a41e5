//! A decode node that fails before its answer: one more try, as a whole.

use crate::support::client::{End, Response, post};
use crate::support::node::{Node, event, events, json, stream_head};
use crate::support::script::{
    STREAM, Script, Scripted, in_turn, on_cue, prefills, says, says_and_closes, says_and_resets,
};

const COMPLETIONS: &str = "/v1/completions";

/// Sends a request to a first D that fails as `script` does, beside a second D that works; asserts that
/// there are two prefills under two ids, and that each D was sent the decode of one of them.
#[track_caller]
fn assert_tried_again(script: Script) {
    let nodes = Scripted::of([prefills()], [script, says(events(&["1"]))]);
    let response = nodes.proxy.post(COMPLETIONS, STREAM);
    assert_eq!(response.events(), ["1", "[DONE]"]);
    let (first, second) = (nodes.prefill[0].next(), nodes.prefill[0].next());
    let decodes = [nodes.decode[0].next(), nodes.decode[1].next()];
    assert_ne!(first.id(), second.id());
    assert_eq!(
        [decodes[0].id(), decodes[1].id()],
        [first.id(), second.id()]
    );
    assert!(first.id().contains(&nodes.decode[0].kv), "{}", first.id());
    assert!(second.id().contains(&nodes.decode[1].kv), "{}", second.id());
    assert_eq!(decodes[1].text(), STREAM);
    assert_eq!(nodes.proxy.metric("retries_total"), 1);
    nodes.assert_idle();
}

#[test]
fn decode_closed_before_a_byte_is_tried_again_with_another_pair() {
    assert_tried_again(says_and_closes(""));
}

#[test]
fn decode_reset_before_a_byte_is_tried_again_with_another_pair() {
    assert_tried_again(says_and_resets(""));
}

#[test]
fn decode_that_refuses_connections_is_tried_again_with_another_pair() {
    let nodes = Scripted::of([prefills()], [prefills(), says(events(&["1"]))]);
    nodes.decode[0].close_port();
    let response = nodes.proxy.post(COMPLETIONS, STREAM);
    assert_eq!(response.events(), ["1", "[DONE]"]);
    let (first, second) = (nodes.prefill[0].next(), nodes.prefill[0].next());
    let decode = nodes.decode[1].next();
    assert_ne!(first.id(), second.id());
    assert_eq!(decode.id(), second.id());
    nodes.assert_idle();
}

#[test]
fn only_decode_that_refuses_connections_is_502() {
    let nodes = Scripted::of([prefills()], [prefills()]);
    nodes.decode[0].close_port();
    nodes.proxy.post(COMPLETIONS, STREAM).openai_error(502);
    nodes.prefill[0].next();
    nodes.assert_idle();
}

#[test]
fn only_decode_that_is_cut_before_a_byte_is_502_and_asked_once() {
    for script in [says_and_closes(""), says_and_resets("")] {
        let nodes = Scripted::of([prefills(), prefills()], [script]);
        nodes.proxy.post(COMPLETIONS, STREAM).openai_error(502);
        nodes.prefill[0].next();
        nodes.decode[0].next();
        nodes.assert_idle();
    }
}

#[test]
fn second_failure_is_the_last() {
    let nodes = Scripted::of([prefills()], (0..3).map(|_| says_and_closes("")));
    nodes.proxy.post(COMPLETIONS, STREAM).openai_error(502);
    let prefills = [nodes.prefill[0].next(), nodes.prefill[0].next()];
    assert_ne!(prefills[0].id(), prefills[1].id());
    nodes.decode[0].next();
    nodes.decode[1].next();
    nodes.assert_idle();
}

#[test]
fn failures_of_prefill_and_of_decode_count_together() {
    let nodes = Scripted::of(
        [says(json(500, "{}")), prefills()],
        [says_and_closes(""), prefills()],
    );
    nodes.proxy.post(COMPLETIONS, STREAM).openai_error(502);
    nodes.prefill[0].next();
    let second = nodes.prefill[1].next();
    assert_eq!(nodes.decode[0].next().id(), second.id());
    nodes.assert_idle();
}

/// What the client gets of a first D that answers as `script` does; asserts that a second D, which would
/// work, hears nothing of it.
#[track_caller]
fn not_tried_again(script: Script) -> Response {
    let nodes = Scripted::of([prefills(), prefills()], [script, prefills()]);
    let response = nodes.proxy.post(COMPLETIONS, STREAM);
    assert_eq!(nodes.prefill[0].next().id(), nodes.decode[0].next().id());
    nodes.assert_idle();
    response
}

#[test]
fn decode_that_is_cut_after_an_event_is_not_tried_again() {
    let begun = [stream_head(), &event("1")].concat();
    for last in [says_and_closes(""), says_and_resets("")] {
        let (cue, script) = on_cue(vec![begun.clone()], last);
        let nodes = Scripted::of([prefills(), prefills()], [script, prefills()]);
        let mut client = nodes.proxy.connect();
        client.send(post(COMPLETIONS, STREAM));
        cue.send(()).unwrap();
        client.wait_for(b"data: 1\n\n");
        cue.send(()).unwrap();
        let response = client.response();
        assert_eq!(response.end, End::Cut);
        assert_eq!(response.events(), ["1"]);
        nodes.prefill[0].next();
        nodes.decode[0].next();
        nodes.assert_idle();
    }
}

#[test]
fn decode_that_is_cut_after_its_head_is_not_tried_again() {
    let (cue, script) = on_cue(vec![stream_head().to_vec()], says_and_closes(""));
    let nodes = Scripted::of([prefills(), prefills()], [script, prefills()]);
    let mut client = nodes.proxy.connect();
    client.send(post(COMPLETIONS, STREAM));
    cue.send(()).unwrap();
    client.wait_for(b"\r\n\r\n");
    cue.send(()).unwrap();
    assert_eq!(client.response().end, End::Cut);
    nodes.prefill[0].next();
    nodes.decode[0].next();
    nodes.assert_idle();
}

#[test]
fn decode_that_answers_nonsense_or_a_part_of_a_head_is_not_tried_again() {
    for answer in ["nonsense\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-ty", "H"] {
        let response = not_tried_again(says_and_closes(answer));
        response.openai_error(502);
    }
}

#[test]
fn error_status_of_decode_is_not_tried_again() {
    for status in [500, 502, 503, 504] {
        let response = not_tried_again(says(json(status, "{\"e\":1}")));
        assert_eq!(
            (response.status, response.text().as_str()),
            (status, "{\"e\":1}")
        );
    }
}

#[test]
fn request_after_a_failure_succeeds_with_the_same_nodes() {
    let decode = in_turn([says_and_closes(""), says(events(&["1"]))]);
    let nodes = Scripted::of([prefills()], [decode]);
    let mut client = nodes.proxy.connect();
    client.send(post(COMPLETIONS, STREAM));
    client.response().openai_error(502);
    client.send(post(COMPLETIONS, STREAM));
    assert_eq!(client.response().events(), ["1", "[DONE]"]);
    let ids = |node: &Node| [node.next().id().to_owned(), node.next().id().to_owned()];
    assert_eq!(ids(&nodes.prefill[0]), ids(&nodes.decode[0]));
    nodes.assert_idle();
}
