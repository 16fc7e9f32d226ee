//! The widest vector unit that the machine has, for loops that the compiler turns into vector code.

/// Partial sums of the reductions below: two registers of the widest unit in `f64`, one in `f32`.
const LANES: usize = 16;

/// Runs a loop compiled for the vector unit that is there (AVX-512, AVX2, or what the target has).
///
/// The compiler fuses no operations, so what runs has the same bits on every unit. Only what is inlined into the
/// closure profits: mark it, and what it calls, `#[inline(always)]`.
#[inline(always)]
#[allow(clippy::inline_always, reason = "the caller's closure must end inside the dispatched function")]
pub(crate) fn vectorized<R>(elementwise: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(elementwise)
}

/// values · factors, element by element, in place.
pub(super) fn multiply_in_place(values: &mut [f32], factors: &[f32]) {
    vectorized(
        #[inline(always)]
        || values.iter_mut().zip(factors).for_each(|(value, factor)| *value *= factor),
    );
}

/// The weighted squared error Σ_j w_j (p_j − y_j)² of one row; leaves its gradient 2 w_j (p_j − y_j) in the
/// prediction.
///
/// A plain sum waits for each addition; partial sums in a fixed order become vector code.
#[inline(always)]
#[allow(clippy::inline_always, reason = "the caller's vector unit holds only for what is inlined into it")]
pub(super) fn weighted_error(prediction: &mut [f32], target: &[f32], weights: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let chunks = prediction.chunks_mut(LANES).zip(target.chunks(LANES)).zip(weights.chunks(LANES));
    for ((prediction, target), weights) in chunks {
        for (((value, target), weight), sum) in prediction.iter_mut().zip(target).zip(weights).zip(&mut sums)
        {
            let difference = *value - target;
            *sum += weight * difference * difference;
            *value = 2.0 * weight * difference;
        }
    }
    sums.iter().sum()
}

/// Σ_j (own_j − wanted_j)².
pub(crate) fn squared_distance(own: &[f32], wanted: &[f64]) -> f64 {
    vectorized(
        #[inline(always)]
        || {
            let mut sums = [0.0_f64; LANES];
            for (own, wanted) in own.chunks(LANES).zip(wanted.chunks(LANES)) {
                for ((own, wanted), sum) in own.iter().zip(wanted).zip(&mut sums) {
                    let difference = f64::from(*own) - wanted;
                    *sum += difference * difference;
                }
            }
            sums.iter().sum()
        },
    )
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::*;

    /// Rounding of `count` additions and the products before them, in units of the last place.
    fn tolerance(count: usize, unit: f64) -> f64 {
        (count + 3) as f64 * unit
    }

    #[test]
    fn reductions_match_plain_sums_at_every_length() {
        for count in 0..70 {
            let own: Vec<f32> = (0..count).map(|index| ((index * 37) % 23) as f32 / 7.0 - 1.0).collect();
            let wanted: Vec<f64> = (0..count).map(|index| ((index * 11) % 19) as f64 / 5.0 - 1.0).collect();
            let differences: Vec<f64> =
                own.iter().zip(&wanted).map(|(own, wanted)| f64::from(*own) - wanted).collect();
            let plain: f64 = differences.iter().map(|difference| difference * difference).sum();
            let squared = squared_distance(&own, &wanted);
            assert_relative_eq!(squared, plain, max_relative = tolerance(count, f64::EPSILON));

            let target: Vec<f32> = wanted.iter().map(|value| *value as f32).collect();
            let weights: Vec<f32> = (0..count).map(|index| 0.5 + (index % 3) as f32).collect();
            let mut prediction = own.clone();
            let error = weighted_error(&mut prediction, &target, &weights);
            let terms = own.iter().zip(&target).map(|(own, wanted)| f64::from(*own) - f64::from(*wanted));
            let plain: f64 =
                terms.clone().zip(&weights).map(|(term, weight)| f64::from(*weight) * term * term).sum();
            let unit = f64::from(f32::EPSILON);
            assert_relative_eq!(f64::from(error), plain, max_relative = tolerance(count, unit));
            for ((gradient, term), weight) in prediction.iter().zip(terms).zip(&weights) {
                let expected = 2.0 * f64::from(*weight) * term;
                assert_relative_eq!(
                    f64::from(*gradient),
                    expected,
                    max_relative = 4.0 * unit,
                    epsilon = 1e-6
                );
            }
        }
    }

    #[test]
    fn nan_is_not_lost() {
        assert!(squared_distance(&[1.0, f32::NAN], &[1.0, 1.0]).is_nan());
        assert!(weighted_error(&mut [f32::NAN], &[0.0], &[1.0]).is_nan());
    }
}
