//! What a training step does with gradients: each moves its network's parameters.

use candle_core::{Result, Tensor, bail};

use super::optimizer::{Adam, UpdateRule};
use super::{LossGradients, TrainableNetwork};

/// Takes the gradients of one training step, one network at a time.
///
/// A network's parameters may move before the other networks' gradients are known: the loss and its gradients belong
/// to the parameters as they were while the step went through that network.
pub struct Updates<'a> {
    receive: &'a mut dyn FnMut(usize, Tensor) -> Result<()>,
}

impl<'a> Updates<'a> {
    /// * `receive`: takes a network's place among the networks and the gradient of its parameters
    pub(crate) fn new(receive: &'a mut dyn FnMut(usize, Tensor) -> Result<()>) -> Self {
        Self { receive }
    }

    /// Moves the parameters of one network, which the step needs no more.
    ///
    /// * `network`: its place in [`Objective::networks`](super::Objective::networks); each comes once a step at most
    /// * `gradient`: that of its parameters, (parameters)
    ///
    /// # Errors
    /// Where there is no such network, or the tensor library fails.
    pub fn apply(&mut self, network: usize, gradient: Tensor) -> Result<()> {
        (self.receive)(network, gradient)
    }

    /// Moves all parameters; gives the loss.
    ///
    /// # Errors
    /// As [`Updates::apply`].
    pub fn apply_all(&mut self, gradients: LossGradients) -> Result<Tensor> {
        for (network, gradient) in gradients.parameters.into_iter().enumerate() {
            if let Some(gradient) = gradient {
                self.apply(network, gradient)?;
            }
        }
        Ok(gradients.loss)
    }
}

/// Moves each network by its optimiser and gives the gradient's memory back to it: what a training does with gradients.
pub(crate) fn by_adam<'a>(
    networks: &'a [&'a dyn TrainableNetwork],
    adams: &'a mut [Adam],
    rule: UpdateRule,
) -> impl FnMut(usize, Tensor) -> Result<()> + 'a {
    move |network, gradient| {
        let (Some(moved), Some(adam)) = (networks.get(network), adams.get_mut(network)) else {
            bail!("a gradient of network {network} of {}", networks.len())
        };
        adam.step(moved.parameters(), &gradient, &rule)?;
        moved.reuse_gradient(gradient);
        Ok(())
    }
}
