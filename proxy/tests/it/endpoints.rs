//! What the proxy answers itself, and what any one node does.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::support::client::{Client, Response, get, post};
use crate::support::fleet::Fleet;
use crate::support::node::{Node, json as json_answer, stream_head};
use crate::support::proxy::Proxy;
use crate::support::script::{STREAM, Scripted, prefills, says, says_and_closes};

const COMPLETIONS: &str = "/v1/completions";

/// The response to a request without a body.
fn request(proxy: &Proxy, method: &str, path: &str) -> Response {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: proxy\r\n\r\n");
    proxy.connect().send(request).response()
}

#[test]
fn health_is_200_with_a_node_of_each_role() {
    let fleet = Fleet::start();
    let response = fleet.proxy.get("/health");
    assert_eq!((response.status, response.text().as_str()), (200, ""));
    fleet.assert_clean();
}

#[test]
fn health_without_nodes_says_why_not() {
    let proxy = Proxy::start();
    let response = proxy.get("/health");
    assert_eq!(response.openai_error(503), "no prefill node has registered");
    assert!(response.field("retry-after").is_some(), "{}", response.head);
}

#[test]
fn health_without_a_decode_node_says_why_not() {
    let nodes = Scripted::of([prefills()], []);
    let message = nodes.proxy.get("/health").openai_error(503);
    assert_eq!(message, "no decode node has registered");
    nodes.assert_idle();
}

#[test]
fn health_without_a_prefill_node_says_why_not() {
    let nodes = Scripted::of([], [prefills()]);
    let message = nodes.proxy.get("/health").openai_error(503);
    assert_eq!(message, "no prefill node has registered");
    nodes.assert_idle();
}

#[test]
fn health_says_that_a_node_is_not_ready_yet() {
    let proxy = Proxy::start();
    // Nobody listens at port 1.
    let _starting = crate::support::node::register(&proxy, "P", "127.0.0.1:1", "127.0.0.1:2");
    crate::support::eventually("it has registered", || {
        proxy.metric("nodes{role=\"prefill\",state=\"pending\"}") == 1
    });
    let message = proxy.get("/health").openai_error(503);
    assert!(
        message.starts_with("1 prefill node(s) registered"),
        "{message}"
    );
}

#[test]
fn request_without_nodes_is_503_and_told_when_to_come_again() {
    let proxy = Proxy::start();
    for response in [proxy.post(COMPLETIONS, STREAM), proxy.get("/v1/models")] {
        response.openai_error(503);
        let after = response.field("retry-after").expect("a time");
        assert!((1..=10).contains(&after.parse().unwrap()), "{after}");
    }
}

#[test]
fn request_without_a_decode_node_costs_no_prefill() {
    let nodes = Scripted::of([prefills()], []);
    nodes.proxy.post(COMPLETIONS, STREAM).openai_error(503);
    nodes.assert_idle();
}

#[test]
fn models_are_what_a_node_says_they_are() {
    let body = "{ \"object\":\"list\" , \"data\":[{\"id\":\"é\", \"x\":1.0e0}]}\n";
    let nodes = Scripted::of([prefills()], [says(json_answer(200, body))]);
    let response = nodes.proxy.get("/v1/models?x=y");
    assert_eq!(response.status, 200);
    assert_eq!(response.field("content-type"), Some("application/json"));
    assert_eq!(response.text(), body);
    let seen = nodes.decode[0].next();
    assert!(
        seen.head.starts_with("GET /v1/models?x=y HTTP/1.1\r\n"),
        "{}",
        seen.head
    );
    // No generation: an id that names nodes would be out of place.
    assert!(seen.fields("x-request-id").is_empty(), "{}", seen.head);
    nodes.assert_idle();
}

#[test]
fn models_of_a_simulated_fleet_name_its_model() {
    let fleet = Fleet::start();
    let models = fleet.proxy.get("/v1/models").json();
    assert_eq!(models["data"][0]["id"], fleet.decode[0].options().model);
    fleet.assert_clean();
}

#[test]
fn models_come_from_a_prefill_node_when_decode_does_not_answer() {
    let nodes = Scripted::of([says(json_answer(200, "[1]"))], [says_and_closes("")]);
    assert_eq!(nodes.proxy.get("/v1/models").text(), "[1]");
    nodes.decode[0].next();
    nodes.prefill[0].next();
    nodes.assert_idle();
}

#[test]
fn models_that_no_node_gives_are_502() {
    let nodes = Scripted::of([says_and_closes("")], [says_and_closes("")]);
    nodes.proxy.get("/v1/models").openai_error(502);
}

#[test]
fn version_is_a_nodes_with_the_proxys_beside_it() {
    let fleet = Fleet::start();
    let response = fleet.proxy.get("/version");
    assert_eq!(response.field("content-type"), Some("application/json"));
    assert_eq!(
        response.json(),
        json!({
            "version": "0.23.0",
            "proxy": {"name": "pd-proxy", "version": env!("CARGO_PKG_VERSION")},
        })
    );
    fleet.assert_clean();
}

#[test]
fn version_without_nodes_is_the_proxys_alone() {
    let response = Proxy::start().get("/version");
    assert_eq!(response.status, 200);
    assert_eq!(response.json()["version"], serde_json::Value::Null);
    assert_eq!(response.json()["proxy"]["name"], "pd-proxy");
}

/// The families of a Prometheus text, each with its kind; asserts that the text is well formed.
#[track_caller]
fn families(text: &str) -> BTreeMap<&str, &str> {
    let (mut helps, mut kinds) = (BTreeSet::new(), BTreeMap::new());
    let (mut samples, mut current) = (BTreeSet::new(), "");
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').expect("a help text");
            assert!(!help.is_empty(), "{line}");
            assert!(helps.insert(name), "a second help: {line}");
            current = name;
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a kind");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(name, current, "the help comes right before: {line}");
            assert!(kinds.insert(name, kind).is_none(), "a second type: {line}");
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let value: f64 = value
                .parse()
                .unwrap_or_else(|_| panic!("no number: {line}"));
            assert!(value >= 0.0, "{line}");
            assert!(samples.insert(series), "a second sample: {line}");
            let name = series.split('{').next().unwrap();
            let kind = kinds.get(current).expect("a type comes before");
            let parts = ["_bucket", "_sum", "_count"];
            let family = match *kind {
                "histogram" => parts
                    .iter()
                    .find_map(|part| name.strip_suffix(part))
                    .unwrap_or(name),
                _ => name,
            };
            assert_eq!(family, current, "a sample out of place: {line}");
            assert_eq!(*kind == "counter", name.ends_with("_total"), "{line}");
        }
    }
    assert_eq!(helps.len(), kinds.len());
    kinds
}

#[test]
fn metrics_are_prometheus_text() {
    let fleet = Fleet::of(2, 2);
    let body = json!({"model": fleet.decode[0].options().model, "prompt": "x", "max_tokens": 3});
    for body in [body.to_string(), "[]".to_owned()] {
        fleet.proxy.post(COMPLETIONS, &body);
    }
    let response = fleet.proxy.get("/metrics");
    assert_eq!(
        response.field("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let text = response.text();
    let families = families(&text);
    for (name, kind) in [
        ("pd_proxy_requests_total", "counter"),
        ("pd_proxy_in_flight", "gauge"),
        ("pd_proxy_time_to_first_token_seconds", "histogram"),
        ("pd_proxy_kv_stranded_total", "counter"),
    ] {
        assert_eq!(families.get(name), Some(&kind), "{text}");
    }
    let sample = |labels: &str| fleet.proxy.metric(&format!("requests_total{{{labels}}}"));
    assert_eq!(sample("route=\"completions\",status=\"200\""), 1);
    assert_eq!(sample("route=\"completions\",status=\"400\""), 1);
    fleet.assert_clean();
}

#[test]
fn metrics_of_a_fresh_proxy_are_prometheus_text() {
    let text = Proxy::start().get("/metrics").text();
    assert!(!families(&text).is_empty());
}

/// The responses to a GET and a HEAD of one path, on one connection.
#[track_caller]
fn get_and_head(proxy: &Proxy, path: &str) -> (Response, Response) {
    let mut client: Client = proxy.connect();
    let plain = client.send(get(path)).response();
    let head = format!("HEAD {path} HTTP/1.1\r\nHost: proxy\r\n\r\n");
    let headed = client.send(head).head_response();
    // A body would be taken for the next head.
    let next = client.send(get("/nowhere")).response();
    assert_eq!(next.status, 404, "{}", next.head);
    (plain, headed)
}

#[test]
fn head_of_what_the_proxy_says_has_no_body_and_the_same_length() {
    let fleet = Fleet::start();
    for path in ["/health", "/version", "/v1/models"] {
        let (plain, headed) = get_and_head(&fleet.proxy, path);
        assert_eq!(headed.status, plain.status, "{path}");
        assert_eq!(
            headed.field("content-length"),
            plain.field("content-length"),
            "{path}"
        );
        assert_eq!(
            headed.field("content-type"),
            plain.field("content-type"),
            "{path}"
        );
    }
    // Its numbers, and with them its length, may differ from one time to the next.
    let (plain, headed) = get_and_head(&fleet.proxy, "/metrics");
    let length = |response: &Response| {
        let length = response.field("content-length").unwrap();
        length.parse::<u64>().unwrap()
    };
    assert!(length(&headed).abs_diff(length(&plain)) < 100);
    fleet.assert_clean();
}

#[test]
fn head_of_a_refusal_has_no_body_and_the_same_length() {
    let proxy = Proxy::start();
    for path in ["/health", "/v1/models", "/elsewhere", COMPLETIONS] {
        let (plain, headed) = get_and_head(&proxy, path);
        assert_eq!(headed.status, plain.status, "{path}");
        assert_eq!(
            headed.field("content-length"),
            plain.field("content-length"),
            "{path}"
        );
    }
}

#[test]
fn head_of_a_nodes_endless_answer_ends_at_once() {
    let endless = stream_head().to_vec();
    let nodes = Scripted::of([prefills()], [says(endless)]);
    let mut client = nodes.proxy.connect();
    client.send("HEAD /v1/models HTTP/1.1\r\nHost: proxy\r\n\r\n");
    assert_eq!(client.head_response().status, 200);
    nodes.decode[0].next();
    nodes.assert_idle();
}

#[test]
fn unknown_route_is_404() {
    let nodes = Scripted::of([prefills()], [prefills()]);
    for path in [
        "/",
        "/v1",
        "/v1/embeddings",
        "/v1/responses",
        "/v1/completions/",
        "/V1/completions",
        "/v1//completions",
        "/tokenize",
    ] {
        request(&nodes.proxy, "GET", path).openai_error(404);
        nodes.proxy.post(path, STREAM).openai_error(404);
    }
    nodes.assert_idle();
}

#[test]
fn wrong_method_is_405_and_told_the_right_ones() {
    let nodes = Scripted::of([prefills()], [prefills()]);
    for (method, path, allow) in [
        ("GET", COMPLETIONS, "POST"),
        ("DELETE", "/v1/chat/completions", "POST"),
        ("PUT", "/v1/models", "GET, HEAD"),
        ("DELETE", "/health", "GET, HEAD"),
        ("OPTIONS", "/metrics", "GET, HEAD"),
        ("PATCH", "/version", "GET, HEAD"),
        ("TRACE", "/health", "GET, HEAD, POST"),
    ] {
        let response = request(&nodes.proxy, method, path);
        response.openai_error(405);
        assert_eq!(response.field("allow"), Some(allow), "{method} {path}");
    }
    nodes.assert_idle();
}

#[test]
fn wrong_type_of_body_is_refused() {
    let nodes = Scripted::of([prefills()], [prefills()]);
    let sent = |fields: &str| {
        let request = format!(
            "POST {COMPLETIONS} HTTP/1.1\r\nHost: x\r\n{fields}Content-Length: 2\r\n\r\n{{}}"
        );
        nodes.proxy.connect().send(request).response()
    };
    sent("").openai_error(400);
    sent("Content-Type: text/plain\r\n").openai_error(400);
    sent("Content-Type: application/json\r\nContent-Encoding: gzip\r\n").openai_error(415);
    nodes.assert_idle();
}

#[test]
fn type_of_body_may_have_parameters() {
    let nodes = Scripted::decoding(says(json_answer(200, "{}")));
    let request = String::from_utf8(post(COMPLETIONS, STREAM)).unwrap();
    let request = request.replacen("application/json", "Application/JSON; charset=utf-8", 1);
    assert_eq!(nodes.proxy.connect().send(request).response().status, 200);
    nodes
        .prefill
        .iter()
        .chain(&nodes.decode)
        .for_each(|node: &Node| {
            assert_eq!(
                node.next().field("content-type"),
                "Application/JSON; charset=utf-8"
            );
        });
    nodes.assert_idle();
}
