//! What the solver is told about the array besides its cylinders.

use std::f64::consts::TAU;

use inverse_core::InvalidArgument;

use super::resonator::SPEED_OF_LIGHT;

/// Number of frequencies of the paper's spectra.
const FREQUENCY_COUNT: usize = 300;

/// First and last frequency of the paper's spectra in THz.
const BAND: [f64; 2] = [0.8, 1.5];

/// The largest f·L/c: cells larger than two wavelengths are no array of dipoles any more.
const LARGEST_PERIOD: f64 = 2.0;

/// The smallest f·L/c: far below, k² and its powers lose themselves in rounding.
const SMALLEST_PERIOD: f64 = 1e-6;

/// How close f·L/c may come to a threshold √(m² + n²), relative to it: the sums grow as the inverse root of the
/// distance, so this keeps them below 1e6.
const THRESHOLD_DISTANCE: f64 = 1e-12;

/// The smallest Q_abs, that of critical damping. Left alone, a mode of that loss moves as e^{−iωt} with
/// ω² + iωω₀/Q_abs − ω₀² = 0, so ω = ω₀ [−i/2Q_abs ± √(1 − 1/4Q_abs²)]: below 1/2 it creeps back without swinging, and
/// there is no resonance that the Lorentzian could be fitted to.
///
/// It also keeps numbers finite: absorption adds (k₀³/6π) Q (k/k₀)/Q_abs to 1/α, at most 2k/k₀ times the elastic term,
/// so it cannot overflow before that does. Far below, 1/α overflowed, the moments were 0, and the absorbed power was
/// their product, NaN.
const SMALLEST_ABSORPTION_Q: f64 = 0.5;

/// Settings of a [`MetamaterialSolver`](super::MetamaterialSolver).
///
/// ```
/// use inverse_tasks::metamaterial::{MetamaterialSettings, MetamaterialSolver};
///
/// let lossless = MetamaterialSettings { absorption_q: None, ..MetamaterialSettings::default() };
/// assert!(MetamaterialSolver::new(lossless).is_ok());
/// let dense = MetamaterialSettings { permittivity: -1.0, ..MetamaterialSettings::default() };
/// let error = MetamaterialSolver::new(dense).unwrap_err();
/// assert_eq!(error.to_string(), "invalid `permittivity`: expected 8 to 100, found -1");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct MetamaterialSettings {
    /// Period L of the square super-cell in µm, twice the distance between cylinders; 212.
    pub period: f64,
    /// Relative permittivity of the cylinders, 8 to 100; 11.7, silicon of high resistivity.
    pub permittivity: f64,
    /// Quality factor Q_abs of absorption, the same for all modes, 1/2 (critical damping) or more; `None` is no loss; 40.
    ///
    /// A choice, not a constant of silicon: it stands for all that broadens spectra. The lower, the smoother.
    pub absorption_q: Option<f64>,
    /// Frequencies of the spectrum in THz, each below 2c/L; 300, uniform from 0.8 to 1.5.
    pub frequencies: Vec<f64>,
}

impl Default for MetamaterialSettings {
    fn default() -> Self {
        let step = (BAND[1] - BAND[0]) / (FREQUENCY_COUNT - 1) as f64;
        let frequencies = (0..FREQUENCY_COUNT).map(|index| BAND[0] + step * index as f64).collect();
        Self { period: 212.0, permittivity: 11.7, absorption_q: Some(40.0), frequencies }
    }
}

impl MetamaterialSettings {
    /// Checks that an array can have these settings.
    ///
    /// # Errors
    /// [`InvalidArgument`] that names the first field out of bounds. A frequency at which a diffraction order
    /// just opens is out of bounds too: the field of an infinite array is infinite there.
    pub fn check(&self) -> Result<(), InvalidArgument> {
        if !(self.period.is_finite() && self.period > 0.0) {
            return Err(InvalidArgument::new("period", "a positive number of µm", self.period));
        }
        check_permittivity(self.permittivity)?;
        if let Some(q) = self.absorption_q
            && !(q.is_finite() && q >= SMALLEST_ABSORPTION_Q)
        {
            let expected = format!("a number of at least {SMALLEST_ABSORPTION_Q} or None");
            return Err(InvalidArgument::new("absorption_q", expected, q));
        }
        if self.frequencies.is_empty() {
            return Err(InvalidArgument::new("frequencies", "at least one", "none"));
        }
        for (index, frequency) in self.frequencies.iter().enumerate() {
            self.check_frequency(*frequency).map_err(|expected| {
                InvalidArgument::new(format!("frequencies[{index}]"), expected, frequency)
            })?;
        }
        Ok(())
    }

    /// Err says what would be a frequency.
    fn check_frequency(&self, frequency: f64) -> Result<(), String> {
        let periods = frequency * self.period / SPEED_OF_LIGHT;
        if !(SMALLEST_PERIOD..LARGEST_PERIOD).contains(&periods) {
            let bound = |periods: f64| periods * SPEED_OF_LIGHT / self.period;
            let (lowest, highest) = (bound(SMALLEST_PERIOD), bound(LARGEST_PERIOD));
            return Err(format!("THz from {lowest} to below {highest}, 2c/L"));
        }
        // Where f is astronomic and L tiny, f·L/c is a number and the solver's 2πf is not.
        if !(TAU * frequency).is_finite() {
            return Err(format!("THz of at most {:e}", f64::MAX / TAU));
        }
        // m² + n² that lie below the square of the largest period.
        for square in [1.0, 2.0, 4.0] {
            let relative = periods * periods / square - 1.0;
            if relative.abs() < THRESHOLD_DISTANCE {
                return Err("a frequency at which no diffraction order just opens".to_owned());
            }
        }
        Ok(())
    }
}

/// The fits of the modes are for dielectrics of that kind; Q below 1 would be no resonance.
pub(super) fn check_permittivity(permittivity: f64) -> Result<(), InvalidArgument> {
    if (8.0..=100.0).contains(&permittivity) {
        Ok(())
    } else {
        Err(InvalidArgument::new("permittivity", "8 to 100", permittivity))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_papers_band() {
        let settings = MetamaterialSettings::default();
        settings.check().unwrap();
        assert_eq!(settings.frequencies.len(), 300);
        assert_eq!(settings.frequencies[0], 0.8);
        assert!((settings.frequencies[299] - 1.5).abs() < 1e-15);
    }

    #[test]
    fn absorption_goes_down_to_critical_damping() {
        let check = |q| MetamaterialSettings { absorption_q: Some(q), ..Default::default() }.check();
        assert!(check(0.5).is_ok() && check(f64::MAX).is_ok());
        let error = check(8.6e-306).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("invalid `absorption_q`: expected a number of at least 0.5 or None, found {}", 8.6e-306)
        );
    }

    fn astronomic(settings: &mut MetamaterialSettings) {
        settings.frequencies = vec![1e308];
        settings.period = 1.5 * SPEED_OF_LIGHT / 1e308;
    }

    #[test]
    fn each_field_is_checked() {
        let refused = |change: fn(&mut MetamaterialSettings)| {
            let mut settings = MetamaterialSettings::default();
            change(&mut settings);
            settings.check().unwrap_err().argument
        };
        assert_eq!(refused(|settings| settings.period = 0.0), "period");
        assert_eq!(refused(|settings| settings.period = f64::INFINITY), "period");
        assert_eq!(refused(|settings| settings.permittivity = f64::NAN), "permittivity");
        assert_eq!(refused(|settings| settings.absorption_q = Some(0.0)), "absorption_q");
        assert_eq!(refused(|settings| settings.absorption_q = Some(f64::NAN)), "absorption_q");
        assert_eq!(refused(|settings| settings.absorption_q = Some(0.5_f64.next_down())), "absorption_q");
        assert_eq!(refused(|settings| settings.frequencies.clear()), "frequencies");
        assert_eq!(refused(|settings| settings.frequencies[7] = f64::NAN), "frequencies[7]");
        assert_eq!(refused(|settings| settings.frequencies[7] = -1.0), "frequencies[7]");
        assert_eq!(refused(|settings| settings.frequencies[7] = 2.83), "frequencies[7]");
        assert_eq!(refused(|settings| settings.frequencies[7] = SPEED_OF_LIGHT / 212.0), "frequencies[7]");
        assert_eq!(refused(|settings| settings.period = 1e-320), "frequencies[0]");
        // f·L/c is 1.5, but 2πf overflows: the lattice sums would never end.
        assert_eq!(refused(astronomic), "frequencies[0]");
    }
}
