//! How a Neural-Adjoint model is kept in a file.

use std::path::Path;

use inverse_core::{Device, Domain, Standardizer};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::neural_adjoint::{NeuralAdjoint, NeuralAdjointModel};
use crate::nn::{FrozenMlp, TrainingReport};
use crate::saved_model::{self, ModelFile, SavedModel};
use crate::surrogate::Surrogate;
use crate::tensor_file::{ModelFileError, NamedTensors};

/// The method's part of the header.
#[derive(Serialize, Deserialize)]
struct Description {
    settings: NeuralAdjoint,
    x: Standardizer,
    y: Standardizer,
    domain: Domain,
    training: TrainingReport,
    dataset_hash: String,
}

impl SavedModel for NeuralAdjointModel {
    fn save(&self, folder: &Path) -> Result<(), ModelFileError> {
        let description = Description {
            settings: self.settings.clone(),
            x: self.surrogate.x.clone(),
            y: self.surrogate.y.clone(),
            domain: self.domain.clone(),
            training: self.surrogate.report.clone(),
            dataset_hash: self.dataset_hash.clone(),
        };
        let mut tensors = NamedTensors::new();
        for (index, (weight, bias)) in self.surrogate.network.layers().enumerate() {
            let shape = vec![bias.len(), weight.len() / bias.len().max(1)];
            tensors.insert(format!("surrogate.weight.{index}"), (shape, weight.to_vec()));
            tensors.insert(format!("surrogate.bias.{index}"), (vec![bias.len()], bias.to_vec()));
        }
        let designs = self.designs.iter().copied().collect();
        tensors.insert("designs".into(), (vec![self.designs.nrows(), self.designs.ncols()], designs));
        saved_model::save(folder, Self::METHOD, &description, &tensors)
    }
}

impl NeuralAdjointModel {
    /// Loads a Neural-Adjoint model; [`load`](crate::load) loads any model.
    ///
    /// # Errors
    /// As [`load`](crate::load); also where the folder holds a model of another method.
    pub fn load(folder: &Path, device: Device) -> Result<Self, ModelFileError> {
        Self::from_file(saved_model::open(folder, Some(Self::METHOD), device)?)
    }

    pub(crate) fn from_file(mut file: ModelFile) -> Result<Self, ModelFileError> {
        let Description { settings, x, y, domain, training, dataset_hash } = file.description()?;
        settings.validate().map_err(|error| file.inconsistent(&error))?;
        for standardizer in [&x, &y] {
            standardizer.validate().map_err(|error| file.inconsistent(&error))?;
        }
        let domain = Domain::new(domain.center().to_owned(), domain.range().to_owned())
            .map_err(|error| file.inconsistent(&error))?;
        if domain.dim() != x.width() {
            return Err(file.foreign(&format!("a domain of {} variables", x.width()), domain.dim()));
        }
        let shape = settings.surrogate.shape(x.width(), y.width());
        shape.validate().map_err(|error| file.inconsistent(&error))?;
        let mut layers = Vec::new();
        let ends = shape.hidden.iter().chain(std::iter::once(&shape.outputs));
        let starts = std::iter::once(&shape.inputs).chain(&shape.hidden);
        for (index, (inputs, outputs)) in starts.zip(ends).enumerate() {
            let weight = file.take(&format!("surrogate.weight.{index}"), &[*outputs, *inputs])?;
            layers.push((weight, file.take(&format!("surrogate.bias.{index}"), &[*outputs])?));
        }
        let designs = file.take_rows("designs", x.width())?;
        let rows = designs.len() / x.width();
        if rows == 0 {
            return Err(file.foreign("at least one row in `designs`", "none"));
        }
        let designs = Array2::from_shape_vec((rows, x.width()), designs)
            .map_err(|error| file.foreign("a matrix of designs", error))?;
        let network = FrozenMlp::from_layers(layers, shape.activation, &file.device)
            .map_err(|error| ModelFileError::Device(error.to_string()))?;
        let parameter_count = shape.parameter_count();
        let device = file.device.clone();
        let surrogate = Surrogate { network, device, x, y, report: training, parameter_count };
        Ok(Self { settings, surrogate, designs, domain, dataset_hash })
    }
}
