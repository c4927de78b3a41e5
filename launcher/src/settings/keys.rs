//! Everything that can be set, once: a key is a flag's name, a key of the file, and perhaps a variable.

use clap::{Arg, ArgAction};

/// How a key is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One value.
    Value,
    /// Values in their order; the flag may be repeated.
    List,
    /// Present or absent; true or false in the file.
    Switch,
}

/// One thing that can be set.
#[derive(Debug)]
pub(crate) struct Key {
    /// The flag without its dashes, and the key in the file.
    pub(crate) flag: &'static str,
    /// The testbed's variable.
    pub(crate) env: Option<&'static str>,
    /// What holds when nobody says anything; `None` where the host or the plan decides.
    pub(crate) default: Option<&'static str>,
    pub(crate) kind: Kind,
    /// How its value is called in help.
    value: &'static str,
    help: &'static str,
}

impl Key {
    /// The flag for clap. Its value stays text: it is read in one place, wherever it comes from.
    pub(crate) fn arg(&self) -> Arg {
        let mut help = self.help.to_owned();
        if let Some(env) = self.env {
            help.push_str(&format!(" [env: {env}]"));
        }
        if let Some(default) = self.default {
            help.push_str(&format!(" [default: {default}]"));
        }
        let arg = Arg::new(self.flag).long(self.flag).help(help);
        match self.kind {
            Kind::Value => arg.value_name(self.value).action(ArgAction::Set),
            Kind::List => arg
                .value_name(self.value)
                .action(ArgAction::Append)
                .allow_hyphen_values(true),
            Kind::Switch => arg.action(ArgAction::SetTrue),
        }
    }

    /// Whether its value must not be shown.
    pub(crate) fn is_secret(&self) -> bool {
        self.flag == API_KEY
    }
}

/// The key whose value is a secret.
pub(crate) const API_KEY: &str = "api-key";

/// Finds a key by its flag's name.
pub(crate) fn find(flag: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.flag == flag)
}

/// The known name that is most like a wrong one, if any is like it at all.
pub(crate) fn nearest(wrong: &str) -> Option<&'static str> {
    const LIKE_ENOUGH: f64 = 0.75;
    KEYS.iter()
        .map(|key| {
            (
                strsim::jaro_winkler(&wrong.replace('_', "-"), key.flag),
                key.flag,
            )
        })
        .filter(|(likeness, _)| *likeness >= LIKE_ENOUGH)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, flag)| flag)
}

const fn value(
    flag: &'static str,
    env: Option<&'static str>,
    default: Option<&'static str>,
    value: &'static str,
    help: &'static str,
) -> Key {
    Key {
        flag,
        env,
        default,
        kind: Kind::Value,
        value,
        help,
    }
}

const fn list(flag: &'static str, help: &'static str) -> Key {
    Key {
        flag,
        env: None,
        default: None,
        kind: Kind::List,
        value: "ARG",
        help,
    }
}

const fn switch(flag: &'static str, help: &'static str) -> Key {
    Key {
        flag,
        env: None,
        default: Some("false"),
        kind: Kind::Switch,
        value: "",
        help,
    }
}

/// All keys in the order in which they are shown. Names of variables and their defaults are the
/// testbed's (`setup/env_setup.sh`).
#[rustfmt::skip]
pub(crate) const KEYS: &[Key] = &[
    value("model", Some("MODEL"), Some("Qwen/Qwen2.5-7B-Instruct"), "NAME", "Model to serve"),
    value("srv-ip", Some("SRV_IP"), None, "ADDRESS", "Address of this machine that nodes announce and reach [default: first of `hostname -I`]"),
    value("cache-dir", Some("CACHE_DIR"), None, "DIR", "Where models are kept [default: ~/.cache/vllm]"),
    value(API_KEY, Some("OPENAI_API_KEY"), Some("sk-noop"), "KEY", "Bearer token of the probe and of the proxy towards the nodes"),
    value("proxy-http-port", Some("PROXY_HTTP_PORT"), Some("10001"), "PORT", "For clients"),
    value("proxy-zmq-port", Some("PROXY_ZMQ_PORT"), Some("30002"), "PORT", "Where nodes register; 30001, the port of vLLM's example, is served too"),
    value("prefill", None, Some("1"), "N", "Prefill nodes"),
    value("decode", None, Some("1"), "N", "Decode nodes"),
    value("prefill-http-port", Some("PROD_HTTP_PORT"), Some("8100"), "PORT", "HTTP port of the first prefill node"),
    value("decode-http-port", Some("CONS_HTTP_PORT"), Some("8200"), "PORT", "HTTP port of the first decode node"),
    value("prefill-kv-port", Some("PROD_ZMQ_PORT"), Some("14580"), "PORT", "KV port of the first prefill node; each tensor parallel rank adds its number"),
    value("decode-kv-port", Some("CONS_ZMQ_PORT"), Some("14579"), "PORT", "KV port of the first decode node; each tensor parallel rank adds its number"),
    value("prefill-gpu", Some("PROD_GPU"), None, "LIST", "GPUs of the prefill nodes, indices or UUIDs with commas, or none [default: 1 for one node]"),
    value("decode-gpu", Some("CONS_GPU"), None, "LIST", "GPUs of the decode nodes, indices or UUIDs with commas, or none [default: 2 for one node]"),
    value("prefill-tensor-parallel-size", None, Some("1"), "N", "GPUs of one prefill node"),
    value("decode-tensor-parallel-size", None, Some("1"), "N", "GPUs of one decode node"),
    value("prefill-gpu-memory-utilization", Some("PROD_UTIL"), Some("0.8"), "SHARE", "Share of each GPU's memory that a prefill node takes"),
    value("decode-gpu-memory-utilization", Some("CONS_UTIL"), Some("0.8"), "SHARE", "Share of each GPU's memory that a decode node takes"),
    value("prefill-wait", Some("PROD_WAIT"), Some("120"), "SECONDS", "Longest silence of a prefill node's log before it is ready"),
    value("decode-wait", Some("CONS_WAIT"), Some("120"), "SECONDS", "Longest silence of a decode node's log before it is ready"),
    value("max-model-len", None, Some("2048"), "TOKENS", "Longest prompt and answer together"),
    value("kv-connector", None, Some("p2p-nccl"), "NAME", "How nodes hand over their KV caches"),
    value("kv-send-type", None, None, "TYPE", "PUT, PUT_ASYNC or GET [default: vLLM's]"),
    value("kv-mem-pool-size-gb", None, None, "GB", "Pinned host memory of each node [default: vLLM's, 32]"),
    value("kv-nccl-num-channels", None, None, "N", "NCCL channels of each pair [default: vLLM's, 8]"),
    value("prefill-kv-buffer-size", None, None, "BYTES", "KV buffer of a prefill node, such as 1e1 [default: vLLM's]"),
    value("decode-kv-buffer-size", None, None, "BYTES", "KV buffer of a decode node, such as 8e9 [default: vLLM's]"),
    switch("no-safe-mode", "Let prefill nodes compile and capture CUDA graphs"),
    value("vllm", None, Some("vllm"), "PROGRAM", "The vllm command"),
    value("vllm-version", None, None, "VERSION", "Take this as vLLM's version instead of asking it"),
    list("prefill-arg", "Further argument of `vllm serve` for prefill nodes; may be repeated"),
    list("decode-arg", "Further argument of `vllm serve` for decode nodes; may be repeated"),
    list("vllm-arg", "Further argument of `vllm serve` for all nodes, as is everything after --"),
    value("log-dir", None, Some("logs"), "DIR", "Where logs and process ids are written"),
    switch("simulate", "Run pd-sim in the place of vLLM; needs neither vLLM nor a GPU"),
];
