//! The tensors of one file that `torch.save(model.state_dict(), file)` wrote.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use candle_core::DType;
use candle_core::pickle::{PthTensors, TensorInfo};

use crate::state_dict::ImportError;

/// What zip archives begin with; `torch.save` has written them since PyTorch 1.6.
const ARCHIVE_START: [u8; 4] = *b"PK\x03\x04";

/// Named tensors of a file that are taken out one by one, until none is left.
#[derive(Debug)]
pub(crate) struct StateDict {
    path: PathBuf,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

/// Reads a file's tensors; no code in it is run.
pub(crate) fn read_state_dict(path: &Path) -> Result<StateDict, ImportError> {
    let failed = |source| ImportError::Io { path: path.into(), source };
    let foreign = |expected: &str, found: String| ImportError::Foreign {
        path: path.into(),
        expected: expected.into(),
        found,
    };
    let bytes = fs::metadata(path).map_err(failed)?.len();
    let mut start = Vec::new();
    File::open(path).and_then(|file| file.take(4).read_to_end(&mut start)).map_err(failed)?;
    if start != ARCHIVE_START {
        let expected = "a zip archive, which `torch.save` writes since PyTorch 1.6 (save older files again)";
        return Err(foreign(expected, format!("{bytes} bytes that begin with {start:?}")));
    }
    let dictionary = "a complete archive with a pickled dictionary of tensors";
    // candle's reader multiplies numbers of the file without a check; a build with overflow checks would panic.
    let archive = catch_unwind(|| PthTensors::new(path, None))
        .map_err(|_| foreign(dictionary, "numbers beyond any file".into()))?
        .map_err(|error| foreign(dictionary, first_line(&error)))?;
    let mut infos: Vec<_> = archive.tensor_infos().iter().collect();
    infos.sort_unstable_by_key(|(name, _)| *name);
    let mut tensors = BTreeMap::new();
    for (name, info) in infos {
        check_size(path, info, bytes)?;
        let values = archive.get(name).and_then(|tensor| match tensor {
            Some(tensor) => tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>().map(Some),
            None => Ok(None),
        });
        let wrong = |found: String| ImportError::Tensor {
            path: path.into(),
            tensor: name.clone(),
            expected: "numbers that can be read".into(),
            found,
        };
        let values =
            values.map_err(|error| wrong(first_line(&error)))?.ok_or_else(|| wrong("none".into()))?;
        tensors.insert(name.clone(), (info.layout.dims().to_vec(), values));
    }
    if tensors.is_empty() {
        return Err(foreign("a dictionary of tensors", "no tensor".into()));
    }
    Ok(StateDict { path: path.into(), tensors })
}

/// candle's message, without the backtrace that it may carry.
fn first_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// A damaged shape must not ask for more memory than the file could fill: archives are not compressed.
fn check_size(path: &Path, info: &TensorInfo, file_bytes: u64) -> Result<(), ImportError> {
    let size = info.dtype.size_in_bytes();
    let count = info.layout.dims().iter().try_fold(size, |count, dim| count.checked_mul(*dim));
    let end = count.and_then(|count| count.checked_add(info.layout.start_offset()));
    if end.is_some_and(|end| end as u64 <= file_bytes) {
        return Ok(());
    }
    Err(ImportError::Tensor {
        path: path.into(),
        tensor: info.name.clone(),
        expected: format!("a tensor inside the file's {file_bytes} bytes"),
        found: format!("shape {:?} from byte {}", info.layout.dims(), info.layout.start_offset()),
    })
}

impl StateDict {
    /// How many layers the list of that name has: one more than its highest number.
    pub(crate) fn count(&self, list: &str) -> usize {
        let numbers = self.tensors.keys().filter_map(|name| {
            let (number, _) = name.strip_prefix(list)?.strip_prefix('.')?.split_once('.')?;
            number.parse::<u16>().ok()
        });
        numbers.max().map_or(0, |number| usize::from(number) + 1)
    }

    /// Whether there is a tensor of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The shape of a tensor, whose dimensions are those of `expected` where they are known.
    pub(crate) fn shape<const N: usize>(
        &self,
        name: &str,
        expected: [Option<usize>; N],
    ) -> Result<[usize; N], ImportError> {
        let (shape, _) = self.tensors.get(name).ok_or_else(|| self.wrong(name, "a tensor", "none"))?;
        let found: Option<[usize; N]> = shape.as_slice().try_into().ok();
        let fits = |found: &[usize; N]| {
            found
                .iter()
                .zip(&expected)
                .all(|(found, expected)| *found > 0 && expected.is_none_or(|size| size == *found))
        };
        found.filter(fits).ok_or_else(|| {
            let size = |size: &Option<usize>| size.map_or_else(|| "any".to_owned(), |size| size.to_string());
            let sizes: Vec<String> = expected.iter().map(size).collect();
            self.wrong(name, format!("shape [{}]", sizes.join(", ")), format!("{shape:?}"))
        })
    }

    /// Takes the finite values of a tensor of that shape.
    pub(crate) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ImportError> {
        let Some((found, values)) = self.tensors.remove(name) else {
            return Err(self.wrong(name, format!("shape {shape:?}"), "no such tensor"));
        };
        if found != shape {
            return Err(self.wrong(name, format!("shape {shape:?}"), format!("{found:?}")));
        }
        match values.iter().find(|value| !value.is_finite()) {
            Some(value) => Err(self.wrong(name, "finite values", value)),
            None => Ok(values),
        }
    }

    /// Forgets the tensors whose names begin so.
    pub(crate) fn discard(&mut self, prefix: &str) {
        self.tensors.retain(|name, _| !name.starts_with(prefix));
    }

    /// Whether every tensor was used: one that was not belongs to another architecture.
    pub(crate) fn finish(&self) -> Result<(), ImportError> {
        match self.tensors.iter().next() {
            Some((name, (shape, _))) => {
                let expected = "only `linears`, `bn_linears` and `convs` of the authors' forward network";
                Err(self.wrong(name, expected, format!("shape {shape:?}")))
            }
            None => Ok(()),
        }
    }

    /// An error about a tensor of this file.
    pub(crate) fn wrong(
        &self,
        tensor: &str,
        expected: impl Into<String>,
        found: impl std::fmt::Display,
    ) -> ImportError {
        let (tensor, expected) = (tensor.to_owned(), expected.into());
        ImportError::Tensor { path: self.path.clone(), tensor, expected, found: found.to_string() }
    }

    /// An error about this file.
    pub(crate) fn foreign(&self, expected: &str, found: impl std::fmt::Display) -> ImportError {
        ImportError::Foreign { path: self.path.clone(), expected: expected.into(), found: found.to_string() }
    }
}
