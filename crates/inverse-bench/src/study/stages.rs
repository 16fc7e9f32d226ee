//! What is done in each kind of cell.

mod evaluation;
mod matching;
mod solving;
mod timing;
mod training;
mod validation;

use std::fs;
use std::path::Path;

use inverse_core::{Device, InvalidArgument};
use inverse_models::presets::PresetMethod;
use inverse_models::{AnyMethod, NeuralAdjoint, NeuralAdjointModel, SavedModel};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use evaluation::{read_errors, read_proposals};
pub use matching::PosteriorMatch;
pub(crate) use matching::read_match;
pub(crate) use timing::TIMES;
pub use timing::{InferenceTimes, Repeats};
pub use training::TrainingTime;
pub(crate) use training::{CHECKPOINTS, TRAINING_TIME};

use super::plan::{InferenceSettings, Trial, VALIDATION_STARTS, Work};
use super::{PlannedCell, Study};
use crate::progress::Progress;
use crate::proposal_limit::neural_adjoint_settings;
use crate::result_files::write_atomically;
use crate::{ResultFileError, StudyError};

impl Study {
    /// Does what is to be done in a cell whose inputs are finished; its files lie in its folder then.
    pub(super) fn execute(&self, planned: &PlannedCell<'_>, progress: &Progress) -> Result<(), StudyError> {
        let folder = self.store.folder(&planned.id);
        fs::create_dir_all(&folder).map_err(|source| ResultFileError::Io { path: folder.clone(), source })?;
        let task = planned.task;
        match &planned.work {
            Work::Train { method, data, seed } => self.train(&folder, *method, data, *seed, progress),
            Work::Validate { method, training, targets } => {
                self.validate(&folder, task, *method, training, *targets)
            }
            Work::Evaluate { variant, trials } => {
                let model = self.best(variant.method, variant.inference.as_ref(), trials)?;
                self.evaluate(&folder, task, &*model, progress)
            }
            Work::DrawReference => self.draw_reference(&folder, task, progress),
            Work::Match { method, trials, reference } => {
                let model = self.best(*method, None, trials)?;
                self.match_posterior(&folder, task, &*model, reference)
            }
            Work::Solve { evaluation } => self.solve(&folder, task, evaluation.as_deref(), progress),
            Work::Time { method, training } => self.time(&folder, task, *method, training, progress),
        }
    }

    /// The model of the best of several finished trainings.
    pub(super) fn best(
        &self,
        method: &dyn AnyMethod,
        inference: Option<&InferenceSettings>,
        trials: &[Trial],
    ) -> Result<Box<dyn SavedModel>, StudyError> {
        let errors = self.validation_errors(trials)?;
        let nothing = || InvalidArgument::new("--trainings", "a training with a finite r_1", "none");
        let finite = errors.iter().zip(trials).filter(|(error, _)| error.is_finite());
        let (_, best) = finite.min_by(|a, b| a.0.total_cmp(b.0)).ok_or_else(nothing)?;
        self.model(method, inference, &best.training)
    }

    /// r_1 of each of several finished trainings on the validation targets.
    pub(super) fn validation_errors(&self, trials: &[Trial]) -> Result<Vec<f64>, StudyError> {
        trials.iter().map(|trial| validation::read(&self.store.folder(&trial.validation))).collect()
    }

    /// A trained model with a method's own inference settings, or with others.
    fn model(
        &self,
        method: &dyn AnyMethod,
        inference: Option<&InferenceSettings>,
        training: &str,
    ) -> Result<Box<dyn SavedModel>, StudyError> {
        let (folder, device) = (self.store.folder(training), self.arguments.device());
        if method.name() != NeuralAdjoint::NAME {
            return Ok(method.load(&folder, device)?);
        }
        let NeuralAdjoint { start_count, starts, descent, levenberg_marquardt, .. } =
            neural_adjoint_settings(method)?;
        let own = InferenceSettings { starts, descent, levenberg_marquardt };
        Ok(Box::new(neural_adjoint(&folder, device, start_count, inference.unwrap_or(&own))?))
    }
}

/// NA's trained surrogate with that many starts.
fn neural_adjoint(
    folder: &Path,
    device: Device,
    start_count: usize,
    inference: &InferenceSettings,
) -> Result<NeuralAdjointModel, StudyError> {
    let model = NeuralAdjointModel::load(folder, device)?;
    let model = model.with_inference(start_count, inference.starts, inference.descent.clone())?;
    match &inference.levenberg_marquardt {
        Some(settings) => Ok(model.with_levenberg_marquardt(start_count, settings.clone())?),
        None => Ok(model),
    }
}

/// Writes a value as JSON to a file of a cell.
fn write_json(folder: &Path, file: &str, value: &impl Serialize) -> Result<(), StudyError> {
    let json = serde_json::to_vec_pretty(value).map_err(|error| StudyError::Settings(error.to_string()))?;
    Ok(write_atomically(&folder.join(file), &json)?)
}

/// Reads a value from a file of a cell.
pub(crate) fn read_json<T: DeserializeOwned>(folder: &Path, file: &str) -> Result<T, StudyError> {
    let damaged =
        |reason: String| StudyError::Damaged { file: folder.join(file).display().to_string(), reason };
    let bytes = fs::read(folder.join(file)).map_err(|error| damaged(error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))
}
