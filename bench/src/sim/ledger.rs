//! The account a node keeps of what was done to it, for checkers to read.

use super::options::Role;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Life of the node as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Serving.
    Running,
    /// The engine hangs; HTTP still answers `/health`.
    Frozen,
    /// The engine died, and the process with it.
    Dead,
    /// Stopped or killed from outside.
    Stopped,
}

/// A rule of the KV connector that a caller broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// A prefill went on to a second token: P dies.
    SecondTokenOnPrefill,
    /// A generation request's id names no address: the node dies.
    IdWithoutMarkers,
    /// A decode came for an id whose KV is not here: D freezes until it arrives.
    DecodeWithoutKv,
    /// P and D were given different prompts under one id: D answers nonsense, or dies when P's KV has
    /// more blocks than its own prompt.
    PromptMismatch,
    /// A request came for an id that is running already: the node dies.
    DuplicateId,
    /// P was told to push to a D that cannot be reached: P freezes.
    DecodeUnreachable,
    /// KV for an id that already holds some was pushed again.
    PushedTwice,
    /// D was asked for prompt logprobs, which it cannot compute: D dies.
    PromptLogprobsOnDecode,
    /// More KV was pushed than D can hold: its listener dies.
    KvBufferFull,
}

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which rule.
    pub rule: Rule,
    /// The engine id it was broken with.
    pub engine_id: String,
    /// In words, with the facts.
    pub text: String,
}

/// What happened to one engine id, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The API server handed it to the engine.
    Queued,
    /// It entered a batch.
    Scheduled,
    /// P handed its KV over and had it acknowledged.
    Pushed,
    /// D received its KV.
    Received,
    /// D loaded the KV into a batch.
    Loaded,
    /// D dropped the KV.
    Dropped,
    /// All its tokens were generated.
    Finished,
    /// It was aborted because its client left.
    Aborted,
}

/// Requests of one endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Requests {
    /// Arrived with a complete body.
    pub started: u64,
    /// Answered to the last byte.
    pub finished: u64,
    /// Refused with an error status.
    pub refused: u64,
    /// Given up because the client left or a fault cut the connection.
    pub aborted: u64,
}

impl Requests {
    /// Requests without an outcome yet.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.started
            .saturating_sub(self.finished + self.refused + self.aborted)
    }
}

/// KV that D holds for one id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct HeldKv {
    /// Prompt tokens.
    pub tokens: u64,
    /// Bytes, by the time model.
    pub bytes: u64,
}

/// The whole account. Cheap to copy only when small; take it at the end of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Ledger {
    /// The node's role.
    pub role: Role,
    /// Its state now.
    pub state: State,
    /// What killed the engine.
    pub death: Option<String>,
    /// Requests by path.
    pub requests: BTreeMap<&'static str, Requests>,
    /// Pushes that P completed.
    pub kv_pushed: u64,
    /// Bytes that P pushed.
    pub kv_pushed_bytes: u64,
    /// Pushes that D received.
    pub kv_received: u64,
    /// Pushes that D loaded into a batch.
    pub kv_loaded: u64,
    /// Pushes that D dropped, loaded or not.
    pub kv_dropped: u64,
    /// KV on D now, by engine id.
    pub kv_held: BTreeMap<String, HeldKv>,
    /// Ids of `kv_held` that a request on this node still uses.
    #[serde(skip)]
    live: HashMap<String, u32>,
    /// Broken rules in order.
    pub violations: Vec<Violation>,
    /// History of the newest engine ids.
    pub events: HashMap<String, Vec<Event>>,
    #[serde(skip)]
    order: VecDeque<String>,
    #[serde(skip)]
    keep: usize,
    /// Connections accepted.
    pub connections: u64,
    /// Tokens generated.
    pub tokens: u64,
    /// Faults that took effect, by name.
    pub faults: BTreeMap<&'static str, u64>,
}

impl Ledger {
    pub(crate) fn new(role: Role, keep: usize) -> Self {
        Self {
            role,
            state: State::Running,
            death: None,
            requests: BTreeMap::new(),
            kv_pushed: 0,
            kv_pushed_bytes: 0,
            kv_received: 0,
            kv_loaded: 0,
            kv_dropped: 0,
            kv_held: BTreeMap::new(),
            live: HashMap::new(),
            violations: Vec::new(),
            events: HashMap::new(),
            order: VecDeque::new(),
            keep,
            connections: 0,
            tokens: 0,
            faults: BTreeMap::new(),
        }
    }

    /// Sums over all paths.
    #[must_use]
    pub fn total(&self) -> Requests {
        self.requests
            .values()
            .fold(Requests::default(), |a, b| Requests {
                started: a.started + b.started,
                finished: a.finished + b.finished,
                refused: a.refused + b.refused,
                aborted: a.aborted + b.aborted,
            })
    }

    /// Engine ids whose KV is held although no request here uses it. While requests are on their way
    /// between the legs this is normal; at rest it is a leak, for nothing will ever free it.
    #[must_use]
    pub fn leaks(&self) -> Vec<&str> {
        self.kv_held
            .keys()
            .map(String::as_str)
            .filter(|id| !self.live.contains_key(*id))
            .collect()
    }

    /// Whether no rule was broken and no KV is left behind.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty() && self.leaks().is_empty()
    }

    /// How often `rule` was broken.
    #[must_use]
    pub fn count(&self, rule: Rule) -> usize {
        self.violations.iter().filter(|v| v.rule == rule).count()
    }

    /// What happened to one engine id.
    #[must_use]
    pub fn history(&self, engine_id: &str) -> &[Event] {
        self.events.get(engine_id).map_or(&[], Vec::as_slice)
    }

    /// A few lines for a human: broken rules and leaks.
    #[must_use]
    pub fn report(&self) -> String {
        use std::fmt::Write as _;
        let total = self.total();
        // Writing to a String cannot fail.
        let mut text = format!(
            "{:?} node, {:?}: {} requests, {} finished, {} refused, {} aborted, {} tokens\n",
            self.role,
            self.state,
            total.started,
            total.finished,
            total.refused,
            total.aborted,
            self.tokens
        );
        if let Some(death) = &self.death {
            writeln!(text, "death: {death}").ok();
        }
        for violation in &self.violations {
            writeln!(text, "violation: {}", violation.text).ok();
        }
        for id in self.leaks() {
            writeln!(text, "leak: KV of {id} was never used nor freed").ok();
        }
        text
    }

    pub(crate) fn requests_of(&mut self, path: &'static str) -> &mut Requests {
        self.requests.entry(path).or_default()
    }

    pub(crate) fn event(&mut self, engine_id: &str, event: Event) {
        if let Some(events) = self.events.get_mut(engine_id) {
            events.push(event);
        } else if self.keep > 0 {
            if self.order.len() >= self.keep
                && let Some(oldest) = self.order.pop_front()
            {
                self.events.remove(&oldest);
            }
            self.order.push_back(engine_id.to_owned());
            self.events.insert(engine_id.to_owned(), vec![event]);
        }
    }

    pub(crate) fn violate(&mut self, rule: Rule, engine_id: &str, text: String) {
        self.violations.push(Violation {
            rule,
            engine_id: engine_id.to_owned(),
            text,
        });
    }

    /// Whether a request with this id is under way.
    pub(crate) fn is_live(&self, engine_id: &str) -> bool {
        self.live.contains_key(engine_id)
    }

    /// A request with this id began (`true`) or ended (`false`) here.
    pub(crate) fn live(&mut self, engine_id: &str, alive: bool) {
        if alive {
            *self.live.entry(engine_id.to_owned()).or_insert(0) += 1;
        } else if let Some(count) = self.live.get_mut(engine_id) {
            *count -= 1;
            if *count == 0 {
                self.live.remove(engine_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KV: HeldKv = HeldKv {
        tokens: 1,
        bytes: 2,
    };

    #[test]
    fn kv_without_a_request_is_a_leak() {
        let mut ledger = Ledger::new(Role::Decode, 10);
        ledger.kv_held.insert("a".to_owned(), KV);
        ledger.kv_held.insert("b".to_owned(), KV);
        ledger.live("a", true);

        assert_eq!(ledger.leaks(), ["b"]);
        ledger.live("a", false);
        assert_eq!(ledger.leaks(), ["a", "b"]);
        assert!(!ledger.is_clean());
        assert!(ledger.report().contains("leak: KV of b"));
    }

    #[test]
    fn only_the_newest_ids_keep_their_history() {
        let mut ledger = Ledger::new(Role::Both, 2);
        for id in ["a", "b", "c"] {
            ledger.event(id, Event::Queued);
            ledger.event(id, Event::Finished);
        }

        assert_eq!(ledger.history("a"), []);
        assert_eq!(ledger.history("c"), [Event::Queued, Event::Finished]);
    }

    #[test]
    fn ledger_is_json() {
        let mut ledger = Ledger::new(Role::Prefill, 10);
        ledger.violate(Rule::SecondTokenOnPrefill, "x", "two".to_owned());
        ledger.requests_of("/v1/completions").started += 1;

        let value = serde_json::to_value(&ledger).unwrap();

        assert_eq!(value["role"], "prefill");
        assert_eq!(value["violations"][0]["rule"], "second_token_on_prefill");
        assert_eq!(value["requests"]["/v1/completions"]["started"], 1);
    }
}
