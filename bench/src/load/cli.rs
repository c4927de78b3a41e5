//! The command line of `pd-bench`.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use super::client::{Endpoint, EndpointError};
use super::outcome::{Outcome, Sample};
use super::prompt::Prompts;
use super::run::{Options, run};
use crate::report::seed_format;

/// Load generator for OpenAI-compatible servers.
#[derive(Debug, Parser)]
#[command(name = "pd-bench", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(RunArgs),
}

/// Measure time to the first line of streamed answers, then tokens per second of whole ones.
///
/// Pass 1 streams and leaves after the first line of each answer; pass 2 asks for the same answers
/// whole. Flags, figures and output lines are those of bench_pd.py.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  pd-bench run
  pd-bench run --requests 200 --concurrency 8 --max-tokens 256
  pd-bench run --url http://127.0.0.1:8200/v1/chat/completions --seed 1 --max-error-rate 0

Exit status: 0 when a request succeeded and the error rate is within --max-error-rate, 1 when not,
2 when the command line is wrong.")]
struct RunArgs {
    /// Host of the server
    #[arg(
        long,
        env = "SRV_IP",
        default_value = "127.0.0.1",
        help_heading = "Target"
    )]
    host: String,
    /// Port of the server
    #[arg(
        long,
        env = "PROXY_HTTP_PORT",
        default_value_t = 10001,
        value_parser = clap::value_parser!(u16).range(1..),
        help_heading = "Target"
    )]
    port: u16,
    /// Full endpoint; overrides host and port
    #[arg(long, short, value_parser = Endpoint::from_url, help_heading = "Target")]
    url: Option<Endpoint>,
    /// Model to ask for
    #[arg(
        long,
        env = "MODEL",
        default_value = "Qwen/Qwen2.5-7B-Instruct",
        help_heading = "Target"
    )]
    model: String,
    /// Bearer token
    #[arg(
        long,
        env = "OPENAI_API_KEY",
        default_value = "sk-noop",
        hide_env_values = true,
        value_parser = api_key,
        help_heading = "Target"
    )]
    api_key: String,
    /// Requests of each of the two passes
    #[arg(
        long,
        short = 'n',
        visible_aliases = ["num-prompts", "request-count"],
        default_value_t = 100,
        help_heading = "Load"
    )]
    requests: u64,
    /// Requests under way at a time
    #[arg(
        long,
        short,
        visible_alias = "max-concurrency",
        default_value_t = 16,
        value_parser = clap::value_parser!(u64).range(1..=100_000),
        help_heading = "Load"
    )]
    concurrency: u64,
    /// Random five-letter words of each prompt; a tokenizer makes two or three tokens of each
    #[arg(
        long,
        visible_aliases = ["random-input-len", "input-len", "isl"],
        default_value_t = 64,
        help_heading = "Load"
    )]
    prompt_tokens: u32,
    /// Longest answer, in tokens
    #[arg(
        long,
        visible_aliases = ["random-output-len", "output-len", "osl"],
        default_value_t = 128,
        help_heading = "Load"
    )]
    max_tokens: u64,
    /// Seed of the prompts; without it each run has its own
    #[arg(long, help_heading = "Load")]
    seed: Option<u64>,
    /// Longest time for one request, in seconds
    #[arg(
        long,
        visible_alias = "request-timeout-seconds",
        default_value = "600",
        value_parser = seconds,
        help_heading = "Limits"
    )]
    http_timeout: Duration,
    /// Share of failed requests that is still a success, from 0 to 1
    #[arg(long, default_value = "1.0", value_parser = share, help_heading = "Limits")]
    max_error_rate: f64,
}

/// Runs `pd-bench` with a command line whose first word is the program's name.
///
/// The exit code is that of the run, or 2 when the command line is wrong.
#[must_use]
pub fn main_with_args(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match Cli::try_parse_from(with_hyphens(args)) {
        Ok(Cli {
            command: Command::Run(args),
        }) => run_command(&args),
        Err(error) => {
            // Nothing is left to say if even this cannot be said.
            error.print().ok();
            u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
        }
    }
}

fn run_command(args: &RunArgs) -> ExitCode {
    match run_and_print(args, &mut io::stdout()) {
        Ok(outcome) if outcome.is_success(args.max_error_rate) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            writeln!(io::stderr(), "pd-bench: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

fn run_and_print(args: &RunArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let options = args.options()?;
    let mut written = Ok(());
    let outcome = run(&options, &mut |Sample { pass, result }| {
        if let (Err(failure), Ok(())) = (result, &written) {
            written = writeln!(out, "{}", seed_format::render_failure(pass, &failure));
        }
    })?;
    written?;
    out.write_all(seed_format::render(&outcome).as_bytes())?;
    out.flush()?;
    Ok(outcome)
}

impl RunArgs {
    fn options(&self) -> Result<Options, EndpointError> {
        Ok(Options {
            endpoint: match &self.url {
                Some(url) => url.clone(),
                None => Endpoint::chat(&self.host, self.port)?,
            },
            api_key: self.api_key.clone(),
            model: self.model.clone(),
            requests: self.requests,
            concurrency: self.concurrency,
            prompts: Prompts {
                seed: self.seed.unwrap_or_else(|| fastrand::u64(..)),
                words: usize::try_from(self.prompt_tokens).unwrap_or(usize::MAX),
            },
            max_tokens: self.max_tokens,
            timeout: self.http_timeout,
        })
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

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse().map(Duration::try_from_secs_f64) {
        Ok(Ok(time)) if !time.is_zero() => Ok(time),
        _ => Err("not a number of seconds above 0".to_owned()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("not a number from 0 to 1".to_owned()),
    }
}

/// A key that would end the header field, or hide in it, is refused.
fn api_key(text: &str) -> Result<String, String> {
    if text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() || byte == b' ')
    {
        Ok(text.to_owned())
    } else {
        Err("holds a character that no HTTP field has".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(args: &[&str]) -> RunArgs {
        let args = ["pd-bench", "run"].iter().chain(args).map(OsString::from);
        let Cli {
            command: Command::Run(args),
        } = Cli::try_parse_from(with_hyphens(args)).unwrap();
        args
    }

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn other_tools_names_and_underscores_are_understood() {
        let args = parse(&[
            "--num-prompts=3",
            "--max_concurrency",
            "2",
            "--isl=5",
            "--random_output_len=7",
            "--request-timeout-seconds=0.5",
        ]);

        assert_eq!((args.requests, args.concurrency), (3, 2));
        assert_eq!((args.prompt_tokens, args.max_tokens), (5, 7));
        assert_eq!(args.http_timeout, Duration::from_millis(500));
    }

    #[test]
    fn url_wins_over_host_and_port() {
        let args = parse(&["--host=h", "--port=1", "--url=http://u:2/x"]);

        let endpoint = args.options().unwrap().endpoint;

        assert_eq!(
            (endpoint.authority().as_str(), endpoint.path()),
            ("u:2", "/x")
        );
    }

    #[test]
    fn values_without_meaning_are_refused() {
        for arg in [
            "--concurrency=0",
            "--http-timeout=0",
            "--http-timeout=nan",
            "--max-error-rate=1.5",
            "--url=https://x/",
            "--api-key=a\nb",
            "--port=0",
            "--port=70000",
        ] {
            let args = ["pd-bench", "run", arg].map(OsString::from);
            assert!(Cli::try_parse_from(args).is_err(), "{arg}");
        }
    }
}
