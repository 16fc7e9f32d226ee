//! Coupled dipoles on a lattice: the reflectance of an infinite array of super-cells.

use std::f64::consts::TAU;

use inverse_core::{InvalidArgument, SimulationError, Simulator};
use ndarray::{Array2, ArrayView2};
use num_complex::Complex64;

use super::geometry::SuperCell;
use super::lattice_sum::{balanced_splitting, lattice_sum};
use super::linear_system::solve;
use super::power_balance::{PowerBalance, open_orders};
use super::resonator::{DipoleModes, Oscillator, SPEED_OF_LIGHT};
use super::settings::MetamaterialSettings;
use crate::rows::simulate_rows_in_parallel;

type Matrix = [[Complex64; 4]; 4];

/// The reflectance of a metamaterial of dielectric cylinders from published formulas.
///
/// Each cylinder is an electric dipole p along x and a magnetic dipole m along y. A wave of unit field along x
/// meets the array at normal incidence, and the dipoles answer to it and to each other:
///
/// ```text
/// Σ_j (δ_ij/α_i − S_ij) p_j = 1,   the same for m
/// r = (ik/2)(Σp − Σm),   t = 1 + (ik/2)(Σp + Σm),   y = |r|²
/// ```
///
/// in units of the period L. The lattice sums S depend on frequency alone; they are computed once.
/// `docs/metamaterial.md` derives the equations and says where they hold.
///
/// * x: (h₁…h₄, r₁…r₄) of [`SuperCell`], scaled: heights (h − 41)/11, radii (r − 47)/5, both in µm
/// * y: reflectance at each of the settings' frequencies, 300 by default
///
/// A design whose cylinders have no size, overlap (2r ≥ L/2), or leave the aspect ratios of the formulas
/// (r/h from 0.25 to 2.5) has no y: its row is NaN.
///
/// ```
/// use inverse_core::Simulator;
/// use inverse_tasks::metamaterial::{MetamaterialSettings, MetamaterialSolver};
/// use ndarray::Array2;
///
/// let solver = MetamaterialSolver::new(MetamaterialSettings::default())?;
/// let y = solver.simulate(Array2::zeros((1, 8)).view())?;
/// assert_eq!(y.dim(), (1, 300));
/// assert!(y.iter().all(|reflectance| (0.0..=1.0).contains(reflectance)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct MetamaterialSolver {
    settings: MetamaterialSettings,
    couplings: Vec<Coupling>,
    orders: Vec<[i32; 2]>,
}

/// How the four sublattices act on each other at one frequency.
#[derive(Debug, Clone)]
struct Coupling {
    /// k = 2πfL/c.
    wave_number: f64,
    /// S_ij of G_xx, for electric dipoles.
    electric: Matrix,
    /// S_ij of G_yy, for magnetic dipoles.
    magnetic: Matrix,
}

/// The dipoles of one cell at one frequency, in units of L³ times the incident field.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dipoles {
    /// k = 2πfL/c.
    pub(super) wave_number: f64,
    pub(super) electric: [Complex64; 4],
    pub(super) magnetic: [Complex64; 4],
    /// Power that the dipoles absorb, over the power that falls on the cell.
    pub(super) absorbed: f64,
}

impl Dipoles {
    /// r = (ik/2)(Σp − Σm).
    pub(super) fn reflection(&self) -> Complex64 {
        let [p, m] = self.totals();
        Complex64::new(0.0, self.wave_number / 2.0) * (p - m)
    }

    /// t = 1 + (ik/2)(Σp + Σm).
    pub(super) fn transmission(&self) -> Complex64 {
        let [p, m] = self.totals();
        1.0 + Complex64::new(0.0, self.wave_number / 2.0) * (p + m)
    }

    fn totals(&self) -> [Complex64; 2] {
        [self.electric.iter().sum(), self.magnetic.iter().sum()]
    }
}

/// The offsets between sublattices in halves of the period, of sites numbered as in [`SuperCell`].
fn site_offset(from: usize, to: usize) -> [usize; 2] {
    let [[x0, y0], [x1, y1]] = [site(from), site(to)];
    [x0 ^ x1, y0 ^ y1]
}

/// Where a site lies in halves of the period.
pub(super) fn site(index: usize) -> [usize; 2] {
    [index % 2, index / 2]
}

impl Coupling {
    fn new(wave_number: f64) -> Self {
        let splitting = balanced_splitting(wave_number);
        let sums: [[Complex64; 2]; 2] = std::array::from_fn(|dx| {
            std::array::from_fn(|dy| lattice_sum(wave_number, [dx as f64 / 2.0, dy as f64 / 2.0], splitting))
        });
        let matrix = |sum: &dyn Fn([usize; 2]) -> Complex64| -> Matrix {
            std::array::from_fn(|row| std::array::from_fn(|column| sum(site_offset(row, column))))
        };
        Self {
            wave_number,
            electric: matrix(&|[dx, dy]| sums[dx][dy]),
            // The lattice is square: G_yy is G_xx with the axes exchanged.
            magnetic: matrix(&|[dx, dy]| sums[dy][dx]),
        }
    }

    fn dipoles(&self, electric: &[Oscillator; 4], magnetic: &[Oscillator; 4]) -> Dipoles {
        let k = self.wave_number;
        let p = respond(&self.electric, electric, k);
        let m = respond(&self.magnetic, magnetic, k);
        let modes = electric.iter().chain(magnetic).zip(p.iter().chain(&m));
        let absorbed = modes.map(|(mode, moment)| k * mode.absorption(k) * moment.norm_sqr()).sum();
        Dipoles { wave_number: k, electric: p, magnetic: m, absorbed }
    }
}

/// The moments of dipoles of one kind in a unit field.
fn respond(coupling: &Matrix, oscillators: &[Oscillator; 4], k: f64) -> [Complex64; 4] {
    let mut matrix = coupling.map(|row| row.map(|sum| -sum));
    for (index, oscillator) in oscillators.iter().enumerate() {
        matrix[index][index] += oscillator.inverse_polarizability(k);
    }
    solve(matrix, [Complex64::ONE; 4])
}

impl MetamaterialSolver {
    /// A solver of these settings; it computes the lattice sums, which takes longer than many spectra.
    ///
    /// # Errors
    /// As [`MetamaterialSettings::check`].
    pub fn new(settings: MetamaterialSettings) -> Result<Self, InvalidArgument> {
        settings.check()?;
        let wave_number = |frequency: &f64| TAU * frequency * settings.period / SPEED_OF_LIGHT;
        let couplings: Vec<_> =
            settings.frequencies.iter().map(|frequency| Coupling::new(wave_number(frequency))).collect();
        let largest = couplings.iter().map(|coupling| coupling.wave_number).fold(0.0, f64::max);
        Ok(Self { settings, couplings, orders: open_orders(largest) })
    }

    /// The settings of this solver.
    pub fn settings(&self) -> &MetamaterialSettings {
        &self.settings
    }

    /// Where the power that falls on an array goes, and the dipoles behind it.
    ///
    /// ```
    /// use inverse_tasks::metamaterial::{MetamaterialSettings, MetamaterialSolver, SuperCell};
    ///
    /// let solver = MetamaterialSolver::new(MetamaterialSettings::default())?;
    /// let balance = solver.power_balance(&SuperCell::from_design(&[0.0; 8]))?;
    /// assert!(balance.total().iter().all(|power| (power - 1.0).abs() < 1e-9));
    /// # Ok::<(), inverse_core::InvalidArgument>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidArgument`] where the cell's cylinders cannot be built (see [`SuperCell::check`]) or leave the
    /// range of the formulas (see [`Cylinder::dipole_modes`](super::Cylinder::dipole_modes)).
    pub fn power_balance(&self, cell: &SuperCell) -> Result<PowerBalance, InvalidArgument> {
        let dipoles: Vec<_> = self.dipoles(self.modes(cell)?).collect();
        let balance = PowerBalance::new(&dipoles, &self.orders);
        if balance.total().iter().all(|power| power.is_finite()) {
            Ok(balance)
        } else {
            // Cylinders that are 1e100 times smaller than the cell, for one.
            Err(InvalidArgument::new("cell", "cylinders whose dipoles are finite", format!("{cell:?}")))
        }
    }

    fn modes(&self, cell: &SuperCell) -> Result<[DipoleModes; 4], InvalidArgument> {
        cell.check(self.settings.period)?;
        let [first, second, third, fourth] =
            cell.cylinders.map(|cylinder| cylinder.dipole_modes(self.settings.permittivity));
        Ok([first?, second?, third?, fourth?])
    }

    /// The dipoles at one frequency after another.
    fn dipoles(&self, modes: [DipoleModes; 4]) -> impl Iterator<Item = Dipoles> {
        let absorption_q = self.settings.absorption_q.unwrap_or(f64::INFINITY);
        let oscillator = |resonance| Oscillator::new(resonance, self.settings.period, absorption_q);
        let electric = modes.map(|modes| oscillator(modes.electric));
        let magnetic = modes.map(|modes| oscillator(modes.magnetic));
        self.couplings.iter().map(move |coupling| coupling.dipoles(&electric, &magnetic))
    }
}

impl Simulator for MetamaterialSolver {
    fn dim_x(&self) -> usize {
        8
    }

    fn dim_y(&self) -> usize {
        self.couplings.len()
    }

    /// Rows are spread over rayon's threads; each row's arithmetic is its own, so the bits do not depend on how
    /// many there are.
    fn simulate(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>, SimulationError> {
        simulate_rows_in_parallel(x, self.dim_y(), |design, spectrum| {
            let Ok(modes) = self.modes(&SuperCell::from_design(&design)) else { return };
            for (value, dipoles) in spectrum.iter_mut().zip(self.dipoles(modes)) {
                *value = dipoles.reflection().norm_sqr();
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metamaterial::resonator::Resonance;

    /// Heights, radii and reflectance at frequencies 0, 60, 120, 180, 240, 299 of the independent prototype, whose
    /// modes are placeholders: the magnetic frequency is HEM₁₁δ with Q = 6, the electric one 1.28 times that with
    /// Q = 4.
    type Vector = (Option<f64>, [f64; 4], [f64; 4], [f64; 6]);
    const EQUAL: ([f64; 4], [f64; 4]) = ([42.0; 4], [47.0; 4]);
    const SPREAD: ([f64; 4], [f64; 4]) = ([30.0, 40.0, 50.0, 55.0], [42.0, 45.0, 48.0, 52.0]);
    const MIXED: ([f64; 4], [f64; 4]) = ([33.3, 51.1, 44.4, 38.8], [50.5, 43.2, 46.7, 49.9]);
    const LOSSY: Option<f64> = Some(40.0);
    #[rustfmt::skip]
    const VECTORS: [Vector; 6] = [
        (None, EQUAL.0, EQUAL.1, [0.009_368_251_7, 0.026_422_133_5, 0.091_294_519_7, 0.390_700_263_9, 0.967_923_739_3, 0.978_864_485_1]),
        (None, SPREAD.0, SPREAD.1, [0.018_239_944, 0.210_152_301_4, 0.181_509_423_2, 0.004_262_424_4, 0.330_200_390_5, 0.112_152_755_9]),
        (None, MIXED.0, MIXED.1, [0.010_316_157_1, 0.034_327_972_8, 0.059_094_402_3, 0.132_231_430_3, 0.148_491_54, 0.288_633_662_3]),
        (LOSSY, EQUAL.0, EQUAL.1, [0.009_208_822_6, 0.025_543_36, 0.084_763_077_3, 0.326_553_820_4, 0.752_140_025_8, 0.795_925_600_2]),
        (LOSSY, SPREAD.0, SPREAD.1, [0.017_676_750_1, 0.141_214_975, 0.141_203_043_8, 0.041_716_285_5, 0.276_016_213_7, 0.109_064_038_3]),
        (LOSSY, MIXED.0, MIXED.1, [0.010_126_448_6, 0.032_886_694_8, 0.056_996_448_9, 0.101_475_795_5, 0.113_952_825, 0.202_366_830_8]),
    ];

    #[test]
    fn agrees_with_the_prototype() {
        for (absorption_q, heights, radii, expected) in VECTORS {
            let settings = MetamaterialSettings { absorption_q, ..MetamaterialSettings::default() };
            let solver = MetamaterialSolver::new(settings).unwrap();
            let modes = std::array::from_fn(|index| {
                let cylinder = super::super::Cylinder { height: heights[index], radius: radii[index] };
                let frequency = cylinder.dipole_modes(11.7).unwrap().magnetic.frequency;
                DipoleModes {
                    electric: Resonance { frequency: 1.28 * frequency, radiation_q: 4.0 },
                    magnetic: Resonance { frequency, radiation_q: 6.0 },
                }
            });
            let dipoles: Vec<_> = solver.dipoles(modes).collect();
            for (index, expected) in [0, 60, 120, 180, 240, 299].into_iter().zip(expected) {
                let found = dipoles[index].reflection().norm_sqr();
                // The vectors have ten decimals.
                assert!((found - expected).abs() < 1e-10, "{heights:?} {index}: {found} {expected}");
            }
        }
    }

    /// One cylinder in a cell of period a = L/2, from its own lattice sum, against four equal ones.
    #[test]
    fn equal_cylinders_are_one_in_a_smaller_cell() {
        for absorption_q in [None, Some(40.0)] {
            let settings = MetamaterialSettings { absorption_q, ..MetamaterialSettings::default() };
            let solver = MetamaterialSolver::new(settings.clone()).unwrap();
            let design = [0.3, 0.3, 0.3, 0.3, -0.6, -0.6, -0.6, -0.6];
            let modes = solver.modes(&SuperCell::from_design(&design)).unwrap();
            let q = absorption_q.unwrap_or(f64::INFINITY);
            for (dipoles, frequency) in solver.dipoles(modes).zip(&settings.frequencies) {
                let a = settings.period / 2.0;
                let k = TAU * frequency * a / SPEED_OF_LIGHT;
                // S_xx = S_yy for one site of a square lattice.
                let sum = lattice_sum(k, [0.0, 0.0], balanced_splitting(k));
                let [p, m] = [modes[0].electric, modes[0].magnetic]
                    .map(|mode| (Oscillator::new(mode, a, q).inverse_polarizability(k) - sum).inv());
                let half = Complex64::new(0.0, k / 2.0);
                assert!((dipoles.reflection() - half * (p - m)).norm() < 1e-11, "{frequency}");
                assert!((dipoles.transmission() - 1.0 - half * (p + m)).norm() < 1e-11, "{frequency}");
            }
        }
    }
}
