//! When requests are meant to start.

use std::f64::consts::TAU;
use std::time::Duration;

/// The law by which an open loop sends requests, whatever becomes of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arrivals {
    /// How many requests start in a second.
    pub rate: Rate,
    /// Shape of the gamma distribution of the intervals: 1 is a Poisson process, less comes in bursts,
    /// more is more regular, and infinity is one request each time the interval has passed.
    pub burstiness: f64,
}

/// Requests per second over the course of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// Always the same.
    Constant(f64),
    /// From one rate to another, in equal steps from request to request.
    Linear {
        /// Of the first request.
        from: f64,
        /// After the last request.
        to: f64,
    },
    /// From one rate to another, by equal factors from request to request.
    Exponential {
        /// Of the first request.
        from: f64,
        /// After the last request.
        to: f64,
    },
}

impl Rate {
    /// The rate when this share of the requests has been sent.
    #[must_use]
    pub fn after(&self, share: f64) -> f64 {
        match *self {
            Self::Constant(rate) => rate,
            Self::Linear { from, to } => from + (to - from) * share,
            Self::Exponential { from, to } => from * (to / from).powf(share),
        }
    }
}

impl Arrivals {
    /// The starts of this many requests, from the start of the run, in order. The first one starts at
    /// once; the same seed gives the same starts.
    #[must_use]
    pub fn starts(&self, requests: u64, seed: u64) -> Vec<Duration> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut at = 0.0;
        let mut starts = Vec::new();
        for number in 0..requests {
            starts.push(Duration::try_from_secs_f64(at).unwrap_or(Duration::MAX));
            let rate = self.rate.after(number as f64 / requests as f64);
            at += interval(&mut rng, self.burstiness) / rate;
        }
        starts
    }
}

/// A sample of the gamma distribution of this shape with mean 1.
fn interval(rng: &mut fastrand::Rng, shape: f64) -> f64 {
    if shape.is_infinite() {
        1.0
    } else if shape < 1.0 {
        // A sample of shape + 1, made smaller by a power of a uniform one, has this shape.
        gamma(rng, shape + 1.0) * open_unit(rng).powf(1.0 / shape) / shape
    } else {
        gamma(rng, shape) / shape
    }
}

/// A sample of the gamma distribution of this shape, at least 1, and scale 1 (Marsaglia and Tsang,
/// "A simple method for generating gamma variables", 2000).
fn gamma(rng: &mut fastrand::Rng, shape: f64) -> f64 {
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = normal(rng);
        let v = (1.0 + c * x).powi(3);
        if v > 0.0 && open_unit(rng).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v;
        }
    }
}

/// A sample of the standard normal distribution (Box and Muller).
fn normal(rng: &mut fastrand::Rng) -> f64 {
    (-2.0 * open_unit(rng).ln()).sqrt() * (TAU * rng.f64()).cos()
}

/// Uniform above 0 and up to 1, so that it has a logarithm.
fn open_unit(rng: &mut fastrand::Rng) -> f64 {
    1.0 - rng.f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUESTS: u64 = 40_000;

    /// Mean of the intervals, and their deviation in relation to it.
    fn moments(rate: Rate, burstiness: f64) -> (f64, f64) {
        let starts = Arrivals { rate, burstiness }.starts(REQUESTS, 7);
        let gaps: Vec<f64> = starts
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).as_secs_f64())
            .collect();
        let count = gaps.len() as f64;
        let mean = gaps.iter().sum::<f64>() / count;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / count;
        (mean, variance.sqrt() / mean)
    }

    #[test]
    fn intervals_have_the_moments_of_their_gamma_distribution() {
        for burstiness in [0.25, 0.5, 1.0, 4.0, 100.0] {
            let (mean, deviation) = moments(Rate::Constant(20.0), burstiness);

            assert!((mean * 20.0 - 1.0).abs() < 0.04, "{burstiness}: {mean}");
            let expected = 1.0 / f64::sqrt(burstiness);
            assert!(
                (deviation / expected - 1.0).abs() < 0.04,
                "{burstiness}: {deviation}"
            );
        }
    }

    #[test]
    fn poisson_arrivals_are_without_memory() {
        let arrivals = Arrivals {
            rate: Rate::Constant(1.0),
            burstiness: 1.0,
        };
        let starts = arrivals.starts(REQUESTS, 1);
        let longer = |than: f64| {
            let gaps = starts
                .windows(2)
                .map(|pair| (pair[1] - pair[0]).as_secs_f64());
            gaps.filter(|gap| *gap > than).count() as f64 / REQUESTS as f64
        };

        for than in [0.5, 1.0, 2.0] {
            assert!((longer(than) - f64::exp(-than)).abs() < 0.01, "{than}");
        }
    }

    #[test]
    fn endless_burstiness_is_a_clock() {
        let arrivals = Arrivals {
            rate: Rate::Constant(4.0),
            burstiness: f64::INFINITY,
        };

        let millis: Vec<u128> = arrivals
            .starts(4, 1)
            .iter()
            .map(Duration::as_millis)
            .collect();

        assert_eq!(millis, [0, 250, 500, 750]);
    }

    #[test]
    fn ramps_go_from_one_rate_to_the_other() {
        let ends = |rate: Rate| [rate.after(0.0), rate.after(0.5), rate.after(1.0)];

        assert_eq!(ends(Rate::Linear { from: 1.0, to: 9.0 }), [1.0, 5.0, 9.0]);
        assert_eq!(
            ends(Rate::Exponential { from: 1.0, to: 9.0 }),
            [1.0, 3.0, 9.0]
        );
    }

    #[test]
    fn same_seed_gives_the_same_starts() {
        let arrivals = Arrivals {
            rate: Rate::Constant(4.0),
            burstiness: 0.5,
        };

        assert_eq!(arrivals.starts(50, 3), arrivals.starts(50, 3));
        assert_ne!(arrivals.starts(50, 3), arrivals.starts(50, 4));
    }
}
