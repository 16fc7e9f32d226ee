//! How large a study is.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use inverse_core::InvalidArgument;
use inverse_models::presets::Source;
use serde::{Deserialize, Serialize};

/// How large a study is: its data, networks, starts, targets and trainings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
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

    /// Targets for which proposals are compared with the true posterior (Table 4); the paper prints no number.
    pub fn posterior_targets(self) -> usize {
        match self {
            Self::Smoke => 3,
            Self::Quick | Self::Paper => 50,
        }
    }

    /// Proposals for each of those targets, and reference draws to hold them against: what the profile's NA can give
    /// and rank (1,000 starts in the paper profile, 250 in the others), with some to spare.
    pub fn posterior_samples(self) -> usize {
        match self {
            Self::Smoke => 50,
            Self::Quick => 200,
            Self::Paper => 500,
        }
    }

    /// Least time between two records of a cell that is not finished.
    pub(crate) fn record_every(self) -> Duration {
        match self {
            // Too often for real work: so that a smoke study shows that killed cells resume.
            Self::Smoke => Duration::from_millis(50),
            Self::Quick | Self::Paper => Duration::from_secs(5),
        }
    }

    /// Time for the repeats of one timing.
    pub(crate) fn timing_budget(self) -> Duration {
        match self {
            Self::Smoke => Duration::from_millis(100),
            Self::Quick | Self::Paper => Duration::from_secs(2),
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

impl fmt::Display for Profile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Smoke => "smoke",
            Self::Quick => "quick",
            Self::Paper => "paper",
        })
    }
}

impl FromStr for Profile {
    type Err = InvalidArgument;

    fn from_str(text: &str) -> Result<Self, InvalidArgument> {
        <Self as ValueEnum>::from_str(text, false)
            .map_err(|_| InvalidArgument::new("profile", "`smoke`, `quick` or `paper`", format!("`{text}`")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_command_line() {
        for profile in Profile::value_variants() {
            assert_eq!(profile.to_string().parse(), Ok(*profile));
        }
        let error = "huge".parse::<Profile>().unwrap_err().to_string();
        assert_eq!(error, "invalid `profile`: expected `smoke`, `quick` or `paper`, found `huge`");
    }
}
