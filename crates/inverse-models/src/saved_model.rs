//! Saving fitted models to folders, and getting the right model back.
//!
//! A folder holds `model.safetensors`, which is complete by itself, and `model.json`, a copy of its header
//! for people to read. Loading reads the first, runs no code from it, and checks every number it uses.

use std::path::{Path, PathBuf};

use inverse_core::{Device, InvalidArgument, InverseModel};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::device::open_device;
use crate::neural_adjoint::NeuralAdjointModel;
use crate::tensor_file::{self, ModelFileError, NamedTensors, take_tensor};

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
}

impl<M: SavedModel + ?Sized> SavedModel for Box<M> {
    fn save(&self, folder: &Path) -> Result<(), ModelFileError> {
        (**self).save(folder)
    }
}

/// Reads one kind of model from its file.
type Loader = fn(ModelFile) -> Result<Box<dyn SavedModel>, ModelFileError>;

/// The methods whose models can be loaded: one line each.
const LOADERS: &[(&str, Loader)] =
    &[(NeuralAdjointModel::METHOD, |file| Ok(Box::new(NeuralAdjointModel::from_file(file)?)))];

/// Loads the model in `folder`, whatever its method.
///
/// # Errors
/// [`ModelFileError`] where the folder cannot be read, the file is cut short, foreign, newer than this
/// build or inconsistent, its method is unknown, or the device cannot be used.
pub fn load(folder: &Path, device: Device) -> Result<Box<dyn SavedModel>, ModelFileError> {
    let file = open(folder, None, device)?;
    let Some((_, loader)) = LOADERS.iter().find(|(method, _)| *method == file.method) else {
        let known: Vec<&str> = LOADERS.iter().map(|(method, _)| *method).collect();
        let expected = format!("one of the methods {}", known.join(", "));
        return Err(file.foreign(&expected, format!("`{}`", file.method)));
    };
    loader(file)
}

/// Reads a model's file; with `method`, that of no other method.
pub(crate) fn open(folder: &Path, method: Option<&str>, device: Device) -> Result<ModelFile, ModelFileError> {
    let path = folder.join(TENSORS);
    let (header, tensors) = tensor_file::read::<ModelHeader>(&path)?;
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
    let description = serde_json::to_value(description)
        .map_err(|error| ModelFileError::foreign(&path, "a description that JSON can hold", error))?;
    let library_version = env!("CARGO_PKG_VERSION").to_owned();
    let header = ModelHeader { method: method.to_owned(), library_version, description };
    tensor_file::write(&path, &header, tensors)?;
    let json = tensor_file::header_json(&path, &header)?;
    tensor_file::write_bytes(&folder.join(READABLE_COPY), json.as_bytes())
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

    /// An error about this file.
    pub(crate) fn foreign(&self, expected: &str, found: impl std::fmt::Display) -> ModelFileError {
        ModelFileError::foreign(&self.path, expected, found)
    }

    /// The error of a check of the header's values.
    pub(crate) fn inconsistent(&self, error: &InvalidArgument) -> ModelFileError {
        self.foreign(&format!("a usable `{}`", error.argument), error)
    }
}
