//! Errors of the core traits. Each names the argument, what was expected and what came.

use std::path::PathBuf;

use thiserror::Error;

/// An argument that a function cannot work with.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid `{argument}`: expected {expected}, found {found}")]
pub struct InvalidArgument {
    /// The argument's name as the function's signature or the settings' field spells it.
    pub argument: String,
    /// What the function needs.
    pub expected: String,
    /// What came.
    pub found: String,
}

impl InvalidArgument {
    /// Describes an argument that was refused.
    pub fn new(
        argument: impl Into<String>,
        expected: impl Into<String>,
        found: impl std::fmt::Display,
    ) -> Self {
        Self { argument: argument.into(), expected: expected.into(), found: found.to_string() }
    }
}

/// Why a simulator did not answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SimulationError {
    /// The designs have the wrong width or hold a value that is not finite.
    #[error(transparent)]
    InvalidArgument(#[from] InvalidArgument),
    /// The simulator itself failed as a whole (a solver that is not installed, a lost connection).
    /// A single design that cannot be evaluated is a row of NaN instead.
    #[error("the simulator failed: {0}")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why a dataset could not be made, read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// The arrays or the settings cannot form a dataset.
    #[error(transparent)]
    InvalidArgument(#[from] InvalidArgument),
    /// The task's simulator failed.
    #[error(transparent)]
    Simulation(#[from] SimulationError),
    /// A file could not be read or written.
    #[error("cannot access {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A file is not a dataset.
    #[error("{} is not a dataset: expected {expected}, found {found}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What the format asks for.
        expected: String,
        /// What the file holds.
        found: String,
    },
}

/// Why a method could not be fitted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FitError {
    /// A setting or the data cannot be used.
    #[error(transparent)]
    InvalidArgument(#[from] InvalidArgument),
    /// The training loss stopped being a finite number.
    #[error("{stage}: the training loss became {loss} in epoch {epoch}; lower the learning rate")]
    Diverged {
        /// What was being trained.
        stage: String,
        /// Epoch, counted from 1.
        epoch: usize,
        /// The loss.
        loss: f64,
    },
    /// The observer asked to stop before a model existed: in a stage that others would have followed.
    #[error("{stage}: stopped by the observer in epoch {epoch}")]
    Stopped {
        /// What was being trained.
        stage: String,
        /// Epoch, counted from 1.
        epoch: usize,
    },
    /// The device is absent, or this build cannot use it.
    #[error("device `{device}` cannot be used: {reason}")]
    Device {
        /// The device as its user names it.
        device: String,
        /// Why not.
        reason: String,
    },
    /// A training checkpoint could not be read or written.
    #[error("training checkpoint: {0}")]
    Checkpoint(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The tensor library failed.
    #[error("tensor computation failed: {0}")]
    Backend(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why a model made no proposals.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// The targets or the number of proposals cannot be used.
    #[error(transparent)]
    InvalidArgument(#[from] InvalidArgument),
    /// The tensor library failed.
    #[error("tensor computation failed: {0}")]
    Backend(#[source] Box<dyn std::error::Error + Send + Sync>),
}
