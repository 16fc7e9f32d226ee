//! The training loop that all methods share.

use std::time::Instant;

use candle_core::{DType, Result as TensorResult, Tensor};
use inverse_core::{EpochReport, FitContext, FitError, InvalidArgument, Signal, Stream};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::checkpoint::{CheckpointFile, Snapshot, TrainingState, fingerprint};
use super::optimizer::{Adam, UpdateRule};
use super::schedule::ScheduleState;
use super::{TrainableNetwork, TrainingSettings, Updates, by_adam};
use crate::device::{backend, on_worker};

/// Raised with every change after which the same settings, data and seed end in other bits: what was trained before
/// is then trained anew, and checkpoints of before are refused.
pub const TRAINING_VERSION: u32 = 4;

/// One epoch of a learning curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EpochLosses {
    /// Mean training loss of the epoch.
    pub training: f64,
    /// Loss of the held-out pairs after the epoch.
    pub validation: f64,
    /// Learning rate of the epoch.
    pub learning_rate: f64,
}

/// What a training came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingReport {
    /// Epochs run.
    pub epochs: usize,
    /// The epoch whose parameters were kept, counted from 1.
    pub best_epoch: usize,
    /// Validation loss of that epoch.
    pub validation_loss: f64,
    /// Every epoch, also those before a kill.
    pub curve: Vec<EpochLosses>,
}

/// Standardised pairs on the device that computes.
#[derive(Debug, Clone)]
pub struct Pairs {
    /// Designs, (n, `dim_x`), `f32`.
    pub x: Tensor,
    /// Measurements, (n, `dim_y`), `f32`.
    pub y: Tensor,
}

/// The loss of one batch and what it says of the networks' parameters.
#[derive(Debug)]
pub struct LossGradients {
    /// A scalar.
    pub loss: Tensor,
    /// The gradient of each network's parameters, in the order of [`Objective::networks`]; absent where the loss does
    /// not depend on them.
    pub parameters: Vec<Option<Tensor>>,
}

impl LossGradients {
    /// Those that candle finds.
    ///
    /// # Errors
    /// As [`Objective::training_loss`].
    pub fn by_candle(
        objective: &(impl Objective + ?Sized),
        batch: &Pairs,
        noise: &mut Stream,
    ) -> TensorResult<Self> {
        let loss = objective.training_loss(batch, noise)?;
        let gradients = loss.backward()?;
        let networks = objective.networks();
        let parameters = networks.iter().map(|network| gradients.get(network.parameters()).cloned());
        Ok(Self { loss: loss.detach(), parameters: parameters.collect() })
    }
}

/// What a method tells the loop: its networks and its losses.
///
/// An epoch may run on another thread than the one that trains: hence `Sync`.
pub trait Objective: Sync {
    /// What is trained, for reports and file names.
    fn stage(&self) -> &str;

    /// The networks whose parameters move; always the same ones, in the same order.
    fn networks(&self) -> Vec<&dyn TrainableNetwork>;

    /// The loss of one batch, a scalar that candle can differentiate.
    ///
    /// * `noise`: the epoch's stream, for losses that draw random numbers
    ///
    /// # Errors
    /// Where the tensor library fails.
    fn training_loss(&self, batch: &Pairs, noise: &mut Stream) -> TensorResult<Tensor>;

    /// The loss of one batch and its gradient, by candle's graph.
    ///
    /// A method may give the same numbers in another way: on the processor candle's graph costs small networks as much
    /// as their products.
    ///
    /// # Errors
    /// As [`Objective::training_loss`].
    fn loss_gradients(&self, batch: &Pairs, noise: &mut Stream) -> TensorResult<LossGradients> {
        LossGradients::by_candle(self, batch, noise)
    }

    /// One step: hands each network's gradient to `updates`; gives the loss.
    ///
    /// A method with many networks may hand over each gradient as soon as it is there, while it and the parameters
    /// still lie in the caches.
    ///
    /// # Errors
    /// As [`Objective::training_loss`].
    fn step(&self, batch: &Pairs, noise: &mut Stream, updates: &mut Updates<'_>) -> TensorResult<Tensor> {
        updates.apply_all(self.loss_gradients(batch, noise)?)
    }

    /// The loss of held-out pairs, as the finished model would have it.
    ///
    /// * `noise`: the same stream after every epoch, so that epochs are compared on equal draws
    ///
    /// # Errors
    /// Where the tensor library fails.
    fn validation_loss(&self, pairs: &Pairs, noise: &mut Stream) -> TensorResult<f64>;
}

/// Trains until the epochs are over, the loss stays, or the observer has seen enough; keeps the best epoch.
///
/// This is for the last stage of a method: where the observer stops it, the best epoch so far makes the model.
/// Stages before it use [`train_earlier_stage`].
///
/// * `training`, `validation`: at least one pair each
/// * `identity`: everything that the training depends on beside the seed (settings, hash of the data); it ties
///   checkpoints to their training
///
/// # Errors
/// [`FitError`] where a setting cannot be used, the loss is no longer finite, a checkpoint cannot be written or
/// belongs to another training, or the tensor library fails.
///
/// ```
/// use candle_core::{Device, Result, Tensor};
/// use inverse_core::{FitContext, Stream};
/// use inverse_models::nn::{
///     Activation, Mlp, MlpSettings, Objective, Pairs, TrainableNetwork, TrainingSettings, train,
/// };
///
/// /// Mean absolute error instead of mean squared error.
/// struct AbsoluteError(Mlp);
///
/// impl Objective for AbsoluteError {
///     fn stage(&self) -> &str {
///         "absolute error"
///     }
///     fn networks(&self) -> Vec<&dyn TrainableNetwork> {
///         vec![&self.0]
///     }
///     fn training_loss(&self, batch: &Pairs, _noise: &mut Stream) -> Result<Tensor> {
///         (self.0.forward(&batch.x)? - &batch.y)?.abs()?.mean_all()
///     }
///     fn validation_loss(&self, pairs: &Pairs, _noise: &mut Stream) -> Result<f64> {
///         let y = self.0.freeze()?.forward(&pairs.x)?;
///         Ok(f64::from((y - &pairs.y)?.abs()?.mean_all()?.to_scalar::<f32>()?))
///     }
/// }
///
/// let x = Tensor::arange(-1_f32, 1.0, &Device::Cpu)?.reshape(((), 1))?;
/// let pairs = Pairs { y: x.sqr()?, x };
/// let shape = MlpSettings {
///     inputs: 1, hidden: vec![16], outputs: 1, activation: Activation::Tanh, batch_norm: false,
/// };
/// let mut context = FitContext::new(1);
/// let network = Mlp::new(&shape, &Device::Cpu, &mut context.streams().stream("weights", 0))?;
/// let settings = TrainingSettings { epochs: 20, ..TrainingSettings::default() };
/// let report = train(&AbsoluteError(network), &pairs, &pairs, &settings, "example", &mut context)?;
/// assert_eq!(report.curve.len(), 20);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn train(
    objective: &dyn Objective,
    training: &Pairs,
    validation: &Pairs,
    settings: &TrainingSettings,
    identity: &str,
    context: &mut FitContext<'_>,
) -> Result<TrainingReport, FitError> {
    Ok(train_until_stopped(objective, training, validation, settings, identity, context)?.0)
}

/// As [`train`], for a stage that others follow: a stop by the observer ends the fit.
///
/// # Errors
/// As [`train`]; [`FitError::Stopped`] where the observer stopped it, for there is no model yet.
pub fn train_earlier_stage(
    objective: &dyn Objective,
    training: &Pairs,
    validation: &Pairs,
    settings: &TrainingSettings,
    identity: &str,
    context: &mut FitContext<'_>,
) -> Result<TrainingReport, FitError> {
    let (report, stopped) =
        train_until_stopped(objective, training, validation, settings, identity, context)?;
    if stopped {
        return Err(FitError::Stopped { stage: objective.stage().to_owned(), epoch: report.epochs });
    }
    Ok(report)
}

/// The report, and whether the observer stopped the training.
fn train_until_stopped(
    objective: &dyn Objective,
    training: &Pairs,
    validation: &Pairs,
    settings: &TrainingSettings,
    identity: &str,
    context: &mut FitContext<'_>,
) -> Result<(TrainingReport, bool), FitError> {
    settings.validate()?;
    for (name, pairs) in [("training", training), ("validation", validation)] {
        let rows = (pairs.x.dim(0).map_err(backend)?, pairs.y.dim(0).map_err(backend)?);
        if rows.0 == 0 || rows.0 != rows.1 {
            let expected = "as many rows of x as of y, at least one";
            return Err(InvalidArgument::new(name, expected, format!("{} and {}", rows.0, rows.1)).into());
        }
    }
    // Batches are gathered by row, which no view of columns allows.
    let gathered = || Ok(Pairs { x: training.x.contiguous()?, y: training.y.contiguous()? });
    let training = &gathered().map_err(backend)?;
    let mut run = Run::begin(objective, settings, identity, context)?;
    let start = Instant::now();
    while !(run.state.finished || run.stopped) {
        run.epoch(training, validation, context)?;
        run.report(&start, context)?;
    }
    run.best.restore(&objective.networks()).map_err(backend)?;
    context.observer().finished(objective.stage(), run.state.epoch, run.state.best_epoch);
    let report = TrainingReport {
        epochs: run.state.epoch,
        best_epoch: run.state.best_epoch,
        validation_loss: run.state.best_loss.unwrap_or(f64::INFINITY),
        curve: run.state.curve,
    };
    Ok((report, run.stopped))
}

/// One training on its way.
struct Run<'a> {
    objective: &'a dyn Objective,
    settings: &'a TrainingSettings,
    state: TrainingState,
    /// One optimiser a network.
    adams: Vec<Adam>,
    best: Snapshot,
    checkpoint: Option<CheckpointFile>,
    /// Stopped by the observer: not finished, so a later run goes on from the checkpoint.
    stopped: bool,
}

impl<'a> Run<'a> {
    fn begin(
        objective: &'a dyn Objective,
        settings: &'a TrainingSettings,
        identity: &str,
        context: &FitContext<'_>,
    ) -> Result<Self, FitError> {
        let networks = objective.networks();
        let fingerprint = fingerprint(objective.stage(), identity, context.streams().seed());
        let checkpoint = context.checkpoints().map(|policy| CheckpointFile::new(policy, objective.stage()));
        let resumed = match &checkpoint {
            Some(file) => file.resume(&fingerprint, settings.epochs, &networks)?,
            None => None,
        };
        let (state, adams, best) = if let Some(resumed) = resumed {
            resumed
        } else {
            let state = TrainingState {
                fingerprint,
                epoch: 0,
                schedule: ScheduleState::new(settings.learning_rate),
                best_loss: None,
                best_epoch: 0,
                steps: vec![0; networks.len()],
                curve: Vec::new(),
                finished: false,
            };
            let adams = networks.iter().map(|network| Adam::new(network.parameters()));
            let adams = adams.collect::<TensorResult<_>>().map_err(backend)?;
            (state, adams, Snapshot::of(&networks).map_err(backend)?)
        };
        Ok(Self { objective, settings, state, adams, best, checkpoint, stopped: false })
    }

    fn epoch(
        &mut self,
        training: &Pairs,
        validation: &Pairs,
        context: &FitContext<'_>,
    ) -> Result<(), FitError> {
        let learning_rate = self.state.schedule.rate();
        self.state.epoch += 1;
        let purpose = format!("shuffle {}", self.objective.stage());
        let mut stream = context.streams().stream(&purpose, self.state.epoch as u64);
        let rows = training.x.dim(0).map_err(backend)?;
        let mut order: Vec<u32> = (0..rows as u32).collect();
        order.shuffle(&mut stream);
        let stage = self.objective.stage();
        let mut noise = context.streams().stream(&format!("noise {stage}"), self.state.epoch as u64);
        let training_loss =
            on_worker(training.x.device(), || self.steps(&order, training, learning_rate, &mut noise))
                .map_err(backend)?;
        let mut noise = context.streams().stream(&format!("validation noise {stage}"), 0);
        let validation_loss =
            on_worker(validation.x.device(), || self.objective.validation_loss(validation, &mut noise))
                .map_err(backend)?;
        for loss in [training_loss, validation_loss] {
            if !loss.is_finite() {
                let stage = self.objective.stage().to_owned();
                return Err(FitError::Diverged { stage, epoch: self.state.epoch, loss });
            }
        }
        let losses = EpochLosses { training: training_loss, validation: validation_loss, learning_rate };
        self.state.curve.push(losses);
        self.keep_best(validation_loss).map_err(backend)?;
        self.state.steps = self.adams.iter().map(Adam::steps).collect();
        let (epoch, epochs) = (self.state.epoch, self.settings.epochs);
        self.state.schedule.advance(&self.settings.schedule, training_loss, epoch, epochs);
        let stale =
            self.settings.early_stop.is_some_and(|patience| epoch - self.state.best_epoch >= patience);
        self.state.finished = epoch >= epochs || stale;
        Ok(())
    }

    /// Takes one step a batch; gives the mean loss.
    fn steps(&mut self, order: &[u32], training: &Pairs, rate: f64, noise: &mut Stream) -> TensorResult<f64> {
        let networks = self.objective.networks();
        let rule = UpdateRule { rate, l2: self.settings.l2, limit: self.settings.gradient_limit };
        let size = self.settings.batch_size.min(order.len());
        let mut losses = Vec::new();
        // One transfer an epoch: a GPU would wait for one a step.
        let order = Tensor::from_slice(order, order.len(), training.x.device())?;
        for start in (0..=order.elem_count() - size).step_by(size) {
            let rows = order.narrow(0, start, size)?;
            let batch =
                Pairs { x: training.x.index_select(&rows, 0)?, y: training.y.index_select(&rows, 0)? };
            let mut move_network = by_adam(&networks, &mut self.adams, rule);
            losses.push(self.objective.step(&batch, noise, &mut Updates::new(&mut move_network))?);
        }
        // One transfer an epoch: reading each loss would stop a GPU each step.
        Tensor::stack(&losses, 0)?.mean_all()?.to_dtype(DType::F64)?.to_scalar()
    }

    fn keep_best(&mut self, loss: f64) -> TensorResult<()> {
        if self.state.best_loss.is_none_or(|best| loss < best) {
            self.best = Snapshot::of(&self.objective.networks())?;
            self.state.best_loss = Some(loss);
            self.state.best_epoch = self.state.epoch;
        }
        Ok(())
    }

    fn report(&mut self, start: &Instant, context: &mut FitContext<'_>) -> Result<(), FitError> {
        let Some(losses) = self.state.curve.last() else { return Ok(()) };
        let report = EpochReport {
            stage: self.objective.stage().to_owned(),
            epoch: self.state.epoch,
            epochs: self.settings.epochs,
            training_loss: losses.training,
            validation_loss: Some(losses.validation),
            learning_rate: losses.learning_rate,
            elapsed: start.elapsed(),
        };
        if context.observer().epoch(&report) == Signal::Stop {
            self.stopped = true;
        }
        if let Some(file) = &mut self.checkpoint
            && (self.state.finished || self.stopped || file.is_due())
        {
            file.write(&self.state, &self.objective.networks(), &self.adams, &self.best)?;
        }
        Ok(())
    }
}
