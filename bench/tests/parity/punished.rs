//! What kills a node or freezes it. Every scenario needs a fresh pair, and leaves a broken one.

use crate::pair::{CHAT, COMPLETIONS, Node, Pair};
use crate::{Damage, Facts, Scenario};
use serde_json::json;
use std::net::TcpListener;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "second_token_kills_prefill",
        damage: Damage::Prefill,
        run: |pair| {
            let body = pair.body(2, json!({}));
            strike(pair, &pair.prefill, COMPLETIONS, &pair.id(), &body)
        },
        expected: &[
            "answer: 500, InternalServerError param null code 500",
            "node: dies",
        ],
    },
    Scenario {
        name: "max_completion_tokens_kills_prefill_too",
        damage: Damage::Prefill,
        run: |pair| {
            let message = json!([{"role": "user", "content": "a small story"}]);
            let body = pair.body(
                1,
                json!({"prompt": "<absent>", "messages": message,
                                           "max_completion_tokens": 4, "stream": true}),
            );
            strike(pair, &pair.prefill, CHAT, &pair.id(), &body)
        },
        expected: &[
            "answer: 200, stream, InternalServerError param null code 500, [DONE]",
            "node: dies",
        ],
    },
    Scenario {
        name: "plain_id_kills_prefill",
        damage: Damage::Prefill,
        run: |pair| {
            let body = pair.body(1, json!({}));
            strike(pair, &pair.prefill, COMPLETIONS, "plain", &body)
        },
        expected: &[
            "answer: 500, InternalServerError param null code 500",
            "node: dies",
        ],
    },
    Scenario {
        name: "plain_id_kills_decode",
        damage: Damage::Decode,
        run: |pair| {
            let body = pair.body(1, json!({}));
            strike(pair, &pair.decode, COMPLETIONS, "plain", &body)
        },
        expected: &[
            "answer: 500, InternalServerError param null code 500",
            "node: dies",
        ],
    },
    Scenario {
        name: "second_decode_of_one_id_freezes_decode",
        damage: Damage::Decode,
        run: |pair| {
            let (id, body) = (pair.id(), pair.body(3, json!({})));
            let prefill = pair.prefill(COMPLETIONS, &id, &body);
            let first = pair.ask(&pair.decode, COMPLETIONS, &id, &body);
            let second = pair.ask(&pair.decode, COMPLETIONS, &id, &body);
            vec![
                format!("prefill: {}", prefill.told()),
                format!("first: {}", first.told()),
                format!("second: {}", second.told()),
                format!("health: {}", pair.health(&pair.decode)),
                format!("running: {}", pair.running(&pair.decode, "0")),
                pair.afterwards(),
            ]
        },
        expected: &[
            "prefill: 200, 1 tokens",
            "first: 200, 3 tokens",
            "second: silence",
            "health: 200",
            "running: 0",
            "afterwards: decode silence",
        ],
    },
    Scenario {
        name: "decode_without_kv_freezes_decode",
        damage: Damage::Decode,
        run: |pair| {
            let decode = pair.ask(
                &pair.decode,
                COMPLETIONS,
                &pair.id(),
                &pair.body(3, json!({})),
            );
            vec![
                format!("decode: {}", decode.told()),
                format!("health: {}", pair.health(&pair.decode)),
                pair.afterwards(),
            ]
        },
        expected: &[
            "decode: silence",
            "health: 200",
            "afterwards: decode silence",
        ],
    },
    Scenario {
        name: "id_naming_a_closed_port_freezes_prefill",
        damage: Damage::Prefill,
        run: |pair| {
            // A port that was free a moment ago.
            let closed = TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap();
            let (id, body) = (pair.id_to(&closed.to_string()), pair.body(1, json!({})));
            let prefill = pair.prefill(COMPLETIONS, &id, &body);
            vec![
                format!("prefill: {}", prefill.told()),
                format!("health: {}", pair.health(&pair.prefill)),
                pair.afterwards(),
            ]
        },
        expected: &[
            "prefill: silence",
            "health: 200",
            "afterwards: prefill silence",
        ],
    },
    Scenario {
        name: "echo_with_logprobs_kills_decode",
        damage: Damage::Decode,
        run: |pair| {
            let (id, body) = (
                pair.id(),
                pair.body(3, json!({"echo": true, "logprobs": 1})),
            );
            let prefill = pair.prefill(COMPLETIONS, &id, &pair.body(3, json!({})));
            let mut facts = vec![format!("prefill: {}", prefill.told())];
            facts.extend(strike(pair, &pair.decode, COMPLETIONS, &id, &body));
            facts
        },
        expected: &[
            "prefill: 200, 1 tokens",
            "answer: 500, InternalServerError param null code 500",
            "node: dies",
        ],
    },
];

/// One blow at a node: the answer, and what becomes of the node.
fn strike(pair: &Pair, node: &Node, path: &str, id: &str, body: &serde_json::Value) -> Facts {
    let answer = pair.ask(node, path, id, body);
    vec![
        format!("answer: {}", answer.told()),
        format!("node: {}", pair.fate(node)),
    ]
}
