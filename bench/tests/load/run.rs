//! The two passes: what is sent, what counts, what is an error.

use std::time::Duration;

use pd_bench::load::client::{Endpoint, Error, FramingError};
use pd_bench::load::{Failure, Options, Outcome, Pass, Prompts, run};

use crate::scripted::{Answer, Seen, Server, event_stream, json};

const USAGE: &str = r#"{"id":"x","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":12}}"#;
const ROLE_EVENT: &str = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n";

fn options(server: &Server) -> Options {
    Options {
        endpoint: Endpoint::from_url(&server.url()).unwrap(),
        api_key: "sk-noop".to_owned(),
        model: "m".to_owned(),
        requests: 6,
        concurrency: 2,
        prompts: Prompts { seed: 1, words: 4 },
        max_tokens: 16,
        timeout: Duration::from_secs(30),
    }
}

/// Runs and gives the outcome and the failures of the two passes.
fn run_all(options: &Options) -> (Outcome, Vec<Failure>, Vec<Failure>) {
    let (mut first_line, mut throughput) = (Vec::new(), Vec::new());
    let outcome = run(options, &mut |sample| {
        if let Err(failure) = sample.result {
            match sample.pass {
                Pass::FirstLine => first_line.push(failure),
                Pass::Throughput => throughput.push(failure),
            }
        }
    });
    (outcome.unwrap(), first_line, throughput)
}

fn well(request: &Seen) -> Answer {
    if request.streams() {
        Answer::Hang(event_stream(&[ROLE_EVENT]))
    } else {
        Answer::Keep(json("200 OK", USAGE))
    }
}

#[test]
fn both_passes_measure_every_request() {
    let server = Server::start(well);

    let (outcome, first_line, throughput) = run_all(&options(&server));

    assert!(first_line.is_empty() && throughput.is_empty());
    assert_eq!(outcome.first_lines.seconds.len(), 6);
    assert!(
        outcome
            .first_lines
            .seconds
            .iter()
            .all(|&seconds| seconds > 0.0)
    );
    assert_eq!(outcome.throughput.completions.len(), 6);
    assert_eq!(outcome.throughput.tokens(), 72);
    assert!(outcome.throughput.wall > Duration::ZERO);
}

#[test]
fn requests_are_chat_completions_with_the_same_prompts_in_both_passes() {
    let server = Server::start(well);

    run_all(&options(&server));

    let seen = server.seen();
    let prompts = |streams| {
        let pass = seen.iter().filter(|request| request.streams() == streams);
        let mut prompts: Vec<String> = pass
            .map(|request| {
                request.body["messages"][0]["content"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        prompts.sort();
        prompts
    };
    assert_eq!(prompts(true), prompts(false));
    assert_eq!(prompts(true).len(), 6);
    for request in &seen {
        assert!(
            request
                .head
                .starts_with("post /v1/chat/completions http/1.1\r\n")
        );
        assert!(
            request
                .head
                .contains("\r\nauthorization: bearer sk-noop\r\n")
        );
        assert!(
            request
                .head
                .contains("\r\ncontent-type: application/json\r\n")
        );
        assert_eq!(request.body["model"], "m");
        assert_eq!(request.body["max_tokens"], 16);
        assert_eq!(request.body["messages"][0]["role"], "user");
    }
}

#[test]
fn streams_are_left_after_their_first_line_each_on_its_own_connection() {
    let server = Server::start(well);

    run_all(&options(&server));

    let mut left: Vec<usize> = server.departures.iter().take(6).collect();
    left.sort_unstable();
    assert_eq!(left, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn whole_answers_share_connections() {
    let server = Server::start(well);

    run_all(&options(&server));

    let whole = server
        .seen()
        .into_iter()
        .filter(|request| !request.streams());
    assert!(
        whole
            .map(|request| request.connection)
            .all(|connection| connection < 8)
    );
}

#[test]
fn other_status_is_an_error_with_its_body() {
    let server = Server::start(|_| Answer::Close(json("500 Internal Server Error", "{\"e\":1}")));

    let (outcome, first_line, throughput) = run_all(&options(&server));

    assert_eq!(
        (outcome.first_lines.errors, outcome.throughput.errors),
        (6, 6)
    );
    assert!(!outcome.is_success(1.0));
    for failure in first_line.iter().chain(&throughput) {
        assert!(matches!(failure, Failure::Status { status: 500, body } if body == "{\"e\":1}"));
    }
}

#[test]
fn answer_cut_short_is_an_error() {
    let server = Server::start(|request| {
        if request.streams() {
            Answer::Close(event_stream(&["data: {\"choi"]))
        } else {
            let mut answer = json("200 OK", USAGE);
            answer.pop();
            Answer::Close(answer)
        }
    });

    let (outcome, first_line, throughput) = run_all(&options(&server));

    assert_eq!((first_line.len(), throughput.len()), (6, 6));
    assert!(outcome.throughput.completions.is_empty());
    for failure in first_line.iter().chain(&throughput) {
        assert!(
            matches!(failure, Failure::Exchange(Error::Truncated)),
            "{failure:?}"
        );
    }
}

#[test]
fn chunked_answer_without_its_last_chunk_is_an_error() {
    let server = Server::start(|request| {
        if request.streams() {
            well(request)
        } else {
            Answer::Close(event_stream(&[USAGE]))
        }
    });

    let (_, _, throughput) = run_all(&options(&server));

    assert_eq!(throughput.len(), 6);
    assert!(matches!(throughput[0], Failure::Exchange(Error::Truncated)));
}

#[test]
fn answer_without_usage_is_an_error() {
    for body in [
        "{\"choices\":[]}",
        "{\"usage\":null}",
        "{\"usage\":{}}",
        "<html>",
    ] {
        let server = Server::start(move |request| {
            if request.streams() {
                well(request)
            } else {
                Answer::Keep(json("200 OK", body))
            }
        });

        let (outcome, _, throughput) = run_all(&options(&server));

        assert_eq!(outcome.throughput.errors, 6);
        assert!(matches!(throughput[0], Failure::NoUsage), "{body}");
    }
}

#[test]
fn stream_without_a_line_is_an_error() {
    let server = Server::start(|_| Answer::Close(json("200 OK", "")));

    let (_, first_line, _) = run_all(&options(&server));

    assert!(matches!(first_line[0], Failure::NoLine));
}

#[test]
fn stream_that_begins_with_an_error_event_is_an_error() {
    let server =
        Server::start(|_| Answer::Hang(event_stream(&["data: {\"error\":{\"code\":500}}\n\n"])));
    let options = Options {
        timeout: Duration::from_millis(300),
        requests: 1,
        ..options(&server)
    };

    let (_, first_line, _) = run_all(&options);

    assert!(matches!(&first_line[0], Failure::ErrorEvent(error) if error == "{\"code\":500}"));
}

#[test]
fn silent_server_is_a_timeout() {
    let server = Server::start(|_| Answer::Hang(Vec::new()));
    let options = Options {
        timeout: Duration::from_millis(50),
        requests: 1,
        ..options(&server)
    };

    let (_, first_line, throughput) = run_all(&options);

    assert!(matches!(first_line[0], Failure::Exchange(Error::Timeout)));
    assert!(matches!(throughput[0], Failure::Exchange(Error::Timeout)));
}

#[test]
fn nobody_listening_is_an_error() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let server = Server::start(well);
    let endpoint = Endpoint::chat("127.0.0.1", port).unwrap();

    let (_, first_line, _) = run_all(&Options {
        endpoint,
        ..options(&server)
    });

    assert!(matches!(
        first_line[0],
        Failure::Exchange(Error::Connect { .. })
    ));
}

#[test]
fn contradicting_lengths_are_an_error() {
    let server = Server::start(|_| {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n";
        Answer::Close(format!("{head}2\r\n{{}}\r\n0\r\n\r\n").into_bytes())
    });

    let (_, first_line, _) = run_all(&options(&server));

    let twice = Error::Framing(FramingError::TwoLengths);
    assert_eq!(first_line[0].to_string(), twice.to_string());
}
