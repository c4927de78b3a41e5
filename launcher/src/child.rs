//! One child process, from the supervisor's side.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{ChildStdin, Command, ExitStatus, Stdio};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

/// What to start.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    /// What people call it.
    pub(crate) name: String,
    /// The executable.
    pub(crate) program: PathBuf,
    /// Its arguments, without its own name.
    pub(crate) args: Vec<OsString>,
    /// Its environment, on top of what is inherited.
    pub(crate) env: Vec<(String, String)>,
    /// Where its standard output and error go.
    pub(crate) log: PathBuf,
    /// Whether it is a [`guard`](crate::guard), which must not be killed before what it guards.
    pub(crate) guarded: bool,
}

/// A started process, in a group of its own.
///
/// Its end is noticed without reaping it: until [`Child::reap`] the kernel keeps its number, so that
/// a signal to its group can never reach a stranger.
#[derive(Debug)]
pub(crate) struct Child {
    name: String,
    pid: Pid,
    log: PathBuf,
    process: std::process::Child,
    /// The supervisor's end of the lifeline; see [`tether`](crate::tether).
    lifeline: Option<ChildStdin>,
    guarded: bool,
    ended: bool,
    status: Option<ExitStatus>,
}

impl Child {
    /// Starts a process. Must be called on the main thread: the child asks the kernel to be killed
    /// when the thread that started it ends.
    pub(crate) fn spawn(spec: Spec) -> io::Result<Self> {
        let log = File::options().create(true).append(true).open(&spec.log)?;
        let mut process = Command::new(&spec.program)
            .args(&spec.args)
            .envs(spec.env)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C goes to the group in front of the terminal; children are ended by us, in order.
            .process_group(0)
            .spawn()?;
        Ok(Self {
            name: spec.name,
            pid: Pid::from_child(&process),
            log: spec.log,
            lifeline: process.stdin.take(),
            guarded: spec.guarded,
            process,
            ended: false,
            status: None,
        })
    }

    /// What people call it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its process id, and that of its group.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Where it writes.
    pub(crate) fn log(&self) -> &PathBuf {
        &self.log
    }

    /// Whether it is known to have ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Notes that [`wait_for_end`] came back.
    pub(crate) fn note_end(&mut self) {
        self.ended = true;
    }

    /// Sends a signal to the whole group; nothing once the child is reaped.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.status.is_none() {
            // The group may have ended by itself, which is what every signal here is about.
            kill_process_group(self.pid, signal).ok();
        }
    }

    /// Ends it and all it started without asking. A guard does that when its lifeline closes, and
    /// takes a moment.
    pub(crate) fn kill(&mut self) {
        if self.guarded {
            self.lifeline = None;
            // It may have been stopped.
            self.signal(Signal::CONT);
        } else {
            self.signal(Signal::KILL);
        }
    }

    /// Kills what is left of the group, waits for the child and says how it ended. Waits long unless
    /// the child has ended or was killed.
    pub(crate) fn reap(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        wait_for_end(self.pid)?;
        self.signal(Signal::KILL);
        let status = self.process.wait()?;
        self.ended = true;
        self.status = Some(status);
        Ok(status)
    }
}

/// Waits until a child has ended, without reaping it.
pub(crate) fn wait_for_end(pid: Pid) -> io::Result<()> {
    loop {
        match waitid(
            WaitId::Pid(pid),
            WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
        ) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
