//! The command and the environment of a vLLM node.

use serde::Serialize;

use super::{Command, Role, What};
use crate::plan::Node;
use crate::settings::Settings;

/// What vLLM itself takes on large GPUs. Never below the longest prompt: a prefill node that cuts a
/// prompt into chunks dies in P2pNcclConnector (vLLM 0.13 and later).
const BATCHED_TOKENS_MIN: u32 = 8192;
/// vLLM's own 5 s is less than proxies and clients keep idle connections.
const KEEP_ALIVE_SECS: &str = "120";
/// What the testbed calls safe mode. No vLLM from 0.11 on reads them; they are set for those who look
/// for them, and `--enforce-eager` does the work.
const SAFE_MODE: [(&str, &str); 3] = [
    ("VLLM_TORCH_COMPILE", "0"),
    ("VLLM_USE_DYNAMO", "0"),
    ("VLLM_DISABLE_CUDA_GRAPH", "1"),
];

/// `--kv-transfer-config`; the types are those that vLLM wants: it joins `proxy_port` to a text.
#[derive(Debug, Serialize)]
struct KvTransferConfig<'a> {
    kv_connector: &'a str,
    kv_role: &'a str,
    kv_rank: u8,
    kv_parallel_size: u8,
    kv_ip: &'a str,
    kv_port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    kv_buffer_size: Option<&'a str>,
    kv_connector_extra_config: ExtraConfig<'a>,
}

#[derive(Debug, Serialize)]
struct ExtraConfig<'a> {
    proxy_ip: &'a str,
    proxy_port: String,
    http_port: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    send_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nccl_num_channels: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_pool_size_gb: Option<u32>,
}

/// The command of a node, with what its connector needs on the installed version.
pub(crate) fn command(settings: &Settings, node: &Node, version_env: &[(&str, &str)]) -> Command {
    Command {
        what: What::Vllm(settings.vllm.clone()),
        args: args(settings, node),
        env: env(settings, node, version_env),
    }
}

fn args(settings: &Settings, node: &Node) -> Vec<String> {
    let role = settings.role(node.role);
    let mut args = vec!["serve".to_owned(), settings.model.clone()];
    let mut option = |name: &str, value: String| args.extend([name.to_owned(), value]);
    option("--port", node.http_port.to_string());
    option("--download-dir", settings.cache_dir.display().to_string());
    option(
        "--gpu-memory-utilization",
        role.gpu_memory_utilization.to_string(),
    );
    option("--max-model-len", settings.max_model_len.to_string());
    if node.tensor_parallel > 1 {
        option("--tensor-parallel-size", node.tensor_parallel.to_string());
    }
    if node.role == Role::Prefill {
        let batched = settings.max_model_len.max(BATCHED_TOKENS_MIN);
        option("--max-num-batched-tokens", batched.to_string());
    }
    option("--kv-transfer-config", kv_transfer_config(settings, node));
    if node.role == Role::Prefill && settings.safe_mode {
        args.push("--enforce-eager".to_owned());
    }
    // Last, so that they win over ours.
    args.extend(role.args.iter().cloned());
    args
}

fn env(settings: &Settings, node: &Node, version_env: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut env = Vec::new();
    let mut set = |name: &str, value: &str| env.push((name.to_owned(), value.to_owned()));
    if !node.gpus.is_empty() {
        set("CUDA_VISIBLE_DEVICES", &node.gpus.join(","));
    }
    // What a node announces is this, not `kv_ip`.
    set("VLLM_HOST_IP", &settings.srv_ip);
    set("VLLM_HTTP_TIMEOUT_KEEP_ALIVE", KEEP_ALIVE_SECS);
    set("PYTHONUNBUFFERED", "1");
    if node.role == Role::Prefill && settings.safe_mode {
        for (name, value) in SAFE_MODE {
            set(name, value);
        }
    }
    for (name, value) in version_env {
        set(name, value);
    }
    env
}

fn kv_transfer_config(settings: &Settings, node: &Node) -> String {
    let role = settings.role(node.role);
    let config = KvTransferConfig {
        kv_connector: settings.connector.class,
        kv_role: match node.role {
            Role::Prefill => "kv_producer",
            Role::Decode => "kv_consumer",
        },
        // Neither matters to P2pNccl; guides set them so.
        kv_rank: 0,
        kv_parallel_size: 1,
        kv_ip: &settings.srv_ip,
        kv_port: node.kv_port,
        kv_buffer_size: role.kv_buffer_size.as_deref(),
        kv_connector_extra_config: ExtraConfig {
            proxy_ip: &settings.srv_ip,
            proxy_port: settings.proxy_zmq_port.to_string(),
            http_port: node.http_port.to_string(),
            send_type: settings.kv.send_type.as_deref(),
            nccl_num_channels: settings.kv.nccl_num_channels.map(|n| n.to_string()),
            mem_pool_size_gb: settings.kv.mem_pool_size_gb,
        },
    };
    // Only maps with keys that are no text, and types that refuse, can fail; there are none.
    serde_json::to_string(&config).unwrap_or_default()
}
