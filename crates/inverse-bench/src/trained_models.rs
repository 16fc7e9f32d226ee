//! Trained models of a study, kept so that a stopped study goes on where it was.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use inverse_core::{CheckpointPolicy, Dataset, Device, FitContext, Method};
use inverse_models::{NeuralAdjoint, NeuralAdjointModel, SavedModel};
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

    /// The model of that training: loaded where it is done, resumed where it was killed, else trained.
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
        let folder = self.folder.join(format!("{task}-neural-adjoint-{identity}"));
        if folder.join("model.safetensors").exists() {
            let model = NeuralAdjointModel::load(&folder, self.device)?;
            return Ok(model.with_inference(method.start_count, method.starts, method.descent.clone())?);
        }
        let checkpoints = folder.join("checkpoints");
        let mut epochs = EpochProgress::new(progress);
        let mut context = FitContext::new(seed)
            .with_device(self.device)
            .with_observer(&mut epochs)
            .with_checkpoints(CheckpointPolicy { folder: checkpoints.clone(), every: CHECKPOINT_EVERY });
        let model = method.fit(data, &mut context)?;
        ResultFolder::create(&folder)?.write_csv("learning_curve.csv", &model.surrogate().report().curve)?;
        model.save(&folder)?;
        // The model is complete; its checkpoints have done their work. Leaving them would harm nothing.
        let _ = fs::remove_dir_all(checkpoints);
        Ok(model)
    }
}

/// The first eight bytes of a hash over everything that a training depends on.
fn identity(parts: &impl serde::Serialize) -> Result<String, StudyError> {
    let json = serde_json::to_vec(parts).map_err(|error| StudyError::Settings(error.to_string()))?;
    let hash = Sha256::digest(json);
    Ok(hash.iter().take(8).fold(String::new(), |text, byte| text + &format!("{byte:02x}")))
}
