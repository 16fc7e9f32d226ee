//! Conformance checks that the author of a task, a model or a method runs in their own tests.
//!
//! Each check gives a report that lists everything that is wrong: what was expected, what came, and how to
//! mend it. A panic of the checked code becomes a finding as well, so that one run shows everything.
//!
//! ```
//! use inverse_core::{BoxPrior, FnSimulator, SimulatedTask, testing};
//!
//! let simulator = FnSimulator::new(2, 1, |x, y| y[0] = x[0] * x[1])?;
//! let task = SimulatedTask::new("product", simulator, BoxPrior::new(&[-1.0; 2], &[1.0; 2])?)?;
//! testing::check_task(&task, 1)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod density;
mod density_scale;
mod jacobian;
mod method;
mod model;
mod noise;
mod prior;
mod search;
mod simulator;
mod task;

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{InvalidArgument, ProposeError, SimulationError};

pub use jacobian::check_differentiable;
pub use method::check_method;
pub use model::check_model;
pub use noise::check_noise;
pub use prior::check_prior;
pub use search::check_search;
pub use simulator::check_simulator;
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

    /// A finding unless `holds`. Every finding has the same parts, so that none is without a remedy.
    fn require(
        &mut self,
        holds: bool,
        what: &str,
        expected: impl fmt::Display,
        came: impl fmt::Display,
        remedy: &str,
    ) {
        if !holds {
            self.findings.push(format!("{what}: expected {expected}, came {came}; {remedy}"));
        }
    }

    /// The value of a call, or a finding where it fails or panics.
    fn expect<T, E: fmt::Display>(&mut self, what: &str, call: impl FnOnce() -> Result<T, E>) -> Option<T> {
        let came = match caught(call) {
            Ok(Ok(value)) => return Some(value),
            Ok(Err(error)) => format!("the error \"{error}\""),
            Err(panic) => panic,
        };
        self.require(false, what, "an answer", came, "these arguments are ones it has to work with");
        None
    }

    /// A finding unless the call is refused by an [`InvalidArgument`] that names `argument`.
    fn expect_refusal<T, E: Refusal>(
        &mut self,
        what: &str,
        argument: &str,
        call: impl FnOnce() -> Result<T, E>,
    ) {
        let came = match caught(call) {
            Ok(Ok(_)) => "an answer".into(),
            Ok(Err(error)) => match error.invalid_argument() {
                Some(refused) if refused.argument == argument => return,
                Some(refused) => format!("an error that names `{}`", refused.argument),
                None => "an error of another kind".into(),
            },
            Err(panic) => panic,
        };
        let expected = format!("InvalidArgument that names `{argument}`");
        self.require(false, what, expected, came, "check the arguments before any work");
    }

    /// Whether nothing was found so far.
    fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    fn finish(self) -> Result<(), Self> {
        if self.is_clean() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for Nonconformance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} does not conform:", self.subject)?;
        self.findings.iter().try_for_each(|finding| write!(formatter, "\n- {finding}"))
    }
}

impl std::error::Error for Nonconformance {}

/// Errors that may say that an argument was refused.
trait Refusal {
    fn invalid_argument(&self) -> Option<&InvalidArgument>;
}

impl Refusal for InvalidArgument {
    fn invalid_argument(&self) -> Option<&InvalidArgument> {
        Some(self)
    }
}

impl Refusal for SimulationError {
    fn invalid_argument(&self) -> Option<&InvalidArgument> {
        if let Self::InvalidArgument(error) = self { Some(error) } else { None }
    }
}

impl Refusal for ProposeError {
    fn invalid_argument(&self) -> Option<&InvalidArgument> {
        if let Self::InvalidArgument(error) = self { Some(error) } else { None }
    }
}

/// Runs code under test; a panic becomes its message.
fn caught<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    // Whatever state the panic leaves behind is only ever asked for further findings.
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| format!("the panic \"{}\"", panic_text(&*panic)))
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_readable() {
        let mut report = Nonconformance::new("task `x`");
        assert_eq!(report.clone().finish(), Ok(()));
        report.require(true, "name", "a name", "one", "give it one");
        report.require(false, "name", "a name", "none", "give it one");
        report.expect("a call", || -> Result<(), InvalidArgument> { panic!("row {}", 3) });
        report.expect_refusal("width", "x", || -> Result<(), ProposeError> { panic!("plain") });
        report.expect_refusal("width", "x", || Ok::<(), SimulationError>(()));
        let misnamed = || Err::<(), SimulationError>(InvalidArgument::new("y", "one", "two").into());
        report.expect_refusal("width", "x", misnamed);
        report.expect_refusal("width", "x", || Err::<(), _>(SimulationError::Failed("broken".into())));
        let named = || Err::<(), SimulationError>(InvalidArgument::new("x", "one", "two").into());
        report.expect_refusal("width", "x", named);
        let width = |came: &str| {
            format!(
                "\n- width: expected InvalidArgument that names `x`, came {came}; check the arguments before any work"
            )
        };
        let expected = [
            "task `x` does not conform:\n- name: expected a name, came none; give it one\n- a call: expected an \
             answer, came the panic \"row 3\"; these arguments are ones it has to work with"
                .to_owned(),
            width("the panic \"plain\""),
            width("an answer"),
            width("an error that names `y`"),
            width("an error of another kind"),
        ];
        assert_eq!(report.to_string(), expected.concat());
    }
}
