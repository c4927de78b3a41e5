//! A streamed answer: server-sent events, one token each, in the shapes of vLLM 0.23.

use super::error::{ApiError, ENGINE_DEAD};
use super::generation::Generation;
use super::json::{push_escaped, put, put_value};
use super::logprobs;
use super::request::{Endpoint, Request};
use super::sequence::{Plan, Sequence};
use super::socket::{Control, Ending};
use bytes::Bytes;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll};

/// A fault inside a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// The connection ends after this many events.
    Cut(u32, Ending),
    /// An error event replaces the rest after this many events.
    Error(u32),
}

impl Mishap {
    fn after(self) -> u32 {
        match self {
            Self::Cut(events, _) | Self::Error(events) => events,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No token yet.
    Waiting,
    Tokens,
    /// `[DONE]` is next.
    Done,
    Over,
    /// The events before a cut are being flushed.
    Cutting(Ending),
    Cut,
}

/// The parts of an event that stay the same throughout a stream.
#[derive(Debug)]
struct Template {
    /// From `data: ` to the index of the choice.
    head: Vec<u8>,
    /// The same up to the list of choices, for the usage event.
    bare: Vec<u8>,
    fingerprint: String,
}

/// Events of one answer.
#[derive(Debug)]
pub(crate) struct EventStream {
    generation: Generation,
    request: Request,
    template: Template,
    /// Tokens told, by sequence.
    told: Vec<u32>,
    /// Bytes of text told, by sequence; only log probabilities need it.
    offsets: Vec<usize>,
    cursor: usize,
    /// Events that are ready before anything else.
    queue: VecDeque<Bytes>,
    phase: Phase,
    events: u32,
    mishap: Option<Mishap>,
    control: Rc<Control>,
}

impl EventStream {
    pub(crate) fn new(
        generation: Generation,
        request: Request,
        model: &str,
        fingerprint: String,
        created: u64,
        control: Rc<Control>,
    ) -> Self {
        let object = match request.endpoint {
            Endpoint::Completions => "text_completion",
            Endpoint::Chat => "chat.completion.chunk",
        };
        let mut bare = b"data: {\"id\":\"".to_vec();
        push_escaped(&request.response_id(), &mut bare);
        put(
            &mut bare,
            format_args!("\",\"object\":\"{object}\",\"created\":{created},\"model\":\""),
        );
        push_escaped(model, &mut bare);
        bare.extend_from_slice(b"\",\"choices\":[");
        let mut head = bare.clone();
        head.extend_from_slice(b"{\"index\":");
        let count = generation.sequences.len();
        Self {
            template: Template {
                head,
                bare,
                fingerprint,
            },
            told: vec![0; count],
            offsets: vec![0; count],
            cursor: 0,
            queue: VecDeque::new(),
            phase: Phase::Waiting,
            events: 0,
            mishap: None,
            generation,
            request,
            control,
        }
    }

    /// Adds a fault.
    pub(crate) fn with(mut self, mishap: Option<Mishap>) -> Self {
        self.mishap = mishap;
        self
    }

    /// Whether everything was told.
    pub(crate) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// The next event; `None` at the end.
    pub(crate) fn poll_event(&mut self, cx: &Context<'_>) -> Poll<Option<Bytes>> {
        match self.phase {
            Phase::Over => return Poll::Ready(None),
            Phase::Cut => return Poll::Pending,
            Phase::Cutting(how) => {
                self.phase = Phase::Cut;
                self.control.end(how);
                return Poll::Pending;
            }
            Phase::Waiting | Phase::Tokens | Phase::Done => {}
        }
        if let Some(mishap) = self.mishap.filter(|mishap| mishap.after() <= self.events) {
            self.mishap = None;
            match mishap {
                Mishap::Cut(_, how) => {
                    // One turn, so that the connection flushes what was told so far.
                    self.phase = Phase::Cutting(how);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Mishap::Error(_) => return self.fail("Internal server error"),
            }
        }
        if let Some(event) = self.queue.pop_front() {
            return self.tell(event);
        }
        if self.phase == Phase::Done {
            self.phase = Phase::Over;
            return Poll::Ready(Some(Bytes::from_static(b"data: [DONE]\n\n")));
        }
        if let Some(index) = self.next_sequence() {
            if self.phase == Phase::Waiting {
                self.phase = Phase::Tokens;
                if self.request.null_max_tokens {
                    return self.fail("");
                }
                self.queue_roles();
            }
            let event = self.token_event(index);
            self.queue.push_back(event);
            if self.all_told() {
                if self.request.shape.include_usage {
                    let event = self.usage_event();
                    self.queue.push_back(event);
                }
                self.phase = Phase::Done;
            }
            return match self.queue.pop_front() {
                Some(event) => self.tell(event),
                None => Poll::Pending,
            };
        }
        if self.generation.signal.is_dead() {
            return self.fail(ENGINE_DEAD);
        }
        self.generation.signal.listen(cx.waker());
        Poll::Pending
    }

    fn tell(&mut self, event: Bytes) -> Poll<Option<Bytes>> {
        self.events = self.events.saturating_add(1);
        Poll::Ready(Some(event))
    }

    /// An error event; `[DONE]` follows, for the status has long been 200.
    fn fail(&mut self, message: &str) -> Poll<Option<Bytes>> {
        self.queue.clear();
        self.phase = Phase::Done;
        let event = format!("data: {}\n\n", ApiError::internal(message).json());
        Poll::Ready(Some(event.into()))
    }

    /// The next sequence, in turn, with a token to tell.
    fn next_sequence(&mut self) -> Option<usize> {
        let count = self.told.len();
        let ready = |at: &usize| {
            let produced = self.generation.sequences.get(*at).map(|s| s.produced.get());
            produced > self.told.get(*at).copied()
        };
        let at = (self.cursor..count).chain(0..self.cursor).find(ready)?;
        self.cursor = (at + 1) % count;
        Some(at)
    }

    fn all_told(&self) -> bool {
        let sequences = self.generation.sequences.iter();
        sequences
            .zip(&self.told)
            .all(|(sequence, told)| sequence.plan.get().is_some_and(|plan| *told >= plan.total))
    }

    /// Chat begins with one event per choice that says who speaks.
    fn queue_roles(&mut self) {
        if self.request.endpoint != Endpoint::Chat {
            return;
        }
        for index in 0..self.told.len() {
            let mut event = self.template.head.clone();
            put(
                &mut event,
                format_args!(
                    "{index},\"delta\":{{\"role\":\"assistant\",\"content\":\"\"}},\
                     \"logprobs\":null,\"finish_reason\":null}}]"
                ),
            );
            self.put_usage(&mut event, index, 0);
            event.extend_from_slice(b",\"prompt_token_ids\":");
            self.put_prompt_ids(&mut event, index, self.request.shape.token_ids);
            event.extend_from_slice(b",\"prompt_text\":null}\n\n");
            self.queue.push_back(event.into());
        }
    }

    fn token_event(&mut self, index: usize) -> Bytes {
        let Some(sequence) = self.generation.sequences.get(index).map(Rc::clone) else {
            return Bytes::new();
        };
        let Some(plan) = sequence.plan.get() else {
            return Bytes::new();
        };
        let at = self.told.get(index).copied().unwrap_or(0);
        if let Some(told) = self.told.get_mut(index) {
            *told = at + 1;
        }
        let mut out = Vec::with_capacity(self.template.head.len() + 192);
        out.extend_from_slice(&self.template.head);
        match self.request.endpoint {
            Endpoint::Completions => self.completion_choice(&mut out, index, at, &sequence, plan),
            Endpoint::Chat => self.chat_choice(&mut out, index, at, plan),
        }
        self.put_usage(&mut out, index, at + 1);
        if at + 1 == plan.total && !self.request.shape.include_usage {
            self.put_fingerprint(&mut out);
        }
        out.extend_from_slice(b"}\n\n");
        out.into()
    }

    fn completion_choice(
        &mut self,
        out: &mut Vec<u8>,
        index: usize,
        at: u32,
        sequence: &Sequence,
        plan: &Plan,
    ) {
        let shape = self.request.shape;
        put(out, format_args!("{index},\"text\":\""));
        if shape.echo && at == 0 {
            push_escaped(&sequence.prompt.text(), out);
        }
        if !shape.echo_only {
            plan.push_json(at, out);
        }
        out.extend_from_slice(b"\",\"logprobs\":");
        match (shape.logprobs, self.offsets.get_mut(index)) {
            (Some(top), Some(offset)) => {
                let mut all = logprobs::Completion::new(*offset);
                if shape.echo && at == 0 {
                    all.prompt(&sequence.prompt);
                }
                if !shape.echo_only {
                    all.output(plan, at..at + 1, top);
                }
                put_value(out, &all);
                *offset += plan.text(at).chars().count();
            }
            _ => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"finish_reason\":");
        if at + 1 == plan.total {
            put(
                out,
                format_args!(
                    "\"{}\",\"stop_reason\":{}",
                    plan.finish_reason(),
                    plan.stop_reason()
                ),
            );
        } else {
            out.extend_from_slice(b"null,\"stop_reason\":null");
        }
        out.extend_from_slice(b",\"prompt_token_ids\":");
        if at == 0 {
            self.put_prompt_ids(out, index, shape.token_ids || shape.echo);
        } else {
            out.extend_from_slice(b"null");
        }
        put_token_id(out, shape.token_ids, plan.token(at));
        out.extend_from_slice(b"}]");
    }

    fn chat_choice(&self, out: &mut Vec<u8>, index: usize, at: u32, plan: &Plan) {
        let shape = self.request.shape;
        put(out, format_args!("{index},\"delta\":{{\"content\":\""));
        plan.push_json(at, out);
        out.extend_from_slice(b"\"},\"logprobs\":");
        match shape.logprobs {
            Some(top) => put_value(out, &logprobs::chat(plan, at..at + 1, top)),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"finish_reason\":");
        if at + 1 == plan.total {
            put(
                out,
                format_args!(
                    "\"{}\",\"stop_reason\":{}",
                    plan.finish_reason(),
                    plan.stop_reason()
                ),
            );
        } else {
            out.extend_from_slice(b"null");
        }
        put_token_id(out, shape.token_ids, plan.token(at));
        out.extend_from_slice(b"}]");
    }

    /// The prompt's ids if they are wanted: `echo` brings them, asked for or not.
    fn put_prompt_ids(&self, out: &mut Vec<u8>, index: usize, wanted: bool) {
        match self.generation.sequences.get(index) {
            Some(sequence) if wanted => {
                put_value(out, &serde_json::json!(sequence.prompt.tokens));
            }
            _ => out.extend_from_slice(b"null"),
        }
    }

    /// Usage so far of one choice, if the client wants it on every event.
    fn put_usage(&self, out: &mut Vec<u8>, index: usize, completion: u32) {
        if self.request.shape.continuous_usage
            && let Some(sequence) = self.generation.sequences.get(index)
        {
            let prompt = sequence.prompt.len();
            put(
                out,
                format_args!(
                    ",\"usage\":{{\"prompt_tokens\":{prompt},\"total_tokens\":{},\
                     \"completion_tokens\":{completion}}}",
                    prompt.saturating_add(completion)
                ),
            );
        }
    }

    fn put_fingerprint(&self, out: &mut Vec<u8>) {
        put(
            out,
            format_args!(",\"system_fingerprint\":\"{}\"", self.template.fingerprint),
        );
    }

    fn usage_event(&self) -> Bytes {
        let prompt = self.request.prompt_tokens();
        let completion: u64 = self.told.iter().map(|told| u64::from(*told)).sum();
        let mut out = self.template.bare.clone();
        put(
            &mut out,
            format_args!(
                "],\"usage\":{{\"prompt_tokens\":{prompt},\"total_tokens\":{},\
                 \"completion_tokens\":{completion}}}",
                prompt + completion
            ),
        );
        self.put_fingerprint(&mut out);
        out.extend_from_slice(b"}\n\n");
        out.into()
    }
}

fn put_token_id(out: &mut Vec<u8>, wanted: bool, id: u32) {
    if wanted {
        put(out, format_args!(",\"token_ids\":[{id}]"));
    } else {
        out.extend_from_slice(b",\"token_ids\":null");
    }
}
