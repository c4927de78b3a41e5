//! Reads and validates generation requests as vLLM 0.23 does.

use super::engine_id;
use super::error::ApiError;
use super::fields::{Fields, missing, token_ids, value_error, wrong_type};
use super::options::Options;
use super::sequence::{Limits, Prompt};
use super::tokens::chat_prompt;
use serde_json::Value;
use std::rc::Rc;

/// Token ids at or above this are outside Qwen2.5's embedding.
const TOKEN_ID_LIMIT: u32 = 152_064;
/// Temperatures below this are greedy sampling.
const GREEDY_BELOW: f64 = 1e-5;
/// Most log probabilities a client may ask for, vLLM's default.
const MAX_LOGPROBS: i64 = 20;
/// Most choices of one request, vLLM's default.
const MAX_N: i64 = 16_384;

/// The two generation endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// `/v1/completions`
    Completions,
    /// `/v1/chat/completions`
    Chat,
}

/// What the answer has to look like.
#[derive(Debug, Clone, Copy, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each mirrors one boolean field of the API"
)]
pub(crate) struct Shape {
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    pub(crate) continuous_usage: bool,
    pub(crate) echo: bool,
    /// `echo` with `max_tokens` 0: the prompt alone is the answer.
    pub(crate) echo_only: bool,
    pub(crate) logprobs: Option<u32>,
    pub(crate) token_ids: bool,
}

/// A valid request.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) endpoint: Endpoint,
    /// Header id, else the body's `request_id`, else one made up.
    pub(crate) base_id: String,
    pub(crate) prompts: Vec<Rc<Prompt>>,
    /// Choices of each prompt.
    pub(crate) n: u32,
    pub(crate) limits: Rc<Limits>,
    pub(crate) shape: Shape,
    /// Completions with `max_tokens: null`: the server trips over it once the answer is there.
    pub(crate) null_max_tokens: bool,
    pub(crate) prompt_logprobs: bool,
    pub(crate) beam_search: bool,
}

impl Request {
    /// The `id` of the response.
    pub(crate) fn response_id(&self) -> String {
        match self.endpoint {
            Endpoint::Completions => format!("cmpl-{}", self.base_id),
            Endpoint::Chat => format!("chatcmpl-{}", self.base_id),
        }
    }

    /// Prompt tokens as `usage` counts them: every prompt once.
    pub(crate) fn prompt_tokens(&self) -> u64 {
        self.prompts.iter().map(|p| u64::from(p.len())).sum()
    }

    /// The engine id of one choice of one prompt.
    pub(crate) fn engine_id(&self, prompt: usize, choice: u32) -> String {
        match self.endpoint {
            Endpoint::Completions => {
                engine_id::completion_id(&self.base_id, prompt, choice, self.n)
            }
            Endpoint::Chat => engine_id::chat_id(&self.base_id, choice, self.n),
        }
    }

    /// Reads a body. `header_id` is the request's `X-Request-Id`, `fallback_id` the id to make up.
    ///
    /// # Errors
    /// What the real server would refuse, with its status and the gist of its message.
    pub(crate) fn parse(
        endpoint: Endpoint,
        body: &Value,
        header_id: Option<&str>,
        fallback_id: &str,
        options: &Options,
    ) -> Result<Self, ApiError> {
        let fields = Fields::object(body)?;
        let shape = shape(endpoint, fields)?;
        let named = named_limit(endpoint, fields)?;
        let (prompt_logprobs, beam_search) = (
            wants_prompt_logprobs(endpoint, fields)?,
            fields.truth("use_beam_search")?,
        );
        if let Some(model) = fields.get("model") {
            let model = model
                .as_str()
                .ok_or_else(|| wrong_type("model", "string_type", "a valid string"))?;
            if !model.is_empty() && model != options.model {
                return Err(ApiError::unknown_model(model));
            }
        }
        if beam_search && shape.stream && endpoint == Endpoint::Completions {
            return Err(ApiError::invalid(
                "Streaming is not currently supported with beam search",
                None,
            ));
        }
        let texts = match endpoint {
            Endpoint::Completions => prompts(fields)?,
            Endpoint::Chat => vec![messages(fields)?],
        };
        let truncate = fields.int("truncate_prompt_tokens")?;
        let prompts = texts
            .into_iter()
            .map(|prompt| fit(prompt, named, truncate, options))
            .collect::<Result<Vec<_>, _>>()?;
        let (n, limits) = sampling(fields, &shape, named, &prompts, options)?;
        let body_id = fields.get("request_id").and_then(Value::as_str);
        Ok(Self {
            endpoint,
            base_id: header_id.or(body_id).unwrap_or(fallback_id).to_owned(),
            prompts,
            n,
            limits: Rc::new(limits),
            shape,
            null_max_tokens: endpoint == Endpoint::Completions && fields.is_null("max_tokens"),
            prompt_logprobs,
            beam_search,
        })
    }
}

/// Checks about streaming and log probabilities, which come before all others.
fn shape(endpoint: Endpoint, fields: Fields<'_>) -> Result<Shape, ApiError> {
    let stream = fields.truth("stream")?;
    let options = fields.get("stream_options");
    let set = options.is_some_and(|options| options.as_object().is_none_or(|map| !map.is_empty()));
    if set && !stream {
        return Err(value_error(
            "Stream options can only be defined when `stream=True`.",
            "stream_options",
        ));
    }
    let (include_usage, continuous) = match options {
        Some(options) => {
            let options = Fields::object(options)?;
            let include = options.truth("include_usage")?;
            (include, include && options.truth("continuous_usage_stats")?)
        }
        None => (false, false),
    };
    if let Some(wanted) = fields.int("prompt_logprobs")? {
        if stream && (wanted > 0 || wanted == -1) {
            return Err(value_error(
                "`prompt_logprobs` are not available when `stream=True`.",
                "prompt_logprobs",
            ));
        }
        if wanted < -1 {
            return Err(value_error(
                "`prompt_logprobs` must be a positive value or -1.",
                "prompt_logprobs",
            ));
        }
    }
    let logprobs = match endpoint {
        Endpoint::Completions => completion_logprobs(fields)?,
        Endpoint::Chat => chat_logprobs(fields)?,
    };
    let echo = fields.truth("echo")?;
    Ok(Shape {
        stream,
        include_usage,
        continuous_usage: continuous,
        echo,
        echo_only: echo
            && endpoint == Endpoint::Completions
            && fields.int("max_tokens")? == Some(0),
        logprobs,
        token_ids: fields.truth("return_token_ids")?,
    })
}

fn completion_logprobs(fields: Fields<'_>) -> Result<Option<u32>, ApiError> {
    match fields.int("logprobs")? {
        Some(wanted) if wanted < 0 => Err(value_error(
            "`logprobs` must be a positive value.",
            "logprobs",
        )),
        wanted => bounded_logprobs(wanted),
    }
}

fn chat_logprobs(fields: Fields<'_>) -> Result<Option<u32>, ApiError> {
    let wanted = fields.truth("logprobs")?;
    let top = fields.int("top_logprobs")?;
    if let Some(top) = top {
        if top < -1 {
            return Err(value_error(
                "`top_logprobs` must be a positive value or -1.",
                "top_logprobs",
            ));
        }
        if top != 0 && !wanted {
            return Err(value_error(
                "when using `top_logprobs`, `logprobs` must be set to true.",
                "top_logprobs",
            ));
        }
    }
    bounded_logprobs(wanted.then_some(top.unwrap_or(0).max(0)))
}

fn bounded_logprobs(wanted: Option<i64>) -> Result<Option<u32>, ApiError> {
    match wanted {
        Some(wanted) if wanted > MAX_LOGPROBS => Err(ApiError::invalid(
            format!(
                "Requested sample logprobs of {wanted}, which is greater than max allowed: \
                 {MAX_LOGPROBS}"
            ),
            Some("logprobs"),
        )),
        wanted => Ok(wanted.and_then(|wanted| u32::try_from(wanted).ok())),
    }
}

/// Whether the engine has to compute log probabilities of the prompt.
fn wants_prompt_logprobs(endpoint: Endpoint, fields: Fields<'_>) -> Result<bool, ApiError> {
    let asked = fields.int("prompt_logprobs")?.is_some();
    let echoed = endpoint == Endpoint::Completions
        && fields.truth("echo")?
        && fields.int("logprobs")?.is_some();
    Ok(asked || echoed)
}

/// The limit on output tokens that the client named, or the endpoint's default.
fn named_limit(endpoint: Endpoint, fields: Fields<'_>) -> Result<Option<i64>, ApiError> {
    match endpoint {
        Endpoint::Completions if fields.is_null("max_tokens") => Ok(None),
        Endpoint::Completions => Ok(Some(fields.int("max_tokens")?.unwrap_or(16))),
        Endpoint::Chat => {
            let max_tokens = fields.int("max_tokens")?;
            Ok(fields.int("max_completion_tokens")?.or(max_tokens))
        }
    }
}

/// The prompts of a completions request.
fn prompts(fields: Fields<'_>) -> Result<Vec<Prompt>, ApiError> {
    let empty = || {
        value_error(
            "Either prompt or prompt_embeds must be provided and non-empty.",
            "prompt",
        )
    };
    let value = fields.get("prompt").ok_or_else(empty)?;
    match value {
        Value::String(text) if text.is_empty() => Err(empty()),
        Value::String(text) => Ok(vec![Prompt::from_text(text)]),
        Value::Array(items) if items.is_empty() => Err(ApiError::invalid(
            "Please provide at least one prompt.",
            Some("prompt"),
        )),
        Value::Array(items) if items.iter().all(Value::is_string) => Ok(items
            .iter()
            .filter_map(Value::as_str)
            .map(Prompt::from_text)
            .collect()),
        Value::Array(items) => token_ids(value)
            .map(|ids| vec![ids])
            .or_else(|| items.iter().map(token_ids).collect())
            .map(|lists| lists.into_iter().map(Prompt::from_ids).collect())
            .ok_or_else(|| wrong_type("prompt", "string_type", "a valid string")),
        _ => Err(wrong_type("prompt", "string_type", "a valid string")),
    }
}

/// The prompt of a chat request.
fn messages(fields: Fields<'_>) -> Result<Prompt, ApiError> {
    if let Some(choice) = fields
        .get("tool_choice")
        .filter(|choice| **choice != "none")
    {
        if fields.get("tools").is_none() {
            return Err(value_error(
                "When using `tool_choice`, `tools` must be set.",
                "tool_choice",
            ));
        }
        if *choice != "auto" && *choice != "required" && !choice.is_object() {
            return Err(value_error(
                "Invalid value for `tool_choice`! Only named tools, \"none\", \"auto\" or \
                 \"required\" are supported.",
                "tool_choice",
            ));
        }
    }
    let value = fields.get("messages").ok_or_else(|| missing("messages"))?;
    let list = value
        .as_array()
        .filter(|list| list.iter().all(Value::is_object))
        .ok_or_else(|| wrong_type("messages", "list_type", "a valid list"))?;
    if list.is_empty() {
        return Err(ApiError::invalid("list index out of range", None));
    }
    Ok(Prompt::from_text(&chat_prompt(list, fields.get("tools"))))
}

/// Truncates a prompt if asked and checks that it fits with the tokens asked for.
fn fit(
    mut prompt: Prompt,
    named: Option<i64>,
    truncate: Option<i64>,
    options: &Options,
) -> Result<Rc<Prompt>, ApiError> {
    let longest = i64::from(options.max_model_len);
    let output = named.unwrap_or(0);
    if output > longest {
        return Err(ApiError::invalid(
            format!(
                "max_tokens={output} cannot be greater than max_model_len=max_total_tokens={longest}. \
                 Please request fewer output tokens."
            ),
            Some("max_tokens"),
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
fn sampling(
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

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
