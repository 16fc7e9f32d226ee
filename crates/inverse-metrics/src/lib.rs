//! Metrics of inverse models.
//!
//! The re-simulation error r_T (eq. 3 and 11) is the expected error of the best of T proposals:
//!
//! ```text
//! r_T = 1/N Σ_n min_{t ≤ T} mean_j (f_j(x̂_nt) − y_nj)²
//! ```
//!
//! One set of proposals gives r_T for every T.
//!
//! ```
//! use inverse_core::{FnSimulator, Proposals};
//! use inverse_metrics::resimulate;
//! use ndarray::array;
//!
//! let double = FnSimulator::new(1, 1, |x, y| y[0] = 2.0 * x[0])?;
//! // Two targets, three proposals each.
//! let proposals = Proposals::new(array![[[0.0], [1.5], [1.0]], [[2.0], [1.0], [1.0]]])?;
//! let errors = resimulate(&double, &proposals, array![[2.0], [4.0]].view())?;
//! let curve = errors.curve();
//! assert_eq!(curve.mean, [2.0, 0.5, 0.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`best_designs`] runs a search for its best designs. [`resimulate_search_timed`] gives the same by wall time. [`SolutionModes`] counts how many distinct solutions a search
//! has found, because one perfect answer is not the whole inverse.
//!
//! Where a model should propose every solution and not only a good one, [`Mmd`] compares its proposals with a
//! sample of the true posterior, which [`ReferencePosterior`] draws by rejection. [`RankStatistics`] asks the same of the pairs
//! alone: whether the design behind a measurement looks like one more of the model's draws. [`ImportanceWeights`] mend what is
//! not quite right with them, where the model has a density and measurements have noise.

mod best_designs;
mod bootstrap;
mod error;
mod importance_weights;
mod infinity;
mod mmd;
mod rank_statistics;
mod reference_posterior;
mod resimulation;
mod resimulation_error;
mod solution_modes;
mod timed_resimulation;

pub use best_designs::{BestDesigns, best_designs};
pub use bootstrap::ConfidenceInterval;
pub use error::MetricError;
pub use importance_weights::ImportanceWeights;
pub use mmd::{Mmd, MmdEstimator};
pub use rank_statistics::RankStatistics;
pub use reference_posterior::{PosteriorSample, ReferencePosterior};
pub use resimulation::{resimulate, resimulate_search};
pub use resimulation_error::{ErrorCurve, ResimulationErrors};
pub use solution_modes::{ModeClustering, ModeCoverage, SolutionModes};
pub use timed_resimulation::{TimedErrors, record_search, resimulate_search_timed};
