//! `pd-bench sweep`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;
use indicatif::{ProgressBar, ProgressStyle};

use super::target::Target;
use super::values::{Numbers, positive_numbers, seconds, share};
use crate::load::sweep::{Point, Step, Sweep};
use crate::load::{Options, Prompts};
use crate::report::run_name::Mode;
use crate::report::seed_csv::Format;

/// Run the benchmark for every combination of models, concurrencies, prompt and answer lengths.
///
/// Writes run_model_<MODEL>_conc<C>_pt<P>_mt<M>.log and .csv for each. Lists are separated by spaces
/// or commas.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  pd-bench sweep
  pd-bench sweep --concurrencies 1,4,16 --prompt-tokens 256 --max-tokens 128 --resume
  pd-bench sweep --model meta-llama/Llama-3.1-8B --model Qwen/Qwen2.5-7B-Instruct --dry-run

Exit status: 0 when every run was a success as `pd-bench run` counts it, 1 when not, 2 when the command
line is wrong.")]
pub(super) struct SweepArgs {
    #[command(flatten)]
    target: Target,
    /// Model to ask for; may be given several times
    #[arg(
        long = "model",
        env = "MODEL",
        default_value = "Qwen/Qwen2.5-7B-Instruct",
        value_delimiter = ',',
        help_heading = "Target"
    )]
    models: Vec<String>,
    /// Requests under way at a time
    #[arg(
        long,
        env = "CONCURRENCIES",
        visible_aliases = ["concurrency", "sweep-max-concurrency"],
        default_value = "1 2 4 8",
        value_parser = positive_numbers,
        help_heading = "Grid"
    )]
    concurrencies: Numbers,
    /// Random five-letter words of each prompt
    #[arg(
        long,
        env = "PROMPT_TOKENS",
        visible_alias = "sweep-prompt-tokens",
        default_value = "32 64 128",
        value_parser = positive_numbers,
        help_heading = "Grid"
    )]
    prompt_tokens: Numbers,
    /// Longest answers, in tokens
    #[arg(
        long,
        env = "MAX_TOKENS",
        visible_alias = "sweep-max-tokens",
        default_value = "128 256",
        value_parser = positive_numbers,
        help_heading = "Grid"
    )]
    max_tokens: Numbers,
    /// Requests of each of the two passes of each run
    #[arg(
        long,
        short = 'n',
        env = "REQUESTS",
        visible_aliases = ["num-prompts", "request-count"],
        default_value_t = 100,
        help_heading = "Grid"
    )]
    requests: u64,
    /// Seed of the prompts; without it each sweep has its own
    #[arg(long, help_heading = "Grid")]
    seed: Option<u64>,
    /// Folder of logs and CSVs
    #[arg(
        long,
        env = "OUTPUT_DIR",
        visible_alias = "result-dir",
        default_value = "results/bench_runs",
        help_heading = "Results"
    )]
    output_dir: PathBuf,
    /// Columns of the CSVs: seed has 10, wide 18
    #[arg(long, value_enum, default_value_t, help_heading = "Results")]
    format: Format,
    /// How the server is set up; becomes part of the names of the files
    #[arg(long, value_enum, help_heading = "Results")]
    mode: Option<Mode>,
    /// Leave out runs whose CSV is there and has figures
    #[arg(
        long,
        env = "RESUME",
        value_parser = BoolishValueParser::new(),
        help_heading = "Results"
    )]
    resume: bool,
    /// Name the runs and do none
    #[arg(long, help_heading = "Results")]
    dry_run: bool,
    /// Longest time for one request, in seconds
    #[arg(long, default_value = "600", value_parser = seconds, help_heading = "Limits")]
    http_timeout: Duration,
    /// Share of failed requests with which a run is still a success, from 0 to 1
    #[arg(long, default_value = "1.0", value_parser = share, help_heading = "Limits")]
    max_error_rate: f64,
}

impl SweepArgs {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<bool> {
        let sweep = self.sweep()?;
        let points = sweep.points();
        if self.dry_run {
            for point in points {
                writeln!(out, "{}", point.name)?;
            }
            return Ok(true);
        }
        // It draws itself only on a terminal.
        let bar = ProgressBar::new(points.iter().map(cost_of_run).sum());
        if let Ok(style) = ProgressStyle::with_template(
            "{bar:30} {percent:>3} %  {elapsed} gone, {eta} to go  {msg}",
        ) {
            bar.set_style(style);
        }
        let mut written = Ok(());
        let mut cost = 0;
        let mut say = |line: String| {
            if written.is_ok() {
                written = bar.suspend(|| writeln!(out, "{line}").and_then(|()| out.flush()));
            }
        };
        let failed = sweep.run(&mut |step| match step {
            Step::Running(point) => {
                cost = cost_of_request(point);
                bar.set_message(point.name.to_string());
                say(format!("=== Running {} ===", point.name));
            }
            Step::Skipped(point) => {
                // What was not done must not make the rest look fast.
                bar.set_length(bar.length().unwrap_or(0).saturating_sub(cost_of_run(point)));
                say(format!("=== Skipping {} (CSV exists) ===", point.name));
            }
            Step::Sample => bar.inc(cost),
            Step::Saved(path) => say(format!("Saved CSV to {}", path.display())),
        })?;
        bar.finish_and_clear();
        written?;
        if failed > 0 {
            writeln!(
                io::stderr(),
                "pd-bench: {failed} of {} runs failed",
                points.len()
            )?;
        }
        Ok(failed == 0)
    }

    fn sweep(&self) -> anyhow::Result<Sweep> {
        let long = |numbers: &Numbers| numbers.0.iter().copied().map(u64::from).collect();
        Ok(Sweep {
            base: Options {
                endpoint: self.target.endpoint()?,
                api_key: self.target.api_key.clone(),
                model: String::new(),
                requests: self.requests,
                concurrency: 1,
                prompts: Prompts {
                    seed: self.seed.unwrap_or_else(|| fastrand::u64(..)),
                    words: 0,
                },
                max_tokens: 1,
                timeout: self.http_timeout,
            },
            models: self.models.clone(),
            concurrencies: long(&self.concurrencies),
            prompt_tokens: self.prompt_tokens.0.clone(),
            max_tokens: long(&self.max_tokens),
            mode: self.mode,
            format: self.format,
            output_dir: self.output_dir.clone(),
            resume: self.resume,
            error_rate_max: self.max_error_rate,
        })
    }
}

/// What one request is expected to take of the sweep's time, in units that only the bar knows: longer
/// answers take longer, requests side by side less.
fn cost_of_request(point: &Point) -> u64 {
    (1000 * point.name.max_tokens / point.name.concurrency).max(1)
}

/// What a run of two passes is expected to take.
fn cost_of_run(point: &Point) -> u64 {
    2 * point.options.requests * cost_of_request(point)
}
