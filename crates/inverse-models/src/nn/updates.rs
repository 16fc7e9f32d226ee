//! What a training step does with gradients: each moves its network's parameters.

use candle_core::{Result, Tensor, bail};

use super::optimizer::{Adam, UpdateRule};
use super::{LossGradients, TrainableNetwork};

/// Takes the gradients of one training step.
///
/// A network's parameters may move before the other networks' gradients are known: the loss and its gradients belong
/// to the parameters as they were while the step went through that network.
pub struct Updates<'a> {
    networks: &'a [&'a dyn TrainableNetwork],
    /// One a network.
    adams: &'a mut [Adam],
    rule: UpdateRule,
}

impl<'a> Updates<'a> {
    pub(crate) fn new(
        networks: &'a [&'a dyn TrainableNetwork],
        adams: &'a mut [Adam],
        rule: UpdateRule,
    ) -> Self {
        Self { networks, adams, rule }
    }

    /// Moves the parameters of one network, which the step needs no more.
    ///
    /// * `network`: its place in [`Objective::networks`](super::Objective::networks); each comes once a step at most
    /// * `gradient`: that of its parameters, (parameters)
    ///
    /// # Errors
    /// Where there is no such network, or the tensor library fails.
    pub fn apply(&mut self, network: usize, gradient: Tensor) -> Result<()> {
        let (Some(moved), Some(adam)) = (self.networks.get(network), self.adams.get_mut(network)) else {
            bail!("a gradient of network {network} of {}", self.networks.len())
        };
        adam.step(moved.parameters(), &gradient, &self.rule)?;
        moved.reuse_gradient(gradient);
        Ok(())
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
