//! The output of the testbed's `bench_pd.py`, to the character.
//!
//! People's scripts and the testbed's log collector read these lines; their words, spaces and digits
//! are an interface. The figures are those of [`stats`](super::stats).

use std::fmt::Write;

use super::stats::Sorted;
use crate::load::{Failure, FirstLines, Outcome, Pass, Throughput};

/// Characters shown of the body of an answer that is an error.
const BODY_CHARS_MAX: usize = 300;

/// Both blocks of figures, each after an empty line.
#[must_use]
pub fn render(outcome: &Outcome) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    first_lines(&mut text, &outcome.first_lines).ok();
    throughput(&mut text, &outcome.throughput).ok();
    text
}

/// The line about one failed request.
#[must_use]
pub fn render_failure(pass: Pass, failure: &Failure) -> String {
    let tag = match pass {
        Pass::FirstLine => "TTFT",
        Pass::Throughput => "THR",
    };
    match failure {
        Failure::Status { status, body } => {
            let body: String = body.chars().take(BODY_CHARS_MAX).collect();
            format!("[{tag}] HTTP {status} body={body}")
        }
        failure => format!("[{tag}] error: {failure}"),
    }
}

fn first_lines(text: &mut String, pass: &FirstLines) -> std::fmt::Result {
    let Some(seconds) = Sorted::new(pass.seconds.clone()) else {
        return writeln!(text, "\n== TTFT: none ==");
    };
    writeln!(text, "\n== TTFT (stream=true) N={} ==", pass.seconds.len())?;
    writeln!(
        text,
        "  p50={:.3}s  p95={:.3}s  min={:.3}s  max={:.3}s",
        seconds.median(),
        seconds.p95(),
        seconds.min(),
        seconds.max(),
    )
}

fn throughput(text: &mut String, pass: &Throughput) -> std::fmt::Result {
    let rates = pass
        .completions
        .iter()
        .map(|completion| completion.tokens_per_second());
    let Some(rates) = Sorted::new(rates.collect()) else {
        return writeln!(text, "\n== Throughput: none ==");
    };
    writeln!(
        text,
        "\n== Throughput (stream=false) N={}, errors={} ==",
        pass.completions.len(),
        pass.errors,
    )?;
    writeln!(
        text,
        "  per-request tokens/sec: p50={:.1}  p95={:.1}  mean={:.1}",
        rates.median(),
        rates.p95(),
        rates.mean(),
    )?;
    writeln!(text, "  total generated tokens = {}", pass.tokens())?;
    writeln!(
        text,
        "  wall time (whole run)   = {:.2}s",
        pass.wall.as_secs_f64()
    )?;
    writeln!(
        text,
        "  aggregate throughput    = {:.1} tokens/sec",
        pass.tokens_per_second()
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::load::Completion;

    fn completion(tokens: u64, millis: u64) -> Completion {
        Completion {
            tokens,
            took: Duration::from_millis(millis),
        }
    }

    fn lines(lines: &[&str]) -> String {
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    #[test]
    fn figures_are_written_as_the_testbed_writes_them() {
        let outcome = Outcome {
            first_lines: FirstLines {
                seconds: vec![0.0125, 0.25, 0.0404],
                errors: 1,
            },
            throughput: Throughput {
                completions: vec![completion(128, 2000), completion(64, 2000)],
                errors: 2,
                wall: Duration::from_millis(2500),
            },
        };

        assert_eq!(
            render(&outcome),
            lines(&[
                "",
                "== TTFT (stream=true) N=3 ==",
                "  p50=0.040s  p95=0.250s  min=0.013s  max=0.250s",
                "",
                "== Throughput (stream=false) N=2, errors=2 ==",
                "  per-request tokens/sec: p50=48.0  p95=64.0  mean=48.0",
                "  total generated tokens = 192",
                "  wall time (whole run)   = 2.50s",
                "  aggregate throughput    = 76.8 tokens/sec",
            ])
        );
    }

    #[test]
    fn passes_without_success_say_none() {
        assert_eq!(
            render(&Outcome::default()),
            lines(&["", "== TTFT: none ==", "", "== Throughput: none ==",])
        );
    }

    #[test]
    fn twenty_samples_show_the_interpolated_p95() {
        let seconds = (1..=20).map(f64::from).collect();
        let outcome = Outcome {
            first_lines: FirstLines { seconds, errors: 0 },
            throughput: Throughput {
                completions: (1..=20).map(|tokens| completion(tokens, 1000)).collect(),
                errors: 0,
                wall: Duration::from_secs(10),
            },
        };

        assert_eq!(
            render(&outcome),
            lines(&[
                "",
                "== TTFT (stream=true) N=20 ==",
                "  p50=10.500s  p95=19.950s  min=1.000s  max=20.000s",
                "",
                "== Throughput (stream=false) N=20, errors=0 ==",
                "  per-request tokens/sec: p50=10.5  p95=19.9  mean=10.5",
                "  total generated tokens = 210",
                "  wall time (whole run)   = 10.00s",
                "  aggregate throughput    = 21.0 tokens/sec",
            ])
        );
    }

    #[test]
    fn failures_are_named_with_their_pass() {
        let status = Failure::Status {
            status: 500,
            body: "é".repeat(400),
        };
        let short = Failure::Status {
            status: 503,
            body: "{\"error\":1}".to_owned(),
        };

        assert_eq!(
            render_failure(Pass::Throughput, &status),
            format!("[THR] HTTP 500 body={}", "é".repeat(300))
        );
        assert_eq!(
            render_failure(Pass::FirstLine, &short),
            "[TTFT] HTTP 503 body={\"error\":1}"
        );
        assert_eq!(
            render_failure(Pass::FirstLine, &Failure::NoLine),
            "[TTFT] error: the answer has no line"
        );
        assert_eq!(
            render_failure(Pass::Throughput, &Failure::NoUsage),
            "[THR] error: the answer has no usage.completion_tokens"
        );
    }
}
