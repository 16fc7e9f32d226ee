//! Files of named tensors with a JSON header: saved models and training checkpoints.
//!
//! One safetensors file holds everything, so one rename replaces everything: a reader sees the old file or
//! the new one, never a mixture. Reading a file runs no code from it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use half::f16;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;

/// The metadata key under which the JSON header stands.
const HEADER: &str = "inverse";

/// The version of the header that this build writes, and the newest that it reads.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// Why a model file could not be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelFileError {
    /// The file or folder could not be read or written.
    #[error("cannot access {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The file is cut short, damaged, or of another kind.
    #[error("{} is not a file of this library: expected {expected}, found {found}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What a file of this library holds.
        expected: String,
        /// What this one holds.
        found: String,
    },
    /// The file was written by a newer version of this library.
    #[error("{} has schema version {found}; this build reads up to {newest}: update the library", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The file's schema version.
        found: u32,
        /// The newest version that this build reads.
        newest: u32,
    },
    /// The file is sound but belongs to another training or method.
    #[error("{} belongs to something else: expected {expected}, found {found}", path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        expected: String,
        /// What the file holds.
        found: String,
    },
    /// The device cannot hold the model.
    #[error("device: {0}")]
    Device(String),
}

impl ModelFileError {
    pub(crate) fn foreign(path: &Path, expected: impl Into<String>, found: impl std::fmt::Display) -> Self {
        Self::Foreign { path: path.into(), expected: expected.into(), found: found.to_string() }
    }
}

/// Named `f32` tensors: shape and values, row-major.
pub(crate) type NamedTensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// How the numbers of a file's tensors are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 32 bits: what networks compute in.
    #[default]
    Single,
    /// 16 bits (IEEE 754 binary16): half the bytes, 11 significant bits.
    Half,
}

/// Writes header and tensors to `path` in one atomic step.
pub(crate) fn write<H: Serialize>(
    path: &Path,
    header: &H,
    tensors: &NamedTensors,
) -> Result<(), ModelFileError> {
    write_as(path, header, tensors, Precision::Single)
}

/// Writes header and tensors, of that precision, to `path` in one atomic step.
pub(crate) fn write_as<H: Serialize>(
    path: &Path,
    header: &H,
    tensors: &NamedTensors,
    precision: Precision,
) -> Result<(), ModelFileError> {
    let dtype = match precision {
        Precision::Single => Dtype::F32,
        Precision::Half => Dtype::F16,
    };
    let encode = |values: &[f32]| -> Vec<u8> {
        match precision {
            Precision::Single => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Precision::Half => values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect(),
        }
    };
    let json = header_json(path, header)?;
    let bytes: Vec<(&String, &Vec<usize>, Vec<u8>)> =
        tensors.iter().map(|(name, (shape, values))| (name, shape, encode(values))).collect();
    let unwritable = |error: safetensors::SafeTensorError| {
        ModelFileError::foreign(path, "tensors whose shapes fit their values", error)
    };
    let mut views = Vec::with_capacity(bytes.len());
    for (name, shape, bytes) in &bytes {
        views.push((name.as_str(), TensorView::new(dtype, (*shape).clone(), bytes).map_err(unwritable)?));
    }
    let metadata = HashMap::from([(HEADER.to_owned(), json)]);
    let file = safetensors::serialize(views, Some(metadata)).map_err(unwritable)?;
    write_bytes(path, &file)
}

/// The header as JSON with its schema version.
pub(crate) fn header_json<H: Serialize>(path: &Path, header: &H) -> Result<String, ModelFileError> {
    let broken =
        |error: serde_json::Error| ModelFileError::foreign(path, "a header that JSON can hold", error);
    let mut value = serde_json::to_value(header).map_err(broken)?;
    if let Some(object) = value.as_object_mut() {
        object.insert("schema_version".into(), SCHEMA_VERSION.into());
    }
    serde_json::to_string_pretty(&value).map_err(broken)
}

/// Makes the folder where it does not exist, and replaces the file in one step.
pub(crate) fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), ModelFileError> {
    let failed = |source| ModelFileError::Io { path: path.into(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(failed)?;
    inverse_core::write_atomically(path, bytes).map_err(failed)
}

/// Reads header and tensors from `path`.
pub(crate) fn read<H: DeserializeOwned>(path: &Path) -> Result<(H, NamedTensors), ModelFileError> {
    let bytes = fs::read(path).map_err(|source| ModelFileError::Io { path: path.into(), source })?;
    parse(path, &bytes)
}

/// Reads header and tensors from the bytes of a file; `path` is what errors call it.
pub(crate) fn parse<H: DeserializeOwned>(
    path: &Path,
    bytes: &[u8],
) -> Result<(H, NamedTensors), ModelFileError> {
    let foreign = |found: String| ModelFileError::foreign(path, "a safetensors file with a header", found);
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| foreign(error.to_string()))?;
    let header = metadata.metadata().as_ref().and_then(|entries| entries.get(HEADER));
    let header = header.ok_or_else(|| foreign("no header".into()))?;
    let value: serde_json::Value =
        serde_json::from_str(header).map_err(|error| foreign(error.to_string()))?;
    let version = value.get("schema_version").and_then(serde_json::Value::as_u64);
    let version = version.and_then(|version| u32::try_from(version).ok());
    let version = version.ok_or_else(|| foreign("no schema version".into()))?;
    if version > SCHEMA_VERSION {
        return Err(ModelFileError::Newer { path: path.into(), found: version, newest: SCHEMA_VERSION });
    }
    let header = serde_json::from_value(value).map_err(|error| foreign(error.to_string()))?;
    let file = SafeTensors::deserialize(bytes).map_err(|error| foreign(error.to_string()))?;
    let mut tensors = NamedTensors::new();
    for (name, view) in file.iter() {
        let values = match view.dtype() {
            Dtype::F32 => {
                let words = view.data().chunks_exact(4);
                words.map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect()
            }
            Dtype::F16 => {
                let words = view.data().chunks_exact(2);
                words.map(|word| f16::from_le_bytes([word[0], word[1]]).to_f32()).collect()
            }
            other => {
                let found = format!("{name}: {other:?}");
                return Err(ModelFileError::foreign(path, "f32 or f16 tensors", found));
            }
        };
        tensors.insert(name.to_owned(), (view.shape().to_vec(), values));
    }
    Ok((header, tensors))
}

/// Takes the tensor of that name and shape out of a file's tensors.
pub(crate) fn take_tensor(
    path: &Path,
    tensors: &mut NamedTensors,
    name: &str,
    shape: &[usize],
) -> Result<Vec<f32>, ModelFileError> {
    match tensors.remove(name) {
        Some((found, values)) if found == shape => Ok(values),
        Some((found, _)) => {
            let expected = format!("tensor `{name}` of shape {shape:?}");
            Err(ModelFileError::foreign(path, expected, format!("shape {found:?}")))
        }
        None => Err(ModelFileError::foreign(path, format!("a tensor named `{name}`"), "none")),
    }
}
