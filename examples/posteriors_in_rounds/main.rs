//! Posteriors of single measurements, in rounds: simulations go where each method thinks that the design may be.
//!
//! `cargo run --release --example posteriors_in_rounds [-- --case two-moons --method surrogate]`
//!
//! The cases of the example `posteriors`, whose posteriors rejection draws exactly. Each measurement has so many simulations for itself, in
//! rounds of as many each; the first is of the prior, and later ones are where the rounds before say. MDN and cINN (`SequentialDensity`)
//! learn from outputs with noise, and nothing else of it; the surrogate (`SequentialSurrogate`) learns from exact outputs, and the noise's
//! law is known. The likelihood (`NeuralLikelihood`) has no rounds: it learns from as many simulations of the prior, with noise. Columns:
//!
//! * seconds of a measurement, its simulations and draws included, on the clock;
//! * MMD² between draws and exact draws, in units of the exact draws' deviations, a mean over the measurements.
//!
//! All draws are written beside the table, for `benches/sbi/sequential.py`: folders `measurements` and `reference` of each case, and one
//! a method, all with `x.npy` and `y.npy`. `--measure FOLDER` does nothing but measure the designs of `FOLDER/x.npy` with a case's noise, and
//! write them to `FOLDER/y.npy`, which has to be there, of as many rows: it is that script's simulator.

#[path = "../posteriors/cases.rs"]
mod cases;
#[path = "../noisy/noise.rs"]
mod noise;
#[path = "../posteriors/questions.rs"]
mod questions;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use inverse::bench::{ResultFolder, StudyError, Table, exit_code, scientific};
use inverse::core::InvalidArgument;
use inverse::models::{ProxyRecipe, noisy_simulator};
use inverse::prelude::*;
use ndarray::{Array2, Array3, ArrayView1, Axis};
use serde::Serialize;

use cases::{CASES, Case};
use questions::{Questions, noisy_pairs};

/// Methods, by the names that they are asked for.
const METHODS: [&str; 6] = ["mdn", "mdn-ensemble", "cinn", "cinn-ensemble", "likelihood", "surrogate"];

/// Members of an ensemble.
const MEMBERS: usize = 5;

/// The share of a model's draws that its region leaves out.
const LEFT_OUT: f64 = 1e-3;

/// Draws posteriors of single measurements in rounds.
#[derive(Parser)]
struct Arguments {
    /// Case to run; may be repeated. All, where there is none.
    #[arg(long = "case", value_name = "CASE", value_parser = clap::builder::PossibleValuesParser::new(CASES))]
    cases: Vec<String>,
    /// Method to run; may be repeated. All, where there is none.
    #[arg(long = "method", value_name = "METHOD", value_parser = clap::builder::PossibleValuesParser::new(METHODS))]
    methods: Vec<String>,
    /// Simulations of a measurement, all rounds together.
    #[arg(long, default_value_t = 1000, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(40..=1_000_000))]
    simulations: usize,
    /// Rounds that share them, the one of the prior included.
    #[arg(long, default_value_t = 10, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(2..=50))]
    rounds: usize,
    /// New measurements.
    #[arg(long, default_value_t = 3, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1000))]
    measurements: usize,
    /// Draws for each.
    #[arg(long, default_value_t = 1000, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(2..=10_000))]
    draws: usize,
    /// The seed from which all randomness flows.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder for results.
    #[arg(long, value_name = "FOLDER", default_value = "results/posteriors_in_rounds")]
    out: PathBuf,
    /// Measures these designs, of the one case, and ends.
    #[arg(long, value_name = "FOLDER")]
    measure: Option<PathBuf>,
    /// The number of the stream that their noise is drawn from.
    #[arg(long, default_value_t = 0, requires = "measure")]
    stream: u64,
}

/// One line of `posteriors_in_rounds.csv`.
#[derive(Serialize)]
struct Row {
    case: String,
    simulations: usize,
    rounds: usize,
    method: String,
    seconds: f64,
    mmd: f64,
}

/// One case, and how it is asked.
struct Rounds<'a> {
    case: &'a Case,
    arguments: &'a Arguments,
}

impl Rounds<'_> {
    fn each(&self) -> usize {
        self.arguments.simulations / self.arguments.rounds
    }

    /// Where the streams of a measurement begin.
    fn seed(&self, measurement: usize) -> u64 {
        RandomStreams::new(self.arguments.seed).family("in rounds", measurement as u64).seed()
    }

    /// Draws of one measurement's posterior, (`draws`, `dim_x`), by a density model.
    fn by_density<M: Method<Model: Clone>>(
        &self,
        method: M,
        y: ArrayView1<'_, f64>,
        seed: u64,
    ) -> Result<Array2<f64>, StudyError> {
        let Case { task, noise } = self.case;
        let mut simulate = noisy_simulator(task, noise);
        let rounds = SequentialDensity {
            method,
            each: self.each(),
            rounds: self.arguments.rounds,
            left_out: LEFT_OUT,
        };
        let mut context = FitContext::new(seed);
        let first = rounds.first_round(task.prior(), &mut simulate, &mut context)?;
        let last = rounds.explain(task.prior(), &mut simulate, &first, y, &mut context)?;
        let draws = last.draw(self.arguments.draws, &mut RandomStreams::new(seed).stream("draws", 0))?;
        Ok(draws.designs().index_axis(Axis(0), 0).to_owned())
    }

    /// The same by a likelihood that is learnt from as many simulations of the prior.
    fn at_once(&self, y: ArrayView1<'_, f64>, seed: u64) -> Result<Array2<f64>, StudyError> {
        let (simulations, streams) = (self.arguments.simulations, RandomStreams::new(seed));
        let pairs = noisy_pairs(self.case, simulations, streams, 0)?;
        let method = NeuralLikelihood::for_posteriors(simulations);
        let posterior = method.fit(&pairs, self.case.task.prior(), &mut FitContext::new(seed))?;
        let mut rng = streams.stream("draws", 0);
        let draws = posterior.propose(y.insert_axis(Axis(0)), self.arguments.draws, &mut rng)?;
        Ok(draws.designs().index_axis(Axis(0), 0).to_owned())
    }

    /// The same in rounds of a surrogate.
    fn by_surrogate(&self, y: ArrayView1<'_, f64>, seed: u64) -> Result<Array2<f64>, StudyError> {
        let Case { task, noise } = self.case;
        let method = SequentialSurrogate {
            recipe: ProxyRecipe::for_posteriors(self.each()),
            each: self.each(),
            rounds: self.arguments.rounds - 1,
            enough: f64::INFINITY,
            ..SequentialSurrogate::default()
        };
        let mut context = FitContext::new(seed);
        let first = method.first_round(task, &mut context)?;
        let drawn = method.explain(task, noise, &first, y, &mut context)?;
        // As a posterior of the last surrogate: its own draws, whose weights need none of them twice.
        let errors = drawn.rounds.last().map(|round| round.errors.clone()).unwrap_or_default();
        let task = SimulatedTask::new("surrogate", drawn.network, task.prior())?;
        let posterior =
            TemperedPosterior::new(task, noise.with_error(&errors)?, TemperedSettings::default())?;
        let mut rng = RandomStreams::new(seed).stream("draws", 0);
        let draws = posterior.propose(y.insert_axis(Axis(0)), self.arguments.draws, &mut rng)?;
        Ok(draws.designs().index_axis(Axis(0), 0).to_owned())
    }

    fn draws(
        &self,
        method: &str,
        y: ArrayView1<'_, f64>,
        measurement: usize,
    ) -> Result<Array2<f64>, StudyError> {
        let (mdn, cinn) =
            (MixtureDensityNetwork::for_posteriors(), ConditionalInvertibleNetwork::for_posteriors());
        let seed = self.seed(measurement);
        match method {
            "mdn" => self.by_density(mdn, y, seed),
            "mdn-ensemble" => self.by_density(DensityEnsemble { method: mdn, members: MEMBERS }, y, seed),
            "cinn" => self.by_density(cinn, y, seed),
            "cinn-ensemble" => self.by_density(DensityEnsemble { method: cinn, members: MEMBERS }, y, seed),
            "likelihood" => self.at_once(y, seed),
            "surrogate" => self.by_surrogate(y, seed),
            _ => Err(InvalidArgument::new("method", METHODS.join(", "), method).into()),
        }
    }

    /// Explains all measurements by one method, and scores its draws.
    fn row(&self, method: &str, questions: &Questions, folder: &Path) -> Result<Row, StudyError> {
        let (_, each, width) = questions.reference.dim();
        let measurements = questions.measurements.len();
        let mut draws = Array3::zeros((measurements, each, width));
        let started = Instant::now();
        for (measurement, y) in questions.measurements.y().rows().into_iter().enumerate() {
            draws.index_axis_mut(Axis(0), measurement).assign(&self.draws(method, y, measurement)?);
        }
        let seconds = started.elapsed().as_secs_f64() / measurements as f64;
        questions.save_draws(&folder.join(method), &draws)?;
        Ok(Row {
            case: questions.case.clone(),
            simulations: self.each() * self.arguments.rounds,
            rounds: self.arguments.rounds,
            method: method.to_owned(),
            seconds,
            mmd: questions.mmd(&draws)?,
        })
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["case", "simulations", "rounds", "method", "seconds", "MMD"]);
    for row in rows {
        table.push(vec![
            row.case.clone(),
            row.simulations.to_string(),
            row.rounds.to_string(),
            row.method.clone(),
            format!("{:.1}", row.seconds),
            scientific(row.mmd),
        ]);
    }
    table
}

/// Measures designs that lie in a folder.
fn measure(folder: &Path, arguments: &Arguments, streams: RandomStreams) -> Result<(), StudyError> {
    let [case] = &arguments.cases[..] else {
        let found = format!("{} cases", arguments.cases.len());
        return Err(InvalidArgument::new("case", "one, to measure designs", found).into());
    };
    let case = Case::new(case, streams)?;
    let designs = Dataset::load_npy(folder)?;
    let mut rng = streams.stream("measured designs", arguments.stream);
    let y = noisy_simulator(&*case.task, &*case.noise)(designs.x(), &mut rng)?;
    Ok(Dataset::new(designs.x().to_owned(), y)?.save_npy(folder)?)
}

fn run(arguments: &Arguments) -> Result<(), StudyError> {
    let streams = RandomStreams::new(arguments.seed);
    if let Some(folder) = &arguments.measure {
        return measure(folder, arguments, streams);
    }
    if !arguments.simulations.is_multiple_of(arguments.rounds) {
        let expected = format!("a multiple of {} rounds", arguments.rounds);
        return Err(InvalidArgument::new("simulations", expected, arguments.simulations).into());
    }
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
        let rounds = Rounds { case: &case, arguments };
        for method in methods {
            rows.push(rounds.row(method, &questions, &folder)?);
        }
    }
    let table = table(&rows);
    results.write_table("posteriors_in_rounds", &rows, &table)?;
    print!("{}", table.text());
    println!("results in {}", results.path().display());
    Ok(())
}

fn main() -> ExitCode {
    exit_code(run(&Arguments::parse()))
}
