//! What the simulated node punishes and forgives, held against real vLLM nodes.
//!
//! Proxy and simulator are written by the same hands and could share one misunderstanding. Here a
//! table of scenarios speaks raw HTTP to one prefill and one decode node, without a proxy, and says
//! what must be seen. The same table runs against the simulator, always, and against real nodes,
//! when somebody has some: vLLM 0.23 with `P2pNcclConnector`, `PUT_ASYNC`,
//! `VLLM_DISABLE_REQUEST_ID_RANDOMIZATION=1`, any small model with a context of at least 2048
//! tokens, `--max-num-batched-tokens` no smaller than 2048.
//!
//! ```sh
//! export PD_REAL_PREFILL=http://127.0.0.1:20001 PD_REAL_PREFILL_KV=127.0.0.1:21001
//! export PD_REAL_DECODE=http://127.0.0.1:20002 PD_REAL_DECODE_KV=127.0.0.1:22001
//! cargo test -p pd-bench --test parity -- --ignored
//! ```
//!
//! This runs everything that leaves the nodes in working order. `PD_SCENARIO=name` runs one scenario
//! alone; those of `punished.rs` run in no other way, since each kills or freezes a node, which must
//! be started again before the next. `PD_REAL_STORE=file` names a file that holds the number of
//! tensors in the decode node's receive store, for somebody who has made the node write one; without
//! it the facts that begin with `KV:` are left out.
//!
//! The real nodes behind the expectations were 0.23.0 on CPUs with vLLM's own connector and engine,
//! the bytes of NCCL moved over a local socket.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

mod forgiven;
mod pair;
mod punished;
mod refused;
mod wire;

use pair::Pair;
use std::fmt::Write as _;

/// What was seen, one line for each fact.
type Facts = Vec<String>;

/// What a scenario does to the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    /// Both nodes work afterwards, and that is checked.
    None,
    /// The prefill node is dead or frozen.
    Prefill,
    /// The decode node is dead or frozen.
    Decode,
    /// Neither node works.
    Both,
}

/// One row of the table.
struct Scenario {
    name: &'static str,
    damage: Damage,
    run: fn(&Pair) -> Facts,
    expected: &'static [&'static str],
}

impl Scenario {
    /// Runs it; the differences from what was expected, in words.
    fn check(&self, pair: &Pair) -> Option<String> {
        let mut seen = (self.run)(pair);
        let spared = match self.damage {
            Damage::None => {
                seen.push(pair.afterwards());
                Some("afterwards: works".to_owned())
            }
            // The other node must not be dragged along.
            Damage::Prefill => {
                seen.push(format!("decode's health: {}", pair.health(&pair.decode)));
                Some("decode's health: 200".to_owned())
            }
            Damage::Decode => {
                seen.push(format!("prefill's health: {}", pair.health(&pair.prefill)));
                Some("prefill's health: 200".to_owned())
            }
            Damage::Both => None,
        };
        let knows_kv = seen.iter().any(|fact| fact.starts_with("KV:"));
        let expected: Vec<String> = self
            .expected
            .iter()
            .filter(|fact| knows_kv || !fact.starts_with("KV:"))
            .map(|fact| (*fact).to_owned())
            .chain(spared)
            .collect();
        if seen == expected {
            return None;
        }
        let mut text = format!("{}:\n", self.name);
        for at in 0..seen.len().max(expected.len()) {
            let (seen, expected) = (seen.get(at), expected.get(at));
            if seen != expected {
                writeln!(text, "  expected {expected:?}\n      seen {seen:?}").unwrap();
            }
        }
        Some(text)
    }
}

fn scenarios() -> impl Iterator<Item = &'static Scenario> {
    forgiven::SCENARIOS
        .iter()
        .chain(refused::SCENARIOS)
        .chain(punished::SCENARIOS)
}

#[test]
fn simulated_nodes_do_what_real_ones_do() {
    let differences: Vec<String> = std::thread::scope(|scope| {
        let runs: Vec<_> = scenarios()
            .map(|scenario| scope.spawn(|| scenario.check(&Pair::simulated())))
            .collect();
        runs.into_iter()
            .filter_map(|run| run.join().unwrap())
            .collect()
    });

    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}

#[test]
#[ignore = "needs real vLLM nodes; see the comment at the top"]
fn real_nodes_do_what_is_expected() {
    let only = std::env::var("PD_SCENARIO").ok();
    let chosen: Vec<_> = scenarios()
        .filter(|scenario| match &only {
            Some(name) => name == scenario.name,
            None => scenario.damage == Damage::None,
        })
        .collect();
    assert!(!chosen.is_empty(), "no scenario is called {only:?}");
    let pair = Pair::real();
    let differences: Vec<String> = chosen
        .iter()
        .filter_map(|scenario| scenario.check(&pair))
        .collect();

    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}
