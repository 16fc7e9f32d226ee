//! The command line that all study examples share.

use std::path::PathBuf;

use clap::Args;
use inverse_core::{Device, InvalidArgument};

use crate::Profile;

/// What to run, how large, and where results go.
#[derive(Debug, Clone, Args)]
pub struct StudyArguments {
    /// How large the study is.
    #[arg(long, value_enum, default_value_t)]
    pub profile: Profile,
    /// The seed from which all randomness flows.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Task to run, such as `ballistics` or `D1`; may be repeated. All, where there is none.
    #[arg(long = "task", value_name = "TASK")]
    pub tasks: Vec<String>,
    /// Method to run, such as `cinn` or `NA`; may be repeated. All, where there is none.
    #[arg(long = "method", value_name = "METHOD")]
    pub methods: Vec<String>,
    /// Folder for results.
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// `cpu`, `cuda` or `cuda:N`.
    #[arg(long, default_value_t)]
    pub device: Device,
    /// Threads; all cores, where not given. Results do not depend on it.
    #[arg(long)]
    pub threads: Option<usize>,
    /// Trainings from which the best is chosen; the profile's, where not given.
    #[arg(long)]
    pub trainings: Option<usize>,
    /// Held-out targets; the profile's, where not given.
    #[arg(long)]
    pub targets: Option<usize>,
    /// Proposals for each target: the largest T.
    #[arg(long, default_value_t = 200)]
    pub proposals: usize,
    /// Prints results only, no progress.
    #[arg(long)]
    pub quiet: bool,
}

impl Default for StudyArguments {
    fn default() -> Self {
        Self {
            profile: Profile::default(),
            seed: 1,
            tasks: Vec::new(),
            methods: Vec::new(),
            out: None,
            device: Device::Cpu,
            threads: None,
            trainings: None,
            targets: None,
            proposals: 200,
            quiet: false,
        }
    }
}

impl StudyArguments {
    /// Whether a study can follow these arguments.
    ///
    /// # Errors
    /// [`InvalidArgument`] that names the option.
    pub fn validate(&self) -> Result<(), InvalidArgument> {
        let counts = [
            ("--threads", self.threads),
            ("--trainings", self.trainings),
            ("--targets", self.targets),
            ("--proposals", Some(self.proposals)),
        ];
        for (name, count) in counts {
            if count == Some(0) {
                return Err(InvalidArgument::new(name, "at least 1", 0));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        study: StudyArguments,
    }

    #[test]
    fn defaults_of_the_command_line_are_the_defaults_of_the_type() {
        let parsed = Line::parse_from(["example"]).study;
        assert_eq!(format!("{parsed:?}"), format!("{:?}", StudyArguments::default()));
    }

    #[test]
    fn zeros_are_refused_by_name() {
        for option in ["--threads", "--trainings", "--targets", "--proposals"] {
            let parsed = Line::parse_from(["example", option, "0"]).study;
            assert!(parsed.validate().unwrap_err().to_string().contains(option));
        }
        assert!(Line::try_parse_from(["example", "--device", "abacus"]).is_err());
    }
}
