//! Confidence intervals of r_T by the bootstrap over targets.

use inverse_core::InvalidArgument;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::resimulation_error::quantile;
use crate::{MetricError, ResimulationErrors};

/// An interval that covers r_T with a stated confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ConfidenceInterval {
    /// Lower end.
    pub lower: f64,
    /// Upper end.
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
    /// and 1, or `resamples` is 0.
    pub fn confidence_interval(
        &self,
        proposals: usize,
        level: f64,
        resamples: usize,
        rng: &mut dyn Rng,
    ) -> Result<ConfidenceInterval, MetricError> {
        let best = self.best_of(proposals)?.to_vec();
        if !(level > 0.0 && level < 1.0) {
            return Err(InvalidArgument::new("level", "a share between 0 and 1", level).into());
        }
        if resamples == 0 {
            return Err(InvalidArgument::new("resamples", "at least 1", 0).into());
        }
        let mut means: Vec<f64> = (0..resamples)
            .map(|_| {
                let sum: f64 = (0..best.len()).map(|_| best[rng.random_range(0..best.len())]).sum();
                sum / best.len() as f64
            })
            .collect();
        means.sort_unstable_by(f64::total_cmp);
        let tail = 0.5 * (1.0 - level);
        Ok(ConfidenceInterval { lower: quantile(&means, tail), upper: quantile(&means, 1.0 - tail) })
    }
}

#[cfg(test)]
mod tests {
    use inverse_core::RandomStreams;
    use ndarray::Array2;
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
    fn arguments_are_checked() {
        let errors = ResimulationErrors::from_errors(Array2::ones((3, 2))).unwrap();
        let mut rng = RandomStreams::new(0).stream("bootstrap", 0);
        assert!(errors.confidence_interval(0, 0.9, 10, &mut rng).is_err());
        assert!(errors.confidence_interval(1, 1.0, 10, &mut rng).is_err());
        assert!(errors.confidence_interval(1, f64::NAN, 10, &mut rng).is_err());
        assert!(errors.confidence_interval(1, 0.9, 0, &mut rng).is_err());
        let exact = errors.confidence_interval(2, 0.9, 10, &mut rng).unwrap();
        assert_eq!(exact, ConfidenceInterval { lower: 1.0, upper: 1.0 });
    }
}
