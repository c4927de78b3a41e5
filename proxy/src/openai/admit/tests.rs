use super::*;
use crate::openai::scan;

fn refusal(body: &str) -> Option<Refusal> {
    let scan = scan(body.as_bytes()).unwrap();
    admit(&scan, body.as_bytes()).err()
}

fn streams(body: &str) -> bool {
    wants_stream(&scan(body.as_bytes()).unwrap(), body.as_bytes())
}

#[test]
fn ordinary_requests_are_admitted() {
    for body in [
        "{}",
        r#"{"messages":[],"max_tokens":16,"stream":true,"stream_options":{"include_usage":true}}"#,
        r#"{"prompt":"x","max_tokens":16,"logprobs":null,"echo":true,"n":2}"#,
        r#"{"messages":[],"logprobs":true,"top_logprobs":3,"max_completion_tokens":5}"#,
        r#"{"max_tokens":null,"max_completion_tokens":null,"stream":null,"stream_options":null}"#,
        r#"{"use_beam_search":false,"prompt_logprobs":null,"echo":false,"kv_transfer_params":null}"#,
        r#"{"vllm_xargs":{"a":1},"min_tokens":4,"max_tokens":4}"#,
        r#"{"stream":false,"stream_options":{}}"#,
    ] {
        assert_eq!(refusal(body), None, "{body}");
    }
}

#[test]
fn beam_search_is_refused_however_it_is_switched_on() {
    for on in [
        "true",
        "1",
        "1.0",
        "2",
        r#""true""#,
        r#""YES""#,
        r#""on""#,
        r#""x""#,
        "[]",
        "{}",
    ] {
        let body = format!("{{\"use_beam_search\":{on}}}");
        assert_eq!(refusal(&body), Some(Refusal::BeamSearch), "{on}");
    }
    for off in ["false", "0", "null", r#""false""#, r#""no""#, r#""0""#] {
        let body = format!("{{\"use_beam_search\":{off}}}");
        assert_eq!(refusal(&body), None, "{off}");
    }
}

#[test]
fn prompt_logprobs_are_refused_even_when_zero() {
    for value in ["0", "1", "-1", "true", "false", r#""0""#, "[]"] {
        let body = format!("{{\"prompt_logprobs\":{value}}}");
        assert_eq!(refusal(&body), Some(Refusal::PromptLogprobs), "{value}");
    }
}

#[test]
fn echo_is_refused_where_it_asks_for_the_prompts_log_probabilities() {
    for body in [
        r#"{"prompt":"x","echo":true,"logprobs":1}"#,
        r#"{"prompt":"x","echo":"true","logprobs":0}"#,
        r#"{"prompt":"x","echo":1,"logprobs":false}"#,
        r#"{"messages":[],"echo":true}"#,
        r#"{"messages":[],"echo":true,"top_logprobs":0}"#,
        r#"{"messages":[],"echo":"maybe","logprobs":true,"top_logprobs":null}"#,
    ] {
        assert_eq!(refusal(body), Some(Refusal::EchoLogprobs), "{body}");
    }
    for body in [
        r#"{"prompt":"x","echo":true}"#,
        r#"{"prompt":"x","echo":false,"logprobs":5}"#,
        r#"{"messages":[],"echo":true,"top_logprobs":null}"#,
    ] {
        assert_eq!(refusal(body), None, "{body}");
    }
}

#[test]
fn transfer_parameters_are_refused_wherever_a_node_would_find_them() {
    for body in [
        r#"{"kv_transfer_params":{"remote_host":"10.0.0.1"}}"#,
        r#"{"kv_transfer_params":{}}"#,
        r#"{"kv_transfer_params":0}"#,
        r#"{"vllm_xargs":{"a":1,"kv_transfer_params":"x"}}"#,
        r#"{"vllm_xargs":{"kv\u005ftransfer_params":"x"}}"#,
    ] {
        assert_eq!(refusal(body), Some(Refusal::KvTransferParams), "{body}");
    }
    let nested = r#"{"vllm_xargs":{"a":{"kv_transfer_params":1}},"x":{"kv_transfer_params":1}}"#;
    assert_eq!(refusal(nested), None);
}

#[test]
fn limits_that_prefill_will_not_see_are_checked_here() {
    for key in [Key::MaxTokens, Key::MaxCompletionTokens] {
        for wrong in [
            "0",
            "-5",
            "1.5",
            "1e3",
            "true",
            "[]",
            "{}",
            r#""many""#,
            r#""""#,
            "1e999",
        ] {
            let body = format!("{{\"{}\":{wrong}}}", key.name());
            assert_eq!(refusal(&body), Some(Refusal::Limit(key)), "{body}");
        }
        for right in ["1", "16.0", "100000", r#""32""#] {
            let body = format!("{{\"{}\":{right}}}", key.name());
            assert_eq!(refusal(&body), None, "{body}");
        }
    }
}

#[test]
fn completions_may_echo_without_generating() {
    assert_eq!(
        refusal(r#"{"prompt":"x","echo":true,"max_tokens":0}"#),
        None
    );
    assert_eq!(
        refusal(r#"{"prompt":"x","echo":true,"max_tokens":-1}"#),
        Some(Refusal::Limit(Key::MaxTokens))
    );
}

#[test]
fn more_at_least_than_at_most_is_refused() {
    for body in [
        r#"{"prompt":"x","min_tokens":5,"max_tokens":4}"#,
        r#"{"messages":[],"min_tokens":5,"max_tokens":9,"max_completion_tokens":4}"#,
        r#"{"messages":[],"min_tokens":"5","max_tokens":4}"#,
    ] {
        assert_eq!(refusal(body), Some(Refusal::MinTokens), "{body}");
    }
    for body in [
        r#"{"prompt":"x","min_tokens":4,"max_tokens":4}"#,
        r#"{"prompt":"x","min_tokens":40}"#,
        r#"{"prompt":"x","min_tokens":5,"max_tokens":9,"max_completion_tokens":4}"#,
    ] {
        assert_eq!(refusal(body), None, "{body}");
    }
}

#[test]
fn stream_must_be_what_a_node_takes_for_a_boolean() {
    for wrong in ["2", "[]", "{}", r#""maybe""#, r#""tru\u0065""#] {
        assert_eq!(
            refusal(&format!("{{\"stream\":{wrong}}}")),
            Some(Refusal::Stream),
            "{wrong}"
        );
    }
    for right in ["true", "false", "null", "1", r#""yes""#] {
        assert_eq!(refusal(&format!("{{\"stream\":{right}}}")), None, "{right}");
    }
}

#[test]
fn stream_options_without_a_stream_are_refused() {
    for body in [
        r#"{"stream_options":{"include_usage":true}}"#,
        r#"{"stream_options":{"include_usage":true},"stream":false}"#,
        r#"{"stream_options":5,"stream":null}"#,
    ] {
        assert_eq!(refusal(body), Some(Refusal::StreamOptions), "{body}");
    }
}

#[test]
fn wish_for_a_stream_is_read_as_a_node_reads_it() {
    assert!(streams(r#"{"stream":true}"#) && streams(r#"{"stream":"on"}"#));
    assert!(!streams("{}") && !streams(r#"{"stream":false}"#) && !streams(r#"{"stream":null}"#));
}

#[test]
fn refusals_say_what_and_which_key() {
    let all = [
        Refusal::BeamSearch,
        Refusal::PromptLogprobs,
        Refusal::EchoLogprobs,
        Refusal::KvTransferParams,
        Refusal::Limit(Key::MaxTokens),
        Refusal::MinTokens,
        Refusal::Stream,
        Refusal::StreamOptions,
    ];
    let texts: Vec<String> = all
        .into_iter()
        .map(|refusal| format!("{}: {refusal}", refusal.param()))
        .collect();

    insta::assert_snapshot!(texts.join("\n"), @"
    use_beam_search: `use_beam_search` is not supported with disaggregated prefill.
    prompt_logprobs: `prompt_logprobs` is not supported with disaggregated prefill.
    echo: `echo` together with log probabilities is not supported with disaggregated prefill.
    kv_transfer_params: `kv_transfer_params` is set by the proxy and must not be part of a request.
    max_tokens: `max_tokens` must be an integer of at least 1.
    min_tokens: `min_tokens` must be less than or equal to `max_tokens`.
    stream: `stream` must be a boolean.
    stream_options: Stream options can only be defined when `stream=True`.
    ");
}
