//! Claims: locks of the operating system that end with the process that took them.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::Path;

use super::{StoreError, io_error};

/// The right to work on a cell, or to use the machine; given back when it is dropped or its process ends.
#[derive(Debug)]
#[must_use = "a claim that is dropped is given back"]
pub struct Claim {
    _file: File,
}

impl Claim {
    pub(super) fn take(path: &Path) -> Result<Option<Self>, StoreError> {
        let mut file = open(path)?;
        if !locked(path, file.try_lock())? {
            return Ok(None);
        }
        // For people who look: the lock is what counts, so a claim that cannot be signed is a claim.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "process {}", std::process::id()));
        Ok(Some(Self { _file: file }))
    }

    pub(super) fn take_shared(path: &Path) -> Result<Option<Self>, StoreError> {
        let file = open(path)?;
        Ok(locked(path, file.try_lock_shared())?.then_some(Self { _file: file }))
    }
}

/// The file stays when the claim ends: deleting it would let two processes lock two files of one name.
fn open(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path).map_err(io_error(path))
}

fn locked(path: &Path, outcome: Result<(), TryLockError>) -> Result<bool, StoreError> {
    match outcome {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) if source.kind() == ErrorKind::Unsupported => {
            Err(StoreError::NoLocks { path: path.into(), source })
        }
        Err(TryLockError::Error(source)) => Err(io_error(path)(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_taken_once_and_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cell.lock");
        let claim = Claim::take(&path).unwrap().unwrap();
        assert!(Claim::take(&path).unwrap().is_none());
        drop(claim);
        assert!(Claim::take(&path).unwrap().is_some());
    }

    #[test]
    fn the_machine_is_shared_or_held_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("machine.lock");
        let one = Claim::take_shared(&path).unwrap().unwrap();
        let two = Claim::take_shared(&path).unwrap().unwrap();
        assert!(Claim::take(&path).unwrap().is_none());
        drop((one, two));
        let alone = Claim::take(&path).unwrap().unwrap();
        assert!(Claim::take_shared(&path).unwrap().is_none());
        drop(alone);
    }
}
