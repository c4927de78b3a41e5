//! The demo: the whole system on one machine, without a GPU, as a story of a minute.
//!
//! The proxy and simulated nodes run as processes of their own, as they would with vLLM. Everything is
//! on the loopback address. However the demo ends, no process of it stays.

mod chat;
mod plan;
mod ready;
mod show;
mod step;

use std::future::Future;
use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use pd_bench::load::client::Endpoint;
use pd_bench::load::{Options, Prompts, run as run_load};
use pd_bench::report::seed_format;

use crate::child::Spec;
use crate::cli::DemoArgs;
use crate::exit;
use crate::logs::LogDir;
use crate::supervise::{ChildId, Event, Reporter, Supervisor};
use plan::{MODEL, Plan, Process};
use ready::Watch;
use show::Show;
use step::{EndStatus, Failure, Step};

/// Children that have not ended this long after SIGTERM are killed.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// What a child that died just before its absence was felt needs to be noticed.
const BLAME_WINDOW: Duration = Duration::from_millis(500);
/// Work on the side keeps its own time; this is for the case that it does not.
const STEP_MARGIN: Duration = Duration::from_secs(5);

/// The simulated nodes ask for no key; clients send one all the same.
const API_KEY: &str = "sk-noop";
const BENCH_REQUESTS: u64 = 24;
const BENCH_CONCURRENCY: u64 = 8;
/// The same prompts in every demo: its figures can be compared.
const BENCH_SEED: u64 = 1;
const BENCH_WORDS: usize = 64;
const BENCH_TOKENS: u64 = 32;
/// For one request of the benchmark, which takes about a second.
const BENCH_REQUEST_TIMEOUT: Duration = Duration::from_secs(8);
/// For the benchmark: two passes of three rounds.
const BENCH_TIMEOUT: Duration = Duration::from_secs(50);

/// Runs the demo. The exit code tells how it ended; see [`exit`].
pub(crate) fn run(args: &DemoArgs) -> ExitCode {
    let started = Instant::now();
    let supervisor = Supervisor::new();
    let show = Show::new(args.color);
    let logs = supervisor
        .watch_signals()
        .and_then(|()| LogDir::create("pd-demo"));
    let mut demo = match logs {
        Ok(logs) => Demo {
            supervisor,
            show,
            logs,
            started,
        },
        Err(error) => return show.failure(&Failure::Start(error.into()), None, None),
    };
    let failure = demo.story(args).err();
    demo.end(failure)
}

struct Demo {
    supervisor: Supervisor<Step>,
    show: Show,
    logs: LogDir,
    started: Instant,
}

impl Demo {
    fn story(&mut self, args: &DemoArgs) -> Result<(), Failure> {
        let plan = Plan::new(args.prefill, args.decode)
            .map_err(|error| Failure::Start(anyhow::Error::new(error).context("no free ports")))?;
        self.show.opening(&plan, self.logs.path())?;
        self.start(&plan)?;
        self.show.ready(&plan, args.keep)?;
        self.chat(&plan)?;
        self.bench(&plan)?;
        if args.keep {
            self.show.keeping()?;
            loop {
                self.next_step(None)?;
            }
        }
        Ok(())
    }

    /// Starts all processes at once and waits until the pair is ready.
    fn start(&mut self, plan: &Plan) -> Result<(), Failure> {
        let processes = plan.processes();
        let mut children = Vec::new();
        let started = Instant::now();
        for process in &processes {
            children.push(self.spawn(process).map_err(|error| {
                Failure::Start(
                    anyhow::Error::new(error).context(format!("starting {}", process.name)),
                )
            })?);
        }
        let watch = Watch::new(plan, &processes, started).map_err(Failure::Start)?;
        self.work(|reporter| watch.run(reporter))?;
        loop {
            match self.next_step(Some(ready::TIMEOUT))? {
                Step::Up { process, after } => {
                    let id = children.get(process).copied();
                    let pid = id
                        .and_then(|id| self.supervisor.child(id))
                        .map(|child| child.pid());
                    if let (Some(process), Some(pid)) = (processes.get(process), pid) {
                        self.show.up(process, pid, after)?;
                    }
                }
                Step::PairReady { after } => return Ok(self.show.pair_ready(after)?),
                Step::NotReady(missing) => return Err(self.blame(Failure::NotReady(missing))),
                _ => {}
            }
        }
    }

    fn spawn(&mut self, process: &Process) -> io::Result<ChildId> {
        self.supervisor.start(Spec {
            name: process.name.clone(),
            program: std::env::current_exe()?,
            args: process
                .program
                .argv(rustix::process::getpid(), process.args.clone()),
            env: Vec::new(),
            log: self.logs.file(&process.name),
            guarded: false,
        })
    }

    /// Streams one answer.
    fn chat(&mut self, plan: &Plan) -> Result<(), Failure> {
        self.show.question()?;
        let url = plan.chat_url();
        self.work(|reporter| async move {
            let show = |text| reporter.report(Step::Text(text));
            reporter.report(match chat::ask(&url, API_KEY.to_owned(), show).await {
                Ok(figures) => Step::ChatDone(figures),
                Err(error) => Step::ChatFailed(format!("{error:#}")),
            });
        })?;
        let mut begun = false;
        loop {
            match self.next_step(Some(chat::TIMEOUT))? {
                // The first token often begins with the space that parts it from a prompt.
                Step::Text(text) if begun => self.show.text(&text)?,
                Step::Text(text) => {
                    begun = true;
                    self.show.text(text.trim_start())?;
                }
                Step::ChatDone(figures) => return Ok(self.show.answered(&figures)?),
                Step::ChatFailed(error) => return Err(self.blame(Failure::Probe(error))),
                _ => {}
            }
        }
    }

    /// Runs the benchmark.
    fn bench(&mut self, plan: &Plan) -> Result<(), Failure> {
        let options = Options {
            endpoint: Endpoint::from_url(&plan.chat_url())
                .map_err(|error| Failure::Start(error.into()))?,
            api_key: API_KEY.to_owned(),
            model: MODEL.to_owned(),
            requests: BENCH_REQUESTS,
            concurrency: BENCH_CONCURRENCY,
            prompts: Prompts {
                seed: BENCH_SEED,
                words: BENCH_WORDS,
            },
            max_tokens: BENCH_TOKENS,
            timeout: BENCH_REQUEST_TIMEOUT,
        };
        self.show.bench(&options)?;
        self.supervisor
            .work(move |reporter| {
                let outcome = run_load(&options, &mut |sample| {
                    if let Err(failure) = sample.result {
                        let line = seed_format::render_failure(sample.pass, &failure);
                        reporter.report(Step::RequestFailed(line));
                    }
                });
                reporter.report(outcome.map_or_else(Step::BenchFailed, Step::BenchDone));
            })
            .map_err(|error| Failure::Start(error.into()))?;
        loop {
            match self.next_step(Some(BENCH_TIMEOUT))? {
                Step::RequestFailed(line) => self.show.line(&line)?,
                Step::BenchFailed(error) => return Err(Failure::Start(error.into())),
                Step::BenchDone(outcome) => {
                    self.show.line(seed_format::render(&outcome).trim_end())?;
                    if outcome.is_success(0.0) {
                        return Ok(());
                    }
                    let failure = Failure::Probe("requests of the benchmark failed".to_owned());
                    return Err(self.blame(failure));
                }
                _ => {}
            }
        }
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

    /// The next progress, within this time and a margin; signals and deaths are failures.
    fn next_step(&mut self, within: Option<Duration>) -> Result<Step, Failure> {
        let deadline = within.map(|within| Instant::now() + within + STEP_MARGIN);
        match self.supervisor.next_event(deadline) {
            Some(Event::Work(step)) => Ok(step),
            Some(Event::Exited(id)) => Err(self.child_ended(id)),
            Some(Event::Signalled(signal)) => Err(Failure::Signalled(signal)),
            None => Err(Failure::Probe("no progress".to_owned())),
        }
    }

    /// What felt like `failure` may be the death of a child, which is the better thing to say.
    fn blame(&mut self, failure: Failure) -> Failure {
        let deadline = Instant::now() + BLAME_WINDOW;
        loop {
            match self.supervisor.next_event(Some(deadline)) {
                Some(Event::Exited(id)) => return self.child_ended(id),
                Some(Event::Signalled(signal)) => return Failure::Signalled(signal),
                Some(Event::Work(_)) => {}
                None => return failure,
            }
        }
    }

    fn child_ended(&mut self, id: ChildId) -> Failure {
        let name = self
            .supervisor
            .child(id)
            .map_or("child", |child| child.name())
            .to_owned();
        Failure::ChildEnded {
            id,
            name,
            status: EndStatus(self.supervisor.reap(id)),
        }
    }

    /// Stops everything, says how it went, and gives the exit code.
    fn end(mut self, failure: Option<Failure>) -> ExitCode {
        let killed = self.supervisor.stop(STOP_GRACE);
        let Some(failure) = failure else {
            self.logs.remove().ok();
            return self.show.closing(self.started.elapsed(), &killed);
        };
        if let Failure::Signalled(signal) = failure {
            self.logs.remove().ok();
            self.show.interrupted(signal, &killed);
            return exit::signalled(signal);
        }
        if let Failure::Output(_) = failure {
            // Nobody reads on, and nothing went wrong that logs could explain.
            self.logs.remove().ok();
            return self.show.failure(&failure, None, None);
        }
        let child = match &failure {
            Failure::ChildEnded { id, .. } => self.supervisor.child(*id),
            _ => None,
        };
        self.show.failure(&failure, child, Some(self.logs.path()))
    }
}
