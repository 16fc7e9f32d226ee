//! The command line that all study examples share.

use std::path::PathBuf;

use clap::Args;
use inverse_core::{Device, InvalidArgument, LARGEST_PAIRS};
use serde::{Deserialize, Serialize};

use crate::Profile;

const DEFAULT_SEED: u64 = 1;
const DEFAULT_PROPOSALS: usize = 200;

/// A plan names every training before the first is begun: a hundred times the paper's ten is more than anyone waits for.
const LARGEST_TRAININGS: usize = 1000;

/// What to run, how large, and where results go: options of every command, and keys of study files.
///
/// ```
/// use inverse_bench::{Profile, StudyArguments};
///
/// let file = r#"
///     profile = "smoke"
///     seed = 7
///     tasks = ["D1", "sine-wave"]
/// "#;
/// let arguments: StudyArguments = toml::from_str(file)?;
/// assert_eq!((arguments.profile(), arguments.seed(), arguments.trainings()), (Profile::Smoke, 7, 1));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct StudyArguments {
    /// How large the study is; quick, where not given.
    #[arg(long, value_enum)]
    pub profile: Option<Profile>,
    /// The seed from which all randomness flows; 1, where not given.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Task to run, such as `ballistics` or `D1`; may be repeated. All, where there is none.
    #[arg(long = "task", value_name = "TASK")]
    pub tasks: Vec<String>,
    /// Method to run, such as `cinn` or `NA`; may be repeated. All, where there is none.
    #[arg(long = "method", value_name = "METHOD")]
    pub methods: Vec<String>,
    /// Folder for results and for all that is trained; `results/` and the profile's name, where not given.
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// `cpu`, `cuda` or `cuda:N`; cpu, where not given.
    #[arg(long)]
    #[serde(with = "device_name")]
    pub device: Option<Device>,
    /// Threads; all cores, where not given. Results do not depend on it.
    #[arg(long)]
    pub threads: Option<usize>,
    /// Trainings from which the best is chosen; the profile's, where not given.
    #[arg(long)]
    pub trainings: Option<usize>,
    /// Held-out targets; the profile's, where not given.
    #[arg(long)]
    pub targets: Option<usize>,
    /// Proposals for each target: the largest T; 200, where not given.
    #[arg(long)]
    pub proposals: Option<usize>,
    /// Folder for TensorBoard event files of the trainings, one run each; none are written, where not given.
    #[arg(long, value_name = "FOLDER")]
    pub tensorboard: Option<PathBuf>,
    /// Prints results only, no progress.
    #[arg(long)]
    pub quiet: bool,
}

/// Devices in study files, as their users name them.
mod device_name {
    use inverse_core::Device;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde passes fields by reference")]
    pub(super) fn serialize<S: Serializer>(
        device: &Option<Device>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        device.map(|device| device.to_string()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Device>, D::Error> {
        let name = Option::<String>::deserialize(deserializer)?;
        name.map(|name| name.parse().map_err(D::Error::custom)).transpose()
    }
}

impl StudyArguments {
    /// How large the study is.
    pub fn profile(&self) -> Profile {
        self.profile.unwrap_or_default()
    }

    /// The seed from which all randomness flows.
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or(DEFAULT_SEED)
    }

    /// Where tensors live.
    pub fn device(&self) -> Device {
        self.device.unwrap_or_default()
    }

    /// Trainings from which the best is chosen.
    pub fn trainings(&self) -> usize {
        self.trainings.unwrap_or(self.profile().trainings())
    }

    /// Held-out targets.
    pub fn targets(&self) -> usize {
        self.targets.unwrap_or(self.profile().targets())
    }

    /// Proposals for each target: the largest T.
    pub fn proposals(&self) -> usize {
        self.proposals.unwrap_or(DEFAULT_PROPOSALS)
    }

    /// Targets for which proposals are compared with the true posterior.
    pub fn posterior_targets(&self) -> usize {
        self.targets.unwrap_or(self.profile().posterior_targets())
    }

    /// Proposals for each of those targets, and reference draws to hold them against.
    pub fn posterior_samples(&self) -> usize {
        self.profile().posterior_samples()
    }

    /// The folder of results.
    pub fn folder(&self) -> PathBuf {
        self.out.clone().unwrap_or_else(|| PathBuf::from("results").join(self.profile().to_string()))
    }

    /// These arguments, and the others' where these leave something open.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        let list = |own: Vec<String>, others| if own.is_empty() { others } else { own };
        Self {
            profile: self.profile.or(others.profile),
            seed: self.seed.or(others.seed),
            tasks: list(self.tasks, others.tasks),
            methods: list(self.methods, others.methods),
            out: self.out.or(others.out),
            device: self.device.or(others.device),
            threads: self.threads.or(others.threads),
            trainings: self.trainings.or(others.trainings),
            targets: self.targets.or(others.targets),
            proposals: self.proposals.or(others.proposals),
            tensorboard: self.tensorboard.or(others.tensorboard),
            quiet: self.quiet || others.quiet,
        }
    }

    /// Whether a study can follow these arguments.
    ///
    /// # Errors
    /// [`InvalidArgument`] that names the option.
    pub fn validate(&self) -> Result<(), InvalidArgument> {
        let counts = [
            ("--threads", self.threads),
            ("--trainings", self.trainings),
            ("--targets", self.targets),
            ("--proposals", self.proposals),
        ];
        for (name, count) in counts {
            if count == Some(0) {
                return Err(InvalidArgument::new(name, "at least 1", 0));
            }
        }
        let limits = [
            ("--trainings", self.trainings, LARGEST_TRAININGS),
            ("--targets", self.targets, LARGEST_PAIRS),
            ("--proposals", self.proposals, LARGEST_PAIRS),
        ];
        for (name, count, largest) in limits {
            if let Some(count) = count.filter(|count| *count > largest) {
                return Err(InvalidArgument::new(name, format!("1 to {largest}"), count));
            }
        }
        let (targets, proposals) = (self.targets(), self.proposals());
        if targets.saturating_mul(proposals) > LARGEST_PAIRS {
            let expected = format!("at most {LARGEST_PAIRS} designs for all targets together");
            let found = format!("{targets} targets times {proposals}");
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
        assert_eq!(parsed, StudyArguments::default());
        assert_eq!((parsed.seed(), parsed.proposals(), parsed.device()), (1, 200, Device::Cpu));
        assert_eq!(parsed.folder(), PathBuf::from("results/quick"));
    }

    #[test]
    fn the_command_line_goes_before_the_file() {
        let file = "seed = 5\ntasks = [\"D2\"]\ndevice = \"cuda:1\"\nproposals = 50";
        let file: StudyArguments = toml::from_str(file).unwrap();
        let line = Line::parse_from(["example", "--seed", "6", "--task", "D1"]).study;
        let both = line.or(file.clone());
        assert_eq!((both.seed(), both.proposals(), both.device()), (6, 50, Device::Cuda(1)));
        assert_eq!(both.tasks, ["D1"]);
        assert_eq!(toml::from_str::<StudyArguments>(&toml::to_string(&file).unwrap()).unwrap(), file);
    }

    #[test]
    fn mistakes_in_files_are_named() {
        for (text, words) in [
            ("sed = 1", "unknown field `sed`"),
            ("seed = -1", "seed = -1"),
            ("profile = \"huge\"", "unknown variant `huge`"),
            ("device = \"abacus\"", "`cpu`, `cuda` or `cuda:N`"),
        ] {
            let error = toml::from_str::<StudyArguments>(text).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn counts_that_no_memory_holds_are_refused_by_name() {
        let refused = |options: &[&str]| {
            let parsed = Line::parse_from(["example"].iter().chain(options)).study;
            parsed.validate().unwrap_err().to_string()
        };
        let largest = usize::MAX.to_string();
        assert!(refused(&["--trainings", &largest]).contains("`--trainings`: expected 1 to 1000"));
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
