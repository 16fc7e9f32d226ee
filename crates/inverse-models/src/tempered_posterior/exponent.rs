//! The likelihood's exponent, step by step from 0 to 1.

use crate::relative_weights::RelativeWeights;

/// Halvings that find an increment: from 1 down to 1e-60.
const HALVINGS: usize = 200;

/// The next exponent: the largest, up to 1, that leaves that share of equal particles effective.
///
/// * `log_likelihood`: of each particle, finite
pub(crate) fn next_exponent(log_likelihood: &[f64], exponent: f64, share: f64) -> f64 {
    let enough = |increment: f64| {
        let weights = RelativeWeights::new(log_likelihood, increment);
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

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

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
}
