//! Errors of the metrics.

use std::path::PathBuf;

use inverse_core::{InvalidArgument, ProposeError, SimulationError};
use thiserror::Error;

/// Why a metric could not be computed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MetricError {
    /// An argument does not fit the others.
    #[error(transparent)]
    InvalidArgument(#[from] InvalidArgument),
    /// The simulator failed.
    #[error(transparent)]
    Simulation(#[from] SimulationError),
    /// The search failed.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// A file could not be read or written.
    #[error("cannot access {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A file is not one of reference posteriors, or is damaged.
    #[error("{} holds no reference posteriors: expected {expected}, found {found}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What the format asks for.
        expected: String,
        /// What the file holds.
        found: String,
    },
    /// A file holds the reference posteriors of another request.
    #[error("{} has another {argument}: expected {expected}, found {found}", path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// What differs: a setting by its name, or `task`, `seed`, `y` or `output_scale`.
        argument: String,
        /// What was asked for.
        expected: String,
        /// What the file was drawn with.
        found: String,
    },
}
