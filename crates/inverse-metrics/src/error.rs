//! Errors of the metrics.

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
}
