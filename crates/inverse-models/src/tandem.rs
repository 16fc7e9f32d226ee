//! The tandem model (section 4, eq. 10): an inverse network trained through a frozen forward network.
//!
//! A surrogate f̂ is trained first and fixed. An inverse network f̂⁻¹ is put before it and trained end to end,
//!
//! ```text
//! L = (f̂(f̂⁻¹(y)) − y)² + λ Σ_i ReLU(|x̂_i − μ_i| − R_i / 2)        (eq. 10, with eq. 5 as L_bnd)
//! ```
//!
//! so it need only find one of the designs that give y, and averages none. It is deterministic: it returns
//! one design for a target, however many are asked for, and its r_T does not fall with T.

use std::path::Path;

use candle_core::Tensor;
use inverse_core::{
    Dataset, Device, FitContext, FitError, InvalidArgument, InverseModel, Method, Proposals, ProposeError,
    Stream,
};
use ndarray::ArrayView2;
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::boundary_loss::BoundaryLoss;
use crate::deterministic_proposals::propose_one;
use crate::device::backend;
use crate::fitted::check_not_negative;
use crate::nn::{
    Convolutions, FrozenMlp, HostStep, LossGradients, Network, Objective, Pairs, TrainableNetwork,
    TrainingReport, TrainingSettings, train, values,
};
use crate::presets::{
    PresetMethod, Source, authors_training, smooth_regression, surrogate_widths, unreleased,
};
use crate::registry::LoadableMethod;
use crate::regression_network::RegressionNetwork;
use crate::saved_model::{self, ModelFile, SavedModel, insert_network};
use crate::standardized_data::StandardizedData;
use crate::surrogate::{PREFIX, RegressionSettings, Surrogate, SurrogateDescription};
use crate::tensor_file::{ModelFileError, NamedTensors};

/// Settings of the tandem model.
///
/// ```
/// use inverse_core::{BoxPrior, Dataset, FitContext, FnSimulator, InverseModel, Method, RandomStreams, SimulatedTask};
/// use inverse_models::{Tandem, presets::{PresetMethod, Source}};
///
/// let parabola = FnSimulator::new(1, 1, |x, y| y[0] = x[0] * x[0])?;
/// let task = SimulatedTask::new("parabola", parabola, BoxPrior::new(&[-1.0], &[1.0])?)?;
/// let streams = RandomStreams::new(0);
/// let data = Dataset::from_task(&task, 2000, &mut streams.stream("data", 0))?;
/// let method = Tandem::preset("parabola", Source::Quick)?;
/// let model = method.fit(&data, &mut FitContext::new(0))?;
/// let target = ndarray::array![[0.25]];
/// let proposals = model.propose(target.view(), 1, &mut streams.stream("propose", 0))?;
/// assert!((proposals.designs()[[0, 0, 0]].abs() - 0.5).abs() < 0.1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tandem {
    /// The forward network f̂.
    pub surrogate: RegressionSettings,
    /// The inverse network f̂⁻¹; it holds out the same pairs as the forward network.
    pub inverse: RegressionSettings,
    /// λ, in standardised units; 0 leaves the boundary loss out (section 8.4).
    pub boundary_weight: f64,
}

impl Tandem {
    fn validate(&self) -> Result<(), InvalidArgument> {
        check_not_negative("boundary_weight", self.boundary_weight)?;
        self.surrogate.training.validate()?;
        self.inverse.training.validate()
    }
}

impl PresetMethod for Tandem {
    const NAME: &'static str = "tandem";
    const LABEL: &'static str = "Tandem";

    fn preset(task: &str, source: Source) -> Result<Self, InvalidArgument> {
        match source {
            Source::Authors => authors_preset(task),
            Source::Tuned => Ok(tuned_preset(task)),
            Source::Quick => Ok(Self {
                surrogate: smooth_regression(vec![128; 3], 40),
                inverse: smooth_regression(vec![64; 3], 30),
                boundary_weight: 1.0,
            }),
        }
    }

    fn parameter_count(&self, dim_x: usize, dim_y: usize) -> usize {
        let inverse = self.inverse.parameter_count(dim_y, dim_x);
        self.surrogate.parameter_count(dim_x, dim_y).saturating_add(inverse)
    }
}

/// The authors' widths, trained as [`smooth_regression`] trains.
fn tuned_preset(task: &str) -> Tandem {
    // These priors have no ends: targets of their tails need designs a little outside eq. 5's interval, and a full
    // weight misses them by what it keeps back.
    let boundary_weight = if matches!(task, "ballistics" | "robotic-arm") { 0.1 } else { 1.0 };
    let (forward, inverse) = match task {
        "robotic-arm" => (vec![300; 2], vec![500; 3]),
        _ => (surrogate_widths(task), vec![500; 4]),
    };
    Tandem {
        surrogate: smooth_regression(forward, 60),
        inverse: smooth_regression(inverse, 60),
        boundary_weight,
    }
}

fn authors_preset(task: &str) -> Result<Tandem, InvalidArgument> {
    let network = |hidden: Vec<usize>, training: &TrainingSettings| RegressionSettings {
        hidden,
        training: training.clone(),
        ..RegressionSettings::default()
    };
    let is_metamaterial = task == "metamaterial";
    let (forward, inverse, training) = match task {
        "ballistics" => {
            let training = TrainingSettings { batch_size: 256, ..authors_training(1e-2, 1e-3, 0.5) };
            (vec![500; 3], vec![500; 5], training)
        }
        "sine-wave" => (vec![500; 4], vec![500; 4], authors_training(1e-3, 5e-4, 0.5)),
        "robotic-arm" => (vec![300; 2], vec![500; 3], authors_training(1e-3, 1e-4, 0.5)),
        "metamaterial" => (vec![1000; 4], vec![250; 4], authors_training(1e-3, 5e-4, 0.5)),
        _ => return Err(unreleased(task)),
    };
    Ok(Tandem {
        surrogate: RegressionSettings {
            head: is_metamaterial.then(Convolutions::metamaterial_head),
            ..network(forward, &training)
        },
        inverse: RegressionSettings {
            encoder: is_metamaterial.then(Convolutions::metamaterial_encoder),
            ..network(inverse, &training)
        },
        boundary_weight: 1.0,
    })
}

impl Method for Tandem {
    type Model = TandemModel;

    fn fit(&self, data: &Dataset, context: &mut FitContext<'_>) -> Result<Self::Model, FitError> {
        self.validate()?;
        let (dim_x, dim_y) = (data.x().ncols(), data.y().ncols());
        self.surrogate.validate(dim_x, dim_y)?;
        self.inverse.validate(dim_y, dim_x)?;
        let pairs = StandardizedData::new(data, self.surrogate.training.validation_share, context)?;
        let hash = data.content_hash();
        let surrogate = Surrogate::fit_first(&self.surrogate, &pairs, &hash, context)?;
        let mut stream = context.streams().stream("tandem weights", 0);
        let inverse = RegressionNetwork::new(&self.inverse, dim_y, dim_x, &pairs.device, &mut stream);
        let objective = TandemLoss {
            inverse: inverse.map_err(backend)?,
            forward: surrogate.network().clone(),
            weights: surrogate.error_weights().0,
            boundary: BoundaryLoss::new(data.domain(), &surrogate.x),
            boundary_weight: self.boundary_weight,
        };
        let identity = format!("{self:?} {hash}");
        let report = train(
            &objective,
            &pairs.training,
            &pairs.validation,
            &self.inverse.training,
            &identity,
            context,
        )?;
        let inverse = objective.inverse.freeze().map_err(backend)?;
        Ok(TandemModel { settings: self.clone(), surrogate, inverse, report, dataset_hash: hash })
    }
}

/// Eq. 10: only measurements enter it; the designs of the pairs are not used.
struct TandemLoss {
    inverse: RegressionNetwork,
    forward: FrozenMlp,
    weights: Vec<f32>,
    boundary: BoundaryLoss,
    boundary_weight: f64,
}

impl TandemLoss {
    fn loss(&self, inverse: &impl Network, y: &Tensor) -> candle_core::Result<Tensor> {
        let x = inverse.forward(y)?;
        let weights = Tensor::new(self.weights.as_slice(), y.device())?;
        let error = (self.forward.forward(&x)? - y)?.sqr()?.broadcast_mul(&weights)?.sum(1)?;
        let boundary = (self.boundary.value(&x)? * self.boundary_weight)?;
        (error + boundary)?.mean_all()
    }
}

impl Objective for TandemLoss {
    fn stage(&self) -> &'static str {
        "inverse network"
    }

    fn networks(&self) -> Vec<&dyn TrainableNetwork> {
        self.inverse.networks()
    }

    fn training_loss(&self, batch: &Pairs, _noise: &mut Stream) -> candle_core::Result<Tensor> {
        self.loss(&self.inverse, &batch.y)
    }

    fn loss_gradients(&self, batch: &Pairs, noise: &mut Stream) -> candle_core::Result<LossGradients> {
        let stack = self.inverse.stack_alone().filter(|_| batch.y.device().is_cpu());
        let Some(stack) = stack else { return LossGradients::by_candle(self, batch, noise) };
        let y = values(&batch.y)?;
        let mut step = HostStep::new(stack)?;
        let designs = step.forward(&y)?;
        // One pass through the forward network gives error and gradient both.
        let shape = (batch.y.dim(0)?, self.forward.inputs());
        let designs = Tensor::from_vec(designs, shape, batch.y.device())?;
        let (error, error_gradient) = self.forward.error_and_gradient(&designs, &batch.y, &self.weights)?;
        let (boundary, boundary_gradient) = self.boundary.value_and_gradient(&designs)?;
        let loss = (error + (boundary * self.boundary_weight)?)?.mean_all()?;
        let gradient = (error_gradient + (boundary_gradient * self.boundary_weight)?)?;
        let gradient = values(&(gradient / shape.0 as f64)?)?;
        let (gradient, _) = step.backward(&gradient, false)?;
        Ok(LossGradients { loss, parameters: vec![Some(gradient)] })
    }

    fn validation_loss(&self, pairs: &Pairs, _noise: &mut Stream) -> candle_core::Result<f64> {
        self.loss(&self.inverse.freeze()?, &pairs.y)?.to_scalar::<f32>().map(f64::from)
    }
}

/// A fitted tandem model.
#[derive(Debug, Clone)]
pub struct TandemModel {
    settings: Tandem,
    surrogate: Surrogate,
    inverse: FrozenMlp,
    report: TrainingReport,
    dataset_hash: String,
}

impl TandemModel {
    /// The forward network.
    pub fn surrogate(&self) -> &Surrogate {
        &self.surrogate
    }

    /// The settings it was fitted with.
    pub fn settings(&self) -> &Tandem {
        &self.settings
    }

    /// Loads a tandem model; [`load`](crate::load) loads any model.
    ///
    /// # Errors
    /// As [`load`](crate::load); also where the folder holds a model of another method.
    pub fn load(folder: &Path, device: Device) -> Result<Self, ModelFileError> {
        saved_model::load_as::<Tandem>(folder, device)
    }
}

impl InverseModel for TandemModel {
    fn name(&self) -> &'static str {
        Tandem::LABEL
    }

    fn dim_x(&self) -> usize {
        self.surrogate.x.width()
    }

    fn dim_y(&self) -> usize {
        self.surrogate.y.width()
    }

    fn parameter_count(&self) -> usize {
        self.settings.parameter_count(self.dim_x(), self.dim_y())
    }

    fn propose(
        &self,
        y: ArrayView2<'_, f64>,
        n: usize,
        _rng: &mut dyn Rng,
    ) -> Result<Proposals, ProposeError> {
        let Surrogate { x, y: y_units, device, .. } = &self.surrogate;
        propose_one(&self.inverse, y_units, x, device, y, n)
    }
}

/// The method's part of a file's header.
#[derive(Serialize, Deserialize)]
struct Description {
    settings: Tandem,
    surrogate: SurrogateDescription,
    training: TrainingReport,
    dataset_hash: String,
}

impl SavedModel for TandemModel {
    fn save(&self, folder: &Path) -> Result<(), ModelFileError> {
        let mut tensors = NamedTensors::new();
        insert_network(&mut tensors, "inverse", &self.inverse)?;
        let description = Description {
            settings: self.settings.clone(),
            surrogate: self.surrogate.describe(&mut tensors, PREFIX)?,
            training: self.report.clone(),
            dataset_hash: self.dataset_hash.clone(),
        };
        saved_model::save(folder, Tandem::NAME, &description, &tensors)
    }

    fn training_reports(&self) -> Vec<(&'static str, &TrainingReport)> {
        vec![("surrogate", self.surrogate.report()), ("inverse network", &self.report)]
    }
}

impl LoadableMethod for Tandem {
    fn load(mut file: ModelFile) -> Result<TandemModel, ModelFileError> {
        let Description { settings, surrogate, training, dataset_hash } = file.description()?;
        settings.validate().map_err(|error| file.inconsistent(&error))?;
        let surrogate = Surrogate::from_file(&mut file, PREFIX, &settings.surrogate, surrogate)?;
        let shape = settings.inverse.shape(surrogate.y.width(), surrogate.x.width());
        let inverse = file.take_network("inverse", &shape)?;
        Ok(TandemModel { settings, surrogate, inverse, report: training, dataset_hash })
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use inverse_core::RandomStreams;

    use super::*;
    use crate::gradient_check::{check_gradient, random_pairs};
    use crate::nn::{Activation, Convolution};

    fn small(encoder: Option<Convolutions>, inputs: usize, outputs: usize) -> RegressionNetwork {
        let settings = RegressionSettings {
            hidden: vec![8; 2],
            activation: Activation::Silu,
            encoder,
            ..RegressionSettings::default()
        };
        let mut stream = RandomStreams::new(1).stream("weights", 0);
        RegressionNetwork::new(&settings, inputs, outputs, &Device::Cpu, &mut stream).unwrap()
    }

    fn loss(encoder: Option<Convolutions>, dim_y: usize) -> TandemLoss {
        TandemLoss {
            inverse: small(encoder, dim_y, 3),
            forward: small(None, 3, dim_y).freeze().unwrap(),
            weights: (0..dim_y).map(|index| 0.3 + 0.4 * index as f32).collect(),
            boundary: BoundaryLoss { center: vec![0.1, 0.0, -0.2], half_range: vec![0.05, 0.1, 0.02] },
            boundary_weight: 0.5,
        }
    }

    #[test]
    fn the_gradient_matches_finite_differences() {
        check_gradient(&loss(None, 2), &random_pairs(40, 3, 2));
    }

    #[test]
    fn the_gradient_of_an_encoder_matches_finite_differences() {
        let layers =
            vec![Convolution::plain(2, 3, 1), Convolution::plain(2, 4, 2), Convolution::pointwise(1)];
        let objective = loss(Some(Convolutions { width: 6, layers }), 6);
        assert_eq!(objective.networks().len(), 2);
        check_gradient(&objective, &random_pairs(40, 3, 6));
    }

    #[test]
    fn the_authors_network_for_d4_counts_as_in_table_8() {
        // The forward network is NA's, 3,170,359. 150-250×4-8: 37,750 + 3 · 62,750 + 2,008; normalisation 2,000;
        // convolutions 245. The paper prints 3.4 million.
        let settings = Tandem::preset("metamaterial", Source::Authors).unwrap();
        assert_eq!(settings.inverse.parameter_count(300, 8), 230_253);
        assert_eq!(settings.parameter_count(8, 300), 3_400_612);
    }
}
