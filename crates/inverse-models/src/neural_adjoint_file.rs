//! How a Neural-Adjoint model is kept in a file.

use std::path::Path;

use inverse_core::{Device, Domain};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::neural_adjoint::{NeuralAdjoint, NeuralAdjointModel};
use crate::nn::TrainingReport;
use crate::presets::PresetMethod;
use crate::registry::LoadableMethod;
use crate::saved_model::{self, ModelFile, SavedModel};
use crate::surrogate::{PREFIX, Surrogate, SurrogateDescription};
use crate::tensor_file::{ModelFileError, NamedTensors};

/// Name of the tensors of a member beside the first.
fn member(index: usize) -> String {
    format!("{PREFIX}-{}", index + 1)
}

/// The method's part of the header.
#[derive(Serialize, Deserialize)]
struct Description {
    settings: NeuralAdjoint,
    surrogate: SurrogateDescription,
    /// The other members of an ensemble.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    others: Vec<SurrogateDescription>,
    domain: Domain,
    dataset_hash: String,
}

impl SavedModel for NeuralAdjointModel {
    fn save(&self, folder: &Path) -> Result<(), ModelFileError> {
        let mut tensors = NamedTensors::new();
        let others = self.others.iter().enumerate();
        let others = others
            .map(|(index, other)| other.describe(&mut tensors, &member(index)))
            .collect::<Result<_, _>>()?;
        let description = Description {
            settings: self.settings.clone(),
            surrogate: self.surrogate.describe(&mut tensors, PREFIX)?,
            others,
            domain: self.domain.clone(),
            dataset_hash: self.dataset_hash.clone(),
        };
        let designs = self.designs.iter().copied().collect();
        tensors.insert("designs".into(), (vec![self.designs.nrows(), self.designs.ncols()], designs));
        saved_model::save(folder, NeuralAdjoint::NAME, &description, &tensors)
    }

    fn training_reports(&self) -> Vec<(&'static str, &TrainingReport)> {
        self.members().map(|member| ("surrogate", member.report())).collect()
    }
}

impl LoadableMethod for NeuralAdjoint {
    fn load(mut file: ModelFile) -> Result<NeuralAdjointModel, ModelFileError> {
        let Description { settings, surrogate, others, domain, dataset_hash } = file.description()?;
        settings.validate().map_err(|error| file.inconsistent(&error))?;
        let surrogate = Surrogate::from_file(&mut file, PREFIX, &settings.surrogate, surrogate)?;
        let expected = settings.ensemble.as_ref().map_or(0, |ensemble| ensemble.members - 1);
        if others.len() != expected {
            return Err(file.foreign(&format!("{expected} members beside the first"), others.len()));
        }
        let read = |(index, other)| {
            let other = Surrogate::from_file(&mut file, &member(index), &settings.surrogate, other)?;
            if other.x != surrogate.x || other.y != surrogate.y {
                return Err(file.foreign("members with one standardisation", "another"));
            }
            Ok(other)
        };
        let others = others.into_iter().enumerate().map(read).collect::<Result<_, ModelFileError>>()?;
        let domain = file.check_domain(&domain, surrogate.x.width())?;
        let width = surrogate.x.width();
        let designs = file.take_rows("designs", width)?;
        let rows = designs.len() / width;
        if rows == 0 {
            return Err(file.foreign("at least one row in `designs`", "none"));
        }
        let designs = Array2::from_shape_vec((rows, width), designs)
            .map_err(|error| file.foreign("a matrix of designs", error))?;
        Ok(NeuralAdjointModel { settings, surrogate, others, designs, domain, dataset_hash })
    }
}

impl NeuralAdjointModel {
    /// Loads a Neural-Adjoint model; [`load`](crate::load) loads any model.
    ///
    /// # Errors
    /// As [`load`](crate::load); also where the folder holds a model of another method.
    pub fn load(folder: &Path, device: Device) -> Result<Self, ModelFileError> {
        saved_model::load_as::<NeuralAdjoint>(folder, device)
    }
}
