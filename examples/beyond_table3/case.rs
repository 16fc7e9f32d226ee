//! One task with everything that its searches share, and the searches.

use std::time::Instant;

use inverse::bench::{Study, StudyError, TaskResult, scientific};
use inverse::core::ProposalWalk;
use inverse::metrics::{TimedErrors, record_search};
use inverse::models::nn::TRAINING_VERSION;
use inverse::models::{
    EnsembleSettings, GradientSearch, InputDescentSettings, NearestNeighborModel, Starts, any_method,
};
use inverse::prelude::*;
use inverse::tasks::metamaterial::{self, MetamaterialTask};
use inverse::tasks::{Ballistics, RoboticArm, SineWave};
use ndarray::{Array2, Array3};
use serde::Serialize;

use crate::Arguments;
use crate::baselines::{Baseline, on_surrogate};
use crate::diversity::{Diversity, DiversityRow};

/// Starts a target of every search on the surrogate; as many as the largest T needs.
pub(crate) const STARTS: usize = 200;

/// Evaluations a target of the baselines on the surrogate.
const SURROGATE_EVALUATIONS: usize = 2000;

/// Calls a target in the timing of a thousand targets.
const TIMED_CALLS: usize = 10;

/// Paper-style descents are so slow that this many targets stand for all; their time is the same for each.
const DESCENDING_TARGETS: usize = 10;

/// One task with everything that its searches share.
pub(crate) struct Case<'a> {
    pub(crate) task: &'a dyn Task,
    gradient: Option<Box<dyn DifferentiableSimulator>>,
    model: NeuralAdjointModel,
    ensemble: Option<NeuralAdjointModel>,
    /// Trained on symmetric copies, too, where the task has any: what its rows are called, and the model.
    symmetric: Vec<(String, NeuralAdjointModel)>,
    neighbor: NearestNeighborModel,
    y: Array2<f64>,
    calls: usize,
    screened_starts: usize,
    streams: RandomStreams,
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

/// Whether designs have the metamaterial's symmetry, exactly or nearly.
fn is_metamaterial(task: &dyn Task) -> bool {
    task.name().starts_with(MetamaterialTask::NAME)
}

/// A surrogate of pairs and their symmetric copies; one that is in the folder of results is not trained again.
fn train_with_copies(
    study: &Study,
    task: &dyn Task,
    method: &NeuralAdjoint,
    data: Dataset,
) -> Result<NeuralAdjointModel, StudyError> {
    let arguments = study.arguments();
    let device = arguments.device().to_string().replace(':', "-");
    // By its pairs themselves: two sets may have as many. And by what else its bits depend on beside the settings.
    let name = format!(
        "{}, {} pairs, {}, training version {TRAINING_VERSION}, {device}",
        task.name(),
        data.len(),
        &data.content_hash()[..16]
    );
    let folder = study.results().path().join("symmetric").join(name);
    if let Ok(model) = NeuralAdjointModel::load(&folder, arguments.device())
        && model.settings() == method
    {
        return Ok(model);
    }
    let data = data.with_symmetric_copies(&metamaterial::symmetric_copies)?;
    let mut context = FitContext::new(arguments.seed()).with_device(arguments.device());
    let model = method.fit(&data, &mut context)?;
    model.save(&folder)?;
    Ok(model)
}

impl<'a> Case<'a> {
    pub(crate) fn new(study: &Study, task: &'a dyn Task, own: &Arguments) -> Result<Self, StudyError> {
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
        let trained = |method: &NeuralAdjoint, folder: &str| -> Result<NeuralAdjointModel, StudyError> {
            let (trained, _) = study.best_model(task, &*any_method(method.clone()))?;
            let folder = study.results().path().join(folder).join(task.name());
            trained.save(&folder)?;
            Ok(NeuralAdjointModel::load(&folder, arguments.device())?)
        };
        let model = trained(&method, "surrogates")?;
        let pairs = arguments.profile().pairs();
        let data = Dataset::from_task(task, pairs, &mut streams.stream("neighbours", 0))?;
        let mut symmetric = Vec::new();
        if is_metamaterial(task) {
            let model = train_with_copies(study, task, &method, data.clone())?;
            symmetric.push(("symmetric".to_owned(), model));
            if let Some(pairs) = own.symmetric_pairs {
                let more = Dataset::from_task(task, pairs, &mut streams.stream("more pairs", 0))?;
                let model = train_with_copies(study, task, &method, more)?;
                symmetric.push((format!("symmetric, {pairs} pairs"), model));
            }
        }
        method.ensemble =
            own.members.map(|members| EnsembleSettings { members, ..EnsembleSettings::default() });
        let ensemble = method.ensemble.is_some().then(|| trained(&method, "ensembles")).transpose()?;
        let mut context = FitContext::new(arguments.seed());
        let targets =
            Dataset::from_task(task, arguments.targets(), &mut streams.stream("beyond targets", 0))?;
        Ok(Self {
            task,
            gradient: differentiable(task.name()),
            model,
            ensemble,
            symmetric,
            neighbor: NearestNeighbor {}.fit(&data, &mut context)?,
            y: targets.y().to_owned(),
            calls: arguments.proposals(),
            screened_starts: own.screened_starts,
            streams,
        })
    }

    /// The surrogate's descent as the quick preset does it: a tenth of the paper's work.
    fn adam(&self) -> Result<NeuralAdjointModel, StudyError> {
        let steps = NeuralAdjoint::preset(self.task.name(), Source::Quick)?.descent;
        Ok(self.model.with_inference(STARTS, Starts::Prior, steps)?)
    }

    /// Asks, simulates, tells; `started` counts the search's own beginnings in.
    fn run(&self, search: &mut dyn Search, started: Instant) -> Result<Outcome, StudyError> {
        let mut rng = self.streams.stream("answers", 0);
        let (errors, designs) =
            record_search(self.task, search, self.y.view(), self.calls, &mut rng, started)?;
        Ok(Outcome { errors, designs })
    }

    /// Walks down the proposals of a model.
    fn blind(&self, model: &dyn InverseModel) -> Result<Outcome, StudyError> {
        let (started, mut rng) = (Instant::now(), self.streams.stream("search", 0));
        self.run(&mut *model.search(self.y.view(), self.calls, &mut rng)?, started)
    }

    fn adaptive(&self, model: &NeuralAdjointModel) -> Result<Outcome, StudyError> {
        let (started, mut rng) = (Instant::now(), self.streams.stream("search", 0));
        let settings = AdaptiveSearchSettings::default();
        self.run(&mut model.adaptive_search(self.y.view(), self.calls, &settings, &mut rng)?, started)
    }

    fn adaptive_symmetric(&self, model: &NeuralAdjointModel) -> Result<Outcome, StudyError> {
        let (started, mut rng) = (Instant::now(), self.streams.stream("search", 0));
        let settings = AdaptiveSearchSettings::default();
        let search = model.adaptive_search(self.y.view(), self.calls, &settings, &mut rng)?;
        self.run(&mut search.with_symmetry(metamaterial::symmetric_copies), started)
    }

    fn refined_neighbor(&self) -> Result<Outcome, StudyError> {
        let (started, mut rng) = (Instant::now(), self.streams.stream("search", 0));
        let refined = self.neighbor.clone().refine_with(&self.model)?;
        self.run(&mut *refined.search(self.y.view(), self.calls, &mut rng)?, started)
    }

    /// From NA's own first proposals, by the simulator's exact derivatives.
    fn true_gradients(&self, simulator: &dyn DifferentiableSimulator) -> Result<Outcome, StudyError> {
        let (started, mut rng) = (Instant::now(), self.streams.stream("search", 0));
        let starts = self.model.propose(self.y.view(), 20, &mut rng)?;
        let domain = self.task.prior().domain();
        let mut search = GradientSearch::new(simulator, domain, &starts, self.y.view(), self.calls)?;
        self.run(&mut search, started)
    }

    fn random(&self) -> Result<Outcome, StudyError> {
        let (started, mut rng) = (Instant::now(), self.streams.stream("random search", 0));
        let (targets, width) = (self.y.nrows(), self.task.dim_x());
        let designs = self.task.prior().sample(targets * self.calls, &mut rng);
        let mut proposals = Array3::zeros((targets, self.calls, width));
        for (slot, design) in proposals.rows_mut().into_iter().zip(designs.rows()) {
            { slot }.assign(&design);
        }
        self.run(&mut ProposalWalk::new(Proposals::new(proposals)?, self.y.ncols()), started)
    }

    fn baseline(&self, baseline: Baseline) -> Result<Outcome, StudyError> {
        let (started, mut rng) = (Instant::now(), self.streams.stream("baseline", 0));
        self.run(&mut *baseline.search(self.task, self.y.view(), self.calls, &mut rng)?, started)
    }

    fn baseline_on_surrogate(&self, baseline: Baseline) -> Result<Outcome, StudyError> {
        let (started, mut rng) = (Instant::now(), self.streams.stream("baseline", 1));
        let evaluations = SURROGATE_EVALUATIONS.max(self.calls);
        let mut search = baseline.search(self.task, self.y.view(), evaluations, &mut rng)?;
        let (y, counts) = (self.y.view(), (evaluations, self.calls));
        let proposals = on_surrogate(self.model.surrogate(), &mut *search, y, counts, &mut rng)?;
        self.run(&mut ProposalWalk::new(proposals, self.y.ncols()), started)
    }
}

/// Fewer starts, each of a training design that the surrogate puts near the target.
fn screened(model: &NeuralAdjointModel, starts: usize) -> Result<NeuralAdjointModel, StudyError> {
    let descent = LevenbergMarquardtSettings::default();
    Ok(model.with_starts(Starts::Screened).with_levenberg_marquardt(starts, descent)?)
}

/// What a search did.
struct Outcome {
    errors: TimedErrors,
    /// Simulated designs, (targets, calls, `dim_x`).
    designs: Array3<f64>,
}

/// What all searches did.
#[derive(Default)]
pub(crate) struct Results {
    pub(crate) errors: Vec<TaskResult>,
    pub(crate) times: Vec<Time>,
    pub(crate) diversity: Vec<DiversityRow>,
}

/// One line of `beyond_table3_times.csv`: r after that many calls, and the time until then.
#[derive(Serialize)]
pub(crate) struct Time {
    pub(crate) task: String,
    pub(crate) search: String,
    pub(crate) targets: usize,
    pub(crate) calls: usize,
    pub(crate) seconds: f64,
    pub(crate) mean: f64,
}

/// Runs all searches of a task.
pub(crate) fn compare(case: &Case<'_>, results: &mut Results) -> Result<(), StudyError> {
    let diversity = Diversity::new(case.task, case.y.view(), case.streams)?;
    let mut run = |label: &str, search: &dyn Fn() -> Result<Outcome, StudyError>| -> Result<(), StudyError> {
        let Outcome { errors, designs } = search()?;
        let task = case.task.name().to_owned();
        let seconds = errors.seconds();
        eprintln!("{task}: {label}: {:.1} s", seconds[seconds.len() - 1]);
        for (index, mean) in errors.errors().curve().mean.into_iter().enumerate() {
            let (search, targets) = (label.to_owned(), case.y.nrows());
            let (calls, seconds) = (index + 1, seconds[index]);
            results.times.push(Time { task: task.clone(), search, targets, calls, seconds, mean });
        }
        let errors = errors.into_errors();
        if let Some(diversity) = &diversity {
            results.diversity.push(diversity.row((&task, label), &designs, errors.errors())?);
        }
        results.errors.push(TaskResult { task, method: label.into(), errors, validation: Vec::new() });
        Ok(())
    };
    let starts = case.screened_starts;
    run("random search", &|| case.random())?;
    for baseline in Baseline::ALL {
        run(baseline.label(), &|| case.baseline(baseline))?;
        run(&format!("{}, surrogate", baseline.label()), &|| case.baseline_on_surrogate(baseline))?;
    }
    run("NA, Adam", &|| case.blind(&case.adam()?))?;
    run("NA, Levenberg–Marquardt", &|| case.blind(&case.model))?;
    run("adaptive NA", &|| case.adaptive(&case.model))?;
    run("adaptive NA, screened", &|| case.adaptive(&screened(&case.model, starts)?))?;
    if let Some(ensemble) = &case.ensemble {
        run("adaptive NA, ensemble", &|| case.adaptive(&screened(ensemble, starts)?))?;
    }
    for (name, symmetric) in &case.symmetric {
        run(&format!("NA, {name}"), &|| case.blind(symmetric))?;
        run(&format!("adaptive NA, {name}"), &|| case.adaptive_symmetric(&screened(symmetric, starts)?))?;
    }
    run("nearest neighbour, refined", &|| case.refined_neighbor())?;
    if let Some(simulator) = &case.gradient {
        run("true gradients", &|| case.true_gradients(&**simulator))?;
    }
    Ok(())
}

/// An adaptive search for many targets, and the paper's NA (1,000 starts, 300 steps) for a few.
pub(crate) fn time(case: &Case<'_>, targets: usize, times: &mut Vec<Time>) -> Result<(), StudyError> {
    let data = Dataset::from_task(case.task, targets, &mut case.streams.stream("timed targets", 0))?;
    let settings = AdaptiveSearchSettings::default();
    let mut rng = case.streams.stream("timed search", 0);
    let start = Instant::now();
    let starts = case.screened_starts;
    let model = screened(&case.model, starts)?;
    let mut search = model.adaptive_search(data.y(), TIMED_CALLS, &settings, &mut rng)?;
    let errors = resimulate_search(case.task, &mut search, data.y(), TIMED_CALLS, &mut rng)?;
    let adaptive = start.elapsed().as_secs_f64();
    let few = data.y().slice(ndarray::s![..targets.min(DESCENDING_TARGETS), ..]).to_owned();
    let descent = InputDescentSettings { steps: 300, ..case.model.settings().descent.clone() };
    let paper = case.model.with_inference(1000, Starts::Prior, descent)?;
    let start = Instant::now();
    let proposals = paper.propose(few.view(), 200, &mut rng)?;
    let few_errors = resimulate(case.task, &proposals, few.view())?;
    let descending = start.elapsed().as_secs_f64();
    let name = case.task.name();
    println!(
        "{name}: {targets} targets by adaptive NA, {TIMED_CALLS} calls: {adaptive:.1} s (r = {}); NA of 1,000 starts and \
         300 steps, 200 calls: {descending:.1} s for {} targets: {:.0} times as long a target",
        scientific(errors.mean(TIMED_CALLS)?),
        few.nrows(),
        descending / few.nrows() as f64 / (adaptive / targets as f64),
    );
    let adam = case.model.with_inference(STARTS, Starts::Prior, paper.settings().descent.clone())?;
    for (label, model) in [
        (format!("300 steps of Adam from {STARTS} starts"), &adam),
        (format!("Levenberg–Marquardt from {STARTS} starts"), &case.model),
        (format!("Levenberg–Marquardt from {starts} screened starts"), &model),
    ] {
        let start = Instant::now();
        let proposals = model.propose(few.view(), 1, &mut rng)?;
        let seconds = start.elapsed().as_secs_f64() / few.nrows() as f64;
        let error = proposals.predicted_errors().and_then(|errors| errors.mean()).unwrap_or(f64::NAN);
        println!("{name}: {label}: the surrogate's error is {}, {seconds:.3} s a target", scientific(error));
    }
    for (search, errors, seconds) in [
        ("adaptive NA, screened, timed", &errors, adaptive),
        ("NA, 1000 starts, 300 steps, timed", &few_errors, descending),
    ] {
        let (task, search, targets, calls) = (name.into(), search.into(), errors.targets(), errors.count());
        times.push(Time { task, search, targets, calls, seconds, mean: errors.mean(calls)? });
    }
    Ok(())
}
