//! Reads and validates generation requests as vLLM 0.23 does.

use super::engine_id;
use super::error::ApiError;
use super::fields::{Fields, missing, token_ids, value_error, wrong_type};
use super::options::Options;
use super::sampling::{fit, sampling};
use super::sequence::{Limits, Prompt};
use super::tokens::chat_prompt;
use serde_json::Value;
use std::rc::Rc;

/// Most log probabilities a client may ask for, vLLM's default.
const MAX_LOGPROBS: i64 = 20;

/// The two generation endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// `/v1/completions`
    Completions,
    /// `/v1/chat/completions`
    Chat,
}

impl Endpoint {
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Completions => "/v1/completions",
            Self::Chat => "/v1/chat/completions",
        }
    }
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
        if endpoint == Endpoint::Completions && fields.is_null("n") {
            return Err(wrong_type("n", "int_type", "a valid integer"));
        }
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
        let limit_name = match fields.get("max_completion_tokens") {
            Some(_) if endpoint == Endpoint::Chat => "max_completion_tokens",
            _ => "max_tokens",
        };
        let truncate = fields.int("truncate_prompt_tokens")?;
        let prompts = texts
            .into_iter()
            .map(|prompt| fit(prompt, (limit_name, named), truncate, options))
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
            let options = Fields::object(options).map_err(|_not_an_object| {
                wrong_type(
                    "stream_options",
                    "model_attributes_type",
                    "a valid dictionary",
                )
            })?;
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
        Value::Array(items) if items.is_empty() => {
            Err(ApiError::invalid("You must pass at least one prompt", None))
        }
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
    let no_tools = |tools: &Value| tools.as_array().is_some_and(Vec::is_empty);
    if fields.get("tools").is_some_and(no_tools) {
        return Err(ApiError::malformed(
            "{'type': 'value_error', 'loc': ('body',), 'msg': 'Value error, `tools` must not be an \
             empty array. Either provide at least one tool or omit the field entirely.'}",
            None,
        ));
    }
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

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
