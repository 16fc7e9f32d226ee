//! Proxy simulators in files: one safetensors file each, or bytes that a program carries.

use std::fs;
use std::path::{Path, PathBuf};

use inverse_core::{Device, Standardizer};
use serde::{Deserialize, Serialize};

use crate::nn::MlpSettings;
use crate::proxy_simulator::{ProxyReport, ProxySimulator};
use crate::saved_model::{self, ModelFile, insert_network};
use crate::tensor_file::{ModelFileError, NamedTensors, Precision};

/// What a proxy's file calls itself.
const KIND: &str = "proxy";

/// No ensemble has more members; a damaged count fails with a message.
const LARGEST_MEMBER_COUNT: usize = 1 << 8;

/// The proxy's part of a file's header.
#[derive(Serialize, Deserialize)]
struct Description {
    members: Vec<MlpSettings>,
    x: Standardizer,
    y: Standardizer,
    precision: Precision,
    report: Option<ProxyReport>,
}

fn prefix(member: usize) -> String {
    format!("member.{member}")
}

impl ProxySimulator {
    /// Writes the proxy to one file, replaced in one step.
    ///
    /// The report holds the test errors of both precisions, so the cost of half of the bytes is known; a proxy
    /// that was read back from a file of half precision is already rounded and keeps its bits.
    ///
    /// # Errors
    /// [`ModelFileError::Io`] where the file cannot be written; [`ModelFileError::Foreign`] where a weight is
    /// too large for half precision.
    pub fn save(&self, path: &Path, precision: Precision) -> Result<(), ModelFileError> {
        let rounded;
        let proxy = if precision == Precision::Half && self.precision != Precision::Half {
            rounded = self.to_half_precision().map_err(|error| {
                ModelFileError::foreign(path, "weights that half precision can hold", error)
            })?;
            &rounded
        } else {
            self
        };
        let mut tensors = NamedTensors::new();
        for (index, network) in proxy.networks.iter().enumerate() {
            insert_network(&mut tensors, &prefix(index), network)?;
        }
        let description = Description {
            members: proxy.shapes.clone(),
            x: proxy.x.clone(),
            y: proxy.y.clone(),
            precision: proxy.precision,
            report: proxy.report.clone(),
        };
        saved_model::save_file(path, KIND, &description, &tensors, precision).map(drop)
    }

    /// Reads a proxy from a file.
    ///
    /// # Errors
    /// [`ModelFileError`] where the file cannot be read, is cut short, foreign, newer than this build or
    /// inconsistent, or the device cannot be used.
    pub fn load(path: &Path, device: Device) -> Result<Self, ModelFileError> {
        let bytes = fs::read(path).map_err(|source| ModelFileError::Io { path: path.into(), source })?;
        Self::parse(path.into(), &bytes, device)
    }

    /// Reads a proxy from the bytes of its file, for programs that carry one (`include_bytes!`).
    ///
    /// # Errors
    /// As [`ProxySimulator::load`].
    pub fn from_bytes(bytes: &[u8], device: Device) -> Result<Self, ModelFileError> {
        Self::parse("proxy bytes".into(), bytes, device)
    }

    fn parse(path: PathBuf, bytes: &[u8], device: Device) -> Result<Self, ModelFileError> {
        let mut file = saved_model::parse(path, bytes, Some(KIND), device)?;
        let Description { members, x, y, precision, report } = file.description()?;
        file.check_standardizers([&x, &y])?;
        if !(1..=LARGEST_MEMBER_COUNT).contains(&members.len()) {
            return Err(file.foreign(&format!("1 to {LARGEST_MEMBER_COUNT} members"), members.len()));
        }
        let mut networks = Vec::new();
        for (index, shape) in members.iter().enumerate() {
            check_widths(&file, index, shape, [&x, &y])?;
            networks.push(file.take_network(&prefix(index), shape)?);
        }
        let device = file.device.clone();
        Ok(Self { networks, shapes: members, x, y, device, precision, report })
    }
}

fn check_widths(
    file: &ModelFile,
    index: usize,
    shape: &MlpSettings,
    [x, y]: [&Standardizer; 2],
) -> Result<(), ModelFileError> {
    if (shape.inputs, shape.outputs) == (x.width(), y.width()) {
        return Ok(());
    }
    let expected = format!("member {index} from {} to {} values", x.width(), y.width());
    Err(file.foreign(&expected, format!("{} to {}", shape.inputs, shape.outputs)))
}
