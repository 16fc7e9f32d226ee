//! Posteriors of noisy measurements: what MDN, cINN, their ensembles, a learnt likelihood and a surrogate draw, beside exact draws.
//!
//! `cargo run --release --example posteriors [-- --case two-moons --pairs 1000 --method surrogate]`
//!
//! Each method trains on few pairs, and draws designs for new measurements. Rejection draws from the same posteriors exactly.
//! MDN, cINN and the likelihood, an MDN too, learn from outputs with noise, and nothing else of it; the surrogate learns from the same designs' exact outputs,
//! and the noise's law is known. Columns:
//!
//! * seconds of the training, and of a thousand draws for one measurement, on the clock;
//! * log p̂(x | y) of 2,000 new pairs, mean and standard error, in nats: the higher the better, highest for the posterior itself; of
//!   methods that have a density;
//! * MMD² between draws and exact draws, in units of the exact draws' deviations, a mean over the measurements.
//!
//! All pairs and draws are written beside the table, for `benches/sbi/compare.py`: folders `measurements`, `reference` and
//! `scored` of each case, `training` and one a method for each number of pairs, all with `x.npy` and `y.npy`.

mod cases;
#[path = "../noisy/noise.rs"]
mod noise;
mod questions;
#[path = "../noisy/surrogate.rs"]
mod surrogate;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use inverse::bench::{ResultFolder, StudyError, Table, exit_code, scientific};
use inverse::core::InvalidArgument;
use inverse::prelude::*;
use serde::Serialize;

use cases::{CASES, Case};
use questions::{Questions, exact_pairs, noisy_pairs};

/// Methods, by the names that they are asked for.
const METHODS: [&str; 6] = ["mdn", "mdn-ensemble", "cinn", "cinn-ensemble", "likelihood", "surrogate"];

/// New pairs whose density is a method's score.
const SCORED: usize = 2000;

/// Draws posteriors by density methods and by rejection.
#[derive(Parser)]
struct Arguments {
    /// Case to run; may be repeated. All, where there is none.
    #[arg(long = "case", value_name = "CASE", value_parser = clap::builder::PossibleValuesParser::new(CASES))]
    cases: Vec<String>,
    /// Method to run; may be repeated. All, where there is none.
    #[arg(long = "method", value_name = "METHOD", value_parser = clap::builder::PossibleValuesParser::new(METHODS))]
    methods: Vec<String>,
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
    log_density: Option<f64>,
    log_density_error: Option<f64>,
    mmd: f64,
}

/// A model and how long its training took, in seconds.
type Trained<'a> = (Box<dyn InverseModel + 'a>, f64);

fn trained<M: Method>(method: &M, data: &Dataset, seed: u64) -> Result<Trained<'static>, StudyError>
where
    M::Model: 'static,
{
    let started = Instant::now();
    let model = method.fit(data, &mut FitContext::new(seed))?;
    Ok((Box::new(model), started.elapsed().as_secs_f64()))
}

/// A method's name in tables, and its model.
fn model<'a>(
    method: &str,
    case: &'a Case,
    pairs: usize,
    arguments: &Arguments,
) -> Result<(String, Trained<'a>), StudyError> {
    let Arguments { members, seed, .. } = *arguments;
    let streams = RandomStreams::new(seed);
    let data = || noisy_pairs(case, pairs, streams, 0);
    let (mdn, cinn) =
        (MixtureDensityNetwork::for_posteriors(), ConditionalInvertibleNetwork::for_posteriors());
    Ok(match method {
        "mdn" => ("MDN".into(), trained(&mdn, &data()?, seed)?),
        "mdn-ensemble" => {
            let ensemble = DensityEnsemble { method: mdn, members };
            (format!("{members} MDN"), trained(&ensemble, &data()?, seed)?)
        }
        "cinn" => ("cINN".into(), trained(&cinn, &data()?, seed)?),
        "cinn-ensemble" => {
            let ensemble = DensityEnsemble { method: cinn, members };
            (format!("{members} cINN"), trained(&ensemble, &data()?, seed)?)
        }
        "likelihood" => {
            let (data, started) = (data()?, Instant::now());
            let method = NeuralLikelihood::for_posteriors(pairs);
            let posterior = method.fit(&data, case.task.prior(), &mut FitContext::new(seed))?;
            ("likelihood".into(), (Box::new(posterior), started.elapsed().as_secs_f64()))
        }
        "surrogate" => {
            let exact = exact_pairs(case, pairs, streams, 0)?;
            let started = Instant::now();
            let noise = |errors: &[f64]| case.noise.with_error(errors);
            let model =
                surrogate::surrogate_posterior(&*case.task, &exact, noise, &mut FitContext::new(seed))?;
            ("surrogate".into(), (Box::new(model), started.elapsed().as_secs_f64()))
        }
        _ => return Err(InvalidArgument::new("method", METHODS.join(", "), method).into()),
    })
}

/// Draws and scores.
fn row(
    name: String,
    (model, training_seconds): Trained<'_>,
    pairs: usize,
    (questions, scored): (&Questions, &Dataset),
    seed: u64,
    folder: &Path,
) -> Result<Row, StudyError> {
    let y = questions.measurements.y();
    let each = questions.reference.dim().1;
    let started = Instant::now();
    let mut rng = RandomStreams::new(seed).stream("posterior draws", 0);
    let draws = posterior_draws(&model, y, each, &mut rng)?;
    let seconds = started.elapsed().as_secs_f64();
    let designs = draws.designs().to_owned();
    questions.save_draws(&folder.join(&name), &designs)?;
    let log = model.log_density(scored.x(), scored.y())?;
    Ok(Row {
        case: questions.case.clone(),
        pairs,
        method: name,
        training_seconds,
        draws_seconds: seconds * 1000.0 / (each * y.nrows()) as f64,
        log_density: log.as_ref().and_then(|log| log.mean()),
        log_density_error: log.map(|log| log.std(1.0) / (log.len() as f64).sqrt()),
        mmd: questions.mmd(&designs)?,
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
            row.log_density
                .zip(row.log_density_error)
                .map_or("–".into(), |(mean, error)| format!("{mean:.3} ± {error:.3}")),
            scientific(row.mmd),
        ]);
    }
    table
}

fn run(arguments: &Arguments) -> Result<(), StudyError> {
    let streams = RandomStreams::new(arguments.seed);
    let results = ResultFolder::create(&arguments.out)?;
    let (cases, methods) = (CASES.map(String::from), METHODS.map(String::from));
    let names = if arguments.cases.is_empty() { &cases[..] } else { &arguments.cases };
    let methods = if arguments.methods.is_empty() { &methods[..] } else { &arguments.methods };
    let mut rows = Vec::new();
    for name in names {
        let folder = results.path().join(name);
        let case = Case::new(name, streams)?;
        let questions = Questions::new(&case, arguments.measurements, arguments.draws, streams)?;
        questions.save(&folder)?;
        let scored = noisy_pairs(&case, SCORED, streams, 2)?;
        scored.save_npy(&folder.join("scored"))?;
        for pairs in &arguments.pairs {
            let folder = folder.join(pairs.to_string());
            noisy_pairs(&case, *pairs, streams, 0)?.save_npy(&folder.join("training"))?;
            for method in methods {
                let (name, trained) = model(method, &case, *pairs, arguments)?;
                rows.push(row(name, trained, *pairs, (&questions, &scored), arguments.seed, &folder)?);
            }
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
