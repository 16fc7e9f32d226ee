//! Datasets in files: CSV for everyone, npy for NumPy.
//!
//! | saved by | files |
//! |---|---|
//! | [`Dataset::save_csv`] at `data.csv` | `data.csv`, `data.domain.csv` |
//! | [`Dataset::save_npy`] in `data/` | `data/x.npy`, `data/y.npy`, `data/domain.csv` |
//!
//! The data file is a plain table with the columns x1 … xd, y1 … yk, one pair a row; the arrays are f64, (n,
//! `dim_x`) and (n, `dim_y`). The domain is a table `center,range`, one row a variable. Data without that file,
//! made by someone else, has the domain of its designs (eq. 5).
//!
//! The domain's first line is a comment with the [`Dataset::content_hash`] of the whole. Two or three files cannot
//! be replaced in one step; the hash tells files of different saves apart, where pairing them would be silent. The
//! domain is replaced first: data of a save that was killed do not lie there without theirs.

mod npy;
mod table;

use std::io;
use std::path::{Path, PathBuf};

use crate::atomic_file::StagedFile;
use crate::{DataError, Dataset, Domain};
use table::Table;

/// What stands before the content hash in the first line of a domain file.
const HASH_MARK: &str = "# content_hash ";

impl Dataset {
    /// Writes the dataset as CSV, and its domain beside it: `data.csv` and `data.domain.csv`, or `data` and
    /// `data.domain` for a name that does not end in `.csv`.
    ///
    /// Numbers are written so that they read back to the same bits. Both files are on the disk before either
    /// replaces an old one, the domain first: a full disk leaves the old dataset, and what ends between the two steps
    /// leaves files that [`Dataset::load_csv`] refuses. [`Dataset::redrawn`] is not kept.
    ///
    /// # Errors
    /// [`DataError::Io`] that names the file that cannot be written.
    ///
    /// ```
    /// use inverse_core::Dataset;
    /// use ndarray::array;
    ///
    /// let folder = tempfile::tempdir()?;
    /// let data = Dataset::new(array![[0.1], [0.2]], array![[1.0], [2.0]])?;
    /// data.save_csv(&folder.path().join("data.csv"))?;
    /// assert_eq!(std::fs::read_to_string(folder.path().join("data.csv"))?, "x1,y1\n0.1,1.0\n0.2,2.0\n");
    /// assert_eq!(Dataset::load_csv(&folder.path().join("data.csv"))?, data);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn save_csv(&self, path: &Path) -> Result<(), DataError> {
        let names = |letter: char, count: usize| (1..=count).map(move |index| format!("{letter}{index}"));
        let header: Vec<String> = names('x', self.x().ncols()).chain(names('y', self.y().ncols())).collect();
        let (x, y) = (self.x(), self.y());
        let rows = x.rows().into_iter().zip(y.rows());
        let data = table::text(&header, rows.map(|(x, y)| x.into_iter().chain(y).copied()));
        replace(&[(path.into(), data.into_bytes()), self.domain_file(domain_path(path))])
    }

    /// Reads a dataset from CSV, and its domain where one lies beside it.
    ///
    /// * `path`: a table with the columns x1 … xd then y1 … yk; lines that begin with `#` are skipped
    ///
    /// # Errors
    /// [`DataError::Io`] where a file cannot be read; [`DataError::Format`] where the header is another, there is
    /// no row, a row has another length, a cell is not a finite number (named by column and by row, the first
    /// below the header being 1), or the domain is that of other data.
    pub fn load_csv(path: &Path) -> Result<Self, DataError> {
        let bytes = read(path)?;
        let table = Table::parse(path, &bytes, "columns x1, x2, … then y1, y2, …", |header| {
            let dim_x = leading_x(header);
            let x = (1..=dim_x).map(|index| format!("x{index}"));
            let y = (1..=header.len() - dim_x).map(|index| format!("y{index}"));
            dim_x > 0 && dim_x < header.len() && x.chain(y).eq(header.iter().cloned())
        })?;
        let dim_x = leading_x(table.header());
        let all = table.into_array()?;
        let (x, y) = all.view().split_at(ndarray::Axis(1), dim_x);
        Self::new(x.to_owned(), y.to_owned())?.with_domain_of(&domain_path(path))
    }

    /// Writes the dataset to a folder as `x.npy`, `y.npy` and `domain.csv`; the folder is made where it does
    /// not exist. What ends early leaves what it leaves in [`Dataset::save_csv`].
    ///
    /// # Errors
    /// [`DataError::Io`] that names the folder or file that cannot be written.
    ///
    /// ```
    /// use inverse_core::Dataset;
    /// use ndarray::array;
    ///
    /// let folder = tempfile::tempdir()?;
    /// let data = Dataset::new(array![[0.1], [0.2]], array![[1.0], [2.0]])?;
    /// data.save_npy(folder.path())?; // NumPy: x = numpy.load("x.npy")
    /// assert_eq!(Dataset::load_npy(folder.path())?.content_hash(), data.content_hash());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn save_npy(&self, folder: &Path) -> Result<(), DataError> {
        std::fs::create_dir_all(folder).map_err(|source| DataError::Io { path: folder.into(), source })?;
        let mut files = Vec::new();
        for (name, array) in [("x.npy", self.x()), ("y.npy", self.y())] {
            let path = folder.join(name);
            let bytes = npy::bytes(&path, array)?;
            files.push((path, bytes));
        }
        files.push(self.domain_file(folder.join("domain.csv")));
        replace(&files)
    }

    /// Reads a dataset from a folder with `x.npy` and `y.npy`, and `domain.csv` where there is one.
    ///
    /// # Errors
    /// [`DataError::Io`] where a file cannot be read; [`DataError::Format`] where it is not a whole npy file of
    /// finite f64 with two axes, an axis is empty, the numbers of rows differ, or the domain is that of other
    /// data.
    pub fn load_npy(folder: &Path) -> Result<Self, DataError> {
        let array = |name: &str| {
            let path = folder.join(name);
            npy::array(&path, &read(&path)?)
        };
        let (x, y) = (array("x.npy")?, array("y.npy")?);
        if x.nrows() != y.nrows() {
            let expected = format!("{} rows, as in x.npy", x.nrows());
            return Err(format_error(&folder.join("y.npy"), &expected, format!("{} rows", y.nrows())));
        }
        Self::new(x, y)?.with_domain_of(&folder.join("domain.csv"))
    }

    fn domain_file(&self, path: PathBuf) -> (PathBuf, Vec<u8>) {
        let (center, range) = (self.domain().center(), self.domain().range());
        let rows = center.into_iter().zip(range).map(|(center, range)| [*center, *range].into_iter());
        let table = table::text(&["center".to_owned(), "range".to_owned()], rows);
        (path, format!("{HASH_MARK}{}\n{table}", self.content_hash()).into_bytes())
    }

    /// Takes the domain from its file; keeps that of the designs where there is no such file.
    fn with_domain_of(self, path: &Path) -> Result<Self, DataError> {
        let bytes = match read(path) {
            Err(DataError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(self),
            bytes => bytes?,
        };
        let dim_x = self.x().ncols();
        let data = self.with_domain(parse_domain(path, &bytes, dim_x)?)?;
        match saved_hash(&bytes) {
            Some(saved) if saved != data.content_hash() => Err(format_error(
                path,
                &format!("the domain of the data beside it, of content hash {}", data.content_hash()),
                format!(
                    "that of other data, {saved}; save the dataset again, or remove this file's first line if \
                     the data was changed on purpose"
                ),
            )),
            _ => Ok(data),
        }
    }
}

/// How many columns belong to x, where the header is one of a dataset.
fn leading_x(header: &[String]) -> usize {
    header.iter().take_while(|name| name.starts_with('x')).count()
}

fn parse_domain(path: &Path, bytes: &[u8], dim_x: usize) -> Result<Domain, DataError> {
    let header = ["center", "range"];
    let table = Table::parse(path, bytes, "columns center, range", |found| found == header)?;
    let array = table.into_array()?;
    if array.nrows() != dim_x {
        let expected = format!("one row for each of the {dim_x} variables of x");
        return Err(format_error(path, &expected, format!("{} rows", array.nrows())));
    }
    Domain::new(array.column(0).to_owned(), array.column(1).to_owned())
        .map_err(|error| format_error(path, "a domain", error))
}

/// The content hash in the first line, where [`Dataset`] wrote the file.
fn saved_hash(bytes: &[u8]) -> Option<String> {
    let line = bytes.strip_prefix(HASH_MARK.as_bytes())?.split(|byte| *byte == b'\n').next()?;
    Some(String::from_utf8_lossy(line).trim().to_owned())
}

/// `data.domain.csv` for `data.csv`, `data.domain` for `data`: no two names share a domain.
fn domain_path(path: &Path) -> PathBuf {
    if path.extension().is_some_and(|ending| ending == "csv") {
        return path.with_extension("domain.csv");
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".domain");
    name.into()
}

fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    std::fs::read(path).map_err(|source| DataError::Io { path: path.into(), source })
}

/// Replaces files that belong together: none before all are on the disk, and the last, which is the domain, first.
fn replace(files: &[(PathBuf, Vec<u8>)]) -> Result<(), DataError> {
    let io_error = |path: &Path, source| DataError::Io { path: path.into(), source };
    let staged: Vec<StagedFile> = files
        .iter()
        .map(|(path, bytes)| StagedFile::write(path, bytes).map_err(|source| io_error(path, source)))
        .collect::<Result<_, _>>()?;
    staged.into_iter().rev().try_for_each(|file| {
        let path = file.path().to_owned();
        file.commit().map_err(|source| io_error(&path, source))
    })
}

fn format_error(path: &Path, expected: &str, found: impl std::fmt::Display) -> DataError {
    DataError::Format { path: path.into(), expected: expected.into(), found: found.to_string() }
}

#[cfg(test)]
mod tests;
