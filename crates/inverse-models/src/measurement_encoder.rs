//! A network that turns a long measurement into the few numbers that another network takes in its place.

use candle_core::{Device, Result};
use inverse_core::{InvalidArgument, Stream};
use serde::{Deserialize, Serialize};

use crate::fitted::check_count;
use crate::nn::{Activation, Convolutions, MlpSettings};
use crate::regression_network::{RegressionNetwork, validate_encoder};

/// No code is longer; a mistyped count fails with a message.
const LARGEST_CODE: usize = 1 << 12;

/// Convolutions along a measurement, and a fully connected network behind them: the authors' spectrum encoder.
///
/// Activation and normalisation of its hidden layers are those of the networks that it serves.
///
/// ```
/// use inverse_models::MeasurementEncoder;
///
/// let encoder = MeasurementEncoder::metamaterial();
/// // 150-500×4-20 with batch normalisation, behind convolutions of 245 parameters.
/// assert_eq!(encoder.parameter_count(300, true), 75_500 + 3 * 250_500 + 10_020 + 4_000 + 245);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasurementEncoder {
    /// Convolutions along the measurement, as wide as it is; none, where `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub convolutions: Option<Convolutions>,
    /// Widths of the hidden layers behind them.
    pub hidden: Vec<usize>,
    /// Numbers that stand for the measurement afterwards.
    pub code: usize,
}

impl MeasurementEncoder {
    /// The authors' for D4: a spectrum of 300 to 20 numbers.
    pub fn metamaterial() -> Self {
        Self { convolutions: Some(Convolutions::metamaterial_encoder()), hidden: vec![500; 4], code: 20 }
    }

    /// Number of trainable parameters for measurements of that width.
    pub fn parameter_count(&self, dim_y: usize, batch_norm: bool) -> usize {
        let stack = self.stack(dim_y, Activation::Relu, batch_norm).parameter_count();
        stack.saturating_add(self.convolutions.as_ref().map_or(0, Convolutions::parameter_count))
    }

    pub(crate) fn validate(&self, dim_y: usize) -> std::result::Result<(), InvalidArgument> {
        check_count("measurement_encoder.code", self.code, LARGEST_CODE)?;
        self.convolutions.iter().try_for_each(|convolutions| validate_encoder(convolutions, dim_y))?;
        self.stack(dim_y, Activation::Relu, true).validate()
    }

    /// The shape of the encoder for use, in which convolutions are one with the first linear layer.
    pub(crate) fn shape(&self, dim_y: usize, activation: Activation, batch_norm: bool) -> MlpSettings {
        MlpSettings { inputs: dim_y, hidden: self.hidden.clone(), outputs: self.code, activation, batch_norm }
    }

    /// The shape of the fully connected stack in training.
    fn stack(&self, dim_y: usize, activation: Activation, batch_norm: bool) -> MlpSettings {
        let width = |convolutions: &Convolutions| convolutions.output_width().unwrap_or(0);
        self.shape(self.convolutions.as_ref().map_or(dim_y, width), activation, batch_norm)
    }

    /// The encoder in training; the settings were checked.
    pub(crate) fn network(
        &self,
        dim_y: usize,
        activation: Activation,
        batch_norm: bool,
        device: &Device,
        stream: &mut Stream,
    ) -> Result<RegressionNetwork> {
        let stack = self.stack(dim_y, activation, batch_norm);
        RegressionNetwork::assemble(self.convolutions.as_ref(), &stack, None, device, stream)
    }
}
