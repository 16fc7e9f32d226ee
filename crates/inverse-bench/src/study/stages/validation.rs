//! The score by which the best of several trainings is chosen.

use std::path::Path;

use inverse_core::{Dataset, InverseModel, Task};
use inverse_metrics::resimulate;
use inverse_models::presets::PresetMethod;
use inverse_models::{AnyMethod, NeuralAdjoint};
use serde::{Deserialize, Serialize};

use super::super::plan::{InferenceSettings, streams};
use super::{Study, VALIDATION_STARTS, neural_adjoint, neural_adjoint_settings, read_json, write_json};
use crate::StudyError;

const FILE: &str = "validation.json";

/// r_1 on the validation targets; `None` where it is infinite, which JSON does not know.
#[derive(Serialize, Deserialize)]
struct Validation {
    r_1: Option<f64>,
}

impl Study {
    pub(super) fn validate(
        &self,
        folder: &Path,
        task: &dyn Task,
        method: &dyn AnyMethod,
        training: &str,
        targets: usize,
    ) -> Result<(), StudyError> {
        // The same targets and the same noise for each training: the trainings are compared, not their luck.
        let streams = streams(&self.arguments, task);
        let targets = Dataset::from_task(task, targets, &mut streams.stream("validation targets", 0))?;
        let mut noise = streams.stream("validation proposals", 0);
        let model = self.validation_model(method, training)?;
        let proposals = model.propose(targets.y(), 1, &mut noise)?;
        let error = resimulate(task, &proposals, targets.y())?.mean(1)?;
        write_json(folder, FILE, &Validation { r_1: Some(error).filter(|error| error.is_finite()) })
    }

    /// The trained model; with as few starts as it takes to compare surrogates, where it is NA's.
    fn validation_model(
        &self,
        method: &dyn AnyMethod,
        training: &str,
    ) -> Result<Box<dyn InverseModel>, StudyError> {
        let (folder, device) = (self.store.folder(training), self.arguments.device());
        if method.name() != NeuralAdjoint::NAME {
            return Ok(Box::new(method.load(&folder, device)?));
        }
        let NeuralAdjoint { start_count, starts, descent, levenberg_marquardt, .. } =
            neural_adjoint_settings(method)?;
        let starts_to_compare = start_count.min(VALIDATION_STARTS);
        let inference = InferenceSettings { starts, descent, levenberg_marquardt };
        Ok(Box::new(neural_adjoint(&folder, device, starts_to_compare, &inference)?))
    }
}

pub(super) fn read(folder: &Path) -> Result<f64, StudyError> {
    let Validation { r_1 } = read_json(folder, FILE)?;
    Ok(r_1.unwrap_or(f64::INFINITY))
}
