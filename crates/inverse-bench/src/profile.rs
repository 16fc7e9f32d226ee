//! How large a study is.

use clap::ValueEnum;
use inverse_models::presets::Source;
use serde::Serialize;

/// How large a study is: its data, networks, starts, targets and trainings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Seconds: shows that everything runs; its figures mean nothing.
    Smoke,
    /// Minutes on a laptop: small networks, 200 targets.
    #[default]
    Quick,
    /// The paper's sizes: 10,000 pairs, networks of 500 a layer, 1,000 starts, 200 targets.
    Paper,
}

impl Profile {
    /// Which preset a method is trained with.
    pub fn source(self) -> Source {
        match self {
            Self::Smoke | Self::Quick => Source::Quick,
            Self::Paper => Source::Tuned,
        }
    }

    /// Pairs of designs and measurements.
    pub fn pairs(self) -> usize {
        match self {
            Self::Smoke => 1000,
            Self::Quick | Self::Paper => 10_000,
        }
    }

    /// Held-out targets of the final score.
    pub fn targets(self) -> usize {
        match self {
            Self::Smoke => 10,
            Self::Quick | Self::Paper => 200,
        }
    }

    /// Targets, other than the final ones, on which the best training is chosen.
    pub fn validation_targets(self) -> usize {
        match self {
            Self::Smoke => 5,
            Self::Quick | Self::Paper => 100,
        }
    }

    /// Trainings from which the best is chosen.
    pub fn trainings(self) -> usize {
        match self {
            Self::Smoke | Self::Quick => 1,
            Self::Paper => 3,
        }
    }
}
