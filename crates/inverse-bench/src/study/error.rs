//! Why a study could not go on.

use inverse_core::{DataError, FitError, InvalidArgument, ProposeError, SimulationError};
use inverse_metrics::MetricError;
use inverse_models::{ModelFileError, ProxyError, SequentialError};
use inverse_tasks::UnknownTask;
use thiserror::Error;

use crate::{ResultFileError, StoreError};

/// Why a study could not go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StudyError {
    /// An argument cannot be used.
    #[error(transparent)]
    InvalidArgument(#[from] InvalidArgument),
    /// No task has that name.
    #[error(transparent)]
    UnknownTask(#[from] UnknownTask),
    /// Data could not be made.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A simulator failed.
    #[error(transparent)]
    Simulation(#[from] SimulationError),
    /// Training failed.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// Inference failed.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// A proxy, or a posterior with it, could not be made.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// A measurement could not be explained in rounds.
    #[error(transparent)]
    Sequential(#[from] SequentialError),
    /// A metric could not be computed.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// A model could not be kept or found.
    #[error(transparent)]
    ModelFile(#[from] ModelFileError),
    /// Results could not be written.
    #[error(transparent)]
    ResultFile(#[from] ResultFileError),
    /// The store could not be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file of a cell does not hold what it should.
    #[error("{file}: {reason}")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Cells that results are made of are not there.
    #[error("{missing} of {all} cells are not finished, the first is `{first}`: run the study first")]
    Incomplete {
        /// How many are not finished.
        missing: usize,
        /// How many there are.
        all: usize,
        /// The first that is not.
        first: String,
    },
    /// A table or figure is of tasks or methods that the study has none of.
    #[error("{item} needs {needs}")]
    NothingToShow {
        /// The table or figure.
        item: &'static str,
        /// What it needs.
        needs: String,
    },
    /// Settings that cannot be written down.
    #[error("settings cannot be written as JSON: {0}")]
    Settings(String),
    /// The process has a thread pool already, of another number of threads, or none could be built.
    #[error("threads: {0}")]
    Threads(String),
}

impl StudyError {
    /// Whether what a killed process left behind is to blame: work that is set aside and done again.
    pub(crate) fn is_damage(&self) -> bool {
        let of_file = |error: &ModelFileError| {
            matches!(
                error,
                ModelFileError::Foreign { .. }
                    | ModelFileError::Mismatch { .. }
                    | ModelFileError::Newer { .. }
            )
        };
        match self {
            Self::ModelFile(error) => of_file(error),
            Self::Fit(FitError::Checkpoint(error)) => error.downcast_ref().is_some_and(of_file),
            Self::Damaged { .. }
            | Self::Metric(MetricError::Format { .. } | MetricError::Mismatch { .. }) => true,
            _ => false,
        }
    }
}
