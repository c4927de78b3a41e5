use super::*;
use serde_json::json;

fn parse(endpoint: Endpoint, body: &Value) -> Result<Request, ApiError> {
    let options = Options {
        max_model_len: 100,
        model: "m".to_owned(),
        ..Options::default()
    };
    Request::parse(endpoint, body, Some("hdr"), "made-up", &options)
}

fn completion(body: &Value) -> Result<Request, ApiError> {
    parse(Endpoint::Completions, body)
}

fn chat(body: &Value) -> Result<Request, ApiError> {
    parse(Endpoint::Chat, body)
}

fn refusal(answer: Result<Request, ApiError>) -> (u16, Option<&'static str>, String) {
    let error = answer.unwrap_err();
    (error.status, error.param, error.message)
}

#[test]
fn prompts_come_in_four_forms() {
    for (prompt, lengths) in [
        (json!("a b c"), vec![3]),
        (json!(["a b", "c"]), vec![2, 1]),
        (json!([1, 2, 3, 4]), vec![4]),
        (json!([[1], [2, 3]]), vec![1, 2]),
    ] {
        let request = completion(&json!({"prompt": prompt})).unwrap();
        let found: Vec<_> = request.prompts.iter().map(|prompt| prompt.len()).collect();
        assert_eq!(found, lengths);
    }
}

#[test]
fn default_limit_is_sixteen_for_completions_and_open_for_chat() {
    let request = completion(&json!({"prompt": "a"})).unwrap();
    assert_eq!(request.limits.named, Some(16));

    let request = chat(&json!({"messages": [{"role": "user", "content": "a"}]})).unwrap();
    assert_eq!(request.limits.named, None);
}

#[test]
fn max_completion_tokens_wins_in_chat() {
    let mut body = json!({"messages": [{"role": "user", "content": "a"}], "max_tokens": 5,
                          "max_completion_tokens": 7});
    assert_eq!(chat(&body).unwrap().limits.named, Some(7));

    body["max_completion_tokens"] = Value::Null;
    assert_eq!(chat(&body).unwrap().limits.named, Some(5));
}

#[test]
fn header_id_wins_over_body_id() {
    let body = json!({"prompt": "a", "request_id": "body"});
    assert_eq!(completion(&body).unwrap().response_id(), "cmpl-hdr");

    let options = Options::default();
    let request = Request::parse(Endpoint::Completions, &body, None, "x", &options).unwrap();
    assert_eq!(request.engine_id(0, 0), "cmpl-body-0");
}

#[test]
fn unknown_model_is_not_found() {
    let (status, param, message) = refusal(completion(&json!({"prompt": "a", "model": "other"})));

    assert_eq!((status, param), (404, Some("model")));
    assert_eq!(message, "The model `other` does not exist.");
    assert!(completion(&json!({"prompt": "a", "model": "m"})).is_ok());
}

#[test]
fn stream_options_need_a_stream() {
    let body = json!({"prompt": "a", "stream_options": {"include_usage": true}});
    let (status, param, message) = refusal(completion(&body));

    assert_eq!((status, param), (400, Some("stream_options")));
    assert!(message.contains("Stream options can only be defined when `stream=True`."));
}

#[test]
fn limits_below_one_or_below_min_tokens_are_refused() {
    for (body, text) in [
        (
            json!({"prompt": "a", "max_tokens": 0}),
            "must be at least 1, got 0",
        ),
        (
            json!({"prompt": "a", "max_tokens": -1}),
            "must be at least 1, got -1",
        ),
        (
            json!({"prompt": "a", "max_tokens": 1, "min_tokens": 2}),
            "min_tokens must be less than or equal to max_tokens=1, got 2.",
        ),
    ] {
        let (status, _, message) = refusal(completion(&body));
        assert_eq!(status, 400);
        assert!(message.contains(text), "{message}");
    }
}

#[test]
fn prompt_and_answer_must_fit_the_context() {
    let prompt = "a ".repeat(90);

    let (status, param, message) =
        refusal(completion(&json!({"prompt": prompt, "max_tokens": 20})));
    assert_eq!((status, param), (400, Some("input_tokens")));
    assert!(message.contains("maximum context length is 100 tokens"));

    assert!(completion(&json!({"prompt": prompt, "max_tokens": 1})).is_ok());
    let (_, param, _) = refusal(completion(&json!({"prompt": "a", "max_tokens": 101})));
    assert_eq!(param, Some("max_tokens"));
}

#[test]
fn log_probability_rules_are_those_of_the_real_node() {
    let message = [json!({"role": "user", "content": "a"})];

    let body = json!({"prompt": "a", "prompt_logprobs": 1, "stream": true});
    assert_eq!(refusal(completion(&body)).1, Some("prompt_logprobs"));
    let body = json!({"messages": message, "top_logprobs": 2});
    assert_eq!(refusal(chat(&body)).1, Some("top_logprobs"));
    let body = json!({"messages": message, "top_logprobs": 2, "logprobs": true});
    assert_eq!(chat(&body).unwrap().shape.logprobs, Some(2));
    let body = json!({"prompt": "a", "echo": true, "logprobs": 1});
    assert!(completion(&body).unwrap().prompt_logprobs);
}

#[test]
fn greedy_sampling_allows_one_choice() {
    let body = json!({"prompt": "a", "n": 2, "temperature": 0});
    assert!(refusal(completion(&body)).2.contains("greedy sampling"));
    assert_eq!(completion(&json!({"prompt": "a", "n": 2})).unwrap().n, 2);
}

#[test]
fn absent_prompt_or_messages_is_refused() {
    assert_eq!(refusal(completion(&json!({"model": "m"}))).0, 400);
    assert_eq!(
        refusal(completion(&json!({"prompt": ""}))).1,
        Some("prompt")
    );
    assert!(refusal(chat(&json!({}))).2.contains("Field required"));
    assert_eq!(refusal(chat(&json!({"messages": "hi"}))).0, 400);
}

#[test]
fn tool_choice_needs_tools() {
    let mut body =
        json!({"messages": [{"role": "user", "content": "a"}], "tool_choice": "required"});
    assert_eq!(refusal(chat(&body)).1, Some("tool_choice"));

    body["tools"] = json!([{"type": "function", "function": {"name": "f"}}]);
    assert!(chat(&body).is_ok());
}

#[test]
fn null_limit_is_remembered_on_completions() {
    let request = completion(&json!({"prompt": "a", "max_tokens": null})).unwrap();
    assert!(request.null_max_tokens);
    assert_eq!(request.limits.named, None);
}

#[test]
fn echo_alone_takes_zero_tokens() {
    let request = completion(&json!({"prompt": "a", "max_tokens": 0, "echo": true})).unwrap();
    assert!(request.shape.echo_only);
    assert_eq!(request.limits.named, Some(1));
}
