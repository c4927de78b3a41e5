//! The program `pd-bench run` as people call it.

use std::process::{Command, Output};

use crate::scripted::{Answer, Seen, Server, event_stream, json};

pub(crate) fn pd_bench(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pd-bench"));
    for name in [
        "SRV_IP",
        "PROXY_HTTP_PORT",
        "MODEL",
        "OPENAI_API_KEY",
        "CONCURRENCIES",
        "PROMPT_TOKENS",
        "MAX_TOKENS",
        "REQUESTS",
        "OUTPUT_DIR",
        "RESUME",
    ] {
        command.env_remove(name);
    }
    command.args(args);
    command
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Digits become `#`, so that only the form is left.
fn form(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_ascii_digit() { '#' } else { letter })
        .collect()
}

pub(crate) fn well(request: &Seen) -> Answer {
    if request.streams() {
        Answer::Hang(event_stream(&["data: {}\n\n"]))
    } else {
        Answer::Keep(json("200 OK", "{\"usage\":{\"completion_tokens\":100}}"))
    }
}

#[test]
fn success_prints_both_blocks_and_nothing_else() {
    let server = Server::start(well);

    let url = format!("--url={}", server.url());
    let output = pd_bench(&["run", "--requests=4", &url]).output().unwrap();

    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
    let lines = stdout(&output);
    let lines: Vec<&str> = lines.split('\n').collect();
    assert_eq!(lines[0], "");
    assert_eq!(lines[1], "== TTFT (stream=true) N=4 ==");
    assert_eq!(
        form(lines[2]),
        "  p##=#.###s  p##=#.###s  min=#.###s  max=#.###s"
    );
    assert_eq!(lines[3], "");
    assert_eq!(lines[4], "== Throughput (stream=false) N=4, errors=0 ==");
    assert!(lines[5].starts_with("  per-request tokens/sec: p50="));
    assert_eq!(lines[6], "  total generated tokens = 400");
    assert_eq!(form(lines[7]), "  wall time (whole run)   = #.##s");
    assert!(lines[8].starts_with("  aggregate throughput    = "));
    assert!(lines[8].ends_with(" tokens/sec"));
    assert_eq!(lines[9..], [""]);
}

#[test]
fn environment_names_target_model_and_key() {
    let server = Server::start(well);

    let output = pd_bench(&["run", "-n1"])
        .env("SRV_IP", "127.0.0.1")
        .env("PROXY_HTTP_PORT", server.port().to_string())
        .env("MODEL", "from/env")
        .env("OPENAI_API_KEY", "sk-env")
        .output()
        .unwrap();

    assert_eq!(output.status.code(), Some(0));
    let seen = server.seen();
    assert_eq!(seen.len(), 2);
    for request in seen {
        assert_eq!(request.body["model"], "from/env");
        assert!(
            request
                .head
                .contains("\r\nauthorization: bearer sk-env\r\n")
        );
    }
}

#[test]
fn same_seed_sends_the_same_prompts() {
    let prompts = || {
        let server = Server::start(well);
        let url = format!("--url={}", server.url());
        pd_bench(&["run", "-n3", "-c1", "--seed=5", &url])
            .output()
            .unwrap();
        let seen = server.seen();
        seen.into_iter()
            .map(|request| request.body["messages"].to_string())
            .collect::<Vec<_>>()
    };

    assert_eq!(prompts(), prompts());
}

#[test]
fn total_failure_prints_its_lines_and_exits_1() {
    let server =
        Server::start(|_| Answer::Close(json("503 Service Unavailable", "{\"error\":\"x\"}")));

    let url = format!("--url={}", server.url());
    let output = pd_bench(&["run", "-n2", "-c1", &url]).output().unwrap();

    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stdout(&output),
        "[TTFT] HTTP 503 body={\"error\":\"x\"}\n[TTFT] HTTP 503 body={\"error\":\"x\"}\n\
        [THR] HTTP 503 body={\"error\":\"x\"}\n[THR] HTTP 503 body={\"error\":\"x\"}\n\
        \n== TTFT: none ==\n\n== Throughput: none ==\n"
    );
}

#[test]
fn error_rate_above_its_limit_exits_1() {
    let server = Server::start(|request| {
        if request.streams() {
            well(request)
        } else {
            Answer::Keep(json("200 OK", "{}"))
        }
    });
    let url = format!("--url={}", server.url());

    let exit = |limit: &str| {
        pd_bench(&["run", "-n2", &url, "--max-error-rate", limit])
            .output()
            .unwrap()
            .status
            .code()
    };

    assert_eq!(exit("0.5"), Some(0));
    assert_eq!(exit("0.4"), Some(1));
}

#[test]
fn wrong_command_line_exits_2() {
    assert_eq!(
        pd_bench(&["run", "--no-such-flag"])
            .output()
            .unwrap()
            .status
            .code(),
        Some(2)
    );
    assert_eq!(pd_bench(&[]).output().unwrap().status.code(), Some(2));
}

#[test]
fn help_exits_0_and_keeps_the_key_to_itself() {
    let output = pd_bench(&["run", "--help"])
        .env("OPENAI_API_KEY", "sk-secret")
        .output()
        .unwrap();

    assert_eq!(output.status.code(), Some(0));
    assert!(!stdout(&output).contains("sk-secret"));
}
