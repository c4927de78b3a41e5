//! What kills a node or freezes it. Every scenario needs a fresh pair, and leaves a broken one.

use crate::forgiven::{came, mismatch};
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
        name: "decode_that_died_freezes_prefill",
        damage: Damage::Both,
        run: decode_that_died_freezes_prefill,
        expected: &[
            "before: works",
            "decode: dies",
            "prefill: silence",
            "health: 200",
            "running: 0",
            "prefill again: silence",
        ],
    },
    Scenario {
        name: "kv_of_a_longer_prompt_kills_decode",
        damage: Damage::Decode,
        run: |pair| {
            let mut facts = mismatch(pair, 100, 20);
            facts.push(format!("node: {}", pair.fate(&pair.decode)));
            facts
        },
        expected: &[
            "prefill: 200, 1 tokens",
            "decode: 500, InternalServerError param null code 500",
            "node: dies",
        ],
    },
    // The engine knows requests by their ids alone. The API server takes the second for a
    // continuation of the first and never answers it; a real node's process stays until that client
    // leaves, but listens no more, while the simulated one cuts it off. The first stream ends without
    // a finish reason; the real one does not even put an error event there, which the simulated one
    // does, so that a test cannot take it for a whole answer.
    Scenario {
        name: "id_that_runs_already_kills_decode",
        damage: Damage::Decode,
        run: id_that_runs_already_kills_decode,
        expected: &[
            "prefill: 200, 1 tokens",
            "first: came",
            "second: no answer",
            "first: Closed before its time",
            "node: dies",
        ],
    },
    // Each step of a beam search draws a fresh id, so the legs never agree on one.
    Scenario {
        name: "beam_search_freezes_decode",
        damage: Damage::Decode,
        run: |pair| {
            let id = pair.id();
            let body = pair.body(1, json!({"use_beam_search": true}));
            let prefill = pair.prefill(COMPLETIONS, &id, &body).told();
            let decode = pair.ask(&pair.decode, COMPLETIONS, &id, &body).told();
            vec![
                format!("prefill: {prefill}"),
                format!("decode: {decode}"),
                pair.afterwards(),
            ]
        },
        expected: &[
            "prefill: 200, 1 tokens",
            "decode: silence",
            "afterwards: decode silence",
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

fn id_that_runs_already_kills_decode(pair: &Pair) -> Facts {
    let id = pair.id();
    let body = pair.body(pair.longest - 100, json!({"stream": true}));
    let prefill = pair.prefill(COMPLETIONS, &id, &body).told();
    let mut first = pair.send(&pair.decode, COMPLETIONS, &id, &body);
    let event = first.until("data: ", pair.patience);
    let second = pair.ask(&pair.decode, COMPLETIONS, &id, &pair.body(2, json!({})));
    let second = match second.status {
        None => "no answer".to_owned(),
        Some(_) => second.told(),
    };
    let first = first.reply(pair.patience).end;
    vec![
        format!("prefill: {prefill}"),
        format!("first: {}", came(event)),
        format!("second: {second}"),
        format!("first: {first:?} before its time"),
        format!("node: {}", pair.fate(&pair.decode)),
    ]
}

/// The nodes have met, so this is another way than a first connection that cannot be made.
fn decode_that_died_freezes_prefill(pair: &Pair) -> Facts {
    let body = pair.body(1, json!({}));
    let before = pair.afterwards().replace("afterwards", "before");
    pair.ask(&pair.decode, COMPLETIONS, "plain", &body);
    let fate = pair.fate(&pair.decode);
    let prefill = || pair.prefill(COMPLETIONS, &pair.id(), &body).told();
    vec![
        before,
        format!("decode: {fate}"),
        format!("prefill: {}", prefill()),
        format!("health: {}", pair.health(&pair.prefill)),
        format!("running: {}", pair.running(&pair.prefill, "0")),
        format!("prefill again: {}", prefill()),
    ]
}

/// One blow at a node: the answer, and what becomes of the node.
fn strike(pair: &Pair, node: &Node, path: &str, id: &str, body: &serde_json::Value) -> Facts {
    let answer = pair.ask(node, path, id, body);
    vec![
        format!("answer: {}", answer.told()),
        format!("node: {}", pair.fate(node)),
    ]
}
