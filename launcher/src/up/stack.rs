//! A running stack: started in order, watched, and ended in the reverse order.

use std::ffi::OsString;
use std::fs::{self, File};
use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{getpid, set_child_subreaper};
use tokio::task::JoinSet;

use super::VersionEnv;
use super::failure::{Failure, describe};
use super::ready::{self, Wait};
use super::show::Show;
use crate::child::Spec;
use crate::cli::Color;
use crate::command::{self, Command, Role, What};
use crate::plan::Plan;
use crate::probe::Wanted;
use crate::settings::Settings;
use crate::supervise::{ChildId, Event, Reporter, Supervisor};
use crate::{descendants, guard};

/// Processes that have not ended this long after SIGTERM are killed. With what guards need then, the
/// end takes less than 15 s.
const STOP_GRACE: Duration = Duration::from_secs(8);
/// For the proxy to listen.
const PROXY_WAIT: Duration = Duration::from_secs(20);
/// What the death of a process, or a signal, needs to be noticed after its consequences were.
const BLAME_WINDOW: Duration = Duration::from_millis(300);

/// Progress.
#[derive(Debug)]
enum Step {
    /// The process in this place of the starts serves.
    Ready { index: usize },
    /// One does not; what to say.
    NotReady(String),
    /// The proxy has all nodes.
    Registered,
    /// The answer through the whole system.
    Answered(String),
    /// There was none; why.
    NotAnswered(String),
}

/// One started process.
#[derive(Debug)]
struct Process {
    id: ChildId,
    what: String,
    port: u16,
    log: PathBuf,
    pid_file: PathBuf,
    started: Instant,
}

struct Stack {
    supervisor: Supervisor<Step>,
    show: Show,
    settings: Settings,
    plan: Plan,
    env: VersionEnv,
    processes: Vec<Process>,
    is_up: bool,
}

/// Starts a stack and keeps it until something ends it, which the exit code tells.
pub(super) fn run(settings: Settings, plan: Plan, env: VersionEnv, color: Color) -> ExitCode {
    let mut stack = Stack {
        supervisor: Supervisor::new(),
        show: Show::new(color),
        settings,
        plan,
        env,
        processes: Vec::new(),
        is_up: false,
    };
    let failure = match stack.story() {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    stack.end(failure)
}

/// What a story without an end has for a result.
enum Never {}

impl Stack {
    fn story(&mut self) -> Result<Never, Failure> {
        self.prepare().map_err(Failure::Start)?;
        self.show.opening(&self.settings, &self.plan)?;
        self.start_proxy()?;
        self.start_nodes()?;
        self.probe()?;
        loop {
            self.next_step()?;
        }
    }

    fn prepare(&self) -> anyhow::Result<()> {
        // What loses its guard falls to us.
        set_child_subreaper(Some(getpid()))?;
        self.supervisor.watch_signals()?;
        let logs = &self.settings.log_dir;
        fs::create_dir_all(logs).with_context(|| logs.display().to_string())
    }

    fn start_proxy(&mut self) -> Result<(), Failure> {
        let command = command::proxy(&self.settings, &self.plan);
        let port = self.plan.proxy_http_port;
        self.start("proxy", port, command)?;
        let wait = self.wait(0, Wanted::Any, PROXY_WAIT);
        self.work(move |reporter| async move {
            reporter.report(match wait.until_ready().await {
                Ok(()) => Step::Ready { index: 0 },
                Err(_) => Step::NotReady(format!("Proxy did not open HTTP :{port}")),
            });
        })?;
        self.until_ready(1)
    }

    /// Starts decode, then prefill nodes, and waits for all of them at once.
    fn start_nodes(&mut self) -> Result<(), Failure> {
        let mut waits = Vec::new();
        for node in self.plan.nodes.clone() {
            let command = command::node(&self.settings, &node, self.env);
            let index = self.processes.len();
            self.start(&node.name, node.http_port, command)?;
            let silence = self.settings.role(node.role).wait;
            waits.push((index, self.wait(index, Wanted::Ok, silence)));
        }
        let count = waits.len();
        self.work(|reporter| async move {
            let mut ready = JoinSet::new();
            for (index, wait) in waits {
                let reporter = reporter.clone();
                ready.spawn(async move {
                    reporter.report(match wait.until_ready().await {
                        Ok(()) => Step::Ready { index },
                        Err(why) => Step::NotReady(why),
                    });
                });
            }
            ready.join_all().await;
        })?;
        self.until_ready(count)
    }

    /// Waits for all registrations, then for an answer.
    fn probe(&mut self) -> Result<(), Failure> {
        let settings = self.settings.clone();
        self.work(|reporter| async move {
            let (host, port) = (&settings.srv_ip, settings.proxy_http_port);
            let count = |role| settings.role(role).count;
            let (prefill, decode) = (count(Role::Prefill), count(Role::Decode));
            if let Err(why) = ready::until_registered(host, port, prefill, decode).await {
                return reporter.report(Step::NotReady(why));
            }
            reporter.report(Step::Registered);
            let key = &settings.api_key.value;
            reporter.report(match ready::ask(host, port, &settings.model, key).await {
                Ok(reply) => Step::Answered(reply),
                Err(why) => Step::NotAnswered(why),
            });
        })?;
        loop {
            match self.next_step()? {
                Step::Registered => self.show.probing()?,
                Step::Answered(reply) => {
                    self.is_up = true;
                    return Ok(self.show.up(&self.settings, &reply)?);
                }
                Step::NotAnswered(why) => return Err(self.blame(Failure::Probe(why))),
                Step::NotReady(why) => return Err(self.blame(Failure::NotReady(why))),
                Step::Ready { .. } => {}
            }
        }
    }

    /// Starts one process under a guard, with a fresh log.
    fn start(&mut self, what: &str, port: u16, command: Command) -> Result<(), Failure> {
        let logs = &self.settings.log_dir;
        let log = logs.join(format!("{what}.log"));
        let pid_file = logs.join(format!(".pid.{what}"));
        let program: OsString = match command.what {
            What::Carried(program) => program.word().into(),
            What::Vllm(program) => program.into(),
        };
        let mut args = guard::argv(getpid(), &pid_file, program);
        args.extend(command.args.into_iter().map(OsString::from));
        let started = File::create(&log).and_then(|_| {
            self.supervisor.start(Spec {
                name: what.to_owned(),
                program: "/proc/self/exe".into(),
                args,
                env: command.env,
                log: log.clone(),
                guarded: true,
            })
        });
        let id = started
            .with_context(|| format!("starting {what}"))
            .map_err(Failure::Start)?;
        if let Some(child) = self.supervisor.child(id) {
            self.show.launched(what, child.pid(), &log)?;
        }
        self.processes.push(Process {
            id,
            what: what.to_owned(),
            port,
            log,
            pid_file,
            started: Instant::now(),
        });
        Ok(())
    }

    fn wait(&self, index: usize, wanted: Wanted, silence: Duration) -> Wait {
        let process = self.processes.get(index);
        Wait {
            what: process.map_or_else(String::new, |process| process.what.clone()),
            host: self.settings.srv_ip.clone(),
            port: process.map_or(0, |process| process.port),
            wanted,
            log: process.map_or_else(PathBuf::new, |process| process.log.clone()),
            silence,
        }
    }

    /// Waits until this many more processes serve.
    fn until_ready(&mut self, count: usize) -> Result<(), Failure> {
        let mut missing = count;
        while missing > 0 {
            match self.next_step()? {
                Step::Ready { index } => {
                    missing -= 1;
                    if let Some(process) = self.processes.get(index) {
                        let after = process.started.elapsed();
                        self.show.ready(&process.what, process.port, after)?;
                    }
                }
                Step::NotReady(why) => return Err(self.blame(Failure::NotReady(why))),
                Step::Registered | Step::Answered(_) | Step::NotAnswered(_) => {}
            }
        }
        Ok(())
    }

    /// Does asynchronous work on the side.
    fn work<F: Future<Output = ()>>(
        &self,
        job: impl FnOnce(Reporter<Step>) -> F + Send + 'static,
    ) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::Start(error.into()))?;
        self.supervisor
            .work(move |reporter| runtime.block_on(job(reporter)))
            .map_err(|error| Failure::Start(error.into()))
    }

    /// The next progress; signals and deaths are failures. Work on the side keeps its own time.
    fn next_step(&mut self) -> Result<Step, Failure> {
        loop {
            match self.supervisor.next_event(None) {
                Some(Event::Work(step)) => return Ok(step),
                Some(Event::Exited(id)) => {
                    let failure = self.ended(id);
                    return Err(self.blame(failure));
                }
                Some(Event::Signalled(signal)) => return Err(Failure::Signalled(signal)),
                None => {}
            }
        }
    }

    /// What looks like `failure` may come of a signal, or of the death of a process.
    fn blame(&mut self, failure: Failure) -> Failure {
        let mut failure = failure;
        let deadline = Instant::now() + BLAME_WINDOW;
        while let Some(event) = self.supervisor.next_event(Some(deadline)) {
            match event {
                Event::Signalled(signal) => return Failure::Signalled(signal),
                Event::Exited(id) if failure.child().is_none() => failure = self.ended(id),
                Event::Exited(_) | Event::Work(_) => {}
            }
        }
        failure
    }

    fn ended(&mut self, id: ChildId) -> Failure {
        let status = describe(self.supervisor.reap(id));
        let process = self.processes.iter().find(|process| process.id == id);
        let what = process.map_or_else(String::new, |process| process.what.clone());
        if self.is_up {
            return Failure::Ended { id, what, status };
        }
        let log = process.map_or_else(String::new, |process| process.log.display().to_string());
        Failure::EndedEarly {
            id,
            what: capitalised(&what),
            status,
            log,
        }
    }

    /// Says why, stops everything, and gives the exit code.
    fn end(mut self, failure: Failure) -> ExitCode {
        let child = failure.child();
        let process = self
            .processes
            .iter()
            .find(|process| Some(process.id) == child);
        let logs: Vec<String> = self
            .processes
            .iter()
            .map(|process| process.log.display().to_string())
            .collect();
        if !matches!(failure, Failure::Signalled(_)) {
            let log = process.map(|process| process.log.as_path());
            self.show.failure(&failure, log, &logs);
        }
        // Whoever ended it may have closed the terminal too.
        self.show.stopping(&failure).ok();
        let killed = self.supervisor.stop(STOP_GRACE);
        descendants::end_all(getpid());
        for process in &self.processes {
            // A process that never got so far has written none.
            fs::remove_file(&process.pid_file).ok();
        }
        self.show.stopped(&killed).ok();
        ExitCode::from(failure.code())
    }
}

/// A name at the beginning of a sentence.
fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}
