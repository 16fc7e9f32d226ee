//! The widest vector unit that the machine has, for loops that the compiler turns into vector code.

/// Partial sums of the reductions below: two registers of the widest unit in `f64`, one in `f32`.
pub(super) const LANES: usize = 16;

/// Runs a loop compiled for the vector unit that is there (AVX-512, AVX2, or what the target has).
///
/// The compiler fuses no operations, so what runs has the same bits on every unit. Only what is inlined into the
/// closure profits: mark it, and what it calls, `#[inline(always)]`.
#[inline(always)]
#[allow(clippy::inline_always, reason = "the caller's closure must end inside the dispatched function")]
pub(crate) fn vectorized<R>(elementwise: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(elementwise)
}

/// A number too small for full precision becomes 0; NaN stays.
///
/// Many processors take tens of times longer for each operation on a subnormal number. What is as small in a gradient, or
/// in a moment of one, moves no parameter.
#[inline(always)]
#[allow(clippy::inline_always, reason = "part of loops that must become vector code")]
pub(super) fn flush(value: f32) -> f32 {
    if value.abs() < f32::MIN_POSITIVE { 0.0 } else { value }
}

/// [`flush`] for all values.
pub(super) fn flush_in_place(values: &mut [f32]) {
    vectorized(
        #[inline(always)]
        || values.iter_mut().for_each(|value| *value = flush(*value)),
    );
}

/// values · factors, element by element, in place; [`flush`]ed, for they are gradients that go on into products.
pub(super) fn multiply_in_place(values: &mut [f32], factors: &[f32]) {
    vectorized(
        #[inline(always)]
        || values.iter_mut().zip(factors).for_each(|(value, factor)| *value = flush(*value * factor)),
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

/// eˣ with a relative error below 4e-16 · (1 + |x|), without branches, so that loops over it become vector code.
///
/// As the activation's, in f64: |r| ≤ ln 2 / 2 leaves a remainder of 0.35¹⁴ / 14! = 5e-18 to a Taylor polynomial of
/// degree 13. Below −700 it stays at e⁻⁷⁰⁰, above 700 at e⁷⁰⁰.
#[inline(always)]
#[allow(clippy::inline_always, reason = "the caller's vector unit holds only for what is inlined into it")]
pub(super) fn exponential_f64(x: f64) -> f64 {
    /// Adding and subtracting 1.5 · 2⁵² rounds to the nearest integer.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    /// ln 2 in two parts: the first has so few bits that n times it is exact.
    const LN_2_HIGH: f64 = 0.693_147_180_369_123_8;
    const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    /// 1 / k! from k = 13 down to 0.
    const SERIES: [f64; 14] = [
        1.0 / 6_227_020_800.0,
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ];
    let clamped = if x < -700.0 { -700.0 } else { x };
    let clamped = if clamped > 700.0 { 700.0 } else { clamped };
    let shifted = clamped * std::f64::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (clamped - n * LN_2_HIGH) - n * LN_2_LOW;
    let mut polynomial = SERIES[0];
    for coefficient in &SERIES[1..] {
        polynomial = polynomial * r + coefficient;
    }
    // The low bits of `shifted` hold n: moved into the exponent they multiply by 2ⁿ.
    let power = f64::from_bits((shifted.to_bits() << 52).wrapping_add(0x3ff0_0000_0000_0000));
    polynomial * power
}

/// tanh x with an absolute error below 3e-15, without branches.
#[inline(always)]
#[allow(clippy::inline_always, reason = "the caller's vector unit holds only for what is inlined into it")]
pub(super) fn hyperbolic_tangent_f64(x: f64) -> f64 {
    1.0 - 2.0 / (1.0 + exponential_f64(2.0 * x))
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
    fn gradients_hold_no_subnormal_number_and_nan_stays() {
        let smallest = f32::MIN_POSITIVE;
        let mut values = [smallest / 2.0, -smallest / 2.0, smallest, -1.0, f32::NAN];
        flush_in_place(&mut values);
        assert_eq!(values[..4], [0.0, 0.0, smallest, -1.0]);
        assert!(values[4].is_nan());
        let mut values = [smallest, smallest, 1e-30, f32::NAN];
        multiply_in_place(&mut values, &[0.5, 2.0, -1e-10, 0.0]);
        assert_eq!(values[..3], [0.0, 2.0 * smallest, 0.0]);
        assert!(values[3].is_nan());
    }

    #[test]
    fn exponentials_are_accurate() {
        for step in -7000..7000 {
            let x = f64::from(step) / 10.0 + 0.013;
            // std's is within one unit in the last place; ours loses two in the reduction and two in the series.
            assert_relative_eq!(exponential_f64(x), x.exp(), max_relative = 5.0 * f64::EPSILON);
        }
        assert_eq!(exponential_f64(0.0), 1.0);
        assert!(exponential_f64(f64::NAN).is_nan());
        assert!(exponential_f64(f64::NEG_INFINITY) < 1e-300 && exponential_f64(f64::INFINITY) > 1e300);
    }

    #[test]
    fn hyperbolic_tangents_are_accurate() {
        for step in -4000..4000 {
            let x = f64::from(step) / 100.0 + 0.003;
            // |2 / (1 + e²ˣ)| ≤ 2, of which the exponential loses five units in the last place and the division one.
            assert!((hyperbolic_tangent_f64(x) - x.tanh()).abs() < 12.0 * f64::EPSILON, "{x}");
        }
        assert_eq!(hyperbolic_tangent_f64(0.0), 0.0);
        assert_eq!(
            (hyperbolic_tangent_f64(f64::INFINITY), hyperbolic_tangent_f64(f64::NEG_INFINITY)),
            (1.0, -1.0)
        );
        assert!(hyperbolic_tangent_f64(f64::NAN).is_nan());
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
