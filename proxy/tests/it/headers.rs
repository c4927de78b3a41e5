//! Header fields on their way to the nodes and back.

use crate::support::client::{get, post_with};
use crate::support::node::{Seen, json};
use crate::support::proxy::{Proxy, command};
use crate::support::script::{STREAM, Scripted, prefills, says};

const COMPLETIONS: &str = "/v1/completions";

/// What both legs of a request with `fields` look like.
fn legs(nodes: &Scripted, fields: &str) -> [Seen; 2] {
    let request = post_with(COMPLETIONS, fields, STREAM);
    let response = nodes.proxy.connect().send(request).response();
    assert_eq!(response.status, 200);
    [nodes.prefill[0].next(), nodes.decode[0].next()]
}

#[test]
fn clients_end_to_end_fields_reach_both_nodes() {
    let nodes = Scripted::decoding(says(json(200, "{}")));
    let fields = "traceparent: 00-ab-cd-01\r\nX-data-parallel-rank: 3\r\nUser-Agent: me/1\r\nAccept: */*\r\n";
    for seen in legs(&nodes, fields) {
        assert_eq!(seen.field("traceparent"), "00-ab-cd-01");
        assert_eq!(seen.field("x-data-parallel-rank"), "3");
        assert_eq!(seen.field("user-agent"), "me/1");
        assert_eq!(seen.field("accept"), "*/*");
        assert_eq!(seen.field("content-type"), "application/json");
    }
    nodes.assert_idle();
}

#[test]
fn each_leg_names_its_own_node_as_host() {
    let nodes = Scripted::decoding(says(json(200, "{}")));
    let [prefill, decode] = legs(&nodes, "");
    assert_eq!(prefill.field("host"), nodes.prefill[0].http.to_string());
    assert_eq!(decode.field("host"), nodes.decode[0].http.to_string());
    nodes.assert_idle();
}

#[test]
fn clients_hop_by_hop_fields_reach_no_node() {
    let nodes = Scripted::decoding(says(json(200, "{}")));
    let fields = "Connection: keep-alive, X-Mine, Authorization-Not\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\n\
                  TE: trailers\r\nUpgrade: h2c\r\nProxy-Connection: keep-alive\r\n\
                  Proxy-Authorization: Basic eA==\r\nHTTP2-Settings: AAMAAABk\r\nExpect: 100-continue\r\n\
                  Accept-Encoding: gzip\r\nX-Other: 2\r\n";
    let request = post_with(COMPLETIONS, fields, STREAM);
    let mut client = nodes.proxy.connect();
    client.send(request);
    let mut response = client.response();
    if response.status == 100 {
        response = client.response();
    }
    assert_eq!(response.status, 200);
    for seen in [nodes.prefill[0].next(), nodes.decode[0].next()] {
        for name in [
            "connection",
            "x-mine",
            "keep-alive",
            "te",
            "upgrade",
            "proxy-connection",
            "proxy-authorization",
            "http2-settings",
            "expect",
            "accept-encoding",
        ] {
            assert!(seen.fields(name).is_empty(), "{name} in {}", seen.head);
        }
        assert_eq!(seen.field("x-other"), "2");
    }
    nodes.assert_idle();
}

#[test]
fn nodes_hop_by_hop_fields_do_not_reach_the_client() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nConnection: X-Mine\r\nX-Mine: 1\r\n\
                  Keep-Alive: timeout=5\r\nUpgrade: h2c\r\nProxy-Authenticate: Basic\r\nTrailer: x\r\n\
                  server: uvicorn\r\nx-other: 2\r\nx-other: 3\r\ncontent-length: 2\r\n\r\n{}";
    let nodes = Scripted::decoding(says(answer));
    let response = nodes.proxy.post(COMPLETIONS, STREAM);
    let fields: Vec<_> = response
        .fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        fields,
        [
            ("content-type", "application/json"),
            ("server", "uvicorn"),
            ("x-other", "2"),
            ("x-other", "3"),
            ("content-length", "2"),
        ]
    );
}

#[test]
fn clients_authorization_reaches_both_nodes() {
    let nodes = Scripted::decoding(says(json(200, "{}")));
    for seen in legs(&nodes, "Authorization: Bearer mine\r\n") {
        assert_eq!(seen.field("authorization"), "Bearer mine");
    }
    for seen in legs(&nodes, "") {
        assert!(seen.fields("authorization").is_empty(), "{}", seen.head);
    }
    nodes.assert_idle();
}

#[test]
fn operators_key_takes_the_place_of_the_clients_on_both_legs() {
    let proxy = Proxy::start_command(command().env("OPENAI_API_KEY", "sk-nodes"));
    let nodes = Scripted::behind(proxy, [prefills()], [says(json(200, "{}"))]);
    for fields in ["Authorization: Bearer mine\r\n", ""] {
        for seen in legs(&nodes, fields) {
            assert_eq!(seen.field("authorization"), "Bearer sk-nodes");
        }
    }
    nodes.assert_idle();
}

#[test]
fn both_legs_say_who_passed_them_on() {
    let nodes = Scripted::decoding(says(json(200, "{}")));
    for seen in legs(&nodes, "Via: 1.1 edge\r\n") {
        let via = seen.fields("via");
        assert_eq!(via.len(), 2, "{}", seen.head);
        assert_eq!(via[0], "1.1 edge");
    }
    nodes.assert_idle();
}

#[test]
fn request_of_the_proxys_own_is_refused_with_508() {
    let nodes = Scripted::decoding(says(json(200, "{}")));
    let [seen, _] = legs(&nodes, "");
    let via = seen.field("via").to_owned();
    for fields in [
        format!("Via: {via}\r\n"),
        format!("Via: 1.1 other, {via} , 1.0 third\r\n"),
        format!("Via: 1.1 other\r\nvia: {via}\r\n"),
    ] {
        let request = post_with(COMPLETIONS, &fields, STREAM);
        let response = nodes.proxy.connect().send(request).response();
        response.openai_error(508);
        let request = String::from_utf8(get("/v1/models")).unwrap();
        let request = request.replacen("\r\n\r\n", &format!("\r\n{fields}\r\n"), 1);
        let response = nodes.proxy.connect().send(request).response();
        response.openai_error(508);
    }
    nodes.assert_idle();
}
