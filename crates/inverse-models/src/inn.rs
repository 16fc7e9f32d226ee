//! The invertible neural network (section 4, eq. 8; section 8.5.2, eq. 13).
//!
//! One bijection turns a design into its measurement and a latent, x ↔ (ŷ, z), trained by maximum likelihood,
//!
//! ```text
//! L = ½ ((ŷ − y)² / σ² + z²) − log |det ∂(ŷ, z)/∂x|
//! ```
//!
//! where ŷ and z are the network's own outputs. To invert, z is drawn from N(0, 1) and the network runs
//! backwards from (y, z). Where the two sides differ in width, both are padded to one width: the design's
//! side by draws of N(0, s²), "zero padding with noise", the other side by outputs that are penalised
//! as such draws are likely, ½ p² / s².

mod likelihood;

use std::path::Path;

use candle_core::{DType, Tensor};
use inverse_core::{
    Dataset, Device, FitContext, FitError, InvalidArgument, InverseModel, Method, Proposals, ProposeError,
};
use ndarray::ArrayView2;
use rand::Rng;
use serde::{Deserialize, Serialize};

use self::likelihood::Likelihood;
use crate::device::backend;
use crate::fitted::{Fitted, check_count, check_not_negative, check_positive};
use crate::latent_sampling::LatentSampler;
use crate::nn::{
    Activation, Flow, FlowSettings, FrozenMlp, Schedule, TrainingReport, TrainingSettings, train,
};
use crate::presets::{
    PresetMethod, Source, authors_training, cosine_training, tuned_relabelling, unreleased,
};
use crate::registry::LoadableMethod;
use crate::relabelling::{Relabeller, Relabelling};
use crate::saved_model::{self, ModelFile, SavedModel};
use crate::standardized_data::StandardizedData;
use crate::tensor_file::{ModelFileError, NamedTensors};

/// No flow is wider; a mistyped width fails with a message.
const LARGEST_WIDTH: usize = 1 << 14;

/// Settings of the invertible neural network.
///
/// ```
/// use inverse_core::{BoxPrior, Dataset, FitContext, FnSimulator, InverseModel, Method, RandomStreams, SimulatedTask};
/// use inverse_models::{InvertibleNetwork, presets::{PresetMethod, Source}};
///
/// let sum = FnSimulator::new(2, 1, |x, y| y[0] = x[0] + x[1])?;
/// let task = SimulatedTask::new("sum", sum, BoxPrior::new(&[-1.0; 2], &[1.0; 2])?)?;
/// let streams = RandomStreams::new(0);
/// let data = Dataset::from_task(&task, 400, &mut streams.stream("data", 0))?;
/// let method = InvertibleNetwork::preset("sum", Source::Quick)?;
/// let model = method.fit(&data, &mut FitContext::new(0))?;
/// let target = ndarray::array![[0.5]];
/// let proposals = model.propose(target.view(), 20, &mut streams.stream("propose", 0))?;
/// assert_eq!(proposals.count(), 20);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InvertibleNetwork {
    /// The coupling blocks.
    pub flow: FlowSettings,
    /// Number of latent variables z; what x has more than y, but at least 1, where `None`.
    pub latent: Option<usize>,
    /// Width of both sides after padding; the wider side's, where `None`.
    pub width: Option<usize>,
    /// σ², the variance of the measurement's misfit, in standardised units.
    pub misfit_variance: f64,
    /// Standard deviation of the noise on the measurements in training, in standardised units.
    pub measurement_noise: f64,
    /// s, the standard deviation of the padding.
    pub padding_noise: f64,
    /// Standard deviation of z in inference: 1 samples what was learnt, less keeps to where it is likely
    /// (Kingma and Dhariwal 2018).
    pub temperature: f64,
    /// How the flow is trained.
    pub training: TrainingSettings,
    /// Renews the training pairs by a surrogate; the paper's pairs as they are, where `None`.
    pub relabelling: Option<Relabelling>,
}

/// Widths of the parts of both sides: x ⊕ padding and y ⊕ z ⊕ padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sides {
    x: usize,
    x_padding: usize,
    y: usize,
    z: usize,
    z_padding: usize,
}

impl Sides {
    fn width(&self) -> usize {
        self.x + self.x_padding
    }
}

impl InvertibleNetwork {
    fn validate(&self) -> Result<(), InvalidArgument> {
        if let Some(latent) = self.latent {
            check_count("latent", latent, LARGEST_WIDTH)?;
        }
        if let Some(width) = self.width {
            check_count("width", width, LARGEST_WIDTH)?;
        }
        check_positive("misfit_variance", self.misfit_variance)?;
        check_not_negative("measurement_noise", self.measurement_noise)?;
        check_positive("padding_noise", self.padding_noise)?;
        check_positive("temperature", self.temperature)?;
        self.relabelling.iter().try_for_each(Relabelling::validate)?;
        self.training.validate()
    }

    fn sides(&self, dim_x: usize, dim_y: usize) -> Result<Sides, InvalidArgument> {
        let z = self.latent.unwrap_or(dim_x.saturating_sub(dim_y).max(1));
        let right = dim_y
            .checked_add(z)
            .ok_or_else(|| InvalidArgument::new("latent", "a width that can be counted", z))?;
        let least = dim_x.max(right);
        let width = self.width.unwrap_or(least);
        if width < least {
            return Err(InvalidArgument::new("width", format!("at least {least}"), width));
        }
        let sides = Sides { x: dim_x, x_padding: width - dim_x, y: dim_y, z, z_padding: width - right };
        self.flow.validate(width, 0)?;
        Ok(sides)
    }
}

impl PresetMethod for InvertibleNetwork {
    const NAME: &'static str = "inn";
    const LABEL: &'static str = "INN";

    fn preset(task: &str, source: Source) -> Result<Self, InvalidArgument> {
        let authors = authors_preset(task);
        match source {
            Source::Authors => authors,
            Source::Tuned => Ok(tuned_preset(task, authors)),
            Source::Quick => Ok(Self {
                flow: FlowSettings { blocks: 4, hidden: vec![48; 2], ..FlowSettings::default() },
                training: cosine_training(15, 128, 2e-3),
                ..released(4, None, None, 0.0)
            }),
        }
    }

    fn parameter_count(&self, dim_x: usize, dim_y: usize) -> usize {
        self.sides(dim_x, dim_y).map_or(0, |sides| self.flow.parameter_count(sides.width(), 0))
    }
}

/// The paper's sizes. A misfit variance of a hundredth and less traps the training in y's average; the sine
/// wave, whose measurement bends most, needs ten times that, more epochs, and the kinks of ReLU. A temperature
/// below 1 leaves out the far ends of z, where a bijection between unlike shapes is worst.
fn tuned_preset(task: &str, authors: Result<InvertibleNetwork, InvalidArgument>) -> InvertibleNetwork {
    let known = authors.unwrap_or_else(|_| released(6, None, None, 0.0));
    let (activation, misfit_variance, epochs) = match task {
        "sine-wave" => (Activation::Relu, 0.1, 120),
        _ => (Activation::Silu, 0.02, 40),
    };
    InvertibleNetwork {
        flow: FlowSettings { activation, ..known.flow },
        misfit_variance,
        measurement_noise: 0.0,
        temperature: 0.8,
        training: TrainingSettings { gradient_limit: Some(15.0), ..cosine_training(epochs, 128, 1e-3) },
        relabelling: tuned_relabelling(task),
        ..known
    }
}

fn released(
    blocks: usize,
    latent: Option<usize>,
    width: Option<usize>,
    measurement_noise: f64,
) -> InvertibleNetwork {
    InvertibleNetwork {
        flow: FlowSettings { blocks, ..FlowSettings::default() },
        latent,
        width,
        misfit_variance: 0.01,
        measurement_noise,
        padding_noise: 0.05,
        temperature: 1.0,
        training: TrainingSettings {
            schedule: Schedule::Plateau { factor: 0.9, patience: 20, lowest: 1e-6 },
            gradient_limit: Some(15.0),
            ..authors_training(1e-3, 5e-3, 0.9)
        },
        relabelling: None,
    }
}

fn authors_preset(task: &str) -> Result<InvertibleNetwork, InvalidArgument> {
    match task {
        "ballistics" => Ok(released(6, Some(3), Some(4), 0.1)),
        "sine-wave" => Ok(released(4, Some(1), Some(4), 0.1)),
        "robotic-arm" => Ok(released(5, Some(2), Some(4), 0.01)),
        "metamaterial" => Ok(released(7, Some(3), Some(330), 0.1)),
        _ => Err(unreleased(task)),
    }
}

impl Method for InvertibleNetwork {
    type Model = InvertibleNetworkModel;

    fn fit(&self, data: &Dataset, context: &mut FitContext<'_>) -> Result<Self::Model, FitError> {
        self.validate()?;
        let sides = self.sides(data.x().ncols(), data.y().ncols())?;
        let pairs = StandardizedData::new(data, self.training.validation_share, context)?;
        let hash = data.content_hash();
        let relabeller = Relabeller::fit(self.relabelling.as_ref(), &pairs, &hash, context)?;
        let mut stream = context.streams().stream("inn weights", 0);
        let flow = Flow::new(&self.flow, sides.width(), 0, &pairs.device, &mut stream).map_err(backend)?;
        let objective = Likelihood { flow, sides, settings: self.clone(), relabeller };
        let identity = format!("{self:?} {hash}");
        let report =
            train(&objective, &pairs.training, &pairs.validation, &self.training, &identity, context)?;
        let flow = objective.flow.freeze().map_err(backend)?;
        let fitted = Fitted::new(self, data, &pairs, report);
        Ok(InvertibleNetworkModel { fitted, flow, sides, device: pairs.device })
    }
}

/// A fitted invertible neural network.
#[derive(Debug, Clone)]
pub struct InvertibleNetworkModel {
    fitted: Fitted<InvertibleNetwork>,
    flow: Flow<FrozenMlp>,
    sides: Sides,
    device: candle_core::Device,
}

impl InvertibleNetworkModel {
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
    pub fn settings(&self) -> &InvertibleNetwork {
        &self.fitted.settings
    }

    /// Loads an INN; [`load`](crate::load) loads any model.
    ///
    /// # Errors
    /// As [`load`](crate::load); also where the folder holds a model of another method.
    pub fn load(folder: &Path, device: Device) -> Result<Self, ModelFileError> {
        saved_model::load_as::<InvertibleNetwork>(folder, device)
    }
}

impl InverseModel for InvertibleNetworkModel {
    fn name(&self) -> &'static str {
        InvertibleNetwork::LABEL
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
        let sides = &self.sides;
        let latent = sides.z + sides.z_padding;
        let sampler = LatentSampler { x, y: y_units, range, device: &self.device, latent };
        sampler.propose(y, n, rng, |draws, targets| {
            let y = &targets.repeated()?;
            let z = (draws.narrow(1, 0, sides.z)? * settings.temperature)?;
            let output = if sides.z_padding > 0 {
                let padding = (draws.narrow(1, sides.z, sides.z_padding)? * settings.padding_noise)?;
                Tensor::cat(&[y, &z, &padding], 1)?
            } else {
                Tensor::cat(&[y, &z], 1)?
            };
            self.flow.invert(&output, None)?.narrow(1, 0, sides.x)?.contiguous()?.to_dtype(DType::F32)
        })
    }
}

impl SavedModel for InvertibleNetworkModel {
    fn save(&self, folder: &Path) -> Result<(), ModelFileError> {
        let mut tensors = NamedTensors::new();
        self.flow.insert(&mut tensors)?;
        saved_model::save(folder, InvertibleNetwork::NAME, &self.fitted, &tensors)
    }

    fn training_reports(&self) -> Vec<(&'static str, &TrainingReport)> {
        vec![("invertible network", &self.fitted.training)]
    }
}

impl LoadableMethod for InvertibleNetwork {
    fn load(mut file: ModelFile) -> Result<InvertibleNetworkModel, ModelFileError> {
        let fitted = Fitted::from_file(&file, InvertibleNetwork::validate)?;
        let sides = fitted.settings.sides(fitted.x.width(), fitted.y.width());
        let sides = sides.map_err(|error| file.inconsistent(&error))?;
        let flow = Flow::from_file(&mut file, &fitted.settings.flow, sides.width(), 0)?;
        Ok(InvertibleNetworkModel { fitted, flow, sides, device: file.device.clone() })
    }
}

#[cfg(test)]
#[path = "inn_tests.rs"]
mod tests;
