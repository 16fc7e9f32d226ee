//! What two or more methods share: networks, the optimiser, the training loop, and the kernels below them.

mod activation;
mod frozen_mlp;
mod kernels;
mod layout;
mod mlp;
mod optimizer;
mod training_op;

use candle_core::Var;

pub use activation::Activation;
pub use frozen_mlp::FrozenMlp;
pub use mlp::{Mlp, MlpSettings};

/// What the training loop needs of a network: everything that a checkpoint must hold.
pub trait TrainableNetwork {
    /// Trainable parameters, one flat vector.
    fn parameters(&self) -> &Var;

    /// Running statistics that training moves without a gradient, one flat vector.
    fn statistics(&self) -> &Var;
}

#[cfg(test)]
mod mlp_tests;
