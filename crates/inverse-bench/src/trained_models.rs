//! Trained models of a study, kept so that a stopped study goes on where it was.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use inverse_core::{CheckpointPolicy, Dataset, Device, FitContext, FitError, Method};
use inverse_models::presets::PresetMethod;
use inverse_models::{AnyMethod, NeuralAdjoint, NeuralAdjointModel, SavedModel};
use sha2::{Digest, Sha256};

use crate::progress::{EpochProgress, Progress};
use crate::{ResultFolder, StudyError};

/// Least time between two checkpoints of a training.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);

/// A folder with one model a training, named by everything the training depends on.
#[derive(Debug, Clone)]
pub(crate) struct TrainedModels {
    folder: PathBuf,
    device: Device,
}

impl TrainedModels {
    pub(crate) fn new(folder: &Path, device: Device) -> Self {
        Self { folder: folder.into(), device }
    }

    /// The NA model of that training: loaded where it is done, resumed where it was killed, else trained.
    pub(crate) fn neural_adjoint(
        &self,
        task: &str,
        method: &NeuralAdjoint,
        data: &Dataset,
        seed: u64,
        progress: &Progress,
    ) -> Result<NeuralAdjointModel, StudyError> {
        // Only the surrogate is trained: other inference settings share its trainings.
        let identity = identity(&(&method.surrogate, data.content_hash(), seed))?;
        let folder = self.folder.join(format!("{task}-{}-{identity}", NeuralAdjoint::NAME));
        if is_complete(&folder) {
            let model = NeuralAdjointModel::load(&folder, self.device)?;
            return Ok(model.with_inference(method.start_count, method.starts, method.descent.clone())?);
        }
        self.train(&folder, seed, progress, |context| method.fit(data, context))
    }

    /// The model of that training by any method.
    pub(crate) fn any(
        &self,
        task: &str,
        method: &dyn AnyMethod,
        data: &Dataset,
        seed: u64,
        progress: &Progress,
    ) -> Result<Box<dyn SavedModel>, StudyError> {
        let identity = identity(&(method.settings()?, data.content_hash(), seed))?;
        let folder = self.folder.join(format!("{task}-{}-{identity}", method.name()));
        if is_complete(&folder) {
            return Ok(inverse_models::load(&folder, self.device)?);
        }
        self.train(&folder, seed, progress, |context| method.fit(data, context))
    }

    fn train<M: SavedModel>(
        &self,
        folder: &Path,
        seed: u64,
        progress: &Progress,
        fit: impl FnOnce(&mut FitContext<'_>) -> Result<M, FitError>,
    ) -> Result<M, StudyError> {
        let checkpoints = folder.join("checkpoints");
        let mut epochs = EpochProgress::new(progress);
        let mut context = FitContext::new(seed)
            .with_device(self.device)
            .with_observer(&mut epochs)
            .with_checkpoints(CheckpointPolicy { folder: checkpoints.clone(), every: CHECKPOINT_EVERY });
        let model = fit(&mut context)?;
        for (stage, report) in model.training_reports() {
            let name = format!("learning_curve_{}.csv", stage.replace(' ', "_"));
            ResultFolder::create(folder)?.write_csv(&name, &report.curve)?;
        }
        model.save(folder)?;
        // The model is complete; its checkpoints have done their work. Leaving them would harm nothing.
        let _ = fs::remove_dir_all(checkpoints);
        Ok(model)
    }
}

/// Whether a training has ended there: its model is written last, in one step.
fn is_complete(folder: &Path) -> bool {
    folder.join("model.safetensors").exists()
}

/// The first eight bytes of a hash over everything that a training depends on.
fn identity(parts: &impl serde::Serialize) -> Result<String, StudyError> {
    let json = serde_json::to_vec(parts).map_err(|error| StudyError::Settings(error.to_string()))?;
    let hash = Sha256::digest(json);
    Ok(hash.iter().take(8).fold(String::new(), |text, byte| text + &format!("{byte:02x}")))
}
