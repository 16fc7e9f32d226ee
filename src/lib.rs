//! Deep inverse models: given y = f(x), find the x that produce a wanted y.
//!
//! This crate is the front door: it re-exports the library's crates and hosts the examples.
//!
//! ```text
//! Task (prior + simulator) → Dataset → Method::fit → InverseModel::propose → Simulator → r_T
//! ```
//!
//! | module | crate | what it holds |
//! |---|---|---|
//! | [`core`] | `inverse-core` | simulators, priors, tasks, datasets, the traits of methods and models |
//! | [`tasks`] | `inverse-tasks` | ballistics, sine wave, robotic arm, metamaterial |
//! | [`models`] | `inverse-models` | the six methods, two baselines, surrogates, saved models |
//! | [`metrics`] | `inverse-metrics` | the re-simulation error r_T with quartiles and bootstrap intervals, MMD, calibration, reference posteriors |
//! | `bench`, a feature that is on by default | `inverse-bench` | studies, tables, figures |
//!
//! The sections below are the project's README; its example runs as a test of this crate.
//!
#![doc = include_str!("../README.md")]

#[cfg(doctest)]
mod book;

#[cfg(feature = "bench")]
pub use inverse_bench as bench;
pub use {
    inverse_core as core, inverse_metrics as metrics, inverse_models as models, inverse_tasks as tasks,
};

/// Everything that a first program needs.
pub mod prelude {
    pub use inverse_core::{
        BoxPrior, CorrelatedNoise, Dataset, Device, DifferentiableSimulator, Domain, FitContext, FnSimulator,
        GaussianNoise, IndependentPrior, InverseModel, Marginal, MeasurementNoise, Method, Prior, Proposals,
        RandomStreams, Search, SimulatedTask, Simulator, Task,
    };
    pub use inverse_metrics::{
        ImportanceWeights, RankStatistics, ResimulationErrors, best_designs, resimulate, resimulate_search,
    };
    pub use inverse_models::presets::{PresetMethod, Source};
    pub use inverse_models::{
        AdaptiveNeuralAdjoint, AdaptiveSearchSettings, ConditionalInvertibleNetwork, ConditionalVae,
        DensestFirst, DensityEnsemble, DirectRegression, InvertibleNetwork, LevenbergMarquardtSettings,
        MixtureDensityNetwork, NearestNeighbor, NeuralAdjoint, NeuralAdjointModel, NeuralLikelihood,
        Precision, ProxyRecipe, ProxySimulator, RefineWith, RegressionSettings, SavedModel,
        SequentialDensity, SequentialSurrogate, Surrogate, Tandem, TemperedPosterior, TemperedSettings,
        TruncatedPrior, posterior_draws,
    };
}
