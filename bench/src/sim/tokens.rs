//! The simulated tokenizer, the chat template and the hash that stands for a prompt's KV.
//!
//! A token is either one optional leading space followed by up to [`WORD_BYTES`] ASCII letters and
//! digits, or a single other character. Short words therefore cost one token each, which makes a
//! prompt of N words N tokens long.

use serde_json::Value;

/// The most letters and digits one token holds.
pub const WORD_BYTES: usize = 8;

/// Size of the simulated vocabulary of prompts, as Qwen2.5's base vocabulary.
const VOCABULARY: u32 = 151_643;

/// Splits `text` into the pieces that one token each stands for.
pub fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (piece, tail) = rest.split_at_checked(piece_len(rest)?)?;
        rest = tail;
        Some(piece)
    })
}

/// Bytes of the first piece of `text`; `None` at its end.
fn piece_len(text: &str) -> Option<usize> {
    let first = text.chars().next()?;
    let lead = usize::from(first == ' ');
    let word = text
        .bytes()
        .skip(lead)
        .take(WORD_BYTES)
        .take_while(u8::is_ascii_alphanumeric)
        .count();
    Some(if word == 0 {
        first.len_utf8()
    } else {
        lead + word
    })
}

/// The token ids of `text`, a pure function of its bytes.
#[must_use]
pub fn tokenize(text: &str) -> Vec<u32> {
    pieces(text).map(token_id).collect()
}

fn token_id(piece: &str) -> u32 {
    let mut hash: u32 = 0x811c_9dc5;
    for byte in piece.bytes() {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    hash % VOCABULARY
}

/// Text for token ids that came without one: every id by its number.
#[must_use]
pub fn detokenize(ids: &[u32]) -> String {
    use std::fmt::Write as _;
    ids.iter().fold(String::new(), |mut text, id| {
        // Writing to a String cannot fail.
        write!(text, "<{id}>").ok();
        text
    })
}

/// Spreads `value` over all 64 bits (the finaliser of splitmix64).
#[must_use]
pub(crate) const fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Continues a hash over token ids; start with 0. What two equal hashes stand for is equal KV.
#[must_use]
pub fn hash_tokens(start: u64, ids: &[u32]) -> u64 {
    ids.iter()
        .fold(start, |hash, id| mix(hash ^ u64::from(*id).wrapping_add(1)))
}

/// The prompt of a chat request: every message between markers, then the assistant's opening.
///
/// Message content may be a string, `null`, or a list of parts of which the text is taken. `tools`
/// shape the prompt too, by their JSON text.
#[must_use]
pub fn chat_prompt(messages: &[Value], tools: Option<&Value>) -> String {
    let mut prompt = String::new();
    if let Some(tools) = tools.filter(|tools| !tools.is_null()) {
        prompt.push_str("<|im_start|>tools\n");
        prompt.push_str(&tools.to_string());
        prompt.push_str("<|im_end|>\n");
    }
    for message in messages {
        let role = message.get("role").and_then(Value::as_str);
        prompt.push_str("<|im_start|>");
        prompt.push_str(role.unwrap_or("user"));
        prompt.push('\n');
        match message.get("content") {
            Some(Value::String(text)) => prompt.push_str(text),
            Some(Value::Array(parts)) => {
                for part in parts {
                    let text = part.get("text").unwrap_or(part);
                    prompt.push_str(text.as_str().unwrap_or("<|part|>"));
                }
            }
            _ => {}
        }
        if let Some(calls) = message.get("tool_calls") {
            prompt.push_str(&calls.to_string());
        }
        prompt.push_str("<|im_end|>\n");
    }
    prompt.push_str("<|im_start|>assistant\n");
    prompt
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn short_words_are_one_token_each() {
        assert_eq!(tokenize("The quick proxy sends the token").len(), 6);
        let split: Vec<_> = pieces("prefilling, 東 x").collect();
        assert_eq!(split, ["prefilli", "ng", ",", " ", "東", " x"]);
    }

    #[test]
    fn content_parts_and_plain_content_give_one_prompt() {
        let plain = [json!({"role": "user", "content": "hello"})];
        let parts =
            [json!({"role": "user", "content": [{"type": "text", "text": "hel"}, {"text": "lo"}]})];

        assert_eq!(chat_prompt(&plain, None), chat_prompt(&parts, None));
        assert!(chat_prompt(&plain, None).ends_with("<|im_start|>assistant\n"));
    }

    proptest! {
        #[test]
        fn pieces_concatenate_to_the_text(text in ".{0,60}") {
            prop_assert_eq!(pieces(&text).collect::<String>(), text.clone());
            prop_assert!(tokenize(&text).iter().all(|id| *id < VOCABULARY));
        }

        #[test]
        fn hash_continues_at_any_split(ids in proptest::collection::vec(any::<u32>(), 0..40), at in 0usize..40) {
            let at = at.min(ids.len());
            let (head, tail) = ids.split_at(at);
            prop_assert_eq!(hash_tokens(hash_tokens(0, head), tail), hash_tokens(0, &ids));
        }
    }
}
