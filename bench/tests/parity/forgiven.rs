//! What leaves both nodes in working order.

use crate::pair::{CHAT, COMPLETIONS, Pair};
use crate::wire::{Call, End};
use crate::{Damage, Facts, Scenario};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "completion",
        damage: Damage::None,
        run: |pair| pair.relay(COMPLETIONS, &pair.body(8, json!({}))),
        expected: &["prefill: 200, 1 tokens", "decode: 200, 8 tokens"],
    },
    Scenario {
        name: "completion_streamed",
        damage: Damage::None,
        run: |pair| pair.relay(COMPLETIONS, &pair.body(8, streamed())),
        expected: &[
            "prefill: 200, 1 tokens",
            "decode: 200, stream, 8 tokens, [DONE]",
        ],
    },
    Scenario {
        name: "chat",
        damage: Damage::None,
        run: |pair| pair.relay(CHAT, &pair.body(8, messages())),
        expected: &["prefill: 200, 1 tokens", "decode: 200, 8 tokens"],
    },
    Scenario {
        name: "chat_streamed",
        damage: Damage::None,
        run: |pair| {
            let mut body = pair.body(8, messages());
            body["stream"] = json!(true);
            body["stream_options"] = json!({"include_usage": true});
            pair.relay(CHAT, &body)
        },
        expected: &[
            "prefill: 200, 1 tokens",
            "decode: 200, stream, 8 tokens, [DONE]",
        ],
    },
    // One hand-over for each prompt: `cmpl-{id}-0` and so on must agree on both legs.
    Scenario {
        name: "list_of_prompts",
        damage: Damage::None,
        run: |pair| {
            let body = pair.body(
                8,
                json!({"prompt": ["a small story", "a river", "the end of it"]}),
            );
            pair.relay(COMPLETIONS, &body)
        },
        expected: &["prefill: 200, 3 tokens", "decode: 200, 24 tokens"],
    },
    Scenario {
        name: "two_choices",
        damage: Damage::None,
        run: |pair| pair.relay(COMPLETIONS, &pair.body(8, json!({"n": 2}))),
        expected: &["prefill: 200, 2 tokens", "decode: 200, 16 tokens"],
    },
    Scenario {
        name: "kv_is_freed_by_the_decode",
        damage: Damage::None,
        run: |pair| {
            let (id, body) = (pair.id(), pair.body(4, json!({})));
            let prefill = pair.prefill(COMPLETIONS, &id, &body).told();
            let kept = pair.held(true);
            let decode = pair.ask(&pair.decode, COMPLETIONS, &id, &body).told();
            let mut facts = vec![format!("prefill: {prefill}")];
            facts.extend(kept);
            facts.push(format!("decode: {decode}"));
            facts.extend(pair.held(false));
            facts
        },
        expected: &[
            "prefill: 200, 1 tokens",
            "KV: kept",
            "decode: 200, 4 tokens",
            "KV: free",
        ],
    },
    Scenario {
        name: "refused_decode_keeps_kv_until_drained",
        damage: Damage::None,
        run: refused_decode_keeps_kv_until_drained,
        expected: &[
            "prefill: 200, 1 tokens",
            "decode: 400, BadRequestError param input_tokens code 400",
            "KV: kept",
            "drain: 200, 1 tokens",
            "KV: free",
        ],
    },
    // Nothing frees a push but its own id: the drain here only tidies up.
    Scenario {
        name: "client_leaving_prefill_does_not_stop_the_push",
        damage: Damage::None,
        run: client_leaving_prefill_does_not_stop_the_push,
        expected: &["head: came", "KV: kept", "drain: 200, 1 tokens", "KV: free"],
    },
    Scenario {
        name: "client_leaving_decode_aborts_it",
        damage: Damage::None,
        run: |pair| client_leaving_decode(pair, true),
        expected: &["running: 1", "after leaving: 0", "KV: free"],
    },
    Scenario {
        name: "client_leaving_unstreamed_decode_aborts_it",
        damage: Damage::None,
        run: |pair| client_leaving_decode(pair, false),
        expected: &["running: 1", "after leaving: 0", "KV: free"],
    },
    // A decode without KV freezes its node until the KV comes, however late. The head of a stream
    // comes at once all the same, so a head proves nothing about the engine.
    Scenario {
        name: "late_kv_thaws_decode",
        damage: Damage::None,
        run: late_kv_thaws_decode,
        expected: &[
            "early decode: head, then silence",
            "health: 200",
            "running: 0",
            "other prefill: 200, 1 tokens",
            "other decode: silence",
            "late prefill: 200, 1 tokens",
            "early decode: 200, stream, 3 tokens, [DONE]",
        ],
    },
    Scenario {
        name: "idle_connection_is_closed_after_five_seconds",
        damage: Damage::None,
        run: idle_connection_is_closed_after_five_seconds,
        expected: &["answer: came", "idle: closed between 4.5 s and 6.5 s"],
    },
    // The simulator counts the second push as a broken rule all the same: a retry under an old id is
    // a mistake of the caller, and only luck makes it harmless.
    Scenario {
        name: "kv_pushed_twice_is_overwritten",
        damage: Damage::None,
        run: |pair| {
            let (id, body) = (pair.id(), pair.body(4, json!({})));
            let first = pair.prefill(COMPLETIONS, &id, &body).told();
            let second = pair.prefill(COMPLETIONS, &id, &body).told();
            let decode = pair.ask(&pair.decode, COMPLETIONS, &id, &body).told();
            let mut facts = vec![
                format!("first prefill: {first}"),
                format!("second prefill: {second}"),
                format!("decode: {decode}"),
            ];
            facts.extend(pair.held(false));
            facts
        },
        expected: &[
            "first prefill: 200, 1 tokens",
            "second prefill: 200, 1 tokens",
            "decode: 200, 4 tokens",
            "KV: free",
        ],
    },
    // Nobody notices but the reader of the answer; the simulator counts a broken rule.
    Scenario {
        name: "kv_of_a_shorter_prompt_is_taken",
        damage: Damage::None,
        run: |pair| {
            let mut facts = mismatch(pair, 20, 100);
            facts.extend(pair.held(false));
            facts
        },
        expected: &[
            "prefill: 200, 1 tokens",
            "decode: 200, 2 tokens",
            "KV: free",
        ],
    },
    // The answer is generated in full before the server trips over the null.
    Scenario {
        name: "null_max_tokens_of_a_completion",
        damage: Damage::None,
        run: |pair| {
            // Null means all the context that is left; here that is little.
            let length = usize::try_from(pair.longest).unwrap() - 20;
            let body = json!({"prompt": vec![5; length], "max_tokens": Value::Null});
            pair.relay(COMPLETIONS, &pair.body(1, body))
        },
        expected: &[
            "prefill: 200, 1 tokens",
            "decode: 500, InternalServerError param null code 500",
        ],
    },
];

fn streamed() -> Value {
    json!({"stream": true, "stream_options": {"include_usage": true}})
}

fn messages() -> Value {
    json!({"prompt": "<absent>", "messages": [{"role": "user", "content": "tell a small story"}]})
}

fn refused_decode_keeps_kv_until_drained(pair: &Pair) -> Facts {
    let id = pair.id();
    // Token ids have the same length under every tokenizer.
    let prompt = json!({"prompt": vec![5; 1000]});
    let prefill = pair.prefill(COMPLETIONS, &id, &pair.body(1, prompt.clone()));
    let body = pair.body(pair.longest - 999, prompt.clone());
    let decode = pair.ask(&pair.decode, COMPLETIONS, &id, &body);
    let mut facts = vec![
        format!("prefill: {}", prefill.told()),
        format!("decode: {}", decode.told()),
    ];
    facts.extend(pair.held(true));
    let drain = pair.ask(&pair.decode, COMPLETIONS, &id, &pair.body(1, prompt));
    facts.push(format!("drain: {}", drain.told()));
    facts.extend(pair.held(false));
    facts
}

fn client_leaving_prefill_does_not_stop_the_push(pair: &Pair) -> Facts {
    let id = pair.id();
    let body = pair.body(1, json!({"prompt": vec![5; 1900], "stream": true}));
    let mut call = pair.send(&pair.prefill, COMPLETIONS, &id, &body);
    let head = call.until("\r\n\r\n", pair.patience);
    // The head is sent before the engine has begun the step; this is not yet its end.
    std::thread::sleep(Duration::from_millis(20));
    drop(call);
    let mut facts = vec![format!("head: {}", came(head))];
    facts.extend(pair.held(true));
    let body = pair.body(1, json!({"prompt": vec![5; 1900]}));
    let drain = pair.ask(&pair.decode, COMPLETIONS, &id, &body);
    facts.push(format!("drain: {}", drain.told()));
    facts.extend(pair.held(false));
    facts
}

fn client_leaving_decode(pair: &Pair, stream: bool) -> Facts {
    let id = pair.id();
    let body = pair.body(pair.longest - 100, json!({"stream": stream}));
    let prefill = pair.prefill(COMPLETIONS, &id, &body);
    assert_eq!(prefill.status, Some(200), "{prefill:?}");
    let mut call = pair.send(&pair.decode, COMPLETIONS, &id, &body);
    if stream {
        call.until("data: ", pair.patience).unwrap();
    }
    let mut facts = vec![format!("running: {}", pair.running(&pair.decode, "1"))];
    drop(call);
    facts.push(format!(
        "after leaving: {}",
        pair.running(&pair.decode, "0")
    ));
    facts.extend(pair.held(false));
    facts
}

/// Prompts of different lengths under one id: both legs.
pub(crate) fn mismatch(pair: &Pair, prefill: usize, decode: usize) -> Facts {
    let id = pair.id();
    let body = |length| pair.body(2, json!({"prompt": vec![5; length]}));
    let prefill = pair.prefill(COMPLETIONS, &id, &body(prefill));
    let decode = pair.ask(&pair.decode, COMPLETIONS, &id, &body(decode));
    vec![
        format!("prefill: {}", prefill.told()),
        format!("decode: {}", decode.told()),
    ]
}

fn late_kv_thaws_decode(pair: &Pair) -> Facts {
    let (id, body) = (pair.id(), pair.body(3, streamed()));
    let mut early = pair.send(&pair.decode, COMPLETIONS, &id, &body);
    let head = early.until("\r\n\r\n", pair.patience);
    let event = early.until("data: ", pair.patience);
    let mut facts = vec![match (head, event) {
        (Ok(()), Err(End::Silent)) => "early decode: head, then silence".to_owned(),
        other => format!("early decode: {other:?}"),
    }];
    facts.push(format!("health: {}", pair.health(&pair.decode)));
    facts.push(format!("running: {}", pair.running(&pair.decode, "0")));
    let (other, plain) = (pair.id(), pair.body(3, json!({})));
    let prefill = pair.prefill(COMPLETIONS, &other, &plain);
    facts.push(format!("other prefill: {}", prefill.told()));
    let decode = pair.ask(&pair.decode, COMPLETIONS, &other, &plain);
    facts.push(format!("other decode: {}", decode.told()));
    let late = pair.prefill(COMPLETIONS, &id, &body);
    facts.push(format!("late prefill: {}", late.told()));
    facts.push(format!(
        "early decode: {}",
        early.reply(pair.patience).told()
    ));
    facts
}

fn idle_connection_is_closed_after_five_seconds(pair: &Pair) -> Facts {
    let mut call = Call::send(pair.decode.http, ("GET", "/version"), "", "");
    let answer = call.until("}", pair.patience);
    let idle = Instant::now();
    let ended = loop {
        if let Err(end) = call.read(idle + Duration::from_secs(10)) {
            break end;
        }
    };
    let seconds = idle.elapsed().as_secs_f64();
    let idle = match ended {
        End::Closed if (4.5..6.5).contains(&seconds) => "closed between 4.5 s and 6.5 s".to_owned(),
        end => format!("{end:?} after {seconds:.1} s"),
    };
    vec![format!("answer: {}", came(answer)), format!("idle: {idle}")]
}

pub(crate) fn came(what: Result<(), End>) -> String {
    match what {
        Ok(()) => "came".to_owned(),
        Err(end) => format!("{end:?}"),
    }
}
