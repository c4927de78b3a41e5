//! Children are shells here: the supervisor knows nothing of what it supervises.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Command;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tempfile::TempDir;

use super::*;

/// Longer than any of this takes; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// A supervisor, and a pipe through which its shells tell what they did.
struct Nursery {
    supervisor: Supervisor<()>,
    directory: TempDir,
}

impl Nursery {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        assert!(
            Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        Self {
            supervisor: Supervisor::new(),
            directory,
        }
    }

    /// Starts a shell; `$P` is the pipe.
    fn shell(&mut self, name: &str, script: &str) -> ChildId {
        let spec = Spec {
            name: name.to_owned(),
            program: PathBuf::from("/bin/sh"),
            args: vec![
                "-c".into(),
                format!("P={}; {script}", self.pipe().display()).into(),
            ],
            env: Vec::new(),
            log: self.log(name),
            guarded: false,
        };
        self.supervisor.start(spec).unwrap()
    }

    fn pipe(&self) -> PathBuf {
        self.directory.path().join("pipe")
    }

    fn log(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Waits for what one shell writes to the pipe.
    fn told(&self) -> String {
        fs::read_to_string(self.pipe()).unwrap().trim().to_owned()
    }

    fn next_exit(&mut self) -> Option<ChildId> {
        match self.supervisor.next_event(Some(Instant::now() + PATIENCE)) {
            Some(Event::Exited(id)) => Some(id),
            _ => None,
        }
    }
}

fn handle(pid: &str) -> OwnedFd {
    pidfd_open(
        Pid::from_raw(pid.parse().unwrap()).unwrap(),
        PidfdFlags::empty(),
    )
    .unwrap()
}

/// Waits until the process has ended; false when it goes on.
fn ends(process: &OwnedFd) -> bool {
    let timeout = Timespec {
        tv_sec: PATIENCE.as_secs().cast_signed(),
        tv_nsec: 0,
    };
    poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&timeout)).unwrap() == 1
}

#[test]
fn death_of_a_child_is_an_event_with_its_status() {
    let mut nursery = Nursery::new();
    nursery.shell("lasting", "sleep 1000");
    let id = nursery.shell("brief", "exit 3");

    assert_eq!(nursery.next_exit(), Some(id));
    assert_eq!(nursery.supervisor.reap(id).unwrap().code(), Some(3));
}

#[test]
fn output_of_a_child_goes_to_its_log() {
    let mut nursery = Nursery::new();
    nursery.shell("talker", "echo out; echo err >&2");

    nursery.next_exit().unwrap();

    assert_eq!(
        fs::read_to_string(nursery.log("talker")).unwrap(),
        "out\nerr\n"
    );
}

#[test]
fn stop_ends_the_last_started_first() {
    let mut nursery = Nursery::new();
    let order = nursery.log("order");
    for name in ["a", "b", "c"] {
        let note = format!("echo {name} >> {}", order.display());
        nursery.shell(
            name,
            &format!("trap '{note}; exit' TERM; echo > $P; sleep 1000 & wait"),
        );
        nursery.told();
    }

    let killed = nursery.supervisor.stop(PATIENCE);

    assert!(killed.is_empty());
    assert_eq!(fs::read_to_string(order).unwrap(), "c\nb\na\n");
}

#[test]
fn child_that_ignores_sigterm_is_killed_after_the_grace() {
    let mut nursery = Nursery::new();
    nursery.shell(
        "stubborn",
        "trap '' TERM; echo $$ > $P; while :; do sleep 1000; done",
    );
    let process = handle(&nursery.told());

    let killed = nursery.supervisor.stop(Duration::from_millis(50));

    assert_eq!(killed, ["stubborn"]);
    assert!(ends(&process));
}

#[test]
fn stop_takes_along_what_children_started() {
    let mut nursery = Nursery::new();
    nursery.shell("parent", "sleep 1000 & echo $! > $P; wait");
    let grandchild = handle(&nursery.told());

    nursery.supervisor.stop(PATIENCE);

    assert!(ends(&grandchild));
}

#[test]
fn what_a_dead_child_leaves_behind_is_killed() {
    let mut nursery = Nursery::new();
    let id = nursery.shell("parent", "(trap '' TERM HUP; sleep 1000) & echo $! > $P");
    let grandchild = handle(&nursery.told());

    assert_eq!(nursery.next_exit(), Some(id));
    nursery.supervisor.reap(id).unwrap();

    assert!(ends(&grandchild));
}

#[test]
fn dropped_supervisor_leaves_no_child() {
    let mut nursery = Nursery::new();
    nursery.shell(
        "child",
        "trap '' TERM; echo $$ > $P; while :; do sleep 1000; done",
    );
    let process = handle(&nursery.told());

    drop(nursery);

    assert!(ends(&process));
}

#[test]
fn stop_after_a_death_ends_the_others_without_delay() {
    let mut nursery = Nursery::new();
    let dead = nursery.shell("dead", "exit 1");
    nursery.next_exit().unwrap();
    nursery.shell("alive", "sleep 1000");

    let before = Instant::now();
    let killed = nursery.supervisor.stop(PATIENCE);

    assert!(killed.is_empty());
    assert!(before.elapsed() < PATIENCE);
    assert_eq!(nursery.supervisor.reap(dead).unwrap().code(), Some(1));
}

#[test]
fn work_on_the_side_reports_as_events() {
    let mut supervisor = Supervisor::new();
    supervisor
        .work(|reporter| (1..=2).for_each(|number| reporter.report(number)))
        .unwrap();

    let mut next = || supervisor.next_event(Some(Instant::now() + PATIENCE));

    assert!(matches!(next(), Some(Event::Work(1))));
    assert!(matches!(next(), Some(Event::Work(2))));
}

#[test]
fn program_that_is_not_there_is_an_error() {
    let mut nursery = Nursery::new();
    let spec = Spec {
        name: "none".to_owned(),
        program: PathBuf::from("/no/such/program"),
        args: Vec::new(),
        env: Vec::new(),
        log: nursery.log("none"),
        guarded: false,
    };

    assert!(nursery.supervisor.start(spec).is_err());
}
