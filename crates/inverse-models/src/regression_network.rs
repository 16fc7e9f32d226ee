//! The network that regression settings describe: a fully connected stack, convolutions before or behind it where they
//! ask for some.

use candle_core::{Device, Result, Tensor};
use inverse_core::{InvalidArgument, Stream};

use crate::nn::{ConvolutionNetwork, Convolutions, FrozenMlp, Mlp, MlpSettings, Network, TrainableNetwork};
use crate::surrogate::RegressionSettings;

impl RegressionSettings {
    /// Whether a network of `inputs` and `outputs` can have these settings.
    pub(crate) fn validate(&self, inputs: usize, outputs: usize) -> std::result::Result<(), InvalidArgument> {
        self.training.validate()?;
        self.encoder.as_ref().map_or(Ok(()), |encoder| validate_encoder(encoder, inputs))?;
        self.stack(inputs, outputs).validate()?;
        self.shape(inputs, outputs).validate()?;
        self.head.as_ref().map_or(Ok(()), |head| head.validate("head", outputs))
    }

    /// The shape of the network for use, in which convolutions are one with the first or the last linear layer.
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
        let inputs = self.encoder.as_ref().map_or(inputs, |encoder| encoder.output_width().unwrap_or(0));
        self.shape(inputs, self.head.as_ref().map_or(outputs, |head| head.width))
    }

    /// Number of trainable parameters for designs and measurements of those widths.
    pub fn parameter_count(&self, inputs: usize, outputs: usize) -> usize {
        let convolutions = self.encoder.iter().chain(&self.head).map(Convolutions::parameter_count);
        convolutions.fold(self.stack(inputs, outputs).parameter_count(), usize::saturating_add)
    }
}

/// Whether convolutions can encode that many inputs.
pub(crate) fn validate_encoder(
    encoder: &Convolutions,
    inputs: usize,
) -> std::result::Result<(), InvalidArgument> {
    encoder.validate("encoder", encoder.output_width().unwrap_or(0))?;
    if encoder.width == inputs {
        return Ok(());
    }
    Err(InvalidArgument::new("encoder.width", format!("{inputs}, one an input"), encoder.width))
}

/// A regression network in training.
pub(crate) struct RegressionNetwork {
    encoder: Option<ConvolutionNetwork>,
    stack: Mlp,
    head: Option<ConvolutionNetwork>,
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
        let RegressionSettings { encoder, head, .. } = settings;
        Self::assemble(encoder.as_ref(), &settings.stack(inputs, outputs), head.as_ref(), device, stream)
    }

    /// A network of checked parts.
    pub(crate) fn assemble(
        encoder: Option<&Convolutions>,
        stack: &MlpSettings,
        head: Option<&Convolutions>,
        device: &Device,
        stream: &mut Stream,
    ) -> Result<Self> {
        let stack = Mlp::new(stack, device, stream)?;
        let mut network = |convolutions: Option<&Convolutions>| {
            convolutions.map(|part| ConvolutionNetwork::new(part, device, stream)).transpose()
        };
        let head = network(head)?;
        Ok(Self { encoder: network(encoder)?, stack, head })
    }

    pub(crate) fn networks(&self) -> Vec<&dyn TrainableNetwork> {
        let convolutions = self.head.iter().chain(&self.encoder).map(|part| part as &dyn TrainableNetwork);
        std::iter::once(&self.stack as &dyn TrainableNetwork).chain(convolutions).collect()
    }

    /// The stack, where it is the whole network.
    pub(crate) fn stack_alone(&self) -> Option<&Mlp> {
        (self.head.is_none() && self.encoder.is_none()).then_some(&self.stack)
    }

    /// The network with its weights fixed: normalisation and convolutions are one with its linear layers.
    pub(crate) fn freeze(&self) -> Result<FrozenMlp> {
        let device = self.stack.parameters().device();
        let mut network = self.stack.freeze()?;
        if let Some(encoder) = &self.encoder {
            network = if device.is_cpu() {
                network.preceded_by(&encoder.freeze()?, device)?
            } else {
                encoder.precede_on_device(&network)?
            };
        }
        let Some(head) = &self.head else { return Ok(network) };
        if device.is_cpu() {
            network.followed_by(&head.freeze()?, device)
        } else {
            head.follow_on_device(&network)
        }
    }
}

impl Network for RegressionNetwork {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let code = self.encoder.as_ref().map_or(Ok(x.clone()), |encoder| encoder.forward(x))?;
        let y = self.stack.forward(&code)?;
        self.head.as_ref().map_or(Ok(y.clone()), |head| head.forward(&y))
    }
}
