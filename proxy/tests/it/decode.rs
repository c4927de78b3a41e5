//! The decode leg's answer reaches the client as it is, however the node frames it.

use std::io::Write;

use crate::support::client::{Response, post};
use crate::support::node::{event, events, json, stream_head};
use crate::support::script::{
    STREAM, Script, Scripted, drained, says, says_and_closes, says_and_resets,
};

const COMPLETIONS: &str = "/v1/completions";

/// The client's response to one request that D answers with `script`.
#[track_caller]
fn decoded(script: Script) -> Response {
    let nodes = Scripted::decoding(script);
    let response = nodes.proxy.post(COMPLETIONS, STREAM);
    let (prefill, decode) = (nodes.prefill[0].next(), nodes.decode[0].next());
    assert_eq!(prefill.id(), decode.id());
    nodes.assert_idle();
    response
}

/// Asserts that an answer of this status, with a body of this type, reaches the client unchanged.
#[track_caller]
fn assert_unchanged(status: u16, kind: &str, body: &str) {
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status} Why Not\r\nserver: uvicorn\r\ncontent-type: {kind}\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
    let nodes = Scripted::decoding(drained(says(answer.clone())));
    let mut client = nodes.proxy.connect();
    client.send(post(COMPLETIONS, STREAM));
    let got = client.read_until(body.as_bytes());
    assert_eq!(String::from_utf8(got).unwrap(), answer);
    nodes.prefill[0].next();
    let decode = nodes.decode[0].next();
    if (400..500).contains(&status) {
        // D refused what P accepted: its KV is released under the same id.
        let drain = nodes.decode[0].next();
        assert_eq!(drain.id(), decode.id());
    }
    nodes.assert_idle();
}

const ERROR: &str =
    "{\"error\": {\"message\":\"\\u00e9\",\"type\":\"T\",\"param\":null,\"code\":1}} \n";

#[test]
fn json_answer_reaches_the_client_unchanged() {
    assert_unchanged(200, "application/json", "{\"a\" : 1.0e2 }");
}

#[test]
fn answer_of_any_other_type_reaches_the_client_unchanged() {
    assert_unchanged(200, "text/plain; charset=latin-1", "hello");
}

#[test]
fn status_400_of_decode_reaches_the_client_unchanged() {
    assert_unchanged(400, "application/json", ERROR);
}

#[test]
fn status_404_of_decode_reaches_the_client_unchanged() {
    assert_unchanged(404, "application/json", ERROR);
}

#[test]
fn status_429_of_decode_reaches_the_client_unchanged() {
    assert_unchanged(429, "application/json", ERROR);
}

#[test]
fn status_500_of_decode_reaches_the_client_unchanged() {
    assert_unchanged(500, "application/json", ERROR);
}

#[test]
fn status_503_of_decode_reaches_the_client_unchanged() {
    assert_unchanged(503, "application/json", ERROR);
}

#[test]
fn redirect_of_decode_is_not_followed() {
    let response = decoded(says(
        "HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n",
    ));
    assert_eq!(response.status, 302);
    assert_eq!(response.field("location"), Some("/elsewhere"));
}

#[test]
fn answer_without_content_has_no_framing() {
    let response = decoded(says("HTTP/1.1 204 No Content\r\nx: 1\r\n\r\n"));
    assert_eq!(response.status, 204);
    assert_eq!(response.field("content-length"), None);
    assert_eq!(response.field("transfer-encoding"), None);
}

#[test]
fn stream_reaches_the_client_byte_for_byte() {
    let data = ["{\"a\":1}", " spaces  ", "é", "{}"];
    let answer = events(&data);
    let nodes = Scripted::decoding(says(answer.clone()));
    let mut client = nodes.proxy.connect();
    client.send(post(COMPLETIONS, STREAM));
    let got = client.read_until(b"\r\n0\r\n\r\n");
    assert_eq!(
        String::from_utf8(got).unwrap(),
        String::from_utf8(answer).unwrap()
    );
}

#[test]
fn close_delimited_answer_is_chunked_for_the_client() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n";
    let response = decoded(says_and_closes(format!("{head}{{\"a\":1}}")));
    assert_eq!(response.field("transfer-encoding"), Some("chunked"));
    assert_eq!(response.text(), "{\"a\":1}");
}

#[test]
fn answer_of_http10_reaches_the_client() {
    let response = decoded(says_and_closes(
        "HTTP/1.0 200 OK\r\nServer: old\r\nContent-Type: application/json\r\n\r\n{}",
    ));
    assert_eq!(response.text(), "{}");
    assert_eq!(response.field("server"), Some("old"));
}

#[test]
fn answer_that_comes_byte_by_byte_is_put_together() {
    let answer = events(&["one", "two"]);
    let script = move |_: &_, stream: &mut std::net::TcpStream| {
        let mut bytes = answer.iter();
        bytes.all(|byte| stream.write_all(&[*byte]).is_ok())
    };
    let response = decoded(Box::new(script));
    assert_eq!(response.events(), ["one", "two", "[DONE]"]);
}

#[test]
fn chunk_extensions_and_trailers_are_dropped() {
    let answer = [
        stream_head(),
        b"8;name=\"v;w\"\r\ndata: x\n\r\n1 ; a\r\n\n\r\n",
        b"00;last\r\nX-Trailer: t\r\nContent-Length: 7\r\n\r\n",
    ];
    let nodes = Scripted::decoding(says(answer.concat()));
    let mut client = nodes.proxy.connect();
    client.send(post(COMPLETIONS, STREAM));
    let response = client.response();
    assert_eq!(response.text(), "data: x\n\n");
    // The client's own reader takes neither extensions nor trailers; nothing must follow either.
    client.send(post(COMPLETIONS, STREAM));
    assert_eq!(client.response().text(), "data: x\n\n");
}

#[test]
fn empty_answer_is_whole() {
    let response = decoded(says("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
    assert_eq!(response.field("content-length"), Some("0"));
    let response = decoded(says(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ));
    assert_eq!(response.text(), "");
}

/// What a client of HTTP/1.0 gets from a D that answers with `script`.
#[track_caller]
fn old_client(script: Script) -> (Response, Scripted) {
    let nodes = Scripted::decoding(script);
    let mut client = nodes.proxy.connect();
    let request = String::from_utf8(post(COMPLETIONS, STREAM)).unwrap();
    client.send(request.replacen("HTTP/1.1", "HTTP/1.0", 1));
    let response = client.response();
    assert_eq!(response.field("transfer-encoding"), None);
    (response, nodes)
}

#[test]
fn client_of_http10_gets_a_stream_without_chunks_that_ends_with_the_connection() {
    let (response, nodes) = old_client(says(events(&["one"])));
    assert_eq!(response.text(), "data: one\n\ndata: [DONE]\n\n");
    assert_eq!(response.field("connection"), Some("close"));
    assert_eq!(response.end, crate::support::client::End::Whole);
    nodes.prefill[0].next();
    nodes.decode[0].next();
    nodes.assert_idle();
}

#[test]
fn client_of_http10_gets_a_length_where_the_node_gives_one() {
    let (response, _nodes) = old_client(says(json(200, "{\"a\":2}")));
    assert_eq!(response.field("content-length"), Some("7"));
    assert_eq!(response.text(), "{\"a\":2}");
}

#[test]
fn interim_answers_are_skipped() {
    let interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n";
    let response = decoded(says([&interim[..], &json(200, "{}")].concat()));
    assert_eq!(response.status, 200);
    assert_eq!(response.field("link"), None);
    assert_eq!(response.text(), "{}");
}

/// Asserts that a D that answers with `script` is reported as 502, and asked once.
#[track_caller]
fn assert_502(script: Script) {
    decoded(script).openai_error(502);
}

#[test]
fn endless_interim_answers_are_502() {
    assert_502(says("HTTP/1.1 100 Continue\r\n\r\n".repeat(200)));
}

#[test]
fn upgrade_that_nobody_asked_for_is_502() {
    assert_502(says(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nhello",
    ));
}

#[test]
fn answer_that_is_not_http_is_502() {
    assert_502(says("+OK welcome\r\n\r\n"));
}

#[test]
fn status_that_is_no_status_is_502() {
    assert_502(says("HTTP/1.1 OK\r\ncontent-length: 0\r\n\r\n"));
    assert_502(says("HTTP/1.1 999 X\r\ncontent-length: 0\r\n\r\n"));
}

#[test]
fn doubtful_framing_is_502() {
    for fields in [
        "content-length: 2\r\ncontent-length: 3\r\n",
        "content-length: 2\r\ntransfer-encoding: chunked\r\n",
        "content-length: +2\r\n",
        "transfer-encoding: gzip\r\n",
    ] {
        assert_502(says(format!("HTTP/1.1 200 OK\r\n{fields}\r\n{{}}")));
    }
}

#[test]
fn head_beyond_all_bounds_is_502() {
    let field = format!("x-filler: {}\r\n", "x".repeat(1000));
    assert_502(says(format!("HTTP/1.1 200 OK\r\n{}", field.repeat(70))));
}

#[test]
fn bad_chunk_size_before_anything_was_sent_is_502() {
    assert_502(says([stream_head(), b"zz\r\nhello\r\n"].concat()));
}

#[test]
fn overflowing_chunk_size_before_anything_was_sent_is_502() {
    assert_502(says(
        [stream_head(), b"fffffffffffffffff\r\nhello\r\n"].concat(),
    ));
}

#[test]
fn answer_cut_before_its_head_is_502() {
    assert_502(says_and_closes(""));
    assert_502(says_and_resets(""));
}

#[test]
fn answer_cut_inside_its_head_is_502() {
    assert_502(says_and_closes("HTTP/1.1 200 OK\r\ncontent-le"));
}

#[test]
fn prefill_is_never_sent_to_a_decode_node() {
    let nodes = Scripted::decoding(says([stream_head(), &event("x"), b"0\r\n\r\n"].concat()));
    nodes.proxy.post(COMPLETIONS, STREAM);
    assert_eq!(nodes.decode[0].next().text(), STREAM);
    assert_ne!(nodes.prefill[0].next().text(), STREAM);
    nodes.assert_idle();
}
