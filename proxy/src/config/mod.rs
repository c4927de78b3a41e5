//! What was meant: checked, typed, immutable.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::args::Args;
use crate::io::DriverChoice;
use crate::limits;
use crate::registry::Network;
use crate::relay::{Access, ClientTimes};
use crate::secret::Secret;

mod keys;

/// Ports on which nodes register if none is given: vLLM's example and its router use the first, the
/// testbed's launcher the second.
const ZMQ_PORTS: [u16; 2] = [30001, 30002];

/// What the process is to do.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients connect.
    pub http: SocketAddr,
    /// Where nodes register.
    pub zmq_ports: Vec<u16>,
    /// How many shards.
    pub shards: usize,
    /// How sockets are waited for.
    pub driver: DriverChoice,
    /// Longest request body in bytes.
    pub body_bytes_max: u64,
    /// Time for one answer of a node to begin.
    pub answer_within: Duration,
    /// Time for the first byte of a decode's answer, if it has one of its own.
    pub first_byte_within: Option<Duration>,
    /// Longest pause inside a stream of a node.
    pub stream_idle: Duration,
    /// How long streams may go on once the process is to end.
    pub drain_timeout: Duration,
    /// Times that a client's connection is given.
    pub client_times: ClientTimes,
    /// After this without a ping a node is suspect.
    pub node_fresh: Duration,
    /// After this without a ping a node is gone.
    pub node_expiry: Duration,
    /// `Authorization` of both legs.
    pub node_authorization: Option<Secret>,
    /// Who may ask.
    pub access: Access,
    /// The networks in which nodes may be; empty for all.
    pub registration_allow: Vec<Network>,
}

/// What was typed means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Shards out of range.
    #[error("--shards must be from 1 to {}", limits::SHARDS_MAX)]
    Shards,
    /// A port of 0, or one port for two things.
    #[error(
        "port {0} cannot be used for this: --port and each --zmq-port must differ and must not be 0"
    )]
    Port(u16),
    /// No body, or one that no machine could hold.
    #[error("--max-payload-size must be from 1 to {}", limits::BODY_BYTES_CEILING)]
    BodyBytes,
    /// Nodes would be forgotten while they are fresh.
    #[error("--node-expiry-secs must be more than --node-fresh-secs")]
    Lease,
    /// The key cannot stand in a header field.
    #[error("--node-api-key (OPENAI_API_KEY) has characters that no header field may have")]
    Key,
    /// A key that no client could have.
    #[error(
        "a key of --api-key or --api-key-file is empty, or has characters that no header field may have"
    )]
    ClientKey,
    /// The keys cannot be read.
    #[error("--api-key-file {}: {why}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl Config {
    /// The meaning of `args`.
    ///
    /// # Errors
    ///
    /// The first thing in them that means nothing.
    pub fn new(args: &Args) -> Result<Self, ConfigError> {
        let mut zmq_ports = args.zmq_port.clone();
        if zmq_ports.is_empty() {
            zmq_ports = ZMQ_PORTS.to_vec();
        }
        let mut seen = Vec::with_capacity(zmq_ports.len());
        zmq_ports.retain(|port| {
            let is_new = !seen.contains(port);
            seen.push(*port);
            is_new
        });
        // The kernel would choose another port for each shard.
        if args.port == 0 {
            return Err(ConfigError::Port(0));
        }
        if let Some(port) = zmq_ports
            .iter()
            .find(|port| **port == 0 || **port == args.port)
        {
            return Err(ConfigError::Port(*port));
        }
        if !(1..=limits::BODY_BYTES_CEILING).contains(&args.max_payload_size) {
            return Err(ConfigError::BodyBytes);
        }
        if args.node_fresh_secs >= args.node_expiry_secs {
            return Err(ConfigError::Lease);
        }
        // The standard library asks for the affinity mask and the cgroup's quota.
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let shards = args
            .shards
            .unwrap_or_else(cores)
            .min(limits::SHARDS_MAX + 1);
        if !(1..=limits::SHARDS_MAX).contains(&shards) {
            return Err(ConfigError::Shards);
        }
        // vLLM's launchers set an empty key to mean none.
        let key = args.node_api_key.as_ref().map(Secret::expose);
        let key = key.filter(|key| !key.is_empty());
        if !key.is_none_or(keys::is_token) {
            return Err(ConfigError::Key);
        }
        let clients_keys = keys::of_clients(&args.api_key, args.api_key_file.as_deref())?;
        Ok(Self {
            http: SocketAddr::new(args.host, args.port),
            zmq_ports,
            shards,
            driver: args.io_driver,
            body_bytes_max: args.max_payload_size,
            answer_within: args.request_timeout_secs,
            first_byte_within: args.decode_first_byte_timeout_secs,
            stream_idle: args.stream_idle_timeout_secs,
            drain_timeout: args.drain_timeout,
            client_times: ClientTimes {
                head: args.head_timeout_secs,
                body_idle: args.body_idle_timeout_secs,
                keep_alive: args.keep_alive_timeout_secs,
                write: args.write_timeout_secs,
            },
            node_fresh: args.node_fresh_secs,
            node_expiry: args.node_expiry_secs,
            node_authorization: key.map(|key| format!("Bearer {key}").as_str().into()),
            access: Access::new(clients_keys),
            registration_allow: args.registration_allow.clone(),
        })
    }
}

#[cfg(test)]
mod tests;
