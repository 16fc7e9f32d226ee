//! The two dipole modes of a dielectric cylinder: closed forms for their frequency and radiation Q.
//!
//! Published fits write h for the height of a resonator on a ground plane. The plane mirrors it, so the isolated
//! cylinder that they describe has the height H = 2h, and their a/2h is r/H here.

use std::f64::consts::{PI, TAU};

use inverse_core::InvalidArgument;
use num_complex::Complex64;

use super::geometry::Cylinder;
use super::settings::check_permittivity;

/// The speed of light in µm·THz.
pub(super) const SPEED_OF_LIGHT: f64 = 299.792_458;

/// The aspect ratios r/H for which the fits were published: 0.5 ≤ a/h ≤ 5.
const ASPECT_RATIOS: std::ops::RangeInclusive<f64> = 0.25..=2.5;

/// A resonance that loses its energy by radiation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Resonance {
    /// Frequency f₀ in THz.
    pub frequency: f64,
    /// Radiation quality factor Q: f₀ over the full width at half maximum of an isolated, lossless cylinder.
    pub radiation_q: f64,
}

/// The dipole modes of a cylinder that a wave at normal incidence excites.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DipoleModes {
    /// The in-plane electric dipole: HEM₁₂δ, also called EH₁₁δ.
    pub electric: Resonance,
    /// The in-plane magnetic dipole: HEM₁₁δ, also called HE₁₁δ.
    pub magnetic: Resonance,
}

impl Cylinder {
    /// The dipole modes of the cylinder alone in free space.
    ///
    /// With u = r/H, magnetic (Mongia and Bhartia, Int. J. Microw. Mm-Wave CAE 4, 230, 1994):
    ///
    /// ```text
    /// k₀r = 6.324 / √(ε + 2) · (0.27 + 0.36u + 0.02u²)
    /// Q   = 0.01007 ε^1.3 · 2u · [1 + 100 exp(−2.05 (u − u²/20))]
    /// ```
    ///
    /// and electric (Kishk, Glisson and Junker, Antenna Applications Symposium, 1999):
    ///
    /// ```text
    /// k₀r = [3.72 + 0.4464u + 0.2232u² + 0.0521u³ − 2.65 exp(−1.25u (1 + 4.7u))] / √ε
    /// Q   = ε² [0.068 − 0.0388u + 0.0064u² + 0.0007 exp(u (37.59 − 63.8u))]
    /// ```
    ///
    /// * `permittivity`: relative permittivity ε of the cylinder, 8 to 100
    ///
    /// ```
    /// use inverse_tasks::metamaterial::Cylinder;
    ///
    /// let modes = Cylinder { height: 42.0, radius: 47.0 }.dipole_modes(11.7)?;
    /// assert!((modes.magnetic.frequency - 1.21).abs() < 0.01 && (modes.electric.frequency - 1.36).abs() < 0.01);
    /// # Ok::<(), inverse_core::InvalidArgument>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidArgument`] where the permittivity is out of bounds, or where r/H lies outside 0.25 to 2.5, the
    /// range of the fits.
    pub fn dipole_modes(&self, permittivity: f64) -> Result<DipoleModes, InvalidArgument> {
        check_permittivity(permittivity)?;
        let aspect = self.radius / self.height;
        if !(self.radius > 0.0 && self.height > 0.0 && ASPECT_RATIOS.contains(&aspect)) {
            let found = format!("radius {} and height {}", self.radius, self.height);
            return Err(InvalidArgument::new("cylinder", "a radius of 0.25 to 2.5 heights", found));
        }
        let resonance = |size: f64, radiation_q: f64| Resonance {
            frequency: size * SPEED_OF_LIGHT / (TAU * self.radius),
            radiation_q,
        };
        Ok(DipoleModes {
            electric: resonance(electric_size(aspect, permittivity), electric_q(aspect, permittivity)),
            magnetic: resonance(magnetic_size(aspect, permittivity), magnetic_q(aspect, permittivity)),
        })
    }
}

/// k₀r of HEM₁₁δ.
fn magnetic_size(u: f64, permittivity: f64) -> f64 {
    6.324 / (permittivity + 2.0).sqrt() * (0.27 + u * (0.36 + u * 0.02))
}

fn magnetic_q(u: f64, permittivity: f64) -> f64 {
    let decay = (-2.05 * (u - u * u / 20.0)).exp();
    0.01007 * permittivity.powf(1.3) * 2.0 * u * (1.0 + 100.0 * decay)
}

/// k₀r of HEM₁₂δ.
fn electric_size(u: f64, permittivity: f64) -> f64 {
    let tall = 2.65 * (-1.25 * u * (1.0 + 4.7 * u)).exp();
    (3.72 + u * (0.4464 + u * (0.2232 + u * 0.0521)) - tall) / permittivity.sqrt()
}

/// Positive for every u: the discriminant of the polynomial is negative.
fn electric_q(u: f64, permittivity: f64) -> f64 {
    let tall = 0.0007 * (u * (37.59 - 63.8 * u)).exp();
    permittivity * permittivity * (0.068 + u * (-0.0388 + u * 0.0064) + tall)
}

/// A resonance as a polarizability, in units of the period L: frequencies as k = 2πfL/c, α in L³.
#[derive(Debug, Clone, Copy)]
pub(super) struct Oscillator {
    /// k₀ = 2πf₀L/c.
    resonance: f64,
    /// (k₀³/6π) Q.
    stiffness: f64,
    /// (k₀³/6π) (Q/Q_abs) / k₀.
    damping: f64,
}

impl Oscillator {
    /// * `period`: L in µm
    /// * `absorption_q`: Q_abs; infinite without loss
    pub(super) fn new(resonance: Resonance, period: f64, absorption_q: f64) -> Self {
        let k0 = TAU * resonance.frequency * period / SPEED_OF_LIGHT;
        let stiffness = k0.powi(3) / (6.0 * PI) * resonance.radiation_q;
        Self { resonance: k0, stiffness, damping: stiffness / absorption_q / k0 }
    }

    /// The imaginary part that absorption adds to −1/α: (k₀³/6π) (Q/Q_abs) (ω/ω₀).
    pub(super) fn absorption(&self, k: f64) -> f64 {
        self.damping * k
    }

    /// 1/α = (k₀³/6π) Q (1 − ω²/ω₀²) − i k³/6π − i (k₀³/6π)(Q/Q_abs)(ω/ω₀).
    ///
    /// −k³/6π is radiation reaction: without it no set of dipoles conserves energy.
    pub(super) fn inverse_polarizability(&self, k: f64) -> Complex64 {
        let detuning = k / self.resonance;
        let radiation = k.powi(3) / (6.0 * PI);
        Complex64::new(self.stiffness * (1.0 - detuning * detuning), -radiation - self.absorption(k))
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::*;

    /// A resonator of `radius` and height `above` on a ground plane, both in mm; c in µm·THz is c in mm·GHz.
    fn on_ground_plane(radius: f64, above: f64) -> Cylinder {
        Cylinder { height: 2.0 * above, radius }
    }

    /// Balanis, Antenna Theory, 4th ed., example 14.9: a = 5 mm, h = 3 mm, Q = 5.8864 for ε = 8.9 and 117.45 for
    /// ε = 89. Table 14.3, ε = 38: Q = 31.24, which the resonator of Kajfez (below, h = 2.3 mm) has to 2e-4.
    #[test]
    fn magnetic_mode_matches_a_textbook() {
        let q = |cylinder: Cylinder, permittivity| {
            cylinder.dipole_modes(permittivity).unwrap().magnetic.radiation_q
        };
        assert_relative_eq!(q(on_ground_plane(5.25, 2.3), 38.0), 31.24, max_relative = 3e-4);
        assert_relative_eq!(q(on_ground_plane(5.0, 3.0), 8.9), 5.8864, max_relative = 1e-4);
        assert_relative_eq!(q(on_ground_plane(5.0, 3.0), 89.0), 117.45, max_relative = 1e-4);
        // The full-wave simulation of example 14.9 has its dip at 10.69 GHz: the height is the half height.
        let frequency = on_ground_plane(5.0, 3.0).dipole_modes(8.9).unwrap().magnetic.frequency;
        assert_relative_eq!(frequency, 10.69, max_relative = 2e-3);
    }

    /// Kajfez, Glisson and James, IEEE Trans. MTT 32, 1609 (1984): ε = 38, a = 5.25 mm, H = 4.6 mm, by the method
    /// of moments. HEM₁₁δ 6.333 GHz and Q 30.7, HEM₁₂δ 6.638 GHz and Q 52.1, quoted from memory.
    #[test]
    fn both_modes_are_near_a_full_wave_solution() {
        let modes = Cylinder { height: 4.6, radius: 5.25 }.dipole_modes(38.0).unwrap();
        for (resonance, frequency, q) in [(modes.magnetic, 6.333, 30.7), (modes.electric, 6.638, 52.1)] {
            // Fits: within 3% in frequency and 15% in Q.
            assert_relative_eq!(resonance.frequency, frequency, max_relative = 0.03);
            assert_relative_eq!(resonance.radiation_q, q, max_relative = 0.15);
        }
        // Were h of the printed fits the full height, r/2H would stand where r/H does.
        let misread = Cylinder { height: 2.0 * 4.6, radius: 5.25 }.dipole_modes(38.0).unwrap();
        assert!(misread.magnetic.frequency < 4.5);
    }

    #[test]
    fn cylinders_beyond_the_fits_are_refused() {
        let modes = |height, radius| Cylinder { height, radius }.dipole_modes(11.7);
        assert!(modes(100.0, 25.0).is_ok() && modes(10.0, 25.0).is_ok());
        for (height, radius) in
            [(101.0, 25.0), (9.9, 25.0), (0.0, 0.0), (-40.0, -40.0), (f64::NAN, 40.0), (40.0, f64::INFINITY)]
        {
            assert_eq!(modes(height, radius).unwrap_err().argument, "cylinder", "{height} {radius}");
        }
        let error = Cylinder { height: 42.0, radius: 47.0 }.dipole_modes(2.0).unwrap_err();
        assert_eq!(error.argument, "permittivity");
    }

    /// |α|² (−Im 1/α) = Im α: a dipole alone radiates k³/6π |p|² and absorbs the rest.
    #[test]
    fn a_lossless_dipole_scatters_what_it_takes() {
        let resonance = Resonance { frequency: 1.2, radiation_q: 6.0 };
        for k in [3.0, 5.0, 5.3355, 7.0] {
            let inverse = Oscillator::new(resonance, 212.0, f64::INFINITY).inverse_polarizability(k);
            assert_relative_eq!(inverse.im, -k.powi(3) / (6.0 * PI), max_relative = 1e-15);
        }
    }
}
