//! Everything a simulated node can be told.

use super::faults::Fault;
use super::timing::{A100_7B, Profile};
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::time::Duration;

/// What the node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Computes prompts and pushes their KV: registers as `P`.
    Prefill,
    /// Generates from KV that was pushed to it: registers as `D`.
    Decode,
    /// One node that does everything, without a connector: never registers.
    Both,
}

/// How a simulated node is set up. [`Options::default`] with a role is a working node on free ports
/// that runs as fast as the machine allows.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one independent switch of the command line"
)]
pub struct Options {
    /// What the node is for.
    pub role: Role,
    /// Address to listen on, for HTTP and KV.
    pub host: IpAddr,
    /// HTTP port; 0 takes a free one.
    pub port: u16,
    /// KV port; 0 takes a free one.
    pub kv_port: u16,
    /// Host to announce instead of `host`, as `VLLM_HOST_IP` does.
    pub advertise: Option<String>,
    /// Registration sockets of the proxies, `host:port` each.
    pub proxies: Vec<String>,
    /// Whether to register; without it the node is found by static configuration only.
    pub register: bool,
    /// Time between two registration messages.
    pub ping_interval: Duration,
    /// Served model name.
    pub model: String,
    /// Longest prompt plus answer, in tokens.
    pub max_model_len: u32,
    /// Most sequences in one batch.
    pub max_num_seqs: usize,
    /// Most prompt tokens computed in one step; a longer prompt runs alone.
    pub max_num_batched_tokens: usize,
    /// Blocks of 16 tokens that the KV cache holds.
    pub kv_blocks: usize,
    /// Blocks of the prefix cache; 0 turns it off.
    pub prefix_cache_blocks: usize,
    /// Bytes of pushed KV that a decode node can hold before its listener dies.
    pub kv_buffer_bytes: u64,
    /// Seed of everything random: ids made up here and faults.
    pub seed: u64,
    /// How much faster than life; `f64::INFINITY` never waits.
    pub speed: f64,
    /// The time model at speed 1.
    pub profile: Profile,
    /// Without a limit from the client, answers end after this many tokens (lowest, highest).
    pub natural_length: (u32, u32),
    /// Fail at exit when the ledger shows a violation or leaked KV.
    pub strict: bool,
    /// Bearer token that guards `/v1`.
    pub api_key: Option<String>,
    /// Idle time after which a connection is closed.
    pub keep_alive: Duration,
    /// The HTTP port opens only this long after start; registration begins at once.
    pub ready_after: Duration,
    /// Version that `/version` reports.
    pub vllm_version: String,
    /// Append random characters to engine ids, as 0.14 and later do unless told otherwise. It makes
    /// disaggregation impossible.
    pub random_ids: bool,
    /// Whether a decode node that is asked for prompt logprobs dies, as was seen.
    pub dies_on_prompt_logprobs: bool,
    /// Engine ids whose history the ledger keeps; older ones are forgotten first.
    pub ledger_ids: usize,
    /// Faults present from the start.
    pub faults: Vec<Fault>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            role: Role::Both,
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            kv_port: 0,
            advertise: None,
            proxies: Vec::new(),
            register: true,
            ping_interval: Duration::from_secs(3),
            model: "Qwen/Qwen2.5-7B-Instruct".to_owned(),
            max_model_len: 32_768,
            max_num_seqs: 256,
            max_num_batched_tokens: 8192,
            kv_blocks: 56_000,
            prefix_cache_blocks: 28_000,
            kv_buffer_bytes: 40_000_000_000,
            seed: 0,
            speed: f64::INFINITY,
            profile: A100_7B,
            natural_length: (128, 256),
            strict: false,
            api_key: None,
            keep_alive: Duration::from_secs(5),
            ready_after: Duration::ZERO,
            vllm_version: "0.23.0".to_owned(),
            random_ids: false,
            dies_on_prompt_logprobs: true,
            ledger_ids: 10_000,
            faults: Vec::new(),
        }
    }
}

impl Options {
    /// Defaults for a node of this role.
    #[must_use]
    pub fn of(role: Role) -> Self {
        Self {
            role,
            ..Self::default()
        }
    }

    /// A prefill node that registers with `proxy`.
    #[must_use]
    pub fn prefill(proxy: impl Into<String>) -> Self {
        Self {
            proxies: vec![proxy.into()],
            ..Self::of(Role::Prefill)
        }
    }

    /// A decode node that registers with `proxy`.
    #[must_use]
    pub fn decode(proxy: impl Into<String>) -> Self {
        Self {
            proxies: vec![proxy.into()],
            ..Self::of(Role::Decode)
        }
    }

    /// The `system_fingerprint` of this node's answers.
    pub(crate) fn fingerprint(&self) -> String {
        format!("vllm-{}-51a7ab1e", self.vllm_version)
    }

    /// Seed of the ids this node makes up. P and D of one seed must not make up the same ones.
    pub(crate) fn id_seed(&self) -> u64 {
        let role = match self.role {
            Role::Prefill => 1,
            Role::Decode => 2,
            Role::Both => 3,
        };
        super::tokens::mix(self.seed ^ super::tokens::mix(role))
    }

    /// `host:port` as the node announces it; raw IPv6 stays unbracketed, as vLLM leaves it.
    pub(crate) fn announced(&self, port: u16) -> String {
        match &self.advertise {
            Some(host) => format!("{host}:{port}"),
            None => format!("{}:{port}", self.host),
        }
    }
}
