//! The prefill leg: its body, and that nothing goes to a decode node before it has succeeded.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::client::{Client, End, Response, post};
use crate::support::eventually;
use crate::support::fleet::Fleet;
use crate::support::node::{Node, event, events, json, stream_head};
use crate::support::proxy::Proxy;
use crate::support::script::{
    STREAM, Script, Scripted, on_cue, prefills, says, says_and_closes, says_and_resets,
};

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";

/// Sends `body`; asserts that P gets `expected` and D the client's own bytes.
#[track_caller]
fn assert_patched(body: &str, expected: &str) {
    let nodes = Scripted::decoding(says(json(200, "{}")));
    let response = nodes.proxy.post(CHAT, body);
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(nodes.prefill[0].next().text(), expected);
    assert_eq!(nodes.decode[0].next().text(), body);
    nodes.assert_idle();
}

/// Sends `body`; asserts that it is refused because of `param`, and that no node hears of it.
#[track_caller]
fn assert_refused(body: &str, param: &str) {
    let nodes = Scripted::of([prefills()], [prefills()]);
    let response = nodes.proxy.post(COMPLETIONS, body);
    response.openai_error(400);
    assert_eq!(response.json()["error"]["param"], param);
    nodes.assert_idle();
}

#[test]
fn absent_max_tokens_is_added_as_1() {
    assert_patched(
        r#"{"prompt":"hi","stream":true}"#,
        r#"{"prompt":"hi","stream":true,"max_tokens":1}"#,
    );
}

#[test]
fn null_max_tokens_becomes_1() {
    assert_patched(
        r#"{"max_tokens":null,"prompt":"hi","stream":true}"#,
        r#"{"max_tokens":1,"prompt":"hi","stream":true}"#,
    );
}

#[test]
fn given_max_tokens_becomes_1() {
    assert_patched(
        r#"{"prompt":"hi","max_tokens": 4096 ,"stream":true}"#,
        r#"{"prompt":"hi","max_tokens": 1 ,"stream":true}"#,
    );
}

#[test]
fn given_max_completion_tokens_becomes_1() {
    assert_patched(
        r#"{"messages":[],"max_completion_tokens":77,"max_tokens":5,"stream":true}"#,
        r#"{"messages":[],"max_completion_tokens":1,"max_tokens":1,"stream":true}"#,
    );
}

#[test]
fn min_tokens_becomes_0() {
    assert_patched(
        r#"{"prompt":"hi","min_tokens":8,"max_tokens":9,"stream":true}"#,
        r#"{"prompt":"hi","min_tokens":0,"max_tokens":1,"stream":true}"#,
    );
}

#[test]
fn prefill_streams_when_the_client_does_not() {
    assert_patched(
        r#"{"prompt":"hi","max_tokens":9,"stream":false}"#,
        r#"{"prompt":"hi","max_tokens":1,"stream":true}"#,
    );
    assert_patched(
        r#"{"prompt":"hi"}"#,
        r#"{"prompt":"hi","max_tokens":1,"stream":true}"#,
    );
}

#[test]
fn every_other_byte_goes_to_both_nodes_as_it_came() {
    let body = |max: &str, stream: &str| {
        let mut body =
            " {\"z\" : 1.50e+02,\t\"seed\":123456789012345678901234567890,\r\n".to_owned();
        body += "\"x\":{\"max_tokens\":7,\"max_tokens\":8},\"s\":\"\\u00e9\\/é\", ";
        body +=
            &format!("\"max_tokens\" : {max} , \"a\":-0.0,\"stream\":{stream}, \"l\":[ ] }} \n");
        body
    };
    assert_patched(&body("300", "false"), &body("1", "true"));
}

#[test]
fn chunked_request_goes_to_both_nodes_with_a_length() {
    let nodes = Scripted::decoding(says(json(200, "{}")));
    let mut client = nodes.proxy.connect();
    client.send(
        "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\n5;x=y\r\n{\"pro\r\na\r\nmpt\":\"hi\"}\r\n0\r\nTrailer: t\r\n\r\n",
    );
    assert_eq!(client.response().status, 200);
    for (node, body) in [
        (
            &nodes.prefill[0],
            r#"{"prompt":"hi","max_tokens":1,"stream":true}"#,
        ),
        (&nodes.decode[0], r#"{"prompt":"hi"}"#),
    ] {
        let seen = node.next();
        assert_eq!(seen.text(), body);
        assert_eq!(seen.field("content-length"), body.len().to_string());
        assert!(seen.fields("transfer-encoding").is_empty(), "{}", seen.head);
        assert!(seen.fields("trailer").is_empty(), "{}", seen.head);
    }
    nodes.assert_idle();
}

#[test]
fn duplicate_patched_key_is_refused() {
    assert_refused(
        r#"{"prompt":"hi","max_tokens":5,"max_tokens":5}"#,
        "max_tokens",
    );
    assert_refused(r#"{"prompt":"hi","stream":true,"stream":false}"#, "stream");
}

#[test]
fn escaped_patched_key_is_refused() {
    assert_refused(r#"{"prompt":"hi","max\u005ftokens":5}"#, "max_tokens");
    assert_refused(r#"{"prompt":"hi","\u0073tream":true}"#, "stream");
}

#[test]
fn beam_search_is_refused() {
    assert_refused(
        r#"{"prompt":"hi","use_beam_search":true,"n":2}"#,
        "use_beam_search",
    );
}

#[test]
fn prompt_logprobs_are_refused() {
    assert_refused(r#"{"prompt":"hi","prompt_logprobs":1}"#, "prompt_logprobs");
}

#[test]
fn echo_with_logprobs_is_refused() {
    assert_refused(r#"{"prompt":"hi","echo":true,"logprobs":1}"#, "echo");
}

#[test]
fn clients_kv_transfer_params_are_refused() {
    assert_refused(
        r#"{"prompt":"hi","kv_transfer_params":{"remote_host":"evil"}}"#,
        "kv_transfer_params",
    );
}

/// Sends a request to a P that answers with `script`; asserts that D hears nothing and P is asked once.
#[track_caller]
fn refused_by_prefill(script: Script) -> Response {
    // A second P would take over, if anything but a refusal were seen.
    let nodes = Scripted::of([script, prefills()], [prefills()]);
    let response = nodes.proxy.post(COMPLETIONS, STREAM);
    nodes.prefill[0].next();
    nodes.assert_idle();
    response
}

#[test]
fn refusal_of_prefill_reaches_the_client_as_it_is() {
    let body = "{ \"error\" : {\"message\":\"é too long\",\"code\":400} }\n";
    let length = body.len();
    for status in [400, 401, 404, 422, 429] {
        let answer = format!(
            "HTTP/1.1 {status} Some Reason\r\ncontent-type: application/json; x=y\r\n\
             retry-after: 17\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        let response = refused_by_prefill(says(answer));
        assert!(
            response
                .head
                .starts_with(&format!("HTTP/1.1 {status} Some Reason\r\n")),
            "{}",
            response.head
        );
        assert_eq!(
            response.field("content-type"),
            Some("application/json; x=y")
        );
        assert_eq!(response.field("retry-after"), Some("17"));
        assert_eq!(response.text(), body);
    }
}

#[test]
fn error_event_with_a_status_of_the_clients_is_told_to_the_client() {
    let error = r#"{"error":{"message":"no","type":"BadRequestError","param":null,"code":400}}"#;
    let response = refused_by_prefill(says(events(&[error])));
    assert_eq!(response.openai_error(400), "no");
    assert_eq!(response.text(), error);
}

/// Sends a request to a P that fails with `first`, of two; asserts that the other P takes over under an
/// id of its own, and that there is one decode, of that id.
#[track_caller]
fn assert_taken_over(first: Script) {
    let nodes = Scripted::of([first, prefills()], [says(events(&["1"]))]);
    let response = nodes.proxy.post(COMPLETIONS, STREAM);
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.events(), ["1", "[DONE]"]);
    let (failed, taken) = (nodes.prefill[0].next(), nodes.prefill[1].next());
    let decoded = nodes.decode[0].next();
    assert_ne!(failed.id(), taken.id());
    assert!(
        failed.id().contains(&nodes.prefill[0].kv),
        "{}",
        failed.id()
    );
    assert!(taken.id().contains(&nodes.prefill[1].kv), "{}", taken.id());
    assert_eq!(decoded.id(), taken.id());
    assert_eq!(failed.body, taken.body);
    assert_eq!(nodes.proxy.metric("retries_total"), 1);
    nodes.assert_idle();
}

/// Sends a request to a P that fails with `script` and has no other beside it; asserts that D hears
/// nothing.
#[track_caller]
fn failed_alone(script: Script) -> Response {
    let nodes = Scripted::of([script], [prefills()]);
    let response = nodes.proxy.post(COMPLETIONS, STREAM);
    nodes.prefill[0].next();
    nodes.assert_idle();
    response
}

/// Writes a test of both: with another P, and without.
macro_rules! failing_prefill {
    ($taken_over:ident, $alone:ident, $script:expr) => {
        #[test]
        fn $taken_over() {
            assert_taken_over($script);
        }

        #[test]
        fn $alone() {
            failed_alone($script).openai_error(502);
        }
    };
}

failing_prefill!(
    status_500_of_prefill_is_taken_over,
    status_500_of_the_only_prefill_is_502,
    says(json(500, "{}"))
);
failing_prefill!(
    status_503_of_prefill_is_taken_over,
    status_503_of_the_only_prefill_is_502,
    says(json(503, "{}"))
);
failing_prefill!(
    prefill_cut_before_the_head_is_taken_over,
    only_prefill_cut_before_the_head_is_502,
    says_and_closes("")
);
failing_prefill!(
    prefill_reset_before_the_head_is_taken_over,
    only_prefill_reset_before_the_head_is_502,
    says_and_resets("")
);
failing_prefill!(
    prefill_cut_inside_the_head_is_taken_over,
    only_prefill_cut_inside_the_head_is_502,
    says_and_closes("HTTP/1.1 200 OK\r\ncontent-ty")
);
failing_prefill!(
    prefill_cut_inside_the_body_is_taken_over,
    only_prefill_cut_inside_the_body_is_502,
    says_and_closes([stream_head(), &event("{}"), &event("[DONE]")].concat())
);
failing_prefill!(
    prefill_with_an_error_event_of_its_own_is_taken_over,
    only_prefill_with_an_error_event_of_its_own_is_502,
    says(events(&[
        r#"{"error":{"message":"x","type":"InternalServerError","param":null,"code":500}}"#
    ]))
);
failing_prefill!(
    prefill_without_done_is_taken_over,
    only_prefill_without_done_is_502,
    says([stream_head(), &event("{}"), b"0\r\n\r\n"].concat())
);
failing_prefill!(
    prefill_that_speaks_no_http_is_taken_over,
    only_prefill_that_speaks_no_http_is_502,
    says("SSH-2.0-OpenSSH_9.2\r\n\r\n")
);

#[test]
fn prefill_that_refuses_connections_is_taken_over() {
    let nodes = Scripted::of([prefills(), prefills()], [says(events(&["1"]))]);
    nodes.prefill[0].close_port();
    let response = nodes.proxy.post(COMPLETIONS, STREAM);
    assert_eq!(response.events(), ["1", "[DONE]"]);
    let (taken, decoded) = (nodes.prefill[1].next(), nodes.decode[0].next());
    assert_eq!(decoded.id(), taken.id());
    assert_eq!(nodes.proxy.metric("kv_stranded_total"), 0);
    nodes.assert_idle();
}

#[test]
fn only_prefill_that_refuses_connections_is_502() {
    let nodes = Scripted::of([prefills()], [prefills()]);
    nodes.prefill[0].close_port();
    nodes.proxy.post(COMPLETIONS, STREAM).openai_error(502);
    nodes.assert_idle();
}

#[test]
fn prefill_that_does_not_answer_in_time_is_504() {
    let proxy = Proxy::start_with(&["--request-timeout-secs", "0.2"]);
    let silent: Script = Box::new(|_, _| true);
    let nodes = Scripted::behind(proxy, [silent], [prefills()]);
    nodes.proxy.post(COMPLETIONS, STREAM).openai_error(504);
    nodes.prefill[0].next();
    nodes.assert_idle();
}

#[test]
fn decode_waits_for_the_last_byte_of_prefill() {
    let parts = vec![
        stream_head().to_vec(),
        event("{}"),
        event("[DONE]"),
        b"0\r\n".to_vec(),
    ];
    let (cue, script) = on_cue(parts, says("\r\n"));
    let nodes = Scripted::of([script], [says(json(200, "{}"))]);
    let mut client: Client = nodes.proxy.connect();
    client.send(post(COMPLETIONS, STREAM));
    nodes.prefill[0].next();
    for _ in 0..4 {
        cue.send(()).unwrap();
        nodes.proxy.catch_up();
        nodes.decode[0].assert_idle();
    }
    cue.send(()).unwrap();
    assert_eq!(client.response().status, 200);
    nodes.decode[0].next();
    nodes.assert_idle();
}

/// Makes the port of `node` one that answers no SYN: bound, with its queue full. What holds it so.
fn black_hole(node: &Node) -> (rustix::fd::OwnedFd, Vec<TcpStream>) {
    use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};
    node.close_port();
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_reuseaddr(&socket, true).unwrap();
    // A child that another test forks at this moment holds the closed port until it runs its program.
    eventually("the port is free", || {
        bind(&socket, &node.http).is_ok() && listen(&socket, 0).is_ok()
    });
    let connect = || TcpStream::connect_timeout(&node.http, Duration::from_millis(100));
    let queued = std::iter::from_fn(|| connect().ok()).collect();
    (socket, queued)
}

#[test]
fn only_prefill_that_takes_no_connection_is_504_after_two_seconds() {
    let nodes = Scripted::of([prefills()], [prefills()]);
    let _hole = black_hole(&nodes.prefill[0]);
    let began = Instant::now();
    nodes.proxy.post(COMPLETIONS, STREAM).openai_error(504);
    assert!(began.elapsed() >= Duration::from_millis(1_900));
    nodes.assert_idle();
}

#[test]
fn refusal_of_prefill_that_is_cut_is_seen_to_be_cut() {
    let answer = "HTTP/1.1 400 Bad Request\r\ncontent-length: 100\r\n\r\n{\"error\":";
    let response = refused_by_prefill(says_and_closes(answer));
    assert_eq!((response.status, response.end), (400, End::Cut));
}

#[test]
fn prompt_that_is_too_long_is_refused_by_prefill_alone() {
    let fleet = Fleet::start();
    let body = format!(
        "{{\"prompt\":\"{}\",\"max_tokens\":3}}",
        "word ".repeat(40_000)
    );
    let response = fleet.proxy.post(COMPLETIONS, &body);
    assert_eq!(response.status, 400, "{}", response.text());
    assert_eq!(fleet.prefill[0].ledger().total().refused, 1);
    assert_eq!(fleet.decode[0].ledger().total().started, 0);
    fleet.assert_clean();
}
