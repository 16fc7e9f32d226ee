//! Tasks by name, for command lines and result files.

use inverse_core::Task;
use thiserror::Error;

#[cfg(feature = "metamaterial-proxy")]
use crate::metamaterial::MetamaterialTask;
use crate::{Ballistics, RoboticArm, SineWave};

/// One known task.
struct Entry {
    /// The task's own name.
    name: &'static str,
    /// The paper's id (Table 1).
    id: &'static str,
    /// Makes the task.
    build: fn() -> Box<dyn Task>,
}

/// Every known task; a new one adds its line here.
const TASKS: &[Entry] = &[
    Entry { name: Ballistics::NAME, id: "D1", build: || Box::new(Ballistics::new()) },
    Entry { name: SineWave::NAME, id: "D2", build: || Box::new(SineWave::new()) },
    Entry { name: RoboticArm::NAME, id: "D3", build: || Box::new(RoboticArm::new()) },
    #[cfg(feature = "metamaterial-proxy")]
    Entry { name: MetamaterialTask::NAME, id: "D4", build: || Box::new(MetamaterialTask::new()) },
];

const NAMES: [&str; TASKS.len()] = {
    let mut names = [""; TASKS.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = TASKS[index].name;
        index += 1;
    }
    names
};

/// A name that no task has.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid `name`: expected one of {}, found `{name}`", listing())]
pub struct UnknownTask {
    /// The name that came.
    pub name: String,
}

impl UnknownTask {
    /// The names that would have been understood; see [`names`].
    pub fn known(&self) -> &'static [&'static str] {
        names()
    }
}

fn listing() -> String {
    let entries: Vec<_> = TASKS.iter().map(|entry| format!("`{}` ({})", entry.name, entry.id)).collect();
    entries.join(", ")
}

/// The names of all tasks, in the order of the paper's ids.
pub fn names() -> &'static [&'static str] {
    &NAMES
}

/// The task of that name, or of that id in the paper (`D1` to `D4`); case does not matter.
///
/// ```
/// assert_eq!(inverse_tasks::by_name("d2")?.name(), "sine-wave");
/// assert!(inverse_tasks::by_name("juggling").is_err());
/// # Ok::<(), inverse_tasks::UnknownTask>(())
/// ```
///
/// # Errors
/// [`UnknownTask`] where no task has that name; its message lists those that exist.
pub fn by_name(name: &str) -> Result<Box<dyn Task>, UnknownTask> {
    TASKS
        .iter()
        .find(|entry| [entry.name, entry.id].iter().any(|known| known.eq_ignore_ascii_case(name)))
        .map(|entry| (entry.build)())
        .ok_or_else(|| UnknownTask { name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_found_by_name_and_id() {
        assert_eq!(names()[..3], ["ballistics", "sine-wave", "robotic-arm"]);
        assert_eq!(names().get(3).copied(), cfg!(feature = "metamaterial-proxy").then_some("metamaterial"));
        for (name, entry) in names().iter().zip(TASKS) {
            for spelling in [name.to_string(), name.to_uppercase(), entry.id.to_lowercase(), entry.id.into()]
            {
                let task = by_name(&spelling).unwrap();
                assert_eq!(task.name(), *name);
                assert_eq!(task.prior().domain().dim(), task.dim_x());
            }
        }
    }

    #[test]
    fn an_unknown_name_is_told_with_the_known_ones() {
        let error = by_name("D9").err().unwrap();
        assert_eq!(error.known(), names());
        let fourth = if cfg!(feature = "metamaterial-proxy") { ", `metamaterial` (D4)" } else { "" };
        let known = format!("`ballistics` (D1), `sine-wave` (D2), `robotic-arm` (D3){fourth}");
        assert_eq!(error.to_string(), format!("invalid `name`: expected one of {known}, found `D9`"));
    }
}
