//! Import of PyTorch state dicts of the authors' forward network: their released weights as a proxy simulator.
//!
//! The names are those of their code: `linears.N.weight`, `linears.N.bias`, `bn_linears.N.*` and, where the
//! network has convolutions, `convs.N.weight` and `convs.N.bias`. All widths, and how many layers there are, come
//! from the tensors' shapes. What shapes do not tell follows the authors' code: ReLU after each hidden layer and
//! its normalisation, none after the last linear layer, whose normalisation their code keeps but never applies;
//! every convolution but the last is transposed, of stride 2 with an even kernel and of stride 1 with an odd one,
//! padded so that it doubles or keeps the length; the last mixes channels.

use std::path::{Path, PathBuf};

use candle_core::Device as TensorDevice;
use inverse_core::{Device, InvalidArgument, Standardizer};
use ndarray::Array2;
use thiserror::Error;

use crate::device::open_device;
use crate::nn::{Activation, Convolution, Convolutions, FrozenMlp, Mlp, MlpSettings};
use crate::proxy_simulator::ProxySimulator;
use crate::state_dict_file::{StateDict, read_state_dict};
use crate::tensor_file::Precision;

/// Why a state dict could not be imported.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ImportError {
    /// A file or folder could not be read.
    #[error("cannot access {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The file is no state dict, or is cut short.
    #[error("{} is not a PyTorch state dict: expected {expected}, found {found}", path.display())]
    Foreign {
        /// The file or folder.
        path: PathBuf,
        /// What a state dict is.
        expected: String,
        /// What the file is.
        found: String,
    },
    /// A tensor does not fit the authors' forward network, or the other files' networks.
    #[error("{}: tensor `{tensor}`: expected {expected}, found {found}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// What the network needs.
        expected: String,
        /// What the file holds.
        found: String,
    },
    /// The device cannot hold the networks.
    #[error("device: {0}")]
    Device(String),
}

impl ProxySimulator {
    /// Imports one network a file; the proxy is their mean.
    ///
    /// x and y are the network's own: nothing is scaled. The proxy has no report, for nothing was measured.
    ///
    /// # Errors
    /// [`ImportError`] that names the file, and the tensor where one is missing, unknown, not finite or of another
    /// shape; also where `files` is empty or the device cannot be used.
    pub fn from_state_dicts(files: &[PathBuf], device: Device) -> Result<Self, ImportError> {
        let device = open_device(device).map_err(|error| ImportError::Device(error.to_string()))?;
        let (mut networks, mut shapes) = (Vec::new(), Vec::<MlpSettings>::new());
        for file in files {
            let (network, shape) = import(read_state_dict(file)?, &device)?;
            if let Some(first) = shapes.first() {
                let widths = |shape: &MlpSettings| format!("{} to {} values", shape.inputs, shape.outputs);
                if widths(first) != widths(&shape) {
                    let (expected, found) = (format!("a network from {}", widths(first)), widths(&shape));
                    return Err(ImportError::Foreign { path: file.clone(), expected, found });
                }
            }
            networks.push(network);
            shapes.push(shape);
        }
        let Some(first) = shapes.first() else {
            let (expected, found) = ("at least one file".into(), "none".into());
            return Err(ImportError::Foreign { path: PathBuf::new(), expected, found });
        };
        let identity = |width: usize| Standardizer::fit(Array2::zeros((1, width)).view());
        let unusable = |error: InvalidArgument| ImportError::Device(error.to_string());
        let x = identity(first.inputs).map_err(unusable)?;
        let y = identity(first.outputs).map_err(unusable)?;
        Ok(Self { networks, shapes, x, y, device, precision: Precision::Single, report: None })
    }

    /// Imports every `.pth` and `.pt` file of a folder, in the order of their names; see
    /// [`ProxySimulator::from_state_dicts`].
    ///
    /// # Errors
    /// As [`ProxySimulator::from_state_dicts`]; also where the folder cannot be read or holds no such file.
    pub fn from_state_dict_folder(folder: &Path, device: Device) -> Result<Self, ImportError> {
        let failed = |source| ImportError::Io { path: folder.into(), source };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "pth" || extension == "pt") {
                files.push(path);
            }
        }
        files.sort();
        if files.is_empty() {
            let (expected, found) = ("`.pth` or `.pt` files in the folder".into(), "none".into());
            return Err(ImportError::Foreign { path: folder.into(), expected, found });
        }
        Self::from_state_dicts(&files, device)
    }
}

/// The network of one file, normalisation and convolutions folded in, and its shape.
fn import(mut dict: StateDict, device: &TensorDevice) -> Result<(FrozenMlp, MlpSettings), ImportError> {
    let (mut parameters, mut statistics, mut widths) = (Vec::new(), Vec::new(), Vec::new());
    let mut inputs = None;
    let count = dict.count("linears");
    let batch_norm = dict.has("bn_linears.0.weight");
    for index in 0..count.max(1) {
        let name = format!("linears.{index}");
        let [outputs, columns] = dict.shape(&format!("{name}.weight"), [None, inputs])?;
        parameters.extend(dict.take(&format!("{name}.weight"), &[outputs, columns])?);
        parameters.extend(dict.take(&format!("{name}.bias"), &[outputs])?);
        if batch_norm && index + 1 < count {
            take_normalization(&mut dict, index, outputs, &mut parameters, &mut statistics)?;
        }
        widths.push(columns);
        inputs = Some(outputs);
    }
    // The authors' code makes a normalisation for the last linear layer as well and leaves it out.
    dict.discard(&format!("bn_linears.{}.", count.saturating_sub(1)));
    let width = inputs.unwrap_or(0);
    let (inputs, hidden) = (widths.remove(0), widths);
    let mut shape = MlpSettings { inputs, hidden, outputs: width, activation: Activation::Relu, batch_norm };
    let (head, kernels) = take_convolutions(&mut dict, width)?;
    dict.finish()?;
    let failed = |error: candle_core::Error| ImportError::Device(error.to_string());
    shape.validate().map_err(|error| dict.foreign("a network that can be built", error))?;
    let stack = Mlp::from_vectors(&shape, &parameters, &statistics, device);
    let mut network = stack.and_then(|stack| stack.freeze()).map_err(failed)?;
    if let Some(head) = head {
        network = network.followed_by(&head.affine_map(&kernels), device).map_err(failed)?;
        shape.outputs = network.outputs();
    }
    shape.batch_norm = false;
    Ok((network, shape))
}

fn take_normalization(
    dict: &mut StateDict,
    index: usize,
    width: usize,
    parameters: &mut Vec<f32>,
    statistics: &mut Vec<f32>,
) -> Result<(), ImportError> {
    let name = format!("bn_linears.{index}");
    parameters.extend(dict.take(&format!("{name}.weight"), &[width])?);
    parameters.extend(dict.take(&format!("{name}.bias"), &[width])?);
    statistics.extend(dict.take(&format!("{name}.running_mean"), &[width])?);
    let variance = format!("{name}.running_var");
    let values = dict.take(&variance, &[width])?;
    if let Some(value) = values.iter().find(|value| **value < 0.0) {
        return Err(dict.wrong(&variance, "variances of at least 0", value));
    }
    statistics.extend(values);
    dict.discard(&format!("{name}.num_batches_tracked"));
    Ok(())
}

/// The convolutions behind `width` outputs, and their parameters in the head's order; none, where there are none.
fn take_convolutions(
    dict: &mut StateDict,
    width: usize,
) -> Result<(Option<Convolutions>, Vec<f32>), ImportError> {
    let count = dict.count("convs");
    let (mut layers, mut parameters, mut channels) = (Vec::new(), Vec::new(), 1);
    for index in 0..count {
        let weight = format!("convs.{index}.weight");
        let layer = if index + 1 < count {
            let [_, outputs, kernel] = dict.shape(&weight, [Some(channels), None, None])?;
            Convolution::transposed(outputs, kernel, if kernel % 2 == 0 { 2 } else { 1 })
        } else {
            dict.shape(&weight, [Some(1), Some(channels), Some(1)])?;
            Convolution::pointwise(1)
        };
        parameters.extend(dict.take(&weight, &layer.weight_shape(channels))?);
        parameters.extend(dict.take(&format!("convs.{index}.bias"), &[layer.channels])?);
        channels = layer.channels;
        layers.push(layer);
    }
    if layers.is_empty() {
        return Ok((None, parameters));
    }
    let head = Convolutions { width, layers };
    head.validate("convs", head.output_width().unwrap_or(0))
        .map_err(|error| dict.wrong("convs", "convolutions that can be built", error))?;
    Ok((Some(head), parameters))
}
