//! Training checkpoints: everything a killed training needs to go on with the same bits.

use std::path::PathBuf;
use std::time::Instant;

use candle_core::{Device, Tensor};
use inverse_core::{CheckpointPolicy, FitError};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::TrainableNetwork;
use super::optimizer::Adam;
use super::schedule::ScheduleState;
use super::training_loop::{EpochLosses, TRAINING_VERSION};
use crate::tensor_file::{self, ModelFileError, NamedTensors, take_tensor};

/// Where a training stands after an epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TrainingState {
    /// Hash of settings, data and seed: a checkpoint of another training is refused.
    pub(crate) fingerprint: String,
    /// Epochs done.
    pub(crate) epoch: usize,
    pub(crate) schedule: ScheduleState,
    pub(crate) best_loss: Option<f64>,
    pub(crate) best_epoch: usize,
    /// Steps that each network's optimiser has done.
    pub(crate) steps: Vec<u64>,
    /// Every epoch so far.
    pub(crate) curve: Vec<EpochLosses>,
    pub(crate) finished: bool,
}

impl TrainingState {
    /// Whether a training of `epochs` epochs and so many networks can stand here; a file may hold anything.
    fn is_usable(&self, epochs: usize, networks: usize) -> bool {
        // A batch has at least one pair, and pairs are counted in 32 bits.
        let most_steps = (self.epoch as u64).saturating_mul(1 << 32);
        self.best_epoch <= self.epoch
            && self.epoch <= epochs
            && self.curve.len() == self.epoch
            && self.steps.len() == networks
            && self.steps.iter().all(|steps| *steps <= most_steps)
            && self.schedule.is_usable(self.epoch)
    }
}

/// Parameters and running statistics of all networks: the best so far.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    networks: Vec<(Tensor, Tensor)>,
}

impl Snapshot {
    pub(crate) fn of(networks: &[&dyn TrainableNetwork]) -> candle_core::Result<Self> {
        let copy = |network: &&dyn TrainableNetwork| {
            Ok((network.parameters().copy()?.detach(), network.statistics().copy()?.detach()))
        };
        Ok(Self { networks: networks.iter().map(copy).collect::<candle_core::Result<_>>()? })
    }

    pub(crate) fn restore(&self, networks: &[&dyn TrainableNetwork]) -> candle_core::Result<()> {
        for (network, (parameters, statistics)) in networks.iter().zip(&self.networks) {
            network.parameters().set(parameters)?;
            network.statistics().set(statistics)?;
        }
        Ok(())
    }
}

/// Writes and reads the checkpoint of one training stage.
pub(crate) struct CheckpointFile {
    path: PathBuf,
    policy: CheckpointPolicy,
    written: Instant,
}

impl CheckpointFile {
    pub(crate) fn new(policy: &CheckpointPolicy, stage: &str) -> Self {
        let file: String = stage.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
        let path = policy.folder.join(format!("{file}.checkpoint.safetensors"));
        Self { path, policy: policy.clone(), written: Instant::now() }
    }

    pub(crate) fn is_due(&self) -> bool {
        self.written.elapsed() >= self.policy.every
    }

    pub(crate) fn write(
        &mut self,
        state: &TrainingState,
        networks: &[&dyn TrainableNetwork],
        adams: &[Adam],
        best: &Snapshot,
    ) -> Result<(), FitError> {
        let mut tensors = NamedTensors::new();
        for (index, ((network, adam), best)) in networks.iter().zip(adams).zip(&best.networks).enumerate() {
            let (_, first, second) = adam.state().map_err(failed)?;
            let parts = [
                ("parameters", network.parameters().as_tensor()),
                ("statistics", network.statistics().as_tensor()),
                ("first_moment", &first),
                ("second_moment", &second),
                ("best_parameters", &best.0),
                ("best_statistics", &best.1),
            ];
            for (name, tensor) in parts {
                let values = tensor.to_vec1::<f32>().map_err(failed)?;
                tensors.insert(format!("{name}.{index}"), (vec![values.len()], values));
            }
        }
        tensor_file::write(&self.path, state, &tensors).map_err(failed)?;
        self.written = Instant::now();
        Ok(())
    }

    /// Puts networks and optimisers where the checkpoint left them; `None` where there is no checkpoint.
    ///
    /// * `epochs`: the most that the training may take
    pub(crate) fn resume(
        &self,
        fingerprint: &str,
        epochs: usize,
        networks: &[&dyn TrainableNetwork],
    ) -> Result<Option<(TrainingState, Vec<Adam>, Snapshot)>, FitError> {
        if !self.path.exists() {
            return Ok(None);
        }
        let (state, mut tensors) = tensor_file::read::<TrainingState>(&self.path).map_err(failed)?;
        if state.fingerprint != fingerprint {
            return Err(failed(ModelFileError::Mismatch {
                path: self.path.clone(),
                expected: format!("the checkpoint of training {fingerprint}"),
                found: format!("that of training {}", state.fingerprint),
            }));
        }
        if !state.is_usable(epochs, networks.len()) {
            let expected = format!("a training of at most {epochs} epochs and {} networks", networks.len());
            let TrainingState { epoch, best_epoch, steps, curve, .. } = &state;
            let found = format!(
                "epoch {epoch}, best epoch {best_epoch}, {steps:?} steps, a curve of {} epochs, {:?}",
                curve.len(),
                state.schedule
            );
            return Err(failed(ModelFileError::foreign(&self.path, expected, found)));
        }
        let mut adams = Vec::new();
        let mut best = Snapshot { networks: Vec::new() };
        for (index, (network, steps)) in networks.iter().zip(&state.steps).enumerate() {
            let (parameters, statistics) = (network.parameters(), network.statistics());
            let mut take = |name: &str, like: &Tensor| {
                let name = format!("{name}.{index}");
                let values = take_tensor(&self.path, &mut tensors, &name, like.dims()).map_err(failed)?;
                let length = values.len();
                Tensor::from_vec(values, length, &Device::Cpu)
                    .and_then(|tensor| tensor.to_device(like.device()))
                    .map_err(failed)
            };
            parameters.set(&take("parameters", parameters)?).map_err(failed)?;
            statistics.set(&take("statistics", statistics)?).map_err(failed)?;
            let (first, second) = (take("first_moment", parameters)?, take("second_moment", parameters)?);
            adams.push(Adam::resume(*steps, &first, &second).map_err(failed)?);
            best.networks.push((take("best_parameters", parameters)?, take("best_statistics", statistics)?));
        }
        Ok(Some((state, adams, best)))
    }
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> FitError {
    FitError::Checkpoint(error.into())
}

/// Ties a checkpoint to its training.
pub(super) fn fingerprint(stage: &str, identity: &str, seed: u64) -> String {
    let mut hash = Sha256::new();
    for part in [stage, identity, env!("CARGO_PKG_VERSION"), &TRAINING_VERSION.to_string()] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.update(seed.to_le_bytes());
    hash.finalize().iter().take(8).fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
