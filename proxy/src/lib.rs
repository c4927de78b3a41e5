//! pd-proxy: an HTTP/1.1 proxy that runs each request through a vLLM prefill node and a decode node.
//!
//! ```text
//!  client ──► shard ──► relay::connection ──► relay::request ───────────────────────────────────┐
//!                         (keep-alive)          │ read head    http1                            │
//!                                               │ read body    http1                            │
//!                                               │ scan         openai                           │
//!                                               │ choose pair  balance ◄──── nodes ◄──────────┐ │
//!                                               │ prefill      relay::prefill ─► upstream ─► P│ │
//!                                               │ decode       relay::decode ──► upstream ─► D│ │
//!                                               │ relay        relay::stream                  │ │
//!                                               └ release      Drop of nodes::InFlight        │ │
//!  node ──ZMQ──► registry (own thread): frame ─► table ─► publish ────────────────────────────┘ │
//!  client ◄─────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! | room | what it is for |
//! | --- | --- |
//! | [`io`] | sockets, timers, the driver of a shard; the only room that knows monoio |
//! | [`http1`] | bytes to meaning and back: heads, framing, chunks |
//! | [`openai`] | the little of the API that must be known: the scan and patch of a body, its errors |
//! | [`kv_transfer`] | what P and D must be told of each other |
//! | [`nodes`] | what a node is, as the shards see it |
//! | [`registry`] | how nodes come and go, on a thread of its own |
//! | [`balance`] | which pair serves a request |
//! | [`upstream`] | talking to a node: connections, their pool, one exchange |
//! | [`relay`] | the story of a connection and of a request |
//! | [`secret`] | a key, which is compared and sent and never shown |
//! | [`shard`] | one core, one driver, one listener |
//! | [`telemetry`] | what the proxy tells about itself |
//! | [`control`] | the process around it all: binding, signals, draining |
//!
//! Invariants, most of them of absence; `tests/tidy` holds those that can be read off the source:
//!
//! - No socket, no clock and no `async` in `http1`, `openai`, `kv_transfer`, `nodes`, `balance`, nor in
//!   the decisions of `registry`.
//! - No lock on a shard, and nothing shared between shards but the published fleet, the turn of the
//!   next pair, and counters that only one shard writes.
//! - A request sees one snapshot of the fleet from start to end.
//! - A decode is sent only with the proof that its prefill succeeded, and once per request id.
//! - The end of a chunked body is written in one place, where a node's body was seen to end.
//! - No tree of a request's JSON is ever built; D gets the client's bytes untouched.
//! - Nothing reads the environment after start, and nothing reads the wall clock to decide.
//!
//! The long pages are in [`docs`].

pub mod args;
pub mod balance;
pub mod config;
pub mod control;
pub mod error;
pub mod http1;
pub mod io;
pub mod kv_transfer;
pub mod limits;
pub mod nodes;
pub mod openai;
pub mod registry;
pub mod relay;
pub mod secret;
pub mod shard;
pub mod telemetry;
pub mod upstream;

pub use control::main_with_args;

/// The long pages: what a request goes through, what is bounded, how the proxy is run.
pub mod docs {
    #[doc = include_str!("../docs/life-of-a-request.md")]
    pub mod life_of_a_request {}

    #[doc = include_str!("../docs/limits.md")]
    pub mod limits {}

    #[doc = include_str!("../docs/operations.md")]
    pub mod operations {}

    pub use crate::registry::docs as registration;
}
