//! The life of the process.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use arc_swap::ArcSwap;
use clap::Parser;

use crate::args::Args;
use crate::config::Config;
use crate::io::{Driver, Listener, clock};
use crate::nodes::Snapshot;
use crate::registry;
use crate::relay::{Phase, PhaseCell, Settings, Shared};
use crate::shard::{self, Ready, Start};
use crate::telemetry::Counters;

use super::{bind, limits, logging, metrics, signals};

/// Status of a process that was called wrongly (`EX_USAGE` of sysexits.h).
const EXIT_USAGE: u8 = 64;

/// Runs the proxy until it is told to end: what `pd-proxy` does with its arguments, the program's name
/// first. The status it ends with.
pub fn main_with_args(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => {
            // Help and version come this way too, and are no errors.
            let status = if error.use_stderr() { EXIT_USAGE } else { 0 };
            error.print().unwrap_or_default();
            return ExitCode::from(status);
        }
    };
    logging::start(args.log_level);
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let config = Config::new(args)?;
    let descriptors = limits::raise_descriptors();
    let listeners = bind::listeners(config.http, config.shards)?;
    let http = listeners.first().context("no shards")?.local_address()?;

    let shared = Arc::new(shared(&config));
    let registry = registry::start(
        registry::Config {
            host: config.http.ip().to_string(),
            ports: config.zmq_ports.clone(),
            shards: config.shards,
            own_http: vec![http],
            allow: config.registration_allow.clone(),
            fresh: config.node_fresh,
            expiry: config.node_expiry,
        },
        Arc::clone(&shared.fleet),
        Arc::clone(&shared.registry),
    )
    .map_err(bind::registration)?;
    let (shards, ready) = shard::spawn(starts(&config, &shared, &listeners))?;
    let driver = ready.first().map_or(Driver::Epoll, |ready| ready.driver);
    shared.driver.set(driver.name()).unwrap_or_default();
    announce(&config, http, &ready, descriptors);

    let ends = Arc::clone(&shared);
    signals::on_end(move |signal| {
        tracing::info!("{signal}: no new connections; finishing open streams");
        ends.phase.drain();
        listeners.iter().for_each(Listener::shutdown);
    })
    .context("cannot take over SIGTERM and SIGINT")?;
    wait(&shards, &shared.phase, config.drain_timeout)?;
    // Nodes may register until the last stream has ended.
    registry.stop();
    tracing::info!("stopped");
    Ok(())
}

/// Waits until the process was told to end and every shard has ended, or the time for that is over.
fn wait(shards: &shard::Shards, phase: &PhaseCell, drain_timeout: Duration) -> Result<()> {
    const LOOK: Duration = Duration::from_millis(100);
    let (mut left, mut until) = (shards.count(), None);
    while left > 0 {
        let ended = shards.next_end(LOOK);
        let now = clock::now();
        if phase.get() == Phase::Serving {
            if let Some(index) = ended {
                bail!("shard {index} has died by a defect; its streams are lost");
            }
            continue;
        }
        left -= usize::from(ended.is_some());
        if now > *until.get_or_insert(now + drain_timeout) {
            tracing::warn!("streams are still open after {drain_timeout:?}; they are cut");
            return Ok(());
        }
    }
    Ok(())
}

fn shared(config: &Config) -> Shared {
    // Unlike any other process's, this one's own requests can be told when they come back.
    let instance = getrandom::u32().unwrap_or_else(|_| std::process::id());
    Shared {
        settings: Settings {
            body_bytes_max: config.body_bytes_max,
            node_authorization: config.node_authorization.clone(),
            access: config.access.clone(),
            via: format!("1.1 pd-proxy-{instance:08x}").into(),
            answer_within: config.answer_within,
            first_byte_within: config.first_byte_within,
            stream_idle: config.stream_idle,
            client_times: config.client_times,
            metrics: metrics::text,
        },
        fleet: Arc::new(ArcSwap::from_pointee(Snapshot::default())),
        counters: (0..config.shards)
            .map(|_| Arc::new(Counters::default()))
            .collect(),
        turn: 0.into(),
        phase: PhaseCell::default(),
        driver: std::sync::OnceLock::new(),
        started: clock::now(),
        registry: Arc::default(),
    }
}

/// One start per shard. Cores are dealt out in order, if there are as many as shards: two shards on one
/// core would be worse off than two that the scheduler moves.
fn starts(config: &Config, shared: &Arc<Shared>, listeners: &[Listener]) -> Vec<Start> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let is_enough = cores.len() >= config.shards;
    listeners
        .iter()
        .enumerate()
        .map(|(index, listener)| Start {
            shared: Arc::clone(shared),
            listeners: vec![listener.clone()],
            driver: config.driver,
            core: cores.get(index).copied().filter(|_| is_enough),
        })
        .collect()
}

/// Says that every socket is bound, on what the shards run, and what an operator should change.
fn announce(
    config: &Config,
    http: std::net::SocketAddr,
    ready: &[Ready],
    descriptors: Option<u64>,
) {
    let driver = ready.first().map_or(Driver::Epoll, |ready| ready.driver);
    if let Some(refused) = ready.iter().find_map(|ready| ready.refused.as_ref()) {
        tracing::warn!("running on epoll: {refused}");
    }
    if descriptors.is_some_and(|limit| limit < 4_096) {
        let limit = descriptors.unwrap_or(0);
        tracing::warn!("only {limit} open files are allowed; a stream needs two (ulimit -n)");
    }
    let ports = config
        .zmq_ports
        .iter()
        .map(u16::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    tracing::info!(
        "pd-proxy {} is ready: HTTP on {http}, registration on {}:{ports}, {} shard(s) on {}",
        env!("CARGO_PKG_VERSION"),
        config.http.ip(),
        config.shards,
        driver.name(),
    );
}
