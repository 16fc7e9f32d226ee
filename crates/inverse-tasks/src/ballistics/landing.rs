//! When a ball comes down: the last root of T₂ (section 8.6.1), without units.
//!
//! In units of the decay time m/k, the terminal speed gm/k and the height gm²/k², with c the starting
//! height and b the upward speed, T₂(t) = 0 reads
//!
//! ```text
//! F(τ) = c + b (1 − e^{−τ}) − (τ − 1 + e^{−τ}) = 0.
//! ```
//!
//! With a = 1 + b and s = a + c its last root is s + W₀(−a e^{−s}), W₀ the upper branch of Lambert's
//! function. That form overflows and cancels, so F is solved instead. F falls from τ = max(0, ln a) on, is
//! concave for a ≥ 0 and convex for a ≤ 0: Newton's iteration that starts right of the root (left of it for
//! a ≤ 0) approaches it from that side, and bisection takes over wherever it is slow.

/// Newton needs a handful of steps, and up to 30 at a double root; this is a bound, not a setting.
const MOST_STEPS: usize = 100;

/// Below this τ the terms of the closed forms cancel too far, and a series takes over.
const SERIES_END: f64 = 0.25;

/// How far above the rounding of one operation a sum of a few is trusted.
const ROUNDING: f64 = 8.0 * f64::EPSILON;

/// The moment τ ≥ 0 of impact, in units of m/k: the last root of F.
///
/// * `height`: c, starting height in units of gm²/k²; finite
/// * `climb`: b, upward speed in units of gm/k; finite
///
/// `None` where the ball starts below the ground and does not reach it.
pub(super) fn landing_time(height: f64, climb: f64) -> Option<f64> {
    if climb <= 0.0 && height <= 0.0 {
        return (height == 0.0).then_some(0.0);
    }
    if height < 0.0 && peak(height, climb) < 0.0 {
        return None;
    }
    let (lower, upper) = bracket(height, climb);
    let start = if climb > -1.0 { upper } else { lower };
    Some(falling_root(height, climb, start, lower, upper))
}

/// F at its largest, τ = ln a, for `climb` above 0: c + b − ln a, which is c + e^τ − 1 − τ.
fn peak(height: f64, climb: f64) -> f64 {
    let apex = climb.ln_1p();
    if apex < SERIES_END { height - apex * fading(-apex) } else { (height + climb) - apex }
}

/// 1 − (1 − e^{−τ}) / τ = τ/2! − τ²/3! + τ³/4! − …, to full relative precision for |τ| < [`SERIES_END`].
fn fading(tau: f64) -> f64 {
    // Horner's scheme from the term of τ¹².
    tau * (2..=13).rev().fold(0.0, |sum, n| (1.0 - tau * sum) / f64::from(n))
}

/// F at one τ > 0, up to a positive factor.
struct Excess {
    /// F times the factor.
    value: f64,
    /// How much of the value may be rounding.
    rounding: f64,
    /// F / F′.
    correction: f64,
}

impl Excess {
    fn at(tau: f64, height: f64, climb: f64) -> Self {
        if tau < SERIES_END {
            // F / τ, which neither cancels nor underflows where τ is tiny.
            let fading = fading(tau);
            let mean = 1.0 - fading;
            let terms = [height / tau, climb * mean, -fading];
            let spent = tau * mean;
            let slope = climb * (1.0 - spent) - spent;
            Self::new(terms, |value| tau * (value / slope))
        } else {
            // F = s − τ − a e^{−τ}, which does not cancel where height and climb do.
            let left = (1.0 + climb) * (-tau).exp();
            Self::new([asymptotic_root(height, climb), -tau, -left], |value| value / (left - 1.0))
        }
    }

    fn new(terms: [f64; 3], correction: impl Fn(f64) -> f64) -> Self {
        let value = terms.iter().sum();
        let rounding = ROUNDING * terms.iter().map(|term| term.abs()).sum::<f64>();
        Self { value, rounding, correction: correction(value) }
    }
}

/// s = 1 + b + c, the root of the line s − τ that F approaches; exact where b and c cancel.
fn asymptotic_root(height: f64, climb: f64) -> f64 {
    1.0 + (climb + height)
}

/// Bounds of the last root, between which F falls from F ≥ 0 to F ≤ 0.
///
/// F(s) = −a e^{−s} makes s an upper bound for a ≥ 0 and a lower bound for a ≤ 0. The Padé bound
/// e^{−τ} ≥ (2 − τ) / (2 + τ) turns F into a quadratic that lies above it, whose root is close where τ is
/// small.
fn bracket(height: f64, climb: f64) -> (f64, f64) {
    let s = asymptotic_root(height, climb);
    let (lower, upper) = if climb >= 0.0 {
        (climb.ln_1p(), quadratic_root(climb + 0.5 * height, height).min(s))
    } else {
        // 1 − e^{−τ} ≥ τ / (2 + τ) bounds the part that a downward speed takes.
        let quadratic = quadratic_root(0.5 * (climb + height), height);
        if climb > -1.0 {
            (0.0, quadratic.min(s))
        } else {
            // Left: the tangent at 0. Right: F(s⁺ + ln(1 + |a|)) ≤ |a| / (1 + |a|) − ln(1 + |a|) ≤ 0.
            let tangent = height / -climb;
            (tangent.max(s), quadratic.min(s.max(0.0) + (-climb).ln()))
        }
    };
    (lower * (1.0 - ROUNDING), upper * (1.0 + ROUNDING))
}

/// The larger root of τ² − 2 `half_sum` τ − 2 `height` = 0, free of overflow and cancellation.
fn quadratic_root(half_sum: f64, height: f64) -> f64 {
    let offset = (2.0 * height.abs()).sqrt();
    if height < 0.0 {
        let below = (half_sum - offset).max(0.0);
        return half_sum + below.sqrt() * (half_sum + offset).sqrt();
    }
    let distance = half_sum.hypot(offset);
    if half_sum > 0.0 { half_sum + distance } else { 2.0 * height / (distance - half_sum) }
}

/// The root of F between `lower` and `upper`, where F falls, by Newton's iteration from `start`.
fn falling_root(height: f64, climb: f64, start: f64, mut lower: f64, mut upper: f64) -> f64 {
    let mut tau = start;
    let mut last_step = upper - lower;
    for _ in 0..MOST_STEPS {
        let excess = Excess::at(tau, height, climb);
        if excess.value > 0.0 {
            lower = tau;
        } else {
            upper = tau;
        }
        let newton = tau - excess.correction;
        let good = newton >= lower && newton <= upper && excess.correction.abs() <= 0.5 * last_step;
        let settled = excess.value.abs() <= excess.rounding;
        if settled && !good {
            break;
        }
        let next = if good { newton } else { 0.5 * (lower + upper) };
        last_step = (next - tau).abs();
        tau = next;
        if settled || last_step <= f64::EPSILON * tau {
            break;
        }
    }
    tau
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A number of either sign whose magnitude is anything from 10^-`decades` to 10^`decades`.
    fn magnitude(decades: f64) -> impl Strategy<Value = f64> {
        (any::<bool>(), -decades..decades)
            .prop_map(|(negative, power)| 10_f64.powf(power) * if negative { -1.0 } else { 1.0 })
    }

    /// F(τ) = 0 up to the rounding of its terms, and F does not rise there.
    fn assert_is_last_root(height: f64, climb: f64, tau: f64) {
        assert!(tau >= 0.0 && tau.is_finite(), "τ = {tau} for c = {height}, b = {climb}");
        let spent = -(-tau).exp_m1();
        let fallen = if tau < SERIES_END { tau * fading(tau) } else { tau - spent };
        let residual = height + climb * spent - fallen;
        // A τ below the normal numbers is rounded to a multiple of the smallest one.
        let smallest = climb.abs() * f64::MIN_POSITIVE;
        let tolerance = 8.0 * ROUNDING * (height.abs() + (climb * spent).abs() + fallen) + smallest;
        assert!(residual.abs() <= tolerance, "F = {residual:e} at τ = {tau} for c = {height}, b = {climb}");
        let slope = climb * (-tau).exp() - spent;
        let tolerance = 8.0 * ROUNDING * (climb.abs() + spent);
        // At a double root the slope is the square root of the rounding of F.
        let touching = if height < 0.0 { (2.0 * ROUNDING).sqrt() * (1.0 + climb) } else { 0.0 };
        assert!(slope <= tolerance + touching, "F rises at τ = {tau} for c = {height}, b = {climb}");
    }

    #[test]
    fn the_series_meets_the_closed_form() {
        for tau in [SERIES_END, -SERIES_END, 0.2, -0.2] {
            let closed = 1.0 + (-tau).exp_m1() / tau;
            assert!((fading(tau) / closed - 1.0).abs() < 4.0 * f64::EPSILON / closed.abs(), "{tau}");
        }
        // τ/2 − τ²/6 + …
        assert!((fading(1e-12) / (1e-12 / 2.0 - 1e-24 / 6.0) - 1.0).abs() <= f64::EPSILON);
        assert_eq!(fading(0.0), 0.0);
    }

    #[test]
    fn special_throws() {
        assert_eq!(landing_time(0.0, 0.0), Some(0.0));
        assert_eq!(landing_time(-0.0, -3.0), Some(0.0));
        assert_eq!(landing_time(-1e-300, 0.0), None);
        assert_eq!(landing_time(-1e-300, -1.0), None);
        // a = 0, thrown down at the terminal speed: no acceleration, τ = c.
        let steady = landing_time(2.5, -1.0).unwrap();
        assert!((steady / 2.5 - 1.0).abs() < 1e-15, "{steady}");
        // Thrown up from a hole as deep as it is fast: the ball is gone before it is out.
        assert_eq!(landing_time(-1e258, 1e258), None);
        // Without drag τ = b + √(b² + 2c); drag matters in the 10th digit here.
        let gentle = landing_time(1e-20, 1e-10).unwrap();
        assert!((gentle / (1e-10 * (1.0 + 3_f64.sqrt())) - 1.0).abs() < 1e-9, "{gentle}");
    }

    #[test]
    fn a_throw_that_hardly_reaches_the_ground_decides_for_either_side() {
        for climb in [1e-6, 1e-2, 1.0, 40.0, 1e6] {
            let rise = -peak(0.0, climb);
            assert!(rise < 0.0);
            for gap in [1e-12, 1e-8, 1e-4, 0.1] {
                assert_eq!(landing_time(rise * (1.0 + gap), climb), None);
                let above = rise * (1.0 - gap);
                assert_is_last_root(above, climb, landing_time(above, climb).unwrap());
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn roots_are_exact(height in magnitude(3.0), climb in magnitude(3.0)) {
            match landing_time(height, climb) {
                Some(tau) => assert_is_last_root(height, climb, tau),
                None => prop_assert!(height < 0.0),
            }
        }

        #[test]
        fn roots_are_exact_for_numbers_of_any_size(height in magnitude(306.0), climb in magnitude(306.0)) {
            match landing_time(height, climb) {
                Some(tau) => assert_is_last_root(height, climb, tau),
                None => prop_assert!(height < 0.0),
            }
        }

        /// Where height and downward speed nearly cancel, F is at once huge, steep and flat.
        #[test]
        fn roots_are_exact_on_the_ridge(climb in magnitude(306.0), offset in magnitude(18.0)) {
            let height = -climb * (1.0 + offset.clamp(-1.0, 1.0));
            match landing_time(height, climb) {
                Some(tau) => assert_is_last_root(height, climb, tau),
                None => prop_assert!(height < 0.0),
            }
        }
    }
}
