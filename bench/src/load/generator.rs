//! The honest generator: every request streamed to its end, its times counted from when it was meant
//! to start.
//!
//! An open loop starts requests by [`Arrivals`] and waits for nobody: if the server stalls, those that
//! were due meanwhile have waited too, and their wait is part of their latency. A generator that
//! counts from the moment it got to send would leave it out (coordinated omission). In a closed loop a
//! request is meant to start when the one before it on the same lane has ended.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::{Semaphore, mpsc};

use super::arrivals::Arrivals;
use super::client::{Client, Endpoint, Request, Settings};
use super::outcome::Failure;
use super::prompt::Prompts;
use super::run::refuse_other_than_200;

/// How often the event loop is asked whether it is late.
const LOOP_PROBE: Duration = Duration::from_millis(20);

/// What to send, when, and where.
#[derive(Debug, Clone)]
pub struct Load {
    /// Where chat completions are asked for.
    pub endpoint: Endpoint,
    /// Sent as the bearer of each request.
    pub api_key: String,
    /// The model asked for.
    pub model: String,
    /// How many requests are sent.
    pub requests: u64,
    /// When they start; `None` is a closed loop.
    pub arrivals: Option<Arrivals>,
    /// Requests under way at a time: the lanes of a closed loop, and of an open one a limit at which
    /// requests wait, which their latency tells. `None` is all of them.
    pub concurrency: Option<u64>,
    /// Prompts, by number of the request.
    pub prompts: Prompts,
    /// Longest answer asked for, in tokens.
    pub max_tokens: u64,
    /// More top-level members of each request; they replace ours of the same name.
    pub extra_body: Map<String, Value>,
    /// Longest one request may take, from when it was sent.
    pub timeout: Duration,
}

/// One request.
#[derive(Debug)]
pub struct Record {
    /// Its number in the run.
    pub number: u64,
    /// When it was meant to start, from the start of the run.
    pub intended: Duration,
    /// How much later than meant it was ready to be sent, without the wait for a free lane.
    pub lag: Duration,
    /// Its times, or why it has none.
    pub result: Result<Timeline, Failure>,
}

/// The times of a streamed answer, all from when the request was meant to start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timeline {
    /// The first byte of the body, whatever it belongs to; what the testbed calls TTFT is the end of the
    /// line that it begins.
    pub first_byte: Duration,
    /// The first event with text. `None` if there is none.
    pub first_content: Option<Duration>,
    /// From each event with text to the next.
    pub gaps: Vec<Duration>,
    /// The last event with text.
    pub last_content: Option<Duration>,
    /// The end of the answer.
    pub end: Duration,
    /// `usage.prompt_tokens`.
    pub prompt_tokens: u64,
    /// `usage.completion_tokens`.
    pub completion_tokens: u64,
}

impl Timeline {
    /// Time per output token after the first: what passed between first and last text, over one
    /// token less than there are. `None` for fewer than two tokens.
    #[must_use]
    pub fn time_per_output_token(&self) -> Option<Duration> {
        let after_first = self.completion_tokens.checked_sub(1).filter(|n| *n > 0)?;
        let time = self.last_content?.saturating_sub(self.first_content?);
        Some(time.div_f64(after_first as f64))
    }
}

/// What a run gave, and what it cost its client.
#[derive(Debug)]
pub struct Measurement {
    /// One of each request, in the order in which they ended.
    pub records: Vec<Record>,
    /// From the start of the run to the end of its last request.
    pub wall: Duration,
    /// What the thread that sent and received got of its CPU; `None` if the kernel keeps no account.
    pub thread: Option<ThreadTime>,
    /// How late the event loop was, each time it was asked.
    pub loop_lags: Vec<Duration>,
    /// Most requests under way at a time.
    pub in_flight_max: u64,
}

/// What a thread got of its CPU.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ThreadTime {
    /// It ran.
    pub running: Duration,
    /// It could have run, but others did.
    pub waiting: Duration,
}

/// Runs and hands the number of each request that has ended to `observer`.
///
/// # Errors
///
/// The kernel refuses the descriptors that an event loop needs. What happens to requests is in their
/// records.
pub fn generate(
    load: &Load,
    seed: u64,
    observer: &mut dyn FnMut(u64),
) -> std::io::Result<Measurement> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(run(load, seed, observer)))
}

/// What the requests of a run share.
struct Shared {
    client: Client,
    load: Load,
    started: Instant,
    lanes: Option<Semaphore>,
    in_flight: AtomicU64,
    in_flight_max: AtomicU64,
    loop_lags: Mutex<Vec<Duration>>,
    records: mpsc::UnboundedSender<Record>,
}

async fn run(load: &Load, seed: u64, observer: &mut dyn FnMut(u64)) -> Measurement {
    // Not bounded: waiting to hand over a record must not delay a request. There is one per request.
    let (sender, mut arriving) = mpsc::unbounded_channel();
    let settings = Settings {
        bearer: Some(load.api_key.clone()),
        timeout: load.timeout,
        keep_alive: true,
    };
    let lanes = load.concurrency.map(|lanes| {
        let lanes = usize::try_from(lanes).unwrap_or(usize::MAX);
        Semaphore::new(lanes.min(Semaphore::MAX_PERMITS))
    });
    let before = thread_time();
    let shared = Arc::new(Shared {
        client: Client::new(load.endpoint.clone(), settings),
        load: load.clone(),
        started: Instant::now(),
        lanes,
        in_flight: AtomicU64::new(0),
        in_flight_max: AtomicU64::new(0),
        loop_lags: Mutex::new(Vec::new()),
        records: sender,
    });
    let started = shared.started;
    let probe = tokio::spawn(probe_loop(Arc::clone(&shared)));
    let pace = tokio::spawn(pace(Arc::clone(&shared), seed));
    let mut records = Vec::new();
    while (records.len() as u64) < load.requests
        && let Some(record) = arriving.recv().await
    {
        observer(record.number);
        records.push(record);
    }
    let wall = started.elapsed();
    pace.abort();
    probe.abort();
    Measurement {
        records,
        wall,
        thread: thread_time().zip(before).map(|(now, before)| ThreadTime {
            running: now.running.saturating_sub(before.running),
            waiting: now.waiting.saturating_sub(before.waiting),
        }),
        loop_lags: std::mem::take(&mut *shared.lags()),
        in_flight_max: shared.in_flight_max.load(Ordering::Relaxed),
    }
}

/// Starts every request when it is due.
async fn pace(shared: Arc<Shared>, seed: u64) {
    let Some(arrivals) = shared.load.arrivals else {
        let lanes = shared.load.concurrency.unwrap_or(u64::MAX);
        let next = Arc::new(AtomicU64::new(0));
        for _ in 0..lanes.min(shared.load.requests) {
            tokio::spawn(lane(Arc::clone(&shared), Arc::clone(&next)));
        }
        return;
    };
    for (number, start) in (0..).zip(arrivals.starts(shared.load.requests, seed)) {
        let intended = shared.started + start;
        tokio::time::sleep_until(intended.into()).await;
        let lag = intended.elapsed();
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let lane = match &shared.lanes {
                // It is never closed; if it were, no lane would be needed.
                Some(lanes) => lanes.acquire().await.ok(),
                None => None,
            };
            shared.record(number, intended, lag).await;
            drop(lane);
        });
    }
}

/// One request after the other, until there are no more.
async fn lane(shared: Arc<Shared>, next: Arc<AtomicU64>) {
    let mut intended = shared.started;
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= shared.load.requests {
            return;
        }
        shared.record(number, intended, intended.elapsed()).await;
        intended = Instant::now();
    }
}

async fn probe_loop(shared: Arc<Shared>) {
    loop {
        let due = Instant::now() + LOOP_PROBE;
        tokio::time::sleep_until(due.into()).await;
        shared.lags().push(due.elapsed());
    }
}

impl Shared {
    async fn record(&self, number: u64, intended: Instant, lag: Duration) {
        let in_flight = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        self.in_flight_max.fetch_max(in_flight, Ordering::Relaxed);
        let result = self.stream(number, intended).await;
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        let record = Record {
            number,
            intended: intended.saturating_duration_since(self.started),
            lag,
            result,
        };
        // The run waits for as many records as there are requests, so somebody listens.
        self.records.send(record).ok();
    }

    async fn stream(&self, number: u64, intended: Instant) -> Result<Timeline, Failure> {
        let body = self.body(number);
        let mut response = self.client.send(Request::PostJson { body: &body }).await?;
        refuse_other_than_200(&mut response).await?;
        let mut times = Timeline::default();
        let mut usage = None;
        let mut last = None;
        while let Some(event) = response.event().await? {
            let at = event.at.saturating_duration_since(intended);
            let Ok(chunk) = serde_json::from_slice::<Chunk>(&event.data) else {
                // `[DONE]`, which comes after the usage.
                continue;
            };
            if let Some(error) = chunk.error {
                return Err(Failure::ErrorEvent(error.to_string()));
            }
            usage = chunk.usage.or(usage);
            if chunk.choices.iter().any(Choice::has_text) {
                match last {
                    Some(last) => times.gaps.push(at.saturating_sub(last)),
                    None => times.first_content = Some(at),
                }
                last = Some(at);
            }
        }
        let first_byte = response.first_byte_at().ok_or(Failure::NoLine)?;
        let usage = usage.ok_or(Failure::NoUsage)?;
        Ok(Timeline {
            first_byte: first_byte.saturating_duration_since(intended),
            last_content: last,
            end: response.read_at().saturating_duration_since(intended),
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            ..times
        })
    }

    fn body(&self, number: u64) -> Vec<u8> {
        let mut body = json!({
            "model": self.load.model,
            "messages": [{"role": "user", "content": self.load.prompts.prompt(number)}],
            "max_tokens": self.load.max_tokens,
            "stream": true,
            "stream_options": {"include_usage": true},
        });
        if let Value::Object(members) = &mut body {
            members.extend(self.load.extra_body.clone());
        }
        body.to_string().into_bytes()
    }

    fn lags(&self) -> std::sync::MutexGuard<'_, Vec<Duration>> {
        self.loop_lags
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// One event of an answer, as far as it matters.
#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Usage>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    delta: Delta,
}

/// Reasoning is text, too; vLLM has called it by two names.
#[derive(Deserialize, Default)]
struct Delta {
    content: Option<String>,
    reasoning: Option<String>,
    reasoning_content: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: u64,
    completion_tokens: u64,
}

impl Choice {
    fn has_text(&self) -> bool {
        let Delta {
            content,
            reasoning,
            reasoning_content,
        } = &self.delta;
        [content, reasoning, reasoning_content]
            .into_iter()
            .flatten()
            .any(|text| !text.is_empty())
    }
}

/// What this thread has had so far: the first two numbers of its account, in nanoseconds.
fn thread_time() -> Option<ThreadTime> {
    let account = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let mut times = account.split_ascii_whitespace();
    let mut next = || Some(Duration::from_nanos(times.next()?.parse().ok()?));
    Some(ThreadTime {
        running: next()?,
        waiting: next()?,
    })
}
