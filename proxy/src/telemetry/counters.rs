//! The cells of one shard.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Histogram;
use super::histogram::add;

/// Declares an enum whose variants are the values of one metric label.
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident => $label:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// Every value, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The label's value.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }
        }
    };
}

labels! {
    /// What a client asked for.
    Route {
        /// `POST /v1/completions`.
        Completions => "completions",
        /// `POST /v1/chat/completions`.
        ChatCompletions => "chat_completions",
        /// `GET /v1/models`.
        Models => "models",
        /// `GET /version`.
        Version => "version",
        /// `GET /health`.
        Health => "health",
        /// `GET /metrics`.
        Metrics => "metrics",
        /// Anything else, unreadable requests included.
        Other => "other",
    }
}

labels! {
    /// The part of a request's way that a duration or an error belongs to.
    Stage {
        /// From a connection's first byte of a request to its last.
        Request => "request",
        /// From choosing a pair to the end of the prefill's answer.
        Prefill => "prefill",
        /// From the end of the prefill to the head of the decode's answer.
        Decode => "decode",
        /// From the head of the decode's answer to its last byte.
        Stream => "stream",
        /// A decode of one token that makes D forget KV that nobody will ask for.
        Drain => "drain",
    }
}

labels! {
    /// Whose doing an error is.
    Side {
        /// The client's.
        Client => "client",
        /// The prefill node's.
        Prefill => "prefill",
        /// The decode node's.
        Decode => "decode",
        /// Ours, or our operator's.
        Proxy => "proxy",
    }
}

labels! {
    /// Why a request did not end as it should.
    Cause {
        /// The request could not be read, or we must not pass it on.
        Invalid => "invalid",
        /// The client has no key, or a wrong one.
        Unauthorized => "unauthorized",
        /// A peer took longer than it may.
        Timeout => "timeout",
        /// No usable node of a role.
        NoNode => "no_node",
        /// A node could not be connected to.
        Connect => "connect",
        /// A node closed or reset the connection before it had answered.
        Cut => "cut",
        /// A node's answer was no HTTP, or an answer that no node may give.
        Protocol => "protocol",
        /// A node answered with an error of its own (5xx, or an error event inside a 200).
        Failed => "failed",
        /// A node refused the request (4xx).
        Refused => "refused",
        /// The client left before its answer was complete.
        Aborted => "aborted",
        /// A defect: a task of ours panicked.
        Panic => "panic",
    }
}

labels! {
    /// Things that are simply counted.
    Counter {
        /// Client connections accepted.
        Accepted => "connections_accepted_total",
        /// Client connections ended.
        Closed => "connections_closed_total",
        /// Connections to nodes opened.
        Connects => "upstream_connects_total",
        /// Requests sent on a connection that had served another before.
        Reused => "upstream_reused_total",
        /// Requests sent once more because a reused connection was closed without one byte of answer.
        Resent => "upstream_resent_total",
        /// Second tries with another pair and a new request id.
        Retried => "retries_total",
        /// Decodes of one token sent to make D forget unwanted KV.
        Drained => "kv_drains_total",
        /// Prefills whose KV may stay at a D for ever: its outcome is unknown, or the drain failed.
        Stranded => "kv_stranded_total",
        /// Bytes of answers written to clients, heads left out.
        BytesOut => "response_bytes_total",
        /// Bytes of request bodies read from clients.
        BytesIn => "request_bytes_total",
        /// Reads of answers from decode nodes; with `response_bytes_total` the size of a read.
        Reads => "stream_reads_total",
        /// Times accepting paused because descriptors had run out.
        AcceptPauses => "accept_pauses_total",
    }
}

/// The status codes counted one by one; any other counts as 0.
pub(super) const STATUSES: [u16; 24] = [
    0, 200, 204, 304, 400, 401, 403, 404, 405, 408, 413, 414, 415, 417, 422, 429, 431, 500, 501,
    502, 503, 504, 505, 508,
];

/// What one shard has counted. Only that shard writes it; anybody may read it.
#[derive(Debug)]
pub struct Counters {
    counts: Box<[AtomicU64]>,
    requests: Box<[AtomicU64]>,
    errors: Box<[AtomicU64]>,
    pub(super) stages: Box<[Histogram]>,
    pub(super) first_token: Histogram,
    pub(super) request: Histogram,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            counts: cells(Counter::ALL.len()),
            requests: cells(Route::ALL.len() * STATUSES.len()),
            errors: cells(Stage::ALL.len() * Side::ALL.len() * Cause::ALL.len()),
            stages: Stage::ALL.iter().map(|_| Histogram::default()).collect(),
            first_token: Histogram::default(),
            request: Histogram::default(),
        }
    }
}

fn cells(count: usize) -> Box<[AtomicU64]> {
    (0..count).map(|_| AtomicU64::default()).collect()
}

impl Counters {
    /// Counts one of `counter`.
    pub fn count(&self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Adds `amount` to `counter`.
    pub fn add(&self, counter: Counter, amount: u64) {
        if let Some(cell) = self.counts.get(counter as usize) {
            add(cell, amount);
        }
    }

    /// Counts one answer to a client.
    pub fn answered(&self, route: Route, status: u16) {
        let status = STATUSES
            .iter()
            .position(|known| *known == status)
            .unwrap_or(0);
        if let Some(cell) = self.requests.get(route as usize * STATUSES.len() + status) {
            add(cell, 1);
        }
    }

    /// Counts one failure, where it happened, whose it is and why.
    pub fn failed(&self, stage: Stage, side: Side, cause: Cause) {
        let row = stage as usize * Side::ALL.len() + side as usize;
        if let Some(cell) = self.errors.get(row * Cause::ALL.len() + cause as usize) {
            add(cell, 1);
        }
    }

    /// Counts how long a stage took.
    pub fn took(&self, stage: Stage, duration: Duration) {
        if let Some(histogram) = self.stages.get(stage as usize) {
            histogram.observe(duration);
        }
    }

    /// Counts the time from a request's last byte to its answer's first body byte.
    pub fn first_token(&self, duration: Duration) {
        self.first_token.observe(duration);
    }

    /// Counts the time from a request's last byte to its answer's last.
    pub fn request(&self, duration: Duration) {
        self.request.observe(duration);
    }

    /// The value of `counter`.
    pub fn get(&self, counter: Counter) -> u64 {
        self.counts
            .get(counter as usize)
            .map_or(0, |cell| cell.load(Ordering::Relaxed))
    }

    /// The answers to clients, by route and status.
    pub(super) fn requests(&self, route: Route, status: usize) -> u64 {
        let cell = self.requests.get(route as usize * STATUSES.len() + status);
        cell.map_or(0, |cell| cell.load(Ordering::Relaxed))
    }

    /// The failures, by stage, side and cause.
    pub(super) fn errors(&self, stage: Stage, side: Side, cause: Cause) -> u64 {
        let row = stage as usize * Side::ALL.len() + side as usize;
        let cell = self.errors.get(row * Cause::ALL.len() + cause as usize);
        cell.map_or(0, |cell| cell.load(Ordering::Relaxed))
    }
}
