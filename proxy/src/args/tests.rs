use clap::CommandFactory as _;
use clap::error::ErrorKind;

use super::*;

fn parse(args: &[&str]) -> Result<Args, clap::Error> {
    Args::try_parse_from(std::iter::once(&"pd-proxy").chain(args))
}

/// The first line of what is told of a mistake.
#[track_caller]
fn complaint(args: &[&str]) -> String {
    let error = parse(args).unwrap_err().to_string();
    error.lines().next().unwrap().to_owned()
}

#[test]
fn definition_is_sound() {
    Args::command().debug_assert();
}

#[test]
fn every_flag_has_a_variable_and_a_line_of_help() {
    for flag in Args::command().get_arguments() {
        let name = flag.get_id();
        assert!(flag.get_help().is_some(), "{name}");
        assert!(flag.get_env().is_some(), "{name}");
    }
}

#[test]
fn help_and_version_are_no_mistakes() {
    for (flag, kind) in [
        ("--help", ErrorKind::DisplayHelp),
        ("-h", ErrorKind::DisplayHelp),
        ("--version", ErrorKind::DisplayVersion),
        ("-V", ErrorKind::DisplayVersion),
    ] {
        let error = parse(&[flag]).unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(!error.use_stderr());
    }
}

#[test]
fn value_out_of_range_is_told_with_its_flag_and_its_range() {
    let of_period = "not from 0 to 31536000 seconds";
    for (flag, value, why) in [
        ("--port", "65536", "65536 is not in 0..=65535"),
        ("--port", "http", "invalid digit found in string"),
        ("--zmq-port", "-1", ""),
        ("--host", "localhost", "invalid IP address syntax"),
        ("--drain-timeout", "soon", "not a number of seconds"),
        ("--drain-timeout", "1e300", of_period),
        ("--drain-timeout", "nan", of_period),
        ("--drain-timeout", "31536001", of_period),
        ("--head-timeout-secs", "0", "must be more than 0 seconds"),
        ("--request-timeout-secs", "0", "must be more than 0 seconds"),
        ("--max-payload-size", "64M", "invalid digit found in string"),
    ] {
        let told = complaint(&[flag, value]);
        assert!(
            told.contains(flag.trim_start_matches('-')) || told.contains(value),
            "{told}"
        );
        assert!(told.ends_with(why), "{told}");
    }
    let negative = complaint(&["--drain-timeout=-1"]);
    assert!(negative.ends_with(of_period), "{negative}");
}

#[test]
fn driver_has_the_names_that_metrics_have() {
    for (name, driver) in [
        ("auto", DriverChoice::Auto),
        ("io_uring", DriverChoice::IoUring),
        ("io-uring", DriverChoice::IoUring),
        ("epoll", DriverChoice::Epoll),
    ] {
        assert_eq!(parse(&["--io-driver", name]).unwrap().io_driver, driver);
    }
    assert!(complaint(&["--io-driver", "kqueue"]).contains("--io-driver"));
}

#[test]
fn short_help_reads_so() {
    // Neither the terminal nor the environment of the tester has a say in it.
    let command = Args::command().term_width(100);
    let mut command = command.mut_args(|flag| flag.hide_env_values(true));
    let help = command.render_help().to_string();
    insta::assert_snapshot!(help, @r"
HTTP/1.1 proxy that runs each request through a vLLM prefill node and a vLLM decode node

Usage: pd-proxy [OPTIONS]

Options:
      --host <IP>
          Address to listen on, for clients and for nodes [env: PROXY_HOST] [default: 0.0.0.0]
      --port <PORT>
          Port for clients [env: PROXY_HTTP_PORT] [default: 10001]
      --zmq-port <PORT>
          Port on which nodes register; may be repeated [default: 30001 and 30002] [env:
          PROXY_ZMQ_PORT]
      --shards <N>
          Shards, each a thread on a core of its own [default: one per core that this process may
          use] [env: PROXY_SHARDS]
      --io-driver <DRIVER>
          How sockets are waited for: io_uring, or epoll where a container refuses it [env:
          PROXY_IO_DRIVER] [default: auto] [possible values: auto, io_uring, epoll]
      --max-payload-size <BYTES>
          Longest request body in bytes; longer ones are answered with 413 [env:
          PROXY_MAX_PAYLOAD_SIZE] [default: 67108864]
      --request-timeout-secs <SECONDS>
          Seconds a node may take to begin its answer; prefill queues can be long [env:
          PROXY_REQUEST_TIMEOUT_SECS] [default: 21600]
      --decode-first-byte-timeout-secs <SECONDS>
          Seconds a decode node may take to send the first byte of its answer's body; beyond it is
          avoided for a while, whatever its /health says [default: as the two times for all nodes]
          [env: PROXY_DECODE_FIRST_BYTE_TIMEOUT_SECS]
      --stream-idle-timeout-secs <SECONDS>
          Seconds a stream may pause between two tokens [env: PROXY_STREAM_IDLE_TIMEOUT_SECS]
          [default: 21600]
      --head-timeout-secs <SECONDS>
          Seconds a client may take from the first byte of a request's head to its last; then 408
          [env: PROXY_HEAD_TIMEOUT_SECS] [default: 15]
      --body-idle-timeout-secs <SECONDS>
          Seconds a client may pause inside a request's body; then 408 [env:
          PROXY_BODY_IDLE_TIMEOUT_SECS] [default: 30]
      --keep-alive-timeout-secs <SECONDS>
          Seconds a client's connection may idle between two requests [env:
          PROXY_KEEP_ALIVE_TIMEOUT_SECS] [default: 75]
      --write-timeout-secs <SECONDS>
          Seconds a client may leave an answer unread before its connection is reset [env:
          PROXY_WRITE_TIMEOUT_SECS] [default: 60]
      --node-fresh-secs <SECONDS>
          Seconds without a ping after which a node is used only if no other is left [env:
          PROXY_NODE_FRESH_SECS] [default: 5]
      --node-expiry-secs <SECONDS>
          Seconds without a ping after which a node is forgotten [env: PROXY_NODE_EXPIRY_SECS]
          [default: 12]
      --drain-timeout <SECONDS>
          Seconds that streams may go on after SIGTERM or SIGINT [env: PROXY_DRAIN_TIMEOUT]
          [default: 30]
      --log-level <LEVEL>
          Least important lines to log: error, warn, info, debug (a line per request) or trace [env:
          PROXY_LOG_LEVEL] [default: info]
      --node-api-key <KEY>
          Key for the nodes: sent as bearer token on both legs, instead of the client's [env:
          OPENAI_API_KEY]
      --api-key <KEY>
          Key that a client must have for /v1, as bearer token; may be repeated. Clients' keys are
          not sent to the nodes then [env: PROXY_API_KEY]
      --api-key-file <FILE>
          File with further keys for clients, one a line [env: PROXY_API_KEY_FILE]
      --registration-allow <CIDR>
          Network in which nodes may be, such as 10.0.0.0/8; may be repeated [default: everywhere]
          [env: PROXY_REGISTRATION_ALLOW]
  -h, --help
          Print help (see more with '--help')
  -V, --version
          Print version
");
}
