use clap::Parser as _;

use super::*;

fn args(more: &[&str]) -> Args {
    Args::try_parse_from(std::iter::once(&"pd-proxy").chain(more)).unwrap()
}

fn config(more: &[&str]) -> Result<Config, ConfigError> {
    Config::new(&args(more))
}

#[track_caller]
fn refusal(more: &[&str]) -> String {
    config(more).unwrap_err().to_string()
}

#[test]
fn nodes_register_on_both_usual_ports_unless_told_otherwise() {
    assert_eq!(config(&[]).unwrap().zmq_ports, [30001, 30002]);
    assert_eq!(config(&["--zmq-port", "5"]).unwrap().zmq_ports, [5]);
}

#[test]
fn registration_ports_may_be_repeated_or_listed_and_count_once() {
    let repeated = ["--zmq-port", "7", "--zmq-port", "5", "--zmq-port", "7"];
    assert_eq!(config(&repeated).unwrap().zmq_ports, [7, 5]);
    assert_eq!(config(&["--zmq-port", "7,5,7"]).unwrap().zmq_ports, [7, 5]);
}

#[test]
fn clients_come_in_on_every_address_and_port_10001() {
    assert_eq!(config(&[]).unwrap().http.to_string(), "0.0.0.0:10001");
    let given = config(&["--host", "::1", "--port", "80"]).unwrap();
    assert_eq!(given.http.to_string(), "[::1]:80");
}

#[test]
fn port_that_cannot_be_used_is_named() {
    for (given, port) in [
        (&["--port", "0"][..], 0),
        (&["--zmq-port", "0"], 0),
        (&["--zmq-port", "9,10001"], 10001),
        (&["--port", "30002"], 30002),
    ] {
        assert_eq!(
            config(given).unwrap_err(),
            ConfigError::Port(port),
            "{given:?}"
        );
    }
    assert_eq!(
        refusal(&["--port", "0"]),
        "port 0 cannot be used for this: --port and each --zmq-port must differ and must not be 0"
    );
}

#[test]
fn shards_out_of_range_are_refused() {
    assert_eq!(config(&["--shards", "256"]).unwrap().shards, 256);
    for shards in ["0", "257", "18446744073709551615"] {
        assert_eq!(
            refusal(&["--shards", shards]),
            "--shards must be from 1 to 256"
        );
    }
}

#[test]
fn there_is_at_least_one_shard_and_no_more_than_cores() {
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(config(&[]).unwrap().shards, cores.min(limits::SHARDS_MAX));
}

#[test]
fn body_limit_out_of_range_is_refused() {
    let most = limits::BODY_BYTES_CEILING.to_string();
    let given = config(&["--max-payload-size", &most]).unwrap();
    assert_eq!(given.body_bytes_max, limits::BODY_BYTES_CEILING);
    for bytes in ["0", "1099511627777", "18446744073709551615"] {
        assert_eq!(
            refusal(&["--max-payload-size", bytes]),
            "--max-payload-size must be from 1 to 1099511627776"
        );
    }
}

#[test]
fn node_is_never_forgotten_while_it_is_fresh() {
    let message = "--node-expiry-secs must be more than --node-fresh-secs";
    assert_eq!(refusal(&["--node-fresh-secs", "12"]), message);
    assert_eq!(refusal(&["--node-expiry-secs", "5"]), message);
}

#[test]
fn empty_key_is_no_key() {
    assert_eq!(
        config(&["--node-api-key", ""]).unwrap().node_authorization,
        None
    );
    let given = config(&["--node-api-key", "k"]).unwrap();
    assert_eq!(
        given.node_authorization.as_ref(),
        Some(&Secret::from("Bearer k"))
    );
}

#[test]
fn key_that_could_inject_a_field_is_refused() {
    for key in ["a\r\nX: y", "a b", "a\tb", "\u{e4}", "a\0"] {
        assert_eq!(
            config(&["--node-api-key", key]).unwrap_err(),
            ConfigError::Key
        );
    }
}

#[test]
fn times_are_those_among_the_limits_unless_told_otherwise() {
    let config = config(&[]).unwrap();
    let times = ClientTimes {
        head: limits::HEAD_TIMEOUT,
        body_idle: limits::BODY_IDLE_TIMEOUT,
        keep_alive: limits::KEEP_ALIVE_TIMEOUT,
        write: limits::WRITE_TIMEOUT,
    };
    assert_eq!(config.client_times, times);
    assert_eq!(config.node_fresh, limits::NODE_FRESH);
    assert_eq!(config.node_expiry, limits::NODE_EXPIRY);
    assert_eq!(config.drain_timeout, limits::DRAIN_TIMEOUT);
    assert_eq!(config.answer_within, limits::UPSTREAM_TIMEOUT);
    assert_eq!(config.stream_idle, limits::UPSTREAM_TIMEOUT);
    assert_eq!(config.first_byte_within, None);
}

#[test]
fn every_time_reaches_what_it_is_for() {
    let given = [
        ["--head-timeout-secs", "1"],
        ["--body-idle-timeout-secs", "2"],
        ["--keep-alive-timeout-secs", "3"],
        ["--write-timeout-secs", "4"],
        ["--node-fresh-secs", "5.5"],
        ["--node-expiry-secs", "6"],
        ["--drain-timeout", "0"],
        ["--request-timeout-secs", "8"],
        ["--stream-idle-timeout-secs", "9"],
        ["--decode-first-byte-timeout-secs", "10"],
    ];
    let config = config(given.as_flattened()).unwrap();
    let times = ClientTimes {
        head: Duration::from_secs(1),
        body_idle: Duration::from_secs(2),
        keep_alive: Duration::from_secs(3),
        write: Duration::from_secs(4),
    };
    assert_eq!(config.client_times, times);
    assert_eq!(config.node_fresh, Duration::from_millis(5500));
    assert_eq!(config.node_expiry, Duration::from_secs(6));
    assert_eq!(config.drain_timeout, Duration::ZERO);
    assert_eq!(config.answer_within, Duration::from_secs(8));
    assert_eq!(config.stream_idle, Duration::from_secs(9));
    assert_eq!(config.first_byte_within, Some(Duration::from_secs(10)));
}
