//! Figures found again in the log of a run of `bench_pd.py`, or of ours.
//!
//! They stay text: a figure is passed on as it was printed, not as a number that prints otherwise.

/// What a log says; `None` for what it does not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoggedRun {
    /// Successes of pass 1.
    pub requests_ttft: Option<String>,
    /// Median seconds to the first line.
    pub p50_ttft: Option<String>,
    /// 95th percentile of the seconds to the first line.
    pub p95_ttft: Option<String>,
    /// Least seconds to the first line.
    pub min_ttft: Option<String>,
    /// Most seconds to the first line.
    pub max_ttft: Option<String>,
    /// Successes of pass 2.
    pub requests_thr: Option<String>,
    /// Failures of pass 2.
    pub errors: Option<String>,
    /// Median tokens per second of one request.
    pub p50_tps: Option<String>,
    /// 95th percentile of the tokens per second of one request.
    pub p95_tps: Option<String>,
    /// Mean tokens per second of one request.
    pub mean_tps: Option<String>,
    /// Tokens of all answers of pass 2.
    pub total_tokens: Option<String>,
    /// Seconds of pass 2.
    pub wall_time_sec: Option<String>,
    /// Tokens of all answers over the length of pass 2.
    pub aggregate_throughput: Option<String>,
}

impl LoggedRun {
    /// Reads a log. Of a line that occurs more than once the first counts.
    #[must_use]
    pub fn from_log(log: &str) -> Self {
        let mut run = Self::default();
        for line in log.lines().map(str::trim) {
            run.read_line(line);
        }
        run
    }

    /// Whether the log had any figure.
    #[must_use]
    pub fn has_figures(&self) -> bool {
        self.p50_ttft.is_some() || self.mean_tps.is_some()
    }

    fn read_line(&mut self, line: &str) {
        if line.starts_with("== TTFT (stream=true)") {
            keep(&mut self.requests_ttft, after(line, "N="));
        } else if line.starts_with("== Throughput (stream=false)") {
            keep(&mut self.requests_thr, after(line, "N="));
            keep(&mut self.errors, after(line, "errors="));
        } else if line.starts_with("p50=") {
            keep(&mut self.p50_ttft, after(line, "p50="));
            keep(&mut self.p95_ttft, after(line, "p95="));
            keep(&mut self.min_ttft, after(line, "min="));
            keep(&mut self.max_ttft, after(line, "max="));
        } else if let Some(rates) = line.strip_prefix("per-request tokens/sec:") {
            keep(&mut self.p50_tps, after(rates, "p50="));
            keep(&mut self.p95_tps, after(rates, "p95="));
            keep(&mut self.mean_tps, after(rates, "mean="));
        } else if let Some((what, value)) = line.split_once('=') {
            let cell = match what.trim() {
                "total generated tokens" => &mut self.total_tokens,
                "wall time (whole run)" => &mut self.wall_time_sec,
                "aggregate throughput" => &mut self.aggregate_throughput,
                _ => return,
            };
            keep(cell, number(value.trim_start()));
        }
    }
}

/// The number that follows this key at the start of a word.
fn after<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split_ascii_whitespace()
        .find_map(|word| word.strip_prefix(key))
        .and_then(number)
}

/// The number at the start of a text.
fn number(text: &str) -> Option<&str> {
    let end = text
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .unwrap_or(text.len());
    text.get(..end).filter(|number| !number.is_empty())
}

fn keep(cell: &mut Option<String>, found: Option<&str>) {
    if cell.is_none() {
        *cell = found.map(str::to_owned);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
[THR] HTTP 500 body=aggregate throughput    = 1.0
[TTFT] error: timed out

== TTFT (stream=true) N=99 ==
  p50=0.656s  p95=0.796s  min=0.101s  max=0.900s

== Throughput (stream=false) N=98, errors=2 ==
  per-request tokens/sec: p50=61.2  p95=70.0  mean=60.3
  total generated tokens = 12544
  wall time (whole run)   = 13.01s
  aggregate throughput    = 964.1 tokens/sec
";

    #[test]
    fn figures_are_kept_as_printed() {
        let text = |value: &str| Some(value.to_owned());
        assert_eq!(
            LoggedRun::from_log(LOG),
            LoggedRun {
                requests_ttft: text("99"),
                p50_ttft: text("0.656"),
                p95_ttft: text("0.796"),
                min_ttft: text("0.101"),
                max_ttft: text("0.900"),
                requests_thr: text("98"),
                errors: text("2"),
                p50_tps: text("61.2"),
                p95_tps: text("70.0"),
                mean_tps: text("60.3"),
                total_tokens: text("12544"),
                wall_time_sec: text("13.01"),
                aggregate_throughput: text("964.1"),
            }
        );
    }

    #[test]
    fn line_ends_of_other_systems_change_nothing() {
        assert_eq!(
            LoggedRun::from_log(&LOG.replace('\n', "\r\n")),
            LoggedRun::from_log(LOG)
        );
    }

    #[test]
    fn total_failure_has_no_figures() {
        let log = "[TTFT] error: x\n\n== TTFT: none ==\n\n== Throughput: none ==\n";

        assert_eq!(LoggedRun::from_log(log), LoggedRun::default());
        assert!(!LoggedRun::from_log(log).has_figures());
    }

    #[test]
    fn first_of_two_runs_counts() {
        let second = LOG.replace("0.656", "9.999").replace("964.1", "1.0");

        assert_eq!(
            LoggedRun::from_log(&format!("{LOG}{second}")),
            LoggedRun::from_log(LOG)
        );
    }
}
