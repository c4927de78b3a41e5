//! The way of a request, once through.

use crate::support::fleet::Fleet;

use pd_bench::sim::{chat_text, completion_text};

const MODEL: &str = "Qwen/Qwen2.5-7B-Instruct";

#[test]
fn completion_streams_the_text_of_the_model() {
    let fleet = Fleet::start();
    let body =
        format!(r#"{{"model":"{MODEL}","prompt":"hello there","max_tokens":9,"stream":true}}"#);

    let response = fleet.proxy.post("/v1/completions", &body);

    assert_eq!(response.status, 200);
    assert_eq!(response.events().last().map(String::as_str), Some("[DONE]"));
    assert_eq!(
        response.generated(),
        completion_text(MODEL, "hello there", 0, 9)
    );
    fleet.assert_clean();
}

#[test]
fn chat_answers_the_text_of_the_model() {
    let fleet = Fleet::start();
    let messages = serde_json::json!([{"role": "user", "content": "hello"}]);
    let body = serde_json::json!({"model": MODEL, "messages": messages, "max_tokens": 7});

    let response = fleet.proxy.post("/v1/chat/completions", &body.to_string());

    let expected = chat_text(MODEL, messages.as_array().unwrap(), 0, 7);
    assert_eq!(response.generated(), expected);
    fleet.assert_clean();
}
