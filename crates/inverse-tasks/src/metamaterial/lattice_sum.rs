//! Lattice sums of the dipole field by Ewald's method, in units of the lattice's period.

use std::f64::consts::{PI, TAU};

use num_complex::Complex64;

use super::faddeeva::{erfc, erfi, faddeeva};

/// Terms below e^{−CUTOFF} of the leading one are left out: 1e-18.
const CUTOFF: f64 = 42.0;

/// The splitting parameter E at which both of Ewald's sums converge equally fast, for period 1.
///
/// The terms of the two sums grow as e^{k²/4E²} and cancel, so E rises with k to keep the exponent at most 4.
pub(super) fn balanced_splitting(wave_number: f64) -> f64 {
    PI.sqrt().max(wave_number / 4.0)
}

/// The interaction S = Σ′ G_xx(R + ρ) of a dipole with a square lattice of dipoles of period 1.
///
/// ```text
/// G_xx = (k² + ∂x²) e^{ikr} / 4πr
/// S = ½ Σ_G cos(G·ρ) (k² − G_x²) / γ_G · erfc(γ_G / 2E)
///   + Σ_R (k² + ∂x²) [e^{ikr} erfc(rE + ik/2E) + e^{−ikr} erfc(rE − ik/2E)] / 8πr
/// ```
///
/// with G the reciprocal lattice, γ_G = √(G² − k²), and Im γ < 0 for open orders. For ρ = 0 the dipole's own
/// field is left out: R = 0 contributes what remains of the second sum once e^{ikr}/4πr is taken away (Ewald,
/// Ann. Phys. 369, 1921; Linton, "Lattice sums for the Helmholtz equation", SIAM Review 52, 2010, section 2).
///
/// * `wave_number`: k times the period, positive, and none at which γ_G = 0
/// * `offset`: ρ in periods, each entry 0 or ½; swap its entries for G_yy
/// * `splitting`: E times the period; the sum does not depend on it
///
/// Returns S times the period cubed.
pub(super) fn lattice_sum(wave_number: f64, offset: [f64; 2], splitting: f64) -> Complex64 {
    reciprocal_sum(wave_number, offset, splitting) + direct_sum(wave_number, offset, splitting)
}

/// All pairs of whole numbers of at most `reach` in magnitude.
fn square(reach: i32) -> impl Iterator<Item = (f64, f64)> {
    (-reach..=reach).flat_map(move |m| (-reach..=reach).map(move |n| (f64::from(m), f64::from(n))))
}

fn reciprocal_sum(k: f64, offset: [f64; 2], splitting: f64) -> Complex64 {
    let longest = (k * k + 4.0 * splitting * splitting * CUTOFF).sqrt();
    let mut sum = Complex64::ZERO;
    for (m, n) in square((longest / TAU).ceil() as i32) {
        let (gx, gy) = (TAU * m, TAU * n);
        let gamma_squared = gx * gx + gy * gy - k * k;
        let weight = 0.5 * (gx * offset[0] + gy * offset[1]).cos() * (k * k - gx * gx);
        let gamma = gamma_squared.abs().sqrt();
        let argument = gamma / (2.0 * splitting);
        sum += if gamma_squared > 0.0 {
            Complex64::from(weight / gamma * erfc(argument))
        } else {
            // γ = −iκ: 1/γ = i/κ, and erfc(−iy) = 1 + i erfi(y).
            weight / gamma * Complex64::new(-erfi(argument), 1.0)
        };
    }
    sum
}

fn direct_sum(k: f64, offset: [f64; 2], splitting: f64) -> Complex64 {
    let farthest = (CUTOFF.sqrt() + k / (2.0 * splitting)) / splitting;
    let mut sum = Complex64::ZERO;
    for (m, n) in square(farthest.ceil() as i32 + 1) {
        let (x, y) = (m + offset[0], n + offset[1]);
        let r = x.hypot(y);
        if r == 0.0 {
            sum += own_site(k, splitting);
        } else if r < farthest {
            sum += screened_field(k, splitting, r, (x / r) * (x / r));
        }
    }
    sum
}

/// (k² + ∂x²) U(r) / 8πr with U = e^{ikr} erfc(rE + ik/2E) + e^{−ikr} erfc(rE − ik/2E), which is real.
///
/// U = 2 W Re w(z), W = e^{k²/4E² − r²E²}, z = k/2E + irE, and its derivatives stay in w(z):
///
/// ```text
/// U′ = 2kW Im w(z) − 4EW/√π,   U″ = −k²U + 8E³rW/√π
/// ```
///
/// * `cosine_squared`: x²/r²
fn screened_field(k: f64, splitting: f64, r: f64, cosine_squared: f64) -> f64 {
    let (kappa, depth) = (k / (2.0 * splitting), r * splitting);
    let gauss = (kappa * kappa - depth * depth).exp();
    let w = faddeeva(Complex64::new(kappa, depth));
    let slope = 4.0 * splitting / PI.sqrt();
    let u = 2.0 * gauss * w.re;
    let u1 = gauss * (2.0 * k * w.im - slope);
    let u2 = -k * k * u + 2.0 * slope * splitting * splitting * r * gauss;
    // The derivatives of U/r.
    let f = u / r;
    let f1 = (u1 - f) / r;
    let f2 = (u2 - 2.0 * f1) / r;
    (k * k * f + f2 * cosine_squared + f1 / r * (1.0 - cosine_squared)) / (8.0 * PI)
}

/// The limit of (k² + ∂x²) [U(r)/2 − e^{ikr}] / 4πr at r = 0.
///
/// The bracket is H₁r + H₃r³/6 + …, so the limit is (k²H₁ + H₃/3) / 4π. Its imaginary part is −k³/6π, the
/// radiation reaction that a dipole does not exert on itself here.
fn own_site(k: f64, splitting: f64) -> Complex64 {
    let kappa = k / (2.0 * splitting);
    let gauss = (kappa * kappa).exp();
    let slope = 4.0 * splitting / PI.sqrt();
    let u1 = 2.0 * k * erfi(kappa) - slope * gauss;
    let u3 = -k * k * u1 + 2.0 * slope * splitting * splitting * gauss;
    let real = (k * k * u1 / 2.0 + u3 / 6.0) / (4.0 * PI);
    Complex64::new(real, -k.powi(3) / (6.0 * PI))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFSETS: [[f64; 2]; 4] = [[0.0, 0.0], [0.5, 0.0], [0.0, 0.5], [0.5, 0.5]];

    /// k, offset and S from mpmath with 60 digits and numerical derivatives (metamaterial_vectors.py).
    const VECTORS: &str = include_str!("../../tests/lattice_sum_vectors.csv");

    /// The sums of the independent prototype at 1.2 THz and L = 212 µm, in µm⁻³.
    const PROTOTYPE: [[f64; 2]; 4] = [
        [1.465_880_704_163_399e-7, -5.641_624_039_047_353e-7],
        [5.212_903_680_611_702e-7, 2.797_941_912_537_844_7e-7],
        [-8.791_981_673_842_326e-7, 2.797_941_912_537_844_7e-7],
        [-6.149_563_626_260_147e-7, 2.797_941_912_537_844_7e-7],
    ];

    fn balanced_sum(k: f64, offset: [f64; 2]) -> Complex64 {
        lattice_sum(k, offset, balanced_splitting(k))
    }

    #[test]
    fn the_splitting_does_not_matter() {
        let mut worst = 0.0_f64;
        for k in [0.3, 3.5, 5.3, 6.6, 8.0, 12.5] {
            for offset in OFFSETS {
                let sum = balanced_sum(k, offset);
                for factor in [0.8, 1.3] {
                    let other = lattice_sum(k, offset, factor * balanced_splitting(k));
                    worst = worst.max((other - sum).norm() / sum.norm());
                }
            }
        }
        println!("largest relative difference between splitting parameters: {worst:.1e}");
        assert!(worst < 1e-12, "{worst:e}");
    }

    #[test]
    fn agrees_with_sums_of_60_digits() {
        let mut worst = 0.0_f64;
        for line in VECTORS.lines().skip(1) {
            let columns: Vec<f64> = line.split(',').map(|number| number.parse().unwrap()).collect();
            let expected = Complex64::new(columns[3], columns[4]);
            let found = balanced_sum(columns[0], [columns[1], columns[2]]);
            worst = worst.max((found - expected).norm() / expected.norm());
        }
        println!("largest relative error of a lattice sum: {worst:.1e}");
        assert!(worst < 1e-12, "{worst:e}");
    }

    #[test]
    fn agrees_with_the_prototype() {
        let period = 212.0_f64;
        let k = TAU * 1.2 / 299.792_458 * period;
        for (offset, [real, imaginary]) in OFFSETS.into_iter().zip(PROTOTYPE) {
            let expected = Complex64::new(real, imaginary) * period.powi(3);
            let found = balanced_sum(k, offset);
            assert!((found - expected).norm() < 1e-12 * expected.norm(), "{offset:?}: {found}");
        }
    }

    #[test]
    fn one_open_order_radiates_k_over_twice_the_area() {
        for k in [0.5_f64, 3.55, 5.0, 6.2] {
            for offset in OFFSETS {
                let own = if offset == OFFSETS[0] { k.powi(3) / (6.0 * PI) } else { 0.0 };
                let radiated = balanced_sum(k, offset).im + own;
                // k³/6π is up to four times k/2, so it leaves that many roundings.
                assert!(
                    (radiated / (k / 2.0) - 1.0).abs() < 8.0 * f64::EPSILON,
                    "{k} {offset:?}: {radiated}"
                );
            }
        }
    }

    /// Four lattices of period 1 are one lattice of period ½: S(k; L/2) = 8 S(k/2; L = 1) in units of 1.
    #[test]
    fn a_finer_lattice_is_the_sum_of_its_sublattices() {
        for k in [1.0, 3.5, 6.1] {
            let together: Complex64 = OFFSETS.iter().map(|offset| balanced_sum(k, *offset)).sum();
            let finer = 8.0 * balanced_sum(k / 2.0, [0.0, 0.0]);
            assert!((together - finer).norm() < 1e-12 * finer.norm(), "{k}: {together} {finer}");
        }
    }
}
