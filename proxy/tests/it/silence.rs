//! Nodes that take requests and do not answer them, while their `/health` says 200.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::support::client::{End, post};
use crate::support::eventually;
use crate::support::node::{event, events, stream_head};
use crate::support::proxy::{Proxy, command};
use crate::support::script::{STREAM, Script, Scripted, on_cue, prefills, says};

const COMPLETIONS: &str = "/v1/completions";
const WITHIN: [&str; 2] = ["--decode-first-byte-timeout-secs", "0.4"];

/// Takes a request, says `first` and then nothing for as long as the test runs.
fn falls_silent_after(first: &'static [u8]) -> Script {
    Box::new(move |_, stream| {
        use std::io::{Read as _, Write as _};
        stream.write_all(first).unwrap();
        // Until the proxy gives it up.
        stream.read_exact(&mut [0]).ok();
        false
    })
}

/// `script` and a second D that works, behind a proxy with a deadline for the first byte.
fn beside_a_sibling(script: Script) -> Scripted {
    let proxy = Proxy::start_command(command().args(WITHIN));
    Scripted::behind(proxy, [prefills()], [script, says(events(&["1"]))])
}

fn suspects(proxy: &Proxy) -> u64 {
    proxy.metric("nodes{role=\"decode\",state=\"suspect\"}")
}

#[test]
fn decode_that_never_answers_is_given_up_and_its_sibling_serves() {
    let nodes = beside_a_sibling(falls_silent_after(b""));
    let response = nodes.proxy.post(COMPLETIONS, STREAM);
    assert_eq!(response.events(), ["1", "[DONE]"]);
    assert_ne!(nodes.decode[0].next().id(), nodes.decode[1].next().id());
    let cause = "request_errors_total{stage=\"decode\",side=\"decode\",cause=\"timeout\"}";
    assert_eq!(nodes.proxy.metric(cause), 1);

    // Its health says 200 all the while; nothing is sent to it, and nobody waits.
    eventually("it is suspect", || suspects(&nodes.proxy) == 1);
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(3) {
        let began = Instant::now();
        let response = nodes.proxy.post(COMPLETIONS, STREAM);
        assert_eq!(response.events(), ["1", "[DONE]"]);
        assert!(began.elapsed() < Duration::from_secs(2));
        nodes.decode[1].next();
    }
    assert!(!nodes.decode[0].got_one());
    assert_eq!(suspects(&nodes.proxy), 1);
}

#[test]
fn decode_that_sends_a_head_and_no_token_is_cut_and_quarantined() {
    let nodes = beside_a_sibling(falls_silent_after(stream_head()));
    let mut client = nodes.proxy.connect();
    client.send(post(COMPLETIONS, STREAM));
    let response = client.response();
    assert_eq!((response.status, response.end), (200, End::Cut));
    nodes.decode[0].next();
    eventually("it is suspect", || suspects(&nodes.proxy) == 1);
    for _ in 0..4 {
        let response = nodes.proxy.post(COMPLETIONS, STREAM);
        assert_eq!(response.events(), ["1", "[DONE]"]);
    }
    assert!(!nodes.decode[0].got_one());
}

#[test]
fn stream_that_has_begun_may_pause_for_longer_than_its_first_byte_may_take() {
    let begun = [stream_head(), &event("1")].concat();
    let (cue, script) = on_cue(
        vec![begun],
        says([event("2"), b"0\r\n\r\n".to_vec()].concat()),
    );
    let proxy = Proxy::start_command(command().args(WITHIN));
    let nodes = Scripted::behind(proxy, [prefills()], [script]);
    let mut client = nodes.proxy.connect();
    client.send(post(COMPLETIONS, STREAM));
    cue.send(()).unwrap();
    client.wait_for(b"data: 1\n\n");
    let (_never, pause) = channel::<()>();
    pause.recv_timeout(Duration::from_millis(900)).unwrap_err();
    cue.send(()).unwrap();
    assert_eq!(client.response().events(), ["1", "2"]);
    assert_eq!(suspects(&nodes.proxy), 0);
}

#[test]
fn only_decode_that_never_answers_is_504_and_still_asked() {
    let proxy = Proxy::start_command(command().args(WITHIN));
    let nodes = Scripted::behind(proxy, [prefills()], [falls_silent_after(b"")]);
    for _ in 0..2 {
        nodes.proxy.post(COMPLETIONS, STREAM).openai_error(504);
        nodes.decode[0].next();
    }
}

#[test]
fn first_token_is_timed_also_when_the_head_came_long_before_it() {
    let parts = vec![stream_head().to_vec(), event("1")];
    let (cue, script) = on_cue(parts, says("0\r\n\r\n"));
    let nodes = Scripted::decoding(script);
    let mut client = nodes.proxy.connect();
    client.send(post(COMPLETIONS, STREAM));
    cue.send(()).unwrap();
    client.wait_for(b"\r\n\r\n");
    assert_eq!(nodes.proxy.metric("time_to_first_token_seconds_count"), 0);
    cue.send(()).unwrap();
    client.wait_for(b"data: 1\n\n");
    assert_eq!(nodes.proxy.metric("time_to_first_token_seconds_count"), 1);
    cue.send(()).unwrap();
    assert_eq!(client.response().events(), ["1"]);
}
