//! The mixture density network (section 4, eq. 6; section 8.5.4, eq. 15).
//!
//! A network turns a measurement into a mixture of Gaussians over designs, trained by maximum likelihood,
//!
//! ```text
//! L = −log Σ_k p_k |Σ_k⁻¹|^½ exp(−½ (μ_k − x)ᵀ Σ_k⁻¹ (μ_k − x))
//! ```
//!
//! Each precision is Σ⁻¹ = L Lᵀ with a lower triangular L of positive diagonal: every precision matrix has
//! one such factor, its log-determinant is a sum, and it is never singular. To invert, the mixture is sampled
//! as trained; the authors' code adds the identity to the precision first, which shrinks every sample's
//! spread.

use std::path::Path;

use candle_core::Tensor;
use inverse_core::{
    Dataset, Device, FitContext, FitError, InvalidArgument, InverseModel, Method, Proposals, ProposeError,
    Stream, check_request,
};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2};
use rand::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::device::{backend, propose_backend};
use crate::fitted::{Fitted, check_count};
use crate::gaussian_mixture::MixtureLayout;
use crate::latent_sampling::{LARGEST_PROPOSAL_COUNT, target_streams};
use crate::log_density::log_density;
use crate::nn::{
    Activation, FrozenMlp, HostStep, LossGradients, Mlp, MlpSettings, Network, Objective, Pairs,
    TrainableNetwork, TrainingReport, TrainingSettings, host_loss, train, values,
};
use crate::presets::{
    PresetMethod, Source, authors_training, cosine_training, posterior_training, tuned_relabelling,
    unreleased,
};
use crate::redraws::draw_inside;
use crate::registry::LoadableMethod;
use crate::relabelling::{Relabeller, Relabelling};
use crate::saved_model::{self, ModelFile, SavedModel, insert_network};
use crate::standardized_data::{StandardizedData, array, tensor};
use crate::tensor_file::{ModelFileError, NamedTensors};

/// No mixture has more components; a mistyped count fails with a message.
const LARGEST_COMPONENT_COUNT: usize = 1 << 12;

/// Settings of the mixture density network.
///
/// ```
/// use inverse_core::{BoxPrior, Dataset, FitContext, FnSimulator, InverseModel, Method, RandomStreams, SimulatedTask};
/// use inverse_models::{MixtureDensityNetwork, presets::{PresetMethod, Source}};
///
/// let parabola = FnSimulator::new(1, 1, |x, y| y[0] = x[0] * x[0])?;
/// let task = SimulatedTask::new("parabola", parabola, BoxPrior::new(&[-1.0], &[1.0])?)?;
/// let streams = RandomStreams::new(0);
/// let data = Dataset::from_task(&task, 400, &mut streams.stream("data", 0))?;
/// let method = MixtureDensityNetwork::preset("parabola", Source::Quick)?;
/// let model = method.fit(&data, &mut FitContext::new(0))?;
/// let target = ndarray::array![[0.25]];
/// let proposals = model.propose(target.view(), 50, &mut streams.stream("propose", 0))?;
/// let positive = proposals.designs().iter().filter(|x| **x > 0.0).count();
/// assert!((5..45).contains(&positive), "both branches are found");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MixtureDensityNetwork {
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// The activation after each hidden layer.
    pub activation: Activation,
    /// Whether each hidden layer is batch-normalised.
    pub batch_norm: bool,
    /// Number of Gaussians.
    pub components: usize,
    /// How the network is trained.
    pub training: TrainingSettings,
    /// Renews the training pairs by a surrogate; the paper's pairs as they are, where `None`.
    pub relabelling: Option<Relabelling>,
}

impl MixtureDensityNetwork {
    /// Settings for posteriors of noisy measurements, whatever the number of pairs: narrow layers that train until the held-out
    /// likelihood stays.
    ///
    /// With few pairs a [`DensityEnsemble`](crate::DensityEnsemble) of these is the better model, and
    /// [`ConditionalInvertibleNetwork::for_posteriors`](crate::ConditionalInvertibleNetwork::for_posteriors) often is, at
    /// several times the cost.
    pub fn for_posteriors() -> Self {
        Self {
            hidden: vec![96; 3],
            activation: Activation::Silu,
            batch_norm: false,
            components: 10,
            training: posterior_training(1e-3),
            relabelling: None,
        }
    }

    fn validate(&self) -> Result<(), InvalidArgument> {
        check_count("components", self.components, LARGEST_COMPONENT_COUNT)?;
        self.relabelling.iter().try_for_each(Relabelling::validate)?;
        self.training.validate()
    }

    fn shape(&self, dim_x: usize, dim_y: usize) -> MlpSettings {
        MlpSettings {
            inputs: dim_y,
            hidden: self.hidden.clone(),
            outputs: MixtureLayout::new(self.components, dim_x).outputs(),
            activation: self.activation,
            batch_norm: self.batch_norm,
        }
    }
}

impl PresetMethod for MixtureDensityNetwork {
    const NAME: &'static str = "mdn";
    const LABEL: &'static str = "MDN";

    fn preset(task: &str, source: Source) -> Result<Self, InvalidArgument> {
        let authors = authors_preset(task);
        match source {
            Source::Authors => authors,
            Source::Tuned => {
                let known = authors.unwrap_or_else(|_| released(vec![500; 4], 10));
                // Where one number goes in, narrow layers are enough, and leave room for more steps.
                let (hidden, epochs) = match task {
                    "sine-wave" => (vec![256; 4], 150),
                    "metamaterial" => (vec![500; 4], 60),
                    _ => (known.hidden, 60),
                };
                Ok(Self {
                    hidden,
                    activation: Activation::Silu,
                    batch_norm: false,
                    training: TrainingSettings {
                        gradient_limit: Some(15.0),
                        ..cosine_training(epochs, 128, 5e-4)
                    },
                    relabelling: tuned_relabelling(task),
                    ..known
                })
            }
            Source::Quick => Ok(Self {
                hidden: vec![96; 3],
                activation: Activation::Silu,
                batch_norm: false,
                components: 12,
                training: TrainingSettings { gradient_limit: Some(15.0), ..cosine_training(30, 128, 1e-3) },
                relabelling: None,
            }),
        }
    }

    fn parameter_count(&self, dim_x: usize, dim_y: usize) -> usize {
        self.shape(dim_x, dim_y).parameter_count()
    }
}

fn released(hidden: Vec<usize>, components: usize) -> MixtureDensityNetwork {
    MixtureDensityNetwork {
        hidden,
        activation: Activation::Relu,
        batch_norm: true,
        components,
        training: TrainingSettings { epochs: 200, batch_size: 512, ..authors_training(1e-3, 1e-3, 0.9) },
        relabelling: None,
    }
}

fn authors_preset(task: &str) -> Result<MixtureDensityNetwork, InvalidArgument> {
    match task {
        "ballistics" => Ok(released(vec![1000; 4], 7)),
        "sine-wave" => Ok(released(vec![1000; 5], 13)),
        "robotic-arm" => Ok(released(vec![500; 7], 4)),
        "metamaterial" => Ok(released(vec![1000; 7], 4)),
        _ => Err(unreleased(task)),
    }
}

impl Method for MixtureDensityNetwork {
    type Model = MixtureDensityNetworkModel;

    fn fit(&self, data: &Dataset, context: &mut FitContext<'_>) -> Result<Self::Model, FitError> {
        self.validate()?;
        let (dim_x, dim_y) = (data.x().ncols(), data.y().ncols());
        let shape = self.shape(dim_x, dim_y);
        shape.validate()?;
        let pairs = StandardizedData::new(data, self.training.validation_share, context)?;
        let hash = data.content_hash();
        let relabeller = Relabeller::fit(self.relabelling.as_ref(), &pairs, &hash, context)?;
        let mut stream = context.streams().stream("mdn weights", 0);
        let network = Mlp::new(&shape, &pairs.device, &mut stream).map_err(backend)?;
        let layout = MixtureLayout::new(self.components, dim_x);
        let bias = layout.spread_out(&pairs.training.x, &mut stream).map_err(backend)?;
        network.set_output_bias(&bias).map_err(backend)?;
        let objective = Likelihood { network, layout, relabeller };
        let identity = format!("{self:?} {hash}");
        let report =
            train(&objective, &pairs.training, &pairs.validation, &self.training, &identity, context)?;
        let network = objective.network.freeze().map_err(backend)?;
        let fitted = Fitted::new(self, data, &pairs, report);
        Ok(MixtureDensityNetworkModel { fitted, network, layout, device: pairs.device })
    }
}

/// Eq. 15.
struct Likelihood {
    network: Mlp,
    layout: MixtureLayout,
    relabeller: Relabeller,
}

impl Likelihood {
    fn loss(&self, network: &impl Network, pairs: &Pairs) -> candle_core::Result<Tensor> {
        self.layout.log_likelihood(&network.forward(&pairs.y)?, &pairs.x)?.mean_all()?.neg()
    }
}

impl Objective for Likelihood {
    fn stage(&self) -> &'static str {
        "mixture density network"
    }

    fn networks(&self) -> Vec<&dyn TrainableNetwork> {
        vec![&self.network]
    }

    fn training_loss(&self, batch: &Pairs, noise: &mut Stream) -> candle_core::Result<Tensor> {
        self.loss(&self.network, &self.relabeller.renew(batch, noise)?)
    }

    fn loss_gradients(&self, batch: &Pairs, noise: &mut Stream) -> candle_core::Result<LossGradients> {
        if !batch.x.device().is_cpu() {
            return LossGradients::by_candle(self, batch, noise);
        }
        let pairs = self.relabeller.renew(batch, noise)?;
        let (x, y) = (values(&pairs.x)?, values(&pairs.y)?);
        let mut step = HostStep::new(&self.network)?;
        let mut output = step.forward(&y)?;
        let loss = self.layout.host_loss(&mut output, &x);
        let (gradient, _) = step.backward(&output, false)?;
        host_loss(loss, vec![gradient])
    }

    fn validation_loss(&self, pairs: &Pairs, _noise: &mut Stream) -> candle_core::Result<f64> {
        self.loss(&self.network.freeze()?, pairs)?.to_scalar::<f32>().map(f64::from)
    }
}

/// A fitted mixture density network.
#[derive(Debug, Clone)]
pub struct MixtureDensityNetworkModel {
    fitted: Fitted<MixtureDensityNetwork>,
    network: FrozenMlp,
    layout: MixtureLayout,
    device: candle_core::Device,
}

impl MixtureDensityNetworkModel {
    /// The settings it was fitted with.
    pub fn settings(&self) -> &MixtureDensityNetwork {
        &self.fitted.settings
    }

    /// Loads an MDN; [`load`](crate::load) loads any model.
    ///
    /// # Errors
    /// As [`load`](crate::load); also where the folder holds a model of another method.
    pub fn load(folder: &Path, device: Device) -> Result<Self, ModelFileError> {
        saved_model::load_as::<MixtureDensityNetwork>(folder, device)
    }
}

impl InverseModel for MixtureDensityNetworkModel {
    fn name(&self) -> &'static str {
        MixtureDensityNetwork::LABEL
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
        check_request(y, self.dim_y(), n, LARGEST_PROPOSAL_COUNT)?;
        let standard = self.fitted.y.transform(y)?;
        let outputs = tensor(standard.view(), &self.device)
            .and_then(|y| self.network.forward(&y))
            .and_then(|outputs| array(&outputs))
            .map_err(propose_backend)?;
        draw_inside(&self.fitted.range, n, &mut target_streams(y.nrows(), rng), |of_target, streams| {
            let mut draws = Array2::zeros((of_target.len(), self.dim_x()));
            let mut rows = draws.rows_mut().into_iter();
            for targets in of_target.chunk_by(|a, b| a == b) {
                let target = targets[0];
                let mixture = self.layout.mixture(outputs.row(target));
                for mut row in rows.by_ref().take(targets.len()) {
                    row.assign(&ArrayView1::from(&mixture.sample(&mut streams[target])));
                }
            }
            Ok(self.fitted.x.inverse(draws.view())?)
        })
    }

    fn log_density(
        &self,
        x: ArrayView2<'_, f64>,
        y: ArrayView2<'_, f64>,
    ) -> Result<Option<Array1<f64>>, ProposeError> {
        log_density(&self.fitted, &self.device, x, y, |x, targets| {
            let outputs = array(&self.network.forward(&targets.distinct)?)?;
            let mixtures: Vec<_> = outputs.rows().into_iter().map(|row| self.layout.mixture(row)).collect();
            let rows = targets.of_row.par_iter().enumerate();
            Ok(rows.map(|(row, target)| mixtures[*target].log_density(x.row(row))).collect())
        })
    }
}

impl SavedModel for MixtureDensityNetworkModel {
    fn save(&self, folder: &Path) -> Result<(), ModelFileError> {
        let mut tensors = NamedTensors::new();
        insert_network(&mut tensors, "network", &self.network)?;
        saved_model::save(folder, MixtureDensityNetwork::NAME, &self.fitted, &tensors)
    }

    fn training_reports(&self) -> Vec<(&'static str, &TrainingReport)> {
        vec![("mixture density network", &self.fitted.training)]
    }
}

impl LoadableMethod for MixtureDensityNetwork {
    fn load(mut file: ModelFile) -> Result<MixtureDensityNetworkModel, ModelFileError> {
        let fitted = Fitted::from_file(&file, MixtureDensityNetwork::validate)?;
        let (dim_x, dim_y) = (fitted.x.width(), fitted.y.width());
        let network = file.take_network("network", &fitted.settings.shape(dim_x, dim_y))?;
        let layout = MixtureLayout::new(fitted.settings.components, dim_x);
        Ok(MixtureDensityNetworkModel { fitted, network, layout, device: file.device.clone() })
    }
}

#[cfg(test)]
#[path = "mdn_tests.rs"]
mod tests;
