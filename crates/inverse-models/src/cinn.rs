//! The conditional invertible neural network (section 4, eq. 9; section 8.5.3, eq. 14).
//!
//! A bijection between designs and a latent of equal width, x ↔ z, whose coupling blocks see the measurement:
//!
//! ```text
//! L = ½ z² − log |det ∂z/∂x|
//! ```
//!
//! the negative log-likelihood of x given y up to a constant. To invert, z is drawn from N(0, 1) and the
//! network runs backwards under the target. The coupling is affine as in the paper, or a rational-quadratic
//! spline (Durkan et al. 2019), which bends densities that an affine coupling can only stretch.

use std::path::Path;

use candle_core::{DType, Tensor};
use inverse_core::{
    Dataset, Device, FitContext, FitError, InvalidArgument, InverseModel, Method, Proposals, ProposeError,
    Stream,
};
use ndarray::{Array1, ArrayView2};
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::device::backend;
use crate::fitted::{Fitted, check_positive};
use crate::latent_sampling::LatentSampler;
use crate::log_density::{LOG_ROOT_TWO_PI, log_density};
use crate::nn::{
    Activation, ConditionRows, Coupling, Flow, FlowSettings, FrozenMlp, LossGradients, Mlp, Objective, Pairs,
    Schedule, TrainableNetwork, TrainingReport, TrainingSettings, Updates, host_scalar, train, values,
};
use crate::presets::{
    PresetMethod, Source, authors_training, cosine_training, posterior_training, tuned_relabelling,
    unreleased,
};
use crate::registry::LoadableMethod;
use crate::relabelling::{Relabeller, Relabelling};
use crate::saved_model::{self, ModelFile, SavedModel};
use crate::standardized_data::StandardizedData;
use crate::tensor_file::{ModelFileError, NamedTensors};

/// Settings of the conditional invertible neural network.
///
/// ```
/// use inverse_core::{BoxPrior, Dataset, FitContext, FnSimulator, InverseModel, Method, RandomStreams, SimulatedTask};
/// use inverse_models::{ConditionalInvertibleNetwork, presets::{PresetMethod, Source}};
///
/// let sum = FnSimulator::new(2, 1, |x, y| y[0] = x[0] + x[1])?;
/// let task = SimulatedTask::new("sum", sum, BoxPrior::new(&[-1.0; 2], &[1.0; 2])?)?;
/// let streams = RandomStreams::new(0);
/// let data = Dataset::from_task(&task, 400, &mut streams.stream("data", 0))?;
/// let method = ConditionalInvertibleNetwork::preset("sum", Source::Quick)?;
/// let model = method.fit(&data, &mut FitContext::new(0))?;
/// let target = ndarray::array![[0.5]];
/// let proposals = model.propose(target.view(), 20, &mut streams.stream("propose", 0))?;
/// assert_eq!(proposals.count(), 20);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConditionalInvertibleNetwork {
    /// The coupling blocks.
    pub flow: FlowSettings,
    /// Standard deviation of z in inference: 1 samples what was learnt, less keeps to where it is likely
    /// (Kingma and Dhariwal 2018).
    pub temperature: f64,
    /// How the flow is trained.
    pub training: TrainingSettings,
    /// Renews the training pairs by a surrogate; the paper's pairs as they are, where `None`.
    pub relabelling: Option<Relabelling>,
}

impl ConditionalInvertibleNetwork {
    /// Settings for posteriors of noisy measurements, whatever the number of pairs: narrow splines that train until the held-out
    /// likelihood stays.
    ///
    /// With few pairs a [`DensityEnsemble`](crate::DensityEnsemble) of these is the better model.
    ///
    /// ```
    /// use inverse_models::{ConditionalInvertibleNetwork, DensityEnsemble};
    ///
    /// let method = DensityEnsemble { method: ConditionalInvertibleNetwork::for_posteriors(), members: 5 };
    /// assert_eq!(method.method.flow.hidden, [64, 64]);
    /// ```
    pub fn for_posteriors() -> Self {
        Self {
            flow: FlowSettings {
                blocks: 8,
                hidden: vec![64; 2],
                activation: Activation::Silu,
                coupling: Coupling::Spline { bins: 8, bound: 5.0 },
            },
            temperature: 1.0,
            training: posterior_training(2e-3),
            relabelling: None,
        }
    }

    fn validate(&self) -> Result<(), InvalidArgument> {
        check_positive("temperature", self.temperature)?;
        self.relabelling.iter().try_for_each(Relabelling::validate)?;
        self.training.validate()
    }
}

impl PresetMethod for ConditionalInvertibleNetwork {
    const NAME: &'static str = "cinn";
    const LABEL: &'static str = "cINN";

    fn preset(task: &str, source: Source) -> Result<Self, InvalidArgument> {
        match source {
            Source::Authors => authors_preset(task),
            Source::Tuned => Ok(tuned_preset(task)),
            Source::Quick => Ok(Self {
                flow: FlowSettings { blocks: 4, hidden: vec![48; 2], ..FlowSettings::default() },
                temperature: 1.0,
                training: cosine_training(15, 128, 2e-3),
                relabelling: None,
            }),
        }
    }

    fn parameter_count(&self, dim_x: usize, dim_y: usize) -> usize {
        self.flow.parameter_count(dim_x, dim_y)
    }
}

/// Splines in six blocks, also for D2: they bend more than the ten affine blocks of the paper.
///
/// Subnets stay below the paper's size: a spline has more outputs than an affine coupling, so 480 a layer. On D2
/// narrow subnets leave room for many more steps.
fn tuned_preset(task: &str) -> ConditionalInvertibleNetwork {
    let (hidden, training) = match task {
        "sine-wave" => (vec![192; 2], cosine_training(80, 128, 1.5e-3)),
        _ => (vec![480; 2], cosine_training(40, 256, 1e-3)),
    };
    ConditionalInvertibleNetwork {
        flow: FlowSettings {
            hidden,
            activation: Activation::Silu,
            coupling: Coupling::Spline { bins: 8, bound: 5.0 },
            ..FlowSettings::default()
        },
        temperature: 1.0,
        training,
        relabelling: tuned_relabelling(task),
    }
}

fn authors_preset(task: &str) -> Result<ConditionalInvertibleNetwork, InvalidArgument> {
    let (blocks, l2, factor, batch_size) = match task {
        "ballistics" => (6, 2e-5, 0.5, 1024),
        "sine-wave" => (10, 2e-5, 0.5, 1024),
        "robotic-arm" => (6, 5e-3, 0.9, 256),
        "metamaterial" => (14, 2e-5, 0.5, 1024),
        _ => return Err(unreleased(task)),
    };
    Ok(ConditionalInvertibleNetwork {
        flow: FlowSettings { blocks, ..FlowSettings::default() },
        temperature: 1.0,
        training: TrainingSettings {
            batch_size,
            schedule: Schedule::Plateau { factor, patience: 20, lowest: 1e-6 },
            gradient_limit: Some(15.0),
            ..authors_training(1e-3, l2, factor)
        },
        relabelling: None,
    })
}

impl Method for ConditionalInvertibleNetwork {
    type Model = ConditionalInvertibleNetworkModel;

    fn fit(&self, data: &Dataset, context: &mut FitContext<'_>) -> Result<Self::Model, FitError> {
        self.validate()?;
        let (dim_x, dim_y) = (data.x().ncols(), data.y().ncols());
        self.flow.validate(dim_x, dim_y)?;
        let pairs = StandardizedData::new(data, self.training.validation_share, context)?;
        let hash = data.content_hash();
        let relabeller = Relabeller::fit(self.relabelling.as_ref(), &pairs, &hash, context)?;
        let mut stream = context.streams().stream("cinn weights", 0);
        let flow = Flow::new(&self.flow, dim_x, dim_y, &pairs.device, &mut stream).map_err(backend)?;
        let objective = Likelihood { flow, relabeller };
        let identity = format!("{self:?} {hash}");
        let report =
            train(&objective, &pairs.training, &pairs.validation, &self.training, &identity, context)?;
        let flow = objective.flow.freeze().map_err(backend)?;
        let fitted = Fitted::new(self, data, &pairs, report);
        Ok(ConditionalInvertibleNetworkModel { fitted, flow, device: pairs.device })
    }
}

/// Eq. 14.
struct Likelihood {
    flow: Flow<Mlp>,
    relabeller: Relabeller,
}

fn loss((z, log_determinant): (Tensor, Tensor)) -> candle_core::Result<Tensor> {
    ((z.sqr()?.sum(1)? * 0.5)? - log_determinant)?.mean_all()?.to_dtype(DType::F32)
}

impl Objective for Likelihood {
    fn stage(&self) -> &'static str {
        "conditional invertible network"
    }

    fn networks(&self) -> Vec<&dyn TrainableNetwork> {
        self.flow.networks()
    }

    fn training_loss(&self, batch: &Pairs, noise: &mut Stream) -> candle_core::Result<Tensor> {
        let pairs = self.relabeller.renew(batch, noise)?;
        loss(self.flow.forward(&pairs.x, Some(&pairs.y))?)
    }

    fn step(
        &self,
        batch: &Pairs,
        noise: &mut Stream,
        updates: &mut Updates<'_>,
    ) -> candle_core::Result<Tensor> {
        if !batch.x.device().is_cpu() {
            return updates.apply_all(LossGradients::by_candle(self, batch, noise)?);
        }
        let pairs = self.relabeller.renew(batch, noise)?;
        let rows = pairs.x.dim(0)?;
        let x = values(&pairs.x)?.into_iter().map(f64::from).collect();
        let condition = ConditionRows::new(rows, Some(&pairs.y))?;
        let loss = |z: &mut [f64], log: &[f64]| {
            let loss = 0.5 * z.iter().map(|z| z * z).sum::<f64>() - log.iter().sum::<f64>();
            for z in z {
                *z /= rows as f64;
            }
            loss / rows as f64
        };
        host_scalar(self.flow.host_step(x, rows, condition.as_condition(), loss, updates)?)
    }

    fn validation_loss(&self, pairs: &Pairs, _noise: &mut Stream) -> candle_core::Result<f64> {
        let of_row: Vec<usize> = (0..pairs.x.dim(0)?).collect();
        loss(self.flow.freeze()?.apply(&pairs.x, Some((&pairs.y, &of_row)))?)?
            .to_scalar::<f32>()
            .map(f64::from)
    }
}

/// A fitted conditional invertible neural network.
#[derive(Debug, Clone)]
pub struct ConditionalInvertibleNetworkModel {
    fitted: Fitted<ConditionalInvertibleNetwork>,
    flow: Flow<FrozenMlp>,
    device: candle_core::Device,
}

impl ConditionalInvertibleNetworkModel {
    /// The same flow with another standard deviation of z in inference. Nothing is trained.
    ///
    /// # Errors
    /// [`InvalidArgument`] where the temperature is not a positive number.
    pub fn with_temperature(&self, temperature: f64) -> Result<Self, InvalidArgument> {
        check_positive("temperature", temperature)?;
        let mut model = self.clone();
        model.fitted.settings.temperature = temperature;
        Ok(model)
    }

    /// The settings it was fitted with.
    pub fn settings(&self) -> &ConditionalInvertibleNetwork {
        &self.fitted.settings
    }

    /// Loads a cINN; [`load`](crate::load) loads any model.
    ///
    /// # Errors
    /// As [`load`](crate::load); also where the folder holds a model of another method.
    pub fn load(folder: &Path, device: Device) -> Result<Self, ModelFileError> {
        saved_model::load_as::<ConditionalInvertibleNetwork>(folder, device)
    }
}

impl InverseModel for ConditionalInvertibleNetworkModel {
    fn name(&self) -> &'static str {
        ConditionalInvertibleNetwork::LABEL
    }

    fn dim_x(&self) -> usize {
        self.fitted.x.width()
    }

    fn dim_y(&self) -> usize {
        self.fitted.y.width()
    }

    fn parameter_count(&self) -> usize {
        self.settings().parameter_count(self.dim_x(), self.dim_y())
    }

    fn propose(
        &self,
        y: ArrayView2<'_, f64>,
        n: usize,
        rng: &mut dyn Rng,
    ) -> Result<Proposals, ProposeError> {
        let Fitted { x, y: y_units, range, settings, .. } = &self.fitted;
        let sampler = LatentSampler { x, y: y_units, range, device: &self.device, latent: self.dim_x() };
        sampler.propose(y, n, rng, |draws, targets| {
            let z = (draws * settings.temperature)?;
            self.flow.invert(&z, Some((&targets.distinct, &targets.of_row)))?.to_dtype(DType::F32)
        })
    }

    fn log_density(
        &self,
        x: ArrayView2<'_, f64>,
        y: ArrayView2<'_, f64>,
    ) -> Result<Option<Array1<f64>>, ProposeError> {
        let temperature = self.fitted.settings.temperature;
        let constant = self.dim_x() as f64 * (LOG_ROOT_TWO_PI + temperature.ln());
        log_density(&self.fitted, &self.device, x, y, |x, targets| {
            let designs = Tensor::from_vec(x.iter().copied().collect::<Vec<_>>(), x.dim(), &self.device)?;
            let (z, log_determinant) =
                self.flow.apply(&designs, Some((&targets.distinct, &targets.of_row)))?;
            let squares = (z / temperature)?.sqr()?.sum(1)?;
            ((log_determinant - (squares * 0.5)?)? - constant)?.to_vec1()
        })
    }
}

impl SavedModel for ConditionalInvertibleNetworkModel {
    fn save(&self, folder: &Path) -> Result<(), ModelFileError> {
        let mut tensors = NamedTensors::new();
        self.flow.insert(&mut tensors)?;
        saved_model::save(folder, ConditionalInvertibleNetwork::NAME, &self.fitted, &tensors)
    }

    fn training_reports(&self) -> Vec<(&'static str, &TrainingReport)> {
        vec![("conditional invertible network", &self.fitted.training)]
    }
}

impl LoadableMethod for ConditionalInvertibleNetwork {
    fn load(mut file: ModelFile) -> Result<ConditionalInvertibleNetworkModel, ModelFileError> {
        let fitted = Fitted::from_file(&file, ConditionalInvertibleNetwork::validate)?;
        let (dim_x, dim_y) = (fitted.x.width(), fitted.y.width());
        let flow = Flow::from_file(&mut file, &fitted.settings.flow, dim_x, dim_y)?;
        Ok(ConditionalInvertibleNetworkModel { fitted, flow, device: file.device.clone() })
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;
    use candle_core::Device;
    use inverse_core::RandomStreams;

    use super::*;
    use crate::gradient_check::{check_gradient, random_pairs};

    #[test]
    fn a_trained_flow_is_undone_far_outside_its_data() {
        let pairs = random_pairs(400, 3, 2);
        for coupling in [Coupling::default(), Coupling::Spline { bins: 6, bound: 5.0 }] {
            let settings = FlowSettings { hidden: vec![32; 2], coupling, ..FlowSettings::default() };
            let mut stream = RandomStreams::new(2).stream("weights", 0);
            let flow = Flow::new(&settings, 3, 2, &Device::Cpu, &mut stream).unwrap();
            let objective = Likelihood { flow, relabeller: Relabeller::none() };
            let training = cosine_training(20, 50, 1e-3);
            train(&objective, &pairs, &pairs, &training, "test", &mut FitContext::new(1)).unwrap();
            let flow = objective.flow.freeze().unwrap();
            // Ten deviations: the data lie within four.
            let (x, y) = ((&pairs.x * 10.0).unwrap(), (&pairs.y * 10.0).unwrap());
            let (z, _) = flow.forward(&x, Some(&y)).unwrap();
            let back = flow.inverse(&z, Some(&y)).unwrap();
            let error = (back - x.to_dtype(DType::F64).unwrap()).unwrap().abs().unwrap();
            let error = error.max_all().unwrap().to_scalar::<f64>().unwrap();
            assert!(error < 1e-4, "{coupling:?}: {error}");
        }
    }

    #[test]
    fn the_gradient_matches_finite_differences() {
        for coupling in [Coupling::default(), Coupling::Spline { bins: 4, bound: 3.0 }] {
            let activation = Activation::Silu;
            let settings = FlowSettings { blocks: 2, hidden: vec![8], activation, coupling };
            let mut stream = RandomStreams::new(1).stream("weights", 0);
            let flow = Flow::new(&settings, 3, 2, &Device::Cpu, &mut stream).unwrap();
            let objective = Likelihood { flow, relabeller: Relabeller::none() };
            check_gradient(&objective, &random_pairs(40, 3, 2));
        }
    }

    #[test]
    fn authors_settings_have_the_parameters_of_table_8() {
        // Table 8 prints 3.2, 5.3 and 3.2 million.
        for (task, dim_x, dim_y, printed) in
            [("ballistics", 4, 1, 3.2), ("sine-wave", 2, 1, 5.3), ("robotic-arm", 4, 2, 3.2)]
        {
            let settings = ConditionalInvertibleNetwork::preset(task, Source::Authors).unwrap();
            let count = settings.parameter_count(dim_x, dim_y);
            assert_relative_eq!(count as f64 / 1e6, printed, epsilon = 0.05);
        }
    }
}
