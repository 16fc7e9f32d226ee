//! What a training needs beside its data: device, randomness, an observer, checkpoints.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::{InvalidArgument, Observer, RandomStreams, Silent};

/// Where tensors live.
///
/// ```
/// use inverse_core::Device;
///
/// assert_eq!("cuda:1".parse(), Ok(Device::Cuda(1)));
/// assert_eq!(Device::Cpu.to_string(), "cpu");
/// assert!("gpu".parse::<Device>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// The NVIDIA GPU of that number; needs the `cuda` feature.
    Cuda(usize),
}

impl fmt::Display for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => formatter.write_str("cpu"),
            Self::Cuda(number) => write!(formatter, "cuda:{number}"),
        }
    }
}

impl FromStr for Device {
    type Err = InvalidArgument;

    fn from_str(text: &str) -> Result<Self, InvalidArgument> {
        let number = match text {
            "cpu" => return Ok(Self::Cpu),
            "cuda" => Some(0),
            _ => text.strip_prefix("cuda:").and_then(|number| number.parse().ok()),
        };
        number
            .map(Self::Cuda)
            .ok_or_else(|| InvalidArgument::new("device", "`cpu`, `cuda` or `cuda:N`", format!("`{text}`")))
    }
}

/// When and where a training writes its state, so that a killed run can go on from there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointPolicy {
    /// The folder; one file a training stage. Made where it does not exist.
    pub folder: PathBuf,
    /// The least time between two writes; a write also follows the last epoch.
    pub every: Duration,
}

/// The surroundings of one fit.
///
/// ```
/// use inverse_core::{Device, EpochReport, FitContext, Signal};
///
/// let mut report_loss = |report: &EpochReport| {
///     println!("{}: {}", report.epoch, report.training_loss);
///     Signal::Continue
/// };
/// let context = FitContext::new(42).with_device(Device::Cpu).with_observer(&mut report_loss);
/// assert_eq!(context.streams().seed(), 42);
/// ```
pub struct FitContext<'a> {
    device: Device,
    streams: RandomStreams,
    observer: Option<&'a mut dyn Observer>,
    silent: Silent,
    checkpoints: Option<CheckpointPolicy>,
}

impl<'a> FitContext<'a> {
    /// A fit on the processor, silent and without checkpoints, with all randomness from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            device: Device::Cpu,
            streams: RandomStreams::new(seed),
            observer: None,
            silent: Silent,
            checkpoints: None,
        }
    }

    /// Chooses the device.
    #[must_use]
    pub fn with_device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// Lets `observer` watch.
    #[must_use]
    pub fn with_observer(mut self, observer: &'a mut dyn Observer) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Writes checkpoints, and goes on from one that lies there.
    #[must_use]
    pub fn with_checkpoints(mut self, policy: CheckpointPolicy) -> Self {
        self.checkpoints = Some(policy);
        self
    }

    /// The device.
    pub fn device(&self) -> Device {
        self.device
    }

    /// The random streams.
    pub fn streams(&self) -> RandomStreams {
        self.streams
    }

    /// The checkpoint policy, if any.
    pub fn checkpoints(&self) -> Option<&CheckpointPolicy> {
        self.checkpoints.as_ref()
    }

    /// Whether somebody watches.
    pub fn is_observed(&self) -> bool {
        self.observer.is_some()
    }

    /// The observer.
    pub fn observer(&mut self) -> &mut dyn Observer {
        match &mut self.observer {
            Some(observer) => *observer,
            None => &mut self.silent,
        }
    }
}

impl fmt::Debug for FitContext<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("FitContext")
            .field("device", &self.device)
            .field("streams", &self.streams)
            .field("checkpoints", &self.checkpoints)
            .finish_non_exhaustive()
    }
}
