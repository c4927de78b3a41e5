//! Streams: every event at once, and a cut one never looks whole.

use std::sync::mpsc::Sender;

use pd_bench::sim::{Action, Fault, completion_text};

use crate::support::client::{Client, End, Response, post};
use crate::support::fleet::Fleet;
use crate::support::node::{event, stream_head};
use crate::support::proxy::Proxy;
use crate::support::script::{
    STREAM, Script, Scripted, on_cue, prefills, says, says_and_closes, says_and_resets,
};

const COMPLETIONS: &str = "/v1/completions";

#[test]
fn every_event_is_seen_before_the_next_is_sent() {
    let mut parts = vec![stream_head().to_vec()];
    parts.extend((0..20).map(|n| event(&n.to_string())));
    let (cue, script) = on_cue(parts, says("0\r\n\r\n"));
    let nodes = Scripted::decoding(script);
    let mut client = nodes.proxy.connect();
    client.send(post(COMPLETIONS, STREAM));
    cue.send(()).unwrap();
    assert_eq!(client.read_until(b"\r\n\r\n"), stream_head());
    for n in 0..20 {
        cue.send(()).unwrap();
        let got = client.read_until(b"\n\n\r\n");
        assert_eq!(got, event(&n.to_string()));
    }
    cue.send(()).unwrap();
    assert_eq!(client.read_until(b"0\r\n\r\n"), b"0\r\n\r\n");
}

#[test]
fn part_of_an_event_is_seen_before_the_rest_is_sent() {
    let head = stream_head().to_vec();
    let (cue, script) = on_cue(
        vec![head, b"b\r\ndata: ".to_vec(), b"abc".to_vec()],
        says("\n\n\r\n0\r\n\r\n"),
    );
    let nodes = Scripted::decoding(script);
    let mut client = nodes.proxy.connect();
    client.send(post(COMPLETIONS, STREAM));
    for seen in ["\r\n\r\n", "data: ", "abc", "\n\n\r\n0\r\n\r\n"] {
        cue.send(()).unwrap();
        client.read_until(seen.as_bytes());
    }
}

#[test]
fn event_of_a_close_delimited_stream_is_seen_before_the_next_is_sent() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n".to_vec();
    let parts = vec![head, b"data: 1\n\n".to_vec(), b"data: 2\n\n".to_vec()];
    let (cue, script) = on_cue(parts, says_and_closes(""));
    let nodes = Scripted::decoding(script);
    let mut client = nodes.proxy.connect();
    client.send(post(COMPLETIONS, STREAM));
    for seen in [
        "\r\n\r\n",
        "9\r\ndata: 1\n\n\r\n",
        "9\r\ndata: 2\n\n\r\n",
        "0\r\n\r\n",
    ] {
        cue.send(()).unwrap();
        client.read_until(seen.as_bytes());
    }
}

#[test]
fn large_answer_reaches_a_client_that_begins_to_read_late() {
    let body = "0123456789abcdef".repeat(1 << 19);
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    let nodes = Scripted::decoding(says(format!("{head}{body}")));
    let mut client = nodes.proxy.connect();
    client.send(post(COMPLETIONS, STREAM));
    nodes.decode[0].next();
    nodes.proxy.catch_up();
    let response = client.response();
    assert_eq!(response.end, End::Whole);
    assert!(response.text() == body, "the bytes differ");
    nodes.prefill[0].next();
    nodes.assert_idle();
}

/// How the version of a client changes its request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Http {
    V10,
    V11,
}

/// A request of this version, sent; the client has read `shown` of its answer, which D sent with `head`
/// before it. The sender makes D do as `last` says.
fn begun(
    version: Http,
    head: &[u8],
    shown: &str,
    last: Script,
) -> (Scripted, Client, Sender<()>, Response) {
    let (cue, script) = on_cue(vec![[head, shown.as_bytes()].concat()], last);
    let nodes = Scripted::decoding(script);
    let mut client = nodes.proxy.connect();
    let request = String::from_utf8(post(COMPLETIONS, STREAM)).unwrap();
    let request = match version {
        Http::V10 => request.replacen("HTTP/1.1", "HTTP/1.0", 1),
        Http::V11 => request,
    };
    client.send(request);
    cue.send(()).unwrap();
    client.wait_for(b"data: x\n\n");
    cue.send(()).unwrap();
    let response = client.response();
    (nodes, client, cue, response)
}

/// Asserts that the client of a stream of which D sends `shown` behind `head`, and then does as `last`
/// says, sees all of that, and sees that it is a part.
#[track_caller]
fn assert_cut(version: Http, head: &[u8], shown: &str, last: Script) {
    let (nodes, mut client, _cue, response) = begun(version, head, shown, last);
    assert_eq!(response.status, 200);
    assert_eq!(response.end, End::Cut, "{}", response.text());
    assert_eq!(response.text(), "data: x\n\n");
    client.assert_closed();
    nodes.prefill[0].next();
    nodes.decode[0].next();
    nodes.assert_idle();
}

const CHUNK: &str = "9\r\ndata: x\n\n\r\n";
const LENGTH: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n";
const CLOSE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

#[test]
fn chunked_stream_that_is_closed_early_has_no_last_chunk() {
    assert_cut(Http::V11, stream_head(), CHUNK, says_and_closes(""));
}

#[test]
fn chunked_stream_that_is_reset_has_no_last_chunk() {
    assert_cut(Http::V11, stream_head(), CHUNK, says_and_resets(""));
}

#[test]
fn stream_cut_inside_its_last_chunk_has_no_last_chunk() {
    assert_cut(Http::V11, stream_head(), CHUNK, says_and_closes("0\r\n"));
}

#[test]
fn answer_closed_before_its_length_is_short() {
    assert_cut(Http::V11, LENGTH, "data: x\n\n", says_and_closes(""));
}

#[test]
fn answer_reset_before_its_length_is_short() {
    assert_cut(Http::V11, LENGTH, "data: x\n\n", says_and_resets(""));
}

#[test]
fn close_delimited_stream_that_is_reset_has_no_last_chunk() {
    assert_cut(Http::V11, CLOSE, "data: x\n\n", says_and_resets(""));
}

#[test]
fn client_of_http10_sees_a_reset_when_a_stream_is_closed_early() {
    assert_cut(Http::V10, stream_head(), CHUNK, says_and_closes(""));
}

#[test]
fn client_of_http10_sees_a_reset_when_a_stream_is_reset() {
    assert_cut(Http::V10, stream_head(), CHUNK, says_and_resets(""));
}

#[test]
fn client_of_http10_sees_a_short_answer_when_its_length_is_not_reached() {
    assert_cut(Http::V10, LENGTH, "data: x\n\n", says_and_closes(""));
}

#[test]
fn bad_chunk_size_in_a_stream_cuts_it() {
    assert_cut(Http::V11, stream_head(), CHUNK, says("xyz\r\nhello\r\n"));
}

#[test]
fn chunk_without_its_line_end_cuts_the_stream() {
    // Data of another length than its chunk says: what follows is not trusted.
    let shown = "9\r\ndata: x\n\n";
    assert_cut(Http::V11, stream_head(), shown, says("XX9\r\n"));
}

#[test]
fn endless_chunk_extension_cuts_the_stream() {
    let line = format!("5;{}", "x".repeat(100_000));
    assert_cut(Http::V11, stream_head(), CHUNK, says(line));
}

#[test]
fn node_that_pauses_for_too_long_cuts_the_stream() {
    let proxy = Proxy::start_with(&["--stream-idle-timeout-secs", "0.2"]);
    let parts = [stream_head(), CHUNK.as_bytes()].concat();
    let nodes = Scripted::behind(proxy, [prefills()], [says(parts)]);
    let response = nodes.proxy.post(COMPLETIONS, STREAM);
    assert_eq!(response.text(), "data: x\n\n");
    assert_eq!(response.end, End::Cut);
}

/// Asserts that a stream of a simulated D that breaks as `action` says, after three events, is exact up
/// to there and cut.
#[track_caller]
fn assert_broken(action: Action) {
    let fleet = Fleet::start();
    fleet.decode[0].inject(Fault::once(action));
    let response = fleet.proxy.post(COMPLETIONS, STREAM);
    assert_eq!((response.status, response.end), (200, End::Cut));
    assert_eq!(response.events().len(), 3, "{}", response.text());
    let whole = completion_text(&fleet.decode[0].options().model, "hi", 0, 5);
    let part = response.generated();
    assert!(!part.is_empty() && whole.starts_with(&part), "{part}");
    fleet.assert_clean();
}

#[test]
fn stream_of_a_simulated_node_that_is_closed_is_cut() {
    assert_broken(Action::CloseMidStream { events: 3 });
}

#[test]
fn stream_of_a_simulated_node_that_is_reset_is_cut() {
    assert_broken(Action::ResetMidStream { events: 3 });
}

#[test]
fn error_inside_a_stream_reaches_the_client_as_it_is() {
    let fleet = Fleet::start();
    let error = Action::StreamError { events: 2 };
    fleet.decode[0].inject(Fault::once(error));
    let response = fleet.proxy.post(COMPLETIONS, STREAM);
    assert_eq!((response.status, response.end), (200, End::Whole));
    let events = response.events();
    assert!(events[2].contains("\"error\""), "{}", response.text());
    assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
    fleet.assert_clean();
}
