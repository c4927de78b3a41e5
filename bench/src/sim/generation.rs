//! The sequences of one request, as the side that answers the client holds them.

use super::engine::Engine;
use super::request::Request;
use super::sequence::{Sequence, Signal};
use std::cell::{Cell, OnceCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

/// A request that was given to the engine. Dropping it aborts what is not finished, as the API
/// server does when its client leaves.
#[derive(Debug)]
pub(crate) struct Generation {
    engine: Rc<Engine>,
    /// By prompt, then by choice: the order of the `index` field.
    pub(crate) sequences: Vec<Rc<Sequence>>,
    pub(crate) signal: Rc<Signal>,
}

impl Generation {
    /// Gives a request to the engine. `suffix` is appended to every engine id.
    pub(crate) fn start(engine: Rc<Engine>, request: &Request, suffix: &str) -> Self {
        let signal = Rc::new(Signal::default());
        let mut sequences = Vec::new();
        for (index, prompt) in request.prompts.iter().enumerate() {
            for choice in 0..request.n {
                sequences.push(Rc::new(Sequence {
                    engine_id: format!("{}{suffix}", request.engine_id(index, choice)),
                    prompt: Rc::clone(prompt),
                    limits: Rc::clone(&request.limits),
                    choice,
                    plan: OnceCell::new(),
                    produced: Cell::new(0),
                    aborted: Cell::new(false),
                    arrived: Instant::now(),
                    signal: Rc::clone(&signal),
                }));
            }
        }
        engine.submit(&sequences);
        Self {
            engine,
            sequences,
            signal,
        }
    }

    /// Waits until every sequence is complete; false when the engine died first.
    ///
    /// # Cancel safety
    /// Nothing is lost by dropping the future; dropping the generation aborts it.
    pub(crate) async fn complete(&self) -> bool {
        poll_fn(|cx| {
            if self.sequences.iter().all(|sequence| sequence.is_finished()) {
                return Poll::Ready(true);
            }
            if self.signal.is_dead() {
                return Poll::Ready(false);
            }
            self.signal.listen(cx.waker());
            Poll::Pending
        })
        .await
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        if self
            .sequences
            .iter()
            .any(|sequence| !sequence.is_finished())
        {
            self.engine.abort(&self.sequences);
        }
    }
}
