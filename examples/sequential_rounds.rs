//! One measurement explained in rounds: as many simulations, spent where its posterior is.
//!
//! `cargo run --release --example sequential_rounds [-- --task D3 --noise 0.01]`
//!
//! The first round draws designs from the prior. Each later one draws them from the prior cut down to the region of highest
//! density of the model before (`TruncatedPrior`), and trains a model anew on all pairs in that region. `at once` spends all
//! simulations on the prior, for one model that knows every measurement. Both draw 5,000 designs of each new noisy measurement,
//! and importance weights say how many draws of the posterior those are worth; they cost simulations, too, which are not counted.
//!
//! Tasks with discrete variables (D1) are left out: the weights need densities. Of the options of studies, `--profile` (for the
//! presets alone), `--task`, `--method`, `--seed`, `--device` and `--out` count.

use std::process::ExitCode;

use clap::Parser;
use inverse::bench::{Study, StudyArguments, StudyError, Table, exit_code};
use inverse::core::{DataError, InvalidArgument};
use inverse::prelude::*;
use ndarray::{Array2, ArrayView2, Axis, concatenate, s};
use serde::Serialize;

/// Draws that are weighed, a measurement.
const DRAWS: usize = 5000;
/// Share of a model's draws that a region leaves out.
const LEFT_OUT: f64 = 1e-3;

/// Spends simulations on the posterior of one measurement.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    study: StudyArguments,
    /// Standard deviation of each output's noise, as a share of the output's own.
    #[arg(long, default_value_t = 0.02)]
    noise: f64,
    /// New measurements a task.
    #[arg(long, default_value_t = 10, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1000))]
    measurements: usize,
    /// Simulations of all rounds of a measurement together.
    #[arg(long, default_value_t = 4000, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(100..=1_000_000))]
    simulations: usize,
    /// Rounds that share them.
    #[arg(long, default_value_t = 4, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(2..=20))]
    rounds: usize,
}

/// One line of `sequential_rounds.csv`: of all measurements of a task.
#[derive(Serialize)]
struct Row {
    task: String,
    method: String,
    in_rounds: bool,
    effective_least: f64,
    effective_median: f64,
    /// Median share of the prior that the last round drew from.
    region: Option<f64>,
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
    /// Pairs of some prior, measured with noise.
    fn pairs(&self, task: &dyn Task, n: usize, index: u64) -> Result<Dataset, StudyError> {
        let exact = Dataset::from_task(task, n, &mut self.streams.stream("rounds, pairs", index))?;
        Ok(exact.measured(&self.noise, &mut self.streams.stream("rounds, noise", index))?)
    }

    fn fit<M: Method>(&self, method: &M, pairs: &Dataset) -> Result<M::Model, StudyError> {
        let mut context = FitContext::new(self.streams.seed()).with_device(self.device);
        Ok(method.fit(pairs, &mut context)?)
    }

    /// How many draws of the posterior of `y` the model's are worth.
    fn effective(&self, model: &dyn InverseModel, y: ArrayView2<'_, f64>) -> Result<f64, StudyError> {
        let draws = model.propose(y, DRAWS, &mut self.streams.stream("rounds, draws", 0))?;
        let weights = ImportanceWeights::of_draws(self.task, &self.noise, model, &draws, y)?;
        Ok(weights.effective_sample_sizes()[0])
    }

    /// The effective sample size after all rounds, and the share of the prior that the last one drew from.
    fn in_rounds<M: Method>(
        &self,
        method: &M,
        y: ArrayView2<'_, f64>,
        measurement: u64,
    ) -> Result<(f64, f64), StudyError> {
        let each = self.arguments.simulations / self.arguments.rounds;
        let mut pairs = self.pairs(self.task, each, 0)?;
        let mut model = self.fit(method, &pairs)?;
        let mut share = 1.0;
        for round in 1..self.arguments.rounds as u64 {
            let index = 1000 * (measurement + 1) + round;
            let mut rng = self.streams.stream("rounds, region", index);
            let prior = TruncatedPrior::new(self.task.prior(), &model, y, LEFT_OUT, &mut rng)?;
            share = prior.acceptance_rate();
            // Inside the region all pairs are of the same prior.
            let inside = prior.contains(pairs.x())?;
            let kept: Vec<usize> = (0..inside.len()).filter(|row| inside[*row]).collect();
            let task = SimulatedTask::new(self.task.name(), self.task, prior)?;
            let new = self.pairs(&task, each, index)?;
            pairs = joined(&pairs, &kept, &new)?;
            model = self.fit(method, &pairs)?;
        }
        Ok((self.effective(&model, y)?, share))
    }

    fn rows<M: Method>(&self, method: &M, label: &str) -> Result<[Row; 2], StudyError> {
        let new = self.pairs(self.task, self.arguments.measurements, u64::MAX)?;
        let pairs = self.pairs(self.task, self.arguments.simulations, u64::MAX - 1)?;
        let model = self.fit(method, &pairs)?;
        let (mut at_once, mut in_rounds, mut shares) = (Vec::new(), Vec::new(), Vec::new());
        for measurement in 0..new.len() {
            let y = new.y().slice_move(s![measurement..=measurement, ..]);
            at_once.push(self.effective(&model, y)?);
            let (effective, share) = self.in_rounds(method, y, measurement as u64)?;
            in_rounds.push(effective);
            shares.push(share);
        }
        let row = |in_rounds: bool, mut effective: Vec<f64>, region: Option<f64>| {
            effective.sort_by(f64::total_cmp);
            Row {
                task: self.task.name().to_owned(),
                method: label.to_owned(),
                in_rounds,
                effective_least: effective[0],
                effective_median: effective[effective.len() / 2],
                region,
            }
        };
        shares.sort_by(f64::total_cmp);
        let share = shares[shares.len() / 2];
        Ok([row(false, at_once, None), row(true, in_rounds, Some(share))])
    }
}

/// The pairs of earlier rounds that are kept, and new ones.
fn joined(earlier: &Dataset, kept: &[usize], new: &Dataset) -> Result<Dataset, DataError> {
    let join = |earlier: ArrayView2<'_, f64>, new: ArrayView2<'_, f64>| -> Result<Array2<f64>, DataError> {
        let kept = earlier.select(Axis(0), kept);
        let joined = concatenate(Axis(0), &[kept.view(), new]);
        Ok(joined.map_err(|error| InvalidArgument::new("new", "pairs of the same task", error))?)
    };
    Dataset::new(join(earlier.x(), new.x())?, join(earlier.y(), new.y())?)
}

/// Whether no variable of a task is always a whole number.
fn is_continuous(task: &dyn Task, streams: RandomStreams) -> bool {
    let x = task.prior().sample(100, &mut streams.stream("rounds, prior", 0));
    x.columns().into_iter().all(|column| column.iter().any(|value| value.fract() != 0.0))
}

fn case<'a>(task: &'a dyn Task, study: &Study, arguments: &'a Arguments) -> Result<Case<'a>, StudyError> {
    let streams = RandomStreams::new(study.arguments().seed());
    let outputs = Dataset::from_task(task, 1000, &mut streams.stream("rounds, scale", 0))?;
    let deviations = outputs.y().std_axis(Axis(0), 0.0) * arguments.noise;
    let noise = GaussianNoise::new(&deviations.to_vec())?;
    Ok(Case { task, noise, streams, device: study.arguments().device(), arguments })
}

fn table(rows: &[Row]) -> Table {
    let mut table =
        Table::new(&["task", "method", "simulations", "effective, least", "effective, median", "region"]);
    for row in rows {
        table.push(vec![
            row.task.clone(),
            row.method.clone(),
            if row.in_rounds { "in rounds" } else { "at once" }.into(),
            format!("{:.0}", row.effective_least),
            format!("{:.0}", row.effective_median),
            row.region.map(|share| format!("{:.2}%", 100.0 * share)).unwrap_or_default(),
        ]);
    }
    table
}

fn run(arguments: &Arguments) -> Result<(), StudyError> {
    if !(arguments.noise > 0.0 && arguments.noise.is_finite()) {
        return Err(InvalidArgument::new("noise", "a positive number", arguments.noise).into());
    }
    let study = Study::new(&arguments.study)?;
    let source = study.arguments().profile().source();
    let asked = |name: &str| study.methods().contains(&name);
    let mut rows = Vec::new();
    for task in study.tasks() {
        let case = case(&**task, &study, arguments)?;
        if !is_continuous(&**task, case.streams) {
            println!("{}: left out, for it has a discrete variable", task.name());
            continue;
        }
        // Pairs that a surrogate renews have no noise.
        if asked(MixtureDensityNetwork::NAME) {
            let preset = MixtureDensityNetwork::preset(task.name(), source)?;
            let method = MixtureDensityNetwork { relabelling: None, ..preset };
            rows.extend(case.rows(&method, MixtureDensityNetwork::LABEL)?);
        }
        if asked(ConditionalInvertibleNetwork::NAME) {
            let preset = ConditionalInvertibleNetwork::preset(task.name(), source)?;
            let method = ConditionalInvertibleNetwork { relabelling: None, ..preset };
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
