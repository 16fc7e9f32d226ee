//! Saving fitted models to folders, and getting the right model back.
//!
//! A folder holds `model.safetensors`, which is complete by itself, and `model.json`, a copy of its header
//! for people to read. Loading reads the first, runs no code from it, and checks every number it uses.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use inverse_core::{Device, Domain, InvalidArgument, InverseModel, Standardizer};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::density_ensemble;
use crate::device::open_device;
use crate::nn::{FrozenMlp, MlpSettings, TrainingReport};
use crate::registry::{self, LoadableMethod};
use crate::tensor_file::{self, ModelFileError, NamedTensors, Precision, take_tensor};

const TENSORS: &str = "model.safetensors";
const READABLE_COPY: &str = "model.json";

/// A fitted model that can be kept.
pub trait SavedModel: InverseModel {
    /// Writes the model to `folder`, which is made where it does not exist.
    ///
    /// Each file is replaced in one step: a crash leaves the old model or the new one.
    ///
    /// # Errors
    /// [`ModelFileError::Io`] where the folder cannot be written.
    fn save(&self, folder: &Path) -> Result<(), ModelFileError>;

    /// How each stage of the training went, by name; none for models without a training.
    fn training_reports(&self) -> Vec<(&'static str, &TrainingReport)> {
        Vec::new()
    }
}

impl<M: SavedModel + ?Sized> SavedModel for Box<M> {
    fn save(&self, folder: &Path) -> Result<(), ModelFileError> {
        (**self).save(folder)
    }

    fn training_reports(&self) -> Vec<(&'static str, &TrainingReport)> {
        (**self).training_reports()
    }
}

/// Loads the model in `folder`, whatever its method; an ensemble of models, too.
///
/// # Errors
/// [`ModelFileError`] where the folder cannot be read, the file is cut short, foreign, newer than this
/// build or inconsistent, its method is unknown, or the device cannot be used.
pub fn load(folder: &Path, device: Device) -> Result<Box<dyn SavedModel>, ModelFileError> {
    if let Some(ensemble) = density_ensemble::load(folder, device)? {
        let model = folder.join(TENSORS);
        if model.exists() {
            let expected = "a model or an ensemble in one folder";
            return Err(ModelFileError::foreign(&model, expected, "both, of a save that was cut off"));
        }
        return Ok(Box::new(ensemble));
    }
    let file = open(folder, None, device)?;
    if let Some(loader) = registry::loader(&file.method) {
        return loader(file);
    }
    let expected = format!("one of the methods {}", registry::method_names().join(", "));
    Err(file.foreign(&expected, format!("`{}`", file.method)))
}

/// Loads the model in `folder`, which must be of one method.
pub(crate) fn load_as<M: LoadableMethod>(folder: &Path, device: Device) -> Result<M::Model, ModelFileError> {
    M::load(open(folder, Some(M::NAME), device)?)
}

/// Reads a model's file; with `method`, that of no other method.
pub(crate) fn open(folder: &Path, method: Option<&str>, device: Device) -> Result<ModelFile, ModelFileError> {
    let path = folder.join(TENSORS);
    let bytes = fs::read(&path).map_err(|source| ModelFileError::Io { path: path.clone(), source })?;
    parse(path, &bytes, method, device)
}

/// Reads the bytes of a model's file, which errors call `path`.
pub(crate) fn parse(
    path: PathBuf,
    bytes: &[u8],
    method: Option<&str>,
    device: Device,
) -> Result<ModelFile, ModelFileError> {
    let (header, tensors) = tensor_file::parse::<ModelHeader>(&path, bytes)?;
    if let Some(method) = method.filter(|method| *method != header.method) {
        let (expected, found) = (format!("a model of method {method}"), header.method);
        return Err(ModelFileError::Mismatch { path, expected, found });
    }
    let device = open_device(device).map_err(|error| ModelFileError::Device(error.to_string()))?;
    Ok(ModelFile { path, method: header.method, description: header.description, tensors, device })
}

/// What every model file says of itself.
#[derive(Debug, Serialize, Deserialize)]
struct ModelHeader {
    method: String,
    library_version: String,
    /// The method's own part: settings, normalisation, data.
    description: serde_json::Value,
}

/// Writes a model: its method's name, its description, its tensors.
pub(crate) fn save(
    folder: &Path,
    method: &str,
    description: &impl Serialize,
    tensors: &NamedTensors,
) -> Result<(), ModelFileError> {
    let path = folder.join(TENSORS);
    let header = save_file(&path, method, description, tensors, Precision::Single)?;
    tensor_file::write_bytes(&folder.join(READABLE_COPY), header.as_bytes())?;
    density_ensemble::forget(folder)
}

/// Removes a model's files from a folder that holds an ensemble from now on.
pub(crate) fn forget(folder: &Path) -> Result<(), ModelFileError> {
    [TENSORS, READABLE_COPY].iter().try_for_each(|name| remove(&folder.join(name)))
}

/// Removes a file, if it is there.
pub(crate) fn remove(path: &Path) -> Result<(), ModelFileError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Err(ModelFileError::Io { path: path.into(), source })
        }
        _ => Ok(()),
    }
}

/// Writes a model to one file; returns its header as JSON.
pub(crate) fn save_file(
    path: &Path,
    method: &str,
    description: &impl Serialize,
    tensors: &NamedTensors,
    precision: Precision,
) -> Result<String, ModelFileError> {
    let description = serde_json::to_value(description)
        .map_err(|error| ModelFileError::foreign(path, "a description that JSON can hold", error))?;
    let library_version = env!("CARGO_PKG_VERSION").to_owned();
    let header = ModelHeader { method: method.to_owned(), library_version, description };
    tensor_file::write_as(path, &header, tensors, precision)?;
    tensor_file::header_json(path, &header)
}

/// A model file that was read and waits to become a model.
pub(crate) struct ModelFile {
    path: PathBuf,
    method: String,
    description: serde_json::Value,
    tensors: NamedTensors,
    pub(crate) device: candle_core::Device,
}

impl ModelFile {
    /// The method's own part of the header.
    pub(crate) fn description<D: DeserializeOwned>(&self) -> Result<D, ModelFileError> {
        serde_json::from_value(self.description.clone())
            .map_err(|error| self.foreign("a description of this method", error))
    }

    /// The tensor of that name and shape; all its values are finite.
    pub(crate) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelFileError> {
        let values = take_tensor(&self.path, &mut self.tensors, name, shape)?;
        match values.iter().find(|value| !value.is_finite()) {
            Some(value) => Err(self.foreign(&format!("finite values in `{name}`"), value)),
            None => Ok(values),
        }
    }

    /// The tensor of that name with `columns` columns and any number of rows.
    pub(crate) fn take_rows(&mut self, name: &str, columns: usize) -> Result<Vec<f32>, ModelFileError> {
        let rows = self.tensors.get(name).and_then(|(shape, _)| shape.first().copied()).unwrap_or(0);
        self.take(name, &[rows, columns])
    }

    /// The network of that shape whose tensors [`insert_network`] wrote under `prefix`.
    pub(crate) fn take_network(
        &mut self,
        prefix: &str,
        shape: &MlpSettings,
    ) -> Result<FrozenMlp, ModelFileError> {
        shape.validate().map_err(|error| self.inconsistent(&error))?;
        let mut layers = Vec::new();
        let ends = shape.hidden.iter().chain(std::iter::once(&shape.outputs));
        let starts = std::iter::once(&shape.inputs).chain(&shape.hidden);
        for (index, (inputs, outputs)) in starts.zip(ends).enumerate() {
            let weight = self.take(&format!("{prefix}.weight.{index}"), &[*outputs, *inputs])?;
            layers.push((weight, self.take(&format!("{prefix}.bias.{index}"), &[*outputs])?));
        }
        FrozenMlp::from_layers(layers, shape.activation, &self.device)
            .map_err(|error| ModelFileError::Device(error.to_string()))
    }

    /// Whether standardisers from the header can be used.
    pub(crate) fn check_standardizers(
        &self,
        standardizers: [&Standardizer; 2],
    ) -> Result<(), ModelFileError> {
        for standardizer in standardizers {
            standardizer.validate().map_err(|error| self.inconsistent(&error))?;
        }
        Ok(())
    }

    /// A domain from the header, for designs of that width.
    pub(crate) fn check_domain(&self, domain: &Domain, width: usize) -> Result<Domain, ModelFileError> {
        if domain.dim() != width {
            return Err(self.foreign(&format!("a domain of {width} variables"), domain.dim()));
        }
        Domain::new(domain.center().to_owned(), domain.range().to_owned())
            .map_err(|error| self.inconsistent(&error))
    }

    /// An error about this file.
    pub(crate) fn foreign(&self, expected: &str, found: impl std::fmt::Display) -> ModelFileError {
        ModelFileError::foreign(&self.path, expected, found)
    }

    /// The error of a check of the header's values.
    pub(crate) fn inconsistent(&self, error: &InvalidArgument) -> ModelFileError {
        self.foreign(&format!("a usable `{}`", error.argument), error)
    }
}

/// Adds a network's layers to a model's tensors.
///
/// # Errors
/// Where the device does not give the weights back.
pub(crate) fn insert_network(
    tensors: &mut NamedTensors,
    prefix: &str,
    network: &FrozenMlp,
) -> Result<(), ModelFileError> {
    let layers = network.layers().map_err(|error| ModelFileError::Device(error.to_string()))?;
    for (index, (weight, bias)) in layers.enumerate() {
        let shape = vec![bias.len(), weight.len() / bias.len().max(1)];
        tensors.insert(format!("{prefix}.weight.{index}"), (shape, weight.to_vec()));
        tensors.insert(format!("{prefix}.bias.{index}"), (vec![bias.len()], bias.to_vec()));
    }
    Ok(())
}
