//! What the stack shall be: read once from flags, variables and the file, then only handed around.

pub(crate) mod keys;
pub(crate) mod layers;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::command::Role;
use crate::connector::{self, Connector};
use keys::API_KEY;
use layers::{Entry, Layers, Origin};

/// More nodes of a role than one machine holds.
const NODES_MAX: u16 = 64;
/// More GPUs than one node of one machine has.
const TENSOR_PARALLEL_MAX: u16 = 64;

/// What the stack shall be.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// What nodes announce, and where they and the probe find the proxy: an address or a name.
    pub(crate) srv_ip: String,
    pub(crate) model: String,
    pub(crate) cache_dir: PathBuf,
    pub(crate) api_key: ApiKey,
    pub(crate) proxy_http_port: u16,
    pub(crate) proxy_zmq_port: u16,
    pub(crate) prefill: RoleSettings,
    pub(crate) decode: RoleSettings,
    /// In tokens.
    pub(crate) max_model_len: u32,
    /// Whether prefill nodes run without compilation and CUDA graphs.
    pub(crate) safe_mode: bool,
    pub(crate) connector: &'static Connector,
    pub(crate) kv: KvOptions,
    /// The vllm command, a name or a path.
    pub(crate) vllm: String,
    /// What to take as its version; asked for if `None`.
    pub(crate) vllm_version: Option<String>,
    pub(crate) log_dir: PathBuf,
    /// Whether pd-sim stands in the place of vLLM.
    pub(crate) simulate: bool,
}

/// What holds for all nodes of a role.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RoleSettings {
    pub(crate) count: u16,
    pub(crate) http_port: Base,
    pub(crate) kv_port: Base,
    pub(crate) gpus: Gpus,
    pub(crate) tensor_parallel: u16,
    /// Above 0, at most 1.
    pub(crate) gpu_memory_utilization: f64,
    /// Longest silence before a node is ready.
    pub(crate) wait: Duration,
    /// In bytes, as vLLM takes it.
    pub(crate) kv_buffer_size: Option<String>,
    /// Further arguments of `vllm serve`.
    pub(crate) args: Vec<String>,
}

/// The first port of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Base {
    pub(crate) port: u16,
    /// Whether someone asked for this one, so that no other will do.
    pub(crate) explicit: bool,
}

/// GPUs of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Gpus {
    /// To be chosen by the plan.
    Any,
    /// Left to vLLM: nothing is said about them.
    Unsaid,
    /// These, by index or UUID.
    These(Vec<String>),
}

/// What P2pNccl can be told besides addresses; vLLM's own defaults if absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KvOptions {
    pub(crate) send_type: Option<String>,
    pub(crate) mem_pool_size_gb: Option<u32>,
    pub(crate) nccl_num_channels: Option<u16>,
}

/// A bearer token. Only the testbed's own, which opens nothing, is ever shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiKey {
    pub(crate) value: String,
    pub(crate) is_default: bool,
}

/// A value that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{flag} = {value:?} ({origin}): {reason}")]
    Value {
        flag: &'static str,
        value: String,
        origin: Origin,
        reason: String,
    },
    #[error("{0} is not set")]
    Missing(&'static str),
}

impl Settings {
    /// Reads all values.
    pub(crate) fn read(layers: &Layers) -> Result<Self, Error> {
        let api_key = entry(layers, API_KEY)?;
        Ok(Self {
            srv_ip: read(layers, "srv-ip", host)?,
            model: read(layers, "model", word)?,
            cache_dir: read(layers, "cache-dir", word)?.into(),
            api_key: ApiKey {
                value: read(layers, API_KEY, word)?,
                is_default: api_key.origin == Origin::Default,
            },
            proxy_http_port: read(layers, "proxy-http-port", port)?,
            proxy_zmq_port: read(layers, "proxy-zmq-port", port)?,
            prefill: RoleSettings::read(layers, Role::Prefill)?,
            decode: RoleSettings::read(layers, Role::Decode)?,
            max_model_len: read(layers, "max-model-len", positive)?,
            safe_mode: !read(layers, "no-safe-mode", parsed)?,
            connector: read(layers, "kv-connector", connector::find)?,
            kv: KvOptions {
                send_type: read_optional(layers, "kv-send-type", send_type)?,
                mem_pool_size_gb: read_optional(layers, "kv-mem-pool-size-gb", parsed)?,
                nccl_num_channels: read_optional(layers, "kv-nccl-num-channels", parsed)?,
            },
            vllm: read(layers, "vllm", word)?,
            vllm_version: read_optional(layers, "vllm-version", word)?,
            log_dir: read(layers, "log-dir", word)?.into(),
            simulate: read(layers, "simulate", parsed)?,
        })
    }

    /// What holds for this role.
    pub(crate) fn role(&self, role: Role) -> &RoleSettings {
        match role {
            Role::Prefill => &self.prefill,
            Role::Decode => &self.decode,
        }
    }
}

/// The keys of one role.
struct RoleKeys {
    count: &'static str,
    http_port: &'static str,
    kv_port: &'static str,
    gpu: &'static str,
    tensor_parallel: &'static str,
    utilization: &'static str,
    wait: &'static str,
    kv_buffer_size: &'static str,
    arg: &'static str,
}

const PREFILL: RoleKeys = RoleKeys {
    count: "prefill",
    http_port: "prefill-http-port",
    kv_port: "prefill-kv-port",
    gpu: "prefill-gpu",
    tensor_parallel: "prefill-tensor-parallel-size",
    utilization: "prefill-gpu-memory-utilization",
    wait: "prefill-wait",
    kv_buffer_size: "prefill-kv-buffer-size",
    arg: "prefill-arg",
};

const DECODE: RoleKeys = RoleKeys {
    count: "decode",
    http_port: "decode-http-port",
    kv_port: "decode-kv-port",
    gpu: "decode-gpu",
    tensor_parallel: "decode-tensor-parallel-size",
    utilization: "decode-gpu-memory-utilization",
    wait: "decode-wait",
    kv_buffer_size: "decode-kv-buffer-size",
    arg: "decode-arg",
};

impl RoleSettings {
    fn read(layers: &Layers, role: Role) -> Result<Self, Error> {
        let keys = match role {
            Role::Prefill => PREFILL,
            Role::Decode => DECODE,
        };
        let base = |flag| -> Result<Base, Error> {
            Ok(Base {
                port: read(layers, flag, port)?,
                explicit: entry(layers, flag)?.origin != Origin::Default,
            })
        };
        let mut args = list(layers, "vllm-arg");
        args.extend(list(layers, keys.arg));
        Ok(Self {
            count: read(layers, keys.count, |text| within(text, NODES_MAX))?,
            http_port: base(keys.http_port)?,
            kv_port: base(keys.kv_port)?,
            gpus: read_optional(layers, keys.gpu, gpus)?.unwrap_or(Gpus::Any),
            tensor_parallel: read(layers, keys.tensor_parallel, |text| {
                within(text, TENSOR_PARALLEL_MAX)
            })?,
            gpu_memory_utilization: read(layers, keys.utilization, share)?,
            wait: read(layers, keys.wait, seconds)?,
            kv_buffer_size: read_optional(layers, keys.kv_buffer_size, bytes)?,
            args,
        })
    }
}

fn entry<'a>(layers: &'a Layers, flag: &'static str) -> Result<&'a Entry, Error> {
    layers.get(flag).ok_or(Error::Missing(flag))
}

fn list(layers: &Layers, flag: &'static str) -> Vec<String> {
    layers
        .get(flag)
        .map_or_else(Vec::new, |entry| entry.values.clone())
}

fn read<T>(
    layers: &Layers,
    flag: &'static str,
    reader: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, Error> {
    read_optional(layers, flag, reader)?.ok_or(Error::Missing(flag))
}

fn read_optional<T>(
    layers: &Layers,
    flag: &'static str,
    reader: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, Error> {
    let Some(entry) = layers.get(flag) else {
        return Ok(None);
    };
    // Given twice, the last counts.
    let value = entry.values.last().map_or("", String::as_str);
    reader(value).map(Some).map_err(|reason| Error::Value {
        flag,
        value: if flag == API_KEY {
            String::new()
        } else {
            value.to_owned()
        },
        origin: entry.origin.clone(),
        reason,
    })
}

fn parsed<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

fn word(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("must not be empty".to_owned());
    }
    Ok(text.to_owned())
}

fn host(text: &str) -> Result<String, String> {
    let known = |letter: char| letter.is_ascii_alphanumeric() || ".-_:".contains(letter);
    if text.is_empty() || !text.chars().all(known) {
        return Err("must be an address or a host name, without port and brackets".to_owned());
    }
    Ok(text.to_owned())
}

fn port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(port @ 1..) => Ok(port),
        _ => Err("must be a port, 1 to 65535".to_owned()),
    }
}

fn positive(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(number @ 1..) => Ok(number),
        _ => Err("must be a whole number above 0".to_owned()),
    }
}

fn within(text: &str, most: u16) -> Result<u16, String> {
    match text.parse() {
        Ok(number) if (1..=most).contains(&number) => Ok(number),
        _ => Err(format!("must be 1 to {most}")),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err("must be above 0 and at most 1".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = parsed(text)?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("must be a number of seconds above 0".to_owned()),
    }
}

fn bytes(text: &str) -> Result<String, String> {
    match text.parse::<f64>() {
        Ok(bytes) if bytes >= 1.0 && bytes.is_finite() => Ok(text.to_owned()),
        _ => Err("must be a number of bytes, such as 8e9".to_owned()),
    }
}

fn send_type(text: &str) -> Result<String, String> {
    match text {
        "PUT" | "PUT_ASYNC" | "GET" => Ok(text.to_owned()),
        _ => Err("must be PUT, PUT_ASYNC or GET".to_owned()),
    }
}

fn gpus(text: &str) -> Result<Gpus, String> {
    if text == "none" {
        return Ok(Gpus::Unsaid);
    }
    let gpus: Vec<String> = text.split(',').map(|gpu| gpu.trim().to_owned()).collect();
    let named = |gpu: &String| {
        let index = !gpu.is_empty() && gpu.bytes().all(|byte| byte.is_ascii_digit());
        index || gpu.starts_with("GPU-") || gpu.starts_with("MIG-")
    };
    if !gpus.iter().all(named) {
        return Err(
            "must be indices, or UUIDs that begin with GPU- or MIG-, with commas".to_owned(),
        );
    }
    if gpus.iter().collect::<BTreeSet<_>>().len() != gpus.len() {
        return Err("names a GPU twice".to_owned());
    }
    Ok(Gpus::These(gpus))
}

#[cfg(test)]
pub(crate) mod tests;
