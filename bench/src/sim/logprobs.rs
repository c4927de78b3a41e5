//! Log probabilities: made up, but in the right shape and the same every time.

use super::sequence::Plan;
use super::text::piece;
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::Range;

/// The log probability of an output token.
fn of(id: u32) -> f64 {
    -0.01 * (1.0 + f64::from(id))
}

/// `logprobs` of a completions choice.
#[derive(Debug, Serialize)]
pub(crate) struct Completion {
    text_offset: Vec<usize>,
    token_logprobs: Vec<f64>,
    tokens: Vec<String>,
    top_logprobs: Vec<BTreeMap<String, f64>>,
}

/// Of the tokens in `range`, the first of which begins at character `offset`.
pub(crate) fn completion(plan: &Plan, range: Range<u32>, offset: usize) -> Completion {
    let mut offset = offset;
    let mut all = Completion {
        text_offset: Vec::new(),
        token_logprobs: Vec::new(),
        tokens: Vec::new(),
        top_logprobs: Vec::new(),
    };
    for id in range.map(|at| plan.token(at)) {
        let text = piece(id).text;
        all.text_offset.push(offset);
        all.token_logprobs.push(of(id));
        all.tokens.push(text.to_owned());
        all.top_logprobs
            .push(BTreeMap::from([(text.to_owned(), of(id))]));
        offset += text.chars().count();
    }
    all
}

/// `logprobs` of a chat choice.
#[derive(Debug, Serialize)]
pub(crate) struct Chat {
    content: Vec<ChatToken>,
}

#[derive(Debug, Serialize)]
struct ChatToken {
    token: &'static str,
    logprob: f64,
    bytes: &'static [u8],
    top_logprobs: Vec<TopToken>,
}

#[derive(Debug, Serialize)]
struct TopToken {
    token: &'static str,
    logprob: f64,
    bytes: &'static [u8],
}

/// Of the tokens in `range`, with `top` alternatives, of which only the token itself is known.
pub(crate) fn chat(plan: &Plan, range: Range<u32>, top: u32) -> Chat {
    let token = |at| {
        let id = plan.token(at);
        let token = piece(id).text;
        let (logprob, bytes) = (of(id), token.as_bytes());
        let itself = || TopToken {
            token,
            logprob,
            bytes,
        };
        ChatToken {
            token,
            logprob,
            bytes,
            top_logprobs: (top > 0).then(itself).into_iter().collect(),
        }
    };
    Chat {
        content: range.map(token).collect(),
    }
}
