//! Beyond Table 3: what a search reaches that listens to the simulator, beside searches that do not.
//!
//! ```text
//! cargo run --release --example beyond_table3                                         # minutes: small networks
//! cargo run --release --example beyond_table3 -- --profile paper --trainings 1        # the paper's networks
//! cargo run --release --example beyond_table3 -- --task D1 --timed-targets 0          # no timing
//! ```
//!
//! All searches of a task share one surrogate and one set of held-out targets. What is trained is kept in the folder of
//! results, beside `beyond_table3.csv`, `.md`, `.svg` and `.png`; times are in `beyond_table3_times.csv`.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use inverse::bench::{
    CurveFigure, Study, StudyArguments, StudyError, Table, TaskResult, exit_code, panels, scientific,
};
use inverse::metrics::ResimulationErrors;
use inverse::models::{GradientSearch, InputDescentSettings, NearestNeighborModel, Starts, any_method};
use inverse::prelude::*;
use inverse::tasks::{
    Ballistics, RoboticArm, SineWave,
    metamaterial::{self, MetamaterialSettings, MetamaterialSolver, MetamaterialTask},
};
use ndarray::{Array2, Array3};
use serde::Serialize;

/// Starts a target of every search on the surrogate; as many as the largest T needs.
const STARTS: usize = 200;

/// The numbers of calls T that the table shows.
const CALLS: [usize; 6] = [1, 2, 5, 10, 50, 200];

/// Calls a target in the timing of a thousand targets.
const TIMED_CALLS: usize = 10;

/// Paper-style descents are so slow that this many targets stand for all; their time is the same for each.
const DESCENDING_TARGETS: usize = 10;

/// Searches with the simulator's answers, and without, on one surrogate.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    study: StudyArguments,
    /// Targets of the timing; 0 leaves it out.
    #[arg(long, default_value_t = 1000)]
    timed_targets: usize,
    /// Widths of the surrogate's hidden layers, as `200,200`; the profile's, where not given.
    #[arg(long, value_delimiter = ',')]
    hidden: Option<Vec<usize>>,
    /// Epochs of the surrogate's training; the profile's, where not given.
    #[arg(long)]
    epochs: Option<usize>,
    /// Adds D4 with the solver that its proxy stands for: slower, and smooth.
    #[arg(long)]
    solver: bool,
}

/// One task with everything that its searches share.
struct Case<'a> {
    task: &'a dyn Task,
    gradient: Option<Box<dyn DifferentiableSimulator>>,
    model: NeuralAdjointModel,
    neighbor: NearestNeighborModel,
    y: Array2<f64>,
    calls: usize,
    streams: RandomStreams,
}

/// One line of `beyond_table3.csv`.
#[derive(Serialize)]
struct Row<'a> {
    task: &'a str,
    method: &'a str,
    calls: usize,
    mean: f64,
    median: f64,
    worst: f64,
    unanswered: usize,
}

/// One line of `beyond_table3_times.csv`.
#[derive(Serialize)]
struct Time {
    task: String,
    search: String,
    targets: usize,
    calls: usize,
    seconds: f64,
}

fn differentiable(name: &str) -> Option<Box<dyn DifferentiableSimulator>> {
    match name {
        Ballistics::NAME => Some(Box::new(Ballistics::new())),
        SineWave::NAME => Some(Box::new(SineWave::new())),
        RoboticArm::NAME => Some(Box::new(RoboticArm::new())),
        MetamaterialTask::NAME => Some(Box::new(MetamaterialTask::new())),
        _ => None,
    }
}

impl<'a> Case<'a> {
    fn new(study: &Study, task: &'a dyn Task, own: &Arguments) -> Result<Self, StudyError> {
        let arguments = study.arguments();
        let streams = RandomStreams::new(arguments.seed()).family(task.name(), 0);
        let mut method = NeuralAdjoint::preset(task.name(), arguments.profile().source())?;
        method.start_count = STARTS;
        if let Some(hidden) = &own.hidden {
            method.surrogate.hidden.clone_from(hidden);
        }
        if let Some(epochs) = own.epochs {
            method.surrogate.training.epochs = epochs;
        }
        method.levenberg_marquardt = Some(LevenbergMarquardtSettings::default());
        let (trained, _) = study.best_model(task, &*any_method(method))?;
        let folder = study.results().path().join("surrogates").join(task.name());
        trained.save(&folder)?;
        let pairs = arguments.profile().pairs();
        let data = Dataset::from_task(task, pairs, &mut streams.stream("neighbours", 0))?;
        let mut context = FitContext::new(arguments.seed());
        let targets =
            Dataset::from_task(task, arguments.targets(), &mut streams.stream("beyond targets", 0))?;
        Ok(Self {
            task,
            gradient: differentiable(task.name()),
            model: NeuralAdjointModel::load(&folder, arguments.device())?,
            neighbor: NearestNeighbor {}.fit(&data, &mut context)?,
            y: targets.y().to_owned(),
            calls: arguments.proposals(),
            streams,
        })
    }

    /// The surrogate's descent as the quick preset does it: a tenth of the paper's work.
    fn adam(&self) -> Result<NeuralAdjointModel, StudyError> {
        let steps = NeuralAdjoint::preset(self.task.name(), Source::Quick)?.descent;
        Ok(self.model.with_inference(STARTS, Starts::Prior, steps)?)
    }

    /// Proposes all at once, then simulates all.
    fn blind(&self, model: &dyn InverseModel) -> Result<ResimulationErrors, StudyError> {
        let mut rng = self.streams.stream("search", 0);
        let proposals = model.propose(self.y.view(), self.calls, &mut rng)?;
        Ok(resimulate(self.task, &proposals, self.y.view())?)
    }

    /// Asks, simulates, tells.
    fn listen(&self, search: &mut dyn Search) -> Result<ResimulationErrors, StudyError> {
        let mut rng = self.streams.stream("answers", 0);
        Ok(resimulate_search(self.task, search, self.y.view(), self.calls, &mut rng)?)
    }

    fn adaptive(&self) -> Result<ResimulationErrors, StudyError> {
        let mut rng = self.streams.stream("search", 0);
        let settings = AdaptiveSearchSettings::default();
        self.listen(&mut self.model.adaptive_search(self.y.view(), self.calls, &settings, &mut rng)?)
    }

    fn refined_neighbor(&self) -> Result<ResimulationErrors, StudyError> {
        let mut rng = self.streams.stream("search", 0);
        let refined = self.neighbor.clone().refine_with(&self.model)?;
        self.listen(&mut *refined.search(self.y.view(), self.calls, &mut rng)?)
    }

    /// From NA's own first proposals, by the simulator's exact derivatives.
    fn true_gradients(
        &self,
        simulator: &dyn DifferentiableSimulator,
    ) -> Result<ResimulationErrors, StudyError> {
        let mut rng = self.streams.stream("search", 0);
        let starts = self.model.propose(self.y.view(), 20, &mut rng)?;
        let domain = self.task.prior().domain();
        self.listen(&mut GradientSearch::new(simulator, domain, &starts, self.y.view(), self.calls)?)
    }

    fn random(&self) -> Result<ResimulationErrors, StudyError> {
        let mut rng = self.streams.stream("random search", 0);
        let (targets, width) = (self.y.nrows(), self.task.dim_x());
        let designs = self.task.prior().sample(targets * self.calls, &mut rng);
        let mut proposals = Array3::zeros((targets, self.calls, width));
        for (slot, design) in proposals.rows_mut().into_iter().zip(designs.rows()) {
            { slot }.assign(&design);
        }
        Ok(resimulate(self.task, &Proposals::new(proposals)?, self.y.view())?)
    }
}

/// Runs one search, tells how long it took and keeps what it reached.
fn run(
    case: &Case<'_>,
    label: &str,
    (results, times): (&mut Vec<TaskResult>, &mut Vec<Time>),
    search: impl FnOnce() -> Result<ResimulationErrors, StudyError>,
) -> Result<(), StudyError> {
    let start = Instant::now();
    let errors = search()?;
    let seconds = start.elapsed().as_secs_f64();
    eprintln!("{}: {label}: {seconds:.1} s", case.task.name());
    let task = case.task.name().to_owned();
    let (search, targets) = (label.to_owned(), case.y.nrows());
    times.push(Time { task: task.clone(), search, targets, calls: case.calls, seconds });
    results.push(TaskResult { task, method: label.into(), errors, validation: Vec::new() });
    Ok(())
}

fn compare(case: &Case<'_>, results: &mut Vec<TaskResult>, times: &mut Vec<Time>) -> Result<(), StudyError> {
    let mut run = |label: &str, search: &dyn Fn() -> Result<ResimulationErrors, StudyError>| {
        run(case, label, (&mut *results, &mut *times), search)
    };
    run("random search", &|| case.random())?;
    run("NA, Adam", &|| case.blind(&case.adam()?))?;
    run("NA, Levenberg–Marquardt", &|| case.blind(&case.model))?;
    run("adaptive NA", &|| case.adaptive())?;
    run("nearest neighbour, refined", &|| case.refined_neighbor())?;
    if let Some(simulator) = &case.gradient {
        run("true gradients", &|| case.true_gradients(&**simulator))?;
    }
    Ok(())
}

/// An adaptive search for many targets, and the paper's NA (1,000 starts, 300 steps) for a few.
fn time(case: &Case<'_>, targets: usize, times: &mut Vec<Time>) -> Result<(), StudyError> {
    let data = Dataset::from_task(case.task, targets, &mut case.streams.stream("timed targets", 0))?;
    let settings = AdaptiveSearchSettings::default();
    let mut rng = case.streams.stream("timed search", 0);
    let start = Instant::now();
    let mut search = case.model.adaptive_search(data.y(), TIMED_CALLS, &settings, &mut rng)?;
    let errors = resimulate_search(case.task, &mut search, data.y(), TIMED_CALLS, &mut rng)?;
    let adaptive = start.elapsed().as_secs_f64();
    let few = data.y().slice(ndarray::s![..targets.min(DESCENDING_TARGETS), ..]).to_owned();
    let descent = InputDescentSettings { steps: 300, ..case.model.settings().descent.clone() };
    let paper = case.model.with_inference(1000, Starts::Prior, descent)?;
    let start = Instant::now();
    resimulate(case.task, &paper.propose(few.view(), 200, &mut rng)?, few.view())?;
    let descending = start.elapsed().as_secs_f64();
    let name = case.task.name();
    println!(
        "{name}: {targets} targets by adaptive NA, {TIMED_CALLS} calls: {adaptive:.1} s (r = {}); NA of 1,000 starts and \
         300 steps, 200 calls: {descending:.1} s for {} targets: {:.0} times as long a target",
        scientific(errors.mean(TIMED_CALLS)?),
        few.nrows(),
        descending / few.nrows() as f64 / (adaptive / targets as f64),
    );
    let mut push = |search: &str, targets: usize, calls: usize, seconds: f64| {
        times.push(Time { task: name.into(), search: search.into(), targets, calls, seconds });
    };
    push("adaptive NA, timed", targets, TIMED_CALLS, adaptive);
    push("NA, 1000 starts, 300 steps, timed", few.nrows(), 200, descending);
    Ok(())
}

/// Rows for programs, and the table for people: mean over targets and, below it, the worst target.
fn tabulate(results: &[TaskResult]) -> (Vec<Row<'_>>, Table) {
    let shown: Vec<usize> = CALLS
        .into_iter()
        .filter(|calls| results.iter().all(|result| *calls <= result.errors.count()))
        .collect();
    let names: Vec<String> = shown.iter().map(|calls| format!("r_{calls}")).collect();
    let header: Vec<&str> =
        ["task", "search", "of targets"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let (mut rows, mut table) = (Vec::new(), Table::new(&header));
    for result in results {
        let curve = result.errors.curve();
        for (kind, values) in [("mean", &curve.mean), ("worst", &curve.worst)] {
            let cells = shown.iter().map(|calls| scientific(values[calls - 1]));
            let start = [result.task.clone(), result.method.clone(), kind.to_owned()];
            table.push(start.into_iter().chain(cells).collect());
        }
        rows.extend((0..curve.mean.len()).map(|index| Row {
            task: &result.task,
            method: &result.method,
            calls: index + 1,
            mean: curve.mean[index],
            median: curve.median[index],
            worst: curve.worst[index],
            unanswered: curve.unanswered[index],
        }));
    }
    (rows, table)
}

fn beyond(arguments: &Arguments) -> Result<(), StudyError> {
    let study = Study::new(&arguments.study)?;
    let (mut results, mut times) = (Vec::new(), Vec::new());
    let mut tasks: Vec<&dyn Task> = study.tasks().iter().map(|task| &**task).collect();
    let solver = MetamaterialSolver::new(MetamaterialSettings::default())?;
    let solver = SimulatedTask::new("metamaterial solver", solver, metamaterial::prior())?;
    if arguments.solver {
        tasks.push(&solver);
    }
    for task in tasks {
        let start = Instant::now();
        let case = Case::new(&study, task, arguments)?;
        eprintln!("{}: surrogate ready after {:.0} s", task.name(), start.elapsed().as_secs_f64());
        compare(&case, &mut results, &mut times)?;
        if arguments.timed_targets > 0 {
            time(&case, arguments.timed_targets, &mut times)?;
        }
        // After every task, so that a study that is stopped leaves what it has.
        let (rows, table) = tabulate(&results);
        study.results().write_table("beyond_table3", &rows, &table)?;
        study.results().write_csv("beyond_table3_times.csv", &times)?;
        study.results().write_figure("beyond_table3", &CurveFigure { panels: panels(&results)? })?;
    }
    print!("{}", tabulate(&results).1.text());
    println!("results in {}", study.results().path().display());
    Ok(())
}

fn main() -> ExitCode {
    exit_code(beyond(&Arguments::parse()))
}
