//! What a pair of nodes cannot serve, or would serve at the price of a frozen or dead node.
//!
//! Nodes validate requests themselves, and say it better. Refused here is only what they do not refuse
//! and do not survive, and what the prefill node cannot refuse because [`Patch`](super::Patch) replaces
//! it: a request that prefill accepts and decode refuses leaves its KV cache at the decode node until
//! somebody drains it.

use super::json::{self, Kind, Value};
use super::lax;
use super::scan::{Key, Scan};

/// Why a request is answered with 400 before any node hears of it. The text is the error's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Each step of a beam search draws a new request id per beam: decode waits, for ever and for all
    /// its requests, for KV that no prefill announced under that id.
    #[error("`use_beam_search` is not supported with disaggregated prefill.")]
    BeamSearch,
    /// The decode node never runs the prompt, so it has no probabilities for it; some versions crash.
    #[error("`prompt_logprobs` is not supported with disaggregated prefill.")]
    PromptLogprobs,
    /// The same by another name: echo asks for the log probabilities of the prompt wherever it asks for
    /// those of the answer, and in chats unless `top_logprobs` is null.
    #[error("`echo` together with log probabilities is not supported with disaggregated prefill.")]
    EchoLogprobs,
    /// It names hosts that a node shall read memory from; only the proxy says that.
    #[error("`kv_transfer_params` is set by the proxy and must not be part of a request.")]
    KvTransferParams,
    /// A limit that no node accepts, but that prefill will not see.
    #[error("`{}` must be an integer of at least 1.", .0.name())]
    Limit(Key),
    /// More tokens at least than at most: decode refuses it, but prefill will not see it.
    #[error("`min_tokens` must be less than or equal to `max_tokens`.")]
    MinTokens,
    /// Not a boolean, but prefill will not see it.
    #[error("`stream` must be a boolean.")]
    Stream,
    /// Options for a stream that is not asked for: decode refuses it, but prefill does stream.
    #[error("Stream options can only be defined when `stream=True`.")]
    StreamOptions,
}

impl Refusal {
    /// The key it is about, as the `param` of an error body.
    pub const fn param(self) -> &'static str {
        match self {
            Self::BeamSearch => Key::UseBeamSearch.name(),
            Self::PromptLogprobs => Key::PromptLogprobs.name(),
            Self::EchoLogprobs => Key::Echo.name(),
            Self::KvTransferParams => Key::KvTransferParams.name(),
            Self::Limit(key) => key.name(),
            Self::MinTokens => Key::MinTokens.name(),
            Self::Stream => Key::Stream.name(),
            Self::StreamOptions => Key::StreamOptions.name(),
        }
    }
}

/// Whether a pair of nodes may be given this request. `scan` is of `body`.
///
/// # Errors
///
/// The first reason against it; the answer is 400.
pub fn admit(scan: &Scan, body: &[u8]) -> Result<(), Refusal> {
    if is_switched_on(scan, body, Key::UseBeamSearch) {
        return Err(Refusal::BeamSearch);
    }
    if set(scan, Key::PromptLogprobs).is_some() {
        return Err(Refusal::PromptLogprobs);
    }
    let echoes = is_switched_on(scan, body, Key::Echo);
    if echoes && echo_asks_for_logprobs(scan) {
        return Err(Refusal::EchoLogprobs);
    }
    if set(scan, Key::KvTransferParams).is_some() || smuggles_kv_transfer_params(scan, body) {
        return Err(Refusal::KvTransferParams);
    }
    for key in [Key::MaxTokens, Key::MaxCompletionTokens] {
        let Some(value) = set(scan, key) else {
            continue;
        };
        // Completions with echo and no token to generate are legal: vLLM generates one and drops it.
        let least = i64::from(!(echoes && key == Key::MaxTokens));
        if lax::integer(value, body).is_none_or(|limit| limit < least) {
            return Err(Refusal::Limit(key));
        }
    }
    let integer = |key| set(scan, key).and_then(|value| lax::integer(value, body));
    // As vLLM chooses: the newer name counts in chats, where it wins.
    let limit = if scan.value(Key::Messages).is_some() {
        integer(Key::MaxCompletionTokens).or_else(|| integer(Key::MaxTokens))
    } else {
        integer(Key::MaxTokens)
    };
    if let (Some(least), Some(limit)) = (integer(Key::MinTokens), limit)
        && least > limit.max(1)
    {
        return Err(Refusal::MinTokens);
    }
    if set(scan, Key::Stream).is_some_and(|value| lax::boolean(value, body).is_none()) {
        return Err(Refusal::Stream);
    }
    let has_options =
        set(scan, Key::StreamOptions).is_some_and(|value| !is_empty_object(value, body));
    if has_options && !wants_stream(scan, body) {
        return Err(Refusal::StreamOptions);
    }
    Ok(())
}

/// Whether the client asked for an event stream. `scan` is of `body`.
pub fn wants_stream(scan: &Scan, body: &[u8]) -> bool {
    scan.value(Key::Stream)
        .and_then(|value| lax::boolean(value, body))
        == Some(true)
}

/// The value of `key`, unless it is null, which to a node is as good as absent.
fn set(scan: &Scan, key: Key) -> Option<Value> {
    scan.value(key).filter(|value| value.kind != Kind::Null)
}

/// Whether a node might read the value of `key` as true: anything that is not surely false.
fn is_switched_on(scan: &Scan, body: &[u8], key: Key) -> bool {
    set(scan, key).is_some_and(|value| lax::boolean(value, body) != Some(false))
}

/// Whether vLLM turns `echo` into `prompt_logprobs`: it takes the number from `logprobs` in
/// completions, where even `false` is the number 0, and in chats from `top_logprobs`, which is 0 when
/// absent.
fn echo_asks_for_logprobs(scan: &Scan) -> bool {
    let is_chat = scan.value(Key::Messages).is_some();
    let by_default = is_chat && scan.value(Key::TopLogprobs).is_none();
    by_default || set(scan, Key::Logprobs).is_some() || set(scan, Key::TopLogprobs).is_some()
}

/// Whether `kv_transfer_params` stands in `vllm_xargs`, which vLLM merges into the same map. Nothing
/// that fits there is a map itself, and a connector that expects one ends the engine.
fn smuggles_kv_transfer_params(scan: &Scan, body: &[u8]) -> bool {
    let Some(xargs) = set(scan, Key::VllmXargs).filter(|value| value.kind == Kind::Object) else {
        return false;
    };
    let mut is_there = false;
    let read = json::object(xargs.text(body), |member| {
        is_there |= member.key.means(Key::KvTransferParams.name());
        Ok(())
    });
    is_there || read.is_err()
}

fn is_empty_object(value: Value, body: &[u8]) -> bool {
    value.kind == Kind::Object
        && json::object(value.text(body), |_| Ok(())).is_ok_and(|object| object.is_empty)
}

#[cfg(test)]
mod tests;
