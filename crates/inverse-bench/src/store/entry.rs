//! The record of a finished cell.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{StoreError, io_error};
use crate::Cell;

const FILE: &str = "entry.json";

/// Of this layout; another one is not read.
const FORMAT: u32 = 1;

/// How files that were being written when a process was killed begin.
const TEMPORARY_PREFIX: &str = ".tmp";

/// How a cell stands.
#[derive(Debug, Clone, PartialEq)]
pub enum EntryState {
    /// It was never begun, or not ended.
    Unfinished,
    /// It has ended, and its files are what they were then.
    Finished(Entry),
    /// What lies there cannot be trusted, and why.
    Damaged(String),
}

/// A finished cell: what it is, what it depends on, and the digests of its files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    format: u32,
    /// What was done.
    pub cell: Cell,
    /// Everything that the cell's bits depend on.
    pub identity: serde_json::Value,
    /// Version of the library that did it.
    pub library_version: String,
    /// SHA-256 of each file, by name.
    pub files: BTreeMap<String, String>,
}

impl Entry {
    /// The record of the files that lie in a folder.
    pub(super) fn of(folder: &Path, cell: &Cell, identity: &serde_json::Value) -> Result<Self, StoreError> {
        let mut files = BTreeMap::new();
        for file in fs::read_dir(folder).map_err(io_error(folder))? {
            let path = file.map_err(io_error(folder))?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if path.is_file() && name != FILE && !name.starts_with(TEMPORARY_PREFIX) {
                files.insert(name, digest(&fs::read(&path).map_err(io_error(&path))?));
            }
        }
        let library_version = env!("CARGO_PKG_VERSION").into();
        Ok(Self { format: FORMAT, cell: cell.clone(), identity: identity.clone(), library_version, files })
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), StoreError> {
        let path = folder.join(FILE);
        let json = serde_json::to_vec_pretty(self)
            .map_err(|error| StoreError::Format { path: path.clone(), reason: error.to_string() })?;
        inverse_core::write_atomically(&path, &json).map_err(io_error(&path))
    }

    /// The record in a folder; `None` where there is none, and why it cannot be read where there is a bad one.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, String> {
        let bytes = match fs::read(folder.join(FILE)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{FILE}: {error}")),
        };
        let entry: Self = serde_json::from_slice(&bytes).map_err(|error| format!("{FILE}: {error}"))?;
        if entry.format != FORMAT {
            return Err(format!("{FILE}: expected format {FORMAT}, found {}", entry.format));
        }
        Ok(Some(entry))
    }

    /// Compares each file with its digest; says which one differs.
    pub(super) fn verify(&self, folder: &Path) -> Result<(), String> {
        for (name, expected) in &self.files {
            let bytes = fs::read(folder.join(name)).map_err(|error| format!("{name}: {error}"))?;
            if digest(&bytes) != *expected {
                return Err(format!("{name}: its bytes are not those that were recorded"));
            }
        }
        Ok(())
    }
}

fn digest(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// Bytes as hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| DIGITS[usize::from(digit)]).collect()
}
