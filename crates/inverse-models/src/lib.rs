//! Deep inverse models on candle: one module a method, everything shared in [`nn`].
//!
//! | module | method | section |
//! |---|---|---|
//! | [`NeuralAdjoint`] | descend on the input of a surrogate | 3 |
//! | [`Tandem`] | an inverse network trained through a frozen surrogate | 4, eq. 10 |
//! | [`ConditionalVae`] | decode a latent under the target | 4, eq. 7 |
//! | [`InvertibleNetwork`] | a bijection between x and (y, z), run backwards | 4, eq. 8 |
//! | [`ConditionalInvertibleNetwork`] | a bijection between x and z under y | 4, eq. 9 |
//! | [`MixtureDensityNetwork`] | a mixture of Gaussians whose parameters depend on y | 4, eq. 6 |
//! | [`NearestNeighbor`] | baseline: the closest training pairs | |
//! | [`DirectRegression`] | baseline: a network from y to x, which averages solutions | 2 |
//!
//! Fitting settings to a [`Dataset`](inverse_core::Dataset) gives a model; a model proposes designs for
//! targets, and is kept in a folder.
//!
//! ```
//! use inverse_core::{BoxPrior, Dataset, Device, FitContext, FnSimulator, InverseModel, Method, RandomStreams, SimulatedTask};
//! use inverse_models::{NeuralAdjoint, SavedModel};
//!
//! let spring = FnSimulator::new(2, 1, |x, y| y[0] = x[0] * x[1] * x[1])?;
//! let task = SimulatedTask::new("spring", spring, BoxPrior::new(&[0.5, -1.0], &[1.5, 1.0])?)?;
//! let streams = RandomStreams::new(1);
//! let data = Dataset::from_task(&task, 400, &mut streams.stream("data", 0))?;
//! let mut method = NeuralAdjoint { start_count: 50, ..Default::default() };
//! method.surrogate.hidden = vec![24];
//! method.surrogate.training.epochs = 20;
//! let model = method.fit(&data, &mut FitContext::new(1))?;
//!
//! let folder = tempfile::tempdir()?;
//! model.save(folder.path())?;
//! let again = inverse_models::load(folder.path(), Device::Cpu)?;
//! let target = ndarray::array![[0.3]];
//! let mut rng = streams.stream("propose", 0);
//! assert_eq!(
//!     again.propose(target.view(), 5, &mut rng.clone())?,
//!     model.propose(target.view(), 5, &mut rng)?
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//! - `cuda`: trains and proposes on NVIDIA GPUs; needs the CUDA toolkit to build.

mod adaptive_neural_adjoint;
mod adaptive_search_settings;
mod adaptive_target;
mod boundary_loss;
mod cinn;
mod cvae;
mod cvae_presets;
mod damped_step;
mod defect_model;
mod densest_first;
mod density_ensemble;
mod descent_rate;
mod descent_rows;
mod deterministic_proposals;
mod device;
mod direct_regression;
mod ensemble;
mod fitted;
mod gaussian_mixture;
mod genetic_search;
#[cfg(test)]
mod gradient_check;
mod gradient_search;
mod host_network;
mod inn;
mod input_descent;
mod latent_sampling;
mod levenberg_marquardt;
mod log_density;
mod mdn;
mod measurement_encoder;
mod member_contexts;
mod nearest_neighbor;
mod network_jacobian;
mod neural_adjoint;
mod neural_adjoint_file;
mod neural_adjoint_presets;
mod neural_likelihood;
pub mod nn;
mod posterior_draws;
pub mod presets;
mod proxy;
mod proxy_file;
mod proxy_simulator;
mod proxy_training;
mod redraws;
mod refinement;
mod registry;
mod regression_network;
mod relabelling;
mod relative_weights;
mod saved_model;
mod sequential_density;
mod sequential_surrogate;
mod standardized_data;
mod starts;
mod state_dict;
mod state_dict_file;
mod surrogate;
mod symmetric_copies;
mod tandem;
mod tempered_posterior;
mod tensor_file;
mod truncated_prior;
mod weighted_surrogate;

pub use adaptive_neural_adjoint::AdaptiveNeuralAdjoint;
pub use adaptive_search_settings::AdaptiveSearchSettings;
pub use cinn::{ConditionalInvertibleNetwork, ConditionalInvertibleNetworkModel};
pub use cvae::{ConditionalVae, ConditionalVaeModel};
pub use densest_first::DensestFirst;
pub use density_ensemble::{DensityEnsemble, DensityEnsembleModel};
pub use device::open_device;
pub use direct_regression::{DirectRegression, DirectRegressionModel};
pub use ensemble::EnsembleSettings;
pub use genetic_search::{GeneticSearch, GeneticSearchSettings};
pub use gradient_search::GradientSearch;
pub use inn::{InvertibleNetwork, InvertibleNetworkModel};
pub use input_descent::InputDescentSettings;
pub use levenberg_marquardt::LevenbergMarquardtSettings;
pub use mdn::{MixtureDensityNetwork, MixtureDensityNetworkModel};
pub use measurement_encoder::MeasurementEncoder;
pub use nearest_neighbor::{NearestNeighbor, NearestNeighborModel};
pub use neural_adjoint::{NeuralAdjoint, NeuralAdjointModel};
pub use neural_likelihood::{NeuralLikelihood, NeuralLikelihoodModel};
pub use posterior_draws::posterior_draws;
pub use proxy::{ProxyError, ProxyRecipe, SimulatedDesigns};
pub use proxy_simulator::{ProxyErrors, ProxyReport, ProxySimulator};
pub use refinement::{RefineWith, Refined};
pub use registry::{AnyMethod, any_method, method_by_name, method_names};
pub use relabelling::Relabelling;
pub use saved_model::{SavedModel, load};
pub use sequential_density::{
    DensityRounds, FirstDensity, NoisySimulator, SequentialDensity, SequentialError, noisy_simulator,
};
pub use sequential_surrogate::{FirstRound, SequentialDraws, SequentialRound, SequentialSurrogate};
pub use starts::Starts;
pub use state_dict::ImportError;
pub use surrogate::{RegressionSettings, Surrogate};
pub use tandem::{Tandem, TandemModel};
pub use tempered_posterior::{TemperedDraws, TemperedPosterior, TemperedSettings};
pub use tensor_file::{ModelFileError, Precision};
pub use truncated_prior::TruncatedPrior;
