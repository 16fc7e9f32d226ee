//! The command line that all study examples share.

use std::path::PathBuf;

use clap::Args;
use inverse_core::{Device, InvalidArgument, LARGEST_PAIRS};

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
        for (name, count) in [("--targets", self.targets), ("--proposals", Some(self.proposals))] {
            if let Some(count) = count.filter(|count| *count > LARGEST_PAIRS) {
                return Err(InvalidArgument::new(name, format!("1 to {LARGEST_PAIRS}"), count));
            }
        }
        let targets = self.targets.unwrap_or(self.profile.targets());
        if targets.saturating_mul(self.proposals) > LARGEST_PAIRS {
            let expected = format!("at most {LARGEST_PAIRS} designs for all targets together");
            let found = format!("{targets} targets times {}", self.proposals);
            return Err(InvalidArgument::new("--proposals", expected, found));
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
    fn counts_that_no_memory_holds_are_refused_by_name() {
        let refused = |options: &[&str]| {
            let parsed = Line::parse_from(["example"].iter().chain(options)).study;
            parsed.validate().unwrap_err().to_string()
        };
        let largest = usize::MAX.to_string();
        assert!(refused(&["--targets", &largest]).contains("`--targets`"));
        assert!(refused(&["--proposals", &largest]).contains("`--proposals`"));
        let error = refused(&["--targets", "1000000", "--proposals", "1000"]);
        assert!(error.contains("`--proposals`") && error.contains("1000000 targets times 1000"), "{error}");
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
