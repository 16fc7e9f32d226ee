//! The likelihood's exponent, step by step from 0 to 1, and the draws that a step leaves.

use rand::{Rng, RngExt};

/// Halvings that find an increment: from 1 down to 1e-60.
const HALVINGS: usize = 200;

/// The next exponent: the largest, up to 1, that leaves that share of equal particles effective.
///
/// * `log_likelihood`: of each particle, finite
pub(super) fn next_exponent(log_likelihood: &[f64], exponent: f64, share: f64) -> f64 {
    let enough = |increment: f64| {
        let weights = Weights::new(log_likelihood, increment);
        weights.effective_count() >= share * log_likelihood.len() as f64
    };
    let (mut low, mut high) = (0.0, 1.0 - exponent);
    if enough(high) {
        return 1.0;
    }
    for _ in 0..HALVINGS {
        let middle = 0.5 * (low + high);
        if enough(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    // Where the increment is lost in rounding, the step is as small as a number can tell.
    (exponent + low).max(exponent.next_up()).min(1.0)
}

/// Weights of particles after a step of the exponent, relative to the largest.
pub(super) struct Weights {
    relative: Vec<f64>,
    sum: f64,
    log_largest: f64,
}

impl Weights {
    /// * `log_likelihood`: of each particle, finite
    pub(super) fn new(log_likelihood: &[f64], increment: f64) -> Self {
        let largest = log_likelihood.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let relative: Vec<f64> =
            log_likelihood.iter().map(|log| (increment * (log - largest)).exp()).collect();
        Self { sum: relative.iter().sum(), relative, log_largest: increment * largest }
    }

    /// (Σ w)² / Σ w² (Kong 1992).
    fn effective_count(&self) -> f64 {
        self.sum * self.sum / self.relative.iter().map(|weight| weight * weight).sum::<f64>()
    }

    /// The logarithm of the mean weight.
    pub(super) fn log_mean(&self) -> f64 {
        self.log_largest + (self.sum / self.relative.len() as f64).ln()
    }

    /// As many particles as there are, drawn by weight, in order: systematic resampling (Carpenter, Clifford and Fearnhead 1999).
    /// One of share w of n draws is drawn ⌊n w⌋ or ⌈n w⌉ times.
    pub(super) fn resample(&self, rng: &mut impl Rng) -> Vec<usize> {
        let count = self.relative.len();
        let spacing = self.sum / count as f64;
        let mut mark = spacing * rng.random::<f64>();
        let (mut drawn, mut end) = (Vec::with_capacity(count), 0.0);
        for (particle, weight) in self.relative.iter().enumerate() {
            end += weight;
            while drawn.len() < count && mark < end {
                drawn.push(particle);
                mark += spacing;
            }
        }
        // The last marks may fall behind the sum by rounding.
        drawn.resize(count, count - 1);
        drawn
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;
    use inverse_core::RandomStreams;

    use super::*;

    #[test]
    fn steps_leave_the_share_effective() {
        // Of likelihoods 0 and −L, half and half: (1 + e)² / (2 (1 + e²)) are effective, of which e = exp(−increment L).
        let log: Vec<f64> = (0..1000).map(|particle| if particle < 500 { -80.0 } else { 0.0 }).collect();
        let step = next_exponent(&log, 0.25, 0.9) - 0.25;
        let weight = (-80.0 * step).exp();
        assert_relative_eq!((1.0 + weight).powi(2) / (2.0 * (1.0 + weight * weight)), 0.9, epsilon = 1e-9);
        assert_eq!(next_exponent(&log, 0.25, 0.5), 1.0);
        assert_eq!(next_exponent(&[3.0; 16], 0.0, 0.99), 1.0);
    }

    #[test]
    fn the_smallest_step_goes_on() {
        let log: Vec<f64> = (0..100).map(|particle| -1e300 * f64::from(particle)).collect();
        let next = next_exponent(&log, 0.5, 0.9);
        assert_eq!(next, 0.5_f64.next_up());
        assert_eq!(next_exponent(&log, 1.0_f64.next_down(), 0.9), 1.0);
    }

    #[test]
    fn particles_are_drawn_by_weight() {
        let log = [0.0, 3.0_f64.ln(), 4.0_f64.ln()];
        let weights = Weights::new(&log, 1.0);
        assert_relative_eq!(weights.log_mean(), (8.0_f64 / 3.0).ln(), epsilon = 1e-12);
        assert_relative_eq!(weights.effective_count(), 64.0 / 26.0, epsilon = 1e-12);
        let mut counts = [0_usize; 3];
        for index in 0..2000 {
            let drawn = weights.resample(&mut RandomStreams::new(1).stream("test", index));
            assert_eq!(drawn.len(), 3);
            for particle in drawn {
                counts[particle] += 1;
            }
        }
        // Each is drawn 2000 × 3 × w times; a count that is one of two numbers scatters by √2000 / 2 at most: five of it.
        for (count, weight) in counts.iter().zip([0.125, 0.375, 0.5]) {
            assert!((*count as f64 - 6000.0 * weight).abs() < 112.0, "{counts:?}");
        }
    }
}
