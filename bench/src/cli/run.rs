//! `pd-bench run`.

use std::io::Write;
use std::time::Duration;

use clap::Args;

use super::target::Target;
use super::values::{seconds, share};
use crate::load::client::EndpointError;
use crate::load::{Options, Outcome, Prompts, Sample, run};
use crate::report::seed_format;

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
pub(super) struct RunArgs {
    #[command(flatten)]
    target: Target,
    /// Model to ask for
    #[arg(
        long,
        env = "MODEL",
        default_value = "Qwen/Qwen2.5-7B-Instruct",
        help_heading = "Target"
    )]
    model: String,
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

impl RunArgs {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<bool> {
        let outcome = self.run_and_print(out)?;
        Ok(outcome.is_success(self.max_error_rate))
    }

    fn run_and_print(&self, out: &mut dyn Write) -> anyhow::Result<Outcome> {
        let options = self.options()?;
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

    fn options(&self) -> Result<Options, EndpointError> {
        Ok(Options {
            endpoint: self.target.endpoint()?,
            api_key: self.target.api_key.clone(),
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

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::Parser;

    use super::super::{Cli, Command, with_hyphens};
    use super::*;

    fn parse(args: &[&str]) -> RunArgs {
        let args = ["pd-bench", "run"].iter().chain(args).map(OsString::from);
        match Cli::try_parse_from(with_hyphens(args)).unwrap().command {
            Command::Run(args) => args,
            other => panic!("{other:?}"),
        }
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
