//! `pd-bench serve`.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value};

use super::target::Target;
use super::values::{extra_body, objective, percentile, positive_number, seconds, share};
use crate::load::arrivals::{Arrivals, Rate};
use crate::load::generator::{Load, Measurement, generate};
use crate::load::{Completion, FirstLines, Outcome, Prompts, Throughput};
use crate::report::run_name::model_tag;
use crate::report::seed_format;
use crate::report::summary::{Metric, Objective, Summary};
use crate::report::trust::doubts;
use crate::report::vllm_format::{self, Asked};

/// Measure streamed answers under a load that does not wait for the server.
///
/// Flags and result keys are those of `vllm bench serve`. Every time is counted from when its request
/// was meant to start, so a server that stalls cannot hide it.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  pd-bench serve --request-rate 8 --num-prompts 500
  pd-bench serve --max-concurrency 16 --goodput ttft:500 tpot:50 --strict
  pd-bench serve --request-rate 4 --burstiness inf --save-result --result-dir results --label agg

Exit status: 0 when a request succeeded, the error rate is within --max-error-rate and, with --strict,
nothing speaks against the figures; 1 when not, 2 when the command line is wrong.")]
pub(super) struct ServeArgs {
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
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    results: ResultArgs,
    /// Longest time for one request, in seconds
    #[arg(long, default_value = "600", value_parser = seconds, help_heading = "Limits")]
    http_timeout: Duration,
    /// Share of failed requests that is still a success, from 0 to 1
    #[arg(long, default_value = "1.0", value_parser = share, help_heading = "Limits")]
    max_error_rate: f64,
    /// Fail when the client was the limit, the run too short or the server not warm
    #[arg(long, help_heading = "Limits")]
    strict: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Load")]
struct LoadArgs {
    /// Requests to send
    #[arg(long, short = 'n', visible_aliases = ["requests", "request-count"], default_value_t = 1000)]
    num_prompts: u64,
    /// Requests under way at a time; without it there is no limit
    #[arg(
        long,
        short = 'c',
        visible_alias = "concurrency",
        value_parser = clap::value_parser!(u64).range(1..=100_000),
    )]
    max_concurrency: Option<u64>,
    /// Requests in a second; inf sends the next one as soon as --max-concurrency allows
    #[arg(long, default_value = "inf", value_parser = positive_number)]
    request_rate: f64,
    /// Regularity of the intervals: 1 is Poisson, less comes in bursts, inf is a clock
    #[arg(long, default_value = "1", value_parser = positive_number)]
    burstiness: f64,
    /// Change the rate over the run; needs both rates
    #[arg(long, value_enum, requires_all = ["ramp_up_start_rps", "ramp_up_end_rps"])]
    ramp_up_strategy: Option<Ramp>,
    /// Requests in a second at first
    #[arg(long, value_parser = positive_number, requires = "ramp_up_strategy")]
    ramp_up_start_rps: Option<f64>,
    /// Requests in a second at last
    #[arg(long, value_parser = positive_number, requires = "ramp_up_strategy")]
    ramp_up_end_rps: Option<f64>,
    /// Random five-letter words of each prompt; a tokenizer makes two or three tokens of each
    #[arg(long, visible_aliases = ["prompt-tokens", "input-len", "isl"], default_value_t = 1024)]
    random_input_len: u32,
    /// Longest answer, in tokens
    #[arg(long, visible_aliases = ["max-tokens", "output-len", "osl"], default_value_t = 128)]
    random_output_len: u64,
    /// Have every answer be as long as it may
    #[arg(long)]
    ignore_eos: bool,
    /// JSON object with more members of each request
    #[arg(long, value_parser = extra_body)]
    extra_body: Option<Map<String, Value>>,
    /// Seed of prompts and intervals; without it each run has its own
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Results")]
struct ResultArgs {
    /// What is printed
    #[arg(long, value_enum, default_value = "vllm")]
    output_style: Style,
    /// Figures to show: ttft, tpot, itl, e2el and ttfb, the time to the first byte
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "ttft,tpot,itl"
    )]
    percentile_metrics: Vec<Metric>,
    /// Percentiles to show
    #[arg(long, value_delimiter = ',', default_value = "99", value_parser = percentile)]
    metric_percentiles: Vec<f64>,
    /// Most milliseconds of a good request, as in ttft:500 tpot:50
    #[arg(long, num_args = 1.., value_parser = objective)]
    goodput: Vec<Objective>,
    /// Write the result as JSON
    #[arg(long)]
    save_result: bool,
    /// Write the samples of each request, too
    #[arg(long)]
    save_detailed: bool,
    /// Folder of the result
    #[arg(long, default_value = ".")]
    result_dir: PathBuf,
    /// Name of the result; without it rate, concurrency, model and time make it
    #[arg(long)]
    result_filename: Option<PathBuf>,
    /// More members of the result, as KEY=VALUE
    #[arg(long, num_args = 1..)]
    metadata: Vec<String>,
    /// What you call this run
    #[arg(long)]
    label: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Style {
    /// The lines of bench_pd.py; its TTFT is the time to the first byte.
    Seed,
    /// The block of `vllm bench serve`.
    Vllm,
    /// One JSON document.
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Ramp {
    Linear,
    Exponential,
}

impl ServeArgs {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<bool> {
        let seed = self.load.seed.unwrap_or_else(|| fastrand::u64(..));
        let load = self.load(seed)?;
        let asked = self.asked();
        // It draws itself only on a terminal.
        let bar = ProgressBar::new(load.requests);
        if let Ok(style) =
            ProgressStyle::with_template("{bar:30} {pos}/{len}  {elapsed} gone, {eta} to go")
        {
            bar.set_style(style);
        }
        let measurement = generate(&load, seed, &mut |_| bar.inc(1))?;
        bar.finish_and_clear();
        let summary = Summary::new(&measurement, &self.results.goodput);
        let mut result =
            vllm_format::json(&asked, &summary, &measurement, self.results.save_detailed);
        for pair in &self.results.metadata {
            let (key, value) = pair.split_once('=').context("--metadata wants KEY=VALUE")?;
            result.insert(key.to_owned(), Value::from(value));
        }
        let result = serde_json::to_string(&result)?;
        match self.results.output_style {
            Style::Seed => out.write_all(seed_format::render(&outcome(&measurement)).as_bytes())?,
            Style::Vllm => out.write_all(vllm_format::render(&asked, &summary).as_bytes())?,
            Style::Json => writeln!(out, "{result}")?,
        }
        out.flush()?;
        if self.results.save_result {
            self.save(&asked, &result)?;
        }
        let mut warnings = io::stderr();
        if let Some(failure) = measurement
            .records
            .iter()
            .find_map(|record| record.result.as_ref().err())
        {
            writeln!(
                warnings,
                "pd-bench: {} requests failed, one of them: {failure}",
                summary.failed
            )?;
        }
        let doubts = doubts(&measurement, &summary);
        for doubt in &doubts {
            writeln!(warnings, "pd-bench: warning: {doubt}")?;
        }
        let failed = summary.failed as f64;
        let requests = (summary.failed + summary.completed) as f64;
        let good_enough = summary.completed > 0 && failed <= self.max_error_rate * requests;
        Ok(good_enough && (!self.strict || doubts.is_empty()))
    }

    fn save(&self, asked: &Asked, result: &str) -> anyhow::Result<()> {
        let name = self.results.result_filename.clone().unwrap_or_else(|| {
            let rate = asked
                .rate
                .map_or_else(|| "inf".to_owned(), |rate| rate.to_string());
            let concurrency = asked
                .concurrency
                .map(|lanes| format!("-concurrency{lanes}"));
            let model = model_tag(asked.model.rsplit('/').next().unwrap_or_default());
            let concurrency = concurrency.unwrap_or_default();
            PathBuf::from(format!(
                "openai-chat-{rate}qps{concurrency}-{model}-{}.json",
                asked.date
            ))
        });
        let path = self.results.result_dir.join(name);
        fs::create_dir_all(&self.results.result_dir)
            .and_then(|()| fs::write(&path, result))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn load(&self, seed: u64) -> anyhow::Result<Load> {
        let mut extra_body = self.load.extra_body.clone().unwrap_or_default();
        if self.load.ignore_eos {
            extra_body.insert("ignore_eos".to_owned(), Value::from(true));
        }
        Ok(Load {
            endpoint: self.target.endpoint()?,
            api_key: self.target.api_key.clone(),
            model: self.model.clone(),
            requests: self.load.num_prompts,
            arrivals: self.load.arrivals(),
            concurrency: self.load.max_concurrency,
            prompts: Prompts {
                seed,
                words: usize::try_from(self.load.random_input_len).unwrap_or(usize::MAX),
            },
            max_tokens: self.load.random_output_len,
            extra_body,
            timeout: self.http_timeout,
        })
    }

    fn asked(&self) -> Asked {
        Asked {
            model: self.model.clone(),
            requests: self.load.num_prompts,
            rate: Some(self.load.request_rate).filter(|rate| rate.is_finite()),
            burstiness: self.load.burstiness,
            concurrency: self.load.max_concurrency,
            metrics: self.results.percentile_metrics.clone(),
            percentiles: self.results.metric_percentiles.clone(),
            label: self.results.label.clone(),
            date: date(SystemTime::now()),
        }
    }
}

impl LoadArgs {
    fn arrivals(&self) -> Option<Arrivals> {
        let rate = match (
            self.ramp_up_strategy,
            self.ramp_up_start_rps,
            self.ramp_up_end_rps,
        ) {
            (Some(Ramp::Linear), Some(from), Some(to)) => Rate::Linear { from, to },
            (Some(Ramp::Exponential), Some(from), Some(to)) => Rate::Exponential { from, to },
            _ if self.request_rate.is_finite() => Rate::Constant(self.request_rate),
            _ => return None,
        };
        Some(Arrivals {
            rate,
            burstiness: self.burstiness,
        })
    }
}

/// The run as the two passes of bench_pd.py would have told it.
fn outcome(measurement: &Measurement) -> Outcome {
    let answers = || {
        measurement
            .records
            .iter()
            .filter_map(|record| record.result.as_ref().ok())
    };
    let errors = measurement
        .records
        .iter()
        .filter(|record| record.result.is_err())
        .count() as u64;
    Outcome {
        first_lines: FirstLines {
            seconds: answers()
                .map(|times| times.first_byte.as_secs_f64())
                .collect(),
            errors,
        },
        throughput: Throughput {
            completions: answers()
                .map(|times| Completion {
                    tokens: times.completion_tokens,
                    took: times.end,
                })
                .collect(),
            errors,
            wall: measurement.wall,
        },
    }
}

/// `YYYYMMDD-HHMMSS` in UTC.
fn date(time: SystemTime) -> String {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let (mut days, second) = (seconds / 86_400, seconds % 86_400);
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [
        31,
        28 + u64::from(is_leap(year)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
    ] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!(
        "{year:04}{month:02}{:02}-{hour:02}{minute:02}{:02}",
        days + 1,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let at = |seconds| date(UNIX_EPOCH + Duration::from_secs(seconds));

        assert_eq!(at(0), "19700101-000000");
        assert_eq!(at(951_782_400), "20000229-000000");
        assert_eq!(at(1_735_689_599), "20241231-235959");
        assert_eq!(at(1_735_689_600), "20250101-000000");
    }
}
