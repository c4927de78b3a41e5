//! `serve` against servers whose delays are known, and one that stalls.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use pd_bench::load::Prompts;
use pd_bench::load::arrivals::{Arrivals, Rate};
use pd_bench::load::client::Endpoint;
use pd_bench::load::generator::{Load, Measurement, generate};
use pd_bench::report::summary::{Metric, Summary};
use tempfile::TempDir;

use crate::command::{pd_bench, stdout};
use crate::scripted::{Answer, Seen, Server, event_stream, json};

/// A role, two texts of three tokens, the usage, the end.
const EVENTS: [&str; 5] = [
    "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"bc\"}}]}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}\n\n",
    "data: [DONE]\n\n",
];

fn whole_stream() -> Answer {
    let mut answer = event_stream(&EVENTS);
    answer.extend_from_slice(b"0\r\n\r\n");
    Answer::Keep(answer)
}

fn load(server: &Server, requests: u64) -> Load {
    Load {
        endpoint: Endpoint::from_url(&server.url()).unwrap(),
        api_key: "sk-noop".to_owned(),
        model: "m".to_owned(),
        requests,
        arrivals: None,
        concurrency: Some(1),
        prompts: Prompts { seed: 1, words: 4 },
        max_tokens: 8,
        extra_body: serde_json::Map::new(),
        timeout: Duration::from_secs(60),
    }
}

fn percentile(measurement: &Measurement, metric: Metric, percent: f64) -> f64 {
    let summary = Summary::new(measurement, &[]);
    summary.distribution(metric).unwrap().percentile(percent)
}

#[test]
fn tokens_are_those_of_the_usage_and_content_is_not_the_first_byte() {
    let server = Server::start(|_: &Seen| whole_stream());

    let measurement = generate(&load(&server, 3), 1, &mut |_| {}).unwrap();

    let summary = Summary::new(&measurement, &[]);
    assert_eq!((summary.completed, summary.failed), (3, 0));
    assert_eq!((summary.input_tokens, summary.output_tokens), (21, 9));
    for record in &measurement.records {
        let times = record.result.as_ref().unwrap();
        assert_eq!(times.gaps.len(), 1);
        assert!(times.first_byte <= times.first_content.unwrap());
        assert!(times.last_content.unwrap() <= times.end);
    }
    for request in server.seen() {
        assert_eq!(request.body["stream"], true);
        assert_eq!(request.body["stream_options"]["include_usage"], true);
    }
}

#[test]
fn percentiles_are_those_of_the_servers_delays() {
    // A hundred answers, each after one delay of 20, 40, 60, 80 and 100 ms; twenty of each.
    let turn = Arc::new(Mutex::new(0_u64));
    let server = Server::start(move |_: &Seen| {
        let mut turn = turn.lock().unwrap();
        *turn += 1;
        let delay = 20 * (1 + *turn % 5);
        drop(turn);
        thread::sleep(Duration::from_millis(delay));
        whole_stream()
    });
    let load = Load {
        concurrency: Some(4),
        ..load(&server, 100)
    };

    let measurement = generate(&load, 1, &mut |_| {}).unwrap();

    // Nothing is earlier than the server lets it be. How much later it is depends on the machine, and the
    // client tells by how much it was itself late.
    let lag = measurement
        .loop_lags
        .iter()
        .max()
        .copied()
        .unwrap_or_default();
    let late = 60.0 + 2e3 * lag.as_secs_f64();
    for (percent, delay) in [
        (10.0, 20.0),
        (30.0, 40.0),
        (50.0, 60.0),
        (70.0, 80.0),
        (90.0, 100.0),
    ] {
        let value = percentile(&measurement, Metric::Ttft, percent);
        assert!(
            (delay * 0.999..delay + late).contains(&value),
            "p{percent}: {value}"
        );
    }
    assert!(percentile(&measurement, Metric::E2el, 100.0) >= 99.9);
}

#[test]
fn requests_that_were_due_while_the_server_stalled_have_waited() {
    // One answer takes 600 ms, and nothing else is served meanwhile; all others are immediate.
    let stalled = Arc::new(Mutex::new(false));
    let server = Server::start(move |_: &Seen| {
        let mut stalled = stalled.lock().unwrap();
        if !std::mem::replace(&mut *stalled, true) {
            thread::sleep(Duration::from_millis(600));
        }
        whole_stream()
    });
    let clock = Arrivals {
        rate: Rate::Constant(100.0),
        burstiness: f64::INFINITY,
    };
    let open = Load {
        arrivals: Some(clock),
        // A limit must not hide it either.
        concurrency: Some(2),
        ..load(&server, 60)
    };

    let measurement = generate(&open, 1, &mut |_| {}).unwrap();

    // A request was due every 10 ms of the stall: half of the sixty were due in its first half, and
    // waited for the rest of it. A generator that counts from the send would find two that were slow.
    assert!(percentile(&measurement, Metric::Ttft, 51.0) >= 300.0 * 0.999);
    assert!(percentile(&measurement, Metric::Ttft, 84.0) >= 500.0 * 0.999);
}

#[test]
fn open_loop_does_not_wait_for_answers() {
    // Nobody is answered until all twenty have asked.
    let waiting = Arc::new((Mutex::new(0_u64), std::sync::Condvar::new()));
    let server = Server::start(move |_: &Seen| {
        let (asked, all) = &*waiting;
        let mut asked = asked.lock().unwrap();
        *asked += 1;
        all.notify_all();
        drop(all.wait_while(asked, |asked| *asked < 20).unwrap());
        whole_stream()
    });
    let open = Load {
        arrivals: Some(Arrivals {
            rate: Rate::Constant(500.0),
            burstiness: 1.0,
        }),
        concurrency: None,
        ..load(&server, 20)
    };

    let measurement = generate(&open, 1, &mut |_| {}).unwrap();

    assert_eq!(measurement.in_flight_max, 20);
    assert!(
        measurement
            .records
            .iter()
            .all(|record| record.result.is_ok())
    );
}

#[test]
fn closed_loop_keeps_to_its_lanes() {
    let server = Server::start(|_: &Seen| whole_stream());
    let closed = Load {
        concurrency: Some(3),
        ..load(&server, 30)
    };

    let measurement = generate(&closed, 1, &mut |_| {}).unwrap();

    let connections: HashSet<usize> = server.seen().iter().map(|seen| seen.connection).collect();
    assert!(connections.len() <= 3);
    assert_eq!(measurement.in_flight_max, 3);
}

#[test]
fn answer_without_usage_is_an_error_and_no_sample() {
    let server = Server::start(|_: &Seen| {
        let mut answer = event_stream(&EVENTS[..3]);
        answer.extend_from_slice(b"0\r\n\r\n");
        Answer::Keep(answer)
    });

    let measurement = generate(&load(&server, 2), 1, &mut |_| {}).unwrap();

    assert_eq!(Summary::new(&measurement, &[]).failed, 2);
}

#[test]
fn flags_of_vllm_make_its_block_and_its_file() {
    let server = Server::start(|_: &Seen| whole_stream());
    let folder = TempDir::new().unwrap();
    let url = format!("--url={}", server.url());

    let output = pd_bench(&[
        "serve",
        &url,
        "--model=a/b",
        "--num_prompts=5",
        "--max-concurrency=2",
    ])
    .args([
        "--request-rate=200",
        "--burstiness=0.5",
        "--random-input-len=4",
    ])
    .args([
        "--random-output-len=8",
        "--ignore-eos",
        "--goodput",
        "ttft:60000",
        "e2el:60000",
    ])
    .args([
        "--percentile-metrics=ttft,e2el",
        "--metric-percentiles=50,99.9",
        "--seed=1",
    ])
    .args([
        "--save-result",
        "--save-detailed",
        "--metadata",
        "gpu=none",
        "--label=x",
    ])
    .arg("--result-dir")
    .arg(folder.path())
    .arg("--result-filename=r.json")
    .output()
    .unwrap();

    assert_eq!(output.status.code(), Some(0));
    let said = stdout(&output);
    assert!(said.starts_with("============ Serving Benchmark Result ============\n"));
    assert!(said.contains("Request goodput (req/s):"));
    assert!(said.contains("P99.9 E2EL (ms):"));
    let text = std::fs::read_to_string(folder.path().join("r.json")).unwrap();
    let result: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(result["completed"], 5);
    assert_eq!(result["total_output_tokens"], 15);
    assert_eq!(result["request_goodput"], result["request_throughput"]);
    assert_eq!(result["ttfts"].as_array().unwrap().len(), 5);
    assert_eq!(
        (&result["gpu"], &result["label"]),
        (&"none".into(), &"x".into())
    );
    assert!(result["p99.9_e2el_ms"].is_number());
    assert!(
        server
            .seen()
            .iter()
            .all(|seen| seen.body["ignore_eos"] == true)
    );
}

#[test]
fn styles_of_the_testbed_and_json_are_printed_too() {
    let server = Server::start(|_: &Seen| whole_stream());
    let url = format!("--url={}", server.url());
    let print = |style: &str| {
        let args = ["serve", &url, "-n4", "-c2", "--output-style", style];
        stdout(&pd_bench(&args).output().unwrap())
    };

    let seed = print("seed");
    assert!(seed.starts_with("\n== TTFT (stream=true) N=4 ==\n"));
    assert!(seed.contains("  total generated tokens = 12\n"));
    let result: serde_json::Value = serde_json::from_str(&print("json")).unwrap();
    assert_eq!(result["completed"], 4);
}

#[test]
fn strict_run_that_is_too_short_exits_1_and_says_why() {
    let server = Server::start(|_: &Seen| whole_stream());
    let url = format!("--url={}", server.url());
    let run = |more: &[&str]| {
        pd_bench(&["serve", &url, "-n5", "-c1"])
            .args(more)
            .output()
            .unwrap()
    };

    let (lenient, strict) = (run(&[]), run(&["--strict"]));

    assert_eq!(
        (lenient.status.code(), strict.status.code()),
        (Some(0), Some(1))
    );
    let warned = String::from_utf8(strict.stderr).unwrap();
    assert!(warned.contains("5 whole answers are too few"), "{warned}");
}

#[test]
fn total_failure_exits_1() {
    let server = Server::start(|_: &Seen| Answer::Close(json("503 Service Unavailable", "{}")));
    let url = format!("--url={}", server.url());
    let began = Instant::now();

    let output = pd_bench(&["serve", &url, "-n3", "-c1"]).output().unwrap();

    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("Failed requests:                         3"));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("HTTP 503")
    );
    assert!(began.elapsed() < Duration::from_secs(60));
}
