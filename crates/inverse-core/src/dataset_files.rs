//! Datasets in files: CSV for everyone, npy for NumPy.
//!
//! A CSV file has the columns x1 … xd, y1 … yk, in that order, one pair a row. The domain stands in a file
//! of its own beside it (`data.csv` and `data.domain.csv`: one row a variable, `center,range`), so that the
//! data stays a plain table; without that file the domain is that of the designs read. An npy dataset is a
//! folder with `x.npy` and `y.npy` (f64, two axes) and `domain.csv`.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use ndarray::Array2;
use ndarray_npy::{ReadNpyExt, WriteNpyExt};

use crate::{DataError, Dataset, Domain, write_atomically};

impl Dataset {
    /// Writes the dataset as CSV, and its domain beside it; numbers are written so that they read back to the
    /// same bits. Each file is replaced in one step.
    ///
    /// # Errors
    /// [`DataError::Io`] where a file cannot be written.
    ///
    /// ```
    /// use inverse_core::Dataset;
    /// use ndarray::array;
    ///
    /// let folder = tempfile::tempdir()?;
    /// let data = Dataset::new(array![[0.1], [0.2]], array![[1.0], [2.0]])?;
    /// data.save_csv(&folder.path().join("data.csv"))?;
    /// assert_eq!(Dataset::load_csv(&folder.path().join("data.csv"))?, data);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn save_csv(&self, path: &Path) -> Result<(), DataError> {
        let names = |letter: char, count: usize| (1..=count).map(move |index| format!("{letter}{index}"));
        let header: Vec<String> = names('x', self.x().ncols()).chain(names('y', self.y().ncols())).collect();
        let (x, y) = (self.x(), self.y());
        let pairs = x.rows().into_iter().zip(y.rows());
        let rows = pairs.map(|(x, y)| x.iter().chain(y).map(|value| format!("{value:?}")).collect());
        write_csv(path, &header, rows)?;
        self.save_domain(&domain_path(path))
    }

    /// Reads a dataset from CSV, and its domain where one lies beside it.
    ///
    /// # Errors
    /// [`DataError::Io`] where the file cannot be read; [`DataError::Format`] where its header, a row or a
    /// number is not as [`Dataset::save_csv`] writes it; [`DataError::InvalidArgument`] where a value is not
    /// finite or there is no row.
    pub fn load_csv(path: &Path) -> Result<Self, DataError> {
        let (header, rows) = read_csv(path)?;
        let dim_x = header.iter().take_while(|name| name.starts_with('x')).count();
        let expected: Vec<String> = (1..=dim_x)
            .map(|index| format!("x{index}"))
            .chain((1..=header.len() - dim_x).map(|index| format!("y{index}")))
            .collect();
        if header != expected || dim_x == 0 || dim_x == header.len() {
            return Err(format_error(path, "columns x1, x2, … then y1, y2, …", header.join(", ")));
        }
        let values = rows.concat();
        let all = Array2::from_shape_vec((rows.len(), header.len()), values)
            .map_err(|error| format_error(path, "rows of one length", error))?;
        let (x, y) = all.view().split_at(ndarray::Axis(1), dim_x);
        Self::new(x.to_owned(), y.to_owned())?.with_domain_of(&domain_path(path))
    }

    /// Writes the dataset to a folder as `x.npy`, `y.npy` and `domain.csv`; the folder is made where it does
    /// not exist, and each file is replaced in one step.
    ///
    /// # Errors
    /// [`DataError::Io`] where a file cannot be written.
    pub fn save_npy(&self, folder: &Path) -> Result<(), DataError> {
        fs::create_dir_all(folder).map_err(|source| DataError::Io { path: folder.into(), source })?;
        for (name, array) in [("x.npy", self.x()), ("y.npy", self.y())] {
            let path = folder.join(name);
            let mut bytes = Vec::new();
            array
                .write_npy(Cursor::new(&mut bytes))
                .map_err(|error| format_error(&path, "an array that npy can hold", error))?;
            write_atomically(&path, &bytes).map_err(|source| DataError::Io { path, source })?;
        }
        self.save_domain(&folder.join("domain.csv"))
    }

    /// Reads a dataset from a folder with `x.npy` and `y.npy`, and `domain.csv` where there is one.
    ///
    /// # Errors
    /// [`DataError::Io`] where a file cannot be read; [`DataError::Format`] where it is not a npy file of f64
    /// with two axes; [`DataError::InvalidArgument`] where the arrays do not form a dataset.
    pub fn load_npy(folder: &Path) -> Result<Self, DataError> {
        let read = |name: &str| -> Result<Array2<f64>, DataError> {
            let path = folder.join(name);
            let bytes = fs::read(&path).map_err(|source| DataError::Io { path: path.clone(), source })?;
            Array2::<f64>::read_npy(Cursor::new(bytes))
                .map_err(|error| format_error(&path, "npy, f64, two axes", error))
        };
        Self::new(read("x.npy")?, read("y.npy")?)?.with_domain_of(&folder.join("domain.csv"))
    }

    fn save_domain(&self, path: &Path) -> Result<(), DataError> {
        let pairs = self.domain().center().to_vec().into_iter().zip(self.domain().range().to_vec());
        let rows = pairs.map(|(center, range)| vec![format!("{center:?}"), format!("{range:?}")]);
        write_csv(path, &["center".to_owned(), "range".to_owned()], rows)
    }

    /// Takes the domain from its file; keeps that of the designs where there is no such file.
    fn with_domain_of(self, path: &Path) -> Result<Self, DataError> {
        if !path.exists() {
            return Ok(self);
        }
        let (header, rows) = read_csv(path)?;
        if header != ["center", "range"] {
            return Err(format_error(path, "columns center, range", header.join(", ")));
        }
        let column = |index: usize| rows.iter().map(|row| row[index]).collect();
        self.with_domain(Domain::new(column(0), column(1))?)
    }
}

fn domain_path(path: &Path) -> PathBuf {
    path.with_extension("domain.csv")
}

fn format_error(path: &Path, expected: &str, found: impl std::fmt::Display) -> DataError {
    DataError::Format { path: path.into(), expected: expected.into(), found: found.to_string() }
}

fn write_csv(
    path: &Path,
    header: &[String],
    rows: impl Iterator<Item = Vec<String>>,
) -> Result<(), DataError> {
    let failed = |error: &dyn std::fmt::Display| format_error(path, "rows that CSV can hold", error);
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(header).map_err(|error| failed(&error))?;
    for row in rows {
        writer.write_record(row).map_err(|error| failed(&error))?;
    }
    let bytes = writer.into_inner().map_err(|error| failed(&error))?;
    write_atomically(path, &bytes).map_err(|source| DataError::Io { path: path.into(), source })
}

/// Header and numbers; every row is as long as the header.
fn read_csv(path: &Path) -> Result<(Vec<String>, Vec<Vec<f64>>), DataError> {
    let bytes = fs::read(path).map_err(|source| DataError::Io { path: path.into(), source })?;
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes.as_slice());
    let header = reader.headers().map_err(|error| format_error(path, "a header", error))?;
    let header: Vec<String> = header.iter().map(str::to_owned).collect();
    let mut rows = Vec::new();
    for (row, record) in reader.records().enumerate() {
        let record = record.map_err(|error| format_error(path, "rows as long as the header", error))?;
        let cells = record.iter().enumerate().map(|(column, cell)| {
            let place = || format!("`{cell}` in row {}, column `{}`", row + 1, header[column]);
            cell.parse().map_err(|_| format_error(path, "numbers", place()))
        });
        rows.push(cells.collect::<Result<_, _>>()?);
    }
    Ok((header, rows))
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn data() -> Dataset {
        let x = array![[0.1, -1e-300], [1.0 / 3.0, 2.5e300], [0.0, -0.0]];
        let y = array![[std::f64::consts::PI], [-7.0], [1e-17]];
        let domain = Domain::from_bounds(&[-1.0, 0.1], &[0.3, 1.7]).unwrap();
        Dataset::new(x, y).unwrap().with_domain(domain).unwrap()
    }

    #[test]
    fn files_keep_every_bit() {
        let folder = tempfile::tempdir().unwrap();
        let csv = folder.path().join("data.csv");
        data().save_csv(&csv).unwrap();
        let read = Dataset::load_csv(&csv).unwrap();
        assert_eq!((read.content_hash(), read.domain()), (data().content_hash(), data().domain()));
        let npy = folder.path().join("a/b");
        data().save_npy(&npy).unwrap();
        assert_eq!(Dataset::load_npy(&npy).unwrap().content_hash(), data().content_hash());
    }

    #[test]
    fn tables_of_other_people_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.csv");
        fs::write(&path, "x1, x2, y1\n 1, 2e0, 3\n4,5,6\n").unwrap();
        let read = Dataset::load_csv(&path).unwrap();
        assert_eq!(read.x(), array![[1.0, 2.0], [4.0, 5.0]]);
        assert_eq!(read.domain().range(), array![3.0, 3.0]);
    }

    #[test]
    fn files_that_are_no_dataset_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.csv");
        for (text, words) in [
            ("", "columns x1"),
            ("a,b\n1,2\n", "found a, b"),
            ("x1,x3,y1\n1,2,3\n", "found x1, x3, y1"),
            ("x1,x2\n1,2\n", "found x1, x2"),
            ("y1,x1\n1,2\n", "found y1, x1"),
            ("x1,y1\n1,2\n3\n", "rows as long as the header"),
            ("x1,y1\n1,2\n3,four\n", "`four` in row 2, column `y1`"),
            ("x1,y1\n1,NaN\n", "NaN in row 0"),
            ("x1,y1\n", "at least one row"),
        ] {
            fs::write(&path, text).unwrap();
            let error = Dataset::load_csv(&path).unwrap_err().to_string();
            assert!(error.contains(words), "{text:?}: {error}");
        }
        fs::remove_file(&path).unwrap();
        assert!(matches!(Dataset::load_csv(&path), Err(DataError::Io { .. })));
        fs::write(&path, "x1,y1\n1,2\n").unwrap();
        fs::write(folder.path().join("data.domain.csv"), "center,range\n0,1\n0,1\n").unwrap();
        assert!(Dataset::load_csv(&path).unwrap_err().to_string().contains("`domain`"));
    }

    #[test]
    fn damaged_npy_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        data().save_npy(folder.path()).unwrap();
        let path = folder.path().join("x.npy");
        let whole = fs::read(&path).unwrap();
        for length in [0, 5, 60, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            let error = Dataset::load_npy(folder.path()).unwrap_err();
            assert!(matches!(error, DataError::Format { .. }), "{length}: {error}");
        }
        let mut integers = Vec::new();
        array![[1_i32, 2], [3, 4], [5, 6]].write_npy(Cursor::new(&mut integers)).unwrap();
        fs::write(&path, integers).unwrap();
        assert!(Dataset::load_npy(folder.path()).unwrap_err().to_string().contains("x.npy"));
    }

    #[test]
    fn unwritable_places_keep_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "precious").unwrap();
        assert!(matches!(data().save_csv(&file.join("data.csv")), Err(DataError::Io { .. })));
        assert!(matches!(data().save_npy(&file), Err(DataError::Io { .. })));
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    }
}
