//! D4, the metamaterial: reflectance spectra of a super-cell of four dielectric cylinders.
//!
//! The authors ran a full-wave solver. [`MetamaterialSolver`] stands where theirs stood: a coupled-dipole model
//! from published formulas, exact in its lattice sums and in its energy balance, and yet a model:
//! `docs/metamaterial.md` says what it leaves out. x and y are the authors': eight scaled heights and radii in,
//! 300 reflectances from 0.8 to 1.5 THz out.
//!
//! With the feature `metamaterial-proxy` there is `MetamaterialTask`: the benchmark's task, whose simulator is an
//! ensemble of networks that was trained on the solver, as the paper's was on theirs.
//!
//! ```
//! use inverse_core::{Prior, RandomStreams, Simulator};
//! use inverse_tasks::metamaterial::{self, MetamaterialSettings, MetamaterialSolver};
//!
//! let solver = MetamaterialSolver::new(MetamaterialSettings::default())?;
//! let x = metamaterial::prior().sample(10, &mut RandomStreams::new(1).stream("designs", 0));
//! let y = solver.simulate(x.view())?;
//! assert_eq!(y.dim(), (10, 300));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod faddeeva;
mod geometry;
mod lattice_sum;
mod linear_system;
mod power_balance;
mod resonator;
mod settings;
mod solver;
#[cfg(feature = "metamaterial-proxy")]
mod task;

use inverse_core::{BoxPrior, InvalidArgument};
pub use num_complex::Complex64;

pub use geometry::{Cylinder, SuperCell};
pub use power_balance::{DiffractionOrder, PowerBalance};
pub use resonator::{DipoleModes, Resonance};
pub use settings::MetamaterialSettings;
pub use solver::MetamaterialSolver;
#[cfg(feature = "metamaterial-proxy")]
pub use task::{MetamaterialTask, shipped_proxy};

use crate::fixed_prior::fixed_prior;

/// The orders of the four cylinders that give the same spectrum: cylinder `SYMMETRIES[s][i]` moves to site i.
///
/// The array has no origin: moving it by half a period along x exchanges sites 0 ↔ 1 and 2 ↔ 3, along y
/// 0 ↔ 2 and 1 ↔ 3, along both 0 ↔ 3 and 1 ↔ 2. Mirrors at planes along x or y give the same four orders. A
/// quarter turn or a mirror at a diagonal turns the incident field too, and all other orders change who is whose
/// neighbour. So each simulated design stands for four, the paper's fourfold augmentation; see [`permuted`].
pub const SYMMETRIES: [[usize; 4]; 4] = [[0, 1, 2, 3], [1, 0, 3, 2], [2, 3, 0, 1], [3, 2, 1, 0]];

/// The design with its four cylinders in another order.
///
/// * `design`: (h₁…h₄, r₁…r₄)
/// * `order`: which cylinder comes to each site, as in [`SYMMETRIES`]
///
/// ```
/// use inverse_tasks::metamaterial::{SYMMETRIES, permuted};
///
/// let design = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8];
/// assert_eq!(permuted(&design, SYMMETRIES[1])?, [0.2, 0.1, 0.4, 0.3, 0.6, 0.5, 0.8, 0.7]);
/// # Ok::<(), inverse_core::InvalidArgument>(())
/// ```
///
/// # Errors
/// [`InvalidArgument`] where `order` does not hold 0, 1, 2 and 3.
pub fn permuted(design: &[f64; 8], order: [usize; 4]) -> Result<[f64; 8], InvalidArgument> {
    let mut sorted = order;
    sorted.sort_unstable();
    if sorted != [0, 1, 2, 3] {
        return Err(InvalidArgument::new("order", "each of 0, 1, 2 and 3 once", format!("{order:?}")));
    }
    let mut moved = *design;
    for (site, cylinder) in order.into_iter().enumerate() {
        moved[site] = design[cylinder];
        moved[site + 4] = design[cylinder + 4];
    }
    Ok(moved)
}

/// The three other designs of the same spectrum: a [`Symmetry`](inverse_core::Symmetry) of solver and proxy, exact and near.
///
/// * `design`: (h₁…h₄, r₁…r₄); of another width it has no copies
///
/// ```
/// use inverse_tasks::metamaterial::{SYMMETRIES, permuted, symmetric_copies};
///
/// let design = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8];
/// let copies = symmetric_copies(&design);
/// assert_eq!(copies.len(), 3);
/// assert_eq!(copies[2], permuted(&design, SYMMETRIES[3])?);
/// # Ok::<(), inverse_core::InvalidArgument>(())
/// ```
pub fn symmetric_copies(design: &[f64]) -> Vec<Vec<f64>> {
    let Ok(design) = <&[f64; 8]>::try_from(design) else { return Vec::new() };
    let others = SYMMETRIES.iter().skip(1).filter_map(|order| permuted(design, *order).ok());
    others.map(|copy| copy.to_vec()).collect()
}

/// The authors' prior: heights uniform from 30 to 55 µm and radii from 42 to 52 µm, in scaled units
/// [−1, 14/11] and [−1, 1].
pub fn prior() -> BoxPrior {
    let [lower, upper] = geometry::design_bounds();
    fixed_prior(BoxPrior::new(&lower, &upper))
}
