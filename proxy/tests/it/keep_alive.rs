//! One connection, many requests.

use std::time::Duration;

use crate::support::client::{Client, get};
use crate::support::eventually;
use crate::support::node::json;
use crate::support::proxy::Proxy;
use crate::support::scripted::{Scripted, completion, prompt_body};

fn http10(fields: &str) -> String {
    let body = prompt_body("old");
    format!(
        "POST /v1/completions HTTP/1.0\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n{fields}\r\n{body}",
        body.len()
    )
}

#[test]
fn connection_takes_request_after_request() {
    let nodes = Scripted::echo();
    let mut client = nodes.proxy.connect();
    for number in 0..20 {
        let body = prompt_body(&format!("number {number}"));
        let response = client
            .send(completion(&format!("number {number}")))
            .response();
        assert_eq!(response.text(), body);
        assert_eq!(response.field("connection"), None);
    }
    assert_eq!(
        nodes
            .proxy
            .metric("requests_total{route=\"completions\",status=\"200\"}"),
        20
    );
}

#[test]
fn pipelined_requests_are_answered_in_order_each_with_its_own_answer() {
    let nodes = Scripted::echo();
    let mut all = Vec::new();
    for number in 0..10 {
        all.extend(completion(&format!("number {number}")));
        all.extend(get("/health"));
    }
    let mut client = nodes.proxy.connect();
    client.send(all);
    for number in 0..10 {
        assert_eq!(
            client.response().text(),
            prompt_body(&format!("number {number}"))
        );
        let health = client.response();
        assert_eq!((health.status, health.body.len()), (200, 0));
    }
}

#[test]
fn pipelined_requests_are_understood_however_their_bytes_are_cut() {
    let nodes = Scripted::echo();
    let mut all = completion("first");
    all.extend(b"\r\n");
    all.extend(completion("second"));
    for at in (0..all.len()).step_by(7) {
        let mut client = nodes.proxy.connect();
        client.send(&all[..at]).send(&all[at..]);
        assert_eq!(client.response().text(), prompt_body("first"));
        assert_eq!(client.response().text(), prompt_body("second"));
    }
}

#[test]
fn request_pipelined_behind_a_refused_one_is_not_read() {
    let nodes = Scripted::echo();
    let mut all = completion("first");
    all.extend(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n");
    all.extend(completion("third"));
    let mut client = nodes.proxy.connect();
    client.send(all);
    assert_eq!(client.response().status, 200);
    client.response().openai_error(400);
    client.assert_closed();
    nodes.prefill.next();
    nodes.decode.next();
    nodes.assert_untouched();
}

#[test]
fn connection_close_is_kept_to() {
    let nodes = Scripted::echo();
    for option in ["close", "Close", "keep-alive, close", "x, close"] {
        let mut client = nodes.proxy.connect();
        let request = format!("GET /health HTTP/1.1\r\nHost: a\r\nConnection: {option}\r\n\r\n");
        let response = client.send(request).send(completion("second")).response();
        assert_eq!(response.status, 200);
        assert_eq!(response.field("connection"), Some("close"));
        client.assert_closed();
    }
    nodes.assert_untouched();
}

#[test]
fn connection_of_http10_is_closed_unless_it_is_asked_to_stay() {
    let nodes = Scripted::echo();
    let mut client = nodes.proxy.connect();
    let response = client.send(http10("")).response();
    assert_eq!(response.text(), prompt_body("old"));
    assert_eq!(response.field("connection"), Some("close"));
    client.assert_closed();

    let mut client = nodes.proxy.connect();
    for _ in 0..3 {
        let response = client.send(http10("Connection: Keep-Alive\r\n")).response();
        assert_eq!(response.text(), prompt_body("old"));
        assert_eq!(response.field("connection"), Some("keep-alive"));
    }
}

#[test]
fn client_that_half_closes_gets_its_whole_answer() {
    let nodes = Scripted::behind(Proxy::start(), |seen, stream| {
        use std::io::Write;
        // Long after the client has said its last.
        std::thread::sleep(Duration::from_millis(300));
        stream
            .write_all(&json(200, std::str::from_utf8(&seen.body).unwrap()))
            .is_ok()
    });
    let mut client = nodes.proxy.connect();
    let response = client.send_and_half_close(completion("all")).response();
    assert_eq!(response.text(), prompt_body("all"));
    client.assert_closed();

    // The last of several.
    let mut client = nodes.proxy.connect();
    client.send(completion("one"));
    assert_eq!(client.response().text(), prompt_body("one"));
    client.send_and_half_close(completion("two"));
    assert_eq!(client.response().text(), prompt_body("two"));
    client.assert_closed();
}

#[test]
fn expectation_is_met_before_the_body_is_sent() {
    let nodes = Scripted::echo();
    let body = prompt_body("later");
    let mut client = nodes.proxy.connect();
    for framing in [
        format!("Content-Length: {}", body.len()),
        "Transfer-Encoding: chunked".to_owned(),
    ] {
        let head = format!(
            "POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
             Expect: 100-continue\r\n{framing}\r\n\r\n"
        );
        let go_on = client.send(head).response();
        assert_eq!((go_on.status, go_on.fields.len()), (100, 0));
        if framing.starts_with('C') {
            client.send(&body);
        } else {
            client.send(format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()));
        }
        assert_eq!(client.response().text(), body);
        assert!(nodes.decode.next().fields("expect").is_empty());
        assert!(nodes.prefill.next().fields("expect").is_empty());
    }
}

#[test]
fn client_that_does_not_wait_for_its_expectation_is_not_invited() {
    let nodes = Scripted::echo();
    let body = prompt_body("now");
    let request = format!(
        "POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
         Expect: 100-continue\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut client = nodes.proxy.connect();
    assert_eq!(client.send(request).response().text(), body);
    // One of HTTP/1.0 has no interim answers.
    let request = format!(
        "POST /v1/completions HTTP/1.0\r\nContent-Type: application/json\r\n\
         Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut client = nodes.proxy.connect();
    let response = client.send(request).send(&body).response();
    assert_eq!((response.status, response.text()), (200, body));
}

#[test]
fn idle_connection_is_closed_after_its_time_and_keeps_its_time_after_each_request() {
    let proxy = Proxy::start_with(&["--keep-alive-timeout-secs", "0.4"]);
    let mut fresh = proxy.connect();
    let mut used = proxy.connect();
    assert_eq!(used.send(get("/health")).response().status, 503);
    used.assert_closed();
    fresh.assert_closed();
    eventually("only this question's connection is open", || {
        proxy.metric("connections") == 1
    });
}

#[test]
fn answer_to_head_has_no_body_and_the_connection_goes_on() {
    let nodes = Scripted::echo();
    let mut client: Client = nodes.proxy.connect();
    for path in ["/health", "/metrics"] {
        let request = format!("HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        let response = client.send(request).head_response();
        assert_eq!(response.status, 200);
        assert!(response.field("content-length").is_some());
    }
    let request = "HEAD /v1/completions HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(client.send(request).head_response().status, 405);
    assert_eq!(client.send(get("/health")).response().status, 200);
}
