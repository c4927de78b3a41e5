//! The two-pass run of `bench_pd.py`.
//!
//! Pass 1 asks for streams, waits for the first line of each body and leaves: it measures the time to
//! the first line and, by leaving, whether the server lets go of work that nobody waits for. What
//! keeps running slows pass 2 down, which asks for the same answers whole and counts their tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::client::{Client, Endpoint, Request, Response, Settings};
use super::outcome::{Completion, Failure, Measured, Outcome, Pass, Sample};
use super::prompt::Prompts;

/// Bytes of one whole answer.
const BODY_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Bytes kept of the body of an answer that is an error.
const ERROR_BODY_BYTES_MAX: usize = 64 * 1024;

/// What to send, and where.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where chat completions are asked for.
    pub endpoint: Endpoint,
    /// Sent as the bearer of each request.
    pub api_key: String,
    /// The model asked for.
    pub model: String,
    /// Requests of each pass.
    pub requests: u64,
    /// Requests under way at a time.
    pub concurrency: u64,
    /// Prompts, by number of the request in its pass.
    pub prompts: Prompts,
    /// Longest answer asked for.
    pub max_tokens: u64,
    /// Longest one request may take.
    pub timeout: Duration,
}

/// Runs both passes and hands each sample to `observer` as it comes.
///
/// Requests of a pass start in order, a new one as soon as one of the `concurrency` under way has
/// ended. Each streamed request has a connection of its own; whole answers share them.
///
/// # Errors
///
/// The kernel refuses the descriptors that an event loop needs. What happens to requests is in the
/// outcome.
pub fn run(options: &Options, observer: &mut dyn FnMut(Sample)) -> std::io::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut outcome = Outcome::default();
    for pass in [Pass::FirstLine, Pass::Throughput] {
        let started = Instant::now();
        runtime.block_on(run_pass(options, pass, &mut |sample| {
            outcome.add(&sample);
            observer(sample);
        }));
        if pass == Pass::Throughput {
            outcome.throughput.wall = started.elapsed();
        }
    }
    Ok(outcome)
}

/// What the requests of one pass share.
struct Shared {
    client: Client,
    options: Options,
    pass: Pass,
    /// Number of the next request.
    next: AtomicU64,
}

async fn run_pass(options: &Options, pass: Pass, observer: &mut dyn FnMut(Sample)) {
    let settings = Settings {
        bearer: Some(options.api_key.clone()),
        timeout: options.timeout,
        // A stream that is left cannot give its connection back anyway.
        keep_alive: pass == Pass::Throughput,
    };
    let shared = Arc::new(Shared {
        client: Client::new(options.endpoint.clone(), settings),
        options: options.clone(),
        pass,
        next: AtomicU64::new(0),
    });
    let lanes = options.concurrency.min(options.requests);
    let (samples, mut arrivals) = mpsc::channel(64);
    for _ in 0..lanes {
        let (shared, samples) = (Arc::clone(&shared), samples.clone());
        tokio::spawn(async move {
            loop {
                let number = shared.next.fetch_add(1, Ordering::Relaxed);
                if number >= shared.options.requests {
                    return;
                }
                let result = shared.measure(number).await;
                if samples.send(Sample { pass, result }).await.is_err() {
                    return;
                }
            }
        });
    }
    drop(samples);
    while let Some(sample) = arrivals.recv().await {
        observer(sample);
    }
}

impl Shared {
    async fn measure(&self, number: u64) -> Result<Measured, Failure> {
        let prompt = self.options.prompts.prompt(number);
        let body = chat_request(&self.options, &prompt, self.pass == Pass::FirstLine);
        match self.pass {
            Pass::FirstLine => self.first_line(&body).await,
            Pass::Throughput => self.completion(&body).await,
        }
    }

    async fn first_line(&self, body: &[u8]) -> Result<Measured, Failure> {
        let started = Instant::now();
        let mut response = self.client.send(Request::PostJson { body }).await?;
        refuse_other_than_200(&mut response).await?;
        let line = response.line().await?.ok_or(Failure::NoLine)?;
        let after = response.read_at().duration_since(started);
        match error_in_line(&line) {
            Some(error) => Err(Failure::ErrorEvent(error)),
            None => Ok(Measured::FirstLine(after)),
        }
    }

    async fn completion(&self, body: &[u8]) -> Result<Measured, Failure> {
        let started = Instant::now();
        let mut response = self.client.send(Request::PostJson { body }).await?;
        refuse_other_than_200(&mut response).await?;
        let answer = response.body(BODY_BYTES_MAX).await?;
        let took = response.read_at().duration_since(started);
        let tokens = completion_tokens(&answer).ok_or(Failure::NoUsage)?;
        Ok(Measured::Completion(Completion { tokens, took }))
    }
}

pub(super) async fn refuse_other_than_200(response: &mut Response<'_>) -> Result<(), Failure> {
    let status = response.status();
    if status == 200 {
        return Ok(());
    }
    // The status is the news; a body that fails on top of it must not hide it.
    let body = response
        .body(ERROR_BODY_BYTES_MAX)
        .await
        .unwrap_or_default();
    Err(Failure::Status {
        status,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

/// How many tokens an answer says it has.
fn completion_tokens(answer: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Answer {
        usage: Usage,
    }
    #[derive(Deserialize)]
    struct Usage {
        completion_tokens: u64,
    }
    let answer: Answer = serde_json::from_slice(answer).ok()?;
    Some(answer.usage.completion_tokens)
}

/// The error that a line of an event stream carries: with the head already sent, vLLM can say it in
/// no other place.
fn error_in_line(line: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Line {
        error: serde_json::Value,
    }
    let data = line.strip_prefix(b"data:")?;
    let line: Line = serde_json::from_slice(data).ok()?;
    (!line.error.is_null()).then(|| line.error.to_string())
}

fn chat_request(options: &Options, prompt: &str, stream: bool) -> Vec<u8> {
    #[derive(Serialize)]
    struct Chat<'a> {
        model: &'a str,
        messages: [Message<'a>; 1],
        max_tokens: u64,
        stream: bool,
    }
    #[derive(Serialize)]
    struct Message<'a> {
        role: &'a str,
        content: &'a str,
    }
    let chat = Chat {
        model: &options.model,
        messages: [Message {
            role: "user",
            content: prompt,
        }],
        max_tokens: options.max_tokens,
        stream,
    };
    // Texts and numbers always have a JSON form.
    serde_json::to_vec(&chat).unwrap_or_default()
}
