//! The command line of `pd-launcher`.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::up::args::{ShowArgs, UpArgs};
use crate::{demo, exit, up};

/// Launcher of vLLM prefill and decode nodes behind pd-proxy.
#[derive(Debug, Parser)]
#[command(name = "pd-launcher", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(UpArgs),
    Demo(DemoArgs),
    /// What `up` would use, and where it comes from
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    Show(ShowArgs),
}

/// Show the whole system on this machine, without a GPU and without a network.
///
/// Starts the proxy and simulated prefill and decode nodes as processes of their own, streams one
/// chat answer, runs a short benchmark and stops everything.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  pd-launcher demo
  pd-launcher demo --prefill 2 --decode 3
  pd-launcher demo --keep

Exit status: 0 when all went well, 1 when something did not start or died, 2 when a request through
the whole system failed, 64 when the command line is wrong, 130 or 143 after Ctrl-C or SIGTERM.")]
pub(crate) struct DemoArgs {
    /// Prefill nodes
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = nodes())]
    pub(crate) prefill: u16,
    /// Decode nodes
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = nodes())]
    pub(crate) decode: u16,
    /// Leave everything running until Ctrl-C
    #[arg(long)]
    pub(crate) keep: bool,
    /// Colours and line drawing
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
}

/// When to use what only a terminal understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb
    Auto,
    Always,
    Never,
}

impl Command {
    fn run(self) -> ExitCode {
        match self {
            Self::Up(args) => up::run(&args),
            Self::Demo(args) => demo::run(&args),
            Self::Config(ConfigCommand::Show(args)) => up::show_config(&args),
        }
    }
}

/// More nodes of a role than a laptop simulates well.
const NODES_MAX: i64 = 16;

fn nodes() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..=NODES_MAX)
}

/// Runs `pd-launcher` with a command line whose first word is the program's name.
pub(crate) fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match Cli::try_parse_from(args) {
        Ok(cli) => cli.command.run(),
        Err(error) => {
            // Nothing is left to say if even this cannot be said.
            error.print().ok();
            // Help and version are asked for; the rest is misuse, which is 64 and not clap's 2:
            // that code says that a request through the system failed.
            if error.use_stderr() {
                ExitCode::from(exit::USAGE)
            } else {
                ExitCode::SUCCESS
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn demo_has_one_node_of_each_role_unless_told_otherwise() {
        let parse = |args: &[&str]| {
            let Command::Demo(args) = Cli::try_parse_from(args).unwrap().command else {
                panic!("not the demo");
            };
            (args.prefill, args.decode, args.keep)
        };

        assert_eq!(parse(&["pd-launcher", "demo"]), (1, 1, false));
        assert_eq!(
            parse(&["x", "demo", "--prefill=2", "--decode", "3", "--keep"]),
            (2, 3, true)
        );
    }

    #[test]
    fn no_nodes_and_absurdly_many_are_refused() {
        for arg in [
            "--prefill=0",
            "--decode=17",
            "--decode=-1",
            "--prefill=many",
        ] {
            assert!(
                Cli::try_parse_from(["pd-launcher", "demo", arg]).is_err(),
                "{arg}"
            );
        }
    }
}
