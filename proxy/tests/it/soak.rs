//! Many clients at once, that stay, stall and leave at every phase, while nodes are killed and started
//! anew: every byte is what the model says, and at the end nothing is left of it all.
//!
//! `PD_SOAK_SECONDS` says for how long (10), `PD_SOAK_SEED` repeats a run; the figures are printed
//! (`--nocapture`).

use std::io::Read as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{ScopedJoinHandle, sleep};
use std::time::{Duration, Instant};

use pd_bench::sim::{Options, Role, Rule, Sim, State, chat_text, completion_text};
use serde_json::json;

use crate::support::client::{Client, End, Response, post};
use crate::support::eventually;
use crate::support::procfs::{descriptors, resident_bytes};
use crate::support::proxy::{Proxy, command, free_port};

const MODEL: &str = "Qwen/Qwen2.5-7B-Instruct";
const CLIENTS: u64 = 24;
const PREFILLS: usize = 2;
const DECODES: usize = 3;
/// How much faster than life the nodes are: a token in a millisecond or two.
const SPEED: f64 = 10.0;
/// A node stays away for longer than a prefill takes, as a real one does: no id outlives its D.
const DOWN: Duration = Duration::from_millis(1_500);
/// Time between the return of one node and the end of the next.
const UP: Duration = Duration::from_secs(1);
/// What an allocator may keep at the end beyond what it had when the load had run for a third of the time.
const GROWTH_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Numbers without a pattern, the same for the same seed (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// What became of the requests.
#[derive(Debug, Default)]
struct Tally {
    /// Answered to the last byte.
    whole: AtomicU64,
    /// Visibly broken off, after a part of the right text.
    cut: AtomicU64,
    /// Refused with 502, 503 or 504.
    refused: AtomicU64,
    /// Left by their client.
    left: AtomicU64,
}

impl Tally {
    fn of(&self) -> [u64; 4] {
        [&self.whole, &self.cut, &self.refused, &self.left]
            .map(|count| count.load(Ordering::SeqCst))
    }
}

/// A request, and what is to be answered.
struct Asked {
    path: &'static str,
    body: String,
    text: String,
    is_stream: bool,
}

impl Asked {
    fn any(random: &mut Random) -> Self {
        let is_stream = random.below(4) > 0;
        let words = 1 + random.below(300);
        let prompt: Vec<String> = (0..words)
            .map(|_| random.below(10_000).to_string())
            .collect();
        let (prompt, tokens) = (prompt.join(" "), 1 + random.below(150));
        let count = u32::try_from(tokens).unwrap();
        let mut body = json!({"model": MODEL, "max_tokens": tokens, "stream": is_stream});
        let (path, text) = if random.below(2) == 0 {
            let messages = [json!({"role": "user", "content": prompt})];
            body["messages"] = json!(messages);
            (
                "/v1/chat/completions",
                chat_text(MODEL, &messages, 0, count),
            )
        } else {
            body["prompt"] = json!(prompt);
            ("/v1/completions", completion_text(MODEL, &prompt, 0, count))
        };
        Self {
            path,
            body: body.to_string(),
            text,
            is_stream,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        post(self.path, &self.body)
    }

    /// Asserts that `response` is one of those that may be, and counts it.
    fn judge(&self, mut response: Response, tally: &Tally) {
        let count = match (response.status, response.end) {
            (200, End::Whole) => {
                assert_eq!(response.generated(), self.text);
                let done = response.events().pop();
                assert!(!self.is_stream || done.as_deref() == Some("[DONE]"));
                &tally.whole
            }
            (200, End::Cut) => {
                if self.is_stream {
                    // An event that was cut itself says nothing.
                    let whole = response.text().rfind("\n\n").map_or(0, |at| at + 2);
                    response.body.truncate(whole);
                    assert!(self.text.starts_with(&response.generated()));
                }
                &tally.cut
            }
            (status, _) => {
                response.openai_error(status);
                assert!((502..=504).contains(&status), "{}", response.text());
                &tally.refused
            }
        };
        count.fetch_add(1, Ordering::SeqCst);
    }

    /// Sends it, or a part of it, and leaves: at any phase, with a FIN or a reset.
    fn leave(&self, proxy: &Proxy, random: &mut Random, tally: &Tally) {
        let (bytes, mut client) = (self.bytes(), proxy.connect());
        let head_bytes = bytes.len() - self.body.len();
        match random.below(7) {
            0 => {}
            1 => drop(client.send(&bytes[..head_bytes / 2])),
            2 => drop(client.send(&bytes[..head_bytes + self.body.len() / 2])),
            3 => drop(client.send(&bytes)),
            4 => {
                client.send(&bytes);
                sleep(Duration::from_millis(random.below(300)));
            }
            reads => {
                client.send(&bytes);
                let head = client.read_until(b"\r\n\r\n");
                let is_answer = head.starts_with(b"HTTP/1.1 200 ");
                // The whole answer may have been read before that many parts.
                let pause = Some(Duration::from_millis(100));
                client.stream.set_read_timeout(pause).unwrap();
                let parts = (reads - 5) * random.below(20);
                let mut part = [0; 512];
                let more = |_: &u64| client.stream.read(&mut part).is_ok_and(|bytes| bytes > 0);
                let _read = (0..parts).take_while(more).filter(|_| is_answer).count();
            }
        }
        if random.below(2) == 0 {
            client.reset();
        }
        tally.left.fetch_add(1, Ordering::SeqCst);
    }
}

/// One client after another until `until`.
fn ask(proxy: &Proxy, seed: u64, until: Instant, tally: &Tally) {
    let random = &mut Random(seed);
    let mut kept: Option<Client> = None;
    while Instant::now() < until {
        let asked = Asked::any(random);
        if random.below(3) == 0 {
            asked.leave(proxy, random, tally);
            continue;
        }
        let mut client = kept.take().unwrap_or_else(|| proxy.connect());
        let is_half_closed = random.below(10) == 0;
        if is_half_closed {
            client.send_and_half_close(asked.bytes());
        } else {
            client.send(asked.bytes());
        }
        let response = client.response();
        let is_kept = response.end == End::Whole && response.field("connection").is_none();
        asked.judge(response, tally);
        kept = Some(client).filter(|_| is_kept && !is_half_closed);
    }
}

/// Waits until all nodes may be used.
fn wait_until_ready(proxy: &Proxy) {
    eventually("all nodes are ready", || {
        let ready = |role| proxy.metric(&format!("nodes{{role=\"{role}\",state=\"ready\"}}"));
        ready("prefill") == PREFILLS as u64 && ready("decode") == DECODES as u64
    });
}

/// A node with the same addresses whenever it is started.
fn node(number: usize, proxy: &Proxy) -> Sim {
    let at = proxy.registration();
    let options = if number < PREFILLS {
        Options::prefill(at)
    } else {
        Options::decode(at)
    };
    let sim = Sim::start(Options {
        port: free_port(),
        kv_port: free_port(),
        speed: SPEED,
        ..options
    });
    sim.expect("the simulator starts")
}

/// Ends a node as a power cut would and starts it anew after a while.
fn restart(sim: &mut Sim) {
    sim.kill();
    assert_lawful(sim);
    sleep(DOWN);
    let mut options = sim.options().clone();
    if options.role == Role::Decode {
        // No prefill node connects a second time to a KV address that it has lost.
        options.kv_port = free_port();
    }
    *sim = Sim::start(options).expect("its ports are free");
}

/// Starts the prefill nodes anew that froze when they pushed to a decode node that was ended: nothing else
/// wakes them (vLLM 0.9.2 to 0.23). How many they were.
fn restart_frozen(sims: &mut [Sim], proxy: &Proxy) -> u64 {
    let mut restarts = 0;
    while let Some(frozen) = sims.iter_mut().find(|sim| sim.state() == State::Frozen) {
        restart(frozen);
        restarts += 1;
        wait_until_ready(proxy);
    }
    restarts
}

/// Asserts that the proxy has broken no rule at this node. A decode node that dies under a push is not its
/// doing.
#[track_caller]
fn assert_lawful(sim: &Sim) {
    let ledger = sim.ledger();
    let broken = ledger.violations.len() - ledger.count(Rule::DecodeUnreachable);
    assert_eq!(broken, 0, "{}", ledger.report());
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_byte_is_right_and_nothing_is_left_while_clients_leave_and_nodes_restart() {
    let time = Duration::from_secs(variable("PD_SOAK_SECONDS").unwrap_or(10));
    let seed = variable("PD_SOAK_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    // Nobody waits for a frozen node: if one froze, its ledger says so below.
    let deadline = ["--decode-first-byte-timeout-secs", "10"];
    let proxy = Proxy::start_command(command().args(deadline));
    let mut sims: Vec<Sim> = (0..PREFILLS + DECODES).map(|n| node(n, &proxy)).collect();
    wait_until_ready(&proxy);
    let (start_descriptors, start_bytes) = (descriptors(&proxy), resident_bytes(&proxy));

    let (began, tally) = (Instant::now(), &Tally::default());
    let (until, mut warm_bytes) = (began + time, start_bytes);
    let (mut turn, mut restarts) = (0, 0);
    std::thread::scope(|scope| {
        let proxy = &proxy;
        let client = |number| move || ask(proxy, seed ^ (number << 32), until, tally);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| scope.spawn(client(number)))
            .collect();
        while until.saturating_duration_since(Instant::now()) > UP + DOWN {
            sleep(UP);
            restart(&mut sims[turn % (PREFILLS + DECODES)]);
            wait_until_ready(proxy);
            restarts += 1 + restart_frozen(&mut sims, proxy);
            turn += 1;
            if began.elapsed() < time / 3 || turn == 1 {
                warm_bytes = resident_bytes(proxy);
            }
        }
        while !clients.iter().all(ScopedJoinHandle::is_finished) {
            restarts += restart_frozen(&mut sims, proxy);
            sleep(Duration::from_millis(50));
        }
    });

    let [whole, cut, refused, left] = tally.of();
    let count = |name| proxy.metric(name);
    eventually("nothing is in flight", || {
        let metrics = proxy.get("/metrics").text();
        let mut lines = metrics.lines();
        lines.all(|line| !line.starts_with("pd_proxy_in_flight{") || line.ends_with(" 0"))
    });
    let stranded = count("kv_stranded_total");
    let leaks = |sims: &[Sim]| {
        let leaks = sims.iter().map(|sim| sim.ledger().leaks().len() as u64);
        leaks.sum::<u64>()
    };
    // A node that was killed in the middle takes its answer with it; nobody knows then what D holds.
    eventually("no KV is left but what is counted as such", || {
        leaks(&sims) <= stranded
    });
    eventually("descriptors are back", || {
        descriptors(&proxy) <= start_descriptors
    });
    let (end_descriptors, end_bytes) = (descriptors(&proxy), resident_bytes(&proxy));
    eprintln!(
        "soak of {time:?} with seed {seed}: {whole} whole, {cut} cut, {refused} refused, {left} left by \
         their clients; {restarts} restarts; {} retries, {} drains, {stranded} stranded, {} leaked; \
         {start_descriptors} descriptors before and {end_descriptors} after; {start_bytes} bytes resident at the start, \
         {warm_bytes} after a third, {end_bytes} at the end",
        count("retries_total"),
        count("kv_drains_total"),
        leaks(&sims),
    );
    for sim in &sims {
        assert_lawful(sim);
        let ledger = sim.ledger();
        assert_eq!(ledger.total().open(), 0, "{}", ledger.report());
    }
    let panics = r#"request_errors_total{stage="request",side="proxy",cause="panic"}"#;
    assert_eq!(count(panics), 0);
    assert!(whole > CLIENTS && left > CLIENTS && restarts > 0);
    // A restart ends what runs at its node, and nothing else.
    let lost = (cut + refused) / restarts;
    assert!(
        lost <= CLIENTS,
        "{cut} were cut, {refused} refused in {restarts} restarts"
    );
    let grown = end_bytes.saturating_sub(warm_bytes);
    assert!(grown < GROWTH_BYTES_MAX, "{grown} bytes were added");
}
