//! Bodies: how they may arrive, and what is said of those that cannot be used.

use crate::support::client::{End, post, post_with};
use crate::support::fleet::Fleet;
use crate::support::scripted::{Scripted, completion, prompt_body};

const MODEL: &str = "Qwen/Qwen2.5-7B-Instruct";

/// A body that is no JSON object of ours: what is said of it, and the key that is to blame.
type Fault<'a> = (&'a [u8], &'a str, Option<&'a str>);

#[test]
fn body_that_is_not_a_json_object_is_told_what_is_wrong_and_where() {
    let nodes = Scripted::echo();
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(600), "]".repeat(600));
    let faults: [Fault<'_>; 22] = [
        (b"", "expected a JSON object at byte 0", None),
        (b" ", "expected a JSON object at byte 1", None),
        (b"[]", "expected a JSON object at byte 0", None),
        (b"\"text\"", "expected a JSON object at byte 0", None),
        (b"null", "expected a JSON object at byte 0", None),
        (b"\xEF\xBB\xBF{}", "expected a JSON object at byte 0", None),
        (b"{", "unexpected end of JSON at byte 1", None),
        (
            b"{\"prompt\":\"a",
            "unexpected end of JSON at byte 12",
            None,
        ),
        (
            b"{\"prompt\":\"a\"",
            "unexpected end of JSON at byte 13",
            None,
        ),
        (
            b"{prompt:1}",
            "expected a key in double quotes at byte 1",
            None,
        ),
        (b"{\"prompt\" 1}", "expected `:` at byte 10", None),
        (b"{\"prompt\":}", "expected a value at byte 10", None),
        (b"{\"prompt\":NaN}", "expected a value at byte 10", None),
        (
            b"{\"a\":1,}",
            "expected a key in double quotes at byte 7",
            None,
        ),
        (b"{\"a\":01}", "invalid number", None),
        (b"{\"a\":\"\\x\"}", "invalid escape in a string", None),
        (
            b"{\"a\":\"\n\"}",
            "unescaped control character in a string at byte 6",
            None,
        ),
        (b"{\"a\":\"\xFF\"}", "invalid UTF-8 at byte 6", None),
        (b"{} {}", "trailing characters at byte 3", None),
        (
            b"{\"max_tokens\":1,\"max_tokens\":9}",
            "duplicate key `max_tokens`",
            Some("max_tokens"),
        ),
        (
            b"{\"max\\u005ftokens\":9}",
            "key `max_tokens` written with escapes",
            Some("max_tokens"),
        ),
        (deep.as_bytes(), "too deeply nested", None),
    ];
    let mut client = nodes.proxy.connect();
    for (body, what, param) in faults {
        let shown = String::from_utf8_lossy(body);
        println!("{shown}");
        let head = format!(
            "POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        let response = client.send(head).send(body).response();
        let message = response.openai_error(400);
        assert!(message.contains(what), "{message}");
        assert_eq!(response.json()["error"]["param"].as_str(), param);
        assert_eq!(response.field("connection"), None);
    }
    // The connection has stayed usable, and no node was bothered.
    assert_eq!(client.send(completion("a")).response().status, 200);
    nodes.prefill.next();
    nodes.decode.next();
    nodes.assert_untouched();
}

#[test]
fn every_truncation_of_a_body_is_refused() {
    let nodes = Scripted::echo();
    let body = r#"{"prompt":["a",{"b":-1.5e3}],"max_tokens":5,"stream":true}"#;
    let mut client = nodes.proxy.connect();
    for cut in 0..body.len() {
        let response = client
            .send(post("/v1/completions", &body[..cut]))
            .response();
        assert!(response.openai_error(400).contains(" at byte "));
    }
    nodes.assert_untouched();
}

#[test]
fn deepest_nesting_is_bounded_by_memory_of_the_heap_alone() {
    let nodes = Scripted::echo();
    let mut client = nodes.proxy.connect();
    for open in ["[", "{\"a\":"] {
        let body = format!("{{\"a\":{}", open.repeat(1_000_000));
        let response = client.send(post("/v1/completions", &body)).response();
        assert!(response.openai_error(400).contains("too deeply nested"));
    }
    nodes.assert_untouched();
}

#[test]
fn body_that_is_not_declared_as_json_is_refused() {
    let nodes = Scripted::echo();
    let body = prompt_body("a");
    let mut client = nodes.proxy.connect();
    for kind in [
        "",
        "Content-Type: text/plain\r\n",
        "Content-Type: application/jsonp\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\n",
        "Content-Type:\r\n",
    ] {
        let request = format!(
            "POST /v1/completions HTTP/1.1\r\nHost: a\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let response = client.send(request).response();
        let message = response.openai_error(400);
        assert!(message.contains("Content-Type"), "{message}");
        assert_eq!(response.field("connection"), None);
    }
    nodes.assert_untouched();
    for kind in [
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/json ;a=b",
    ] {
        let request = format!(
            "POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        assert_eq!(client.send(request).response().status, 200, "{kind}");
    }
}

#[test]
fn compressed_body_is_refused_with_415() {
    let nodes = Scripted::echo();
    let mut client = nodes.proxy.connect();
    for coding in ["gzip", "br", "deflate", "zstd", "gzip, identity", "x"] {
        let field = format!("Content-Encoding: {coding}\r\n");
        let request = post_with("/v1/completions", &field, &prompt_body("a"));
        let message = client.send(request).response().openai_error(415);
        assert!(message.contains("Content-Encoding"), "{message}");
    }
    nodes.assert_untouched();
    let request = post_with(
        "/v1/completions",
        "Content-Encoding: identity\r\n",
        &prompt_body("a"),
    );
    assert_eq!(client.send(request).response().status, 200);
}

#[test]
fn chunked_body_reaches_nodes_with_one_length_however_it_is_cut() {
    let nodes = Scripted::echo();
    let body = prompt_body("all the same");
    let head = "POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
        Transfer-Encoding: chunked\r\n\r\n";
    let mut client = nodes.proxy.connect();
    for size in [1, 2, 3, 7, 16, 1_000] {
        let mut request = head.to_owned();
        for chunk in body.as_bytes().chunks(size) {
            let data = std::str::from_utf8(chunk).unwrap();
            request.push_str(&format!("{:x};x=\"y\"\r\n{data}\r\n", chunk.len()));
        }
        request.push_str("0\r\nX-Trailer: y\r\n\r\n");
        let response = client.send(request).response();
        assert_eq!(response.text(), body);
        let seen = nodes.decode.next();
        assert_eq!(seen.body, body.as_bytes());
        for seen in [seen, nodes.prefill.next()] {
            assert_eq!(seen.fields("content-length"), [seen.body.len().to_string()]);
            assert!(seen.fields("transfer-encoding").is_empty());
            assert!(seen.fields("x-trailer").is_empty());
        }
    }
}

#[test]
fn request_that_arrives_byte_by_byte_is_served() {
    let nodes = Scripted::echo();
    let body = prompt_body("slow");
    let head = "POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";
    let framed = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    let chunked = format!(
        "{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    for request in [framed, chunked] {
        let mut client = nodes.proxy.connect();
        for byte in request.bytes() {
            client.send([byte]);
        }
        assert_eq!(client.response().text(), body);
    }
}

#[test]
fn body_of_a_megabyte_generates_what_it_asks_for() {
    let fleet = Fleet::start();
    let prompt = "word ".repeat(200_000);
    // Far longer than the model takes: the node's own refusal is what the client gets.
    let body = serde_json::json!({"model": MODEL, "prompt": prompt, "max_tokens": 3});
    let response = fleet.proxy.post("/v1/completions", &body.to_string());
    assert_eq!(response.status, 400, "{}", response.text());
    // Padding counts for nothing.
    let body = serde_json::json!({"model": MODEL, "prompt": "short", "max_tokens": 3});
    let body = format!("{}{body}", " ".repeat(1 << 20));
    let response = fleet.proxy.post("/v1/completions", &body);
    assert_eq!(
        response.generated(),
        pd_bench::sim::completion_text(MODEL, "short", 0, 3)
    );
    fleet.assert_clean();
}

#[test]
fn large_bodies_pass_byte_for_byte_in_both_directions() {
    let nodes = Scripted::echo();
    for (number, bytes) in [1 << 20, 10_000_000].into_iter().enumerate() {
        let prompt: String = (0..bytes / 8).map(|n| format!("{n:08x}")).collect();
        let body = prompt_body(&prompt);
        let mut client = nodes.proxy.connect();
        let writer = client.stream.try_clone().unwrap();
        let request = post("/v1/completions", &body);
        let sending = std::thread::spawn(move || {
            use std::io::Write;
            (&writer).write_all(&request).unwrap();
        });
        let response = client.response();
        sending.join().unwrap();
        assert_eq!(response.end, End::Whole);
        assert!(
            response.body == body.as_bytes(),
            "body {number} has changed"
        );
        let prefill = nodes.prefill.next().json();
        assert_eq!(prefill["max_tokens"], 1);
        assert!(prefill["prompt"] == *prompt, "prompt {number} has changed");
        assert!(nodes.decode.next().body == body.as_bytes());
    }
}
