//! Limits and stop rules: what fits the context and what the engine's sampling parameters allow.

use super::error::ApiError;
use super::fields::Fields;
use super::options::Options;
use super::request::Shape;
use super::sequence::{Limits, Prompt};
use std::rc::Rc;

/// Token ids at or above this are outside Qwen2.5's embedding.
const TOKEN_ID_LIMIT: u32 = 152_064;
/// Temperatures below this are greedy sampling.
const GREEDY_BELOW: f64 = 1e-5;
/// Most choices of one request, vLLM's default.
const MAX_N: i64 = 16_384;

/// Truncates a prompt if asked and checks that it fits with the tokens asked for.
pub(crate) fn fit(
    mut prompt: Prompt,
    (limit_name, named): (&'static str, Option<i64>),
    truncate: Option<i64>,
    options: &Options,
) -> Result<Rc<Prompt>, ApiError> {
    let longest = i64::from(options.max_model_len);
    let output = named.unwrap_or(0);
    if output > longest {
        return Err(ApiError::invalid(
            format!(
                "{limit_name}={output} cannot be greater than max_model_len=max_total_tokens={longest}. \
                 Please request fewer output tokens."
            ),
            Some(limit_name),
        ));
    }
    if let Some(keep) = truncate.filter(|keep| *keep >= 0) {
        prompt.keep_last(usize::try_from(keep).unwrap_or(usize::MAX));
    }
    if prompt.tokens.is_empty() {
        return Err(ApiError::invalid(
            "The decoder prompt cannot be empty",
            None,
        ));
    }
    if let Some(id) = prompt.tokens.iter().find(|id| **id >= TOKEN_ID_LIMIT) {
        return Err(ApiError::invalid(
            format!("Token id {id} is out of vocabulary"),
            None,
        ));
    }
    let input = i64::from(prompt.len());
    if input > longest - output.max(0) {
        return Err(ApiError::invalid(
            format!(
                "This model's maximum context length is {longest} tokens. However, you requested \
                 {output} output tokens and your prompt contains {input} input tokens, for a total \
                 of {} tokens. Please reduce the length of the input prompt or the number of \
                 requested output tokens.",
                input + output
            ),
            Some("input_tokens"),
        ));
    }
    Ok(Rc::new(prompt))
}

/// Choices and stop rules, checked as the engine's sampling parameters are.
pub(crate) fn sampling(
    fields: Fields<'_>,
    shape: &Shape,
    named: Option<i64>,
    prompts: &[Rc<Prompt>],
    options: &Options,
) -> Result<(u32, Limits), ApiError> {
    let invalid = |message: String, param| Err(ApiError::invalid(message, param));
    let n = fields.int("n")?.unwrap_or(1);
    if n < 1 {
        return invalid(format!("n must be at least 1, got {n}."), None);
    }
    if n > MAX_N {
        return invalid(format!("n must be at most {MAX_N}, got {n}."), None);
    }
    let temperature = fields.number("temperature")?.unwrap_or(1.0);
    if temperature < 0.0 {
        return invalid(
            format!("temperature must be non-negative, got {temperature}."),
            Some("temperature"),
        );
    }
    let top_p = fields.number("top_p")?.unwrap_or(1.0);
    if !(top_p > 0.0 && top_p <= 1.0) {
        return invalid(
            format!("top_p must be in (0, 1], got {top_p}."),
            Some("top_p"),
        );
    }
    let longest_prompt = prompts.iter().map(|prompt| prompt.len()).max().unwrap_or(0);
    let room = i64::from(options.max_model_len.saturating_sub(longest_prompt));
    let most = if shape.echo_only {
        1
    } else {
        named.map_or(room, |named| named.min(room))
    };
    if most < 1 {
        return invalid(
            format!("max_tokens must be at least 1, got {most}."),
            Some("max_tokens"),
        );
    }
    let min_tokens = fields.int("min_tokens")?.unwrap_or(0);
    if min_tokens < 0 {
        return invalid(
            format!("min_tokens must be greater than or equal to 0, got {min_tokens}."),
            None,
        );
    }
    if min_tokens > most {
        return invalid(
            format!(
                "min_tokens must be less than or equal to max_tokens={most}, got {min_tokens}."
            ),
            None,
        );
    }
    let stop = fields.strings("stop")?;
    if stop.iter().any(String::is_empty) {
        return invalid("stop cannot contain an empty string.".to_owned(), None);
    }
    let beam_search = fields.truth("use_beam_search")?;
    if temperature < GREEDY_BELOW && n > 1 && !beam_search {
        return invalid(
            format!("n must be 1 when using greedy sampling, got {n}."),
            None,
        );
    }
    let small = |value: i64| u32::try_from(value).unwrap_or(u32::MAX);
    let limits = Limits {
        named: (named.is_some() || shape.echo_only).then_some(small(most)),
        min_tokens: small(min_tokens),
        ignore_eos: fields.truth("ignore_eos")?,
        stop,
        stop_token_ids: fields.ids("stop_token_ids")?,
        include_stop: fields.truth("include_stop_str_in_output")?,
    };
    Ok((small(n), limits))
}
