//! What the node says about its model and its tokenizer, in vLLM's order of keys.

use super::fields::token_ids;
use super::node::Node;
use super::tokens::{chat_prompt, detokenize, pieces, tokenize};
use serde::Serialize;
use serde_json::Value;

#[derive(Debug, Serialize)]
struct ModelList<'a> {
    object: &'static str,
    data: [ModelCard<'a>; 1],
}

#[derive(Debug, Serialize)]
struct ModelCard<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
    root: &'a str,
    parent: Option<()>,
    max_model_len: u32,
    permission: [Permission; 1],
}

#[derive(Debug, Serialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the fields of the API, each a boolean"
)]
struct Permission {
    id: String,
    object: &'static str,
    created: u64,
    allow_create_engine: bool,
    allow_sampling: bool,
    allow_logprobs: bool,
    allow_search_indices: bool,
    allow_view: bool,
    allow_fine_tuning: bool,
    organization: &'static str,
    group: Option<()>,
    is_blocking: bool,
}

/// The answer of `/v1/models`.
pub(crate) fn models(node: &Node) -> String {
    let options = &node.shared.options;
    write(&ModelList {
        object: "list",
        data: [ModelCard {
            id: &options.model,
            object: "model",
            created: node.started,
            owned_by: "vllm",
            root: &options.model,
            parent: None,
            max_model_len: options.max_model_len,
            permission: [Permission {
                id: format!("modelperm-{:016x}", options.id_seed()),
                object: "model_permission",
                created: node.started,
                allow_create_engine: false,
                allow_sampling: true,
                allow_logprobs: true,
                allow_search_indices: false,
                allow_view: true,
                allow_fine_tuning: false,
                organization: "*",
                group: None,
                is_blocking: false,
            }],
        }],
    })
}

#[derive(Debug, Serialize)]
struct Tokenized<'a> {
    count: usize,
    max_model_len: u32,
    tokens: Vec<u32>,
    token_strs: Option<Vec<&'a str>>,
}

/// The answer of `/tokenize` to a prompt or to messages.
pub(crate) fn tokenized(node: &Node, body: &Value) -> String {
    let prompt = match body.get("messages").and_then(Value::as_array) {
        Some(messages) => chat_prompt(messages, body.get("tools")),
        None => body
            .get("prompt")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
    };
    let tokens = tokenize(&prompt);
    let strings = body.get("return_token_strs") == Some(&Value::Bool(true));
    write(&Tokenized {
        count: tokens.len(),
        max_model_len: node.shared.options.max_model_len,
        tokens,
        token_strs: strings.then(|| pieces(&prompt).collect()),
    })
}

/// The answer of `/detokenize`.
pub(crate) fn detokenized(body: &Value) -> String {
    let tokens = body.get("tokens").and_then(token_ids).unwrap_or_default();
    serde_json::json!({"prompt": detokenize(&tokens)}).to_string()
}

/// Strings, numbers and lists always have a JSON form.
fn write(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
