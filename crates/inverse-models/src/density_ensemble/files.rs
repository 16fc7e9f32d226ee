//! Ensembles in folders: one folder a member, and a list of them.
//!
//! ```text
//! ensemble.json        how many members, and in which generation
//! generation-1/
//!     member-0/        as the member's own model is saved
//!     member-1/
//! ```
//!
//! A save writes a new generation beside the old one, then replaces the list in one step, and only then removes the old: a
//! crash leaves the old ensemble or the new one, never members of both.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use inverse_core::{Device, ProposeError};
use serde::{Deserialize, Serialize};

use super::DensityEnsembleModel;
use crate::ensemble::LARGEST_MEMBER_COUNT;
use crate::saved_model::{self, SavedModel};
use crate::tensor_file::{ModelFileError, write_bytes};

const LIST: &str = "ensemble.json";
const FORMAT: &str = "inverse density ensemble";

/// The list of members.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    format: String,
    library_version: String,
    generation: u32,
    members: usize,
}

impl List {
    /// The list in a folder; `None` where there is none.
    fn read(folder: &Path) -> Result<Option<Self>, ModelFileError> {
        let path = folder.join(LIST);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|source| ModelFileError::Io { path: path.clone(), source })?,
        };
        let foreign =
            |found: String| ModelFileError::foreign(&path, "a list of an ensemble's members", found);
        let list: Self = serde_json::from_slice(&bytes).map_err(|error| foreign(error.to_string()))?;
        if list.format != FORMAT {
            return Err(foreign(format!("the format \"{}\"", list.format)));
        }
        if !(1..=LARGEST_MEMBER_COUNT).contains(&list.members) {
            return Err(foreign(format!("{} members", list.members)));
        }
        Ok(Some(list))
    }

    /// The folder of a member.
    fn member(&self, folder: &Path, index: usize) -> PathBuf {
        generation(folder, self.generation).join(format!("member-{index}"))
    }
}

fn generation(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("generation-{number}"))
}

impl<M: SavedModel> SavedModel for DensityEnsembleModel<M> {
    /// Writes every member to a folder of its own; [`load`](crate::load) gives the ensemble back. What `folder` holds of an
    /// ensemble before is replaced.
    fn save(&self, folder: &Path) -> Result<(), ModelFileError> {
        // A list that cannot be read names nothing worth keeping.
        let old = List::read(folder).unwrap_or(None).map(|list| list.generation);
        let mut number = old.map_or(0, |old| old.wrapping_add(1));
        // What no list names is left alone: it need not be an ensemble's.
        while generation(folder, number).exists() {
            number = number.wrapping_add(1);
        }
        let list = List {
            format: FORMAT.into(),
            library_version: env!("CARGO_PKG_VERSION").into(),
            generation: number,
            members: self.members.len(),
        };
        for (index, member) in self.members.iter().enumerate() {
            member.save(&list.member(folder, index))?;
        }
        let path = folder.join(LIST);
        let text = serde_json::to_string_pretty(&list)
            .map_err(|error| ModelFileError::foreign(&path, "a list that JSON can hold", error))?;
        write_bytes(&path, text.as_bytes())?;
        saved_model::forget(folder)?;
        if let Some(old) = old {
            // The ensemble is saved, whatever becomes of what it replaces.
            let _ = fs::remove_dir_all(generation(folder, old));
        }
        Ok(())
    }
}

/// Removes the ensemble from a folder that holds another model from now on.
pub(crate) fn forget(folder: &Path) -> Result<(), ModelFileError> {
    let old = List::read(folder).unwrap_or(None);
    saved_model::remove(&folder.join(LIST))?;
    if let Some(old) = old {
        let _ = fs::remove_dir_all(generation(folder, old.generation));
    }
    Ok(())
}

/// The ensemble in a folder; `None` where it holds none.
pub(crate) fn load(
    folder: &Path,
    device: Device,
) -> Result<Option<DensityEnsembleModel<Box<dyn SavedModel>>>, ModelFileError> {
    let Some(list) = List::read(folder)? else { return Ok(None) };
    let members = (0..list.members).map(|index| saved_model::load(&list.member(folder, index), device));
    let members = members.collect::<Result<Vec<_>, _>>()?;
    let ensemble = DensityEnsembleModel::new(members).map_err(|error| match error {
        ProposeError::InvalidArgument(error) => {
            let expected = "members of one width that have a density";
            ModelFileError::foreign(&folder.join(LIST), expected, error)
        }
        error => ModelFileError::Device(error.to_string()),
    });
    ensemble.map(Some)
}
