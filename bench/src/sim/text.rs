//! What the simulated model says: a pure function of model, prompt tokens and choice.
//!
//! Each output token is one entry of a small vocabulary, picked by hashing the seed of the text with
//! the token's position. Any token can be computed without the ones before it, so a stream needs no
//! memory of what it has said, and a checker can ask for any part of any answer.

use super::tokens::{chat_prompt, hash_tokens, mix, tokenize};
use serde_json::Value;

/// One vocabulary entry: its text and the same text as it stands inside a JSON string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) text: &'static str,
    pub(crate) json: &'static str,
}

/// An entry that needs no escaping.
const fn word(text: &'static str) -> Piece {
    Piece { text, json: text }
}

/// Mostly plain words; a few entries that need escaping or several bytes, so that a stream check is
/// also a check of JSON strings and of UTF-8 split by the network.
const VOCABULARY: [Piece; 64] = [
    word(" the"),
    word(" of"),
    word(" and"),
    word(" to"),
    word(" in"),
    word(" a"),
    word(" is"),
    word(" that"),
    word(" for"),
    word(" with"),
    word(" as"),
    word(" by"),
    word(" from"),
    word(" at"),
    word(" it"),
    word(" on"),
    word(" model"),
    word(" token"),
    word(" prompt"),
    word(" cache"),
    word(" block"),
    word(" layer"),
    word(" batch"),
    word(" node"),
    word(" proxy"),
    word(" stream"),
    word(" prefill"),
    word(" decode"),
    word(" queue"),
    word(" memory"),
    word(" network"),
    word(" attention"),
    word(" river"),
    word(" mountain"),
    word(" morning"),
    word(" evening"),
    word(" garden"),
    word(" window"),
    word(" paper"),
    word(" music"),
    word(" light"),
    word(" stone"),
    word(" winter"),
    word(" summer"),
    word(" bridge"),
    word(" letter"),
    word(" story"),
    word(" city"),
    word(" answers"),
    word(" moves"),
    word(" waits"),
    word(" returns"),
    word(" begins"),
    word(" ends"),
    word("ing"),
    word("ness"),
    word(","),
    word("."),
    word(" caf\u{e9}"),
    word(" \u{6771}\u{4eac}"),
    word(" \u{1f642}"),
    Piece {
        text: "\n",
        json: "\\n",
    },
    Piece {
        text: " \"so\"",
        json: " \\\"so\\\"",
    },
    Piece {
        text: " \\",
        json: " \\\\",
    },
];

/// Seed of one answer's text.
///
/// `prompt_hash` is [`hash_tokens`] over the whole prompt: it travels with the KV, so a decode node
/// that was handed another prompt's KV says something else, as a real one would.
#[must_use]
pub(crate) fn seed(model: &str, prompt_hash: u64, choice: u32) -> u64 {
    let model = model
        .bytes()
        .fold(0, |hash, byte| mix(hash ^ u64::from(byte)));
    mix(model ^ mix(prompt_hash) ^ u64::from(choice).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Vocabulary number of output token `position` (from 0).
#[must_use]
pub(crate) fn token_id(seed: u64, position: u32) -> u32 {
    let spread = mix(seed ^ u64::from(position).wrapping_mul(0xd605_bbb5_8c8a_bbfd));
    // The vocabulary has 64 entries: six bits are always in range.
    u32::try_from(spread >> 58).unwrap_or(0)
}

/// The vocabulary entry behind an output token id.
#[must_use]
pub(crate) fn piece(id: u32) -> Piece {
    const LAST: Piece = word("?");
    usize::try_from(id)
        .ok()
        .and_then(|id| VOCABULARY.get(id).copied())
        .unwrap_or(LAST)
}

/// The length an answer ends at by itself when the client gave no limit: token number `range.0` to
/// `range.1` is the end-of-sequence token. It depends on the text's seed alone.
#[must_use]
pub(crate) fn natural_length(seed: u64, range: (u32, u32)) -> u32 {
    let (low, high) = range;
    let span = u64::from(high.saturating_sub(low)).saturating_add(1);
    low.saturating_add(u32::try_from(mix(!seed) % span).unwrap_or(0))
}

/// The first `count` tokens that `model` says after the prompt `tokens`, as choice `choice`.
#[must_use]
pub fn text(model: &str, tokens: &[u32], choice: u32, count: u32) -> String {
    let seed = seed(model, hash_tokens(0, tokens), choice);
    (0..count)
        .map(|position| piece(token_id(seed, position)).text)
        .collect()
}

/// What `/v1/completions` answers to a text prompt with `max_tokens` = `count` and no stop rule.
#[must_use]
pub fn completion_text(model: &str, prompt: &str, choice: u32, count: u32) -> String {
    text(model, &tokenize(prompt), choice, count)
}

/// What `/v1/chat/completions` answers to `messages` with `max_tokens` = `count` and no stop rule.
#[must_use]
pub fn chat_text(model: &str, messages: &[Value], choice: u32, count: u32) -> String {
    text(
        model,
        &tokenize(&chat_prompt(messages, None)),
        choice,
        count,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_json_form_is_what_a_json_writer_makes_of_the_text() {
        for piece in VOCABULARY {
            let written = serde_json::to_string(piece.text).unwrap();
            assert_eq!(written, format!("\"{}\"", piece.json));
        }
    }

    #[test]
    fn text_depends_on_model_prompt_and_choice() {
        let base = completion_text("m", "hello", 0, 20);

        assert_eq!(base, completion_text("m", "hello", 0, 20));
        assert_ne!(base, completion_text("n", "hello", 0, 20));
        assert_ne!(base, completion_text("m", "hellp", 0, 20));
        assert_ne!(base, completion_text("m", "hello", 1, 20));
    }

    #[test]
    fn longer_text_starts_with_the_shorter() {
        let long = completion_text("m", "hello", 0, 50);
        assert!(long.starts_with(&completion_text("m", "hello", 0, 20)));
    }

    #[test]
    fn natural_length_stays_in_its_range() {
        let lengths: Vec<u32> = (0..500)
            .map(|n| natural_length(mix(n), (128, 256)))
            .collect();
        assert!(lengths.iter().all(|n| (128..=256).contains(n)));
        assert!(lengths.iter().any(|n| *n < 150) && lengths.iter().any(|n| *n > 230));
    }

    #[test]
    fn all_of_the_vocabulary_is_used() {
        let seen: std::collections::BTreeSet<u32> = (0..4000).map(|at| token_id(7, at)).collect();
        assert_eq!(seen.len(), VOCABULARY.len());
    }
}
