//! Weights that are known by their logarithms.

use inverse_core::{InvalidArgument, systematic_draws};
use ndarray::aview1;
use rand::Rng;

/// Weights relative to the largest.
pub(crate) struct RelativeWeights {
    relative: Vec<f64>,
    sum: f64,
    log_largest: f64,
}

impl RelativeWeights {
    /// exp(`power` × log) of each.
    ///
    /// * `logs`: below infinity, one of them finite at least
    pub(crate) fn new(logs: &[f64], power: f64) -> Self {
        let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let relative: Vec<f64> = logs.iter().map(|log| (power * (log - largest)).exp()).collect();
        Self { sum: relative.iter().sum(), relative, log_largest: power * largest }
    }

    /// (Σ w)² / Σ w² (Kong 1992).
    pub(crate) fn effective_count(&self) -> f64 {
        self.sum * self.sum / self.relative.iter().map(|weight| weight * weight).sum::<f64>()
    }

    /// The logarithm of the mean weight.
    pub(crate) fn log_mean(&self) -> f64 {
        self.log_largest + (self.sum / self.relative.len() as f64).ln()
    }

    /// As many places as there are, drawn by weight, in random order.
    pub(crate) fn resample(&self, rng: &mut impl Rng) -> Result<Vec<usize>, InvalidArgument> {
        systematic_draws(aview1(&self.relative), self.relative.len(), rng)
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::*;

    #[test]
    fn weights_have_their_mean_and_effective_count() {
        let weights = RelativeWeights::new(&[0.0, 3.0_f64.ln(), 4.0_f64.ln()], 1.0);
        assert_relative_eq!(weights.log_mean(), (8.0_f64 / 3.0).ln(), epsilon = 1e-12);
        assert_relative_eq!(weights.effective_count(), 64.0 / 26.0, epsilon = 1e-12);
    }
}
