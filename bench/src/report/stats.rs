//! Statistics of raw samples, defined as Python's `statistics` module defines them.
//!
//! The testbed's figures were made with that module; ours can be laid beside them only if the same
//! samples give the same figures.

/// Samples in ascending order, at least one.
#[derive(Debug, Clone, PartialEq)]
pub struct Sorted(Vec<f64>);

/// With fewer samples the 95th percentile is their maximum.
const P95_SAMPLES_MIN: usize = 20;

impl Sorted {
    /// Sorts; `None` without samples.
    #[must_use]
    pub fn new(mut samples: Vec<f64>) -> Option<Self> {
        samples.sort_by(f64::total_cmp);
        (!samples.is_empty()).then_some(Self(samples))
    }

    /// The smallest sample.
    #[must_use]
    pub fn min(&self) -> f64 {
        self.at(0)
    }

    /// The largest sample.
    #[must_use]
    pub fn max(&self) -> f64 {
        self.at(self.0.len() - 1)
    }

    /// The sum over the count.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / count(self.0.len())
    }

    /// The middle sample, or the mean of the two in the middle.
    #[must_use]
    pub fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        if self.0.len().is_multiple_of(2) {
            f64::midpoint(self.at(middle - 1), self.at(middle))
        } else {
            self.at(middle)
        }
    }

    /// The 95th percentile: the last of the nineteen cuts that part the samples into twenty, by the
    /// *exclusive* method (rank 0.95·(n+1), linear between neighbours). With fewer than twenty samples
    /// that rank would lie beyond the largest of them, which then stands for it.
    #[must_use]
    pub fn p95(&self) -> f64 {
        let n = self.0.len();
        if n < P95_SAMPLES_MIN {
            return self.max();
        }
        // In integers, so that no rank is rounded: 19·(n+1)/20 and its twentieths.
        let below = 19 * (n + 1) / 20;
        let twentieths = 19 * (n + 1) % 20;
        let (low, high) = (self.at(below - 1), self.at(below));
        (low * count(20 - twentieths) + high * count(twentieths)) / 20.0
    }

    /// The sample of this rank, counted from zero; the largest beyond the end.
    fn at(&self, rank: usize) -> f64 {
        self.0
            .get(rank)
            .or_else(|| self.0.last())
            .copied()
            .unwrap_or(f64::NAN)
    }
}

/// A count as a number to calculate with; exact below 2^53.
fn count(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sorted(samples: &[f64]) -> Sorted {
        Sorted::new(samples.to_vec()).unwrap()
    }

    fn one_to(n: u32) -> Sorted {
        Sorted::new((1..=n).rev().map(f64::from).collect()).unwrap()
    }

    /// The definition in floating point: rank 0.95·(n+1) counted from one, linear in between.
    fn p95_by_rank(samples: &[f64]) -> f64 {
        let mut samples = samples.to_vec();
        samples.sort_by(f64::total_cmp);
        let rank = 0.95 * (samples.len() as f64 + 1.0);
        let mut below = 1;
        while f64::from(below + 1) <= rank + 1e-9 {
            below += 1;
        }
        let fraction = rank - f64::from(below);
        let low = samples[usize::try_from(below).unwrap() - 1];
        let high = samples[usize::try_from(below).unwrap().min(samples.len() - 1)];
        low + (high - low) * fraction
    }

    #[test]
    fn no_samples_have_no_statistics() {
        assert_eq!(Sorted::new(Vec::new()), None);
    }

    #[test]
    fn one_sample_is_all_of_them() {
        let one = sorted(&[0.25]);

        assert_eq!(
            [one.min(), one.median(), one.p95(), one.max(), one.mean()],
            [0.25; 5]
        );
    }

    #[test]
    fn median_of_an_even_count_is_between_the_middle_two() {
        assert_eq!(sorted(&[4.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(sorted(&[4.0, 1.0, 2.0, 3.0]).median(), 2.5);
    }

    #[test]
    fn p95_below_twenty_samples_is_the_maximum() {
        assert_eq!(one_to(19).p95(), 19.0);
    }

    #[test]
    fn p95_from_twenty_samples_is_the_last_cut() {
        // Ranks 19.95, 20.9, 38.95, 95.95 and, exactly on a sample, 19.
        assert_eq!(one_to(20).p95(), 19.95);
        assert_eq!(one_to(21).p95(), 20.9);
        assert_eq!(one_to(40).p95(), 38.95);
        assert_eq!(one_to(100).p95(), 95.95);
        assert_eq!(one_to(39).p95(), 38.0);
    }

    proptest! {
        #[test]
        fn p95_agrees_with_its_definition(samples in prop::collection::vec(0.0..1e3, 20..300)) {
            prop_assert!((sorted(&samples).p95() - p95_by_rank(&samples)).abs() < 1e-6);
        }

        #[test]
        fn median_has_as_many_below_as_above(samples in prop::collection::vec(0.0..1e3, 1..300)) {
            let median = sorted(&samples).median();
            let below = samples.iter().filter(|&&sample| sample < median).count();
            let above = samples.iter().filter(|&&sample| sample > median).count();
            prop_assert!(below <= samples.len() / 2 && above <= samples.len() / 2);
        }

        #[test]
        fn statistics_lie_between_the_extremes(samples in prop::collection::vec(0.0..1e3, 1..300)) {
            let sorted = sorted(&samples);
            let (min, max) = (sorted.min(), sorted.max());
            prop_assert!(samples.contains(&min) && samples.contains(&max));
            for statistic in [sorted.median(), sorted.p95(), sorted.mean()] {
                prop_assert!(min - 1e-9 <= statistic && statistic <= max + 1e-9);
            }
        }
    }
}
