//! What the API server refuses before the engine sees it: no harm is done, and the status is told.

use crate::pair::{CHAT, COMPLETIONS, Pair};
use crate::wire::Call;
use crate::{Damage, Facts, Scenario};
use serde_json::{Value, json};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "refused_completions",
        damage: Damage::None,
        run: |pair| {
            refusals(
                pair,
                COMPLETIONS,
                &json!({}),
                &[
                    (
                        "stream_options without stream",
                        json!({"stream_options": {"include_usage": true}}),
                    ),
                    ("stream_options empty", json!({"stream_options": {}})),
                    ("min_tokens over max_tokens", json!({"min_tokens": 2})),
                    ("max_tokens 0", json!({"max_tokens": 0})),
                    ("max_tokens -1", json!({"max_tokens": -1})),
                    (
                        "max_tokens over the context",
                        json!({"max_tokens": pair.longest + 1}),
                    ),
                    ("max_tokens a word", json!({"max_tokens": "many"})),
                    (
                        "prompt_logprobs with stream",
                        json!({"prompt_logprobs": 1, "stream": true}),
                    ),
                    ("logprobs -1", json!({"logprobs": -1})),
                    ("logprobs 21", json!({"logprobs": 21})),
                    ("model unknown", json!({"model": "nobody"})),
                    ("prompt absent", json!({"prompt": "<absent>"})),
                    ("prompt empty", json!({"prompt": ""})),
                    ("prompt without items", json!({"prompt": []})),
                    ("prompt too long", json!({"prompt": vec![5; 3000]})),
                    ("n 0", json!({"n": 0})),
                    ("n null", json!({"n": null})),
                    ("n 2 without randomness", json!({"n": 2, "temperature": 0})),
                    ("temperature -1", json!({"temperature": -1})),
                    ("top_p 0", json!({"top_p": 0})),
                    (
                        "beam search with stream",
                        json!({"use_beam_search": true, "stream": true}),
                    ),
                ],
            )
        },
        expected: &[
            "stream_options without stream: 400, Bad Request param stream_options code 400",
            "stream_options empty: 200, 1 tokens",
            "min_tokens over max_tokens: 400, BadRequestError param null code 400",
            "max_tokens 0: 400, BadRequestError param max_tokens code 400",
            "max_tokens -1: 400, BadRequestError param max_tokens code 400",
            "max_tokens over the context: 400, BadRequestError param max_tokens code 400",
            "max_tokens a word: 400, Bad Request param null code 400",
            "prompt_logprobs with stream: 400, Bad Request param prompt_logprobs code 400",
            "logprobs -1: 400, Bad Request param logprobs code 400",
            "logprobs 21: 400, BadRequestError param logprobs code 400",
            "model unknown: 404, NotFoundError param model code 404",
            "prompt absent: 400, Bad Request param prompt code 400",
            "prompt empty: 400, Bad Request param prompt code 400",
            "prompt without items: 400, BadRequestError param null code 400",
            "prompt too long: 400, BadRequestError param input_tokens code 400",
            "n 0: 400, BadRequestError param null code 400",
            "n null: 400, Bad Request param null code 400",
            "n 2 without randomness: 400, BadRequestError param null code 400",
            "temperature -1: 400, BadRequestError param temperature code 400",
            "top_p 0: 400, BadRequestError param top_p code 400",
            "beam search with stream: 400, BadRequestError param null code 400",
        ],
    },
    Scenario {
        name: "refused_chats",
        damage: Damage::None,
        run: |pair| {
            refusals(
                pair,
                CHAT,
                &chat(),
                &[
                    (
                        "stream_options without stream",
                        json!({"stream_options": {"include_usage": true}}),
                    ),
                    ("min_tokens over max_tokens", json!({"min_tokens": 2})),
                    ("max_tokens 0", json!({"max_tokens": 0})),
                    (
                        "max_completion_tokens 0",
                        json!({"max_completion_tokens": 0}),
                    ),
                    (
                        "max_completion_tokens over the context",
                        json!({"max_completion_tokens": pair.longest + 1}),
                    ),
                    (
                        "prompt_logprobs with stream",
                        json!({"prompt_logprobs": 1, "stream": true}),
                    ),
                    ("top_logprobs without logprobs", json!({"top_logprobs": 2})),
                    ("model unknown", json!({"model": "nobody"})),
                    ("messages absent", json!({"messages": "<absent>"})),
                    ("messages empty", json!({"messages": []})),
                    ("messages a word", json!({"messages": "hello"})),
                    ("tools empty", json!({"tools": []})),
                    (
                        "tool_choice without tools",
                        json!({"tool_choice": "required"}),
                    ),
                ],
            )
        },
        expected: &[
            "stream_options without stream: 400, Bad Request param stream_options code 400",
            "min_tokens over max_tokens: 400, BadRequestError param null code 400",
            "max_tokens 0: 400, BadRequestError param max_tokens code 400",
            "max_completion_tokens 0: 400, BadRequestError param max_tokens code 400",
            "max_completion_tokens over the context: 400, BadRequestError param \
             max_completion_tokens code 400",
            "prompt_logprobs with stream: 400, Bad Request param prompt_logprobs code 400",
            "top_logprobs without logprobs: 400, Bad Request param top_logprobs code 400",
            "model unknown: 404, NotFoundError param model code 404",
            "messages absent: 400, Bad Request param null code 400",
            "messages empty: 400, BadRequestError param null code 400",
            "messages a word: 400, Bad Request param null code 400",
            "tools empty: 400, Bad Request param null code 400",
            "tool_choice without tools: 400, Bad Request param tool_choice code 400",
        ],
    },
    Scenario {
        name: "refused_bodies",
        damage: Damage::None,
        run: refused_bodies,
        expected: &[
            "wrong content type: 400, Bad Request param null code 400",
            "no content type: 400, Bad Request param null code 400",
            "charset in the content type: 200, 1 tokens",
            "invalid JSON: 400, Bad Request param null code 400",
            "empty body: 400, Bad Request param null code 400",
            "array: 500, InternalServerError param null code 500",
            "a word: 500, InternalServerError param null code 500",
            "GET: 405",
            "unknown path: 404",
        ],
    },
];

fn chat() -> Value {
    json!({"prompt": "<absent>", "messages": [{"role": "user", "content": "a small story"}]})
}

/// Asks the prefill node, which no valid one-token request can harm: what it says to each body.
/// What it accepts is drained, so that nothing is left on the decode node.
fn refusals(pair: &Pair, path: &str, base: &Value, cases: &[(&str, Value)]) -> Facts {
    let said = |(name, fields): &(&str, Value)| {
        let mut fields = fields.clone();
        for (key, value) in base.as_object().unwrap() {
            if fields.get(key).is_none() {
                fields[key] = value.clone();
            }
        }
        let (id, body) = (pair.id(), pair.body(1, fields));
        let reply = pair.ask(&pair.prefill, path, &id, &body);
        if reply.status == Some(200) {
            pair.ask(&pair.decode, path, &id, &body);
        }
        format!("{name}: {}", reply.told())
    };
    cases.iter().map(said).collect()
}

fn refused_bodies(pair: &Pair) -> Facts {
    let valid = pair.body(1, json!({})).to_string();
    let json = "Content-Type: application/json\r\n";
    let cases = [
        (
            "wrong content type",
            "POST",
            COMPLETIONS,
            "Content-Type: text/plain\r\n",
            &*valid,
        ),
        ("no content type", "POST", COMPLETIONS, "", &*valid),
        (
            "charset in the content type",
            "POST",
            COMPLETIONS,
            "Content-Type: application/json; charset=utf-8\r\n",
            &*valid,
        ),
        ("invalid JSON", "POST", COMPLETIONS, json, "{\"prompt\": "),
        ("empty body", "POST", COMPLETIONS, json, ""),
        ("array", "POST", COMPLETIONS, json, "[1]"),
        ("a word", "POST", COMPLETIONS, json, "\"prompt\""),
        ("GET", "GET", COMPLETIONS, "", ""),
        ("unknown path", "POST", "/v1/nothing", json, &*valid),
    ];
    let said = |(name, method, path, headers, body): (&str, &str, &str, &str, &str)| {
        let id = pair.id();
        let headers = format!("X-Request-Id: {id}\r\nConnection: close\r\n{headers}");
        let reply =
            Call::send(pair.prefill.http, (method, path), &headers, body).reply(pair.patience);
        if reply.status == Some(200) {
            pair.ask(&pair.decode, COMPLETIONS, &id, &pair.body(1, json!({})));
        }
        format!("{name}: {}", reply.told())
    };
    cases.into_iter().map(said).collect()
}
