//! Where listening to the simulator loses: noise, jumps, and a surrogate that knows too little.
//!
//! `cargo run --release --example adaptive_limits [-- --seed 2 --out results/adaptive_limits]`
//!
//! Every task is the sine wave of D2 with something done to it. The searches see the spoilt answers; the table shows
//! what the design that they would return, the one with the best answer so far, is worth under the simulator without
//! noise.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use inverse::bench::{ResultFolder, StudyError, Table, exit_code, scientific};
use inverse::core::ProposalWalk;
use inverse::prelude::*;
use inverse::tasks::SineWave;
use ndarray::{Array2, Array3, ArrayView2};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::Serialize;

const CALLS: usize = 200;
const SHOWN: [usize; 5] = [1, 5, 10, 50, 200];
/// Standard deviation of the noise; y itself spreads by about 1.
const NOISE: f64 = 0.05;
/// Height of the jumps.
const JUMP: f64 = 0.5;

/// Adaptive search on simulators that it was not made for.
#[derive(Parser)]
struct Arguments {
    /// The seed from which all randomness flows.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Held-out targets a task.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    targets: u64,
    /// Folder for results.
    #[arg(long, value_name = "FOLDER", default_value = "results/adaptive_limits")]
    out: PathBuf,
}

/// One spoilt task.
struct Limit {
    name: &'static str,
    /// What the searches and the surrogate see.
    seen: Box<dyn Simulator>,
    /// What a design is worth.
    truth: Box<dyn Simulator>,
    /// Pairs that the surrogate is trained on.
    pairs: usize,
    /// Epochs that it is trained for; the preset's, where `None`.
    epochs: Option<usize>,
}

/// One line of `adaptive_limits.csv`.
#[derive(Serialize)]
struct Row {
    task: &'static str,
    search: &'static str,
    calls: usize,
    mean: f64,
    worst: f64,
}

fn sine(x: &[f64]) -> f64 {
    (3.0 * std::f64::consts::PI * x[0]).sin() + (3.0 * std::f64::consts::PI * x[1]).cos()
}

/// Noise that depends on the design alone: the same design gets the same answer, its neighbour another.
fn noise(x: &[f64]) -> f64 {
    let key = x.iter().fold(0_u64, |key, value| key.rotate_left(23) ^ value.to_bits());
    StandardNormal.sample(&mut RandomStreams::new(key).stream("noise", 0))
}

fn limits() -> Result<Vec<Limit>, StudyError> {
    let smooth = || FnSimulator::new(2, 1, |x, y| y[0] = sine(x)).map(Box::new);
    let noisy = FnSimulator::new(2, 1, |x, y| y[0] = sine(x) + NOISE * noise(x))?;
    let jumps = || {
        let jump = |x: &[f64]| JUMP * ((17.0 * x[0]).floor() + (13.0 * x[1]).floor()).rem_euclid(2.0);
        FnSimulator::new(2, 1, move |x, y| y[0] = sine(x) + jump(x)).map(Box::new)
    };
    Ok(vec![
        Limit { name: "none", seen: smooth()?, truth: smooth()?, pairs: 10_000, epochs: None },
        Limit { name: "noise", seen: Box::new(noisy), truth: smooth()?, pairs: 10_000, epochs: None },
        Limit { name: "jumps", seen: jumps()?, truth: jumps()?, pairs: 10_000, epochs: None },
        Limit { name: "300 pairs", seen: smooth()?, truth: smooth()?, pairs: 300, epochs: None },
        Limit { name: "1 epoch", seen: smooth()?, truth: smooth()?, pairs: 10_000, epochs: Some(1) },
    ])
}

fn squared(
    simulator: &dyn Simulator,
    x: ArrayView2<'_, f64>,
    y: &Array2<f64>,
) -> Result<Array2<f64>, StudyError> {
    Ok((simulator.simulate(x)? - y).mapv(|difference| difference * difference))
}

/// (mean, worst) over targets, after every call, of the true error of the design with the best answer so far.
fn follow(
    limit: &Limit,
    search: &mut dyn Search,
    y: &Array2<f64>,
    rng: &mut dyn Rng,
) -> Result<Vec<(f64, f64)>, StudyError> {
    let mut best = vec![(f64::INFINITY, f64::INFINITY); y.nrows()];
    let mut curve = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let x = search.ask(rng)?;
        let answers = limit.seen.simulate(x.view())?;
        search.tell(answers.view())?;
        let truth = squared(&*limit.truth, x.view(), y)?;
        for (target, best) in best.iter_mut().enumerate() {
            let seen = (answers[[target, 0]] - y[[target, 0]]).powi(2);
            if seen < best.0 {
                *best = (seen, truth[[target, 0]]);
            }
        }
        let worst = best.iter().fold(0.0_f64, |worst, (_, error)| worst.max(*error));
        curve.push((best.iter().map(|(_, error)| error).sum::<f64>() / y.nrows() as f64, worst));
    }
    Ok(curve)
}

/// Designs of the prior, for a search that knows nothing.
fn random_search(task: &dyn Task, targets: usize, rng: &mut dyn Rng) -> Result<ProposalWalk, StudyError> {
    let designs = task.prior().sample(targets * CALLS, rng);
    let designs = Array3::from_shape_fn((targets, CALLS, 2), |(target, call, variable)| {
        designs[[target * CALLS + call, variable]]
    });
    Ok(ProposalWalk::new(Proposals::new(designs)?, 1))
}

fn study(limit: &Limit, arguments: &Arguments, rows: &mut Vec<Row>) -> Result<(), StudyError> {
    let streams = RandomStreams::new(arguments.seed).family(limit.name, 0);
    let seen = FnSimulator::new(2, 1, |x, y| {
        let row = ArrayView2::from_shape((1, 2), x).ok();
        if let Some(answer) = row.and_then(|row| limit.seen.simulate(row).ok()) {
            y[0] = answer[[0, 0]];
        }
    })?;
    let prior = BoxPrior::new(&[-1.0; 2], &[1.0; 2])?;
    let task = SimulatedTask::new(limit.name, seen, prior)?;
    let data = Dataset::from_task(&task, limit.pairs, &mut streams.stream("data", 0))?;
    let mut method = NeuralAdjoint::preset(SineWave::NAME, Source::Quick)?;
    method.levenberg_marquardt = Some(LevenbergMarquardtSettings::default());
    if let Some(epochs) = limit.epochs {
        method.surrogate.training.epochs = epochs;
    }
    let model = method.fit(&data, &mut FitContext::new(arguments.seed))?;
    let x = task.prior().sample(arguments.targets as usize, &mut streams.stream("targets", 0));
    let y = limit.truth.simulate(x.view())?;
    let rng = || streams.stream("search", 0);
    let settings = AdaptiveSearchSettings::default();
    let searches: [(&'static str, Box<dyn Search + '_>); 3] = [
        ("random search", Box::new(random_search(&task, y.nrows(), &mut rng())?)),
        ("NA", model.search(y.view(), CALLS, &mut rng())?),
        ("adaptive NA", Box::new(model.adaptive_search(y.view(), CALLS, &settings, &mut rng())?)),
    ];
    for (search, mut running) in searches {
        let curve = follow(limit, &mut *running, &y, &mut streams.stream("answers", 0))?;
        let row = |(index, (mean, worst))| Row { task: limit.name, search, calls: index + 1, mean, worst };
        rows.extend(curve.into_iter().enumerate().map(row));
    }
    Ok(())
}

fn tabulate(rows: &[Row]) -> Table {
    let names = SHOWN.map(|calls| format!("r_{calls}"));
    let mut header = vec!["task", "search", "of targets"];
    header.extend(names.iter().map(String::as_str));
    let mut table = Table::new(&header);
    for rows in rows.chunk_by(|a, b| (a.task, a.search) == (b.task, b.search)) {
        let start = |kind: &str| vec![rows[0].task.to_owned(), rows[0].search.to_owned(), kind.to_owned()];
        let (mut mean, mut worst) = (start("mean"), start("worst"));
        for row in rows.iter().filter(|row| SHOWN.contains(&row.calls)) {
            mean.push(scientific(row.mean));
            worst.push(scientific(row.worst));
        }
        table.push(mean);
        table.push(worst);
    }
    table
}

fn run(arguments: &Arguments) -> Result<(), StudyError> {
    let folder = ResultFolder::create(&arguments.out)?;
    let mut rows = Vec::new();
    for limit in limits()? {
        study(&limit, arguments, &mut rows)?;
    }
    let table = tabulate(&rows);
    folder.write_table("adaptive_limits", &rows, &table)?;
    print!("{}", table.text());
    println!("results in {}", folder.path().display());
    Ok(())
}

fn main() -> ExitCode {
    exit_code(run(&Arguments::parse()))
}
