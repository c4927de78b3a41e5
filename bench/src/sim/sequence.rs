//! One sequence: a choice of a prompt, planned when it begins, told token by token.

use super::json::push_escaped;
use super::text::{natural_length, piece, seed, token_id};
use super::tokens::{detokenize, hash_tokens, pieces, tokenize};
use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::Instant;

/// A prompt and the hash that stands for its KV.
#[derive(Debug)]
pub(crate) struct Prompt {
    pub(crate) tokens: Vec<u32>,
    pub(crate) hash: u64,
    text: Option<String>,
}

impl Prompt {
    pub(crate) fn from_text(text: &str) -> Self {
        let tokens = tokenize(text);
        Self {
            hash: hash_tokens(0, &tokens),
            tokens,
            text: Some(text.to_owned()),
        }
    }

    pub(crate) fn from_ids(tokens: Vec<u32>) -> Self {
        Self {
            hash: hash_tokens(0, &tokens),
            tokens,
            text: None,
        }
    }

    /// Drops tokens from the left until at most `count` are left.
    pub(crate) fn keep_last(&mut self, count: usize) {
        let surplus = self.tokens.len().saturating_sub(count);
        if surplus > 0 {
            self.tokens.drain(..surplus);
            self.hash = hash_tokens(0, &self.tokens);
            self.text = self
                .text
                .take()
                .map(|text| pieces(&text).skip(surplus).collect());
        }
    }

    /// Length in tokens.
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.tokens.len()).unwrap_or(u32::MAX)
    }

    /// Each token's text.
    pub(crate) fn pieces(&self) -> Vec<String> {
        match &self.text {
            Some(text) => pieces(text).map(ToOwned::to_owned).collect(),
            None => self.tokens.iter().map(|id| detokenize(&[*id])).collect(),
        }
    }

    /// The prompt as text, for `echo`.
    pub(crate) fn text(&self) -> Cow<'_, str> {
        match &self.text {
            Some(text) => Cow::Borrowed(text),
            None => Cow::Owned(detokenize(&self.tokens)),
        }
    }
}

/// When an answer ends.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limits {
    /// Output tokens the client named. With it an answer has exactly that many unless a stop rule
    /// says otherwise; without, the model ends by itself.
    pub(crate) named: Option<u32>,
    /// No stop rule counts before this many tokens.
    pub(crate) min_tokens: u32,
    pub(crate) ignore_eos: bool,
    pub(crate) stop: Vec<String>,
    pub(crate) stop_token_ids: Vec<u32>,
    pub(crate) include_stop: bool,
}

/// Why an answer ended, beyond "length".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The end-of-sequence token.
    Natural,
    /// A stop string of the client.
    Text(String),
    /// A stop token of the client.
    Token(u32),
}

/// What will be said, known from the start because text is a pure function.
#[derive(Debug)]
pub(crate) struct Plan {
    seed: u64,
    /// Tokens, a final end-of-sequence or stop token included.
    pub(crate) total: u32,
    /// `None` when the limit ends the answer.
    pub(crate) stop: Option<Stop>,
    /// With stop strings the text is laid out beforehand: what may be shown lags behind what is
    /// generated, since it might turn out to be the beginning of a stop string.
    layout: Option<Layout>,
}

#[derive(Debug)]
struct Layout {
    text: String,
    /// Bytes of `text` shown once token `i` is there.
    shown: Vec<usize>,
}

impl Plan {
    /// Plans an answer. `kv_hash` is the prompt's hash as the KV has it, `room` the tokens left in
    /// the context, `natural` the range of answers without a limit.
    pub(crate) fn new(
        model: &str,
        kv_hash: u64,
        choice: u32,
        limits: &Limits,
        room: u32,
        natural: (u32, u32),
    ) -> Self {
        let seed = seed(model, kv_hash, choice);
        let mut total = limits.named.unwrap_or(room).min(room).max(1);
        let mut stop = None;
        if limits.named.is_none() && !limits.ignore_eos {
            let end = natural_length(seed, natural).max(limits.min_tokens).max(1);
            if end <= total {
                total = end;
                stop = Some(Stop::Natural);
            }
        }
        if !limits.stop_token_ids.is_empty() {
            let hit = (limits.min_tokens..total)
                .map(|at| (at, token_id(seed, at)))
                .find(|(_, id)| limits.stop_token_ids.contains(id));
            if let Some((at, id)) = hit {
                total = at + 1;
                stop = Some(Stop::Token(id));
            }
        }
        let mut plan = Self {
            seed,
            total,
            stop,
            layout: None,
        };
        if !limits.stop.is_empty() {
            plan.lay_out(limits);
        }
        plan
    }

    /// Walks the text for stop strings and fixes how much of it each token shows.
    fn lay_out(&mut self, limits: &Limits) {
        let longest = limits.stop.iter().map(String::len).max().unwrap_or(1);
        let hold = if limits.include_stop { 0 } else { longest - 1 };
        let mut text = String::new();
        let mut ends = Vec::new();
        for at in 0..self.total {
            let before = text.len();
            text.push_str(self.bare_piece(at).0);
            ends.push(text.len());
            if at < limits.min_tokens {
                continue;
            }
            let from = floor(&text, before.saturating_sub(longest - 1));
            let tail = text.get(from..).unwrap_or_default();
            let hit = limits
                .stop
                .iter()
                .filter_map(|stop| tail.find(stop.as_str()).map(|found| (from + found, stop)))
                .min_by_key(|(found, _)| *found);
            if let Some((found, stop)) = hit {
                text.truncate(if limits.include_stop {
                    found + stop.len()
                } else {
                    found
                });
                self.total = at + 1;
                self.stop = Some(Stop::Text(stop.clone()));
                break;
            }
        }
        let shown = ends
            .iter()
            .enumerate()
            .map(|(at, end)| {
                if at + 1 == ends.len() {
                    text.len()
                } else {
                    floor(&text, end.saturating_sub(hold).min(text.len()))
                }
            })
            .collect();
        self.layout = Some(Layout { text, shown });
    }

    /// Text and JSON form of token `at`, without stop strings.
    fn bare_piece(&self, at: u32) -> (&'static str, &'static str) {
        let silent = matches!(self.stop, Some(Stop::Natural | Stop::Token(_)));
        if silent && at + 1 == self.total {
            return ("", "");
        }
        let piece = piece(token_id(self.seed, at));
        (piece.text, piece.json)
    }

    /// What token `at` adds to the text.
    pub(crate) fn text(&self, at: u32) -> &str {
        match &self.layout {
            None => self.bare_piece(at).0,
            Some(layout) => layout.slice(at),
        }
    }

    /// Appends what token `at` adds, as it stands inside a JSON string.
    pub(crate) fn push_json(&self, at: u32, out: &mut Vec<u8>) {
        match &self.layout {
            None => out.extend_from_slice(self.bare_piece(at).1.as_bytes()),
            Some(layout) => push_escaped(layout.slice(at), out),
        }
    }

    /// The output token id at a position.
    pub(crate) fn token(&self, at: u32) -> u32 {
        token_id(self.seed, at)
    }

    /// `finish_reason` of the whole answer.
    pub(crate) fn finish_reason(&self) -> &'static str {
        if self.stop.is_some() {
            "stop"
        } else {
            "length"
        }
    }

    /// `stop_reason` as JSON.
    pub(crate) fn stop_reason(&self) -> serde_json::Value {
        match &self.stop {
            Some(Stop::Text(text)) => text.as_str().into(),
            Some(Stop::Token(id)) => (*id).into(),
            Some(Stop::Natural) | None => serde_json::Value::Null,
        }
    }

    /// The whole text.
    pub(crate) fn full_text(&self) -> String {
        (0..self.total).map(|at| self.text(at)).collect()
    }
}

impl Layout {
    fn slice(&self, at: u32) -> &str {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let end = self.shown.get(at).copied().unwrap_or(self.text.len());
        let start = at
            .checked_sub(1)
            .and_then(|before| self.shown.get(before).copied())
            .unwrap_or(0);
        self.text.get(start..end).unwrap_or_default()
    }
}

/// The last character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    (0..=at)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

/// Wakes the one task that writes an answer.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    waker: RefCell<Option<Waker>>,
    dead: Cell<bool>,
}

impl Signal {
    pub(crate) fn wake(&self) {
        let waker = self.waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn listen(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        match known.as_mut() {
            Some(known) => known.clone_from(waker),
            None => *known = Some(waker.clone()),
        }
    }

    /// The engine is gone: nothing more will come.
    pub(crate) fn die(&self) {
        self.dead.set(true);
        self.wake();
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.get()
    }
}

/// A sequence, shared by the engine that advances it and the answer that tells it.
#[derive(Debug)]
pub(crate) struct Sequence {
    pub(crate) engine_id: String,
    pub(crate) prompt: Rc<Prompt>,
    pub(crate) limits: Rc<Limits>,
    /// Number of the choice within its prompt; the text depends on it.
    pub(crate) choice: u32,
    /// Set by the engine when the sequence enters a batch.
    pub(crate) plan: OnceCell<Plan>,
    /// Tokens generated so far.
    pub(crate) produced: Cell<u32>,
    /// The client left.
    pub(crate) aborted: Cell<bool>,
    pub(crate) arrived: Instant,
    pub(crate) signal: Rc<Signal>,
}

impl Sequence {
    /// Whether all tokens are there.
    pub(crate) fn is_finished(&self) -> bool {
        self.plan
            .get()
            .is_some_and(|plan| self.produced.get() >= plan.total)
    }
}

#[cfg(test)]
#[path = "sequence_tests.rs"]
mod tests;
