//! Which targets a draw is kept for where measurements have noise.

use inverse_core::{InvalidArgument, MeasurementNoise};
use ndarray::{ArrayView2, Axis};
use rand::{Rng, RngExt};

use super::Acceptance;
use crate::MetricError;

/// Keeps a design for a target with the chance p(y* | f(x)) / bound.
pub(super) struct LikelihoodAcceptance<'a> {
    noise: &'a dyn MeasurementNoise,
    /// Targets, (targets, `dim_y`).
    y: ArrayView2<'a, f64>,
    /// Targets that still lack samples.
    open: Vec<usize>,
    /// No log-likelihood is above it.
    bound: f64,
}

impl<'a> LikelihoodAcceptance<'a> {
    /// * `missing`: how many samples each target lacks, (targets); those that lack none are left out
    pub(super) fn new(
        noise: &'a dyn MeasurementNoise,
        y: ArrayView2<'a, f64>,
        bound: f64,
        missing: &[usize],
    ) -> Self {
        let open = (0..y.nrows()).filter(|target| missing[*target] > 0).collect();
        Self { noise, y, open, bound }
    }
}

impl Acceptance for LikelihoodAcceptance<'_> {
    fn accept(
        &self,
        answers: ArrayView2<'_, f64>,
        rng: &mut dyn Rng,
        keep: &mut dyn FnMut(usize, usize),
    ) -> Result<(), MetricError> {
        // One chance a draw for all targets: a target's sample is then the same whatever the others are. In (0, 1], so
        // that its logarithm is finite.
        let chances: Vec<f64> = (0..answers.nrows()).map(|_| (1.0 - rng.random::<f64>()).ln()).collect();
        let finite = |row: &usize| answers.row(*row).iter().all(|value| value.is_finite());
        let answered: Vec<usize> = (0..answers.nrows()).filter(finite).collect();
        let exact = answers.select(Axis(0), &answered);
        for target in &self.open {
            let y = self.y.row(*target).insert_axis(Axis(0));
            let Some(y) = y.broadcast(exact.raw_dim()) else { continue };
            let log = self.noise.log_likelihood(exact.view(), y)?;
            if log.len() != answered.len() {
                let expected = format!("{} log-likelihoods", answered.len());
                return Err(InvalidArgument::new("noise", expected, log.len()).into());
            }
            for (row, log) in answered.iter().zip(&log) {
                if log.is_nan() || *log > self.bound + 1e-9 * self.bound.abs().max(1.0) {
                    let expected = format!("log-likelihoods of at most {}, its largest", self.bound);
                    return Err(InvalidArgument::new("noise", expected, log).into());
                }
                if chances[*row] <= log - self.bound {
                    keep(*target, *row);
                }
            }
        }
        Ok(())
    }
}
