//! r_T for every T from the errors of all proposals.

use inverse_core::InvalidArgument;
use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use crate::MetricError;

/// The squared error of every proposal of every target, and its running minimum.
///
/// A target without a valid proposal among the first T has an infinite error, and so r_T is infinite: leaving
/// the target out would reward a model for failing on the hard ones. [`ResimulationErrors::unanswered`] counts
/// such targets, and the median of [`ResimulationErrors::curve`] stays finite while they are fewer than half.
///
/// ```
/// use inverse_metrics::ResimulationErrors;
/// use ndarray::array;
///
/// let invalid = f64::INFINITY;
/// let errors = ResimulationErrors::from_errors(array![[4.0, 1.0], [2.0, 3.0], [invalid, 5.0]])?;
/// assert_eq!(errors.mean(1)?, invalid);
/// assert_eq!((errors.unanswered(1)?, errors.curve().median[0]), (1, 4.0));
/// assert_eq!((errors.mean(2)?, errors.worst_target(2)?), (8.0 / 3.0, 2));
/// # Ok::<(), inverse_metrics::MetricError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ResimulationErrors {
    /// (targets, n); infinite where invalid.
    errors: Array2<f64>,
    /// The error of the best of the first T proposals, (targets, n).
    best: Array2<f64>,
}

/// r_T and its spread over the targets; entry T − 1 belongs to T. All errors are in units of y².
///
/// Written as JSON, an infinite error is `null`, because JSON has no infinity; it reads back as infinity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorCurve {
    /// r_T (eq. 11): the mean over targets. Infinite as long as a target has no valid proposal.
    #[serde(with = "crate::infinity::list")]
    pub mean: Vec<f64>,
    /// First quartile over targets.
    #[serde(with = "crate::infinity::list")]
    pub lower_quartile: Vec<f64>,
    /// Median over targets.
    #[serde(with = "crate::infinity::list")]
    pub median: Vec<f64>,
    /// Third quartile over targets.
    #[serde(with = "crate::infinity::list")]
    pub upper_quartile: Vec<f64>,
    /// The worst target's error.
    #[serde(with = "crate::infinity::list")]
    pub worst: Vec<f64>,
    /// How many targets have no valid proposal among the first T.
    pub unanswered: Vec<usize>,
}

impl ResimulationErrors {
    /// From the squared error of each proposal, (targets, n); infinite where a proposal is invalid.
    ///
    /// # Errors
    /// [`MetricError::InvalidArgument`] where there is no target or no proposal, or an error is NaN or
    /// negative.
    pub fn from_errors(errors: Array2<f64>) -> Result<Self, MetricError> {
        if errors.is_empty() {
            let found = format!("shape {:?}", errors.dim());
            return Err(InvalidArgument::new("errors", "at least one target and one proposal", found).into());
        }
        if let Some(error) = errors.iter().find(|error| error.is_nan() || **error < 0.0) {
            return Err(InvalidArgument::new("errors", "squared errors of at least 0", error).into());
        }
        let mut best = errors.clone();
        for mut row in best.rows_mut() {
            let mut lowest = f64::INFINITY;
            row.mapv_inplace(|error| {
                lowest = lowest.min(error);
                lowest
            });
        }
        Ok(Self { errors, best })
    }

    /// The squared error of each proposal, (targets, n).
    pub fn errors(&self) -> ArrayView2<'_, f64> {
        self.errors.view()
    }

    /// Number of targets.
    pub fn targets(&self) -> usize {
        self.errors.nrows()
    }

    /// Number of proposals a target: the largest T.
    pub fn count(&self) -> usize {
        self.errors.ncols()
    }

    /// Number of invalid proposals: those whose error is infinite, because the design is not finite, the
    /// simulator could not evaluate it, or the error overflows.
    pub fn invalid(&self) -> usize {
        self.errors.iter().filter(|error| error.is_infinite()).count()
    }

    /// Number of invalid proposals of each target, (targets).
    pub fn invalid_by_target(&self) -> Vec<usize> {
        let invalid = |row: ArrayView1<'_, f64>| row.iter().filter(|error| error.is_infinite()).count();
        self.errors.rows().into_iter().map(invalid).collect()
    }

    /// The target with the largest error of its best of T proposals; the first one where several are equal.
    ///
    /// # Errors
    /// [`MetricError::InvalidArgument`] where `proposals` (T) is 0 or more than there are.
    pub fn worst_target(&self, proposals: usize) -> Result<usize, MetricError> {
        let best = self.best_of(proposals)?;
        let worst = |worst, (target, error): (usize, &f64)| if *error > best[worst] { target } else { worst };
        Ok(best.iter().enumerate().fold(0, worst))
    }

    /// Number of targets without a valid proposal among the first T.
    ///
    /// # Errors
    /// [`MetricError::InvalidArgument`] where `proposals` (T) is 0 or more than there are.
    pub fn unanswered(&self, proposals: usize) -> Result<usize, MetricError> {
        Ok(self.best_of(proposals)?.iter().filter(|error| error.is_infinite()).count())
    }

    /// The error of the best of the first T proposals, (targets).
    ///
    /// # Errors
    /// [`MetricError::InvalidArgument`] where `proposals` (T) is 0 or more than there are.
    pub fn best_of(&self, proposals: usize) -> Result<ArrayView1<'_, f64>, MetricError> {
        if proposals == 0 || proposals > self.count() {
            return Err(InvalidArgument::new("proposals", format!("1 to {}", self.count()), proposals).into());
        }
        Ok(self.best.column(proposals - 1))
    }

    /// r_T (eq. 11) at one T.
    ///
    /// # Errors
    /// [`MetricError::InvalidArgument`] where `proposals` (T) is 0 or more than there are.
    pub fn mean(&self, proposals: usize) -> Result<f64, MetricError> {
        Ok(mean(self.best_of(proposals)?))
    }

    /// r_T and its spread for every T.
    pub fn curve(&self) -> ErrorCurve {
        let count = self.count();
        let mut curve = ErrorCurve {
            mean: Vec::with_capacity(count),
            lower_quartile: Vec::with_capacity(count),
            median: Vec::with_capacity(count),
            upper_quartile: Vec::with_capacity(count),
            worst: Vec::with_capacity(count),
            unanswered: Vec::with_capacity(count),
        };
        for best in self.best.axis_iter(Axis(1)) {
            let mut sorted = best.to_vec();
            sorted.sort_unstable_by(f64::total_cmp);
            curve.mean.push(mean(best));
            curve.lower_quartile.push(quantile(&sorted, 0.25));
            curve.median.push(quantile(&sorted, 0.5));
            curve.upper_quartile.push(quantile(&sorted, 0.75));
            curve.worst.push(quantile(&sorted, 1.0));
            curve.unanswered.push(sorted.iter().rev().take_while(|error| error.is_infinite()).count());
        }
        curve
    }
}

/// The mean, summed in order of the targets: `ArrayBase::sum` adds in another order where the column happens to
/// be contiguous, and the bits of r_1 would depend on how many proposals follow.
fn mean(best: ArrayView1<'_, f64>) -> f64 {
    best.iter().sum::<f64>() / best.len() as f64
}

/// The quantile of sorted values by linear interpolation between order statistics (Hyndman and Fan's
/// definition 7, NumPy's default).
pub(crate) fn quantile(sorted: &[f64], probability: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let position = probability * last as f64;
    let (low, high) = (sorted[position.floor() as usize], sorted[(position.ceil() as usize).min(last)]);
    let share = position.fract();
    // Not low + share · (high − low): infinite values would give NaN.
    if share == 0.0 || low == high { low } else { low * (1.0 - share) + high * share }
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn equals_brute_force(
            targets in 1..12_usize,
            count in 1..20_usize,
            values in prop::collection::vec(prop_oneof![4 => 0.0..10.0_f64, 1 => Just(f64::INFINITY)], 240),
        ) {
            let errors = Array2::from_shape_fn((targets, count), |(row, column)| values[row * count + column]);
            let ours = ResimulationErrors::from_errors(errors.clone()).unwrap();
            let curve = ours.curve();
            for t in 1..=count {
                let best: Vec<f64> = errors
                    .rows()
                    .into_iter()
                    .map(|row| row.iter().take(t).copied().fold(f64::INFINITY, f64::min))
                    .collect();
                let mean = best.iter().sum::<f64>() / targets as f64;
                prop_assert_eq!(ours.best_of(t).unwrap().to_vec(), best.clone());
                prop_assert_eq!(ours.mean(t).unwrap(), mean);
                prop_assert_eq!(curve.mean[t - 1], mean);
                let worst = best.iter().copied().fold(0.0, f64::max);
                prop_assert_eq!(curve.worst[t - 1], worst);
                let first = best.iter().position(|error| *error == worst);
                prop_assert_eq!(Some(ours.worst_target(t).unwrap()), first);
                let unanswered = best.iter().filter(|error| error.is_infinite()).count();
                prop_assert_eq!(ours.unanswered(t).unwrap(), unanswered);
                prop_assert_eq!(curve.unanswered[t - 1], unanswered);
                // One set of proposals serves every T: those after T change nothing.
                let shorter = errors.slice(ndarray::s![.., ..t]).to_owned();
                prop_assert_eq!(ResimulationErrors::from_errors(shorter).unwrap().mean(t).unwrap(), mean);
            }
            prop_assert_eq!(ours.invalid_by_target().iter().sum::<usize>(), ours.invalid());
            prop_assert!(curve.mean.windows(2).all(|pair| pair[1] <= pair[0]));
        }

        #[test]
        fn any_array_gives_a_result_or_an_error(
            shape in (0..4_usize, 0..4_usize),
            value in prop_oneof![Just(f64::NAN), Just(-1.0), Just(f64::INFINITY), 0.0..1e300_f64],
        ) {
            let result = ResimulationErrors::from_errors(Array2::from_elem(shape, value));
            prop_assert_eq!(result.is_ok(), shape.0 * shape.1 > 0 && value >= 0.0);
        }
    }

    #[test]
    fn quartiles_follow_definition_7() {
        let errors = ResimulationErrors::from_errors(array![[4.0], [1.0], [2.0], [3.0]]).unwrap();
        let curve = errors.curve();
        assert_eq!((curve.lower_quartile[0], curve.median[0], curve.upper_quartile[0]), (1.75, 2.5, 3.25));
        assert_eq!(quantile(&[1.0, f64::INFINITY], 0.25), f64::INFINITY);
        assert_eq!(quantile(&[f64::INFINITY, f64::INFINITY], 0.25), f64::INFINITY);
    }

    #[test]
    fn curves_survive_json_with_their_infinities() {
        let infinite = f64::INFINITY;
        let errors = ResimulationErrors::from_errors(array![[infinite, 0.1], [2.0, infinite]]).unwrap();
        assert_eq!(errors.invalid_by_target(), [1, 1]);
        let curve = errors.curve();
        assert_eq!((curve.mean[0], &curve.unanswered), (infinite, &vec![1, 0]));
        let text = serde_json::to_string(&curve).unwrap();
        assert!(text.starts_with(r#"{"mean":[null,1.05]"#), "{text}");
        assert_eq!(serde_json::from_str::<ErrorCurve>(&text).unwrap(), curve);
    }

    #[test]
    fn impossible_numbers_of_proposals_are_refused() {
        let errors = ResimulationErrors::from_errors(array![[1.0, 2.0]]).unwrap();
        let message = errors.mean(0).unwrap_err().to_string();
        assert_eq!(message, "invalid `proposals`: expected 1 to 2, found 0");
        assert!(errors.best_of(3).is_err());
        assert!(errors.worst_target(0).is_err());
        assert!(errors.unanswered(3).is_err());
    }
}
