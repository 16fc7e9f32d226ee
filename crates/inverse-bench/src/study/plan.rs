//! The plan of a study: its cells, each after those it builds on.

use std::collections::BTreeMap;
use std::sync::Arc;

use inverse_core::{Dataset, InvalidArgument, RandomStreams, Task};
use inverse_models::nn::TRAINING_VERSION;
use inverse_models::presets::PresetMethod;
use inverse_models::{AnyMethod, InputDescentSettings, LevenbergMarquardtSettings, NeuralAdjoint, Starts};
use inverse_tasks::metamaterial::MetamaterialSettings;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::proposal_limit::{check_proposals, neural_adjoint_settings};
use crate::store::hexadecimal;
use crate::{Cell, Stage, StudyArguments, StudyError};

/// Raised whenever another way of proposing, validating, scoring, matching or timing gives other results for the same
/// models.
const STUDY_VERSION: u32 = 2;

/// The same of trainings, which [`TRAINING_VERSION`] tells apart, and of reference posteriors, which know no method:
/// finished ones stay.
const LASTING_STUDY_VERSION: u32 = 1;

/// Starts with which trainings are compared: enough to rank surrogates, a fraction of the final search.
pub(crate) const VALIDATION_STARTS: usize = 250;

/// Validation targets of methods other than NA, as a multiple of the profile's: one proposal of a model that samples
/// says little, and more targets make up for it.
const VALIDATION_FACTOR: usize = 10;

/// What the designs behind the targets are called among the methods.
const TRUE_DESIGNS: &str = "true designs";

/// Most measurements of tasks whose posterior is drawn by rejection: it finds no design with D4's 300.
pub(crate) const REJECTION_WIDTH: usize = 3;

/// NA's inference settings, where they are not those of its training: the ablation of Table 5.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InferenceSettings {
    /// Where designs start.
    pub starts: Starts,
    /// How they descend.
    pub descent: InputDescentSettings,
    /// The damped Gauss–Newton steps that take the place of `descent`, where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub levenberg_marquardt: Option<LevenbergMarquardtSettings>,
}

/// A method under a label of its own.
#[derive(Clone)]
pub(crate) struct Variant<'a> {
    pub(crate) label: String,
    pub(crate) method: &'a dyn AnyMethod,
    pub(crate) inference: Option<InferenceSettings>,
}

impl<'a> Variant<'a> {
    pub(crate) fn own(method: &'a dyn AnyMethod) -> Self {
        Self { label: method.label().into(), method, inference: None }
    }
}

/// A trained model and its score on the validation targets, by their cells' names.
#[derive(Debug, Clone)]
pub(crate) struct Trial {
    pub(crate) training: String,
    pub(crate) validation: String,
}

/// What there is to do in a cell.
#[derive(Clone)]
pub(crate) enum Work<'a> {
    Train {
        method: &'a dyn AnyMethod,
        data: Arc<Dataset>,
        seed: u64,
    },
    Validate {
        method: &'a dyn AnyMethod,
        training: String,
        targets: usize,
    },
    Evaluate {
        variant: Variant<'a>,
        trials: Vec<Trial>,
    },
    DrawReference,
    Match {
        method: &'a dyn AnyMethod,
        trials: Vec<Trial>,
        reference: String,
    },
    /// Of the proposals of an evaluation; of the designs behind the targets, where there is none.
    Solve {
        evaluation: Option<String>,
    },
    Time {
        method: &'a dyn AnyMethod,
        training: String,
    },
}

/// A cell with its name in the store and what it builds on.
#[derive(Clone)]
pub struct PlannedCell<'a> {
    /// What it is.
    pub cell: Cell,
    /// Its name in the store.
    pub id: String,
    /// Everything that its bits depend on.
    pub identity: Value,
    /// Names of the cells that it builds on.
    pub inputs: Vec<String>,
    pub(crate) task: &'a dyn Task,
    pub(crate) work: Work<'a>,
}

/// Cells in an order in which they can be done.
#[derive(Clone, Default)]
pub struct Plan<'a> {
    cells: Vec<PlannedCell<'a>>,
}

impl<'a> Plan<'a> {
    /// The cells, each after those it builds on, none twice.
    pub fn cells(&self) -> &[PlannedCell<'a>] {
        &self.cells
    }

    /// Adds another plan's cells, but none twice.
    pub fn extend(&mut self, other: Self) {
        for planned in other.cells {
            if !self.cells.iter().any(|known| known.id == planned.id) {
                self.cells.push(planned);
            }
        }
    }

    /// Only the cell of that name and those it builds on.
    ///
    /// # Errors
    /// [`InvalidArgument`] where no cell has that name.
    pub fn only(mut self, id: &str) -> Result<Self, InvalidArgument> {
        if !self.cells.iter().any(|cell| cell.id == id) {
            return Err(InvalidArgument::new(
                "--cell",
                "the name of a cell of this study",
                format!("`{id}`"),
            ));
        }
        let mut wanted = vec![id.to_owned()];
        self.cells.reverse();
        self.cells.retain(|cell| {
            let keep = wanted.contains(&cell.id);
            wanted.extend(cell.inputs.iter().filter(|_| keep).cloned());
            keep
        });
        self.cells.reverse();
        Ok(self)
    }
}

/// Builds a plan from what is wanted.
pub(crate) struct Planner<'a> {
    arguments: &'a StudyArguments,
    data: BTreeMap<String, (Arc<Dataset>, String)>,
    plan: Plan<'a>,
}

impl<'a> Planner<'a> {
    pub(crate) fn new(arguments: &'a StudyArguments) -> Self {
        Self { arguments, data: BTreeMap::new(), plan: Plan::default() }
    }

    pub(crate) fn plan(self) -> Plan<'a> {
        self.plan
    }

    /// The trainings of a method and their scores.
    pub(crate) fn trials(
        &mut self,
        task: &'a dyn Task,
        method: &'a dyn AnyMethod,
    ) -> Result<Vec<Trial>, StudyError> {
        (0..self.arguments.trainings()).map(|index| self.trial(task, method, index)).collect()
    }

    fn trial(
        &mut self,
        task: &'a dyn Task,
        method: &'a dyn AnyMethod,
        index: usize,
    ) -> Result<Trial, StudyError> {
        let training = self.training(task, method, index)?;
        let neural_adjoint = method.name() == NeuralAdjoint::NAME;
        let factor = if neural_adjoint { 1 } else { VALIDATION_FACTOR };
        let targets = factor * self.arguments.profile().validation_targets();
        let seed = self.arguments.seed();
        let identity =
            json!({"training": training, "targets": targets, "seed": seed, "inference": inference(method)?});
        let work = Work::Validate { method, training: training.clone(), targets };
        let inputs = vec![training.clone()];
        let cell = self.cell(task, method.name(), method.label(), Stage::Validation, Some(index + 1));
        let validation = self.push(cell, identity, inputs, task, work);
        Ok(Trial { training, validation })
    }

    /// One training, by its index.
    pub(crate) fn training(
        &mut self,
        task: &'a dyn Task,
        method: &'a dyn AnyMethod,
        index: usize,
    ) -> Result<String, StudyError> {
        let (data, hash) = self.data(task)?;
        let seed = streams(self.arguments, task).family("training", index as u64).seed();
        let settings = training_settings(method)?;
        let identity = json!({
            "method": method.name(), "settings": settings, "data": hash, "seed": seed,
            "training_version": TRAINING_VERSION,
        });
        let cell = self.cell(task, method.name(), method.label(), Stage::Training, Some(index + 1));
        Ok(self.push(cell, identity, Vec::new(), task, Work::Train { method, data, seed }))
    }

    /// The score of a variant's best training on the held-out targets.
    pub(crate) fn evaluation(
        &mut self,
        task: &'a dyn Task,
        variant: Variant<'a>,
    ) -> Result<String, StudyError> {
        let arguments = self.arguments;
        check_proposals(arguments.proposals(), variant.method, arguments.profile().pairs())?;
        let trials = self.trials(task, variant.method)?;
        let inputs = inputs(&trials);
        let inference = match &variant.inference {
            None => inference(variant.method)?,
            Some(other) => {
                let start_count = neural_adjoint_settings(variant.method)?.start_count;
                json!({"start_count": start_count, "starts": other.starts, "descent": other.descent})
            }
        };
        let identity = json!({
            "trials": inputs, "inference": inference, "targets": arguments.targets(),
            "proposals": arguments.proposals(), "seed": arguments.seed(),
        });
        let cell = self.cell(task, variant.method.name(), &variant.label, Stage::Evaluation, None);
        Ok(self.push(cell, identity, inputs, task, Work::Evaluate { variant, trials }))
    }

    /// How well a method's proposals match the true posterior.
    pub(crate) fn matching(
        &mut self,
        task: &'a dyn Task,
        method: &'a dyn AnyMethod,
        reference: &str,
    ) -> Result<String, StudyError> {
        check_proposals(self.arguments.posterior_samples(), method, self.arguments.profile().pairs())?;
        let trials = self.trials(task, method)?;
        let mut inputs = inputs(&trials);
        inputs.push(reference.into());
        let identity =
            json!({"inputs": inputs, "inference": inference(method)?, "seed": self.arguments.seed()});
        let cell = self.cell(task, method.name(), method.label(), Stage::Matching, None);
        let work = Work::Match { method, trials, reference: reference.into() };
        Ok(self.push(cell, identity, inputs, task, work))
    }

    /// Draws of the true posterior for the targets of the matching.
    pub(crate) fn reference(&mut self, task: &'a dyn Task) -> Result<String, StudyError> {
        let arguments = self.arguments;
        let (_, data) = self.data(task)?;
        let identity = json!({
            "data": data, "targets": arguments.posterior_targets(), "samples": arguments.posterior_samples(),
            "seed": arguments.seed(),
        });
        let cell = self.cell(task, "", "", Stage::Reference, None);
        Ok(self.push(cell, identity, Vec::new(), task, Work::DrawReference))
    }

    /// The errors of the metamaterial's designs under its solver: a method's, or those behind the targets.
    pub(crate) fn solving(
        &mut self,
        task: &'a dyn Task,
        method: Option<&'a dyn AnyMethod>,
    ) -> Result<String, StudyError> {
        let arguments = self.arguments;
        let evaluation = method.map(|method| self.evaluation(task, Variant::own(method))).transpose()?;
        // Without proposals to depend on, the designs are those of these targets.
        let identity = json!({
            "evaluation": evaluation, "targets": arguments.targets(), "seed": arguments.seed(),
            "solver": format!("{:?}", MetamaterialSettings::default()),
        });
        let (name, label) = method.map_or(("", TRUE_DESIGNS), |method| (method.name(), method.label()));
        let cell = self.cell(task, name, label, Stage::Solving, None);
        let inputs = evaluation.iter().cloned().collect();
        Ok(self.push(cell, identity, inputs, task, Work::Solve { evaluation }))
    }

    /// The time that a method's inference takes.
    pub(crate) fn timing(
        &mut self,
        task: &'a dyn Task,
        method: &'a dyn AnyMethod,
    ) -> Result<String, StudyError> {
        let training = self.training(task, method, 0)?;
        let threads = rayon::current_num_threads();
        let identity = json!({"training": training, "inference": inference(method)?, "threads": threads});
        let cell = self.cell(task, method.name(), method.label(), Stage::Timing, None);
        let work = Work::Time { method, training: training.clone() };
        Ok(self.push(cell, identity, vec![training], task, work))
    }

    fn data(&mut self, task: &dyn Task) -> Result<(Arc<Dataset>, String), StudyError> {
        if let Some((data, hash)) = self.data.get(task.name()) {
            return Ok((data.clone(), hash.clone()));
        }
        let mut stream = streams(self.arguments, task).stream("data", 0);
        let data = Arc::new(Dataset::from_task(task, self.arguments.profile().pairs(), &mut stream)?);
        let hash = data.content_hash();
        self.data.insert(task.name().into(), (data.clone(), hash.clone()));
        Ok((data, hash))
    }

    fn cell(&self, task: &dyn Task, method: &str, label: &str, stage: Stage, trial: Option<usize>) -> Cell {
        let profile = self.arguments.profile().to_string();
        let (task, method, label) = (task.name().into(), method.into(), label.into());
        Cell { task, method, label, stage, trial, profile, seed: self.arguments.seed() }
    }

    fn push(
        &mut self,
        cell: Cell,
        identity: Value,
        inputs: Vec<String>,
        task: &'a dyn Task,
        work: Work<'a>,
    ) -> String {
        let lasting = matches!(cell.stage, Stage::Training | Stage::Reference);
        let study_version = if lasting { LASTING_STUDY_VERSION } else { STUDY_VERSION };
        let identity = json!({
            "task": cell.task, "stage": cell.stage, "device": self.arguments.device().to_string(),
            "library_version": env!("CARGO_PKG_VERSION"), "study_version": study_version, "of": identity,
        });
        let hash = hexadecimal(&Sha256::digest(identity.to_string())[..8]);
        let of = if cell.method.is_empty() { String::new() } else { format!("-{}", cell.method) };
        let id = format!("{}{of}-{}-{hash}", file_name(&cell.task), cell.stage);
        if !self.plan.cells.iter().any(|planned| planned.id == id) {
            self.plan.cells.push(PlannedCell { cell, id: id.clone(), identity, inputs, task, work });
        }
        id
    }
}

/// The streams of one task's part of a study.
pub(crate) fn streams(arguments: &StudyArguments, task: &dyn Task) -> RandomStreams {
    RandomStreams::new(arguments.seed()).family(task.name(), 0)
}

fn inputs(trials: &[Trial]) -> Vec<String> {
    trials.iter().flat_map(|trial| [trial.training.clone(), trial.validation.clone()]).collect()
}

/// What a method's training depends on beside data and seed. Only NA's surrogate is trained: other inference settings
/// share its trainings.
fn training_settings(method: &dyn AnyMethod) -> Result<Value, StudyError> {
    if method.name() == NeuralAdjoint::NAME {
        let NeuralAdjoint { surrogate, ensemble, .. } = neural_adjoint_settings(method)?;
        let mut settings = json_value(&surrogate)?;
        // Only where there is one: trainings of single surrogates keep their names.
        if let Some(ensemble) = ensemble {
            settings["ensemble"] = json_value(&ensemble)?;
        }
        return Ok(settings);
    }
    let settings = method.settings()?;
    serde_json::from_str(&settings).map_err(|error| StudyError::Settings(error.to_string()))
}

/// What a method's inference depends on beside its trained model.
fn inference(method: &dyn AnyMethod) -> Result<Value, StudyError> {
    if method.name() != NeuralAdjoint::NAME {
        return Ok(Value::Null);
    }
    let NeuralAdjoint { start_count, starts, descent, levenberg_marquardt, .. } =
        neural_adjoint_settings(method)?;
    let mut settings = json!({"start_count": start_count, "starts": starts, "descent": descent});
    // Only where there are any: cells of studies without them keep their names.
    if let Some(levenberg_marquardt) = levenberg_marquardt {
        settings["levenberg_marquardt"] = json_value(&levenberg_marquardt)?;
    }
    Ok(settings)
}

fn json_value(value: &impl Serialize) -> Result<Value, StudyError> {
    serde_json::to_value(value).map_err(|error| StudyError::Settings(error.to_string()))
}

/// A task's name as part of a file's name.
fn file_name(name: &str) -> String {
    name.chars().map(|c| if c.is_alphanumeric() || c == '-' { c } else { '_' }).collect()
}
