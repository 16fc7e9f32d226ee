//! Confidence intervals of r_T by the bootstrap over targets.

use inverse_core::InvalidArgument;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::resimulation_error::quantile;
use crate::{MetricError, ResimulationErrors};

/// More resamples than this only cost memory: the ends of a 95% interval are stable from thousands on.
const LARGEST_RESAMPLES: usize = 1_000_000;

/// An interval that covers r_T with a stated confidence.
///
/// An end is infinite where that share of the resamples holds a target without a valid proposal. Written as
/// JSON, an infinite end is `null`, because JSON has no infinity; it reads back as infinity.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ConfidenceInterval {
    /// Lower end.
    #[serde(with = "crate::infinity")]
    pub lower: f64,
    /// Upper end.
    #[serde(with = "crate::infinity")]
    pub upper: f64,
}

impl ResimulationErrors {
    /// The percentile-bootstrap interval of r_T (Efron 1979): targets are drawn again with replacement.
    ///
    /// Proposals of one target depend on each other, targets do not: so targets are what is resampled.
    ///
    /// * `proposals`: T
    /// * `level`: confidence, such as 0.95
    /// * `resamples`: how often targets are drawn again; 2,000 give stable ends at 0.95
    ///
    /// # Errors
    /// [`MetricError::InvalidArgument`] where T is 0 or more than there are, the level is not between 0
    /// and 1, or `resamples` is 0 or more than a million.
    pub fn confidence_interval(
        &self,
        proposals: usize,
        level: f64,
        resamples: usize,
        rng: &mut dyn Rng,
    ) -> Result<ConfidenceInterval, MetricError> {
        let means = self.resampled_means(&[proposals], level, resamples, rng)?;
        Ok(interval(means.into_iter().next().unwrap_or_default(), level))
    }

    /// The intervals of r_T for several T, all from the same resamples of the targets.
    ///
    /// r_T falls with T in every resample, so both ends fall with T as well: a band around the curve does not
    /// jitter from one T to the next.
    ///
    /// * `proposals`: each T of interest, in any order
    ///
    /// Returns one interval for each entry of `proposals`, each equal to what
    /// [`ResimulationErrors::confidence_interval`] gives from the same state of `rng`.
    ///
    /// # Errors
    /// As [`ResimulationErrors::confidence_interval`].
    ///
    /// ```
    /// use inverse_core::RandomStreams;
    /// use inverse_metrics::ResimulationErrors;
    /// use ndarray::array;
    ///
    /// let errors = ResimulationErrors::from_errors(array![[4.0, 1.0], [2.0, 3.0], [5.0, 0.0]])?;
    /// let mut rng = RandomStreams::new(1).stream("bootstrap", 0);
    /// let band = errors.confidence_intervals(&[1, 2], 0.9, 1000, &mut rng)?;
    /// assert!(band[1].lower <= band[0].lower && band[1].upper <= band[0].upper);
    /// # Ok::<(), inverse_metrics::MetricError>(())
    /// ```
    pub fn confidence_intervals(
        &self,
        proposals: &[usize],
        level: f64,
        resamples: usize,
        rng: &mut dyn Rng,
    ) -> Result<Vec<ConfidenceInterval>, MetricError> {
        let means = self.resampled_means(proposals, level, resamples, rng)?;
        Ok(means.into_iter().map(|means| interval(means, level)).collect())
    }

    /// r_T of every resample, one list for each T.
    fn resampled_means(
        &self,
        proposals: &[usize],
        level: f64,
        resamples: usize,
        rng: &mut dyn Rng,
    ) -> Result<Vec<Vec<f64>>, MetricError> {
        let best: Vec<Vec<f64>> =
            proposals.iter().map(|t| Ok(self.best_of(*t)?.to_vec())).collect::<Result<_, MetricError>>()?;
        if !(level > 0.0 && level < 1.0) {
            return Err(InvalidArgument::new("level", "a share between 0 and 1", level).into());
        }
        if resamples == 0 || resamples > LARGEST_RESAMPLES {
            let expected = format!("1 to {LARGEST_RESAMPLES}");
            return Err(InvalidArgument::new("resamples", expected, resamples).into());
        }
        let targets = self.targets();
        let mut means = vec![Vec::with_capacity(resamples); best.len()];
        let mut drawn = vec![0; targets];
        for _ in 0..resamples {
            drawn.fill_with(|| rng.random_range(0..targets));
            for (means, best) in means.iter_mut().zip(&best) {
                means.push(drawn.iter().map(|target| best[*target]).sum::<f64>() / targets as f64);
            }
        }
        Ok(means)
    }
}

/// The central share `level` of the resampled means.
fn interval(mut means: Vec<f64>, level: f64) -> ConfidenceInterval {
    means.sort_unstable_by(f64::total_cmp);
    let tail = 0.5 * (1.0 - level);
    ConfidenceInterval { lower: quantile(&means, tail), upper: quantile(&means, 1.0 - tail) }
}

#[cfg(test)]
mod tests {
    use inverse_core::RandomStreams;
    use ndarray::{Array2, array};
    use proptest::prelude::*;
    use rand::RngExt;

    use super::*;

    #[test]
    fn intervals_cover_the_true_mean_as_often_as_they_say() {
        let streams = RandomStreams::new(11);
        let trials = 400;
        let mut covered = 0;
        for trial in 0..trials {
            let mut rng = streams.stream("trial", trial);
            let errors = Array2::from_shape_fn((100, 1), |_| rng.random::<f64>());
            let errors = ResimulationErrors::from_errors(errors).unwrap();
            let interval = errors.confidence_interval(1, 0.9, 300, &mut rng).unwrap();
            covered += usize::from(interval.lower <= 0.5 && 0.5 <= interval.upper);
        }
        // Binomial(400, 0.9) has a deviation of 6; the percentile interval of 100 values undercovers by
        // about one point (4 trials). Four deviations each way.
        assert!((360 - 28..=360 + 24).contains(&covered), "{covered}");
    }

    #[test]
    fn the_interval_is_as_wide_as_the_central_limit_theorem_says() {
        let mut rng = RandomStreams::new(12).stream("width", 0);
        let (targets, resamples) = (400, 4000);
        let values = Array2::from_shape_fn((targets, 1), |_| rng.random::<f64>());
        let deviation = values.std(0.0) / (targets as f64).sqrt();
        let errors = ResimulationErrors::from_errors(values).unwrap();
        let interval = errors.confidence_interval(1, 0.9, resamples, &mut rng).unwrap();
        // The 5% quantile q of n normal draws scatters by √(0.05 · 0.95 / n) / φ(q) = 0.033 deviations for
        // n = 4000, the width by at most √2 of that; five such errors. The skew of 400 uniforms adds less.
        let width = (interval.upper - interval.lower) / deviation;
        assert!((width - 2.0 * 1.644_853_6).abs() < 5.0 * 0.047, "{width}");
    }

    #[test]
    fn arguments_are_checked() {
        let errors = ResimulationErrors::from_errors(Array2::ones((3, 2))).unwrap();
        let mut rng = RandomStreams::new(0).stream("bootstrap", 0);
        assert!(errors.confidence_interval(0, 0.9, 10, &mut rng).is_err());
        for level in [0.0, 1.0, -0.1, f64::NAN, f64::INFINITY] {
            assert!(errors.confidence_interval(1, level, 10, &mut rng).is_err(), "{level}");
        }
        for resamples in [0, LARGEST_RESAMPLES + 1, usize::MAX] {
            assert!(errors.confidence_interval(1, 0.9, resamples, &mut rng).is_err(), "{resamples}");
        }
        assert!(errors.confidence_intervals(&[1, 3], 0.9, 10, &mut rng).is_err());
        assert_eq!(errors.confidence_intervals(&[], 0.9, 10, &mut rng).unwrap(), []);
        let exact = errors.confidence_interval(2, 0.9, 10, &mut rng).unwrap();
        assert_eq!(exact, ConfidenceInterval { lower: 1.0, upper: 1.0 });
    }

    #[test]
    fn unanswered_targets_make_the_upper_end_infinite() {
        let mut values = Array2::ones((50, 1));
        values[[7, 0]] = f64::INFINITY;
        let errors = ResimulationErrors::from_errors(values).unwrap();
        let mut rng = RandomStreams::new(3).stream("bootstrap", 0);
        // A resample misses the target with probability 0.98^50 = 0.36: more than the lower tail of 5%.
        let interval = errors.confidence_interval(1, 0.9, 1000, &mut rng).unwrap();
        assert_eq!((interval.lower, interval.upper), (1.0, f64::INFINITY));
        let text = serde_json::to_string(&interval).unwrap();
        assert_eq!(text, r#"{"lower":1.0,"upper":null}"#);
        assert_eq!(serde_json::from_str::<ConfidenceInterval>(&text).unwrap(), interval);
    }

    proptest! {
        #[test]
        fn several_t_share_their_resamples(
            values in prop::collection::vec(0.0..1.0_f64, 60),
            chosen in prop::collection::vec(1..=6_usize, 1..6),
            seed in any::<u64>(),
        ) {
            let errors = Array2::from_shape_vec((10, 6), values).unwrap();
            let errors = ResimulationErrors::from_errors(errors).unwrap();
            let rng = || RandomStreams::new(seed).stream("bootstrap", 0);
            let together = errors.confidence_intervals(&chosen, 0.8, 50, &mut rng()).unwrap();
            for (t, interval) in chosen.iter().zip(&together) {
                prop_assert_eq!(errors.confidence_interval(*t, 0.8, 50, &mut rng()).unwrap(), *interval);
            }
            let all = errors.confidence_intervals(&[1, 2, 3, 4, 5, 6], 0.8, 50, &mut rng()).unwrap();
            for pair in all.windows(2) {
                prop_assert!(pair[1].lower <= pair[0].lower && pair[1].upper <= pair[0].upper);
            }
        }
    }

    #[test]
    fn a_single_target_leaves_no_doubt() {
        let errors = ResimulationErrors::from_errors(array![[0.25]]).unwrap();
        let mut rng = RandomStreams::new(4).stream("bootstrap", 0);
        let interval = errors.confidence_interval(1, 0.95, 10, &mut rng).unwrap();
        assert_eq!((interval.lower, interval.upper), (0.25, 0.25));
    }
}
