//! Log probabilities: made up, but in the right shape and the same every time.

use super::sequence::{Plan, Prompt};
use super::text::piece;
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::Range;

/// The log probability of a token.
fn of(id: u32) -> f64 {
    -0.01 * (1.0 + f64::from(id % 100))
}

/// A token and the alternatives to it, `top` in all but at least the token itself.
fn ranked(id: u32, top: u32) -> impl Iterator<Item = (&'static str, f64)> {
    let drop = |rank: u32| 0.5 * f64::from(rank);
    (0..top.max(1)).map(move |rank| (piece((id + rank) % 64).text, of(id) - drop(rank)))
}

/// `logprobs` of a completions choice.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Completion {
    text_offset: Vec<usize>,
    token_logprobs: Vec<Option<f64>>,
    tokens: Vec<String>,
    top_logprobs: Vec<Option<BTreeMap<String, f64>>>,
    #[serde(skip)]
    offset: usize,
}

impl Completion {
    /// Of nothing yet; what is added begins at character `offset`.
    pub(crate) fn new(offset: usize) -> Self {
        Self {
            offset,
            ..Self::default()
        }
    }

    /// Adds an echoed prompt. Nothing predicts its first token.
    pub(crate) fn prompt(&mut self, prompt: &Prompt) {
        for (at, (text, id)) in prompt.pieces().into_iter().zip(&prompt.tokens).enumerate() {
            let known = (at > 0).then(|| of(*id));
            let top = known.map(|known| BTreeMap::from([(text.clone(), known)]));
            self.push(text, known, top);
        }
    }

    /// Adds the output tokens in `range`.
    pub(crate) fn output(&mut self, plan: &Plan, range: Range<u32>, top: u32) {
        for id in range.map(|at| plan.token(at)) {
            let ranked = ranked(id, top).map(|(text, known)| (text.to_owned(), known));
            self.push(
                piece(id).text.to_owned(),
                Some(of(id)),
                Some(ranked.collect()),
            );
        }
    }

    fn push(&mut self, text: String, known: Option<f64>, top: Option<BTreeMap<String, f64>>) {
        self.text_offset.push(self.offset);
        self.offset += text.chars().count();
        self.token_logprobs.push(known);
        self.tokens.push(text);
        self.top_logprobs.push(top);
    }
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

/// Of the output tokens in `range`, each with `top` alternatives.
pub(crate) fn chat(plan: &Plan, range: Range<u32>, top: u32) -> Chat {
    let token = |at| {
        let id = plan.token(at);
        let token = piece(id).text;
        let ranked = ranked(id, top).take(usize::try_from(top).unwrap_or(0));
        ChatToken {
            token,
            logprob: of(id),
            bytes: token.as_bytes(),
            top_logprobs: ranked
                .map(|(token, logprob)| TopToken {
                    token,
                    logprob,
                    bytes: token.as_bytes(),
                })
                .collect(),
        }
    };
    Chat {
        content: range.map(token).collect(),
    }
}

/// One entry of `prompt_logprobs`.
#[derive(Debug, Serialize)]
pub(crate) struct PromptToken {
    logprob: f64,
    rank: u32,
    decoded_token: String,
}

/// `prompt_logprobs`: for each token of the prompt, what was expected there, by token id.
pub(crate) fn prompt(prompt: &Prompt) -> Vec<Option<BTreeMap<u32, PromptToken>>> {
    let tokens = prompt.pieces().into_iter().zip(&prompt.tokens);
    tokens
        .enumerate()
        .map(|(at, (text, id))| {
            let token = PromptToken {
                logprob: of(*id),
                rank: 1,
                decoded_token: text,
            };
            (at > 0).then(|| BTreeMap::from([(*id, token)]))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn echoed_prompt_begins_without_a_probability() {
        let mut all = Completion::new(0);
        all.prompt(&Prompt::from_text("ab cd"));

        assert_eq!(all.tokens, ["ab", " cd"]);
        assert_eq!(all.text_offset, [0, 2]);
        assert!(all.token_logprobs[0].is_none() && all.token_logprobs[1].is_some());
    }

    #[test]
    fn first_alternative_is_the_token_itself() {
        let ranked: Vec<_> = ranked(63, 3).collect();
        assert_eq!(ranked.len(), 3);
        assert_eq!(ranked[0].0, piece(63).text);
        assert!(ranked[1].1 < ranked[0].1);
    }

    #[test]
    fn prompt_probabilities_are_keyed_by_token_id() {
        let given = Prompt::from_ids(vec![7, 8]);
        let value = serde_json::to_value(prompt(&given)).unwrap();
        assert!(value[0].is_null());
        assert_eq!(value[1]["8"]["rank"], 1);
    }
}
