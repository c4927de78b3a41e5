//! What became of the requests of a run.

use std::time::Duration;

use super::client::Error;

/// One of the two passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Streamed, left after the first line.
    FirstLine,
    /// Not streamed, read to the end.
    Throughput,
}

/// What became of one request.
#[derive(Debug)]
pub struct Sample {
    /// The pass it belonged to.
    pub pass: Pass,
    /// What was measured, or why nothing could be.
    pub result: Result<Measured, Failure>,
}

/// What one request was worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measured {
    /// Time from just before the request to the first line of the body.
    FirstLine(Duration),
    /// A whole answer.
    Completion(Completion),
}

/// A whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion {
    /// `usage.completion_tokens` of the answer.
    pub tokens: u64,
    /// Time from just before the request to the last byte of the answer.
    pub took: Duration,
}

impl Completion {
    /// Tokens over time.
    #[must_use]
    pub fn tokens_per_second(&self) -> f64 {
        rate(self.tokens, self.took)
    }
}

/// Why a request gave nothing to measure.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No answer, or none that can be understood.
    #[error(transparent)]
    Exchange(#[from] Error),
    /// An answer other than 200.
    #[error("HTTP {status}")]
    Status {
        /// The status code.
        status: u16,
        /// The body, as far as it could be read.
        body: String,
    },
    /// A stream without a single line.
    #[error("the answer has no line")]
    NoLine,
    /// A stream whose first event is an error.
    #[error("the stream begins with an error: {0}")]
    ErrorEvent(String),
    /// A whole answer that does not say how long it is.
    #[error("the answer has no usage.completion_tokens")]
    NoUsage,
}

/// What a run amounts to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// Pass 1.
    pub first_lines: FirstLines,
    /// Pass 2.
    pub throughput: Throughput,
}

/// What pass 1 amounts to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FirstLines {
    /// Seconds to the first line of each request that got one, in the order of their arrival.
    pub seconds: Vec<f64>,
    /// Requests that got none.
    pub errors: u64,
}

/// What pass 2 amounts to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Throughput {
    /// Whole answers in the order of their arrival.
    pub completions: Vec<Completion>,
    /// Requests without one.
    pub errors: u64,
    /// Length of the pass.
    pub wall: Duration,
}

impl Throughput {
    /// Tokens of all answers.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.completions
            .iter()
            .map(|completion| completion.tokens)
            .sum()
    }

    /// Tokens of all answers over the length of the pass.
    #[must_use]
    pub fn tokens_per_second(&self) -> f64 {
        rate(self.tokens(), self.wall)
    }
}

impl Outcome {
    /// Whether any request succeeded and the share of those that failed, over both passes, is at
    /// most `error_rate_max`.
    #[must_use]
    pub fn is_success(&self, error_rate_max: f64) -> bool {
        let successes = self.first_lines.seconds.len() + self.throughput.completions.len();
        let errors = self.first_lines.errors + self.throughput.errors;
        let requests = errors as f64 + successes as f64;
        successes > 0 && errors as f64 <= error_rate_max * requests
    }

    /// Counts one more sample.
    pub(super) fn add(&mut self, sample: &Sample) {
        match (sample.pass, &sample.result) {
            (_, Ok(Measured::FirstLine(after))) => {
                self.first_lines.seconds.push(after.as_secs_f64());
            }
            (_, Ok(Measured::Completion(completion))) => {
                self.throughput.completions.push(*completion);
            }
            (Pass::FirstLine, Err(_)) => self.first_lines.errors += 1,
            (Pass::Throughput, Err(_)) => self.throughput.errors += 1,
        }
    }
}

fn rate(tokens: u64, time: Duration) -> f64 {
    if time.is_zero() {
        0.0
    } else {
        tokens as f64 / time.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(successes: usize, errors: u64) -> Outcome {
        let completion = Completion {
            tokens: 1,
            took: Duration::from_secs(1),
        };
        Outcome {
            first_lines: FirstLines {
                seconds: Vec::new(),
                errors,
            },
            throughput: Throughput {
                completions: vec![completion; successes],
                ..Throughput::default()
            },
        }
    }

    #[test]
    fn without_a_success_no_error_rate_is_good_enough() {
        assert!(!outcome(0, 0).is_success(1.0));
        assert!(!outcome(0, 5).is_success(1.0));
    }

    #[test]
    fn error_rate_may_reach_its_limit_and_not_exceed_it() {
        assert!(outcome(1, 99).is_success(1.0));
        assert!(outcome(3, 1).is_success(0.25));
        assert!(!outcome(2, 1).is_success(0.25));
        assert!(!outcome(2, 1).is_success(0.0));
        assert!(outcome(2, 0).is_success(0.0));
    }

    #[test]
    fn rates_are_tokens_over_time() {
        let completion = |tokens, seconds| Completion {
            tokens,
            took: Duration::from_secs(seconds),
        };
        let throughput = Throughput {
            completions: vec![completion(10, 2), completion(30, 3)],
            errors: 0,
            wall: Duration::from_secs(4),
        };

        assert_eq!(completion(10, 2).tokens_per_second(), 5.0);
        assert_eq!(throughput.tokens(), 40);
        assert_eq!(throughput.tokens_per_second(), 10.0);
        assert_eq!(completion(10, 0).tokens_per_second(), 0.0);
    }
}
