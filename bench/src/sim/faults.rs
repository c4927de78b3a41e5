//! Faults as values: what goes wrong, how likely, how often and where.

use serde::{Deserialize, Serialize};

/// What goes wrong with a request, a connection or the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Answer with this status and body instead of admitting the request.
    Refuse {
        /// HTTP status.
        status: u16,
        /// Body; an OpenAI error object when absent.
        #[serde(default)]
        body: Option<String>,
    },
    /// Run the request to its end, hand its KV over, then answer with this status.
    RefuseAfter {
        /// HTTP status.
        status: u16,
    },
    /// Reset the connection (RST) once the request was read.
    ResetBeforeHead,
    /// Close the connection (FIN) once the request was read, without a byte of answer.
    CloseBeforeHead,
    /// Reset the connection (RST) after this many events of a stream.
    ResetMidStream {
        /// Events that still go out.
        events: u32,
    },
    /// Close the connection (FIN, no last chunk) after this many events of a stream.
    CloseMidStream {
        /// Events that still go out.
        events: u32,
    },
    /// Send an error event inside a stream that began with 200, then `[DONE]`.
    StreamError {
        /// Events that go out before it.
        events: u32,
    },
    /// Say nothing for a while before working on the request.
    StallBeforeHead {
        /// Milliseconds; for ever when absent.
        #[serde(default)]
        ms: Option<u64>,
    },
    /// Write the answer one byte at a time.
    Trickle,
    /// The engine stops for good: no request is answered any more, `/health` stays 200.
    Freeze,
    /// The engine dies: open requests get 500, then the process is gone.
    Die,
    /// `/health` answers this status.
    Health {
        /// HTTP status.
        status: u16,
    },
    /// Close connections this long after an answer instead of after the usual keep-alive.
    CloseIdle {
        /// Milliseconds.
        ms: u64,
    },
}

impl Action {
    /// Its name in the ledger and in JSON.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Refuse { .. } => "refuse",
            Self::RefuseAfter { .. } => "refuse_after",
            Self::ResetBeforeHead => "reset_before_head",
            Self::CloseBeforeHead => "close_before_head",
            Self::ResetMidStream { .. } => "reset_mid_stream",
            Self::CloseMidStream { .. } => "close_mid_stream",
            Self::StreamError { .. } => "stream_error",
            Self::StallBeforeHead { .. } => "stall_before_head",
            Self::Trickle => "trickle",
            Self::Freeze => "freeze",
            Self::Die => "die",
            Self::Health { .. } => "health",
            Self::CloseIdle { .. } => "close_idle",
        }
    }

    /// Where it strikes when nothing else is said.
    fn place(&self) -> Place {
        match self {
            Self::Health { .. } => Place::Health,
            Self::CloseIdle { .. } => Place::Idle,
            Self::Refuse { .. }
            | Self::RefuseAfter { .. }
            | Self::ResetBeforeHead
            | Self::CloseBeforeHead
            | Self::ResetMidStream { .. }
            | Self::CloseMidStream { .. }
            | Self::StreamError { .. }
            | Self::StallBeforeHead { .. }
            | Self::Trickle
            | Self::Freeze
            | Self::Die => Place::Generate,
        }
    }
}

/// Where faults are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A generation request whose body was read.
    Generate,
    /// A health check.
    Health,
    /// A connection that has become idle.
    Idle,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// What goes wrong.
    #[serde(flatten)]
    pub action: Action,
    /// How likely it is each time, 0 to 1.
    #[serde(default = "always")]
    pub probability: f64,
    /// How often it may still strike; without end when absent.
    #[serde(default)]
    pub count: Option<u32>,
    /// Only requests to paths that end so.
    #[serde(default)]
    pub path: Option<String>,
}

fn always() -> f64 {
    1.0
}

impl Fault {
    /// Strikes every time.
    #[must_use]
    pub fn always(action: Action) -> Self {
        Self {
            action,
            probability: 1.0,
            count: None,
            path: None,
        }
    }

    /// Strikes the next time only.
    #[must_use]
    pub fn once(action: Action) -> Self {
        Self {
            count: Some(1),
            ..Self::always(action)
        }
    }

    /// Strikes with this probability each time.
    #[must_use]
    pub fn sometimes(action: Action, probability: f64) -> Self {
        Self {
            probability,
            ..Self::always(action)
        }
    }
}

/// The faults of one node and the randomness that decides among them.
#[derive(Debug)]
pub(crate) struct Faults {
    list: Vec<Fault>,
    random: fastrand::Rng,
}

impl Faults {
    pub(crate) fn new(list: Vec<Fault>, seed: u64) -> Self {
        Self {
            list,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    pub(crate) fn add(&mut self, fault: Fault) {
        self.list.push(fault);
    }

    pub(crate) fn clear(&mut self) {
        self.list.clear();
    }

    pub(crate) fn list(&self) -> &[Fault] {
        &self.list
    }

    /// The first fault that strikes at this place; one-shot faults are used up by it.
    pub(crate) fn draw(&mut self, place: Place, path: &str) -> Option<Action> {
        let random = &mut self.random;
        let at = self.list.iter().position(|fault| {
            fault.action.place() == place
                && fault.count != Some(0)
                && fault
                    .path
                    .as_ref()
                    .is_none_or(|end| path.ends_with(end.as_str()))
                && (fault.probability >= 1.0 || random.f64() < fault.probability)
        })?;
        let fault = self.list.get_mut(at)?;
        if let Some(count) = &mut fault.count {
            *count -= 1;
        }
        let action = fault.action.clone();
        if fault.count == Some(0) {
            self.list.remove(at);
        }
        Some(action)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_shot_fault_strikes_once() {
        let mut faults = Faults::new(vec![Fault::once(Action::ResetBeforeHead)], 1);

        assert_eq!(
            faults.draw(Place::Generate, "/v1/completions"),
            Some(Action::ResetBeforeHead)
        );
        assert_eq!(faults.draw(Place::Generate, "/v1/completions"), None);
    }

    #[test]
    fn fault_strikes_only_at_its_place_and_path() {
        let mut faults = Faults::new(vec![], 1);
        faults.add(Fault::always(Action::Health { status: 503 }));
        faults.add(Fault {
            path: Some("/chat/completions".to_owned()),
            ..Fault::always(Action::Freeze)
        });

        assert_eq!(faults.draw(Place::Generate, "/v1/completions"), None);
        assert_eq!(
            faults.draw(Place::Generate, "/v1/chat/completions"),
            Some(Action::Freeze)
        );
        assert_eq!(
            faults.draw(Place::Health, "/health"),
            Some(Action::Health { status: 503 })
        );
    }

    #[test]
    fn one_seed_draws_one_sequence() {
        let draws = |seed| {
            let fault = Fault::sometimes(Action::Trickle, 0.3);
            let mut faults = Faults::new(vec![fault], seed);
            (0..200)
                .map(|_| faults.draw(Place::Generate, "/").is_some())
                .collect::<Vec<_>>()
        };

        assert_eq!(draws(7), draws(7));
        assert_ne!(draws(7), draws(8));
        let struck = draws(7).iter().filter(|struck| **struck).count();
        assert!((30..=90).contains(&struck), "{struck}");
    }

    #[test]
    fn faults_are_written_flat_in_json() {
        let fault: Fault =
            serde_json::from_str(r#"{"action":"refuse","status":503,"count":2}"#).unwrap();

        assert_eq!(fault.count, Some(2));
        assert!((fault.probability - 1.0).abs() < f64::EPSILON);
        assert_eq!(
            fault.action,
            Action::Refuse {
                status: 503,
                body: None
            }
        );
    }
}
