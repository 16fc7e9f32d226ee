//! Conformance checks that the author of a task or a model runs in their own tests.
//!
//! Each check gives a report that lists everything that is wrong, with what to do about it.
//!
//! ```
//! use inverse_core::{BoxPrior, FnSimulator, SimulatedTask, testing};
//!
//! let simulator = FnSimulator::new(2, 1, |x, y| y[0] = x[0] * x[1])?;
//! let task = SimulatedTask::new("product", simulator, BoxPrior::new(&[-1.0; 2], &[1.0; 2])?)?;
//! testing::check_task(&task, 1)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod model;
mod simulator;
mod task;

use std::fmt;

use crate::InvalidArgument;

pub use model::check_model;
pub use simulator::{check_differentiable, check_simulator};
pub use task::check_task;

/// Everything that a check found wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nonconformance {
    subject: String,
    findings: Vec<String>,
}

impl Nonconformance {
    fn new(subject: impl Into<String>) -> Self {
        Self { subject: subject.into(), findings: Vec::new() }
    }

    /// What is wrong, one finding an entry: what was expected, what came, how to mend it.
    pub fn findings(&self) -> &[String] {
        &self.findings
    }

    fn require(&mut self, holds: bool, finding: impl FnOnce() -> String) {
        if !holds {
            self.findings.push(finding());
        }
    }

    /// The value, or a finding where there is an error instead.
    fn expect<T, E: fmt::Display>(&mut self, what: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.findings.push(format!("{what}: expected an answer, came: {error}"))).ok()
    }

    /// A finding unless the call was refused by an [`InvalidArgument`] that names `argument`.
    fn expect_refusal(&mut self, what: &str, argument: &str, outcome: Outcome) {
        let came = match outcome {
            Outcome::Refused(error) if error.argument == argument => return,
            Outcome::Refused(error) => error.to_string(),
            Outcome::OtherError => "another error".into(),
            Outcome::Answer => "an answer; check arguments first".into(),
        };
        self.findings.push(format!("{what}: expected an error that names `{argument}`, came {came}"));
    }

    fn finish(self) -> Result<(), Self> {
        if self.findings.is_empty() { Ok(()) } else { Err(self) }
    }
}

/// What a call with an unusable argument came to.
enum Outcome {
    Answer,
    Refused(InvalidArgument),
    OtherError,
}

impl fmt::Display for Nonconformance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} does not conform:", self.subject)?;
        self.findings.iter().try_for_each(|finding| write!(formatter, "\n- {finding}"))
    }
}

impl std::error::Error for Nonconformance {}
