//! A faithful simulated vLLM node.
//!
//! It speaks vLLM 0.23's HTTP, registers with real libzmq messages, hands KV from prefill to decode
//! over a socket and is as unforgiving as the real `P2pNcclConnector`: a prefill node dies on a
//! second token, any node dies on a request id that names no peer, and a decode node freezes on an
//! id whose KV never came. Time and faults come from values with a seed, text is a pure function of
//! the prompt, and a ledger keeps account of every rule that was broken and all KV left behind.
//!
//! It knows nothing of pd-proxy and imports nothing of it: HTTP is hyper's, JSON is serde's,
//! registration is libzmq's, so a misunderstanding cannot agree with itself.

mod answer;
mod body;
mod catalog;
pub mod cli;
mod connector;
mod engine;
mod engine_id;
mod error;
mod faults;
mod fields;
mod generate;
mod generation;
mod http;
mod json;
mod kv;
mod ledger;
mod logprobs;
mod metrics;
mod node;
mod options;
mod prefix_cache;
mod register;
mod request;
mod routes;
mod sampling;
mod sequence;
mod shared;
mod socket;
mod stream;
mod text;
mod timing;
mod tokens;

pub use engine_id::{KvAddress, chat_id, completion_id, decode_address, prefill_address};
pub use faults::{Action, Fault};
pub use ledger::{Event, HeldKv, Ledger, Requests, Rule, State, Violation};
pub use node::{Sim, Stopper};
pub use options::{Options, Role};
pub use text::{chat_text, completion_text, text};
pub use timing::{A100_7B, Profile};
pub use tokens::{WORD_BYTES, chat_prompt, detokenize, hash_tokens, pieces, tokenize};
