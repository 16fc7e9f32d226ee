//! The vocabulary of deep inverse models: given y = f(x), find the x that produce a wanted y.
//!
//! The whole library is four nouns and one loop:
//!
//! ```text
//! Task (prior + simulator) → Dataset → Method::fit → InverseModel::propose → Simulator → r_T
//! ```
//!
//! This crate holds the nouns as traits and small value types. It is light: whoever only has a
//! simulator depends on this crate alone.
//!
//! Arrays are [`ndarray`] `f64` with one row a sample: designs x are (n, `dim_x`), measurements y are
//! (n, `dim_y`), proposals are (targets, n, `dim_x`). All randomness flows from one seed through
//! [`RandomStreams`].
//!
//! ```
//! use inverse_core::{BoxPrior, Dataset, FnSimulator, RandomStreams, Simulator, SimulatedTask};
//!
//! // y = x₁² + x₂ on the square [-1, 1]².
//! let square = FnSimulator::new(2, 1, |x, y| y[0] = x[0] * x[0] + x[1])?;
//! let task = SimulatedTask::new("square", square, BoxPrior::new(&[-1.0, -1.0], &[1.0, 1.0])?)?;
//! let streams = RandomStreams::new(7);
//! let data = Dataset::from_task(&task, 100, &mut streams.stream("data", 0))?;
//! assert_eq!(data.x().dim(), (100, 2));
//! assert_eq!(task.simulate(data.x())?, data.y());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod atomic_file;
mod cholesky;
mod context;
mod correlated_noise;
mod dataset;
mod dataset_files;
mod domain;
mod error;
mod marginal;
mod measurement_noise;
mod model;
mod observer;
mod optimizer_search;
mod prior;
mod proposals;
mod random;
mod search;
mod simulator;
mod standardizer;
mod symmetry;
mod systematic_draws;
mod task;
pub mod testing;

pub use atomic_file::write_atomically;
pub use cholesky::CholeskyFactor;
pub use context::{CheckpointPolicy, Device, FitContext};
pub use correlated_noise::CorrelatedNoise;
pub use dataset::{Dataset, LARGEST_PAIRS};
pub use domain::Domain;
pub use error::{DataError, FitError, InvalidArgument, ProposeError, SimulationError};
pub use marginal::{IndependentPrior, Marginal};
pub use measurement_noise::{GaussianNoise, MeasurementNoise, check_log_densities, check_measurements};
pub use model::{InverseModel, Method, check_answered, check_answers, check_pairs, check_request};
pub use observer::{EpochReport, Observer, Signal, Silent};
pub use optimizer_search::{Objective, OptimizerSearch};
pub use prior::{BoxPrior, Prior};
pub use proposals::Proposals;
pub use random::{RandomStreams, Stream};
pub use search::{ProposalWalk, Search};
pub use simulator::{
    DifferentiableSimulator, FnSimulator, LARGEST_DIMENSION, Simulator, check_designs, check_matrix,
    numerical_jacobian,
};
pub use standardizer::Standardizer;
pub use symmetry::{Symmetry, with_symmetric_copies};
pub use systematic_draws::systematic_draws;
pub use task::{SimulatedTask, Task};
