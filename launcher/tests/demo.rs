//! The demo from outside: what it prints, how it ends, and that nothing of it stays.

#![cfg(test)]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
use tempfile::TempDir;

/// Longer than a demo may take; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running demo whose output is read line by line.
struct Demo {
    process: Child,
    output: BufReader<ChildStdout>,
    said: String,
    /// Handles of its children by name, taken as they were announced.
    children: Vec<(String, OwnedFd)>,
    /// Where its logs are.
    temp: TempDir,
    /// Ends the watchdog when dropped.
    _alive: Sender<()>,
}

impl Demo {
    fn start(args: &[&str]) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_pd-launcher"))
            .arg("demo")
            .args(args)
            .env("TMPDIR", temp.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let alive = watchdog(&process);
        Self {
            process,
            output,
            said: String::new(),
            children: Vec::new(),
            temp,
            _alive: alive,
        }
    }

    /// Reads on until a line holds this text; the end of the output if none does.
    fn until(&mut self, text: &str) {
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line).unwrap() == 0 {
                return;
            }
            self.said.push_str(&line);
            if let Some((name, pid)) = announced(&line) {
                self.children
                    .push((name, pidfd_open(pid, PidfdFlags::empty()).unwrap()));
            }
            if line.contains(text) {
                return;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    fn child(&self, name: &str) -> &OwnedFd {
        &self
            .children
            .iter()
            .find(|(child, _)| child == name)
            .unwrap()
            .1
    }

    /// Waits for the end; what it said on standard error.
    fn end(&mut self) -> (ExitStatus, String) {
        self.until("no line says this");
        let mut errors = String::new();
        self.process
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut errors)
            .unwrap();
        (self.process.wait().unwrap(), errors)
    }

    fn assert_no_child_stays(&self, count: usize) {
        assert_eq!(self.children.len(), count, "{}", self.said);
        for (name, process) in &self.children {
            assert!(ends(process), "{name} goes on");
        }
    }

    /// Directories and files left where its logs were.
    fn leftovers(&self) -> usize {
        fs::read_dir(self.temp.path()).unwrap().count()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Kills the demo when it takes far too long, so that reading its output ends.
fn watchdog(process: &Child) -> Sender<()> {
    let (alive, ended) = channel();
    let process = pidfd_open(Pid::from_child(process), PidfdFlags::empty()).unwrap();
    thread::spawn(move || {
        if ended.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            pidfd_send_signal(process, Signal::KILL).ok();
        }
    });
    alive
}

/// Name and process id in a line that says that a process is up.
fn announced(line: &str) -> Option<(String, Pid)> {
    let mut words = line.split_whitespace();
    let name = words.next()?.to_owned();
    let pid = words.skip_while(|&word| word != "pid").nth(1)?;
    Some((name, Pid::from_raw(pid.parse().ok()?)?))
}

fn ends(process: &OwnedFd) -> bool {
    let timeout = Timespec {
        tv_sec: PATIENCE.as_secs().cast_signed(),
        tv_nsec: 0,
    };
    poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&timeout)).unwrap() == 1
}

fn launcher(args: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_pd-launcher"))
        .args(args)
        .output()
        .unwrap()
}

#[test]
fn demo_shows_endpoint_answer_and_figures_and_leaves_nothing() {
    let mut demo = Demo::start(&[]);

    let (status, errors) = demo.end();

    assert_eq!(status.code(), Some(0), "{}{errors}", demo.said);
    assert!(errors.is_empty(), "{errors}");
    assert!(
        !demo.said.contains('\x1b'),
        "plain text where there is no terminal"
    );
    for part in [
        "Ready",
        "/v1/chat/completions \\\n  -H 'Content-Type: application/json' \\\n  -d '{",
        "Qwen/Qwen2.5-7B-Instruct",
        "tokens/sec",
        "\n\n== TTFT (stream=true) N=24 ==\n  p50=",
        "\n\n== Throughput (stream=false) N=24, errors=0 ==\n  per-request tokens/sec: p50=",
        "\n  total generated tokens = ",
        "\nEverything stopped after",
    ] {
        assert!(
            demo.said.contains(part),
            "{part:?} is not in\n{}",
            demo.said
        );
    }
    demo.assert_no_child_stays(3);
    assert_eq!(demo.leftovers(), 0);
}

#[test]
fn demo_has_as_many_nodes_as_asked_for() {
    let mut demo = Demo::start(&["--prefill", "2", "--decode", "3"]);

    let (status, errors) = demo.end();

    assert_eq!(status.code(), Some(0), "{}{errors}", demo.said);
    demo.assert_no_child_stays(6);
    for name in [
        "proxy",
        "decode-1",
        "decode-2",
        "decode-3",
        "prefill-1",
        "prefill-2",
    ] {
        assert!(
            demo.children.iter().any(|(child, _)| child == name),
            "{name}"
        );
    }
}

#[test]
fn kept_demo_runs_until_ctrl_c() {
    let mut demo = Demo::start(&["--keep"]);
    demo.until("Running until Ctrl-C");
    assert!(demo.process.try_wait().unwrap().is_none());

    demo.signal(Signal::INT);

    assert_eq!(demo.end().0.code(), Some(130), "{}", demo.said);
    assert!(
        demo.said.ends_with("\nSIGINT: everything stopped.\n"),
        "{}",
        demo.said
    );
    demo.assert_no_child_stays(3);
    assert_eq!(demo.leftovers(), 0);
}

#[test]
fn sigterm_in_the_middle_stops_everything() {
    let mut demo = Demo::start(&[]);
    demo.until("Ready");

    demo.signal(Signal::TERM);

    assert_eq!(demo.end().0.code(), Some(143), "{}", demo.said);
    demo.assert_no_child_stays(3);
}

#[test]
fn sigint_before_anything_is_ready_stops_everything() {
    let mut demo = Demo::start(&["--keep"]);
    demo.until("logs");

    demo.signal(Signal::INT);

    assert_eq!(demo.end().0.code(), Some(130), "{}", demo.said);
    assert_eq!(demo.leftovers(), 0);
}

#[test]
fn killed_launcher_leaves_no_child() {
    let mut demo = Demo::start(&["--keep"]);
    demo.until("Ready");

    demo.signal(Signal::KILL);

    demo.assert_no_child_stays(3);
}

#[test]
fn stopped_children_of_a_killed_launcher_end_too() {
    let mut demo = Demo::start(&["--keep"]);
    demo.until("Ready");
    for (_, child) in &demo.children {
        pidfd_send_signal(child, Signal::STOP).unwrap();
    }

    demo.signal(Signal::KILL);

    demo.assert_no_child_stays(3);
}

#[test]
fn death_of_a_child_ends_the_demo_and_is_named() {
    for name in ["proxy", "decode-1", "prefill-1"] {
        let mut demo = Demo::start(&["--keep"]);
        demo.until("Running until Ctrl-C");

        pidfd_send_signal(demo.child(name), Signal::KILL).unwrap();

        let (status, errors) = demo.end();
        assert_eq!(status.code(), Some(1), "{}{errors}", demo.said);
        assert!(
            errors.contains(&format!("{name} ended unexpectedly (signal: 9 (SIGKILL))")),
            "{errors}"
        );
        assert!(errors.contains("The last it wrote:\n  "), "{errors}");
        assert!(errors.contains("Logs: "), "{errors}");
        demo.assert_no_child_stays(3);
        assert_eq!(demo.leftovers(), 1);
    }
}

#[test]
fn reader_that_leaves_early_ends_the_demo() {
    let mut demo = Demo::start(&["--keep"]);
    demo.until("Ready");

    let unread = std::mem::replace(&mut demo.output, BufReader::new(closed_output()));
    drop(unread);

    assert_eq!(demo.end().0.code(), Some(0));
    demo.assert_no_child_stays(3);
    assert_eq!(demo.leftovers(), 0);
}

/// The output of a process that says nothing.
fn closed_output() -> ChildStdout {
    Command::new("true")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
        .stdout
        .unwrap()
}

#[test]
fn wrong_command_lines_exit_64() {
    for args in [
        &["demo", "--no-such-flag"][..],
        &["demo", "--prefill=0"],
        &["what"],
        &[],
    ] {
        assert_eq!(launcher(args).status.code(), Some(64), "{args:?}");
    }
}

#[test]
fn help_exits_0() {
    let help = launcher(&["demo", "--help"]);

    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8(help.stdout).unwrap().contains("--keep"));
}

#[test]
fn embedded_program_called_by_hand_refuses() {
    for args in [
        &["__sim", "--port", "0"][..],
        &["__proxy", "1"],
        &["__proxy"],
    ] {
        let refused = launcher(args);

        assert_eq!(refused.status.code(), Some(64), "{args:?}");
        let errors = String::from_utf8(refused.stderr).unwrap();
        assert!(
            errors.contains("not started by a running pd-launcher"),
            "{errors}"
        );
    }
}
