//! What two or more methods share: networks, the optimiser, the training loop, and the kernels below them.

mod activation;
mod checkpoint;
mod frozen_mlp;
mod kernels;
mod layout;
mod mlp;
#[cfg(test)]
mod mlp_tests;
mod optimizer;
mod schedule;
mod training_loop;
mod training_op;

use candle_core::Var;

pub use activation::Activation;
pub use frozen_mlp::FrozenMlp;
pub use mlp::{Mlp, MlpSettings};
pub(crate) use schedule::PLATEAU_THRESHOLD;
pub use schedule::Schedule;
pub use training_loop::{EpochLosses, Objective, Pairs, TrainingReport, TrainingSettings, train};

/// What the training loop needs of a network: everything that a checkpoint must hold.
pub trait TrainableNetwork {
    /// Trainable parameters, one flat vector.
    fn parameters(&self) -> &Var;

    /// Running statistics that training moves without a gradient, one flat vector.
    fn statistics(&self) -> &Var;
}
