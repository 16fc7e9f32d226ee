//! How a command ends, as the exit codes that scripts see.

use std::fmt;
use std::io;
use std::process::ExitCode;

use inverse_bench::StudyError;

const ERROR: u8 = 1;
const USAGE: u8 = 2;
const DIFFERENT: u8 = 3;

/// A command that did what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// All is well.
    Well,
    /// Some cells failed; each was reported when it did.
    CellsFailed,
    /// Cells are not finished, or two stores differ.
    Different,
}

impl Ending {
    pub(super) fn code(self) -> ExitCode {
        match self {
            Self::Well => ExitCode::SUCCESS,
            Self::CellsFailed => ERROR.into(),
            Self::Different => DIFFERENT.into(),
        }
    }
}

/// Why a command could not do what it should.
#[derive(Debug)]
pub(super) enum Failure {
    /// The command line or the study file is wrong.
    Usage(String),
    /// The study could not go on.
    Study(StudyError),
    /// The standard output could not be written.
    Output(io::Error),
}

impl Failure {
    /// An error of a study that was only just described: a bad argument is a mistake of its user.
    pub(super) fn of_arguments(error: StudyError) -> Self {
        match error {
            StudyError::InvalidArgument(_)
            | StudyError::UnknownTask(_)
            | StudyError::NothingToShow { .. } => Self::Usage(error.to_string()),
            error => Self::Study(error),
        }
    }

    /// Says what is wrong, in one line.
    pub(super) fn report(&self) -> ExitCode {
        eprintln!("error: {self}");
        self.code().into()
    }

    fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => USAGE,
            Self::Study(StudyError::Incomplete { .. }) => DIFFERENT,
            Self::Study(_) | Self::Output(_) => ERROR,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(reason) => formatter.write_str(reason),
            Self::Study(error) => error.fmt(formatter),
            Self::Output(error) => write!(formatter, "standard output: {error}"),
        }
    }
}

impl From<StudyError> for Failure {
    fn from(error: StudyError) -> Self {
        Self::Study(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}
