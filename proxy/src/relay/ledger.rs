//! What has happened to one request at the nodes, and what may therefore be done next.
//!
//! A P2pNccl decode node stops for good when it is sent an id whose KV never came, and keeps KV for
//! good that is never asked for (vLLM 0.9.2 to 0.23). So whether a leg may be sent, sent again, drained
//! or cancelled is decided here and nowhere else, from the phase alone. Pure; a model test walks every
//! order of events.

/// How far one request id has come. A second try has an id, and a ledger, of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// A pair has been chosen.
    Dispatched,
    /// The prefill request may have reached P.
    PrefillSent,
    /// P has answered with success: D holds, or is being sent, the KV.
    KvStaged,
    /// The decode request may have reached D.
    DecodeSent,
    /// D has answered with success: it has taken the KV, and forgets it when the id ends.
    Streaming,
    /// The KV was consumed, or there was none.
    Settled,
    /// D was, or is being, made to forget the KV by a decode of one token.
    Draining,
    /// Nobody knows whether D holds KV of this id, and nothing safe can be done about it.
    Stranded,
}

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The first byte of the prefill request is about to be sent.
    SendPrefill,
    /// P answered with success, to the last byte.
    PrefillSucceeded,
    /// P refused the request before it began to work on it: no KV was made.
    PrefillRefused,
    /// P failed, or its answer was cut, after it may have begun.
    PrefillUnknown,
    /// The first byte of the decode request is about to be sent.
    SendDecode,
    /// D answered 2xx.
    DecodeAccepted,
    /// D answered 4xx: it has not looked at the KV.
    DecodeRefused,
    /// D failed, or its answer was cut before its head: it may or may not have looked at the KV.
    DecodeUnknown,
    /// D could not be connected to.
    DecodeUnreachable,
    /// The client has left.
    ClientLeft,
    /// The last byte of D's answer, or its end for any other reason.
    StreamEnded,
}

/// What is to be done about the nodes after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Nothing; the request goes on or is over.
    None,
    /// Close the connection to D at once, which ends the id there.
    CloseDecode,
    /// Send D one decode of one token under the same id.
    Drain,
    /// Count the KV as stranded: a decode of an id whose KV may not be there would stop D.
    CountStranded,
}

/// The ledger of one request id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ledger {
    phase: Phase,
    client_left: bool,
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new()
    }
}

impl Ledger {
    /// The ledger of a new id.
    pub const fn new() -> Self {
        Self {
            phase: Phase::Dispatched,
            client_left: false,
        }
    }

    /// How far the request has come.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether a decode may be sent now: only with KV staged, for a client that is still there, once.
    pub const fn may_decode(&self) -> bool {
        matches!(self.phase, Phase::KvStaged) && !self.client_left
    }

    /// Whether the request may be tried again with another pair and a new id: nothing of this id is
    /// under way any more, D has not begun to answer, and the client is still there.
    pub const fn may_retry(&self) -> bool {
        matches!(self.phase, Phase::Settled | Phase::Stranded) && !self.client_left
    }

    /// Notes `event` and says what follows from it.
    pub fn note(&mut self, event: Event) -> Action {
        use Event as E;
        use Phase as P;
        let (phase, action) = match (self.phase, event) {
            (P::Dispatched, E::SendPrefill) => (P::PrefillSent, Action::None),
            (P::Dispatched | P::PrefillSent, E::PrefillRefused) => (P::Settled, Action::None),
            (P::PrefillSent, E::PrefillUnknown) => (P::Stranded, Action::CountStranded),
            // A client that left while P worked is not waited for any longer, but P is: its KV is on
            // the way to D and would stay there.
            (P::PrefillSent, E::PrefillSucceeded) if self.client_left => {
                (P::Draining, Action::Drain)
            }
            (P::PrefillSent, E::PrefillSucceeded) => (P::KvStaged, Action::None),
            (P::KvStaged, E::ClientLeft) => (P::Draining, Action::Drain),
            (P::KvStaged, E::SendDecode) => (P::DecodeSent, Action::None),
            (P::KvStaged, E::DecodeUnreachable) => (P::Stranded, Action::CountStranded),
            (P::DecodeSent, E::DecodeAccepted) => (P::Streaming, Action::None),
            (P::DecodeSent, E::DecodeRefused) => (P::Draining, Action::Drain),
            // A second decode of an id that D has worked on would stop it.
            (P::DecodeSent, E::DecodeUnknown) => (P::Stranded, Action::CountStranded),
            (P::DecodeSent | P::Streaming, E::ClientLeft) => (P::Settled, Action::CloseDecode),
            (P::Streaming, E::StreamEnded) => (P::Settled, Action::None),
            (phase, E::ClientLeft) => (phase, Action::None),
            (phase, event) => {
                debug_assert!(false, "{event:?} cannot happen in {phase:?}");
                (phase, Action::None)
            }
        };
        self.phase = phase;
        self.client_left |= event == Event::ClientLeft;
        action
    }
}

/// The property that tests and fuzzing share: whatever happens, in whatever order, D is never sent a
/// decode without KV, never two of one id, and the KV that P's success put there is consumed, drained or
/// counted exactly once. Each byte of `data` picks one of the events that can happen next.
///
/// # Panics
///
/// The property does not hold.
pub fn check_ledger(data: &[u8]) {
    let mut ledger = Ledger::new();
    let (mut decodes, mut drains, mut stranded, mut is_staged) = (0, 0, 0, false);
    for byte in data {
        let possible = possible(&ledger);
        let Some(event) = possible.get(usize::from(*byte) % possible.len().max(1)) else {
            break;
        };
        let before = ledger;
        let action = ledger.note(*event);
        match event {
            Event::PrefillSucceeded => is_staged = true,
            Event::SendDecode => {
                assert!(is_staged, "a decode without KV: {before:?}");
                assert!(
                    before.may_decode(),
                    "a decode that the ledger had not allowed: {before:?}"
                );
                decodes += 1;
            }
            _ => {}
        }
        match action {
            Action::Drain => {
                assert!(is_staged, "a drain without KV: {before:?}");
                drains += 1;
            }
            Action::CountStranded => stranded += 1,
            Action::CloseDecode => assert_eq!(decodes, 1, "nothing to close: {before:?}"),
            Action::None => {}
        }
        assert!(decodes <= 1, "two decodes of one id: {before:?}");
        assert!(drains + stranded <= 1, "KV accounted for twice: {before:?}");
        let is_accounted = drains + stranded == 1;
        match ledger.phase {
            Phase::Draining | Phase::Stranded => assert!(is_accounted, "{ledger:?}"),
            Phase::Settled => assert!(!is_staged || decodes == 1, "KV forgotten: {ledger:?}"),
            _ => assert!(!is_accounted, "{ledger:?}"),
        }
        assert!(
            !(ledger.may_retry() && ledger.client_left),
            "a retry for nobody: {ledger:?}"
        );
    }
}

/// What can happen next, as the code around the ledger lets it.
fn possible(ledger: &Ledger) -> Vec<Event> {
    use Event as E;
    let mut events = match ledger.phase {
        Phase::Dispatched => vec![E::SendPrefill, E::PrefillRefused],
        Phase::PrefillSent => vec![E::PrefillSucceeded, E::PrefillRefused, E::PrefillUnknown],
        Phase::KvStaged => vec![E::SendDecode, E::DecodeUnreachable],
        Phase::DecodeSent => vec![E::DecodeAccepted, E::DecodeRefused, E::DecodeUnknown],
        Phase::Streaming => vec![E::StreamEnded],
        Phase::Settled | Phase::Draining | Phase::Stranded => vec![],
    };
    if !ledger.client_left {
        events.push(E::ClientLeft);
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_of_events_keeps_the_property() {
        // No request has more than six events; each has at most four successors.
        for length in 0..=7_u32 {
            for number in 0..4_u32.pow(length) {
                let data: Vec<u8> = (0..length)
                    .map(|digit| u8::try_from(number / 4_u32.pow(digit) % 4).unwrap())
                    .collect();
                check_ledger(&data);
            }
        }
    }

    fn after(events: &[Event]) -> (Ledger, Action) {
        let mut ledger = Ledger::new();
        let mut action = Action::None;
        for event in events {
            action = ledger.note(*event);
        }
        (ledger, action)
    }

    #[test]
    fn client_leaving_during_prefill_drains_after_its_success() {
        let (_, action) = after(&[
            Event::SendPrefill,
            Event::ClientLeft,
            Event::PrefillSucceeded,
        ]);
        assert_eq!(action, Action::Drain);
    }

    #[test]
    fn client_leaving_during_a_prefill_that_fails_drains_nothing() {
        let (ledger, action) =
            after(&[Event::SendPrefill, Event::ClientLeft, Event::PrefillUnknown]);
        assert_eq!(action, Action::CountStranded);
        assert!(!ledger.may_retry());
    }

    #[test]
    fn client_leaving_during_decode_closes_the_connection_to_decode() {
        let staged = [
            Event::SendPrefill,
            Event::PrefillSucceeded,
            Event::SendDecode,
        ];
        let (_, action) = after(&[&staged[..], &[Event::ClientLeft]].concat());
        assert_eq!(action, Action::CloseDecode);
        let (_, action) =
            after(&[&staged[..], &[Event::DecodeAccepted, Event::ClientLeft]].concat());
        assert_eq!(action, Action::CloseDecode);
    }

    #[test]
    fn client_leaving_between_the_legs_drains() {
        let (_, action) = after(&[
            Event::SendPrefill,
            Event::PrefillSucceeded,
            Event::ClientLeft,
        ]);
        assert_eq!(action, Action::Drain);
    }

    #[test]
    fn refusal_of_decode_drains_and_a_failure_does_not() {
        let staged = [
            Event::SendPrefill,
            Event::PrefillSucceeded,
            Event::SendDecode,
        ];
        let (_, refused) = after(&[&staged[..], &[Event::DecodeRefused]].concat());
        let (failed, unknown) = after(&[&staged[..], &[Event::DecodeUnknown]].concat());
        assert_eq!((refused, unknown), (Action::Drain, Action::CountStranded));
        assert!(failed.may_retry());
    }
}
