//! `up` with real processes: a stub in the place of `vllm`, with a simulated node behind it.

#![cfg(test)]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
use tempfile::TempDir;

/// Longer than any of this takes; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// What must be gone by then, whatever happened.
const GONE_WITHIN_SECS: i64 = 15;
/// The registration port that every stack takes if it is free.
static EXAMPLE_PORT: OnceLock<Option<TcpListener>> = OnceLock::new();

/// Takes the arguments of `vllm serve` as strictly as vLLM, leaves a grandchild in a session of its own
/// that ignores every polite signal, and serves as a simulated node. `$STUB` says what goes wrong.
const VLLM: &str = r#"#!/bin/sh
[ "$1" = --version ] && { case $STUB in version-*) echo ${STUB#version-} ;; *) echo 0.23.0 ;; esac; exit 0; }
[ "$1" = serve ] || { echo "vllm: invalid choice: $1" >&2; exit 2; }
model=$2; shift 2
while [ $# -gt 0 ]; do
  case $1 in
    --port) port=$2; shift 2 ;;
    --download-dir | --gpu-memory-utilization | --max-model-len | --max-num-batched-tokens) shift 2 ;;
    --kv-transfer-config) config=$2; shift 2 ;;
    --enforce-eager) shift ;;
    *) echo "vllm: error: unrecognized arguments: $1" >&2; exit 2 ;;
  esac
done
[ "$VLLM_DISABLE_REQUEST_ID_RANDOMIZATION" = 1 ] || exit 2
case $config in *kv_consumer*) role=decode name=consumer ;; *) role=prefill name=producer ;; esac
kv=${config##*\"kv_port\":}; kv=${kv%%,*}
proxy=${config##*\"proxy_port\":\"}; proxy=${proxy%%\"*}
(trap '' TERM INT HUP; exec setsid sleep 1000) & echo $! > "$LOGS/stubborn.$name"
case $STUB in
  $name-dies) echo "torch.OutOfMemoryError: CUDA out of memory."; exit 3 ;;
  $name-hangs) sleep 1000 ;;
  $name-ignores) trap '' TERM INT ;;
  $name-refuses) set -- --fault '{"action":"refuse","status":503,"probability":1.0}' ;;
esac
"$LAUNCHER" __node $$ /dev/null __sim --role $role --host 0.0.0.0 --port $port --kv-port $kv \
  --advertise 127.0.0.1 --proxy 127.0.0.1:$proxy --model "$model" --speed 50 "$@"
"#;

/// A running `up` whose output is read line by line.
struct Stack {
    process: Child,
    output: BufReader<ChildStdout>,
    said: String,
    directory: TempDir,
    _alive: Sender<()>,
}

impl Stack {
    fn start(stub: &str, args: &[&str]) -> Self {
        EXAMPLE_PORT.get_or_init(|| TcpListener::bind("0.0.0.0:30001").ok());
        let directory = tempfile::tempdir().unwrap();
        let bin = directory.path().join("bin");
        fs::create_dir(&bin).unwrap();
        fs::create_dir(directory.path().join("logs")).unwrap();
        fs::write(bin.join("vllm"), VLLM).unwrap();
        fs::set_permissions(bin.join("vllm"), fs::Permissions::from_mode(0o755)).unwrap();
        let launcher = env!("CARGO_BIN_EXE_pd-launcher");
        let mut command = Command::new(launcher);
        for (name, port) in [
            "PROXY_HTTP",
            "PROXY_ZMQ",
            "CONS_HTTP",
            "CONS_ZMQ",
            "PROD_HTTP",
            "PROD_ZMQ",
        ]
        .into_iter()
        .zip(free_ports())
        {
            command.env(format!("{name}_PORT"), port.to_string());
        }
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let mut process = command
            .arg("up")
            .args(args)
            .current_dir(directory.path())
            .env("PATH", path)
            .env("SRV_IP", "127.0.0.1")
            .env("LAUNCHER", launcher)
            .env("LOGS", directory.path().join("logs"))
            .env("STUB", stub)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self {
            output,
            said: String::new(),
            directory,
            _alive: watchdog(&process),
            process,
        }
    }

    /// Reads on until a line holds this text; the end of the output if none does.
    fn until(&mut self, text: &str) {
        let mut line = String::new();
        while self.output.read_line(&mut line).unwrap() > 0 {
            self.said.push_str(&line);
            if line.contains(text) {
                return;
            }
            line.clear();
        }
    }

    /// Handles of all processes that wrote down their ids, stubborn grandchildren included.
    fn processes(&self) -> Vec<(String, OwnedFd)> {
        let logs = fs::read_dir(self.directory.path().join("logs"))
            .unwrap()
            .flatten();
        let of_ids = logs.filter(|entry| {
            let name = entry.file_name().into_string().unwrap();
            name.starts_with(".pid.") || name.starts_with("stubborn.")
        });
        of_ids
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                let pid = fs::read_to_string(entry.path())
                    .unwrap()
                    .trim()
                    .parse()
                    .unwrap();
                let pid = Pid::from_raw(pid).unwrap();
                (name, pidfd_open(pid, PidfdFlags::empty()).unwrap())
            })
            .collect()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// Waits for the end; its code, and what it said on standard error.
    fn end(&mut self) -> (Option<i32>, String) {
        self.until("no line says this");
        let mut errors = String::new();
        let stderr = self.process.stderr.take();
        stderr.unwrap().read_to_string(&mut errors).unwrap();
        (self.process.wait().unwrap().code(), errors)
    }

    fn pid_files(&self) -> usize {
        let logs = fs::read_dir(self.directory.path().join("logs"))
            .unwrap()
            .flatten();
        logs.filter(|entry| entry.file_name().to_str().unwrap().starts_with(".pid."))
            .count()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Kills the launcher when it takes far too long, so that reading its output ends.
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

/// Six ports, each with a free one behind it. They lie below those that the kernel gives to clients, or
/// any connection of another test could have one.
fn free_ports() -> Vec<u16> {
    const FIRST: u16 = 20_000;
    const BLOCKS: u16 = 800;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % u32::from(BLOCKS)).unwrap();
    loop {
        let block = (start + NEXT.fetch_add(1, Ordering::Relaxed)) % BLOCKS;
        let ports = FIRST + block * 12..FIRST + block * 12 + 12;
        if ports
            .clone()
            .all(|port| TcpListener::bind(("0.0.0.0", port)).is_ok())
        {
            return ports.step_by(2).collect();
        }
    }
}

fn assert_all_end(processes: &[(String, OwnedFd)]) {
    let timeout = Timespec {
        tv_sec: GONE_WITHIN_SECS,
        tv_nsec: 0,
    };
    for (name, process) in processes {
        let mut fds = [PollFd::new(process, PollFlags::IN)];
        assert_eq!(poll(&mut fds, Some(&timeout)).unwrap(), 1, "{name} goes on");
    }
}

#[test]
fn stack_comes_up_in_order_answers_and_ends_whole_on_a_signal() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut stack = Stack::start("", &[]);
        stack.until("Stop: Ctrl-C");
        let processes = stack.processes();
        assert_eq!(processes.len(), 5, "{}", stack.said);

        stack.signal(signal);

        let (ended, errors) = stack.end();
        assert_eq!(ended, Some(code), "{}{errors}", stack.said);
        assert_all_end(&processes);
        assert_eq!(stack.pid_files(), 0);
        let at = |text: &str| {
            stack
                .said
                .find(text)
                .unwrap_or_else(|| panic!("{text}: {}", stack.said))
        };
        assert!(at("Launch proxy") < at("Launch consumer"));
        assert!(at("Launch consumer") < at("Launch producer"));
        assert!(at("producer ready") < at("end-to-end OK"));
    }
}

#[test]
fn killed_launcher_leaves_nothing_not_even_a_stubborn_grandchild() {
    let mut stack = Stack::start("", &[]);
    stack.until("Stop: Ctrl-C");
    let processes = stack.processes();

    stack.signal(Signal::KILL);

    assert_eq!(processes.len(), 5, "{}", stack.said);
    assert_all_end(&processes);
}

#[test]
fn signals_while_a_node_loads_leave_nothing() {
    for (signal, code) in [
        (Signal::INT, Some(130)),
        (Signal::TERM, Some(143)),
        (Signal::KILL, None),
    ] {
        let mut stack = Stack::start("consumer-hangs", &[]);
        stack.until("producer ready");
        let processes = stack.processes();

        stack.signal(signal);

        assert_eq!(stack.end().0, code, "{}", stack.said);
        assert!(processes.len() >= 4, "{}", stack.said);
        assert_all_end(&processes);
    }
}

#[test]
fn node_that_ignores_sigterm_is_killed_at_the_second_signal() {
    let mut stack = Stack::start("producer-ignores", &[]);
    stack.until("Stop: Ctrl-C");
    let processes = stack.processes();

    stack.signal(Signal::INT);
    stack.until("SIGINT: stopping all processes");
    stack.signal(Signal::INT);

    assert_eq!(stack.end().0, Some(130), "{}", stack.said);
    let killed = "Killed after not ending in time: producer";
    assert!(stack.said.contains(killed), "{}", stack.said);
    assert_all_end(&processes);
}

#[test]
fn node_that_ignores_sigterm_is_killed_within_15_seconds() {
    let mut stack = Stack::start("consumer-ignores", &[]);
    stack.until("Stop: Ctrl-C");
    let processes = stack.processes();

    stack.signal(Signal::TERM);

    assert_all_end(&processes);
    assert_eq!(stack.end().0, Some(143), "{}", stack.said);
    let killed = "Killed after not ending in time: consumer.";
    assert!(stack.said.contains(killed), "{}", stack.said);
}

#[test]
fn death_of_a_guard_takes_what_it_guarded_along() {
    let mut stack = Stack::start("", &[]);
    stack.until("Stop: Ctrl-C");
    let processes = stack.processes();
    let line = stack
        .said
        .lines()
        .find(|line| line.ends_with("logs/consumer.log"));
    let pid = line
        .unwrap()
        .split([' ', ','])
        .find_map(|word| word.parse().ok());

    kill_process(Pid::from_raw(pid.unwrap()).unwrap(), Signal::KILL).unwrap();

    let (code, errors) = stack.end();
    assert_eq!(code, Some(1), "{}{errors}", stack.said);
    assert!(errors.contains("consumer ended unexpectedly"), "{errors}");
    assert_all_end(&processes);
}

#[test]
fn simulated_stack_of_many_nodes_takes_the_same_path() {
    let mut stack = Stack::start("", &["2P2D", "--simulate"]);
    stack.until("Stop: Ctrl-C");
    let processes = stack.processes();
    assert_eq!(processes.len(), 5, "{}", stack.said);

    stack.signal(Signal::INT);

    assert_eq!(stack.end().0, Some(130));
    assert_all_end(&processes);
}

#[test]
fn node_that_dies_while_loading_ends_the_stack_with_its_last_lines_and_a_hint() {
    for name in ["consumer", "producer"] {
        let mut stack = Stack::start(&format!("{name}-dies"), &[]);

        let (code, errors) = stack.end();

        assert_eq!(code, Some(1), "{}{errors}", stack.said);
        let what = if name == "consumer" {
            "Consumer"
        } else {
            "Producer"
        };
        let message = format!("{what} exited early; check logs/{name}.log (exit status 3)");
        assert!(errors.contains(&message), "{errors}");
        assert!(
            errors.contains("\n  torch.OutOfMemoryError: CUDA out of memory.\n"),
            "{errors}"
        );
        assert!(errors.contains("lower --max-model-len"), "{errors}");
        assert!(
            stack.said.ends_with("everything stopped.\n"),
            "{}",
            stack.said
        );
        assert_eq!(stack.pid_files(), 0);
    }
}

#[test]
fn death_of_a_process_ends_the_stack_and_is_named() {
    for name in ["proxy", "consumer", "producer"] {
        let mut stack = Stack::start("", &[]);
        stack.until("Stop: Ctrl-C");
        let processes = stack.processes();
        let victim = processes
            .iter()
            .find(|(file, _)| *file == format!(".pid.{name}"));

        pidfd_send_signal(&victim.unwrap().1, Signal::KILL).unwrap();

        let (code, errors) = stack.end();
        assert_eq!(code, Some(1), "{}{errors}", stack.said);
        let message = format!("{name} ended unexpectedly (SIGKILL)");
        assert!(errors.contains(&message), "{errors}");
        assert_all_end(&processes);
    }
}

#[test]
fn silent_node_is_given_up_after_its_wait() {
    let mut stack = Stack::start("producer-hangs", &["--prefill-wait", "1"]);

    let (code, errors) = stack.end();

    assert_eq!(code, Some(1), "{}{errors}", stack.said);
    assert!(errors.contains("Timeout: producer HTTP :"), "{errors}");
    assert!(errors.contains("did not open"), "{errors}");
}

#[test]
fn refused_request_through_the_whole_system_exits_2_and_names_the_logs() {
    let mut stack = Stack::start("producer-refuses", &[]);

    let (code, errors) = stack.end();

    assert_eq!(code, Some(2), "{}{errors}", stack.said);
    assert!(errors.contains("end-to-end failed (HTTP 5"), "{errors}");
    let logs = "Logs: logs/proxy.log logs/consumer.log logs/producer.log";
    assert!(errors.contains(logs), "{errors}");
    assert!(
        stack.said.ends_with("everything stopped.\n"),
        "{}",
        stack.said
    );
}

#[test]
fn installed_version_that_cannot_do_it_starts_nothing() {
    let mut stack = Stack::start("version-0.15.1", &[]);

    let (code, errors) = stack.end();

    assert_eq!(code, Some(1));
    assert!(
        errors.contains("vLLM 0.15.1 cannot run --kv-connector p2p-nccl"),
        "{errors}"
    );
    assert!(stack.said.is_empty(), "{}", stack.said);
    assert_eq!(stack.processes().len(), 0);
}

#[test]
fn nothing_starts_on_a_taken_port_or_without_vllm() {
    let owner = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = owner.local_addr().unwrap().port().to_string();
    let mut stack = Stack::start("", &["--decode-http-port", &port]);
    let (code, errors) = stack.end();
    assert_eq!(code, Some(1));
    let message = format!("Port {port} is already in use. Free it or change the port.");
    assert!(errors.contains(&message), "{errors}");

    let mut stack = Stack::start("", &["--vllm", "no-such-vllm"]);
    let (code, errors) = stack.end();
    assert_eq!(code, Some(1));
    assert!(errors.contains("Missing command: no-such-vllm"), "{errors}");
    assert!(stack.said.is_empty(), "{}", stack.said);
}
