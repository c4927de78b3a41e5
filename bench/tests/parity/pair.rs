//! A prefill node and a decode node, simulated or real, and what can be asked of them.

use crate::wire::{Call, End, Reply};
use pd_bench::sim::{Options, Role, Sim};
use serde_json::{Value, json};
use std::cell::Cell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub(crate) const COMPLETIONS: &str = "/v1/completions";
pub(crate) const CHAT: &str = "/v1/chat/completions";

/// One node.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Where it serves HTTP.
    pub(crate) http: SocketAddr,
    /// Its KV address, by which request ids name it.
    pub(crate) kv: String,
}

/// Where the number of the decode node's tensors can be read, if it can.
#[derive(Debug)]
enum Store {
    /// The simulated node's account.
    Ledger,
    /// A file that an instrumented real node keeps up to date.
    File(PathBuf),
    Unknown,
}

/// Both nodes.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) prefill: Node,
    pub(crate) decode: Node,
    /// How long to wait for an answer before calling it silence.
    pub(crate) patience: Duration,
    /// The served model and its longest context.
    pub(crate) model: String,
    pub(crate) longest: u64,
    store: Store,
    number: Cell<u128>,
    _sims: Vec<Sim>,
}

impl Pair {
    /// A fresh simulated pair, at life speed so that something can happen in the middle.
    pub(crate) fn simulated() -> Self {
        let start = |role| {
            let options = Options {
                model: "tiny".to_owned(),
                max_model_len: 2048,
                speed: 1.0,
                ..Options::of(role)
            };
            Sim::start(options).unwrap()
        };
        let (prefill, decode) = (start(Role::Prefill), start(Role::Decode));
        let node = |sim: &Sim| Node {
            http: sim.http_addr(),
            kv: sim.zmq_address(),
        };
        let (p, d) = (node(&prefill), node(&decode));
        let patience = Duration::from_millis(2500);
        Self::new(p, d, patience, Store::Ledger, vec![prefill, decode])
    }

    /// The real pair that the environment names.
    pub(crate) fn real() -> Self {
        let variable = |name: &str| {
            std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set; see main.rs"))
        };
        let node = |name: &str| Node {
            http: variable(name)
                .trim_start_matches("http://")
                .trim_end_matches('/')
                .parse()
                .unwrap(),
            kv: variable(&format!("{name}_KV")),
        };
        let store = std::env::var_os("PD_REAL_STORE")
            .map_or(Store::Unknown, |path| Store::File(path.into()));
        let (prefill, decode) = (node("PD_REAL_PREFILL"), node("PD_REAL_DECODE"));
        Self::new(prefill, decode, Duration::from_secs(8), store, Vec::new())
    }

    fn new(prefill: Node, decode: Node, patience: Duration, store: Store, sims: Vec<Sim>) -> Self {
        let models = get(&decode, "/v1/models", patience);
        let models: Value = serde_json::from_str(&models.body).expect("the decode node answers");
        // Ids must not repeat from one run to the next: real nodes remember them.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Self {
            prefill,
            decode,
            patience,
            model: models["data"][0]["id"].as_str().unwrap().to_owned(),
            longest: models["data"][0]["max_model_len"].as_u64().unwrap(),
            store,
            number: Cell::new(since.as_nanos()),
            _sims: sims,
        }
    }

    /// A new request id that names both nodes.
    pub(crate) fn id(&self) -> String {
        self.id_to(&self.decode.kv)
    }

    /// A new request id that names the prefill node and some decode address.
    pub(crate) fn id_to(&self, decode: &str) -> String {
        let number = self.number.get() + 1;
        self.number.set(number);
        let prefill = &self.prefill.kv;
        format!("___prefill_addr_{prefill}___decode_addr_{decode}_{number:032x}")
    }

    /// A completion body of `tokens` tokens, with `more` fields on top.
    pub(crate) fn body(&self, tokens: u64, more: Value) -> Value {
        let mut body = json!({"model": self.model, "prompt": "the first token of a small story",
                              "max_tokens": tokens, "ignore_eos": true});
        merge(&mut body, more);
        body
    }

    /// Sends one leg without waiting for its answer.
    pub(crate) fn send(&self, to: &Node, path: &str, id: &str, body: &Value) -> Call {
        let headers = format!(
            "X-Request-Id: {id}\r\nContent-Type: application/json\r\nConnection: close\r\n"
        );
        Call::send(to.http, ("POST", path), &headers, &body.to_string())
    }

    /// One leg and its answer.
    pub(crate) fn ask(&self, to: &Node, path: &str, id: &str, body: &Value) -> Reply {
        self.send(to, path, id, body).reply(self.patience)
    }

    /// The prefill leg of `body`: the same but for one token and no stream.
    pub(crate) fn prefill(&self, path: &str, id: &str, body: &Value) -> Reply {
        let mut body = body.clone();
        merge(&mut body, json!({"max_tokens": 1, "stream": false}));
        if let Some(fields) = body.as_object_mut() {
            fields.remove("stream_options");
        }
        self.ask(&self.prefill, path, id, &body)
    }

    /// Both legs of one request, in order: what each said.
    pub(crate) fn relay(&self, path: &str, body: &Value) -> Vec<String> {
        let id = self.id();
        let prefill = self.prefill(path, &id, body);
        let decode = self.ask(&self.decode, path, &id, body);
        vec![
            format!("prefill: {}", prefill.told()),
            format!("decode: {}", decode.told()),
        ]
    }

    /// Whether an ordinary request goes through both nodes.
    pub(crate) fn afterwards(&self) -> String {
        let body = self.body(3, json!({}));
        let id = self.id();
        let legs = [
            ("prefill", self.prefill(COMPLETIONS, &id, &body)),
            ("decode", self.ask(&self.decode, COMPLETIONS, &id, &body)),
        ];
        match legs.iter().find(|(_, reply)| reply.status != Some(200)) {
            None => "afterwards: works".to_owned(),
            Some((leg, reply)) => format!("afterwards: {leg} {}", reply.told()),
        }
    }

    /// What `/health` says.
    pub(crate) fn health(&self, node: &Node) -> String {
        let reply = get(node, "/health", self.patience);
        reply
            .status
            .map_or_else(|| reply.told(), |status| status.to_string())
    }

    /// Waits for the node's process to end: `dies`, or what `/health` said last.
    pub(crate) fn fate(&self, node: &Node) -> String {
        let deadline = Instant::now() + self.patience * 4;
        loop {
            let reply = get(node, "/health", self.patience);
            if reply.status.is_none() && reply.end == End::Gone {
                return "dies".to_owned();
            }
            if Instant::now() > deadline {
                return format!("lives, health {}", reply.told());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The requests that the node's metrics say are running, once they are down to `wanted` or
    /// patience ran out.
    pub(crate) fn running(&self, node: &Node, wanted: &str) -> String {
        let deadline = Instant::now() + self.patience;
        loop {
            let page = get(node, "/metrics", self.patience).body;
            let line = page
                .lines()
                .find(|line| line.starts_with("vllm:num_requests_running{"));
            let value = line
                .and_then(|line| line.rsplit(' ').next())
                .and_then(|value| value.parse::<f64>().ok());
            let value = value.map_or_else(|| "unknown".to_owned(), |value| value.to_string());
            if value == wanted || Instant::now() > deadline {
                return value;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the decode node holds KV, or none, and says which; nothing where that cannot be
    /// known.
    pub(crate) fn held(&self, wanted: bool) -> Option<String> {
        let deadline = Instant::now() + self.patience;
        loop {
            let count = match &self.store {
                Store::Unknown => return None,
                Store::File(path) => {
                    // The node writes it in turns of its own, half a second apart.
                    std::thread::sleep(Duration::from_millis(1200));
                    let text = std::fs::read_to_string(path).unwrap();
                    text.trim().parse().unwrap_or(0)
                }
                Store::Ledger => {
                    let page = get(&self.decode, "/sim/ledger", self.patience).body;
                    let ledger: Value = serde_json::from_str(&page).unwrap();
                    ledger["kv_held"].as_object().unwrap().len()
                }
            };
            if (count > 0) == wanted || Instant::now() > deadline {
                let state = if count > 0 { "kept" } else { "free" };
                return Some(format!("KV: {state}"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn get(node: &Node, path: &str, patience: Duration) -> Reply {
    Call::send(node.http, ("GET", path), "Connection: close\r\n", "").reply(patience)
}

/// Writes the fields of `more` over those of `body`; `"absent"` in angle brackets removes one.
fn merge(body: &mut Value, more: Value) {
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        for (name, value) in more {
            if value == "<absent>" {
                body.remove(&name);
            } else {
                body.insert(name, value);
            }
        }
    }
}
