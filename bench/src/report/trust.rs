//! Why the figures of a run may be wrong.

use std::time::Duration;

use super::stats::Sorted;
use super::summary::{Metric, Summary};
use crate::load::generator::{Measurement, Record};

/// Share of one core from which on the client and not the server may be what is measured.
const CPU_SHARE_MAX: f64 = 0.8;
/// Share of the run in which the client wanted a core and got none.
const WAIT_SHARE_MAX: f64 = 0.1;
/// Share of the median time to first token that the client may be late by.
const LAG_SHARE_MAX: f64 = 0.1;
/// Lateness that is never worth a word: the timer's own.
const LAG_FLOOR: Duration = Duration::from_millis(3);
/// Answers below which a 99th percentile is one of the two worst samples.
const ANSWERS_MIN: u64 = 100;
/// How much slower the first tenth may be than the rest.
const WARM_UP_MAX: f64 = 1.5;

/// A reason not to believe the figures.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Doubt {
    /// The client's one thread was busy.
    #[error("the client used {0:.0} % of a core: it, not the server, may have been the limit")]
    ClientBusy(f64),
    /// Others took the client's core.
    #[error("the client waited for a core during {0:.0} % of the run: this machine is too busy")]
    ClientStarved(f64),
    /// Requests were sent late.
    #[error("one request in a hundred was sent {0:?} late or later")]
    SendLag(Duration),
    /// Answers were seen late.
    #[error("one time in a hundred the client looked {0:?} late or later")]
    LoopLag(Duration),
    /// Too few samples.
    #[error("{0} whole answers are too few for a 99th percentile")]
    TooShort(u64),
    /// The first requests were slower.
    #[error(
        "the first tenth of the requests took {0:.1} times as long to the first token as the rest: warm up first"
    )]
    WarmUp(f64),
}

/// All reasons that the measurement itself gives.
#[must_use]
pub fn doubts(measurement: &Measurement, summary: &Summary) -> Vec<Doubt> {
    let mut doubts = Vec::new();
    if let Some(thread) = measurement.thread
        && summary.seconds > 0.0
    {
        let share = |time: Duration| time.as_secs_f64() / summary.seconds;
        if share(thread.running) > CPU_SHARE_MAX {
            doubts.push(Doubt::ClientBusy(share(thread.running) * 100.0));
        }
        if share(thread.waiting) > WAIT_SHARE_MAX {
            doubts.push(Doubt::ClientStarved(share(thread.waiting) * 100.0));
        }
    }
    let first_token = summary.distribution(Metric::Ttft);
    let bearable = first_token.map_or(0.0, |of| of.percentile(50.0) / 1e3 * LAG_SHARE_MAX);
    let bearable = Duration::try_from_secs_f64(bearable)
        .unwrap_or_default()
        .max(LAG_FLOOR);
    let send_lags = measurement
        .records
        .iter()
        .map(|record| record.lag)
        .collect();
    doubts.extend(
        worst(send_lags)
            .filter(|lag| *lag > bearable)
            .map(Doubt::SendLag),
    );
    let loop_lags = measurement.loop_lags.clone();
    doubts.extend(
        worst(loop_lags)
            .filter(|lag| *lag > bearable)
            .map(Doubt::LoopLag),
    );
    if summary.completed < ANSWERS_MIN {
        doubts.push(Doubt::TooShort(summary.completed));
    }
    doubts.extend(
        warm_up(&measurement.records)
            .filter(|times| *times > WARM_UP_MAX)
            .map(Doubt::WarmUp),
    );
    doubts
}

/// What one in a hundred exceeds or reaches.
fn worst(mut lags: Vec<Duration>) -> Option<Duration> {
    lags.sort_unstable();
    lags.get(lags.len() * 99 / 100).copied()
}

/// How many times as long the first tenth took to the first token, in the median.
fn warm_up(records: &[Record]) -> Option<f64> {
    let mut answers: Vec<(u64, f64)> = records
        .iter()
        .filter_map(|record| {
            let times = record.result.as_ref().ok()?;
            Some((record.number, times.first_content?.as_secs_f64()))
        })
        .collect();
    answers.sort_by_key(|(number, _)| *number);
    let (first, rest) = answers.split_at(answers.len() / 10);
    let median =
        |of: &[(u64, f64)]| Some(Sorted::new(of.iter().map(|(_, time)| *time).collect())?.median());
    Some(median(first)? / median(rest)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::generator::{ThreadTime, Timeline};

    /// A second in which this many answers took 100 ms each to their first token.
    fn measurement(answers: u64) -> Measurement {
        let record = |number| Record {
            number,
            intended: Duration::ZERO,
            lag: Duration::from_millis(1),
            result: Ok(Timeline {
                first_content: Some(Duration::from_millis(100)),
                ..Timeline::default()
            }),
        };
        Measurement {
            records: (0..answers).map(record).collect(),
            wall: Duration::from_secs(1),
            thread: Some(ThreadTime::default()),
            loop_lags: vec![Duration::from_millis(1); 50],
            in_flight_max: 1,
        }
    }

    fn found(measurement: &Measurement) -> Vec<Doubt> {
        doubts(measurement, &Summary::new(measurement, &[]))
    }

    #[test]
    fn good_run_gives_no_doubt() {
        assert_eq!(found(&measurement(200)), []);
    }

    #[test]
    fn busy_and_starved_clients_are_told_apart() {
        let mut measurement = measurement(200);
        measurement.thread = Some(ThreadTime {
            running: Duration::from_millis(900),
            waiting: Duration::from_millis(500),
        });

        assert_eq!(
            found(&measurement),
            [Doubt::ClientBusy(90.0), Doubt::ClientStarved(50.0)]
        );
    }

    #[test]
    fn lateness_is_doubted_from_a_tenth_of_the_first_token_on() {
        let mut measurement = measurement(200);
        for record in &mut measurement.records[..2] {
            record.lag = Duration::from_millis(11);
        }
        measurement.loop_lags = vec![Duration::from_millis(9); 10];
        assert_eq!(
            found(&measurement),
            [Doubt::SendLag(Duration::from_millis(11))]
        );

        measurement.loop_lags = vec![Duration::from_millis(12); 10];
        assert_eq!(found(&measurement).len(), 2);
    }

    #[test]
    fn short_run_is_doubted() {
        assert_eq!(found(&measurement(99)), [Doubt::TooShort(99)]);
    }

    #[test]
    fn warm_up_is_doubted_by_number_and_not_by_order_of_the_ends() {
        let mut measurement = measurement(200);
        for record in &mut measurement.records {
            if record.number < 20 {
                record.result = Ok(Timeline {
                    first_content: Some(Duration::from_millis(300)),
                    ..Timeline::default()
                });
            }
        }
        measurement.records.reverse();

        let [Doubt::WarmUp(times)] = found(&measurement)[..] else {
            panic!("{:?}", found(&measurement));
        };
        assert!((times - 3.0).abs() < 1e-9, "{times}");
    }
}
