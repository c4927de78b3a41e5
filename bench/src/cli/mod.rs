//! The command line of `pd-bench`.

mod collect;
#[cfg(feature = "plot")]
mod plot;
mod run;
mod serve;
mod sweep;
mod target;
mod values;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Load generator for OpenAI-compatible servers.
#[derive(Debug, Parser)]
#[command(name = "pd-bench", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::RunArgs),
    Serve(serve::ServeArgs),
    Sweep(sweep::SweepArgs),
    Collect(collect::CollectArgs),
    #[cfg(feature = "plot")]
    Plot(plot::PlotArgs),
}

/// Runs `pd-bench` with a command line whose first word is the program's name.
///
/// The exit code is that of the subcommand, or 2 when the command line is wrong.
#[must_use]
pub fn main_with_args(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = match Cli::try_parse_from(with_hyphens(args)) {
        Ok(Cli { command }) => command,
        Err(error) => {
            // Nothing is left to say if even this cannot be said.
            error.print().ok();
            return u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    let out = &mut io::stdout();
    let success = match &command {
        Command::Run(args) => args.run(out),
        Command::Serve(args) => args.run(out),
        Command::Sweep(args) => args.run(out),
        Command::Collect(args) => args.run(out),
        #[cfg(feature = "plot")]
        Command::Plot(args) => args.run(out),
    };
    match success {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            writeln!(io::stderr(), "pd-bench: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

/// vLLM's parser takes `--max_tokens` for `--max-tokens`, so people type both.
fn with_hyphens(args: impl IntoIterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    args.into_iter().map(|arg| match arg.to_str() {
        Some(text) if text.starts_with("--") => {
            let (flag, value) = match text.find('=') {
                Some(at) => text.split_at(at),
                None => (text, ""),
            };
            OsString::from(format!("{}{value}", flag.replace('_', "-")))
        }
        _ => arg,
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
