//! What a measurement amounts to: the field's figures and their percentiles.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::load::generator::{Measurement, Timeline};

/// Digits that a percentile keeps: it is off by less than a thousandth of itself.
const DIGITS: u8 = 3;

/// One of the field's figures of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Metric {
    /// Intended start to the first byte of the answer's body.
    Ttfb,
    /// Intended start to the first event with text.
    Ttft,
    /// Time per output token after the first.
    Tpot,
    /// From one event with text to the next.
    Itl,
    /// Intended start to the end of the answer.
    E2el,
}

impl Metric {
    /// The part of a JSON key that names it.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Ttfb => "ttfb",
            Self::Ttft => "ttft",
            Self::Tpot => "tpot",
            Self::Itl => "itl",
            Self::E2el => "e2el",
        }
    }

    /// What a table of vLLM's calls it.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Ttfb => "Time to First Byte",
            Self::Ttft => "Time to First Token",
            Self::Tpot => "Time per Output Token (excl. 1st token)",
            Self::Itl => "Inter-token Latency",
            Self::E2el => "End-to-end Latency",
        }
    }

    /// The samples that one answer gives.
    #[must_use]
    pub fn samples(self, times: &Timeline) -> Vec<Duration> {
        let one = match self {
            Self::Ttfb => Some(times.first_byte),
            Self::Ttft => times.first_content,
            Self::Tpot => times.time_per_output_token(),
            Self::Itl => return times.gaps.clone(),
            Self::E2el => Some(times.end),
        };
        one.into_iter().collect()
    }
}

/// The distribution of one figure, in milliseconds.
#[derive(Debug, Clone)]
pub struct Distribution {
    nanos: Histogram<u64>,
    /// Arithmetic mean, of the samples themselves.
    pub mean: f64,
    /// Standard deviation of the population, of the samples themselves.
    pub std: f64,
}

impl Distribution {
    /// Of some samples; `None` if there are none.
    #[must_use]
    pub fn new(samples: &[Duration]) -> Option<Self> {
        if samples.is_empty() {
            return None;
        }
        let mut nanos = Histogram::new(DIGITS).ok()?;
        for sample in samples {
            // It grows with its values, up to all there are.
            nanos
                .record(u64::try_from(sample.as_nanos()).unwrap_or(u64::MAX))
                .ok()?;
        }
        let count = samples.len() as f64;
        let millis = || samples.iter().map(|sample| sample.as_secs_f64() * 1e3);
        let mean = millis().sum::<f64>() / count;
        let variance = millis().map(|sample| (sample - mean).powi(2)).sum::<f64>() / count;
        Some(Self {
            nanos,
            mean,
            std: variance.sqrt(),
        })
    }

    /// The least value that this many of a hundred samples do not exceed.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> f64 {
        self.nanos.value_at_percentile(percent) as f64 / 1e6
    }
}

/// What a run amounts to.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Length of the run.
    pub seconds: f64,
    /// Answers that came whole.
    pub completed: u64,
    /// Requests without one.
    pub failed: u64,
    /// Prompt tokens of the whole answers, as the server counts them.
    pub input_tokens: u64,
    /// Tokens of the whole answers, as the server counts them.
    pub output_tokens: u64,
    /// Whole answers in time for every objective; `None` without objectives.
    pub good: Option<u64>,
    distributions: Vec<(Metric, Distribution)>,
}

/// The most that a figure of a good request may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Objective {
    /// Which figure.
    pub metric: Metric,
    /// The most it may be.
    pub limit: Duration,
}

impl Objective {
    /// Whether an answer meets it. An answer without the figure (one token has no time per further
    /// token) does; gaps between tokens count by their mean.
    #[must_use]
    pub fn is_met(&self, times: &Timeline) -> bool {
        let samples = self.metric.samples(times);
        let count = u32::try_from(samples.len()).unwrap_or(u32::MAX);
        let mean = samples.iter().sum::<Duration>().checked_div(count);
        mean.is_none_or(|mean| mean <= self.limit)
    }
}

impl Summary {
    /// Sums a measurement up.
    #[must_use]
    pub fn new(measurement: &Measurement, objectives: &[Objective]) -> Self {
        let records = &measurement.records;
        let answers: Vec<&Timeline> = records
            .iter()
            .filter_map(|record| record.result.as_ref().ok())
            .collect();
        let metrics = [
            Metric::Ttfb,
            Metric::Ttft,
            Metric::Tpot,
            Metric::Itl,
            Metric::E2el,
        ];
        let distribution = |metric: Metric| {
            let samples = answers.iter().flat_map(|times| metric.samples(times));
            Some((metric, Distribution::new(&samples.collect::<Vec<_>>())?))
        };
        let good = |times: &&&Timeline| objectives.iter().all(|objective| objective.is_met(times));
        Self {
            seconds: measurement.wall.as_secs_f64(),
            completed: answers.len() as u64,
            failed: (records.len() - answers.len()) as u64,
            input_tokens: answers.iter().map(|times| times.prompt_tokens).sum(),
            output_tokens: answers.iter().map(|times| times.completion_tokens).sum(),
            good: (!objectives.is_empty()).then(|| answers.iter().filter(good).count() as u64),
            distributions: metrics.into_iter().filter_map(distribution).collect(),
        }
    }

    /// This many over the length of the run.
    #[must_use]
    pub fn per_second(&self, count: u64) -> f64 {
        if self.seconds > 0.0 {
            count as f64 / self.seconds
        } else {
            0.0
        }
    }

    /// The distribution of a figure; `None` if no answer had it.
    #[must_use]
    pub fn distribution(&self, metric: Metric) -> Option<&Distribution> {
        let found = self.distributions.iter().find(|(of, _)| *of == metric);
        found.map(|(_, distribution)| distribution)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: &[u64]) -> Vec<Duration> {
        millis.iter().copied().map(Duration::from_millis).collect()
    }

    fn times(first: u64, gaps: &[u64], tokens: u64) -> Timeline {
        let first = Duration::from_millis(first);
        let gaps = millis(gaps);
        let last = first + gaps.iter().sum::<Duration>();
        Timeline {
            first_byte: first / 2,
            first_content: Some(first),
            gaps,
            last_content: Some(last),
            end: last,
            prompt_tokens: 7,
            completion_tokens: tokens,
        }
    }

    #[test]
    fn figures_are_those_of_the_field() {
        let times = times(100, &[10, 30], 5);

        assert_eq!(Metric::Ttfb.samples(&times), millis(&[50]));
        assert_eq!(Metric::Ttft.samples(&times), millis(&[100]));
        // Tokens are counted by the server: two events may hold five.
        assert_eq!(Metric::Tpot.samples(&times), millis(&[10]));
        assert_eq!(Metric::Itl.samples(&times), millis(&[10, 30]));
        assert_eq!(Metric::E2el.samples(&times), millis(&[140]));
    }

    #[test]
    fn single_token_has_no_time_per_further_token() {
        assert!(Metric::Tpot.samples(&times(100, &[], 1)).is_empty());
        assert!(Metric::Tpot.samples(&Timeline::default()).is_empty());
    }

    #[test]
    fn percentiles_are_within_a_thousandth() {
        let samples: Vec<u64> = (1..=1000).collect();
        let distribution = Distribution::new(&millis(&samples)).unwrap();

        for percent in [1.0, 50.0, 95.0, 99.0] {
            let value = distribution.percentile(percent);
            assert!(
                (value / (percent * 10.0) - 1.0).abs() < 1e-3,
                "{percent}: {value}"
            );
        }
        assert!((distribution.mean - 500.5).abs() < 1e-9);
        assert!((distribution.std - 288.675).abs() < 1e-3);
    }

    #[test]
    fn good_requests_meet_every_objective() {
        let objective = |metric, limit| Objective {
            metric,
            limit: Duration::from_millis(limit),
        };
        let times = times(100, &[10, 30], 5);

        assert!(objective(Metric::Ttft, 100).is_met(&times));
        assert!(!objective(Metric::Ttft, 99).is_met(&times));
        assert!(objective(Metric::Itl, 20).is_met(&times));
        assert!(!objective(Metric::Itl, 19).is_met(&times));
        assert!(objective(Metric::Tpot, 1).is_met(&Timeline::default()));
    }
}
