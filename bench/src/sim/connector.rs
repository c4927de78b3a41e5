//! The KV connector inside the engine's step: what it demands of ids, and its waits without timeouts.

use super::engine::{Batch, Death, Engine};
use super::engine_id::{decode_address, prefill_address};
use super::kv::{Kv, PushError};
use super::ledger::{Event, Rule, State};
use super::options::Role;
use super::sequence::Sequence;
use std::rc::Rc;
use std::time::Duration;

/// Pause between two attempts to reach a decode node for the first time, as libzmq's.
const RECONNECT: Duration = Duration::from_millis(100);
/// Tokens of one block of KV.
const BLOCK: u64 = 16;

impl Engine {
    /// Without the other node's address in its id, a request kills the node.
    pub(super) fn check_markers(&self, sequence: &Sequence) -> Result<(), Death> {
        let id = &sequence.engine_id;
        let marked = match self.shared.options.role {
            Role::Both => true,
            Role::Prefill => decode_address(id).is_some(),
            Role::Decode => prefill_address(id).is_some(),
        };
        if marked {
            return Ok(());
        }
        Err(self.violate(
            Rule::IdWithoutMarkers,
            sequence,
            "the id does not contain host and port of a peer",
        ))
    }

    /// A producer has no answer to a request that is scheduled a second time.
    pub(super) fn check_prefill(&self, batch: &Batch, fresh: usize) -> Result<(), Death> {
        if self.shared.options.role != Role::Prefill {
            return Ok(());
        }
        match batch.running.iter().take(fresh).next() {
            Some(running) => Err(self.violate(
                Rule::SecondTokenOnPrefill,
                &running.sequence,
                "a prefill went on to a second token",
            )),
            None => Ok(()),
        }
    }

    fn violate(&self, rule: Rule, sequence: &Sequence, what: &str) -> Death {
        let text = format!("{}: {what}", sequence.engine_id);
        self.shared
            .record(|ledger| ledger.violate(rule, &sequence.engine_id, text.clone()));
        Death(text)
    }

    /// Waits for a sequence's KV, for ever if it must; the hash of the prompt behind it. KV of another
    /// prompt is taken without a word, unless it has more blocks than there is room for.
    pub(super) async fn await_kv(&self, sequence: &Sequence) -> Result<u64, Death> {
        let id = &sequence.engine_id;
        let mut frozen = false;
        let (hash, tokens) = loop {
            if let Some(found) = self.kv.get(id) {
                break found;
            }
            if !frozen {
                frozen = true;
                self.violate(
                    Rule::DecodeWithoutKv,
                    sequence,
                    "decode was asked for, but its KV is not here",
                );
                self.shared.set_state(State::Frozen);
            }
            self.kv.arrived.notified().await;
        };
        let differs = hash != sequence.prompt.hash;
        self.shared.record(|ledger| {
            if frozen {
                ledger.state = State::Running;
            }
            if differs {
                let own = sequence.prompt.len();
                let text =
                    format!("{id}: prefill saw another prompt ({tokens} tokens, here {own})");
                ledger.violate(Rule::PromptMismatch, id, text);
            }
            ledger.kv_loaded += 1;
            ledger.event(id, Event::Loaded);
        });
        let blocks = |tokens: u64| tokens.div_ceil(BLOCK);
        if blocks(tokens) > blocks(u64::from(sequence.prompt.len())) {
            return Err(Death(format!(
                "{id}: KV of {tokens} tokens has no room in the request's blocks"
            )));
        }
        Ok(hash)
    }

    /// Hands a newcomer's KV to the decode node its id names. Returns only when that worked.
    pub(super) async fn push(&self, batch: &mut Batch, index: usize) {
        let Some(running) = batch.running.get(index) else {
            return;
        };
        let sequence = Rc::clone(&running.sequence);
        let Some(to) = decode_address(&sequence.engine_id) else {
            return;
        };
        let profile = &self.shared.options.profile;
        let tokens = u64::from(sequence.prompt.len());
        let kv = Kv {
            engine_id: sequence.engine_id.clone(),
            hash: sequence.prompt.hash,
            tokens,
            bytes: profile.kv_bytes(tokens),
        };
        batch.clock.pay(profile.transfer(kv.bytes)).await;
        let mut frozen = false;
        while let Err(error) = batch.links.push(&to, &kv).await {
            if !frozen {
                frozen = true;
                let what = format!("KV cannot be pushed to {to}: {error}");
                self.violate(Rule::DecodeUnreachable, &sequence, &what);
                self.shared.set_state(State::Frozen);
            }
            match error {
                PushError::Unreachable(_) => tokio::time::sleep(RECONNECT).await,
                PushError::Lost(_) => std::future::pending().await,
            }
        }
        self.shared.record(|ledger| {
            if frozen {
                ledger.state = State::Running;
            }
            ledger.kv_pushed += 1;
            ledger.kv_pushed_bytes += kv.bytes;
            ledger.event(&kv.engine_id, Event::Pushed);
        });
    }
}
