//! What the demo's work on the side reports, and how the demo can end early.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use pd_bench::load::Outcome;

use super::chat::Figures;
use crate::supervise::ChildId;

/// Progress.
#[derive(Debug)]
pub(super) enum Step {
    /// A process is up.
    Up {
        /// Its place in the plan.
        process: usize,
        /// Since the first start.
        after: Duration,
    },
    /// The proxy has a ready prefill and a ready decode node.
    PairReady {
        /// Since the first start.
        after: Duration,
    },
    /// The time for getting ready is over; what is missing.
    NotReady(String),
    /// A piece of the chat answer.
    Text(String),
    /// The chat answer came to its end.
    ChatDone(Figures),
    /// The chat answer did not.
    ChatFailed(String),
    /// One request of the benchmark failed; the line that says so.
    RequestFailed(String),
    /// The benchmark is over.
    BenchDone(Outcome),
    /// The benchmark could not run.
    BenchFailed(io::Error),
}

/// Why the demo did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Something could not be started.
    #[error("{0:#}")]
    Start(anyhow::Error),
    /// Not everything became ready.
    #[error("not ready in time: {0}")]
    NotReady(String),
    /// A child ended by itself.
    #[error("{name} ended unexpectedly ({status})")]
    ChildEnded {
        /// Which.
        id: ChildId,
        /// What people call it.
        name: String,
        /// How it ended.
        status: EndStatus,
    },
    /// A request through the whole system failed.
    #[error("end-to-end failed: {0}")]
    Probe(String),
    /// The launcher was told to end.
    #[error("{}", crate::signals::name(*.0))]
    Signalled(i32),
    /// Nobody takes the output any more.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

/// How a child ended, if the kernel says.
#[derive(Debug)]
pub(super) struct EndStatus(pub(super) Option<ExitStatus>);

impl std::fmt::Display for EndStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(status) => status.fmt(f),
            None => f.write_str("status unknown"),
        }
    }
}
