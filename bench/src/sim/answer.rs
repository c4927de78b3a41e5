//! A whole answer: the JSON of vLLM 0.23 with all its keys, in its order.

use super::generation::Generation;
use super::logprobs;
use super::request::{Endpoint, Request};
use super::sequence::{Plan, Sequence};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

type PromptLogprobs = Vec<Option<BTreeMap<u32, logprobs::PromptToken>>>;

#[derive(Debug, Serialize)]
struct Usage {
    prompt_tokens: u64,
    total_tokens: u64,
    completion_tokens: u64,
    prompt_tokens_details: Option<()>,
}

#[derive(Debug, Serialize)]
struct CompletionAnswer<'a> {
    id: String,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<CompletionChoice>,
    service_tier: Option<()>,
    system_fingerprint: &'a str,
    usage: Usage,
    kv_transfer_params: Option<()>,
}

#[derive(Debug, Serialize)]
struct CompletionChoice {
    index: usize,
    text: String,
    logprobs: Option<logprobs::Completion>,
    finish_reason: &'static str,
    stop_reason: Value,
    token_ids: Option<Vec<u32>>,
    prompt_logprobs: Option<PromptLogprobs>,
    prompt_token_ids: Option<Vec<u32>>,
    routed_experts: Option<()>,
}

#[derive(Debug, Serialize)]
struct ChatAnswer<'a> {
    id: String,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<ChatChoice>,
    service_tier: Option<()>,
    system_fingerprint: &'a str,
    usage: Usage,
    prompt_logprobs: Option<PromptLogprobs>,
    prompt_token_ids: Option<Vec<u32>>,
    prompt_text: Option<()>,
    kv_transfer_params: Option<()>,
}

#[derive(Debug, Serialize)]
struct ChatChoice {
    index: usize,
    message: Message,
    logprobs: Option<logprobs::Chat>,
    finish_reason: &'static str,
    stop_reason: Value,
    token_ids: Option<Vec<u32>>,
    routed_experts: Option<()>,
}

#[derive(Debug, Serialize)]
struct Message {
    role: &'static str,
    content: String,
    refusal: Option<()>,
    annotations: Option<()>,
    audio: Option<()>,
    function_call: Option<()>,
    tool_calls: [(); 0],
    reasoning: Option<()>,
}

/// The JSON text of a complete generation.
pub(crate) fn json(
    generation: &Generation,
    request: &Request,
    model: &str,
    fingerprint: &str,
    created: u64,
) -> Vec<u8> {
    let planned = || {
        let sequences = generation.sequences.iter();
        sequences.filter_map(|sequence| Some((&**sequence, sequence.plan.get()?)))
    };
    let prompt_tokens = request.prompt_tokens();
    let completion_tokens = planned().map(|(_, plan)| u64::from(plan.total)).sum();
    let usage = Usage {
        prompt_tokens,
        total_tokens: prompt_tokens + completion_tokens,
        completion_tokens,
        prompt_tokens_details: None,
    };
    let id = request.response_id();
    let choices = planned().enumerate();
    let written = match request.endpoint {
        Endpoint::Completions => serde_json::to_vec(&CompletionAnswer {
            id,
            object: "text_completion",
            created,
            model,
            choices: choices
                .map(|(index, (sequence, plan))| completion(index, sequence, plan, request))
                .collect(),
            service_tier: None,
            system_fingerprint: fingerprint,
            usage,
            kv_transfer_params: None,
        }),
        Endpoint::Chat => serde_json::to_vec(&ChatAnswer {
            id,
            object: "chat.completion",
            created,
            model,
            choices: choices
                .map(|(index, (_, plan))| chat(index, plan, request))
                .collect(),
            service_tier: None,
            system_fingerprint: fingerprint,
            usage,
            prompt_logprobs: request
                .prompts
                .first()
                .filter(|_| request.prompt_logprobs)
                .map(|prompt| logprobs::prompt(prompt)),
            prompt_token_ids: request
                .shape
                .token_ids
                .then(|| request.prompts.first().map(|prompt| prompt.tokens.clone()))
                .flatten(),
            prompt_text: None,
            kv_transfer_params: None,
        }),
    };
    // Strings, numbers and lists always have a JSON form.
    written.unwrap_or_default()
}

fn completion(
    index: usize,
    sequence: &Sequence,
    plan: &Plan,
    request: &Request,
) -> CompletionChoice {
    let shape = request.shape;
    let mut text = String::new();
    if shape.echo {
        text.push_str(&sequence.prompt.text());
    }
    if !shape.echo_only {
        text.push_str(&plan.full_text());
    }
    CompletionChoice {
        index,
        text,
        logprobs: shape.logprobs.map(|top| {
            let mut all = logprobs::Completion::new(0);
            if shape.echo {
                all.prompt(&sequence.prompt);
            }
            if !shape.echo_only {
                all.output(plan, 0..plan.total, top);
            }
            all
        }),
        finish_reason: plan.finish_reason(),
        stop_reason: plan.stop_reason(),
        token_ids: token_ids(plan, shape.token_ids),
        prompt_logprobs: request
            .prompt_logprobs
            .then(|| logprobs::prompt(&sequence.prompt)),
        prompt_token_ids: shape.token_ids.then(|| sequence.prompt.tokens.clone()),
        routed_experts: None,
    }
}

fn chat(index: usize, plan: &Plan, request: &Request) -> ChatChoice {
    let shape = request.shape;
    ChatChoice {
        index,
        message: Message {
            role: "assistant",
            content: plan.full_text(),
            refusal: None,
            annotations: None,
            audio: None,
            function_call: None,
            tool_calls: [],
            reasoning: None,
        },
        logprobs: shape
            .logprobs
            .map(|top| logprobs::chat(plan, 0..plan.total, top)),
        finish_reason: plan.finish_reason(),
        stop_reason: plan.stop_reason(),
        token_ids: token_ids(plan, shape.token_ids),
        routed_experts: None,
    }
}

fn token_ids(plan: &Plan, wanted: bool) -> Option<Vec<u32>> {
    wanted.then(|| (0..plan.total).map(|at| plan.token(at)).collect())
}
