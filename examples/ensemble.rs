//! What the disagreement of an ensemble is worth beside the boundary loss.
//!
//! `cargo run --release --example ensemble [-- --seed 2 --out results/ensemble]`
//!
//! The paper keeps designs where training designs were (eq. 5) because a surrogate makes things up elsewhere. Members of
//! an ensemble make up different things, so that their variance says the same, wherever it is. Two tasks: the period of a
//! sine of Figures 6 and 7, whose designs start anywhere in the domain, and the robotic arm of D3.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use inverse::bench::{ResultFolder, StudyError, Table, exit_code, scientific};
use inverse::models::{EnsembleSettings, InputDescentSettings, Starts};
use inverse::prelude::*;
use inverse::tasks::RoboticArm;
use ndarray::{Array2, Axis};
use serde::Serialize;

/// Designs that descend, and the best of them that are simulated.
const STARTS: usize = 200;
const CALLS: usize = 50;
/// The boundary loss's weight: the authors'.
const BOUNDARY: f64 = 0.1;

/// Searches with and without the boundary loss, on one surrogate and on an ensemble.
#[derive(Parser)]
struct Arguments {
    /// The seed from which all randomness flows.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Networks of an ensemble.
    #[arg(long, default_value_t = 5, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(2..=64))]
    members: usize,
    /// Held-out targets a task.
    #[arg(long, default_value_t = 200, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=10_000))]
    targets: usize,
    /// Folder for results.
    #[arg(long, value_name = "FOLDER", default_value = "results/ensemble")]
    out: PathBuf,
}

/// One search of one task.
#[derive(Serialize)]
struct Row {
    task: String,
    search: String,
    /// Share of all proposals that lie outside the domain.
    outside: f64,
    r_1: f64,
    r_5: f64,
    r_50: f64,
    /// The worst target's best error of all calls.
    worst: f64,
}

/// The searches: the members' weight κ, where it is an ensemble, and the boundary loss's.
const SEARCHES: [(&str, Option<f64>, f64); 6] = [
    ("one surrogate", None, 0.0),
    ("one surrogate, boundary loss", None, BOUNDARY),
    ("ensemble's mean", Some(0.0), 0.0),
    ("ensemble's mean, boundary loss", Some(0.0), BOUNDARY),
    ("disagreement", Some(1.0), 0.0),
    ("disagreement, boundary loss", Some(1.0), BOUNDARY),
];

/// A task, how its surrogates are trained, and where its designs start.
struct Trial {
    task: Box<dyn Task>,
    method: NeuralAdjoint,
    pairs: usize,
}

fn sine() -> Result<Trial, StudyError> {
    let pi = std::f64::consts::PI;
    let simulator = FnSimulator::new(1, 1, |x, y| y[0] = x[0].sin())?;
    let task = Box::new(SimulatedTask::new("sine", simulator, BoxPrior::new(&[-pi], &[pi])?)?);
    let mut method = NeuralAdjoint { starts: Starts::Uniform, ..NeuralAdjoint::default() };
    method.surrogate.hidden = vec![30, 30];
    method.surrogate.batch_norm = false;
    method.surrogate.training.epochs = 150;
    method.surrogate.training.batch_size = 100;
    Ok(Trial { task, method, pairs: 2000 })
}

fn arm() -> Result<Trial, StudyError> {
    let method = NeuralAdjoint::preset(RoboticArm::NAME, Source::Quick)?;
    Ok(Trial { task: Box::new(RoboticArm::new()), method, pairs: 10_000 })
}

fn outside(domain: &Domain, proposals: &Proposals) -> Result<f64, StudyError> {
    let designs = proposals.designs();
    let (mut count, mut all) = (0, 0);
    for designs in designs.axis_iter(Axis(0)) {
        let loss = domain.boundary_loss(designs)?;
        count += loss.rows().into_iter().filter(|row| row.sum() > 0.0).count();
        all += designs.nrows();
    }
    Ok(count as f64 / all as f64)
}

fn row(
    trial: &Trial,
    search: &str,
    proposals: Option<&Proposals>,
    errors: &ResimulationErrors,
) -> Result<Row, StudyError> {
    let calls = errors.count();
    Ok(Row {
        task: trial.task.name().to_owned(),
        search: search.to_owned(),
        outside: proposals
            .map_or(Ok(f64::NAN), |proposals| outside(trial.task.prior().domain(), proposals))?,
        r_1: errors.mean(1)?,
        r_5: errors.mean(5)?,
        r_50: errors.mean(calls)?,
        worst: errors.curve().worst[calls - 1],
    })
}

fn study(trial: &Trial, arguments: &Arguments, rows: &mut Vec<Row>) -> Result<(), StudyError> {
    let task = &*trial.task;
    let streams = RandomStreams::new(arguments.seed).family(task.name(), 0);
    let data = Dataset::from_task(task, trial.pairs, &mut streams.stream("data", 0))?;
    let targets = Dataset::from_task(task, arguments.targets, &mut streams.stream("targets", 0))?;
    let y: Array2<f64> = targets.y().to_owned();
    let ensemble = Some(EnsembleSettings { members: arguments.members, ..EnsembleSettings::default() });
    let ensemble = NeuralAdjoint { ensemble, ..trial.method.clone() };
    // Its first member is the one surrogate: same data, same seed.
    let one = trial.method.fit(&data, &mut FitContext::new(arguments.seed))?;
    let ensemble = ensemble.fit(&data, &mut FitContext::new(arguments.seed))?;
    for (label, disagreement, boundary_weight) in SEARCHES {
        let model = match disagreement {
            Some(weight) => ensemble.with_disagreement_weight(weight)?,
            None => one.clone(),
        };
        let descent = InputDescentSettings { boundary_weight, ..trial.method.descent.clone() };
        let model = model.with_inference(STARTS, trial.method.starts, descent)?;
        let proposals = model.propose(y.view(), CALLS, &mut streams.stream("search", 0))?;
        let errors = resimulate(task, &proposals, y.view())?;
        rows.push(row(trial, &format!("NA, {label}"), Some(&proposals), &errors)?);
        if boundary_weight > 0.0 {
            let descent =
                LevenbergMarquardtSettings { boundary_weight, ..LevenbergMarquardtSettings::default() };
            let model = model.with_levenberg_marquardt(STARTS, descent)?;
            let (settings, mut rng) = (AdaptiveSearchSettings::default(), streams.stream("search", 0));
            let mut search = model.adaptive_search(y.view(), CALLS, &settings, &mut rng)?;
            let errors = resimulate_search(task, &mut search, y.view(), CALLS, &mut rng)?;
            rows.push(row(trial, &format!("adaptive, {label}"), None, &errors)?);
        }
    }
    Ok(())
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["task", "search", "outside", "r_1", "r_5", "r_50", "worst target's"]);
    for row in rows {
        let outside =
            if row.outside.is_nan() { String::new() } else { format!("{:.1}%", 100.0 * row.outside) };
        let numbers = [row.r_1, row.r_5, row.r_50, row.worst].map(scientific);
        table.push([row.task.clone(), row.search.clone(), outside].into_iter().chain(numbers).collect());
    }
    table
}

fn run(arguments: &Arguments) -> Result<(), StudyError> {
    let folder = ResultFolder::create(&arguments.out)?;
    let mut rows = Vec::new();
    for trial in [sine()?, arm()?] {
        study(&trial, arguments, &mut rows)?;
    }
    let table = table(&rows);
    folder.write_table("ensemble", &rows, &table)?;
    print!("{}", table.text());
    println!("results in {}", folder.path().display());
    Ok(())
}

fn main() -> ExitCode {
    exit_code(run(&Arguments::parse()))
}
