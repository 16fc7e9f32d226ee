//! The Faddeeva function w(z) = e^{−z²} erfc(−iz) and the error functions that Ewald's method needs.

use std::f64::consts::PI;

use num_complex::Complex64;

/// Quadrature nodes. The rule's error falls as e^{−π (N + 1)}, which is 4e-17 here.
const NODES: usize = 11;

/// w(z) = e^{−z²} erfc(−iz) for a z whose real and imaginary parts are not negative.
///
/// The trapezoidal rule of step h = √(π / (N + 1)) applied to
///
/// ```text
/// w(z) = (2iz/π) ∫₀^∞ e^{−t²} / (z² − t²) dt,   Im z > 0
/// ```
///
/// and corrected by the residue of the pole at t = z, which also carries it down to the real axis. With nodes
/// at kh the correction is 2 e^{−z²} / (1 − e^{−2πiz/h}), with nodes at (k + ½)h the sign of the exponential
/// changes. Near a node sum and correction cancel, so the set of nodes that is farther from Re z is used.
/// Relative error: a few 1e-15 (Al Azah and Chandler-Wilde, "Computation of the complex error function using
/// modified trapezoidal rules", SIAM J. Numer. Anal. 59, 2021; the correction is that of Hunter and Regan, 1972).
pub(super) fn faddeeva(z: Complex64) -> Complex64 {
    let step = (PI / (NODES + 1) as f64).sqrt();
    let position = (z.re / step).fract();
    // Beyond π/h above the axis the correction is below the rule's own error, and would overflow for Im z > Re z.
    let far = z.im >= z.re.max(PI / step);
    let half_nodes = far || !(0.25..=0.75).contains(&position);
    let square = z * z;
    let node_term = |t: f64| (-t * t).exp() / (square - t * t);
    let mut sum: Complex64 = if half_nodes {
        (0..=NODES).map(|k| node_term((k as f64 + 0.5) * step)).sum()
    } else {
        (1..=NODES).map(|k| node_term(k as f64 * step)).sum()
    };
    if !half_nodes {
        // The node t = 0 lies on the end of the interval and counts half.
        sum += 0.5 / square;
    }
    let rule = Complex64::new(0.0, 2.0 * step / PI) * z * sum;
    if far {
        return rule;
    }
    let turn = (Complex64::new(0.0, -2.0 * PI / step) * z).exp();
    let denominator = if half_nodes { 1.0 + turn } else { 1.0 - turn };
    rule + 2.0 * (-square).exp() / denominator
}

/// The complementary error function of a number that is not negative.
pub(super) fn erfc(x: f64) -> f64 {
    (-x * x).exp() * faddeeva(Complex64::new(0.0, x)).re
}

/// The imaginary error function erfi(x) = −i erf(ix) of a number that is not negative.
pub(super) fn erfi(x: f64) -> f64 {
    (x * x).exp() * faddeeva(Complex64::new(x, 0.0)).im
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::*;

    /// x, y, Re w and Im w from mpmath with 80 digits (metamaterial_vectors.py).
    const VECTORS: &str = include_str!("../../tests/faddeeva_vectors.csv");

    #[test]
    fn agrees_with_values_of_80_digits() {
        let mut worst = 0.0_f64;
        for line in VECTORS.lines().skip(1) {
            let columns: Vec<f64> = line.split(',').map(|number| number.parse().unwrap()).collect();
            let expected = Complex64::new(columns[2], columns[3]);
            let found = faddeeva(Complex64::new(columns[0], columns[1]));
            worst = worst.max((found - expected).norm() / expected.norm());
        }
        println!("w(z): largest relative error {worst:.1e}");
        // A dozen rounded terms, and e^{−z²} whose exponent of up to 56 is rounded too.
        assert!(worst < 64.0 * f64::EPSILON, "{worst:e}");
    }

    #[test]
    fn error_functions_match_tables() {
        // erfc(0.5), erfc(3) and erfi(1) to 16 digits (Abramowitz and Stegun, chapter 7).
        assert_relative_eq!(erfc(0.5), 0.479_500_122_186_953_5, max_relative = 1e-14);
        assert_relative_eq!(erfc(3.0), 2.209_049_699_858_544e-5, max_relative = 1e-13);
        assert_relative_eq!(erfi(1.0), 1.650_425_758_797_542_8, max_relative = 1e-14);
        assert_eq!(erfi(0.0), 0.0);
    }
}
