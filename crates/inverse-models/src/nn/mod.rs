//! What two or more methods share: networks, the optimiser, the training loop, and the kernels below them.

mod activation;
mod checkpoint;
mod convolution;
mod convolution_network;
#[cfg(test)]
mod convolution_network_tests;
mod coupling;
mod flow;
mod flow_step;
#[cfg(test)]
mod flow_tests;
mod frozen_mlp;
mod host_mlp;
mod host_step;
mod kernels;
mod layout;
mod mlp;
#[cfg(test)]
mod mlp_tests;
mod optimizer;
mod schedule;
mod spline;
#[cfg(test)]
mod spline_tests;
mod training_loop;
mod training_op;
mod training_settings;
mod updates;

use candle_core::{Result, Tensor, Var};

pub use activation::Activation;
pub use convolution::{Convolution, Convolutions};
pub use convolution_network::ConvolutionNetwork;
pub use coupling::{Coupling, CouplingBlock};
pub use flow::{Flow, FlowSettings};
pub(crate) use flow_step::ConditionRows;
pub use frozen_mlp::FrozenMlp;
pub(crate) use frozen_mlp::repeated;
pub(crate) use host_mlp::HostMlp;
pub(crate) use host_step::{HostStep, host_loss, host_scalar, values};
#[cfg(feature = "cuda")]
pub(crate) use kernels::cuda::{CudaDescent, Plateau as CudaPlateau, prepare as prepare_cuda};
pub(crate) use kernels::squared_distance;
pub use mlp::{Mlp, MlpSettings};
#[cfg(test)]
pub(crate) use optimizer::{Adam, UpdateRule};
#[cfg(feature = "cuda")]
pub(crate) use schedule::PLATEAU_THRESHOLD;
pub use schedule::Schedule;
pub(crate) use schedule::ScheduleState;
pub use training_loop::{
    EpochLosses, LossGradients, Objective, Pairs, TRAINING_VERSION, TrainingReport, train,
    train_earlier_stage,
};
pub use training_settings::TrainingSettings;
pub use updates::Updates;
pub(crate) use updates::by_adam;

/// What the training loop needs of a network: everything that a checkpoint must hold.
pub trait TrainableNetwork {
    /// Trainable parameters, one flat vector.
    fn parameters(&self) -> &Var;

    /// Running statistics that training moves without a gradient, one flat vector.
    fn statistics(&self) -> &Var;

    /// Takes a gradient back once the optimiser is done with it; the next step may write its own into the same memory.
    ///
    /// * `gradient`: that of the parameters, (parameters)
    ///
    /// [`Updates`] calls this with what it was given, by [`Objective::loss_gradients`] as a rule; an objective that keeps
    /// such a tensor for itself keeps a copy. Nothing has to be done here.
    fn reuse_gradient(&self, gradient: Tensor) {
        drop(gradient);
    }
}

/// A network that can be applied: in training, or with its weights fixed.
pub trait Network {
    /// The output, (rows, outputs), for x, (rows, inputs).
    ///
    /// # Errors
    /// Where the shapes disagree or the tensor library fails.
    fn forward(&self, x: &Tensor) -> Result<Tensor>;
}

impl Network for Mlp {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Self::forward(self, x)
    }
}

impl Network for FrozenMlp {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Self::forward(self, x)
    }
}
