//! A stack of proxy, decode and prefill nodes in place of the testbed's script.

pub(crate) mod args;
mod dry_run;
mod failure;
mod preflight;
mod ready;
mod show;
mod stack;

use std::io::{self, Write};
use std::process::ExitCode;

use crate::connector::{Connector, Verdict, Version};
use crate::exit;
use crate::plan::Plan;
use crate::settings::Settings;
use args::{ShowArgs, UpArgs};

/// Variables that every node needs for its connector.
type VersionEnv = &'static [(&'static str, &'static str)];

/// Runs `up`.
pub(crate) fn run(args: &UpArgs) -> ExitCode {
    let plan = args.stack.settings(&args.rest).and_then(|settings| {
        let plan = Plan::new(&settings)?;
        Ok((settings, plan))
    });
    let (settings, mut plan) = match plan {
        Ok(found) => found,
        Err(error) => return refuse(exit::USAGE, &error),
    };
    if args.dry_run {
        return dry_run(&settings, &plan);
    }
    match preflight::check(&settings, &mut plan) {
        Ok(env) => stack::run(settings, plan, env, args.color),
        Err(error) => refuse(exit::START_FAILED, &error),
    }
}

/// Runs `config show`.
pub(crate) fn show_config(args: &ShowArgs) -> ExitCode {
    let layers = args.stack.layers(&[]).and_then(|layers| {
        // What cannot be used is said here too, not shown as if it could.
        Settings::read(&layers)?;
        Ok(layers)
    });
    match layers {
        Ok(layers) => print(&layers.show(args.origin)),
        Err(error) => refuse(exit::USAGE, &error),
    }
}

fn dry_run(settings: &Settings, plan: &Plan) -> ExitCode {
    match version_env(settings.connector, settings.vllm_version.as_deref()) {
        Ok(env) => print(&dry_run::lines(settings, plan, env)),
        Err(error) => refuse(exit::START_FAILED, &error),
    }
}

/// What the connector needs on this version of vLLM, which may be unknown.
fn version_env(connector: &Connector, version: Option<&str>) -> anyhow::Result<VersionEnv> {
    match connector.verdict(version.and_then(Version::parse)) {
        Verdict::Works(env) => Ok(env),
        Verdict::Refused(reason) => {
            anyhow::bail!(connector.refusal(version.unwrap_or("of unknown version"), reason))
        }
    }
}

fn print(lines: &[String]) -> ExitCode {
    let mut out = io::stdout().lock();
    let printed = lines.iter().try_for_each(|line| writeln!(out, "{line}"));
    match printed.and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has seen enough, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => refuse(exit::START_FAILED, &error.into()),
    }
}

fn refuse(code: u8, error: &anyhow::Error) -> ExitCode {
    // Nothing is left to say if even this cannot be said.
    writeln!(io::stderr(), "pd-launcher: {error:#}").ok();
    ExitCode::from(code)
}
