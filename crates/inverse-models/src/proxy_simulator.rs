//! A proxy simulator: an ensemble of networks that stands where a slow simulator stood.

use candle_core::Tensor;
use half::f16;
use inverse_core::{
    DifferentiableSimulator, FitError, InvalidArgument, SimulationError, Simulator, Standardizer,
    check_designs, check_matrix,
};
use ndarray::{Array2, Array3, ArrayView2, Axis, s};
use serde::{Deserialize, Serialize};

use crate::network_jacobian::network_jacobian;
use crate::nn::{FrozenMlp, MlpSettings, TrainingReport};
use crate::standardized_data::{array, tensor};
use crate::tensor_file::Precision;

/// Designs that are evaluated at once: it bounds the memory.
const GROUP_ROWS: usize = 1 << 13;

/// Mean squared errors over all test pairs and measurements, in the simulator's own units of y, squared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyErrors {
    /// Of the ensemble's mean: what the proxy returns.
    pub ensemble: f64,
    /// Of each network by itself.
    pub members: Vec<f64>,
}

/// How a proxy was made, and how far it is from its simulator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyReport {
    /// Designs that the simulator evaluated and the proxy was made from.
    pub designs: usize,
    /// Designs that it could not evaluate (rows of NaN); they are in none of the other counts.
    pub dropped: usize,
    /// Pairs that members were trained and validated on, symmetric copies included.
    pub training_pairs: usize,
    /// Pairs held out from all members, symmetric copies included; no copy of theirs was trained on.
    pub test_pairs: usize,
    /// Variance of y over the test pairs, mean over measurements: the error of a constant.
    pub test_variance: f64,
    /// Errors on the test pairs.
    pub test_errors: ProxyErrors,
    /// The same with weights of half precision.
    pub half_precision_test_errors: ProxyErrors,
    /// Root of the ensemble's mean squared error in each measured variable, on the test pairs, (`dim_y`), in the simulator's own units
    /// of y: what [`GaussianNoise::with_error`](inverse_core::GaussianNoise::with_error) takes. At single precision; none in files of earlier versions.
    #[serde(default)]
    pub test_deviations: Vec<f64>,
    /// How each member's training went; losses are those of standardised y.
    pub training: Vec<TrainingReport>,
}

/// An ensemble's mean as a simulator.
///
/// It is made by a [`ProxyRecipe`](crate::ProxyRecipe), read from a file, or imported from PyTorch. Rows are
/// evaluated in parallel; a row's result depends neither on the number of threads nor on the rows beside it.
///
/// Far from the designs it was trained on, a proxy's answer is an extrapolation: it has no way to say NaN.
#[derive(Debug, Clone)]
pub struct ProxySimulator {
    pub(crate) networks: Vec<FrozenMlp>,
    /// The shape of each network.
    pub(crate) shapes: Vec<MlpSettings>,
    pub(crate) x: Standardizer,
    pub(crate) y: Standardizer,
    pub(crate) device: candle_core::Device,
    pub(crate) precision: Precision,
    pub(crate) report: Option<ProxyReport>,
}

impl ProxySimulator {
    /// Number of networks.
    pub fn member_count(&self) -> usize {
        self.networks.len()
    }

    /// Weights and biases of all networks, as they are kept in a file.
    pub fn weight_count(&self) -> usize {
        self.networks.iter().map(FrozenMlp::parameter_count).sum()
    }

    /// The precision that the weights have.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// How the proxy was made; none for an imported one.
    pub fn report(&self) -> Option<&ProxyReport> {
        self.report.as_ref()
    }

    /// The errors that were measured against the simulator, at the precision that the weights have.
    pub fn test_errors(&self) -> Option<&ProxyErrors> {
        self.report.as_ref().map(|report| match self.precision {
            Precision::Single => &report.test_errors,
            Precision::Half => &report.half_precision_test_errors,
        })
    }

    /// Measures the proxy against known pairs.
    ///
    /// * `x`: designs, (n, `dim_x`), n at least 1; `y`: their measurements, (n, `dim_y`)
    ///
    /// # Errors
    /// [`SimulationError`] where an array has another shape or is not finite, or the device fails.
    pub fn errors(
        &self,
        x: ArrayView2<'_, f64>,
        y: ArrayView2<'_, f64>,
    ) -> Result<ProxyErrors, SimulationError> {
        check_designs(x, self.dim_x())?;
        check_matrix("y", y, self.dim_y())?;
        if x.nrows() != y.nrows() || x.nrows() == 0 {
            let expected = format!("{} rows, at least one", x.nrows());
            return Err(InvalidArgument::new("y", expected, format!("{} rows", y.nrows())).into());
        }
        let mut members = vec![0.0; self.networks.len()];
        let mut ensemble = 0.0;
        for (x, y) in x.axis_chunks_iter(Axis(0), GROUP_ROWS).zip(y.axis_chunks_iter(Axis(0), GROUP_ROWS)) {
            let predictions = self.members(x)?;
            for (sum, prediction) in members.iter_mut().zip(&predictions) {
                *sum += squared_distance(self.y.inverse(prediction.view())?.view(), y);
            }
            ensemble += squared_distance(self.y.inverse(mean(&predictions).view())?.view(), y);
        }
        let count = y.len() as f64;
        for sum in &mut members {
            *sum /= count;
        }
        Ok(ProxyErrors { ensemble: ensemble / count, members })
    }

    /// The same proxy with every weight rounded to half precision.
    ///
    /// # Errors
    /// [`FitError::InvalidArgument`] where a weight is beyond ±65,504, the largest half; [`FitError::Backend`]
    /// where the device fails.
    pub fn to_half_precision(&self) -> Result<Self, FitError> {
        let round = |values: &[f32]| -> Result<Vec<f32>, InvalidArgument> {
            let rounded: Vec<f32> = values.iter().map(|value| f16::from_f32(*value).to_f32()).collect();
            match rounded.iter().zip(values).find(|(rounded, _)| !rounded.is_finite()) {
                Some((_, value)) => Err(InvalidArgument::new("weight", "at most 65504 in magnitude", value)),
                None => Ok(rounded),
            }
        };
        let mut networks = Vec::new();
        for (network, shape) in self.networks.iter().zip(&self.shapes) {
            let mut layers = Vec::new();
            for (weight, bias) in network.layers().map_err(crate::device::backend)? {
                layers.push((round(weight)?, round(bias)?));
            }
            let network = FrozenMlp::from_layers(layers, shape.activation, &self.device);
            networks.push(network.map_err(crate::device::backend)?);
        }
        Ok(Self { networks, precision: Precision::Half, ..self.clone() })
    }

    /// Each network's standardised output for designs in the simulator's units.
    fn members(&self, x: ArrayView2<'_, f64>) -> Result<Vec<Array2<f64>>, SimulationError> {
        let x = self.inputs(x)?;
        self.networks
            .iter()
            .map(|network| network.forward(&x).and_then(|y| array(&y)).map_err(failed))
            .collect()
    }

    fn inputs(&self, x: ArrayView2<'_, f64>) -> Result<Tensor, SimulationError> {
        tensor(self.x.transform(x)?.view(), &self.device).map_err(failed)
    }
}

impl Simulator for ProxySimulator {
    fn dim_x(&self) -> usize {
        self.x.width()
    }

    fn dim_y(&self) -> usize {
        self.y.width()
    }

    fn simulate(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>, SimulationError> {
        check_designs(x, self.dim_x())?;
        let mut y = Array2::zeros((x.nrows(), self.dim_y()));
        let groups = y.axis_chunks_iter_mut(Axis(0), GROUP_ROWS).zip(x.axis_chunks_iter(Axis(0), GROUP_ROWS));
        for (mut y, x) in groups {
            y.assign(&self.y.inverse(mean(&self.members(x)?).view())?);
        }
        Ok(y)
    }
}

impl DifferentiableSimulator for ProxySimulator {
    /// The exact derivative of the networks, by forward differentiation in `f32`.
    fn jacobian(&self, x: ArrayView2<'_, f64>) -> Result<Array3<f64>, SimulationError> {
        check_designs(x, self.dim_x())?;
        let (dim_x, dim_y) = (self.dim_x(), self.dim_y());
        let mut jacobian = Array3::zeros((x.nrows(), dim_y, dim_x));
        let rows = (GROUP_ROWS / dim_x).max(1);
        for (group, x) in x.axis_chunks_iter(Axis(0), rows).enumerate() {
            let inputs = self.inputs(x)?;
            let end = group * rows + x.nrows();
            let mut part = jacobian.slice_mut(s![group * rows..end, .., ..]);
            for network in &self.networks {
                part += &network_jacobian(network, &inputs).map_err(failed)?;
            }
        }
        let count = self.networks.len() as f64;
        for ((_, row, column), value) in jacobian.indexed_iter_mut() {
            *value *= self.y.scale()[row] / self.x.scale()[column] / count;
        }
        Ok(jacobian)
    }
}

fn failed(error: candle_core::Error) -> SimulationError {
    SimulationError::Failed(Box::new(error))
}

/// The mean of the members' outputs; sums run in the members' order.
fn mean(predictions: &[Array2<f64>]) -> Array2<f64> {
    let mut sum = predictions.first().cloned().unwrap_or_default();
    for prediction in predictions.iter().skip(1) {
        sum += prediction;
    }
    sum / predictions.len().max(1) as f64
}

fn squared_distance(a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}
