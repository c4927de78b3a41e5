//! Request ids: the one that names both nodes, and the client's own.

use std::collections::HashSet;

use pd_bench::sim::{chat_prompt, chat_text, completion_text, text, tokenize};
use serde_json::json;

use crate::support::client::{post, post_with};
use crate::support::fleet::Fleet;
use crate::support::node::{events, json};
use crate::support::script::{STREAM, Scripted, prefills, says};

const MODEL: &str = "Qwen/Qwen2.5-7B-Instruct";
const COMPLETIONS: &str = "/v1/completions";
const CHAT: &str = "/v1/chat/completions";

#[test]
fn both_legs_have_one_id_that_names_both_nodes() {
    let nodes = Scripted::decoding(says(events(&["1"])));
    nodes.proxy.post(COMPLETIONS, STREAM);
    let (prefill, decode) = (nodes.prefill[0].next(), nodes.decode[0].next());
    assert_eq!(prefill.id(), decode.id());
    let addresses = format!(
        "___prefill_addr_{}___decode_addr_{}_",
        nodes.prefill[0].kv, nodes.decode[0].kv
    );
    let unique = prefill
        .id()
        .strip_prefix(&addresses)
        .expect("the addresses");
    assert_eq!(unique.len(), 32, "{unique}");
    let is_hex = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    assert!(unique.bytes().all(is_hex), "{unique}");
    nodes.assert_idle();
}

#[test]
fn every_request_has_an_id_of_its_own() {
    let nodes = Scripted::decoding(says(events(&["1"])));
    let mut client = nodes.proxy.connect();
    let mut ids = HashSet::new();
    for _ in 0..300 {
        client.send(post(COMPLETIONS, STREAM));
        assert_eq!(client.response().status, 200);
        let (prefill, decode) = (nodes.prefill[0].next(), nodes.decode[0].next());
        assert_eq!(prefill.id(), decode.id());
        assert!(ids.insert(decode.id().to_owned()), "{}", decode.id());
    }
    nodes.assert_idle();
}

#[test]
fn clients_own_id_comes_back_and_reaches_no_node() {
    let nodes = Scripted::decoding(says(events(&["1"])));
    let request = post_with(
        COMPLETIONS,
        "X-Request-ID: ___decode_addr_evil:1\r\n",
        STREAM,
    );
    let response = nodes.proxy.connect().send(request).response();
    assert_eq!(
        response.field("x-request-id"),
        Some("___decode_addr_evil:1")
    );
    for seen in [nodes.prefill[0].next(), nodes.decode[0].next()] {
        assert!(
            seen.id().starts_with("___prefill_addr_node-"),
            "{}",
            seen.id()
        );
        assert!(!seen.head.contains("evil"), "{}", seen.head);
    }
    nodes.assert_idle();
}

#[test]
fn clients_own_id_is_logged_beside_the_one_the_nodes_know() {
    let nodes = Scripted::decoding(says(events(&["1"])));
    let request = post_with(COMPLETIONS, "X-Request-Id: my-own-7\r\n", STREAM);
    nodes.proxy.connect().send(request).response();
    let chosen = nodes.proxy.wait_for_log("pair chosen");
    assert!(chosen.contains("client_id=my-own-7"), "{chosen}");
    assert!(chosen.contains(nodes.decode[0].next().id()), "{chosen}");
    let answered = nodes.proxy.wait_for_log("answered route=\"completions\"");
    assert!(answered.contains("client_id=my-own-7"), "{answered}");
}

#[test]
fn clients_own_id_comes_back_on_errors() {
    let nodes = Scripted::of([says(json(422, "{}"))], [prefills()]);
    let mut client = nodes.proxy.connect();
    let mut echoed = |path: &str, body: &str, status| {
        client.send(post_with(path, "X-Request-Id: mine-7\r\n", body));
        let response = client.response();
        assert_eq!(response.status, status);
        assert_eq!(response.field("x-request-id"), Some("mine-7"));
    };
    echoed("/nowhere", "", 404);
    echoed("/health", "", 405);
    echoed(COMPLETIONS, "[]", 400);
    echoed(COMPLETIONS, STREAM, 422);
    nodes.prefill[0].next();
    nodes.assert_idle();
}

#[test]
fn id_that_a_node_echoes_never_reaches_the_client() {
    let answer = "HTTP/1.1 200 OK\r\nX-Request-Id: ___prefill_addr_10.0.0.1:1___decode_addr_10.0.0.2:2_0\r\n\
                  content-length: 2\r\n\r\n{}";
    let nodes = Scripted::decoding(says(answer));
    let response = nodes.proxy.post(COMPLETIONS, STREAM);
    assert_eq!(response.field("x-request-id"), None);
    assert!(!response.head.contains("_addr_"), "{}", response.head);
    let request = post_with(COMPLETIONS, "x-request-id: mine\r\n", STREAM);
    let response = nodes.proxy.connect().send(request).response();
    assert_eq!(response.field("x-request-id"), Some("mine"));
}

#[test]
fn several_choices_of_one_prompt_are_generated() {
    let fleet = Fleet::start();
    let body = json!({"model": MODEL, "prompt": "to be", "n": 3, "max_tokens": 6});
    let answer = fleet.proxy.post(COMPLETIONS, &body.to_string()).json();
    for choice in 0..3_u32 {
        let text = completion_text(MODEL, "to be", choice, 6);
        assert_eq!(answer["choices"][choice as usize]["text"], text);
    }
    fleet.assert_clean();
}

#[test]
fn list_of_prompts_is_generated() {
    let fleet = Fleet::start();
    let prompts = ["one", "two two", "three three three"];
    let body = json!({"model": MODEL, "prompt": prompts, "max_tokens": 4});
    let answer = fleet.proxy.post(COMPLETIONS, &body.to_string()).json();
    for (index, prompt) in prompts.iter().enumerate() {
        let text = completion_text(MODEL, prompt, 0, 4);
        assert_eq!(answer["choices"][index]["text"], text);
    }
    fleet.assert_clean();
}

#[test]
fn request_that_requires_a_tool_is_answered() {
    let fleet = Fleet::start();
    let tool =
        json!({"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}});
    let body = json!({
        "model": MODEL, "messages": [{"role": "user", "content": "look!"}],
        "tools": [tool], "tool_choice": "required", "max_tokens": 8,
    });
    let response = fleet.proxy.post(CHAT, &body.to_string());
    assert_eq!(response.status, 200, "{}", response.text());
    let prompt = chat_prompt(body["messages"].as_array().unwrap(), body.get("tools"));
    let expected = text(MODEL, &tokenize(&prompt), 0, 8);
    assert_eq!(response.generated(), expected);
    fleet.assert_clean();
}

#[test]
fn usage_comes_with_the_stream_that_asks_for_it() {
    let fleet = Fleet::start();
    let body = json!({
        "model": MODEL, "prompt": "count me", "max_tokens": 5, "stream": true,
        "stream_options": {"include_usage": true},
    });
    let events = fleet.proxy.post(COMPLETIONS, &body.to_string()).events();
    let usage: serde_json::Value = serde_json::from_str(&events[events.len() - 2]).unwrap();
    assert_eq!(usage["usage"]["completion_tokens"], 5, "{usage}");
    assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
    fleet.assert_clean();
}

#[test]
fn chat_of_parts_is_answered() {
    let fleet = Fleet::start();
    let parts = json!([{"type": "text", "text": "hello "}, {"type": "text", "text": "there"}]);
    let messages = json!([{"role": "user", "content": parts}]);
    let body = json!({"model": MODEL, "messages": messages, "max_completion_tokens": 7});
    let response = fleet.proxy.post(CHAT, &body.to_string());
    let expected = chat_text(MODEL, messages.as_array().unwrap(), 0, 7);
    assert_eq!(response.generated(), expected);
    fleet.assert_clean();
}

#[test]
fn completion_streams_the_text_of_the_model() {
    let fleet = Fleet::start();
    let body = json!({"model": MODEL, "prompt": "hello there", "max_tokens": 9, "stream": true});
    let response = fleet.proxy.post(COMPLETIONS, &body.to_string());
    assert_eq!(response.status, 200);
    assert_eq!(response.events().last().map(String::as_str), Some("[DONE]"));
    let expected = completion_text(MODEL, "hello there", 0, 9);
    assert_eq!(response.generated(), expected);
    fleet.assert_clean();
}
