//! What `up` says: the testbed's words, and its signs where a terminal shows them.

use std::io::{self, Stdout, Write};
use std::path::Path;
use std::time::Duration;

use rustix::process::Pid;

use super::failure::{Failure, hint};
use crate::cli::Color;
use crate::command::{Role, authority};
use crate::logs;
use crate::plan::Plan;
use crate::settings::Settings;
use crate::signals;
use crate::terminal::{Terminal, printable};

/// The voice of `up`.
#[derive(Debug)]
pub(super) struct Show {
    terminal: Terminal<Stdout>,
}

impl Show {
    pub(super) fn new(color: Color) -> Self {
        Self {
            terminal: Terminal::stdout(color),
        }
    }

    /// The effective settings and the plan.
    pub(super) fn opening(&mut self, settings: &Settings, plan: &Plan) -> io::Result<()> {
        let terminal = &mut self.terminal;
        for line in settings_lines(settings, plan) {
            terminal.line(format!("{}{line}", terminal.sign("▶ ")))?;
        }
        terminal.line("")?;
        for line in plan.table() {
            terminal.line(terminal.quiet(format!("  {line}")))?;
        }
        terminal.line("")
    }

    /// A process is started.
    pub(super) fn launched(&mut self, what: &str, pid: Pid, log: &Path) -> io::Result<()> {
        let terminal = &mut self.terminal;
        terminal.line(format!("{}Launch {what}", terminal.sign("🚀 ")))?;
        let (pid, log) = (pid.as_raw_nonzero(), log.display());
        terminal.line(terminal.quiet(format!("   {}pid {pid}, log {log}", terminal.sign("↳ "))))
    }

    /// A process serves.
    pub(super) fn ready(&mut self, what: &str, port: u16, after: Duration) -> io::Result<()> {
        let terminal = &mut self.terminal;
        let after = after.as_secs_f64();
        let line = format!("{what} ready on HTTP :{port} after {after:.1} s");
        terminal.line(format!("{}{line}", terminal.sign("✅ ")))
    }

    /// All nodes are registered, and the request through them is next.
    pub(super) fn probing(&mut self) -> io::Result<()> {
        let terminal = &mut self.terminal;
        let line = "all nodes registered; probing end to end";
        terminal.line(format!("{}{line}", terminal.sign("🔎 ")))
    }

    /// The stack is up.
    pub(super) fn up(&mut self, settings: &Settings, reply: &str) -> io::Result<()> {
        let terminal = &mut self.terminal;
        terminal.line(format!("{}end-to-end OK", terminal.sign("✅ ")))?;
        terminal.line(format!("   {}", printable(reply.trim())))?;
        terminal.line("")?;
        let authority = authority(&settings.srv_ip, settings.proxy_http_port);
        let endpoint = format!("OpenAI-compatible endpoint: http://{authority}/v1");
        let logs = format!("Logs: {}", settings.log_dir.display());
        terminal.framed(&[
            "Ready".to_owned(),
            endpoint,
            logs,
            "Stop: Ctrl-C".to_owned(),
        ])
    }

    /// What went wrong, on standard error, with the last of the log that tells of it.
    pub(super) fn failure(&self, failure: &Failure, log: Option<&Path>, logs: &[String]) {
        // Nothing is left to say if even this cannot be said.
        self.tell(failure, log, logs).ok();
    }

    fn tell(&self, failure: &Failure, log: Option<&Path>, logs: &[String]) -> io::Result<()> {
        let mut err = io::stderr().lock();
        writeln!(err, "{}{failure}", self.terminal.sign("❌ "))?;
        if let Some(log) = log {
            let lines = logs::tail(log, logs::TAIL_LINES).unwrap_or_default();
            writeln!(err, "The last of {}:", log.display())?;
            for line in &lines {
                writeln!(err, "  {}", printable(line))?;
            }
            if let Some(hint) = hint(&lines) {
                writeln!(err, "{}{hint}", self.terminal.sign("ℹ "))?;
            }
        }
        if matches!(failure, Failure::Probe(_)) {
            writeln!(err, "Logs: {}", logs.join(" "))?;
        }
        Ok(())
    }

    /// The end begins.
    pub(super) fn stopping(&mut self, failure: &Failure) -> io::Result<()> {
        let terminal = &mut self.terminal;
        let why = match failure {
            Failure::Signalled(signal) => format!("{}: ", signals::name(*signal)),
            _ => String::new(),
        };
        let line = format!("{why}stopping all processes");
        terminal.line(format!("{}{line}", terminal.sign("❗ ")))
    }

    /// Everything is stopped.
    pub(super) fn stopped(&mut self, killed: &[String]) -> io::Result<()> {
        if !killed.is_empty() {
            let names = killed.join(", ");
            self.terminal
                .line(format!("Killed after not ending in time: {names}."))?;
        }
        self.terminal.line("everything stopped.")
    }
}

/// The testbed's five lines.
fn settings_lines(settings: &Settings, plan: &Plan) -> Vec<String> {
    let role = |name: &str, role: Role| {
        let gpus = plan.nodes.iter().filter(|node| node.role == role);
        let gpus: Vec<&str> = gpus
            .flat_map(|node| &node.gpus)
            .map(String::as_str)
            .collect();
        let gpus = gpus.join(",");
        let of_role = settings.role(role);
        let (http, kv) = (of_role.http_port.port, of_role.kv_port.port);
        let share = of_role.gpu_memory_utilization;
        format!("{name}: HTTP :{http}, ZMQ :{kv}, GPU {gpus}, UTIL {share}")
    };
    let (http, zmq) = (settings.proxy_http_port, settings.proxy_zmq_port);
    vec![
        format!("SRV_IP: {}", settings.srv_ip),
        format!("MODEL: {}", settings.model),
        format!("Proxy: HTTP :{http}, ZMQ :{zmq}"),
        role("Consumer", Role::Decode),
        role("Producer", Role::Prefill),
    ]
}
