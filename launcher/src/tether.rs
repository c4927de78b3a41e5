//! How a child makes sure that it dies with its supervisor.
//!
//! Three ties, because each alone has a hole. The kernel's parent-death signal works even when this
//! process is stopped or busy, but not for processes it starts, and not if the supervisor died before
//! it was asked for. That race is closed by looking at the parent afterwards. The lifeline, a pipe on
//! standard input whose other end only the supervisor holds, takes the whole process group along.

use std::io::{self, Read, Write};
use std::process::ExitCode;

use rustix::process::{
    Pid, Signal, getpgrp, getpid, getppid, kill_process, kill_process_group,
    set_parent_process_death_signal,
};

use crate::exit;

/// Why a process cannot be a child of a supervisor.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The parent is another process than the command line says.
    #[error("not started by a running pd-launcher")]
    Orphan,
    /// The kernel refuses what is needed to die in time.
    #[error("cannot be tied to pd-launcher: {0}")]
    Kernel(io::Error),
}

/// Makes this process die when `supervisor`, its parent, does. To be called before anything else.
///
/// The parent-death signal comes when the *thread* that started this process ends, which for the
/// supervisor must be its main thread.
pub(crate) fn fasten(supervisor: Option<Pid>) -> Result<(), Error> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| Error::Kernel(error.into()))?;
    if supervisor.is_none() || getppid() != supervisor {
        return Err(Error::Orphan);
    }
    std::thread::Builder::new()
        .name("lifeline".to_owned())
        .spawn(hold_lifeline)
        .map_err(Error::Kernel)?;
    Ok(())
}

/// Says why, and gives the exit code.
pub(crate) fn refuse(name: &str, error: &Error) -> ExitCode {
    writeln!(io::stderr(), "{name}: {error}").ok();
    ExitCode::from(match error {
        Error::Orphan => exit::USAGE,
        Error::Kernel(_) => exit::START_FAILED,
    })
}

/// Reads until the supervisor's end closes, then ends this process and all it started.
fn hold_lifeline() {
    let mut byte = [0];
    let mut stdin = io::stdin().lock();
    loop {
        match stdin.read(&mut byte) {
            Ok(1..) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => break,
        }
    }
    // Outside a group of its own it would take strangers along.
    let ended = if getpgrp() == getpid() {
        kill_process_group(getpid(), Signal::KILL)
    } else {
        kill_process(getpid(), Signal::KILL)
    };
    // A process may always signal itself.
    ended.ok();
}
