//! Trained models of a study, kept so that a stopped study goes on where it was.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use inverse_core::{CheckpointPolicy, Dataset, Device, FitContext, FitError, Method};
use inverse_models::nn::TRAINING_VERSION;
use inverse_models::presets::PresetMethod;
use inverse_models::{AnyMethod, NeuralAdjoint, NeuralAdjointModel, SavedModel};
use serde::Serialize;
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
        let folder = self.place(task, NeuralAdjoint::NAME, &method.surrogate, data, seed)?;
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
        let folder = self.place(task, method.name(), &method.settings()?, data, seed)?;
        if is_complete(&folder) {
            return Ok(inverse_models::load(&folder, self.device)?);
        }
        self.train(&folder, seed, progress, |context| method.fit(data, context))
    }

    /// The folder of one training. Its name hashes everything that the training's bits depend on: also the device,
    /// and the version of the library and of its way of training.
    fn place(
        &self,
        task: &str,
        method: &str,
        settings: &impl Serialize,
        data: &Dataset,
        seed: u64,
    ) -> Result<PathBuf, StudyError> {
        let device = self.device.to_string();
        let versions = (env!("CARGO_PKG_VERSION"), TRAINING_VERSION);
        let identity = identity(&(settings, data.content_hash(), seed, device, versions))?;
        Ok(self.folder.join(format!("{task}-{method}-{identity}")))
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
fn identity(parts: &impl Serialize) -> Result<String, StudyError> {
    let json = serde_json::to_vec(parts).map_err(|error| StudyError::Settings(error.to_string()))?;
    let hash = Sha256::digest(json);
    Ok(hash.iter().take(8).fold(String::new(), |text, byte| text + &format!("{byte:02x}")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ndarray::array;

    use super::*;

    #[test]
    fn trainings_that_differ_have_places_of_their_own() {
        let data = |last: f64| Dataset::new(array![[0.0], [1.0]], array![[0.0], [last]]).unwrap();
        let place = |device, settings: &str, last, seed| {
            let models = TrainedModels::new(Path::new("models"), device);
            models.place("task", "method", &settings, &data(last), seed).unwrap()
        };
        let one = place(Device::Cpu, "settings", 1.0, 1);
        assert_eq!(place(Device::Cpu, "settings", 1.0, 1), one);
        let others = BTreeSet::from([
            one,
            place(Device::Cuda(0), "settings", 1.0, 1),
            place(Device::Cuda(1), "settings", 1.0, 1),
            place(Device::Cpu, "others", 1.0, 1),
            place(Device::Cpu, "settings", 2.0, 1),
            place(Device::Cpu, "settings", 1.0, 2),
        ]);
        assert_eq!(others.len(), 6);
    }
}
