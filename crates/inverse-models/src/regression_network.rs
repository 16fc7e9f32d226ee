//! The network that regression settings describe: a fully connected stack, and a head where they ask for one.

use candle_core::{Device, Result, Tensor};
use inverse_core::{InvalidArgument, Stream};

use crate::nn::{ConvolutionalHead, FrozenMlp, HeadNetwork, Mlp, MlpSettings, Network, TrainableNetwork};
use crate::surrogate::RegressionSettings;

impl RegressionSettings {
    /// Whether a network of `inputs` and `outputs` can have these settings.
    pub(crate) fn validate(&self, inputs: usize, outputs: usize) -> std::result::Result<(), InvalidArgument> {
        self.training.validate()?;
        self.stack(inputs, outputs).validate()?;
        self.shape(inputs, outputs).validate()?;
        self.head.as_ref().map_or(Ok(()), |head| head.validate(outputs))
    }

    /// The shape of the network for use, in which a head is one with the last linear layer.
    pub(crate) fn shape(&self, inputs: usize, outputs: usize) -> MlpSettings {
        MlpSettings {
            inputs,
            hidden: self.hidden.clone(),
            outputs,
            activation: self.activation,
            batch_norm: self.batch_norm,
        }
    }

    /// The shape of the fully connected stack in training.
    fn stack(&self, inputs: usize, outputs: usize) -> MlpSettings {
        self.shape(inputs, self.head.as_ref().map_or(outputs, |head| head.width))
    }

    /// Number of trainable parameters for designs and measurements of those widths.
    pub fn parameter_count(&self, inputs: usize, outputs: usize) -> usize {
        let head = self.head.as_ref().map_or(0, ConvolutionalHead::parameter_count);
        self.stack(inputs, outputs).parameter_count().saturating_add(head)
    }
}

/// A regression network in training.
pub(crate) struct RegressionNetwork {
    stack: Mlp,
    head: Option<HeadNetwork>,
}

impl RegressionNetwork {
    pub(crate) fn new(
        settings: &RegressionSettings,
        inputs: usize,
        outputs: usize,
        device: &Device,
        stream: &mut Stream,
    ) -> Result<Self> {
        settings.validate(inputs, outputs).map_err(candle_core::Error::wrap)?;
        let stack = Mlp::new(&settings.stack(inputs, outputs), device, stream)?;
        let head = settings.head.as_ref().map(|head| HeadNetwork::new(head, device, stream)).transpose()?;
        Ok(Self { stack, head })
    }

    pub(crate) fn networks(&self) -> Vec<&dyn TrainableNetwork> {
        let head = self.head.as_ref().map(|head| head as &dyn TrainableNetwork);
        std::iter::once(&self.stack as &dyn TrainableNetwork).chain(head).collect()
    }

    /// The stack, where it is the whole network.
    pub(crate) fn stack_alone(&self) -> Option<&Mlp> {
        self.head.is_none().then_some(&self.stack)
    }

    /// The network with its weights fixed: normalisation and head are one with its linear layers.
    pub(crate) fn freeze(&self) -> Result<FrozenMlp> {
        let stack = self.stack.freeze()?;
        let Some(head) = &self.head else { return Ok(stack) };
        if !self.stack.parameters().device().is_cpu() {
            return head.follow_on_device(&stack);
        }
        stack.followed_by(&head.freeze()?, self.stack.parameters().device())
    }
}

impl Network for RegressionNetwork {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.stack.forward(x)?;
        self.head.as_ref().map_or(Ok(y.clone()), |head| head.forward(&y))
    }
}
