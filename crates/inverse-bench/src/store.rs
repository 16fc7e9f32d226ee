//! The store of a study: a folder that any number of processes may share.
//!
//! ```text
//! STORE/cells/<task>-<method>-<stage>-<hash>/   one cell: its files, and entry.json, which is written last
//! STORE/claims/<the same name>.lock             locked by the process that works on the cell
//! STORE/aside/<the same name>-<number>/         what could not be trusted; never deleted
//! ```
//!
//! The hash is over everything that a cell's bits depend on, so a finished cell is good for every study that asks
//! for the same. A claim is a lock of the operating system: it ends with its process, however that ends.

mod claim;
mod entry;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use thiserror::Error;

pub use claim::Claim;
pub(crate) use entry::hexadecimal;
pub use entry::{Entry, EntryState};

use crate::Cell;

const CELLS: &str = "cells";
const CLAIMS: &str = "claims";
const ASIDE: &str = "aside";

/// Locked shared by every process that works, and alone by one that takes times.
const MACHINE: &str = "machine";

/// Why a store could not be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file or folder of the store could not be read or written.
    #[error("store: {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The store's file system has no locks, so processes cannot tell each other what they work on.
    #[error("store: {} cannot be locked ({source}); use a file system with locks", path.display())]
    NoLocks {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A value that cannot be written as JSON.
    #[error("store: {}: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

pub(crate) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_path_buf();
    |source| StoreError::Io { path, source }
}

/// A folder of finished and unfinished cells.
///
/// ```
/// use inverse_bench::{Cell, EntryState, Stage, Store};
/// use serde_json::json;
///
/// let folder = tempfile::tempdir()?;
/// let store = Store::open(folder.path())?;
/// let (id, identity) = ("my-task-my-method-training-0a1b", json!({"epochs": 3, "seed": 1}));
/// let claim = store.claim(id)?.ok_or("another process is at work on it")?;
/// assert_eq!(store.state(id, &identity)?, EntryState::Unfinished);
/// // The work: its files go into the cell's folder.
/// std::fs::create_dir_all(store.folder(id))?;
/// std::fs::write(store.folder(id).join("result.txt"), "42")?;
/// let cell = Cell {
///     task: "my-task".into(),
///     method: "my-method".into(),
///     label: "mine".into(),
///     stage: Stage::Training,
///     trial: Some(1),
///     profile: "quick".into(),
///     seed: 1,
/// };
/// store.finish(id, &cell, &identity)?;
/// drop(claim);
/// assert!(matches!(store.state(id, &identity)?, EntryState::Finished(_)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    /// Entries whose files were compared with their digests by this process: once is enough.
    verified: Mutex<BTreeSet<String>>,
}

impl Store {
    /// Opens the store in a folder, or makes one there.
    ///
    /// # Errors
    /// [`StoreError::Io`] where the folder cannot be made or written.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let root = root.into();
        for folder in [CELLS, CLAIMS] {
            let path = root.join(folder);
            fs::create_dir_all(&path).map_err(io_error(&path))?;
            tempfile::NamedTempFile::new_in(&path).map_err(io_error(&path))?;
        }
        Ok(Self { root, verified: Mutex::default() })
    }

    /// Opens a store that is there; nothing is made.
    ///
    /// # Errors
    /// [`StoreError::Io`] where there is none.
    pub fn existing(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let root = root.into();
        let cells = root.join(CELLS);
        fs::read_dir(&cells).map_err(io_error(&cells))?;
        Ok(Self { root, verified: Mutex::default() })
    }

    /// Where the store is.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The folder of a cell, which may not exist yet.
    pub fn folder(&self, id: &str) -> PathBuf {
        self.root.join(CELLS).join(id)
    }

    /// How a cell stands. Files of a finished one are compared with their digests, once a process.
    ///
    /// * `identity`: what the cell's bits depend on; an entry of that name with another identity is damaged
    ///
    /// # Errors
    /// [`StoreError::Io`] where the folder cannot be read for a reason other than damage.
    pub fn state(&self, id: &str, identity: &serde_json::Value) -> Result<EntryState, StoreError> {
        let folder = self.folder(id);
        let entry = match Entry::read(&folder) {
            Ok(Some(entry)) => entry,
            Ok(None) => return Ok(EntryState::Unfinished),
            Err(reason) => return Ok(EntryState::Damaged(reason)),
        };
        if entry.identity != *identity {
            return Ok(EntryState::Damaged("entry.json is of another cell".into()));
        }
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if !verified.contains(id) {
            if let Err(reason) = entry.verify(&folder) {
                return Ok(EntryState::Damaged(reason));
            }
            verified.insert(id.to_owned());
        }
        Ok(EntryState::Finished(entry))
    }

    /// Claims a cell for this process; `None` while another one works on it.
    ///
    /// # Errors
    /// [`StoreError`] where the claim cannot be written, or the file system has no locks.
    pub fn claim(&self, id: &str) -> Result<Option<Claim>, StoreError> {
        Claim::take(&self.root.join(CLAIMS).join(format!("{id}.lock")))
    }

    /// Holds the machine for a cell: alone, so that times are true, or with others.
    ///
    /// # Errors
    /// As [`Store::claim`].
    pub fn occupy_machine(&self, alone: bool) -> Result<Option<Claim>, StoreError> {
        let path = self.root.join(CLAIMS).join(format!("{MACHINE}.lock"));
        if alone { Claim::take(&path) } else { Claim::take_shared(&path) }
    }

    /// Records a cell as finished, with the digests of all files in its folder.
    ///
    /// # Errors
    /// [`StoreError`] where a file cannot be read or the record cannot be written; the cell then stays unfinished.
    pub fn finish(&self, id: &str, cell: &Cell, identity: &serde_json::Value) -> Result<Entry, StoreError> {
        let folder = self.folder(id);
        let entry = Entry::of(&folder, cell, identity)?;
        entry.write(&folder)?;
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned());
        Ok(entry)
    }

    /// Moves what lies in a cell's folder out of the way; nothing is deleted. Gives its new place.
    ///
    /// # Errors
    /// [`StoreError::Io`] where it cannot be moved.
    pub fn set_aside(&self, id: &str) -> Result<PathBuf, StoreError> {
        let aside = self.root.join(ASIDE);
        fs::create_dir_all(&aside).map_err(io_error(&aside))?;
        let places = (1_u32..).map(|number| aside.join(format!("{id}-{number}")));
        let Some(place) = places.into_iter().find(|place| !place.exists()) else {
            return Err(io_error(&aside)(io::ErrorKind::AlreadyExists.into()));
        };
        let folder = self.folder(id);
        fs::rename(&folder, &place).map_err(io_error(&folder))?;
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        Ok(place)
    }

    /// Every folder among the cells, by name, and how it stands; whose cells they are is not known here.
    ///
    /// # Errors
    /// [`StoreError::Io`] where the store cannot be read.
    pub fn entries(&self) -> Result<Vec<(String, EntryState)>, StoreError> {
        let cells = self.root.join(CELLS);
        let mut entries = Vec::new();
        for file in fs::read_dir(&cells).map_err(io_error(&cells))? {
            let path = file.map_err(io_error(&cells))?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let state = match Entry::read(&path) {
                Ok(None) => EntryState::Unfinished,
                Ok(Some(entry)) => match entry.verify(&path) {
                    Ok(()) => EntryState::Finished(entry),
                    Err(reason) => EntryState::Damaged(reason),
                },
                Err(reason) => EntryState::Damaged(reason),
            };
            entries.push((name, state));
        }
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Stage;

    const ID: &str = "task-method-training-00";

    fn cell() -> Cell {
        Cell {
            task: "task".into(),
            method: "method".into(),
            label: "Method".into(),
            stage: Stage::Training,
            trial: Some(1),
            profile: "smoke".into(),
            seed: 1,
        }
    }

    fn finished() -> (tempfile::TempDir, Store, serde_json::Value) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("store")).unwrap();
        let identity = json!({"settings": [1, 2], "seed": 7});
        assert_eq!(store.state(ID, &identity).unwrap(), EntryState::Unfinished);
        fs::create_dir_all(store.folder(ID)).unwrap();
        fs::write(store.folder(ID).join("result.json"), "1.5").unwrap();
        assert_eq!(store.state(ID, &identity).unwrap(), EntryState::Unfinished);
        store.finish(ID, &cell(), &identity).unwrap();
        (folder, store, identity)
    }

    #[test]
    fn finished_cells_stay_finished_for_every_process() {
        let (_folder, store, identity) = finished();
        let EntryState::Finished(entry) = store.state(ID, &identity).unwrap() else { panic!("unfinished") };
        assert_eq!(entry.cell, cell());
        assert_eq!(entry.files.keys().collect::<Vec<_>>(), ["result.json"]);
        let other = Store::open(store.path()).unwrap();
        assert_eq!(other.state(ID, &identity).unwrap(), EntryState::Finished(entry));
    }

    #[test]
    fn damage_is_seen_and_set_aside_whole() {
        let damages: [(&str, &[u8], &str); 4] = [
            ("result.json", b"1.6", "result.json"),
            ("entry.json", b"{\"format\": 1", "entry.json"),
            ("entry.json", b"{}", "entry.json"),
            ("entry.json", b"\xff\xfe", "entry.json"),
        ];
        for (file, bytes, words) in damages {
            let (_folder, store, identity) = finished();
            fs::write(store.folder(ID).join(file), bytes).unwrap();
            let other = Store::open(store.path()).unwrap();
            let EntryState::Damaged(reason) = other.state(ID, &identity).unwrap() else {
                panic!("{file} with {bytes:?} was trusted")
            };
            assert!(reason.contains(words), "{reason}");
            let place = other.set_aside(ID).unwrap();
            assert_eq!(fs::read(place.join(file)).unwrap(), bytes);
            assert_eq!(other.state(ID, &identity).unwrap(), EntryState::Unfinished);
        }
    }

    #[test]
    fn missing_files_and_other_identities_are_damage() {
        let (_folder, store, identity) = finished();
        let damaged = |state| matches!(state, EntryState::Damaged(_));
        assert!(damaged(store.state(ID, &json!({"seed": 8})).unwrap()));
        fs::remove_file(store.folder(ID).join("result.json")).unwrap();
        let other = Store::open(store.path()).unwrap();
        assert!(damaged(other.state(ID, &identity).unwrap()));
        let [(name, EntryState::Damaged(reason))] = &other.entries().unwrap()[..] else {
            panic!("one damaged entry")
        };
        assert!(name == ID && reason.contains("result.json"), "{name}: {reason}");
    }

    #[test]
    fn places_aside_are_never_used_twice() {
        let (_folder, store, _) = finished();
        let first = store.set_aside(ID).unwrap();
        fs::create_dir_all(store.folder(ID)).unwrap();
        let second = store.set_aside(ID).unwrap();
        assert_ne!(first, second);
        assert!(first.join("result.json").exists());
    }
}
