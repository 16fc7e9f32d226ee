//! One measurement explained in rounds: as many simulations, spent where its posterior is.
//!
//! `cargo run --release --example sequential_rounds [-- --task D3 --noise 0.01]`
//!
//! The first round draws designs from the prior, and serves all measurements. Each later one draws them for one measurement, from
//! the prior cut down to the regions of highest density of the models before (`SequentialDensity`), and trains a model anew on all
//! pairs inside. `at once` spends as many simulations as all rounds of one measurement on the prior, for one model that knows every
//! measurement. Both draw 5,000 designs of each new noisy measurement, and importance weights say how many draws of the posterior
//! those are worth; they cost simulations, too, which are not counted.
//!
//! Weights cannot see what a region has cut off. The last columns show the share of the prior that the last round drew from, and
//! how many of the designs behind the measurements lie there: all but a share of `--left-out` for each round, where models are
//! right about how much they do not know.
//!
//! Tasks with discrete variables (D1) are left out: the weights need densities. Of the options of studies, `--profile` (for the
//! presets alone), `--task`, `--method`, `--seed`, `--device`, `--quiet` and `--out` count.

#[path = "noisy/density_methods.rs"]
mod density_methods;
#[path = "noisy/mod.rs"]
mod noisy;
#[path = "noisy/quantile.rs"]
mod quantile;

use std::process::ExitCode;

use clap::Parser;
use inverse::bench::{Progress, Study, StudyArguments, StudyError, Table, exit_code};
use inverse::core::InvalidArgument;
use inverse::models::noisy_simulator;
use inverse::prelude::*;
use ndarray::{ArrayView2, s};
use quantile::quantile;
use serde::Serialize;

/// Draws that are weighed, a measurement.
const DRAWS: usize = 5000;
/// Pairs that a round has at least.
const LEAST_PAIRS: usize = 50;

/// Spends simulations on the posterior of one measurement.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    study: StudyArguments,
    /// Standard deviation of each output's noise, as a share of the output's own.
    #[arg(long, default_value_t = 0.02)]
    noise: f64,
    /// Share of a model's draws that its region leaves out.
    #[arg(long, default_value_t = 1e-4)]
    left_out: f64,
    /// New measurements a task.
    #[arg(long, default_value_t = 20, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1000))]
    measurements: usize,
    /// Simulations of all rounds of a measurement together.
    #[arg(long, default_value_t = 4000, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(100..=1_000_000))]
    simulations: usize,
    /// Rounds that share them.
    #[arg(long, default_value_t = 4, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(2..=20))]
    rounds: usize,
}

/// One line of `sequential_rounds.csv`: one measurement.
#[derive(Serialize)]
struct Row {
    task: String,
    method: String,
    measurement: usize,
    effective_at_once: f64,
    effective_in_rounds: f64,
    /// Share of the prior that the last round drew from.
    region: f64,
    /// Whether the design behind the measurement lies there.
    holds_the_design: bool,
}

/// One task and its noise.
struct Case<'a> {
    task: &'a dyn Task,
    noise: GaussianNoise,
    streams: RandomStreams,
    device: Device,
    arguments: &'a Arguments,
}

impl Case<'_> {
    /// Pairs of the task's prior, measured with noise.
    fn pairs(&self, n: usize, index: u64) -> Result<Dataset, StudyError> {
        let exact = Dataset::from_task(self.task, n, &mut self.streams.stream("rounds, pairs", index))?;
        Ok(exact.measured(&self.noise, &mut self.streams.stream("rounds, noise", index))?)
    }

    /// The surroundings of a fit, or of a measurement's rounds, with streams of their own.
    fn context(&self, index: u64) -> FitContext<'static> {
        FitContext::new(self.streams.family("rounds", index).seed()).with_device(self.device)
    }

    /// How many draws of the posterior of `y` the model's are worth.
    fn effective(&self, model: &dyn InverseModel, y: ArrayView2<'_, f64>) -> Result<f64, StudyError> {
        let draws = model.propose(y, DRAWS, &mut self.streams.stream("rounds, draws", 0))?;
        let weights = ImportanceWeights::of_draws(self.task, &self.noise, model, &draws, y)?;
        Ok(weights.effective_sample_sizes()[0])
    }

    fn rows<M: Method<Model: Clone> + Clone>(&self, method: &M, label: &str) -> Result<Vec<Row>, StudyError> {
        let Arguments { simulations, rounds, measurements, left_out, ref study, .. } = *self.arguments;
        let progress = Progress::new(format!("{}, {label}", self.task.name()), study.quiet);
        progress.stage(measurements, "measurements explained in rounds");
        let new = self.pairs(measurements, 0)?;
        let at_once = method.fit(&self.pairs(simulations, 1)?, &mut self.context(0))?;
        let in_rounds =
            SequentialDensity { method: method.clone(), each: simulations / rounds, rounds, left_out };
        let prior = self.task.prior();
        let mut simulate = noisy_simulator(self.task, &self.noise);
        let first = in_rounds.first_round(prior, &mut simulate, &mut self.context(1))?;
        let mut rows = Vec::new();
        for measurement in 0..new.len() {
            let own = s![measurement..=measurement, ..];
            let (x, y) = (new.x().slice_move(own), new.y().slice_move(own));
            let mut context = self.context(2 + measurement as u64);
            let last = in_rounds.explain(prior, &mut simulate, &first, y.row(0), &mut context)?;
            rows.push(Row {
                task: self.task.name().to_owned(),
                method: label.to_owned(),
                measurement,
                effective_at_once: self.effective(&at_once, y)?,
                effective_in_rounds: self.effective(&last.model, y)?,
                region: last.region.acceptance_rate(),
                holds_the_design: last.region.contains(x)?[0],
            });
            progress.advance(1);
        }
        progress.finish();
        Ok(rows)
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&[
        "task",
        "method",
        "at once: least",
        "median",
        "in rounds: least",
        "median",
        "region, median",
        "designs inside",
    ]);
    for rows in rows.chunk_by(|a, b| a.task == b.task && a.method == b.method) {
        let numbers = |number: fn(&Row) -> f64| rows.iter().map(number).collect();
        let at_once = |share: f64| format!("{:.0}", quantile(numbers(|row| row.effective_at_once), share));
        let in_rounds =
            |share: f64| format!("{:.0}", quantile(numbers(|row| row.effective_in_rounds), share));
        let inside = rows.iter().filter(|row| row.holds_the_design).count();
        table.push(vec![
            rows[0].task.clone(),
            rows[0].method.clone(),
            at_once(0.0),
            at_once(0.5),
            in_rounds(0.0),
            in_rounds(0.5),
            format!("{:.1}%", 100.0 * quantile(numbers(|row| row.region), 0.5)),
            format!("{inside} of {}", rows.len()),
        ]);
    }
    table
}

fn run(arguments: &Arguments) -> Result<(), StudyError> {
    let (simulations, rounds) = (arguments.simulations, arguments.rounds);
    if simulations % rounds != 0 || simulations / rounds < LEAST_PAIRS {
        let expected = format!("a multiple of {rounds} rounds, {LEAST_PAIRS} or more for each");
        return Err(InvalidArgument::new("simulations", expected, simulations).into());
    }
    let study = Study::new(&arguments.study)?;
    let source = study.arguments().profile().source();
    let streams = RandomStreams::new(study.arguments().seed());
    let asked = |name: &str| study.methods().contains(&name);
    let mut rows = Vec::new();
    for task in study.tasks() {
        if !noisy::is_continuous(&**task, streams) {
            println!("{}: left out, for it has a discrete variable", task.name());
            continue;
        }
        let noise = noisy::noise_of(&**task, arguments.noise, streams)?;
        let case = Case { task: &**task, noise, streams, device: study.arguments().device(), arguments };
        if asked(MixtureDensityNetwork::NAME) {
            let method = density_methods::mdn(task.name(), source)?;
            rows.extend(case.rows(&method, MixtureDensityNetwork::LABEL)?);
        }
        if asked(ConditionalInvertibleNetwork::NAME) {
            let method = density_methods::cinn(task.name(), source)?;
            rows.extend(case.rows(&method, ConditionalInvertibleNetwork::LABEL)?);
        }
    }
    let table = table(&rows);
    study.results().write_table("sequential_rounds", &rows, &table)?;
    print!("{}", table.text());
    println!("results in {}", study.results().path().display());
    Ok(())
}

fn main() -> ExitCode {
    exit_code(run(&Arguments::parse()))
}
