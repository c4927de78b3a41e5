//! What was typed: flags and their environment variables, as text. What they mean is
//! [`config`](crate::config)'s to say; nothing reads the environment later.

use std::net::IpAddr;
use std::time::Duration;

use clap::Parser;

use crate::io::DriverChoice;
use crate::limits;

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
    #[arg(long, value_name = "SECONDS", default_value = "21600", value_parser = seconds,
          env = "PROXY_REQUEST_TIMEOUT_SECS", alias = "request-timeout")]
    pub request_timeout_secs: Duration,

    /// Seconds a stream may pause between two tokens.
    #[arg(long, value_name = "SECONDS", default_value = "21600", value_parser = seconds,
          env = "PROXY_STREAM_IDLE_TIMEOUT_SECS")]
    pub stream_idle_timeout_secs: Duration,

    /// Seconds that streams may go on after SIGTERM or SIGINT.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds,
          env = "PROXY_DRAIN_TIMEOUT")]
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
    pub node_api_key: Option<String>,
}

/// A number of seconds, with or without a fraction.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|error| format!("not a number of seconds: {error}"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
