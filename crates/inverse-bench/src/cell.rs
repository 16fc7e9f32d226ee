//! Cells: the pieces of work that a study is made of.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is done in a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Stage {
    /// A model is trained.
    Training,
    /// A trained model is scored by r_1 on validation targets.
    Validation,
    /// The best of the trained models proposes designs for the held-out targets, and the simulator checks them.
    Evaluation,
    /// The true posterior of a task is drawn by rejection (section 8.1).
    Reference,
    /// A model's proposals are compared with the true posterior (Table 4).
    Matching,
    /// Proposals for the metamaterial are simulated by its solver, not by the proxy that the task is (Figure 13).
    Solving,
    /// Inference is timed (Table 2).
    Timing,
}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Training => "training",
            Self::Validation => "validation",
            Self::Evaluation => "evaluation",
            Self::Reference => "reference",
            Self::Matching => "matching",
            Self::Solving => "solving",
            Self::Timing => "timing",
        })
    }
}

/// One piece of work: a stage of one method, or one variant of it, on one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// The task's name.
    pub task: String,
    /// The method's name; empty for what all methods share.
    pub method: String,
    /// The method's or variant's name in tables.
    pub label: String,
    /// What is done.
    pub stage: Stage,
    /// Which of several trainings, counted from 1.
    pub trial: Option<usize>,
    /// The profile, such as `quick`.
    pub profile: String,
    /// The study's seed.
    pub seed: u64,
}

impl fmt::Display for Cell {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.task)?;
        if !self.label.is_empty() {
            write!(formatter, ", {}", self.label)?;
        }
        write!(formatter, ": {}", self.stage)?;
        self.trial.map_or(Ok(()), |trial| write!(formatter, " {trial}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_say_what_they_are() {
        let cell = Cell {
            task: "ballistics".into(),
            method: "neural-adjoint".into(),
            label: "NA".into(),
            stage: Stage::Training,
            trial: Some(2),
            profile: "quick".into(),
            seed: 1,
        };
        assert_eq!(cell.to_string(), "ballistics, NA: training 2");
        let shared = Cell { label: String::new(), stage: Stage::Reference, trial: None, ..cell.clone() };
        assert_eq!(shared.to_string(), "ballistics: reference");
        let text = serde_json::to_string(&cell).unwrap();
        assert!(text.contains(r#""stage":"training""#), "{text}");
        assert_eq!(serde_json::from_str::<Cell>(&text).unwrap(), cell);
    }
}
