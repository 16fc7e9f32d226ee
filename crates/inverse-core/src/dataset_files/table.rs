//! Tables of finite numbers with a header, as CSV.

use std::fmt::Write;
use std::path::Path;

use ndarray::Array2;

use super::format_error;
use crate::DataError;

/// A header, and rows of finite numbers as long as it.
pub(super) struct Table<'a> {
    path: &'a Path,
    header: Vec<String>,
    values: Vec<f64>,
}

impl<'a> Table<'a> {
    /// Reads the bytes of a table whose header is `fits`, which an error describes as `expected`.
    ///
    /// The path is for errors only.
    pub(super) fn parse(
        path: &'a Path,
        bytes: &[u8],
        expected: &str,
        fits: impl FnOnce(&[String]) -> bool,
    ) -> Result<Self, DataError> {
        let mut reader =
            csv::ReaderBuilder::new().trim(csv::Trim::All).comment(Some(b'#')).from_reader(bytes);
        let header = reader.headers().map_err(|error| format_error(path, "a header of text", error))?;
        let header: Vec<String> = header.iter().map(str::to_owned).collect();
        if header.is_empty() {
            return Err(format_error(path, expected, "an empty file"));
        }
        // Before any cell: a table of another kind is better named by its header than by its first odd cell.
        if !fits(&header) {
            return Err(format_error(path, expected, format!("columns {}", header.join(", "))));
        }
        Ok(Self { path, values: numbers(path, &mut reader, &header)?, header })
    }

    pub(super) fn header(&self) -> &[String] {
        &self.header
    }

    /// The numbers, (rows, columns).
    pub(super) fn into_array(self) -> Result<Array2<f64>, DataError> {
        let shape = (self.values.len() / self.header.len(), self.header.len());
        Array2::from_shape_vec(shape, self.values)
            .map_err(|error| format_error(self.path, "rows of one length", error))
    }
}

/// All cells, row by row; each row is as long as the header.
fn numbers(path: &Path, reader: &mut csv::Reader<&[u8]>, header: &[String]) -> Result<Vec<f64>, DataError> {
    let mut values = Vec::new();
    for (row, record) in reader.records().enumerate() {
        let record = record.map_err(|error| {
            format_error(path, &format!("rows of {} numbers, as the header", header.len()), error)
        })?;
        for (cell, name) in record.iter().zip(header) {
            match cell.parse() {
                Ok(value) if f64::is_finite(value) => values.push(value),
                _ => {
                    let found = format!("`{cell}` in row {}, column `{name}`", row + 1);
                    return Err(format_error(path, "finite numbers", found));
                }
            }
        }
    }
    if values.is_empty() {
        return Err(format_error(path, "at least one row", "a header alone"));
    }
    Ok(values)
}

/// The table as CSV. No cell needs quotes: names are ours, numbers hold neither comma nor line break.
pub(super) fn text(header: &[String], rows: impl Iterator<Item = impl Iterator<Item = f64>>) -> String {
    let mut text = header.join(",");
    text.push('\n');
    for row in rows {
        for (column, value) in row.enumerate() {
            let comma = if column > 0 { "," } else { "" };
            // `{:?}` is the shortest text that reads back to the same bits; a String takes any text.
            let _ = write!(text, "{comma}{value:?}");
        }
        text.push('\n');
    }
    text
}
