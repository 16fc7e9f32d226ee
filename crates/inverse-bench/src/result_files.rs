//! Result files: written whole or not at all.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use thiserror::Error;

use crate::{Figure, Table};

/// Why a result could not be written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ResultFileError {
    /// The file or folder could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The rows do not fit the format.
    #[error("cannot format {}: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

/// Replaces the file at `path` in one step.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), ResultFileError> {
    inverse_core::write_atomically(path, bytes)
        .map_err(|source| ResultFileError::Io { path: path.into(), source })
}

/// Rows as CSV with a header.
pub(crate) fn csv_bytes<R: Serialize>(name: &str, rows: &[R]) -> Result<Vec<u8>, ResultFileError> {
    let failed = |reason: String| ResultFileError::Format { path: name.into(), reason };
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(row).map_err(|error| failed(error.to_string()))?;
    }
    writer.into_inner().map_err(|error| failed(error.to_string()))
}

/// A folder of results.
///
/// Files hold results only, no times and no machine: the same seed gives the same bytes.
#[derive(Debug, Clone)]
pub struct ResultFolder {
    path: PathBuf,
}

impl ResultFolder {
    /// Opens or makes the folder, and makes sure that it can be written before hours of work depend on it.
    ///
    /// # Errors
    /// [`ResultFileError::Io`] where the folder cannot be made or written.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self, ResultFileError> {
        let path = path.into();
        let failed = |source| ResultFileError::Io { path: path.clone(), source };
        fs::create_dir_all(&path).map_err(failed)?;
        tempfile::NamedTempFile::new_in(&path).map_err(failed)?;
        Ok(Self { path })
    }

    /// Where the folder is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes bytes to the file `name`.
    ///
    /// # Errors
    /// [`ResultFileError::Io`] where the file cannot be written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), ResultFileError> {
        write_atomically(&self.path.join(name), bytes)
    }

    /// Writes rows as CSV with a header.
    ///
    /// # Errors
    /// [`ResultFileError`] where a row cannot be a line of CSV, or the file cannot be written.
    pub fn write_csv<R: Serialize>(&self, name: &str, rows: &[R]) -> Result<(), ResultFileError> {
        self.write(name, &csv_bytes(name, rows)?)
    }

    /// Writes a table twice: `rows` for programs, `name.csv`, and `table` for people, `name.md`.
    ///
    /// # Errors
    /// As [`ResultFolder::write_csv`].
    pub fn write_table<R: Serialize>(
        &self,
        name: &str,
        rows: &[R],
        table: &Table,
    ) -> Result<(), ResultFileError> {
        self.write_csv(&format!("{name}.csv"), rows)?;
        self.write(&format!("{name}.md"), table.markdown().as_bytes())
    }

    /// Writes a figure twice, `name.svg` and `name.png`.
    ///
    /// # Errors
    /// [`ResultFileError`] where drawing or writing fails.
    pub fn write_figure(&self, name: &str, figure: &(impl Figure + ?Sized)) -> Result<(), ResultFileError> {
        figure.save_svg(&self.path.join(format!("{name}.svg")))?;
        figure.save_png(&self.path.join(format!("{name}.png")))
    }

    /// Writes a value as JSON.
    ///
    /// # Errors
    /// [`ResultFileError`] where the value cannot be JSON, or the file cannot be written.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), ResultFileError> {
        let path = self.path.join(name);
        let json = serde_json::to_vec_pretty(value)
            .map_err(|error| ResultFileError::Format { path: path.clone(), reason: error.to_string() })?;
        write_atomically(&path, &json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_and_json_are_written_whole() {
        let folder = tempfile::tempdir().unwrap();
        let results = ResultFolder::create(folder.path().join("a/b")).unwrap();
        results.write_csv("rows.csv", &[("x", 1.5), ("y", f64::INFINITY)]).unwrap();
        assert_eq!(fs::read_to_string(results.path().join("rows.csv")).unwrap(), "x,1.5\ny,inf\n");
        results.write_json("value.json", &[1, 2]).unwrap();
        results.write("value.json", b"new").unwrap();
        assert_eq!(fs::read(results.path().join("value.json")).unwrap(), b"new");
        assert_eq!(fs::read_dir(results.path()).unwrap().count(), 2, "no temporary file stays");
    }

    #[test]
    fn unwritable_folders_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "old").unwrap();
        let error = ResultFolder::create(file.join("below")).unwrap_err();
        assert!(error.to_string().contains("below"), "{error}");
        assert!(write_atomically(&file.join("x"), b"new").is_err());
        assert_eq!(fs::read(&file).unwrap(), b"old");
    }
}
