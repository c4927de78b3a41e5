//! Waiting: for processes to serve, for nodes to be registered, for an answer through all of them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use pd_bench::load::client::{Client, Endpoint, Request, Settings};
use serde::Deserialize;
use serde_json::json;

use crate::probe::{Probe, Wanted};

/// Between two looks at a log's length.
const LOOK: Duration = Duration::from_millis(500);
/// Between two looks at the proxy's nodes.
const PAUSE: Duration = Duration::from_millis(100);
const METRICS_TIMEOUT: Duration = Duration::from_secs(2);
const METRICS_BYTES_MAX: usize = 1024 * 1024;
/// The first request of a pair sets up NCCL, which takes seconds; and a model may still compile.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// What the testbed's probe asks for.
const ANSWER_TOKENS: u32 = 16;
/// From the last node's readiness to the registration of all: they ping every 3 s.
const REGISTRATION_TIMEOUT: Duration = Duration::from_secs(30);

/// One process to wait for.
#[derive(Debug)]
pub(super) struct Wait {
    /// What people call it.
    pub(super) what: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) wanted: Wanted,
    pub(super) log: PathBuf,
    /// Longest time in which the log does not grow.
    pub(super) silence: Duration,
}

impl Wait {
    /// Returns when it serves; what to say when it has been silent for too long before.
    pub(super) async fn until_ready(&self) -> Result<(), String> {
        let probe = Probe::new(&self.host, self.port, self.wanted).map_err(|e| e.to_string())?;
        let ready = probe.until_ready();
        tokio::pin!(ready);
        let length = || std::fs::metadata(&self.log).map_or(0, |log| log.len());
        let (mut written, mut since) = (length(), Instant::now());
        loop {
            tokio::select! {
                () = &mut ready => return Ok(()),
                () = tokio::time::sleep(LOOK) => {}
            }
            let now = length();
            if now != written {
                (written, since) = (now, Instant::now());
            } else if since.elapsed() >= self.silence {
                let Self { what, port, .. } = self;
                return Err(format!("Timeout: {what} HTTP :{port} did not open"));
            }
        }
    }
}

/// Waits until the proxy has this many ready nodes of each role; else says what it has.
pub(super) async fn until_registered(
    host: &str,
    port: u16,
    prefill: u16,
    decode: u16,
) -> Result<(), String> {
    let endpoint = Endpoint::chat(host, port).map_err(|error| error.to_string())?;
    let settings = Settings {
        bearer: None,
        timeout: METRICS_TIMEOUT,
        keep_alive: false,
    };
    let client = Client::new(endpoint, settings);
    let deadline = Instant::now() + REGISTRATION_TIMEOUT;
    loop {
        let metrics = match client.send(Request::Get { path: "/metrics" }).await {
            Ok(mut response) => response.body(METRICS_BYTES_MAX).await.unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        let metrics = String::from_utf8_lossy(&metrics);
        let (p, d) = (
            ready_nodes(&metrics, "prefill"),
            ready_nodes(&metrics, "decode"),
        );
        if p >= prefill && d >= decode {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(format!(
                "the proxy has {p} of {prefill} prefill and {d} of {decode} decode nodes"
            ));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Reads one gauge of the proxy's metrics.
fn ready_nodes(metrics: &str, role: &str) -> u16 {
    let name = format!("pd_proxy_nodes{{role=\"{role}\",state=\"ready\"}} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&name));
    value
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or(0)
}

/// Asks for an answer through proxy, prefill and decode node; gives its text, or why there is none.
pub(super) async fn ask(host: &str, port: u16, model: &str, key: &str) -> Result<String, String> {
    let endpoint = Endpoint::chat(host, port).map_err(|error| error.to_string())?;
    let settings = Settings {
        bearer: Some(key.to_owned()),
        timeout: ANSWER_TIMEOUT,
        keep_alive: false,
    };
    let request = json!({
        "model": model,
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": ANSWER_TOKENS,
    });
    let body = request.to_string();
    let client = Client::new(endpoint, settings);
    let request = Request::PostJson {
        body: body.as_bytes(),
    };
    let mut response = client
        .send(request)
        .await
        .map_err(|error| error.to_string())?;
    let status = response.status();
    let answer = response.body(ANSWER_BYTES_MAX).await.unwrap_or_default();
    if status != 200 {
        let answer = String::from_utf8_lossy(&answer);
        return Err(format!("HTTP {status}: {}", answer.trim()));
    }
    reply(&answer).ok_or_else(|| "HTTP 200, but no answer in it".to_owned())
}

#[derive(Deserialize)]
struct Answer {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
}

fn reply(body: &[u8]) -> Option<String> {
    let answer: Answer = serde_json::from_slice(body).ok()?;
    answer.choices.into_iter().next()?.message.content
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_nodes_are_read_off_the_metrics() {
        let metrics = "# HELP x\npd_proxy_nodes{role=\"prefill\",state=\"ready\"} 2\n\
                       pd_proxy_nodes{role=\"decode\",state=\"pending\"} 3\n";

        assert_eq!(ready_nodes(metrics, "prefill"), 2);
        assert_eq!(ready_nodes(metrics, "decode"), 0);
    }

    #[test]
    fn reply_is_the_text_of_the_first_choice() {
        let body = br#"{"choices":[{"message":{"role":"assistant","content":"hi"}}]}"#;

        assert_eq!(reply(body).as_deref(), Some("hi"));
        assert_eq!(reply(b"{}"), None);
    }
}
