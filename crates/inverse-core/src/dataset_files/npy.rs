//! Arrays as npy files.

use std::io::Cursor;
use std::path::Path;

use ndarray::{Array2, ArrayView2};
use ndarray_npy::npy::header::Header;
use ndarray_npy::{ReadNpyExt, ViewNpyError, ViewNpyExt, WriteNpyExt};

use super::format_error;
use crate::DataError;

/// The most brackets that a header may open; that of an array of f64 opens two. The parser reads what is in a bracket
/// up to three times, at each level.
const LARGEST_BRACKETS: usize = 8;

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
    check_header(bytes).map_err(|found| failed(&found))?;
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

/// Refuses headers that `view_npy` does not survive: deep ones take it for ever, and lengths that ndarray refuses make
/// it panic.
///
/// The error is what was found.
fn check_header(bytes: &[u8]) -> Result<(), String> {
    let text = header_text(bytes).ok_or("no whole header")?;
    let brackets = text.iter().filter(|byte| b"([{".contains(byte)).count();
    if brackets > LARGEST_BRACKETS {
        return Err(format!("a header that opens {brackets} brackets"));
    }
    let shape = Header::from_reader(&mut &*bytes).map_err(|error| error.to_string())?.shape;
    // An axis of length 0 does not excuse the others: ndarray multiplies those.
    let mut lengths = shape.iter().filter(|length| **length > 0);
    let size = lengths.try_fold(size_of::<f64>(), |size, length| size.checked_mul(*length));
    if size.is_none_or(|size| isize::try_from(size).is_err()) {
        return Err(format!("shape {shape:?}, more than a machine can address"));
    }
    Ok(())
}

/// The dictionary that describes the array, as text; none where the file ends before it does.
fn header_text(bytes: &[u8]) -> Option<&[u8]> {
    let (major, rest) = bytes.strip_prefix(b"\x93NUMPY")?.split_first()?;
    // The minor version; then the text's length, in two bytes in version 1, in four later.
    let (_, rest) = rest.split_first()?;
    if *major == 1 {
        let (length, text) = rest.split_first_chunk()?;
        return text.get(..usize::from(u16::from_le_bytes(*length)));
    }
    let (length, text) = rest.split_first_chunk()?;
    text.get(..usize::try_from(u32::from_le_bytes(*length)).ok()?)
}
