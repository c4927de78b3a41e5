//! What the demo says.

use std::io::{self, ErrorKind, Stdout, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use pd_bench::load::Options;
use rustix::process::Pid;

use super::chat::{self, Figures};
use super::plan::{MODEL, Moved, Plan, Process, SPEED};
use super::step::Failure;
use crate::child::Child;
use crate::cli::Color;
use crate::command::Role;
use crate::terminal::{Terminal, printable};
use crate::{exit, logs, signals};

/// The demo's voice. Everything but failures goes to standard output.
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

    /// What will run.
    pub(super) fn opening(&mut self, plan: &Plan, logs: &Path) -> io::Result<()> {
        let count = |role| plan.nodes.iter().filter(|node| node.role == role).count();
        let terminal = &mut self.terminal;
        let title = format!(
            "{} prefill + {} decode behind pd-proxy, on loopback, without a GPU",
            count(Role::Prefill),
            count(Role::Decode),
        );
        terminal.line(terminal.strong(title))?;
        terminal.line(format!(
            "  model  {MODEL}, simulated at {SPEED}x real-life speed"
        ))?;
        terminal.line(format!("  logs   {}", logs.display()))?;
        for Moved { who, wanted, port } in &plan.moved {
            terminal.line(format!("  port   {wanted} is taken: {who} uses {port}"))?;
        }
        terminal.line("")
    }

    /// A process is up.
    pub(super) fn up(&mut self, process: &Process, pid: Pid, after: Duration) -> io::Result<()> {
        let address = format!("127.0.0.1:{}", process.port);
        let pid = pid.as_raw_nonzero();
        let Process { name, detail, .. } = process;
        let terminal = &mut self.terminal;
        terminal.line(format!(
            "  {}{name:<10}  {address:<15}  pid {pid:<7}  {}  {}",
            terminal.tick(),
            seconds(after),
            terminal.quiet(detail),
        ))
    }

    /// The pair is ready.
    pub(super) fn pair_ready(&mut self, after: Duration) -> io::Result<()> {
        let terminal = &mut self.terminal;
        let what = "registered, checked and paired";
        terminal.line(format!(
            "  {}{what:<40}  {}",
            terminal.tick(),
            seconds(after)
        ))
    }

    /// The endpoint, and how to ask it.
    pub(super) fn ready(&mut self, plan: &Plan, keep: bool) -> io::Result<()> {
        let endpoint = format!("OpenAI-compatible endpoint: {}", plan.base_url());
        let terminal = &mut self.terminal;
        terminal.line("")?;
        terminal.framed(&["Ready".to_owned(), endpoint, format!("Model: {MODEL}")])?;
        terminal.line("")?;
        terminal.line(if keep {
            "Try it from another terminal:"
        } else {
            "Try it from another terminal, once started with --keep:"
        })?;
        terminal.line("")?;
        terminal.line(curl(&plan.chat_url()))?;
        terminal.line("")
    }

    /// What is asked, before the answer.
    pub(super) fn question(&mut self) -> io::Result<()> {
        let terminal = &mut self.terminal;
        terminal.line(format!("{} {}", terminal.strong("you  >"), chat::QUESTION))?;
        terminal.piece(&format!("{} ", terminal.strong("model>")))
    }

    /// A piece of the answer.
    pub(super) fn text(&mut self, text: &str) -> io::Result<()> {
        self.terminal.piece(&printable(text))
    }

    /// The answer is complete.
    pub(super) fn answered(&mut self, figures: &Figures) -> io::Result<()> {
        let terminal = &mut self.terminal;
        terminal.line("")?;
        terminal.line("")?;
        terminal.line(terminal.quiet(format!(
            "  {} tokens, the first after {} ms, then {:.0} tokens/sec",
            figures.tokens,
            figures.first.as_millis(),
            figures.tokens_per_second(),
        )))?;
        terminal.line("")
    }

    /// What the benchmark does.
    pub(super) fn bench(&mut self, options: &Options) -> io::Result<()> {
        let terminal = &mut self.terminal;
        terminal.line(terminal.strong(format!(
            "Benchmark: {} requests, {} at a time, {} words in, {} tokens out, streamed and then whole",
            options.requests, options.concurrency, options.prompts.words, options.max_tokens,
        )))
    }

    /// A line as it is.
    pub(super) fn line(&mut self, line: &str) -> io::Result<()> {
        self.terminal.line(line)
    }

    /// It goes on until someone ends it.
    pub(super) fn keeping(&mut self) -> io::Result<()> {
        let terminal = &mut self.terminal;
        terminal.line("")?;
        terminal.line(terminal.strong("Running until Ctrl-C."))
    }

    /// All went well.
    pub(super) fn closing(mut self, took: Duration, killed: &[String]) -> ExitCode {
        let terminal = &mut self.terminal;
        let all = format!(
            "{}Everything stopped after {}.",
            terminal.tick(),
            seconds(took).trim()
        );
        let said = terminal
            .line("")
            .and_then(|()| terminal.line(all))
            .and_then(|()| self.killed(killed));
        match said {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => self.failure(&Failure::Output(error), None, None),
        }
    }

    /// Someone ended it.
    pub(super) fn interrupted(mut self, signal: i32, killed: &[String]) {
        let name = signals::name(signal);
        // Whoever ended it may have closed the terminal too.
        self.terminal
            .line(format!("\n{name}: everything stopped."))
            .ok();
        self.killed(killed).ok();
    }

    fn killed(&mut self, killed: &[String]) -> io::Result<()> {
        if killed.is_empty() {
            return Ok(());
        }
        self.terminal.line(format!(
            "Killed after not ending in time: {}.",
            killed.join(", ")
        ))
    }

    /// Says on standard error what went wrong and what the child wrote last; gives the exit code.
    pub(super) fn failure(
        self,
        failure: &Failure,
        child: Option<&Child>,
        logs: Option<&Path>,
    ) -> ExitCode {
        let code = match failure {
            // The reader has seen enough, as `head` does.
            Failure::Output(error) if error.kind() == ErrorKind::BrokenPipe => {
                return ExitCode::SUCCESS;
            }
            Failure::Signalled(signal) => return exit::signalled(*signal),
            Failure::Probe(_) => exit::PROBE_FAILED,
            _ => exit::START_FAILED,
        };
        // Nothing is left to say if even this cannot be said.
        tell(failure, child, logs).ok();
        ExitCode::from(code)
    }
}

fn tell(failure: &Failure, child: Option<&Child>, logs: Option<&Path>) -> io::Result<()> {
    let mut err = io::stderr().lock();
    writeln!(err, "\npd-launcher: {failure}")?;
    if let Some(child) = child {
        let lines = logs::tail(child.log(), logs::TAIL_LINES).unwrap_or_default();
        writeln!(err, "The last it wrote:")?;
        for line in lines {
            writeln!(err, "  {}", printable(&line))?;
        }
    }
    if let Some(logs) = logs {
        writeln!(err, "Everything stopped. Logs: {}", logs.display())?;
    }
    Ok(())
}

/// The demo's own request as a command; the JSON holds no single quote.
fn curl(url: &str) -> String {
    format!(
        "curl -N {url} \\\n  -H 'Content-Type: application/json' \\\n  -d '{}'",
        chat::request()
    )
}

fn seconds(time: Duration) -> String {
    format!("{:>5.2} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curl_can_be_pasted_into_a_shell() {
        insta::assert_snapshot!(curl("http://127.0.0.1:10001/v1/chat/completions"), @r#"
        curl -N http://127.0.0.1:10001/v1/chat/completions \
          -H 'Content-Type: application/json' \
          -d '{"model":"Qwen/Qwen2.5-7B-Instruct","messages":[{"role":"user","content":"Why are prefill and decode better apart?"}],"max_tokens":64,"stream":true}'
        "#);
        assert!(!chat::request().contains('\''));
    }
}
