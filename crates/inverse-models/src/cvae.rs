//! The conditional variational auto-encoder (section 4, eq. 7; section 8.5.1, eq. 12).
//!
//! An encoder turns a design and its measurement into a Gaussian over a latent z, a decoder turns z and the
//! measurement back into the design:
//!
//! ```text
//! L = (x − x̂)² + α · KL,    KL = −½ (1 + log σ_z² − μ_z² − σ_z²)
//! ```
//!
//! which weighs a faithful reconstruction against a latent that is distributed as N(0, 1). The paper prints
//! the divergence with the signs of μ_z² and of the whole reversed, and σ_z for σ_z²; this is the closed form
//! of Kingma and Welling (2013, appendix B). Both terms are means over a batch and over their columns, as the
//! authors' weights α assume. To invert, z is drawn from N(0, 1) and decoded with the target.

use std::fmt;
use std::path::Path;

use candle_core::Tensor;
use inverse_core::{
    Dataset, Device, FitContext, FitError, InvalidArgument, InverseModel, Method, Proposals, ProposeError,
    Stream,
};
use ndarray::ArrayView2;
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::device::backend;
use crate::fitted::{Fitted, check_count, check_not_negative};
use crate::latent_sampling::{LatentSampler, standard_normal};
use crate::measurement_encoder::MeasurementEncoder;
use crate::nn::{
    Activation, FrozenMlp, HostStep, LossGradients, Mlp, MlpSettings, Network, Objective, Pairs,
    TrainableNetwork, TrainingReport, TrainingSettings, host_loss, train, values,
};
use crate::presets::PresetMethod;
use crate::registry::LoadableMethod;
use crate::regression_network::RegressionNetwork;
use crate::relabelling::{Relabeller, Relabelling};
use crate::saved_model::{self, ModelFile, SavedModel, insert_network};
use crate::standardized_data::StandardizedData;
use crate::tensor_file::{ModelFileError, NamedTensors};

/// No latent has more variables; a mistyped count fails with a message.
const LARGEST_LATENT: usize = 1 << 12;

/// Settings of the conditional variational auto-encoder.
///
/// ```
/// use inverse_core::{BoxPrior, Dataset, FitContext, FnSimulator, InverseModel, Method, RandomStreams, SimulatedTask};
/// use inverse_models::{ConditionalVae, presets::{PresetMethod, Source}};
///
/// let sum = FnSimulator::new(2, 1, |x, y| y[0] = x[0] + x[1])?;
/// let task = SimulatedTask::new("sum", sum, BoxPrior::new(&[-1.0; 2], &[1.0; 2])?)?;
/// let streams = RandomStreams::new(0);
/// let data = Dataset::from_task(&task, 400, &mut streams.stream("data", 0))?;
/// let method = ConditionalVae::preset("sum", Source::Quick)?;
/// let model = method.fit(&data, &mut FitContext::new(0))?;
/// let target = ndarray::array![[0.5]];
/// let proposals = model.propose(target.view(), 20, &mut streams.stream("propose", 0))?;
/// assert_eq!(proposals.count(), 20);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConditionalVae {
    /// Widths of the hidden layers, of encoder and decoder alike.
    pub hidden: Vec<usize>,
    /// The activation after each hidden layer.
    pub activation: Activation,
    /// Whether each hidden layer is batch-normalised.
    pub batch_norm: bool,
    /// Number of latent variables; as many as design variables, where `None`.
    pub latent: Option<usize>,
    /// α, the weight of the divergence.
    pub divergence_weight: f64,
    /// How both networks are trained.
    pub training: TrainingSettings,
    /// Renews the training pairs by a surrogate; the paper's pairs as they are, where `None`.
    pub relabelling: Option<Relabelling>,
    /// Encodes y before encoder and decoder take it, and is trained with them; they take y itself, where `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measurement_encoder: Option<MeasurementEncoder>,
}

impl fmt::Debug for ConditionalVae {
    /// As the derived one, but an absent encoder of y is not mentioned: this text ties checkpoints to their
    /// training, and those without one shall stay valid.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = formatter.debug_struct("ConditionalVae");
        text.field("hidden", &self.hidden).field("activation", &self.activation);
        text.field("batch_norm", &self.batch_norm).field("latent", &self.latent);
        text.field("divergence_weight", &self.divergence_weight).field("training", &self.training);
        text.field("relabelling", &self.relabelling);
        if let Some(encoder) = &self.measurement_encoder {
            text.field("measurement_encoder", encoder);
        }
        text.finish()
    }
}

impl ConditionalVae {
    fn validate(&self) -> Result<(), InvalidArgument> {
        if let Some(latent) = self.latent {
            check_count("latent", latent, LARGEST_LATENT)?;
        }
        check_not_negative("divergence_weight", self.divergence_weight)?;
        self.relabelling.iter().try_for_each(Relabelling::validate)?;
        self.training.validate()
    }

    fn latent(&self, dim_x: usize) -> usize {
        self.latent.unwrap_or(dim_x)
    }

    fn shape(&self, inputs: usize, outputs: usize) -> MlpSettings {
        MlpSettings {
            inputs,
            hidden: self.hidden.clone(),
            outputs,
            activation: self.activation,
            batch_norm: self.batch_norm,
        }
    }

    /// How many numbers stand for y.
    fn condition(&self, dim_y: usize) -> usize {
        self.measurement_encoder.as_ref().map_or(dim_y, |encoder| encoder.code)
    }

    /// (x, y) → (μ_z, log σ_z²).
    pub(crate) fn encoder(&self, dim_x: usize, dim_y: usize) -> MlpSettings {
        self.shape(dim_x.saturating_add(self.condition(dim_y)), self.latent(dim_x).saturating_mul(2))
    }

    /// (z, y) → x̂.
    pub(crate) fn decoder(&self, dim_x: usize, dim_y: usize) -> MlpSettings {
        self.shape(self.latent(dim_x).saturating_add(self.condition(dim_y)), dim_x)
    }
}

impl Method for ConditionalVae {
    type Model = ConditionalVaeModel;

    fn fit(&self, data: &Dataset, context: &mut FitContext<'_>) -> Result<Self::Model, FitError> {
        self.validate()?;
        let (dim_x, dim_y) = (data.x().ncols(), data.y().ncols());
        let (encoder, decoder) = (self.encoder(dim_x, dim_y), self.decoder(dim_x, dim_y));
        self.measurement_encoder.iter().try_for_each(|encoder| encoder.validate(dim_y))?;
        encoder.validate()?;
        decoder.validate()?;
        let pairs = StandardizedData::new(data, self.training.validation_share, context)?;
        let hash = data.content_hash();
        let relabeller = Relabeller::fit(self.relabelling.as_ref(), &pairs, &hash, context)?;
        let mut stream = context.streams().stream("cvae weights", 0);
        let measurement = self.measurement_encoder.as_ref().map(|encoder| {
            encoder.network(dim_y, self.activation, self.batch_norm, &pairs.device, &mut stream)
        });
        let objective = EvidenceBound {
            measurement: measurement.transpose().map_err(backend)?,
            encoder: Mlp::new(&encoder, &pairs.device, &mut stream).map_err(backend)?,
            decoder: Mlp::new(&decoder, &pairs.device, &mut stream).map_err(backend)?,
            latent: self.latent(dim_x),
            divergence_weight: self.divergence_weight,
            relabeller,
        };
        let identity = format!("{self:?} {hash}");
        let report =
            train(&objective, &pairs.training, &pairs.validation, &self.training, &identity, context)?;
        let measurement = objective.frozen_measurement().map_err(backend)?;
        let decoder = objective.decoder.freeze().map_err(backend)?;
        let fitted = Fitted::new(self, data, &pairs, report);
        Ok(ConditionalVaeModel { fitted, measurement, decoder, device: pairs.device })
    }
}

/// Eq. 12 with the closed form of the divergence.
struct EvidenceBound {
    measurement: Option<RegressionNetwork>,
    encoder: Mlp,
    decoder: Mlp,
    latent: usize,
    divergence_weight: f64,
    relabeller: Relabeller,
}

impl EvidenceBound {
    /// * `pairs`: y as encoder and decoder take it
    fn loss<N: Network>(
        &self,
        encoder: &N,
        decoder: &N,
        pairs: &Pairs,
        noise: &mut Stream,
    ) -> candle_core::Result<Tensor> {
        let code = encoder.forward(&Tensor::cat(&[&pairs.x, &pairs.y], 1)?)?;
        let mean = code.narrow(1, 0, self.latent)?.contiguous()?;
        let log_variance = code.narrow(1, self.latent, self.latent)?.contiguous()?;
        let draw = standard_normal(pairs.x.dim(0)?, self.latent, pairs.x.device(), noise)?;
        let z = (&mean + ((&log_variance * 0.5)?.exp()? * draw)?)?;
        let decoded = decoder.forward(&Tensor::cat(&[&z, &pairs.y], 1)?)?;
        let reconstruction = (decoded - &pairs.x)?.sqr()?.mean_all()?;
        reconstruction + (divergence(&mean, &log_variance)? * self.divergence_weight)?
    }

    fn frozen_measurement(&self) -> candle_core::Result<Option<FrozenMlp>> {
        self.measurement.as_ref().map(RegressionNetwork::freeze).transpose()
    }
}

/// y, (rows, `dim_y`), as encoder and decoder take it.
fn condition(measurement: Option<&impl Network>, y: &Tensor) -> candle_core::Result<Tensor> {
    measurement.map_or(Ok(y.clone()), |network| network.forward(y))
}

impl EvidenceBound {
    /// A step without candle's graph: eq. 12 and its gradient by hand.
    fn host_step(&self, pairs: &Pairs, noise: &mut Stream) -> candle_core::Result<LossGradients> {
        let (rows, latent, dim_y) = (pairs.x.dim(0)?, self.latent, pairs.y.dim(1)?);
        let (x, y) = (values(&pairs.x)?, values(&pairs.y)?);
        let seen = values(&Tensor::cat(&[&pairs.x, &pairs.y], 1)?)?;
        let mut encoder = HostStep::new(&self.encoder)?;
        let mut code = encoder.forward(&seen)?;
        let draw = values(&standard_normal(rows, latent, pairs.x.device(), noise)?)?;
        let mut given = Vec::with_capacity(rows * (latent + dim_y));
        let rows_of = |code: &[f32], draw: &[f32], y: &[f32], given: &mut Vec<f32>| {
            let (mean, log_variance) = code.split_at(latent);
            let z = mean.iter().zip(log_variance).zip(draw);
            given.extend(z.map(|((mean, log_variance), draw)| mean + (0.5 * log_variance).exp() * draw));
            given.extend_from_slice(y);
        };
        let each = code.chunks_exact(2 * latent).zip(draw.chunks_exact(latent)).zip(y.chunks_exact(dim_y));
        each.for_each(|((code, draw), y)| rows_of(code, draw, y, &mut given));
        let mut decoder = HostStep::new(&self.decoder)?;
        let mut decoded = decoder.forward(&given)?;
        let (mut reconstruction, share) = (0.0, 2.0 / x.len() as f32);
        for (decoded, x) in decoded.iter_mut().zip(&x) {
            let difference = *decoded - x;
            reconstruction += f64::from(difference * difference);
            *decoded = share * difference;
        }
        let (decoder_gradient, z_gradient) = decoder.backward(&decoded, true)?;
        let z_gradient = z_gradient.unwrap_or_default();
        let (mut divergence, weight) = (0.0, self.divergence_weight as f32 / draw.len() as f32);
        let each = code.chunks_exact_mut(2 * latent).zip(draw.chunks_exact(latent));
        for ((code, draw), z_gradient) in each.zip(z_gradient.chunks_exact(latent + dim_y)) {
            let (mean, log_variance) = code.split_at_mut(latent);
            for (((mean, log_variance), draw), gradient) in
                mean.iter_mut().zip(log_variance).zip(draw).zip(z_gradient)
            {
                let deviation = (0.5 * *log_variance).exp();
                let variance = deviation * deviation;
                divergence -= 0.5 * f64::from(1.0 + *log_variance - *mean * *mean - variance);
                *mean = gradient + weight * *mean;
                *log_variance = 0.5 * (gradient * draw * deviation + weight * (variance - 1.0));
            }
        }
        let (encoder_gradient, _) = encoder.backward(&code, false)?;
        let loss = reconstruction / x.len() as f64 + self.divergence_weight * divergence / draw.len() as f64;
        host_loss(loss, vec![encoder_gradient, decoder_gradient])
    }
}

/// Mean over rows and columns of the divergence of N(μ, σ²) from N(0, 1).
fn divergence(mean: &Tensor, log_variance: &Tensor) -> candle_core::Result<Tensor> {
    let terms = (((log_variance + 1.0)? - mean.sqr()?)? - log_variance.exp()?)?;
    terms.mean_all()? * -0.5
}

impl Objective for EvidenceBound {
    fn stage(&self) -> &'static str {
        "auto-encoder"
    }

    fn networks(&self) -> Vec<&dyn TrainableNetwork> {
        let mut networks: Vec<&dyn TrainableNetwork> = vec![&self.encoder, &self.decoder];
        networks.extend(self.measurement.iter().flat_map(RegressionNetwork::networks));
        networks
    }

    fn training_loss(&self, batch: &Pairs, noise: &mut Stream) -> candle_core::Result<Tensor> {
        let Pairs { x, y } = self.relabeller.renew(batch, noise)?;
        let batch = Pairs { x, y: condition(self.measurement.as_ref(), &y)? };
        self.loss(&self.encoder, &self.decoder, &batch, noise)
    }

    fn loss_gradients(&self, batch: &Pairs, noise: &mut Stream) -> candle_core::Result<LossGradients> {
        // The step by hand knows no encoder of y.
        if !batch.x.device().is_cpu() || self.measurement.is_some() {
            return LossGradients::by_candle(self, batch, noise);
        }
        self.host_step(&self.relabeller.renew(batch, noise)?, noise)
    }

    fn validation_loss(&self, pairs: &Pairs, noise: &mut Stream) -> candle_core::Result<f64> {
        let (encoder, decoder) = (self.encoder.freeze()?, self.decoder.freeze()?);
        let y = condition(self.frozen_measurement()?.as_ref(), &pairs.y)?;
        let pairs = Pairs { x: pairs.x.clone(), y };
        self.loss(&encoder, &decoder, &pairs, noise)?.to_scalar::<f32>().map(f64::from)
    }
}

/// A fitted conditional variational auto-encoder.
#[derive(Debug, Clone)]
pub struct ConditionalVaeModel {
    fitted: Fitted<ConditionalVae>,
    measurement: Option<FrozenMlp>,
    decoder: FrozenMlp,
    device: candle_core::Device,
}

impl ConditionalVaeModel {
    /// The settings it was fitted with.
    pub fn settings(&self) -> &ConditionalVae {
        &self.fitted.settings
    }

    /// Loads a cVAE; [`load`](crate::load) loads any model.
    ///
    /// # Errors
    /// As [`load`](crate::load); also where the folder holds a model of another method.
    pub fn load(folder: &Path, device: Device) -> Result<Self, ModelFileError> {
        saved_model::load_as::<ConditionalVae>(folder, device)
    }
}

impl InverseModel for ConditionalVaeModel {
    fn name(&self) -> &'static str {
        ConditionalVae::LABEL
    }

    fn dim_x(&self) -> usize {
        self.fitted.x.width()
    }

    fn dim_y(&self) -> usize {
        self.fitted.y.width()
    }

    /// All networks, as Table 8 counts them; the encoder of x is not kept.
    fn parameter_count(&self) -> usize {
        self.settings().parameter_count(self.dim_x(), self.dim_y())
    }

    fn propose(
        &self,
        y: ArrayView2<'_, f64>,
        n: usize,
        rng: &mut dyn Rng,
    ) -> Result<Proposals, ProposeError> {
        let Fitted { x, y: y_units, range, .. } = &self.fitted;
        let latent = self.settings().latent(self.dim_x());
        let sampler = LatentSampler { x, y: y_units, range, device: &self.device, latent };
        sampler.propose(y, n, rng, |z, targets| {
            let y = condition(self.measurement.as_ref(), &targets.distinct)?;
            self.decoder.forward_beside(z, &y, &targets.of_row)
        })
    }
}

impl SavedModel for ConditionalVaeModel {
    fn save(&self, folder: &Path) -> Result<(), ModelFileError> {
        let mut tensors = NamedTensors::new();
        insert_network(&mut tensors, "decoder", &self.decoder)?;
        if let Some(measurement) = &self.measurement {
            insert_network(&mut tensors, "measurement", measurement)?;
        }
        saved_model::save(folder, ConditionalVae::NAME, &self.fitted, &tensors)
    }

    fn training_reports(&self) -> Vec<(&'static str, &TrainingReport)> {
        vec![("auto-encoder", &self.fitted.training)]
    }
}

impl LoadableMethod for ConditionalVae {
    fn load(mut file: ModelFile) -> Result<ConditionalVaeModel, ModelFileError> {
        let fitted = Fitted::from_file(&file, ConditionalVae::validate)?;
        let (settings, dim_y) = (&fitted.settings, fitted.y.width());
        let shape = settings.decoder(fitted.x.width(), dim_y);
        let decoder = file.take_network("decoder", &shape)?;
        let shape =
            |encoder: &MeasurementEncoder| encoder.shape(dim_y, settings.activation, settings.batch_norm);
        let measurement = settings.measurement_encoder.as_ref().map(shape);
        let measurement = measurement.map(|shape| file.take_network("measurement", &shape)).transpose()?;
        Ok(ConditionalVaeModel { fitted, measurement, decoder, device: file.device.clone() })
    }
}

#[cfg(test)]
#[path = "cvae_tests.rs"]
mod tests;
