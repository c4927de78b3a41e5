//! What clients of the HTTP API see.

use crate::client::{Client, End, ask, get, metric, post, post_as};
use pd_bench::sim::{Options, Role, Sim, chat_text, completion_text};
use serde_json::{Value, json};

const MODEL: &str = "Qwen/Qwen2.5-7B-Instruct";

fn node() -> Sim {
    Sim::start(Options::of(Role::Both)).unwrap()
}

#[test]
fn completion_has_the_keys_and_text_of_the_real_server() {
    let reply = post_as(
        &node(),
        "/v1/completions",
        "abc",
        &json!({"model": MODEL, "prompt": "tell me more", "max_tokens": 12}),
    );

    assert_eq!(reply.status, 200);
    assert!(reply.head.contains("content-type: application/json\r\n"));
    assert!(reply.head.contains("server: uvicorn\r\n"));
    let value = reply.json();
    assert_eq!(value["id"], "cmpl-abc");
    assert_eq!(value["object"], "text_completion");
    assert_eq!(value["choices"][0]["finish_reason"], "length");
    assert_eq!(value["kv_transfer_params"], Value::Null);
    assert_eq!(
        value["usage"],
        json!({"prompt_tokens": 3, "completion_tokens": 12, "total_tokens": 15,
               "prompt_tokens_details": null})
    );
    let expected = completion_text(MODEL, "tell me more", 0, 12);
    assert_eq!(value["choices"][0]["text"], expected);
}

#[test]
fn chat_has_the_keys_and_text_of_the_real_server() {
    let messages = json!([{"role": "user", "content": "tell me more"}]);
    let reply = post_as(
        &node(),
        "/v1/chat/completions",
        "abc",
        &json!({"messages": messages, "max_completion_tokens": 12, "max_tokens": 3}),
    );

    let value = reply.json();
    assert_eq!(value["id"], "chatcmpl-abc");
    assert_eq!(value["choices"][0]["message"]["role"], "assistant");
    assert_eq!(value["choices"][0]["message"]["tool_calls"], json!([]));
    let expected = chat_text(MODEL, messages.as_array().unwrap(), 0, 12);
    assert_eq!(value["choices"][0]["message"]["content"], expected);
}

#[test]
fn stream_is_one_chunk_per_event_and_ends_with_done() {
    let reply = post(
        &node(),
        "/v1/completions",
        &json!({"prompt": "tell me more", "max_tokens": 12, "stream": true}),
    );

    assert_eq!(reply.end, End::Complete);
    assert!(
        reply
            .head
            .contains("content-type: text/event-stream; charset=utf-8\r\n")
    );
    assert!(reply.head.contains("transfer-encoding: chunked\r\n"));
    assert_eq!(reply.chunks.len(), 13);
    assert!(reply.chunks.iter().all(|chunk| chunk.ends_with(b"\n\n")));
    assert_eq!(reply.chunks[12], b"data: [DONE]\n\n");
    assert_eq!(
        reply.choice(0),
        completion_text(MODEL, "tell me more", 0, 12)
    );
    let events = reply.events();
    assert_eq!(events[10]["choices"][0]["finish_reason"], Value::Null);
    assert_eq!(events[11]["choices"][0]["finish_reason"], "length");
}

#[test]
fn chat_stream_begins_with_the_role_and_ends_with_usage() {
    let reply = post(
        &node(),
        "/v1/chat/completions",
        &json!({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 3, "stream": true,
                "stream_options": {"include_usage": true, "continuous_usage_stats": true}}),
    );

    let events = reply.events();
    assert_eq!(events.len(), 5);
    assert_eq!(
        events[0]["choices"][0]["delta"],
        json!({"role": "assistant", "content": ""})
    );
    assert_eq!(events[2]["usage"]["completion_tokens"], 2);
    assert_eq!(events[4]["choices"], json!([]));
    assert_eq!(events[4]["usage"]["completion_tokens"], 3);
}

#[test]
fn stream_and_whole_answer_say_the_same() {
    let sim = node();
    for body in [
        json!({"prompt": ["a", "b"], "n": 2, "max_tokens": 40, "echo": true}),
        json!({"prompt": "a", "stop": ["ing", " model", ","], "max_tokens": 300}),
        json!({"prompt": "a", "stop_token_ids": [3, 4], "max_tokens": 300, "logprobs": 1}),
    ] {
        let whole = post(&sim, "/v1/completions", &body);
        let mut body = body;
        body["stream"] = json!(true);
        let streamed = post(&sim, "/v1/completions", &body);

        let choices = whole.json()["choices"].as_array().unwrap().len();
        for index in 0..choices as u64 {
            assert_eq!(whole.choice(index), streamed.choice(index));
        }
        let reasons = |values: &[Value]| -> Vec<Value> {
            let choices = values.iter().map(|value| &value["choices"][0]);
            choices
                .map(|choice| choice["finish_reason"].clone())
                .filter(|reason| !reason.is_null())
                .collect()
        };
        assert_eq!(reasons(&streamed.events()).len(), choices);
        assert_eq!(
            reasons(&streamed.events())[0],
            whole.json()["choices"][0]["finish_reason"]
        );
    }
}

#[test]
fn log_probabilities_come_in_both_shapes() {
    let sim = node();
    let completion = post(
        &sim,
        "/v1/completions",
        &json!({"prompt": "a", "max_tokens": 2, "logprobs": 1}),
    );
    let chat = post(
        &sim,
        "/v1/chat/completions",
        &json!({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2, "logprobs": true,
                "top_logprobs": 1}),
    );

    let logprobs = &completion.json()["choices"][0]["logprobs"];
    assert_eq!(logprobs["tokens"].as_array().unwrap().len(), 2);
    assert_eq!(logprobs["text_offset"][0], 0);
    let content = &chat.json()["choices"][0]["logprobs"]["content"];
    assert_eq!(content[1]["top_logprobs"][0]["token"], content[1]["token"]);
}

#[test]
fn null_limit_on_completions_ends_in_an_error() {
    let sim = node();
    let mut body = json!({"prompt": "a", "max_tokens": null});
    assert_eq!(post(&sim, "/v1/completions", &body).status, 500);

    body["stream"] = json!(true);
    let reply = post(&sim, "/v1/completions", &body);
    assert_eq!(reply.status, 200);
    assert_eq!(reply.events()[0]["error"]["code"], 500);
    assert!(reply.text().ends_with("data: [DONE]\n\n"));
}

#[test]
fn wrong_content_type_and_wrong_json_are_bad_requests() {
    let sim = node();
    let mut client = Client::to(sim.http_addr());
    client.send("POST", "/v1/completions", "", "{not json");
    let reply = client.reply();
    assert_eq!(reply.status, 400);
    let error = &reply.json()["error"];
    assert_eq!(
        (&error["type"], &error["code"]),
        (&json!("Bad Request"), &json!(400))
    );

    let other = "POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\n\
                 content-length: 14\r\n\r\n{\"prompt\":\"a\"}";
    client.raw(other);
    assert_eq!(client.reply().status, 400);
}

#[test]
fn small_endpoints_answer() {
    let sim = node();

    let health = get(&sim, "/health");
    assert_eq!((health.status, health.text().as_str()), (200, ""));
    assert_eq!(get(&sim, "/version").json(), json!({"version": "0.23.0"}));
    let models = get(&sim, "/v1/models").json();
    assert_eq!(models["data"][0]["id"], MODEL);
    assert_eq!(models["data"][0]["max_model_len"], 32_768);
    assert_eq!(get(&sim, "/nowhere").status, 404);
    assert_eq!(get(&sim, "/v1/completions").status, 405);
    let count = post(&sim, "/tokenize", &json!({"prompt": "a b c"}));
    assert_eq!(count.json()["count"], 3);
}

#[test]
fn metrics_count_tokens_and_reasons() {
    let sim = node();
    post(
        &sim,
        "/v1/completions",
        &json!({"prompt": "a b", "max_tokens": 7}),
    );
    post(
        &sim,
        "/v1/chat/completions",
        &json!({"messages": [{"role": "user", "content": "x"}]}),
    );

    assert!(metric(&sim, "vllm:num_requests_running") == 0.0);
    let page = get(&sim, "/metrics").text();
    for reason in ["length", "stop"] {
        let line = format!(
            "vllm:request_success_total{{finished_reason=\"{reason}\",engine=\"0\",model_name=\"{MODEL}\"}} 1"
        );
        assert!(page.contains(&line), "{page}");
    }
}

#[test]
fn prefix_cache_is_hit_the_second_time() {
    let sim = node();
    let body = json!({"prompt": "word ".repeat(64), "max_tokens": 1});
    post(&sim, "/v1/completions", &body);
    assert!(metric(&sim, "vllm:prefix_cache_hits_total") == 0.0);

    post(&sim, "/v1/completions", &body);

    assert!(metric(&sim, "vllm:prefix_cache_hits_total") == 64.0);
}

#[test]
fn key_guards_v1_only() {
    let options = Options {
        api_key: Some("secret".to_owned()),
        ..Options::of(Role::Both)
    };
    let sim = Sim::start(options).unwrap();

    assert_eq!(get(&sim, "/v1/models").status, 401);
    assert_eq!(get(&sim, "/health").status, 200);
    let header = "authorization: Bearer secret\r\n";
    assert_eq!(ask(&sim, "GET", "/v1/models", header, "").status, 200);
    let header = "authorization: Bearer None\r\n";
    assert_eq!(ask(&sim, "GET", "/v1/models", header, "").status, 401);
}

#[test]
fn ledger_is_served() {
    let sim = node();
    post(
        &sim,
        "/v1/completions",
        &json!({"prompt": "a", "max_tokens": 1}),
    );

    let ledger = get(&sim, "/sim/ledger").json();

    assert_eq!(ledger["requests"]["/v1/completions"]["finished"], 1);
    assert_eq!(ledger["clean"], true);
    assert_eq!(ledger["violations"], json!([]));
}
