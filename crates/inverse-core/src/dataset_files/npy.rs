//! Arrays as npy files.

use std::io::Cursor;
use std::path::Path;

use ndarray::{Array2, ArrayView2};
use ndarray_npy::{ReadNpyExt, ViewNpyError, ViewNpyExt, WriteNpyExt};

use super::format_error;
use crate::DataError;

pub(super) fn bytes(path: &Path, array: ArrayView2<'_, f64>) -> Result<Vec<u8>, DataError> {
    let mut bytes = Vec::new();
    array
        .write_npy(Cursor::new(&mut bytes))
        .map_err(|error| format_error(path, "an array that npy can hold", error))?;
    Ok(bytes)
}

/// The array in the bytes of the file at `path`: not empty, every value finite.
pub(super) fn array(path: &Path, bytes: &[u8]) -> Result<Array2<f64>, DataError> {
    let failed = |error: &dyn std::fmt::Display| {
        format_error(path, "a npy file of f64 in this machine's byte order (`<f8`) with two axes", error)
    };
    // Not `read_npy` at once: it allocates whatever length the header claims, and a damaged header would end the
    // process. A view compares that length with the bytes that are there.
    let array = match ArrayView2::<f64>::view_npy(bytes) {
        Ok(view) => view.to_owned(),
        // The length was compared before the alignment.
        Err(ViewNpyError::MisalignedData) => {
            Array2::<f64>::read_npy(Cursor::new(bytes)).map_err(|error| failed(&error))?
        }
        Err(error) => return Err(failed(&error)),
    };
    if array.is_empty() {
        let found = format!("shape {:?}", array.dim());
        return Err(format_error(path, "at least one row and one column", found));
    }
    if let Some((place, value)) = array.indexed_iter().find(|(_, value)| !value.is_finite()) {
        let found = format!("{value} at [{}, {}]", place.0, place.1);
        return Err(format_error(path, "finite numbers", found));
    }
    Ok(array)
}
