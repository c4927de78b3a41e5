//! What was typed: flags and their environment variables, as text. What they mean is
//! [`config`](crate::config)'s to say; nothing reads the environment later.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::io::DriverChoice;
use crate::limits;
use crate::registry::Network;
use crate::secret::Secret;

const EXAMPLES: &str = "\
Examples:
  pd-proxy
      HTTP on 0.0.0.0:10001; nodes register on 30001 (vLLM's example) and 30002 (the testbed's launcher)
  pd-proxy --port 8000 --zmq-port 36367
      other ports; with --zmq-port given, only those
  pd-proxy --shards 4 --io-driver epoll --log-level debug
      four cores, no io_uring, one line per request

vLLM nodes register by themselves, with --kv-transfer-config:
  {\"kv_connector\":\"P2pNcclConnector\",\"kv_role\":\"kv_producer\",\"kv_port\":21001,
   \"kv_connector_extra_config\":{\"proxy_ip\":\"127.0.0.1\",\"proxy_port\":\"30001\",\"http_port\":\"8100\"}}";

/// HTTP/1.1 proxy that runs each request through a vLLM prefill node and a vLLM decode node.
#[derive(Clone, Debug, Parser)]
#[command(name = "pd-proxy", version, after_long_help = EXAMPLES)]
pub struct Args {
    /// Address to listen on, for clients and for nodes.
    #[arg(long, value_name = "IP", default_value = "0.0.0.0", env = "PROXY_HOST")]
    pub host: IpAddr,

    /// Port for clients.
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 10001,
        env = "PROXY_HTTP_PORT"
    )]
    pub port: u16,

    /// Port on which nodes register; may be repeated [default: 30001 and 30002].
    #[arg(
        long,
        value_name = "PORT",
        env = "PROXY_ZMQ_PORT",
        value_delimiter = ','
    )]
    pub zmq_port: Vec<u16>,

    /// Shards, each a thread on a core of its own [default: one per core that this process may use].
    #[arg(long, value_name = "N", env = "PROXY_SHARDS")]
    pub shards: Option<usize>,

    /// How sockets are waited for: io_uring, or epoll where a container refuses it.
    #[arg(
        long,
        value_name = "DRIVER",
        default_value = "auto",
        env = "PROXY_IO_DRIVER"
    )]
    pub io_driver: DriverChoice,

    /// Longest request body in bytes; longer ones are answered with 413.
    #[arg(long, value_name = "BYTES", default_value_t = limits::BODY_BYTES_MAX,
          env = "PROXY_MAX_PAYLOAD_SIZE")]
    pub max_payload_size: u64,

    /// Seconds a node may take to begin its answer; prefill queues can be long.
    #[arg(long, value_name = "SECONDS", default_value = "21600",
          value_parser = period, env = "PROXY_REQUEST_TIMEOUT_SECS", alias = "request-timeout")]
    pub request_timeout_secs: Duration,

    /// Seconds a decode node may take to send the first byte of its answer's body; beyond it is avoided for a
    /// while, whatever its /health says [default: as the two times for all nodes].
    #[arg(long, value_name = "SECONDS", value_parser = period,
          env = "PROXY_DECODE_FIRST_BYTE_TIMEOUT_SECS")]
    pub decode_first_byte_timeout_secs: Option<Duration>,

    /// Seconds a stream may pause between two tokens.
    #[arg(long, value_name = "SECONDS", default_value = "21600",
          value_parser = period, env = "PROXY_STREAM_IDLE_TIMEOUT_SECS")]
    pub stream_idle_timeout_secs: Duration,

    /// Seconds a client may take from the first byte of a request's head to its last; then 408.
    #[arg(long, value_name = "SECONDS", default_value = "15",
          value_parser = period, env = "PROXY_HEAD_TIMEOUT_SECS")]
    pub head_timeout_secs: Duration,

    /// Seconds a client may pause inside a request's body; then 408.
    #[arg(long, value_name = "SECONDS", default_value = "30",
          value_parser = period, env = "PROXY_BODY_IDLE_TIMEOUT_SECS")]
    pub body_idle_timeout_secs: Duration,

    /// Seconds a client's connection may idle between two requests.
    #[arg(long, value_name = "SECONDS", default_value = "75",
          value_parser = period, env = "PROXY_KEEP_ALIVE_TIMEOUT_SECS")]
    pub keep_alive_timeout_secs: Duration,

    /// Seconds a client may leave an answer unread before its connection is reset.
    #[arg(long, value_name = "SECONDS", default_value = "60",
          value_parser = period, env = "PROXY_WRITE_TIMEOUT_SECS")]
    pub write_timeout_secs: Duration,

    /// Seconds without a ping after which a node is used only if no other is left.
    #[arg(long, value_name = "SECONDS", default_value = "5",
          value_parser = period, env = "PROXY_NODE_FRESH_SECS")]
    pub node_fresh_secs: Duration,

    /// Seconds without a ping after which a node is forgotten.
    #[arg(long, value_name = "SECONDS", default_value = "12",
          value_parser = period, env = "PROXY_NODE_EXPIRY_SECS")]
    pub node_expiry_secs: Duration,

    /// Seconds that streams may go on after SIGTERM or SIGINT.
    #[arg(long, value_name = "SECONDS", default_value = "30",
          value_parser = seconds, env = "PROXY_DRAIN_TIMEOUT")]
    pub drain_timeout: Duration,

    /// Least important lines to log: error, warn, info, debug (a line per request) or trace.
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "info",
        env = "PROXY_LOG_LEVEL"
    )]
    pub log_level: tracing::level_filters::LevelFilter,

    /// Key for the nodes: sent as bearer token on both legs, instead of the client's.
    #[arg(
        long,
        value_name = "KEY",
        env = "OPENAI_API_KEY",
        hide_env_values = true
    )]
    pub node_api_key: Option<Secret>,

    /// Key that a client must have for /v1, as bearer token; may be repeated. Clients' keys are not sent to
    /// the nodes then.
    #[arg(
        long,
        value_name = "KEY",
        env = "PROXY_API_KEY",
        hide_env_values = true
    )]
    pub api_key: Vec<Secret>,

    /// File with further keys for clients, one a line.
    #[arg(long, value_name = "FILE", env = "PROXY_API_KEY_FILE")]
    pub api_key_file: Option<PathBuf>,

    /// Network in which nodes may be, such as 10.0.0.0/8; may be repeated [default: everywhere].
    #[arg(
        long,
        value_name = "CIDR",
        env = "PROXY_REGISTRATION_ALLOW",
        value_delimiter = ','
    )]
    pub registration_allow: Vec<Network>,
}

/// A number of seconds, with or without a fraction. What is too long to be meant is refused, so that no
/// sum of a time and a deadline overflows.
fn seconds(text: &str) -> Result<Duration, String> {
    let Ok(seconds) = text.parse::<f64>() else {
        return Err("not a number of seconds".to_owned());
    };
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|duration| *duration <= limits::PERIOD_MAX)
        .ok_or_else(|| format!("not from 0 to {} seconds", limits::PERIOD_MAX.as_secs()))
}

/// As [`seconds`], but not 0, which would be over before anything could happen.
fn period(text: &str) -> Result<Duration, String> {
    let period = seconds(text)?;
    if period.is_zero() {
        Err("must be more than 0 seconds".to_owned())
    } else {
        Ok(period)
    }
}

#[cfg(test)]
mod tests;
