//! The surrogate f̂: a network that imitates the simulator (section 3, step i).

use candle_core::Tensor;
use inverse_core::{
    Dataset, FitContext, FitError, InvalidArgument, ProposeError, Standardizer, check_matrix,
};
use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use crate::device::{backend, open_device, propose_backend};
use crate::nn::{
    Activation, FrozenMlp, Mlp, MlpSettings, Objective, Pairs, TrainableNetwork, TrainingReport,
    TrainingSettings, train,
};

/// The shape and the training of a surrogate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SurrogateSettings {
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// The activation after each hidden layer.
    pub activation: Activation,
    /// Whether each hidden layer is batch-normalised.
    pub batch_norm: bool,
    /// How the network is trained.
    pub training: TrainingSettings,
}

impl Default for SurrogateSettings {
    /// The paper's four layers of 500 with batch normalisation and ReLU, trained as Table 6 says.
    fn default() -> Self {
        Self {
            hidden: vec![500; 4],
            activation: Activation::Relu,
            batch_norm: true,
            training: TrainingSettings::default(),
        }
    }
}

/// A fitted surrogate, y ≈ f̂(x).
///
/// ```
/// use inverse_core::{BoxPrior, Dataset, FitContext, FnSimulator, RandomStreams, SimulatedTask};
/// use inverse_models::{Surrogate, SurrogateSettings};
///
/// let parabola = FnSimulator::new(1, 1, |x, y| y[0] = x[0] * x[0])?;
/// let task = SimulatedTask::new("parabola", parabola, BoxPrior::new(&[-1.0], &[1.0])?)?;
/// let data = Dataset::from_task(&task, 500, &mut RandomStreams::new(0).stream("data", 0))?;
/// let mut settings = SurrogateSettings { hidden: vec![32, 32], ..Default::default() };
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
        settings: &SurrogateSettings,
        data: &Dataset,
        context: &mut FitContext<'_>,
    ) -> Result<Self, FitError> {
        settings.training.validate()?;
        let shape = settings.shape(data.x().ncols(), data.y().ncols());
        shape.validate()?;
        let device = open_device(context.device())?;
        let mut split = context.streams().stream("surrogate validation split", 0);
        let (training, validation) = data
            .split(settings.training.validation_share, &mut split)
            .map_err(|_| InvalidArgument::new("data", "at least two pairs", data.len()))?;
        let (x, y) = (Standardizer::fit(training.x())?, Standardizer::fit(training.y())?);
        let pairs = |data: &Dataset| -> Result<Pairs, FitError> {
            let (x, y) = (x.transform(data.x())?, y.transform(data.y())?);
            Ok(Pairs {
                x: tensor(x.view(), &device).map_err(backend)?,
                y: tensor(y.view(), &device).map_err(backend)?,
            })
        };
        let (training_pairs, validation_pairs) = (pairs(&training)?, pairs(&validation)?);
        let mut weights = context.streams().stream("surrogate weights", 0);
        let network = Mlp::new(&shape, &device, &mut weights).map_err(backend)?;
        let objective = Regression { network };
        let identity = format!("{settings:?} {}", data.content_hash());
        let report =
            train(&objective, &training_pairs, &validation_pairs, &settings.training, &identity, context)?;
        let network = objective.network.freeze().map_err(backend)?;
        Ok(Self { network, device, x, y, report, parameter_count: shape.parameter_count() })
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

impl SurrogateSettings {
    pub(crate) fn shape(&self, inputs: usize, outputs: usize) -> MlpSettings {
        MlpSettings {
            inputs,
            hidden: self.hidden.clone(),
            outputs,
            activation: self.activation,
            batch_norm: self.batch_norm,
        }
    }
}

/// Mean squared error of the forward network.
struct Regression {
    network: Mlp,
}

impl Objective for Regression {
    fn stage(&self) -> &'static str {
        "surrogate"
    }

    fn network(&self) -> &dyn TrainableNetwork {
        &self.network
    }

    fn training_loss(&self, batch: &Pairs) -> candle_core::Result<Tensor> {
        (self.network.forward(&batch.x)? - &batch.y)?.sqr()?.mean_all()
    }

    fn validation_loss(&self, pairs: &Pairs) -> candle_core::Result<f64> {
        let y = self.network.freeze()?.forward(&pairs.x)?;
        (y - &pairs.y)?.sqr()?.mean_all()?.to_scalar::<f32>().map(f64::from)
    }
}

/// A matrix of f64 as a tensor of f32.
pub(crate) fn tensor(
    matrix: ArrayView2<'_, f64>,
    device: &candle_core::Device,
) -> candle_core::Result<Tensor> {
    let values: Vec<f32> = matrix.iter().map(|value| *value as f32).collect();
    Tensor::from_vec(values, matrix.dim(), device)
}

/// A tensor of two axes as a matrix of f64.
pub(crate) fn array(tensor: &Tensor) -> candle_core::Result<Array2<f64>> {
    let shape = tensor.dims2()?;
    let values = tensor.flatten_all()?.to_vec1::<f32>()?;
    Array2::from_shape_vec(shape, values.into_iter().map(f64::from).collect())
        .map_err(candle_core::Error::wrap)
}
