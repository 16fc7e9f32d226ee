//! Tasks by name: a new task adds one line to [`TASKS`].

use inverse_core::{InvalidArgument, Task};
use thiserror::Error;

use crate::{Ballistics, RoboticArm, SineWave};

type Maker = fn() -> Result<Box<dyn Task>, InvalidArgument>;

/// Name, the paper's number, and maker of each task.
const TASKS: &[(&str, &str, Maker)] = &[
    (Ballistics::NAME, "D1", || Ok(Box::new(Ballistics::new()?))),
    (SineWave::NAME, "D2", || Ok(Box::new(SineWave::new()?))),
    (RoboticArm::NAME, "D3", || Ok(Box::new(RoboticArm::new()?))),
];

/// No task has that name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid `task`: expected one of {}, found `{found}`", names().join(", "))]
pub struct UnknownTask {
    /// The name that came.
    pub found: String,
}

/// The names of all tasks, in the paper's order.
pub fn names() -> Vec<&'static str> {
    TASKS.iter().map(|(name, ..)| *name).collect()
}

/// The task of that name, or of the paper's number ("D1"); capitals do not matter.
///
/// # Errors
/// [`UnknownTask`] where there is none; its message lists the names.
pub fn by_name(name: &str) -> Result<Box<dyn Task>, UnknownTask> {
    let matches =
        |known: &str, number: &str| known.eq_ignore_ascii_case(name) || number.eq_ignore_ascii_case(name);
    let found = TASKS.iter().find(|(known, number, _)| matches(known, number));
    let unknown = || UnknownTask { found: name.to_owned() };
    found.and_then(|(.., make)| make().ok()).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_found_by_name_and_number() {
        for (name, number, _) in TASKS {
            assert_eq!(by_name(name).unwrap().name(), *name);
            assert_eq!(by_name(&number.to_lowercase()).unwrap().name(), *name);
        }
        let error = by_name("D9").err().unwrap().to_string();
        assert_eq!(error, "invalid `task`: expected one of ballistics, sine-wave, robotic-arm, found `D9`");
    }
}
