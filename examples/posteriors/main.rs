//! Posteriors of noisy measurements: what MDN, cINN and their ensembles draw, beside exact draws.
//!
//! `cargo run --release --example posteriors [-- --case two-moons --pairs 1000]`
//!
//! Each method trains on few pairs with noise, and draws designs for new measurements. Rejection draws from the same posteriors
//! exactly. Columns:
//!
//! * seconds of the training, and of a thousand draws for one measurement, on the clock;
//! * log p̂(x | y) of 2,000 new pairs, mean and standard error, in nats: the higher the better, highest for the posterior itself;
//! * MMD² between draws and exact draws, in units of the exact draws' deviations, a mean over the measurements.
//!
//! All pairs and draws are written beside the table, for `benches/sbi/compare.py`: folders `measurements`, `reference` and
//! `scored` of each case, `training` and one a method for each number of pairs, all with `x.npy` and `y.npy`.

mod cases;
#[path = "../noisy/noise.rs"]
mod noise;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use inverse::bench::{ResultFolder, StudyError, Table, exit_code, scientific};
use inverse::core::InvalidArgument;
use inverse::metrics::Mmd;
use inverse::prelude::*;
use ndarray::{Array2, Array3, Axis};
use serde::Serialize;

use cases::{CASES, Case};

/// New pairs whose density is a method's score.
const SCORED: usize = 2000;

/// Draws posteriors by density methods and by rejection.
#[derive(Parser)]
struct Arguments {
    /// Case to run; may be repeated. All, where there is none.
    #[arg(long = "case", value_name = "CASE", value_parser = clap::builder::PossibleValuesParser::new(CASES))]
    cases: Vec<String>,
    /// Training pairs; may be repeated.
    #[arg(long = "pairs", value_name = "PAIRS", default_value = "1000", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(20..=1_000_000))]
    pairs: Vec<usize>,
    /// New measurements.
    #[arg(long, default_value_t = 10, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1000))]
    measurements: usize,
    /// Draws for each.
    #[arg(long, default_value_t = 1000, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(2..=10_000))]
    draws: usize,
    /// Members of an ensemble.
    #[arg(long, default_value_t = 5, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=64))]
    members: usize,
    /// The seed from which all randomness flows.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder for results.
    #[arg(long, value_name = "FOLDER", default_value = "results/posteriors")]
    out: PathBuf,
}

/// One line of `posteriors.csv`.
#[derive(Serialize)]
struct Row {
    case: String,
    pairs: usize,
    method: String,
    training_seconds: f64,
    draws_seconds: f64,
    log_density: f64,
    log_density_error: f64,
    mmd: f64,
}

/// What every method of a case is asked and held against.
struct Questions {
    case: String,
    measurements: Dataset,
    /// Exact draws, (measurements, draws, `dim_x`).
    reference: Array3<f64>,
    scored: Dataset,
}

/// Pairs with noise, of streams of that number.
fn noisy_pairs(
    case: &Case,
    count: usize,
    streams: RandomStreams,
    number: u64,
) -> Result<Dataset, StudyError> {
    let exact = Dataset::from_task(&*case.task, count, &mut streams.stream("noisy pairs", number))?;
    Ok(exact.measured(&*case.noise, &mut streams.stream("noise", number))?)
}

/// Writes draws, (measurements, draws, `dim_x`), each as a pair with its measurement.
fn save(folder: &Path, draws: &Array3<f64>, measurements: &Dataset) -> Result<(), StudyError> {
    let (targets, each, width) = draws.dim();
    let x = draws
        .to_shape((targets * each, width))
        .map_err(|error| InvalidArgument::new("draws", "rows", error))?;
    let of_draw: Vec<usize> = (0..targets * each).map(|draw| draw / each).collect();
    let y: Array2<f64> = measurements.y().select(Axis(0), &of_draw);
    Ok(Dataset::new(x.to_owned(), y)?.save_npy(folder)?)
}

/// Fits a method, draws and scores.
fn row<M: Method>(
    name: &str,
    method: &M,
    data: &Dataset,
    questions: &Questions,
    seed: u64,
    folder: &Path,
) -> Result<Row, StudyError> {
    let started = Instant::now();
    let model = method.fit(data, &mut FitContext::new(seed))?;
    let training_seconds = started.elapsed().as_secs_f64();
    let y = questions.measurements.y();
    let each = questions.reference.dim().1;
    let started = Instant::now();
    let mut rng = RandomStreams::new(seed).stream("posterior draws", 0);
    let draws = posterior_draws(&model, y, each, &mut rng)?;
    let seconds = started.elapsed().as_secs_f64();
    let designs = draws.designs().to_owned();
    save(&folder.join(name), &designs, &questions.measurements)?;
    let log = model.log_density(questions.scored.x(), questions.scored.y())?.unwrap_or_default();
    let mut mmd = 0.0;
    for (drawn, exact) in designs.outer_iter().zip(questions.reference.outer_iter()) {
        let scale = exact.std_axis(Axis(0), 0.0);
        mmd += Mmd::default().squared((&drawn / &scale).view(), (&exact / &scale).view())?;
    }
    Ok(Row {
        case: questions.case.clone(),
        pairs: data.len(),
        method: name.to_owned(),
        training_seconds,
        draws_seconds: seconds * 1000.0 / (each * y.nrows()) as f64,
        log_density: log.mean().unwrap_or(f64::NAN),
        log_density_error: log.std(1.0) / (log.len() as f64).sqrt(),
        mmd: mmd / y.nrows() as f64,
    })
}

/// Knobs, for exploration only.
fn knob(name: &str, default: f64) -> f64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn surrogate_row(
    case: &Case,
    exact: &Dataset,
    questions: &Questions,
    seed: u64,
    folder: &Path,
) -> Result<Row, StudyError> {
    use inverse::models::nn::{Activation, Schedule, TrainingSettings};
    use inverse::models::*;
    let started = Instant::now();
    let steps = knob("STEPS", 10_000.0);
    let batch = knob("BATCH", 64.0) as usize;
    let width = knob("WIDTH", 128.0) as usize;
    let member = RegressionSettings {
        hidden: vec![width; knob("DEPTH", 3.0) as usize],
        activation: Activation::Silu,
        batch_norm: false,
        encoder: None,
        head: None,
        training: TrainingSettings {
            epochs: (steps * batch as f64 / (0.86 * exact.len() as f64)).ceil() as usize,
            batch_size: batch,
            learning_rate: knob("RATE", 2e-3),
            l2: knob("L2", 0.0),
            schedule: Schedule::Cosine { last: 1e-6 },
            validation_share: 0.05,
            ..TrainingSettings::default()
        },
    };
    let recipe =
        ProxyRecipe { samples: 3, test_share: 0.1, members: vec![member; knob("MEMBERS", 3.0) as usize] };
    let simulated = SimulatedDesigns { data: exact.clone(), dropped: 0 };
    let proxy = recipe
        .fit_data(&simulated, None, &mut FitContext::new(seed))
        .map_err(|error| InvalidArgument::new("proxy", "", error))?;
    let report = proxy
        .report()
        .cloned()
        .ok_or("no report")
        .map_err(|error| InvalidArgument::new("proxy", "", error))?;
    let training_seconds = started.elapsed().as_secs_f64();
    println!(
        "errors {:.2e} of variance {:.2e}; deviations {:?} epochs {:?}",
        report.test_errors.ensemble,
        report.test_variance,
        report.test_deviations,
        report.training.iter().map(|t| t.best_epoch).collect::<Vec<_>>()
    );
    let task = SimulatedTask::new("network", proxy, case.task.prior())?;
    let started = Instant::now();
    let mut rng = RandomStreams::new(seed).stream("posterior draws", 0);
    let y = questions.measurements.y();
    let each = questions.reference.dim().1;
    let (drawn, name) = if knob("EXACT", 0.0) > 0.0 {
        let posterior = TemperedPosterior::new(&*case.task, &*case.noise, TemperedSettings::default())?;
        (posterior.draw(y, each, &mut rng)?, "exact")
    } else {
        let posterior = TemperedPosterior::new(task, &*case.noise, TemperedSettings::default())?;
        (posterior.draw(y, each, &mut rng)?, "networks")
    };
    println!("{:.2} {}", drawn.log_evidence, drawn.simulations);
    let seconds = started.elapsed().as_secs_f64();
    let designs = drawn.proposals.designs().to_owned();
    save(&folder.join(name), &designs, &questions.measurements)?;
    let mut mmd = 0.0;
    for (drawn, exact) in designs.outer_iter().zip(questions.reference.outer_iter()) {
        let scale = exact.std_axis(Axis(0), 0.0);
        mmd += Mmd::default().squared((&drawn / &scale).view(), (&exact / &scale).view())?;
    }
    Ok(Row {
        case: questions.case.clone(),
        pairs: exact.len(),
        method: name.to_owned(),
        training_seconds,
        draws_seconds: seconds * 1000.0 / (each * y.nrows()) as f64,
        log_density: f64::NAN,
        log_density_error: 0.0,
        mmd: mmd / y.nrows() as f64,
    })
}

fn table(rows: &[Row]) -> Table {
    let mut table =
        Table::new(&["case", "pairs", "method", "training, s", "1,000 draws, s", "log density", "MMD"]);
    for row in rows {
        table.push(vec![
            row.case.clone(),
            row.pairs.to_string(),
            row.method.clone(),
            format!("{:.2}", row.training_seconds),
            format!("{:.4}", row.draws_seconds),
            format!("{:.3} ± {:.3}", row.log_density, row.log_density_error),
            scientific(row.mmd),
        ]);
    }
    table
}

fn run(arguments: &Arguments) -> Result<(), StudyError> {
    let streams = RandomStreams::new(arguments.seed);
    let results = ResultFolder::create(&arguments.out)?;
    let all = CASES.map(String::from);
    let names = if arguments.cases.is_empty() { &all[..] } else { &arguments.cases };
    let mut rows = Vec::new();
    for name in names {
        let folder = results.path().join(name);
        let case = Case::new(name, streams)?;
        let measurements = noisy_pairs(&case, arguments.measurements, streams, 1)?;
        let reference = case.posterior(measurements.y(), arguments.draws, streams)?;
        measurements.save_npy(&folder.join("measurements"))?;
        save(&folder.join("reference"), &reference, &measurements)?;
        let scored = noisy_pairs(&case, SCORED, streams, 2)?;
        scored.save_npy(&folder.join("scored"))?;
        let questions = Questions { case: name.clone(), measurements, reference, scored };
        for pairs in &arguments.pairs {
            let data = noisy_pairs(&case, *pairs, streams, 0)?;
            let folder = folder.join(pairs.to_string());
            data.save_npy(&folder.join("training"))?;
            let (mdn, cinn) =
                (MixtureDensityNetwork::for_posteriors(), ConditionalInvertibleNetwork::for_posteriors());
            let (members, seed) = (arguments.members, arguments.seed);
            let exact = Dataset::from_task(&*case.task, *pairs, &mut streams.stream("noisy pairs", 0))?;
            rows.push(surrogate_row(&case, &exact, &questions, seed, &folder)?);
            if knob("ONLY", 0.0) > 0.0 {
                continue;
            }
            let (mdns, cinns) = (
                DensityEnsemble { method: mdn.clone(), members },
                DensityEnsemble { method: cinn.clone(), members },
            );
            let of_case = [
                row("MDN", &mdn, &data, &questions, seed, &folder)?,
                row(&format!("{members} MDN"), &mdns, &data, &questions, seed, &folder)?,
                row("cINN", &cinn, &data, &questions, seed, &folder)?,
                row(&format!("{members} cINN"), &cinns, &data, &questions, seed, &folder)?,
            ];
            rows.extend(of_case);
        }
    }
    let table = table(&rows);
    results.write_table("posteriors", &rows, &table)?;
    print!("{}", table.text());
    println!("results in {}", results.path().display());
    Ok(())
}

fn main() -> ExitCode {
    exit_code(run(&Arguments::parse()))
}
