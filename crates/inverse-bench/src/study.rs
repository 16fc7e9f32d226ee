//! One study: tasks, methods, their cells in a store, and the scores of the best trainings.

mod error;
mod plan;
mod stages;
mod work;

use std::fmt::Display;
use std::process::ExitCode;

use inverse_core::{Dataset, InvalidArgument, Proposals, RandomStreams, Task};
use inverse_metrics::ConfidenceInterval;
use inverse_models::presets::PresetMethod;
use inverse_models::{
    AnyMethod, InputDescentSettings, NeuralAdjoint, SavedModel, Starts, Tandem, any_method, method_by_name,
    method_names,
};

pub use error::StudyError;
use plan::Planner;
pub use plan::{InferenceSettings, Plan, PlannedCell};
pub(crate) use plan::{REJECTION_WIDTH, Variant, Work, streams};
pub(crate) use stages::read_errors;
use stages::read_proposals;
pub use stages::{InferenceTimes, PosteriorMatch, Repeats, TrainingTime};
pub(crate) use stages::{TIMES, TRAINING_TIME, read_json, read_match};
pub use work::{Event, Outcome};

use crate::paper::paper_name;
use crate::store::EntryState;
use crate::{Profile, ResultFolder, ScoreRow, Store, StudyArguments, TaskResult, paper_table};

/// How an example's `main` ends: the error, if there is one, in one line on the error stream.
///
/// ```
/// use std::process::ExitCode;
///
/// let failed = inverse_bench::exit_code(Err::<(), _>("no such task"));
/// assert_ne!(failed, ExitCode::SUCCESS);
/// ```
pub fn exit_code<E: Display>(outcome: Result<(), E>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Resamples of the bootstrap, and its confidence.
const RESAMPLES: usize = 2000;
const LEVEL: f64 = 0.95;

/// Tasks, sizes, seed, and the folder of results, which is also the store of the study's cells.
pub struct Study {
    arguments: StudyArguments,
    tasks: Vec<Box<dyn Task>>,
    methods: Vec<&'static str>,
    /// Each task's methods with their settings.
    presets: Vec<Vec<Box<dyn AnyMethod>>>,
    /// Each task's tandem model without boundary loss (Figure 8).
    unbounded_tandems: Vec<Box<dyn AnyMethod>>,
    results: ResultFolder,
    store: Store,
}

impl Study {
    /// Checks the arguments, opens the folder of results (where none was asked for, `results/` and the profile's name)
    /// and sets the number of threads.
    ///
    /// # Errors
    /// [`StudyError`] where an argument cannot be used, a task is unknown, or the folder cannot be written.
    pub fn new(arguments: &StudyArguments) -> Result<Self, StudyError> {
        arguments.validate()?;
        let names = inverse_tasks::names();
        let asked = arguments.tasks.iter().map(String::as_str);
        let names: Vec<&str> = if arguments.tasks.is_empty() { names.to_vec() } else { asked.collect() };
        let mut tasks: Vec<Box<dyn Task>> = Vec::new();
        for name in names {
            let task = inverse_tasks::by_name(name)?;
            // Asked for twice, perhaps by its name and by the paper's, it is done once.
            if !tasks.iter().any(|known| known.name() == task.name()) {
                tasks.push(task);
            }
        }
        let methods = methods(&arguments.methods, arguments.profile())?;
        let source = arguments.profile().source();
        let preset = |task: &dyn Task| {
            methods.iter().map(|name| method_by_name(name, task.name(), source)).collect::<Result<_, _>>()
        };
        let presets = tasks.iter().map(|task| preset(&**task)).collect::<Result<_, _>>()?;
        let unbounded = |task: &dyn Task| -> Result<_, InvalidArgument> {
            Ok(any_method(Tandem { boundary_weight: 0.0, ..Tandem::preset(task.name(), source)? }))
        };
        let unbounded_tandems = tasks.iter().map(|task| unbounded(&**task)).collect::<Result<_, _>>()?;
        inverse_models::open_device(arguments.device())?;
        if let Some(threads) = arguments.threads {
            let built = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
            // A process has one pool: its second study is content with the first one's, where that has as many threads.
            if let Err(error) = built
                && rayon::current_num_threads() != threads
            {
                return Err(StudyError::Threads(error.to_string()));
            }
        }
        let results = ResultFolder::create(arguments.folder())?;
        let store = Store::open(results.path())?;
        let arguments = arguments.clone();
        Ok(Self { arguments, tasks, methods, presets, unbounded_tandems, results, store })
    }

    /// The tasks, in the order asked for.
    pub fn tasks(&self) -> &[Box<dyn Task>] {
        &self.tasks
    }

    /// The folder of results.
    pub fn results(&self) -> &ResultFolder {
        &self.results
    }

    /// The store of the study's cells.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What the study was asked for.
    pub fn arguments(&self) -> &StudyArguments {
        &self.arguments
    }

    /// The methods to run, by name, in the order asked for.
    pub fn methods(&self) -> &[&'static str] {
        &self.methods
    }

    /// Every task with every method's settings; tasks lead.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&dyn Task, &dyn AnyMethod)> {
        let tasks = self.tasks.iter().zip(&self.presets);
        tasks.flat_map(|(task, methods)| methods.iter().map(move |method| (&**task, &**method)))
    }

    /// Every task with its tandem model's settings, with boundary loss and without; none where no tandem was asked for.
    pub(crate) fn tandems(&self) -> impl Iterator<Item = (&dyn Task, &dyn AnyMethod, &dyn AnyMethod)> {
        let without = self.tasks.iter().zip(&self.unbounded_tandems);
        without.zip(&self.presets).filter_map(|((task, without), methods)| {
            let with = methods.iter().find(|method| method.name() == Tandem::NAME)?;
            Some((&**task, &**with, &**without))
        })
    }

    pub(crate) fn planner(&self) -> Planner<'_> {
        Planner::new(&self.arguments)
    }

    /// The cells behind every method's score on every task.
    ///
    /// # Errors
    /// [`StudyError`] where a method cannot make that many proposals, or data cannot be made.
    pub fn score_plan(&self) -> Result<Plan<'_>, StudyError> {
        let mut planner = self.planner();
        for (task, method) in self.pairs() {
            planner.evaluation(task, Variant::own(method))?;
        }
        Ok(planner.plan())
    }

    /// Every method's score on every task; tasks lead. What is not finished is done first.
    ///
    /// # Errors
    /// As [`Study::result`].
    pub fn grid(&self) -> Result<Vec<TaskResult>, StudyError> {
        let plan = self.score_plan()?;
        self.complete(&plan)?;
        self.evaluations(&plan)
    }

    /// Trains a method on a task as often as the profile says, and scores the best training.
    ///
    /// # Errors
    /// [`StudyError`] where no method has that name, or data, training, inference or files fail.
    pub fn result(&self, task: &dyn Task, method: &str) -> Result<TaskResult, StudyError> {
        let method = method_by_name(method, task.name(), self.arguments.profile().source())?;
        self.variant(task, &*method, method.label())
    }

    /// As [`Study::result`], for settings of one's own under a label of one's own.
    ///
    /// # Errors
    /// As [`Study::result`].
    pub fn variant(
        &self,
        task: &dyn Task,
        method: &dyn AnyMethod,
        label: &str,
    ) -> Result<TaskResult, StudyError> {
        let variant = Variant { label: label.into(), method, inference: None };
        self.one_evaluation(task, variant)
    }

    /// Scores the best training of one NA under other inference settings: (label, Ω, descent) each (Table 5).
    ///
    /// # Errors
    /// As [`Study::result`].
    pub fn neural_adjoint_variants(
        &self,
        task: &dyn Task,
        method: &NeuralAdjoint,
        variants: &[(&str, Starts, InputDescentSettings)],
    ) -> Result<Vec<TaskResult>, StudyError> {
        let method = any_method(method.clone());
        let result = |(label, starts, descent): &(&str, Starts, InputDescentSettings)| {
            let inference = Some(InferenceSettings {
                starts: *starts,
                descent: descent.clone(),
                levenberg_marquardt: None,
            });
            self.one_evaluation(task, Variant { label: (*label).into(), method: &*method, inference })
        };
        variants.iter().map(result).collect()
    }

    fn one_evaluation(&self, task: &dyn Task, variant: Variant<'_>) -> Result<TaskResult, StudyError> {
        let mut planner = self.planner();
        let id = planner.evaluation(task, variant)?;
        let plan = planner.plan();
        self.complete(&plan)?;
        let planned = plan.cells().iter().find(|planned| planned.id == id);
        planned
            .and_then(|planned| self.evaluation(planned).transpose())
            .unwrap_or_else(|| Err(unplanned(&id)))
    }

    /// The best of a method's trainings by r_1 on the validation targets, and r_1 of them all.
    ///
    /// # Errors
    /// As [`Study::result`].
    pub fn best_model(
        &self,
        task: &dyn Task,
        method: &dyn AnyMethod,
    ) -> Result<(Box<dyn SavedModel>, Vec<f64>), StudyError> {
        let mut planner = self.planner();
        let trials = planner.trials(task, method)?;
        self.complete(&planner.plan())?;
        Ok((self.best(method, None, &trials)?, self.validation_errors(&trials)?))
    }

    /// The held-out targets of a task, with the designs behind them, and a method's proposals for them.
    ///
    /// # Errors
    /// As [`Study::result`].
    pub fn test_proposals(
        &self,
        task: &dyn Task,
        method: &dyn AnyMethod,
    ) -> Result<(Dataset, Proposals), StudyError> {
        let mut planner = self.planner();
        let id = planner.evaluation(task, Variant::own(method))?;
        self.complete(&planner.plan())?;
        Ok((self.test_targets(task)?, read_proposals(&self.store.folder(&id))?))
    }

    /// Does what is not finished; the first failure ends it.
    pub(crate) fn complete(&self, plan: &Plan<'_>) -> Result<(), StudyError> {
        let quiet = self.arguments.quiet;
        let mut outcome = self.work(plan, &mut |event| {
            if let Event::SetAside { cell, reason, place } = event
                && !quiet
            {
                eprintln!("{cell}: {reason}; set aside as {}", place.display());
            }
        })?;
        match outcome.failed.pop() {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }

    /// Whether all cells of a plan are finished.
    ///
    /// # Errors
    /// [`StudyError::Incomplete`] that counts those that are not.
    pub fn check_complete(&self, plan: &Plan<'_>) -> Result<(), StudyError> {
        let mut open = Vec::new();
        for planned in plan.cells() {
            if !matches!(self.store.state(&planned.id, &planned.identity)?, EntryState::Finished(_)) {
                open.push(&planned.cell);
            }
        }
        let (missing, all) = (open.len(), plan.cells().len());
        open.first()
            .map_or(Ok(()), |first| Err(StudyError::Incomplete { missing, all, first: first.to_string() }))
    }

    /// The results of all finished evaluations of a plan, in its order.
    ///
    /// # Errors
    /// [`StudyError`] where a result cannot be read.
    pub fn evaluations(&self, plan: &Plan<'_>) -> Result<Vec<TaskResult>, StudyError> {
        plan.cells().iter().filter_map(|planned| self.evaluation(planned).transpose()).collect()
    }

    /// The result of a finished evaluation; `None` for other cells.
    fn evaluation(&self, planned: &PlannedCell<'_>) -> Result<Option<TaskResult>, StudyError> {
        let Work::Evaluate { variant, trials } = &planned.work else { return Ok(None) };
        let (task, method) = (planned.cell.task.clone(), variant.label.clone());
        let errors = read_errors(&self.store.folder(&planned.id))?;
        Ok(Some(TaskResult { task, method, errors, validation: self.validation_errors(trials)? }))
    }

    /// Rows of a table at one T, with 95% intervals, beside the figures of the paper's table `number`; those stay
    /// empty where they are at another T.
    ///
    /// # Errors
    /// [`StudyError`] where T is more than there are proposals, or the paper has no such table.
    pub fn score_rows(
        &self,
        results: &[TaskResult],
        proposals: usize,
        number: usize,
    ) -> Result<Vec<ScoreRow>, StudyError> {
        let paper = paper_table(number)?;
        let streams = RandomStreams::new(self.arguments.seed());
        let mut rows = Vec::new();
        for result in results {
            let errors = &result.errors;
            let purpose = format!("bootstrap {} {}", result.task, result.method);
            let mut rng = streams.stream(&purpose, proposals as u64);
            let ConfidenceInterval { lower, upper } =
                errors.confidence_interval(proposals, LEVEL, RESAMPLES, &mut rng)?;
            let curve = errors.curve();
            let figure = paper
                .error(&result.task, &result.method, proposals)
                .or_else(|| paper.error(&result.method, paper_name(&result.task), proposals));
            rows.push(ScoreRow {
                task: result.task.clone(),
                method: result.method.clone(),
                proposals,
                mean: errors.mean(proposals)?,
                lower,
                upper,
                median: curve.median[proposals - 1],
                worst: curve.worst[proposals - 1],
                invalid: errors.invalid(),
                paper: figure,
            });
        }
        Ok(rows)
    }
}

fn unplanned(id: &str) -> StudyError {
    InvalidArgument::new("plan", "the evaluation that was planned", format!("none named `{id}`")).into()
}

/// Names of methods, from names or labels; all, where there is none.
fn methods(asked: &[String], profile: Profile) -> Result<Vec<&'static str>, InvalidArgument> {
    if asked.is_empty() {
        return Ok(method_names());
    }
    let mut names = Vec::new();
    for asked in asked {
        // Every task has the presets of a profile: any will do to know the method's name.
        let name = method_by_name(asked, "", profile.source())?.name();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}
