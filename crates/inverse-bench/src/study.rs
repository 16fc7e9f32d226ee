//! One study: tasks, trainings, and the score of the best training on held-out targets.

use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

use inverse_core::{
    DataError, Dataset, FitError, InvalidArgument, InverseModel, Proposals, ProposeError, RandomStreams, Task,
};
use inverse_metrics::{ConfidenceInterval, MetricError, ResimulationErrors, resimulate};
use inverse_models::presets::PresetMethod;
use inverse_models::{
    AnyMethod, InputDescentSettings, ModelFileError, NeuralAdjoint, NeuralAdjointModel, SavedModel, Starts,
    any_method, method_by_name, method_names,
};
use inverse_tasks::UnknownTask;
use ndarray::{Array3, ArrayView2, Axis, concatenate};
use rand::Rng;
use thiserror::Error;

use crate::candidates::Candidates;
use crate::paper::paper_name;
use crate::progress::Progress;
use crate::proposal_limit::{check_proposals, neural_adjoint_settings};
use crate::trained_models::TrainedModels;
use crate::{Profile, ResultFileError, ResultFolder, ScoreRow, StudyArguments, TaskResult, paper_table};

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

/// Targets a call, so that the progress bar moves; proposals do not depend on it.
const TARGET_BLOCK: usize = 10;

/// Starts with which trainings are compared: enough to rank surrogates, a fraction of the final search.
const VALIDATION_STARTS: usize = 250;

/// Validation targets of methods other than NA, as a multiple of the profile's.
const VALIDATION_FACTOR: usize = 10;

/// Resamples of the bootstrap, and its confidence.
const RESAMPLES: usize = 2000;
const LEVEL: f64 = 0.95;

/// Why a study could not go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StudyError {
    /// An argument cannot be used.
    #[error(transparent)]
    InvalidArgument(#[from] InvalidArgument),
    /// No task has that name.
    #[error(transparent)]
    UnknownTask(#[from] UnknownTask),
    /// Data could not be made.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Training failed.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// Inference failed.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// A metric could not be computed.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// A model could not be kept or found.
    #[error(transparent)]
    ModelFile(#[from] ModelFileError),
    /// Results could not be written.
    #[error(transparent)]
    ResultFile(#[from] ResultFileError),
    /// Settings that cannot be written down.
    #[error("settings cannot be written as JSON: {0}")]
    Settings(String),
    /// The thread pool could not be built.
    #[error("threads: {0}")]
    Threads(String),
}

/// Tasks, sizes, seed and the folder of results.
pub struct Study {
    arguments: StudyArguments,
    tasks: Vec<Box<dyn Task>>,
    methods: Vec<&'static str>,
    results: ResultFolder,
    models: TrainedModels,
}

impl Study {
    /// Checks the arguments, opens the folder of results (`default_folder` where none was asked for) and
    /// sets the number of threads.
    ///
    /// # Errors
    /// [`StudyError`] where an argument cannot be used, a task is unknown, or the folder cannot be written.
    pub fn new(arguments: &StudyArguments, default_folder: &str) -> Result<Self, StudyError> {
        arguments.validate()?;
        let names = inverse_tasks::names();
        let asked = arguments.tasks.iter().map(String::as_str);
        let names: Vec<&str> = if arguments.tasks.is_empty() { names.to_vec() } else { asked.collect() };
        let tasks = names.into_iter().map(inverse_tasks::by_name).collect::<Result<_, _>>()?;
        let methods = methods(&arguments.methods, arguments.profile)?;
        inverse_models::open_device(arguments.device)?;
        if let Some(threads) = arguments.threads {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build_global().map_err(|error| StudyError::Threads(error.to_string()))?;
        }
        let folder = arguments.out.clone().unwrap_or_else(|| PathBuf::from(default_folder));
        let results = ResultFolder::create(folder)?;
        let models = TrainedModels::new(&results.path().join("models"), arguments.device);
        Ok(Self { arguments: arguments.clone(), tasks, methods, results, models })
    }

    /// The tasks, in the order asked for.
    pub fn tasks(&self) -> &[Box<dyn Task>] {
        &self.tasks
    }

    /// The folder of results.
    pub fn results(&self) -> &ResultFolder {
        &self.results
    }

    /// What the study was asked for.
    pub fn arguments(&self) -> &StudyArguments {
        &self.arguments
    }

    /// The methods to run, by name, in the order asked for.
    pub fn methods(&self) -> &[&'static str] {
        &self.methods
    }

    /// Every method's score on every task; tasks lead.
    ///
    /// # Errors
    /// As [`Study::result`].
    pub fn grid(&self) -> Result<Vec<TaskResult>, StudyError> {
        let cells = || self.tasks.iter().flat_map(|task| self.methods.iter().map(move |name| (task, name)));
        // Before the first training: a mistake about the last method shall not cost the hours of the others.
        for (task, name) in cells() {
            self.check_proposals(&*method_by_name(name, task.name(), self.arguments.profile.source())?)?;
        }
        cells().map(|(task, name)| self.result(&**task, name)).collect()
    }

    /// Trains a method on a task as often as the profile says, and scores the best training.
    ///
    /// # Errors
    /// [`StudyError`] where no method has that name, or data, training, inference or files fail.
    pub fn result(&self, task: &dyn Task, method: &str) -> Result<TaskResult, StudyError> {
        let method = method_by_name(method, task.name(), self.arguments.profile.source())?;
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
        self.check_proposals(method)?;
        let progress = Progress::new(task.name(), self.arguments.quiet);
        let (model, validation) = self.best_model(task, method, &progress)?;
        let errors = self.score(task, &*model, &progress)?;
        progress.finish();
        Ok(TaskResult { task: task.name().into(), method: label.into(), errors, validation })
    }

    /// The training with the lowest r_1 on validation targets, and r_1 of them all.
    ///
    /// # Errors
    /// As [`Study::result`].
    pub fn best_model(
        &self,
        task: &dyn Task,
        method: &dyn AnyMethod,
        progress: &Progress,
    ) -> Result<(Box<dyn SavedModel>, Vec<f64>), StudyError> {
        if method.name() == NeuralAdjoint::NAME {
            let method = neural_adjoint_settings(method)?;
            let (model, validation) = self.best_neural_adjoint(task, &method, progress)?;
            return Ok((Box::new(model), validation));
        }
        let streams = self.streams(task);
        let data = Dataset::from_task(task, self.arguments.profile.pairs(), &mut streams.stream("data", 0))?;
        // One proposal of a model that samples says little: more targets make up for it.
        let count = VALIDATION_FACTOR * self.arguments.profile.validation_targets();
        let targets = Dataset::from_task(task, count, &mut streams.stream("validation targets", 0))?;
        let mut candidates = Candidates::default();
        for training in 0..self.trainings() {
            let seed = streams.family("training", training as u64).seed();
            progress.stage(1, format!("{}: training", method.label()));
            let model = self.models.any(task.name(), method, &data, seed, progress)?;
            let proposals = model.propose(targets.y(), 1, &mut streams.stream("validation proposals", 0))?;
            let error = resimulate(task, &proposals, targets.y())?.mean(1)?;
            let label = method.label();
            progress
                .note(&format!("{label}, training {}: r_1 {error:.2e} on validation targets", training + 1));
            candidates.add(error, model);
        }
        candidates.best()
    }

    fn check_proposals(&self, method: &dyn AnyMethod) -> Result<(), StudyError> {
        check_proposals(self.arguments.proposals, method, self.arguments.profile.pairs())
    }

    fn trainings(&self) -> usize {
        self.arguments.trainings.unwrap_or(self.arguments.profile.trainings())
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
        self.check_proposals(&*any_method(method.clone()))?;
        let progress = Progress::new(task.name(), self.arguments.quiet);
        let (model, validation) = self.best_neural_adjoint(task, method, &progress)?;
        let mut results = Vec::new();
        for (label, starts, descent) in variants {
            let variant = model.with_inference(model.settings().start_count, *starts, descent.clone())?;
            let errors = self.score(task, &variant, &progress)?;
            let (task, method) = (task.name().to_owned(), (*label).to_owned());
            results.push(TaskResult { task, method, errors, validation: validation.clone() });
        }
        progress.finish();
        Ok(results)
    }

    /// As [`Study::best_model`], with as few starts as it takes to compare surrogates: NA's search is slow.
    fn best_neural_adjoint(
        &self,
        task: &dyn Task,
        method: &NeuralAdjoint,
        progress: &Progress,
    ) -> Result<(NeuralAdjointModel, Vec<f64>), StudyError> {
        let profile = self.arguments.profile;
        let streams = self.streams(task);
        let data = Dataset::from_task(task, profile.pairs(), &mut streams.stream("data", 0))?;
        let mut stream = streams.stream("validation targets", 0);
        let targets = Dataset::from_task(task, profile.validation_targets(), &mut stream)?;
        let mut candidates = Candidates::default();
        for training in 0..self.trainings() {
            let seed = streams.family("training", training as u64).seed();
            progress.stage(method.surrogate.training.epochs, "training");
            let model = self.models.neural_adjoint(task.name(), method, &data, seed, progress)?;
            // The same starts for each training: the trainings are compared, not their luck.
            let settings = model.settings();
            let starts = settings.start_count.min(VALIDATION_STARTS);
            let search = model.with_inference(starts, settings.starts, settings.descent.clone())?;
            let proposals = search.propose(targets.y(), 1, &mut streams.stream("validation proposals", 0))?;
            let error = resimulate(task, &proposals, targets.y())?.mean(1)?;
            progress.note(&format!(
                "training {}: surrogate loss {:.2e}, r_1 {error:.2e} on validation targets",
                training + 1,
                model.surrogate().report().validation_loss
            ));
            candidates.add(error, model);
        }
        candidates.best()
    }

    /// r_T of a model on the task's held-out targets.
    ///
    /// # Errors
    /// [`StudyError`] where inference or the simulator fails.
    pub fn score(
        &self,
        task: &dyn Task,
        model: &dyn InverseModel,
        progress: &Progress,
    ) -> Result<ResimulationErrors, StudyError> {
        let (targets, proposals) = self.test_proposals(task, model, progress)?;
        Ok(resimulate(task, &proposals, targets.y())?)
    }

    /// The task's held-out targets, with the designs behind them, and a model's proposals for them.
    ///
    /// # Errors
    /// [`StudyError`] where inference or the simulator fails.
    pub fn test_proposals(
        &self,
        task: &dyn Task,
        model: &dyn InverseModel,
        progress: &Progress,
    ) -> Result<(Dataset, Proposals), StudyError> {
        let streams = self.streams(task);
        let count = self.arguments.targets.unwrap_or(self.arguments.profile.targets());
        let targets = Dataset::from_task(task, count, &mut streams.stream("test targets", 0))?;
        progress.stage(count, format!("{}: searching", model.name()));
        let mut rng = streams.stream("test proposals", 0);
        let proposals = propose_in_blocks(model, targets.y(), self.arguments.proposals, &mut rng, progress)?;
        Ok((targets, proposals))
    }

    fn streams(&self, task: &dyn Task) -> RandomStreams {
        RandomStreams::new(self.arguments.seed).family(task.name(), 0)
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
        let streams = RandomStreams::new(self.arguments.seed);
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

/// Names of methods, from names or labels; all, where there is none.
fn methods(asked: &[String], profile: Profile) -> Result<Vec<&'static str>, InvalidArgument> {
    if asked.is_empty() {
        return Ok(method_names());
    }
    // Every task has the presets of a profile: any will do to know the method's name.
    let name = |asked: &String| Ok(method_by_name(asked, "", profile.source())?.name());
    asked.iter().map(name).collect()
}

/// Proposes block by block; the same proposals as one call gives, because targets are drawn in order.
fn propose_in_blocks(
    model: &dyn InverseModel,
    y: ArrayView2<'_, f64>,
    n: usize,
    rng: &mut dyn Rng,
    progress: &Progress,
) -> Result<Proposals, StudyError> {
    let mut designs: Vec<Array3<f64>> = Vec::new();
    for block in y.axis_chunks_iter(Axis(0), TARGET_BLOCK) {
        designs.push(model.propose(block, n, rng)?.designs().to_owned());
        progress.advance(block.nrows());
    }
    let views: Vec<_> = designs.iter().map(|block| block.view()).collect();
    let designs = concatenate(Axis(0), &views)
        .map_err(|error| InvalidArgument::new("model", "designs of one width", error))?;
    Ok(Proposals::new(designs)?)
}
