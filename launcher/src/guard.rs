//! Between the supervisor and a process that may start others: who sees to it that all of them end.
//!
//! A guarded process is started in three steps, all of them this same binary. The *guard* becomes the
//! one that orphans below it fall to (a subreaper). It starts the *node* step, which asks to be killed
//! if the guard dies, leads a session of its own, writes down its process id and then becomes the
//! program. When the program ends, when the supervisor closes the lifeline, or when the supervisor is
//! gone, the guard kills everything below it, wherever that has moved, and ends with the program's
//! status: 128 and the signal's number if a signal ended it.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::{fs, thread};

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, getpid, getppid, pidfd_open,
    pidfd_send_signal, set_child_subreaper, set_parent_process_death_signal, setsid, wait,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::embedded::Program;
use crate::tether::{self, Error};
use crate::{descendants, exit};

const GUARD: &str = "__guard";
const NODE: &str = "__node";
/// This very binary, even if its file was replaced.
const SELF: &str = "/proc/self/exe";

/// The arguments that make this binary guard a program: a path, or one that it carries.
pub(crate) fn argv(supervisor: Pid, pid_file: &Path, program: OsString) -> Vec<OsString> {
    let supervisor = supervisor.as_raw_nonzero().to_string();
    vec![GUARD.into(), supervisor.into(), pid_file.into(), program]
}

/// One of the steps.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Step {
    is_guard: bool,
    parent: Option<Pid>,
    pid_file: PathBuf,
    program: OsString,
    args: Vec<OsString>,
}

/// The step that a command line asks this process to be, if it asks for one.
pub(crate) fn requested(args: impl IntoIterator<Item = OsString>) -> Option<Step> {
    let mut args = args.into_iter().skip(1);
    let word = args.next()?;
    let is_guard = word == GUARD;
    if !is_guard && word != NODE {
        return None;
    }
    let parent = args
        .next()
        .and_then(|pid| Pid::from_raw(pid.to_str()?.parse().ok()?));
    Some(Step {
        is_guard,
        parent,
        pid_file: args.next()?.into(),
        program: args.next()?,
        args: args.collect(),
    })
}

impl Step {
    /// Is the step.
    pub(crate) fn run(self) -> ExitCode {
        let name = if self.is_guard { "guard" } else { "node" };
        let done = if self.is_guard {
            self.guard()
        } else {
            self.become_program()
        };
        done.unwrap_or_else(|error| tether::refuse(name, &error))
    }

    fn guard(self) -> Result<ExitCode, Error> {
        // A guard that was stopped wakes up when the supervisor dies, and finds the lifeline closed.
        child_of(self.parent, Signal::CONT)?;
        set_child_subreaper(Some(getpid())).map_err(kernel)?;
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(Error::Kernel)?;
        let node = Command::new(SELF)
            .args([NODE, &getpid().as_raw_nonzero().to_string()])
            .arg(self.pid_file)
            .arg(self.program)
            .args(self.args)
            .stdin(Stdio::null())
            .spawn()
            .map_err(Error::Kernel)?;
        let pid = Pid::from_child(&node);
        let handle = pidfd_open(pid, PidfdFlags::empty()).map_err(kernel)?;
        thread::spawn(move || {
            for _ in signals.forever() {
                // It may have ended by itself.
                pidfd_send_signal(&handle, Signal::TERM).ok();
            }
        });
        thread::spawn(|| {
            until_lifeline_ends();
            descendants::end_all(getpid());
        });
        Ok(status_code(reap_all(pid)))
    }

    fn become_program(self) -> Result<ExitCode, Error> {
        child_of(self.parent, Signal::KILL)?;
        setsid().map_err(kernel)?;
        fs::write(&self.pid_file, format!("{}\n", getpid().as_raw_nonzero()))
            .map_err(Error::Kernel)?;
        if let Some(program) = Program::of_word(&self.program) {
            return Ok(program.run_guarded(self.args));
        }
        let error = Command::new(&self.program).args(self.args).exec();
        writeln!(io::stderr(), "{}: {error}", self.program.display()).ok();
        Ok(ExitCode::from(exit::START_FAILED))
    }
}

/// Makes sure that the parent is who it should be, and asks for a signal when it dies.
fn child_of(parent: Option<Pid>, at_its_death: Signal) -> Result<(), Error> {
    set_parent_process_death_signal(Some(at_its_death)).map_err(kernel)?;
    // It may have died before the question.
    if parent.is_none() || getppid() != parent {
        return Err(Error::Orphan);
    }
    Ok(())
}

fn kernel(error: rustix::io::Errno) -> Error {
    Error::Kernel(error.into())
}

fn until_lifeline_ends() {
    let mut byte = [0];
    let mut stdin = io::stdin().lock();
    loop {
        match stdin.read(&mut byte) {
            Ok(1..) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => return,
        }
    }
}

/// Waits for the program and then, having killed them, for all that it left behind.
fn reap_all(program: Pid) -> Option<WaitStatus> {
    let mut status = None;
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, ended))) if pid == program => {
                status = Some(ended);
                thread::spawn(|| descendants::end_all(getpid()));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            // No child is left.
            Err(_) => return status,
        }
    }
}

/// As shells count: the code, or 128 and the signal's number.
fn status_code(status: Option<WaitStatus>) -> ExitCode {
    let code = status.and_then(|status| {
        let by_signal = status.terminating_signal().map(|signal| 128 + signal);
        u8::try_from(status.exit_status().or(by_signal)?).ok()
    });
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_supervisor_writes_is_what_a_guard_reads() {
        let supervisor = Pid::from_raw(77).unwrap();
        let mut words = vec![OsString::from("x")];
        words.extend(argv(
            supervisor,
            Path::new("logs/.pid.consumer"),
            "vllm".into(),
        ));
        words.push("serve".into());

        let step = requested(words).unwrap();

        assert!(step.is_guard);
        assert_eq!(step.parent, Some(supervisor));
        assert_eq!(step.pid_file, Path::new("logs/.pid.consumer"));
        assert_eq!(
            (step.program, step.args),
            ("vllm".into(), vec!["serve".into()])
        );
    }

    #[test]
    fn people_s_commands_ask_for_no_guard() {
        for words in [
            &["x"][..],
            &["x", "up"],
            &["x", "up", "__guard"],
            &["x", "__guard"],
        ] {
            assert_eq!(requested(words.iter().map(OsString::from)), None);
        }
    }
}
