//! Why a stack did not start or did not go on.

use std::io;
use std::process::ExitStatus;

use crate::exit;
use crate::signals;
use crate::supervise::ChildId;

/// Why it ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Something could not be started.
    #[error("{0:#}")]
    Start(anyhow::Error),
    /// Something did not become ready.
    #[error("{0}")]
    NotReady(String),
    /// A process ended before the stack was up.
    #[error("{what} exited early; check {log} ({status})")]
    EndedEarly {
        id: ChildId,
        what: String,
        status: String,
        log: String,
    },
    /// A process ended later.
    #[error("{what} ended unexpectedly ({status})")]
    Ended {
        id: ChildId,
        what: String,
        status: String,
    },
    /// The request through the whole system failed.
    #[error("end-to-end failed ({0})")]
    Probe(String),
    /// The launcher was told to end.
    #[error("{}", signals::name(*.0))]
    Signalled(i32),
    /// Nobody takes the output any more.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    /// The process whose end it is.
    pub(super) fn child(&self) -> Option<ChildId> {
        match self {
            Self::EndedEarly { id, .. } | Self::Ended { id, .. } => Some(*id),
            _ => None,
        }
    }

    /// What a script sees; see [`exit`].
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Probe(_) => exit::PROBE_FAILED,
            Self::Signalled(signal) => u8::try_from(128 + signal).unwrap_or(exit::START_FAILED),
            _ => exit::START_FAILED,
        }
    }
}

/// How a guarded process ended: its guard passes signals on as shells count them.
pub(super) fn describe(status: Option<ExitStatus>) -> String {
    match status.and_then(|status| Some((status, status.code()?))) {
        Some((_, code @ 129..)) => signals::name(code - 128),
        Some((_, code)) => format!("exit status {code}"),
        None => status.map_or_else(|| "status unknown".to_owned(), |status| status.to_string()),
    }
}

/// What the last lines of a log are known to mean.
pub(super) fn hint(lines: &[String]) -> Option<&'static str> {
    const KNOWN: &[(&str, &str)] = &[
        (
            "out of memory",
            "GPU memory ran out: lower --max-model-len or the share of GPU memory, or free the GPU.",
        ),
        (
            "Free memory on device",
            "Somebody else uses the GPU's memory: free it, take another GPU, or lower the share.",
        ),
        (
            "Address already in use",
            "A port is taken: free it or choose another.",
        ),
        (
            "address already in use",
            "A port is taken: free it or choose another.",
        ),
        (
            "is not a valid model identifier",
            "The model is not there: check --model, and HF_TOKEN if it is a gated one.",
        ),
        (
            "RepositoryNotFound",
            "The model is not there: check --model, and HF_TOKEN.",
        ),
        (
            "invalid device ordinal",
            "There is no such GPU: check --prefill-gpu and --decode-gpu.",
        ),
        ("no NVIDIA driver", "vLLM finds no GPU: check `nvidia-smi`."),
        (
            "No CUDA GPUs are available",
            "vLLM finds no GPU: check --prefill-gpu and --decode-gpu.",
        ),
        (
            "CUDA error",
            "CUDA failed: check `nvidia-smi` and the driver's version.",
        ),
        (
            "unrecognized arguments",
            "This vLLM does not know an argument: see --dry-run.",
        ),
    ];
    let known = |line: &String| {
        let found = KNOWN.iter().find(|(sign, _)| line.contains(sign));
        found.map(|(_, meaning)| *meaning)
    };
    lines.iter().rev().find_map(known)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn statuses_are_told_as_the_guarded_process_ended() {
        assert_eq!(describe(Some(ExitStatus::from_raw(137 << 8))), "SIGKILL");
        assert_eq!(
            describe(Some(ExitStatus::from_raw(3 << 8))),
            "exit status 3"
        );
        assert_eq!(
            describe(Some(ExitStatus::from_raw(9))),
            "signal: 9 (SIGKILL)"
        );
        assert_eq!(describe(None), "status unknown");
    }

    #[test]
    fn last_known_sign_in_a_log_gives_the_hint() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();

        let hinted = hint(&lines(
            "torch.OutOfMemoryError: CUDA out of memory. Tried\nexiting",
        ));
        assert!(hinted.unwrap().contains("--max-model-len"));
        assert_eq!(hint(&lines("all is well")), None);
    }
}
