//! The surrogate f̂: a network that imitates the simulator (section 3, step i).

use std::fmt;

use candle_core::Tensor;
use inverse_core::{
    Dataset, FitContext, FitError, ProposeError, SimulationError, Simulator, Standardizer, Stream,
    check_matrix,
};
use ndarray::{Array2, ArrayView1, ArrayView2};
use serde::{Deserialize, Serialize};

use crate::device::{backend, propose_backend};
use crate::nn::{
    Activation, Convolutions, FrozenMlp, HostStep, LossGradients, Mlp, Network, Objective, Pairs,
    TrainableNetwork, TrainingReport, TrainingSettings, host_loss, train, train_earlier_stage, values,
};
use crate::regression_network::RegressionNetwork;
use crate::saved_model::{ModelFile, insert_network};
use crate::standardized_data::{StandardizedData, array, tensor};
use crate::tensor_file::{ModelFileError, NamedTensors};

/// The shape and the training of a surrogate.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegressionSettings {
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// The activation after each hidden layer.
    pub activation: Activation,
    /// Whether each hidden layer is batch-normalised.
    pub batch_norm: bool,
    /// Convolutions before the first linear layer, which then takes what they give; D4's inverse networks have them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder: Option<Convolutions>,
    /// Convolutions behind the last linear layer, which then is as wide as the head asks; D4's network has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<Convolutions>,
    /// How the network is trained.
    pub training: TrainingSettings,
}

impl Default for RegressionSettings {
    /// The paper's four layers of 500 with batch normalisation and ReLU, trained as Table 6 says.
    fn default() -> Self {
        Self {
            hidden: vec![500; 4],
            activation: Activation::Relu,
            batch_norm: true,
            encoder: None,
            head: None,
            training: TrainingSettings::default(),
        }
    }
}

/// [`train`] or [`train_earlier_stage`].
type TrainingLoop = fn(
    &dyn Objective,
    &Pairs,
    &Pairs,
    &TrainingSettings,
    &str,
    &mut FitContext<'_>,
) -> Result<TrainingReport, FitError>;

impl fmt::Debug for RegressionSettings {
    /// As the derived one, but absent convolutions are not mentioned: this text ties checkpoints to their
    /// training, and those of networks without them shall stay valid.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = formatter.debug_struct("RegressionSettings");
        text.field("hidden", &self.hidden).field("activation", &self.activation);
        text.field("batch_norm", &self.batch_norm);
        for (name, convolutions) in [("encoder", &self.encoder), ("head", &self.head)] {
            if let Some(convolutions) = convolutions {
                text.field(name, convolutions);
            }
        }
        text.field("training", &self.training).finish()
    }
}

/// A fitted surrogate, y ≈ f̂(x).
///
/// ```
/// use inverse_core::{BoxPrior, Dataset, FitContext, FnSimulator, RandomStreams, SimulatedTask};
/// use inverse_models::{Surrogate, RegressionSettings};
///
/// let parabola = FnSimulator::new(1, 1, |x, y| y[0] = x[0] * x[0])?;
/// let task = SimulatedTask::new("parabola", parabola, BoxPrior::new(&[-1.0], &[1.0])?)?;
/// let data = Dataset::from_task(&task, 500, &mut RandomStreams::new(0).stream("data", 0))?;
/// let mut settings = RegressionSettings { hidden: vec![32, 32], ..Default::default() };
/// settings.training.epochs = 60;
/// settings.training.batch_size = 50;
/// let surrogate = Surrogate::fit(&settings, &data, &mut FitContext::new(0))?;
/// let y = surrogate.predict(ndarray::array![[0.5]].view())?;
/// assert!((y[[0, 0]] - 0.25).abs() < 0.1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Surrogate {
    pub(crate) network: FrozenMlp,
    pub(crate) device: candle_core::Device,
    pub(crate) x: Standardizer,
    pub(crate) y: Standardizer,
    pub(crate) report: TrainingReport,
    pub(crate) parameter_count: usize,
}

impl Surrogate {
    /// Trains a surrogate; part of the data is held out to choose the best epoch.
    ///
    /// # Errors
    /// [`FitError`] where a setting or the data cannot be used, training diverges, or the device fails.
    pub fn fit(
        settings: &RegressionSettings,
        data: &Dataset,
        context: &mut FitContext<'_>,
    ) -> Result<Self, FitError> {
        settings.validate(data.x().ncols(), data.y().ncols())?;
        let standardized = StandardizedData::new(data, settings.training.validation_share, context)?;
        Self::fit_by(train, settings, &standardized, &data.content_hash(), context)
    }

    /// Trains as the first stage of a method, on pairs that it has prepared for itself.
    pub(crate) fn fit_first(
        settings: &RegressionSettings,
        data: &StandardizedData,
        dataset_hash: &str,
        context: &mut FitContext<'_>,
    ) -> Result<Self, FitError> {
        Self::fit_by(train_earlier_stage, settings, data, dataset_hash, context)
    }

    fn fit_by(
        train: TrainingLoop,
        settings: &RegressionSettings,
        data: &StandardizedData,
        dataset_hash: &str,
        context: &mut FitContext<'_>,
    ) -> Result<Self, FitError> {
        let (inputs, outputs) = (data.x.width(), data.y.width());
        settings.validate(inputs, outputs)?;
        let mut weights = context.streams().stream("surrogate weights", 0);
        let network =
            RegressionNetwork::new(settings, inputs, outputs, &data.device, &mut weights).map_err(backend)?;
        let objective = Regression { stage: "surrogate", network };
        let identity = format!("{settings:?} {dataset_hash}");
        let report =
            train(&objective, &data.training, &data.validation, &settings.training, &identity, context)?;
        let network = objective.network.freeze().map_err(backend)?;
        Ok(Self {
            network,
            device: data.device.clone(),
            x: data.x.clone(),
            y: data.y.clone(),
            report,
            parameter_count: settings.parameter_count(inputs, outputs),
        })
    }

    /// Predicted measurements, (n, `dim_y`), for designs x, (n, `dim_x`), in the data's units.
    ///
    /// # Errors
    /// [`ProposeError::InvalidArgument`] where `x` has another width or is not finite.
    pub fn predict(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>, ProposeError> {
        check_matrix("x", x, self.x.width())?;
        if x.nrows() == 0 {
            return Ok(Array2::zeros((0, self.y.width())));
        }
        let standard = self.x.transform(x)?;
        let x = tensor(standard.view(), &self.device).map_err(propose_backend)?;
        let y = self.network.forward(&x).and_then(|y| array(&y)).map_err(propose_backend)?;
        Ok(self.y.inverse(y.view())?)
    }

    /// Weights of the standardised squared errors that restore their proportions in the units of y, divided
    /// by `dim_y`; and what turns the weighted sum into the mean squared error in units of y².
    pub(crate) fn error_weights(&self) -> (Vec<f32>, f64) {
        error_weights(self.y.scale())
    }

    /// The network, between standardised x and standardised y.
    pub fn network(&self) -> &FrozenMlp {
        &self.network
    }

    /// What turns designs into the network's inputs.
    pub fn x_standardizer(&self) -> &Standardizer {
        &self.x
    }

    /// What turns the network's outputs into measurements, by its inverse.
    pub fn y_standardizer(&self) -> &Standardizer {
        &self.y
    }

    /// How the training went; the validation loss is the mean squared error of standardised y.
    pub fn report(&self) -> &TrainingReport {
        &self.report
    }

    /// Number of trainable parameters.
    pub fn parameter_count(&self) -> usize {
        self.parameter_count
    }
}

/// The network in place of the simulator that it has learnt.
impl Simulator for Surrogate {
    fn dim_x(&self) -> usize {
        self.x.width()
    }

    fn dim_y(&self) -> usize {
        self.y.width()
    }

    fn simulate(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>, SimulationError> {
        self.predict(x).map_err(|error| match error {
            ProposeError::InvalidArgument(error) => error.into(),
            error => SimulationError::Failed(Box::new(error)),
        })
    }
}

/// As [`Surrogate::error_weights`], for columns of these scales.
fn error_weights(scales: ArrayView1<'_, f64>) -> (Vec<f32>, f64) {
    let count = scales.len() as f64;
    let by_unit = |unit: f64| {
        let variances: Vec<f64> = scales.iter().map(|scale| (scale / unit).powi(2)).collect();
        let mean = variances.iter().sum::<f64>() / count;
        (variances.iter().map(|variance| (variance / mean / count) as f32).collect(), mean)
    };
    let (weights, mean) = by_unit(1.0);
    if mean.is_normal() {
        return (weights, mean);
    }
    // Squares outside the range of `f64`; those of the scales' proportions are not.
    let largest = scales.iter().copied().fold(0.0, f64::max);
    let (weights, mean) = by_unit(largest);
    (weights, (mean * largest * largest).min(f64::MAX))
}

/// Mean squared error of a network from one side of the pairs to the other.
pub(crate) struct Regression {
    pub(crate) stage: &'static str,
    pub(crate) network: RegressionNetwork,
}

impl Objective for Regression {
    fn stage(&self) -> &str {
        self.stage
    }

    fn networks(&self) -> Vec<&dyn TrainableNetwork> {
        self.network.networks()
    }

    fn training_loss(&self, batch: &Pairs, _noise: &mut Stream) -> candle_core::Result<Tensor> {
        (self.network.forward(&batch.x)? - &batch.y)?.sqr()?.mean_all()
    }

    fn loss_gradients(&self, batch: &Pairs, noise: &mut Stream) -> candle_core::Result<LossGradients> {
        match self.network.stack_alone() {
            Some(stack) if batch.x.device().is_cpu() => squared_error_step(stack, batch),
            _ => LossGradients::by_candle(self, batch, noise),
        }
    }

    fn validation_loss(&self, pairs: &Pairs, _noise: &mut Stream) -> candle_core::Result<f64> {
        let y = self.network.freeze()?.forward(&pairs.x)?;
        (y - &pairs.y)?.sqr()?.mean_all()?.to_scalar::<f32>().map(f64::from)
    }
}

/// A step of mean squared error without candle's graph.
fn squared_error_step(network: &Mlp, batch: &Pairs) -> candle_core::Result<LossGradients> {
    let (x, wanted) = (values(&batch.x)?, values(&batch.y)?);
    let mut step = HostStep::new(network)?;
    let mut y = step.forward(&x)?;
    let share = 2.0 / y.len() as f32;
    let mut loss = 0.0;
    for (y, wanted) in y.iter_mut().zip(&wanted) {
        let difference = *y - wanted;
        loss += f64::from(difference * difference);
        *y = share * difference;
    }
    let (gradient, _) = step.backward(&y, false)?;
    host_loss(loss / y.len() as f64, vec![gradient])
}

/// The part of a model file's header that describes a surrogate.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SurrogateDescription {
    x: Standardizer,
    y: Standardizer,
    training: TrainingReport,
}

/// Name of the surrogate's tensors in model files that hold one.
pub(crate) const PREFIX: &str = "surrogate";

impl Surrogate {
    /// Adds the network to a model's tensors under that name.
    pub(crate) fn describe(
        &self,
        tensors: &mut NamedTensors,
        prefix: &str,
    ) -> Result<SurrogateDescription, ModelFileError> {
        insert_network(tensors, prefix, &self.network)?;
        let training = self.report.clone();
        Ok(SurrogateDescription { x: self.x.clone(), y: self.y.clone(), training })
    }

    /// The surrogate of that name in a model's file.
    pub(crate) fn from_file(
        file: &mut ModelFile,
        prefix: &str,
        settings: &RegressionSettings,
        description: SurrogateDescription,
    ) -> Result<Self, ModelFileError> {
        let SurrogateDescription { x, y, training } = description;
        file.check_standardizers([&x, &y])?;
        let shape = settings.shape(x.width(), y.width());
        let network = file.take_network(prefix, &shape)?;
        let parameter_count = settings.parameter_count(x.width(), y.width());
        let device = file.device.clone();
        Ok(Self { network, device, x, y, report: training, parameter_count })
    }
}

#[cfg(test)]
mod tests {
    use ndarray::aview1;

    use super::error_weights;

    #[test]
    fn weights_keep_proportions_whose_squares_no_number_holds() {
        let (ordinary, unit) = error_weights(aview1(&[1.0, 3.0]));
        assert_eq!((ordinary.as_slice(), unit), ([0.1, 0.9].as_slice(), 5.0));
        for scale in [1e-200, 1e200] {
            let (weights, unit) = error_weights(aview1(&[scale, 3.0 * scale]));
            assert_eq!(weights, ordinary);
            assert!(unit.is_finite());
        }
    }
}
