//! pd-proxy: an HTTP/1.1 proxy that runs each request through a vLLM prefill node and a decode node.

pub mod http1;
pub mod kv_transfer;
pub mod limits;
pub mod nodes;
pub mod openai;
pub mod registry;
