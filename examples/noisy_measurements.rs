//! Posteriors of noisy measurements: as MDN, cINN and a surrogate have learnt them, and as importance weights mend them.
//!
//! `cargo run --release --example noisy_measurements [-- --task D3 --noise 0.05]`
//!
//! Both methods train on measurements with Gaussian noise, of a share of each output's standard deviation, and draw designs
//! for new ones. The surrogate, NA's forward network, trains on the same designs' exact outputs, and a tempered posterior draws with
//! it in the simulator's place, of as many measurements as `--sampled` says: that takes seconds each (`--method neural-adjoint`).
//!
//! Weights p(x) p(y | f(x)) / p̂(x | y) cost one simulation a draw, at most. The true design of each measurement is
//! ranked among so many draws as they came, and among as many that are taken again, each as often as its weight says:
//!
//! * each variable of x: the least p-value of them all, times their number;
//! * the distance from the training design whose measurement is nearest;
//! * the share of true values in the middle part of the draws, a mean over the variables.
//!
//! The last columns are the effective sample size of all draws: its median over the measurements, and the share of
//! measurements where it is below 100. Measurements of which no draw counts have no weighed draws to rank: ranks leave them out,
//! and the last columns count them as 0. Tasks with discrete variables (D1) are left out: a probability is no density.
//!
//! Of the options of studies, `--profile`, `--task`, `--method`, `--seed`, `--device`, `--quiet` and `--out` count. Every run
//! trains anew.

#[path = "noisy/density_methods.rs"]
mod density_methods;
#[path = "noisy/mod.rs"]
mod noisy;
#[path = "noisy/surrogate.rs"]
mod surrogate;

use std::process::ExitCode;

use clap::Parser;
use inverse::bench::{
    EpochProgress, Progress, Study, StudyArguments, StudyError, Table, exit_code, scientific,
};
use inverse::core::{InvalidArgument, LARGEST_PAIRS};
use inverse::prelude::*;
use ndarray::{Array2, Axis, s};
use rand::Rng;
use serde::Serialize;

/// Below, weights are not to be relied on.
const FEW: f64 = 100.0;

/// Weighs the draws of MDN and cINN for noisy measurements.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    study: StudyArguments,
    /// Standard deviation of each output's noise, as a share of the output's own.
    #[arg(long, default_value_t = 0.05)]
    noise: f64,
    /// New pairs a task.
    #[arg(long, default_value_t = 500, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(10..=100_000))]
    pairs: usize,
    /// Draws a pair that are weighed.
    #[arg(long, default_value_t = 5000, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=100_000))]
    draws: usize,
    /// The new pairs that a surrogate's posterior is drawn for: so many, the first.
    #[arg(long, default_value_t = 50, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(10..=100_000))]
    sampled: usize,
    /// How many of them the true design is ranked among; best one less than a multiple of 20, so that bins are equal.
    #[arg(long, default_value_t = 99, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=10_000))]
    ranked: usize,
}

/// One line of `noisy_measurements.csv`; shares are of pairs.
#[derive(Serialize)]
struct Row {
    task: String,
    method: String,
    weighed: bool,
    /// The least of the variables' p-values, times their number, at most 1.
    p_variables: f64,
    p_distance: f64,
    /// Means over the variables.
    central_50: f64,
    central_90: f64,
    effective_median: Option<f64>,
    few_effective: Option<f64>,
}

/// Measurements of one task, for training and new.
struct Case<'a> {
    task: &'a dyn Task,
    noise: GaussianNoise,
    /// Without noise, and with it.
    exact: Dataset,
    training: Dataset,
    pairs: Dataset,
    /// Training designs whose measurements are nearest those of the new pairs, (pairs, `dim_x`).
    references: Array2<f64>,
    streams: RandomStreams,
    device: Device,
}

impl<'a> Case<'a> {
    fn new(task: &'a dyn Task, arguments: &Arguments, study: &Study) -> Result<Self, StudyError> {
        let streams = RandomStreams::new(study.arguments().seed());
        let noise = noisy::noise_of(task, arguments.noise, streams)?;
        let count = study.arguments().profile().pairs();
        let exact = Dataset::from_task(task, count, &mut streams.stream("noisy pairs", 0))?;
        let training = exact.measured(&noise, &mut streams.stream("noise", 0))?;
        let pairs = Dataset::from_task(task, arguments.pairs, &mut streams.stream("noisy pairs", 1))?;
        let pairs = pairs.measured(&noise, &mut streams.stream("noise", 1))?;
        let nearest = NearestNeighbor {}.fit(&training, &mut FitContext::new(study.arguments().seed()))?;
        let nearest = nearest.propose(pairs.y(), 1, &mut streams.stream("noisy references", 0))?;
        let references = nearest.designs().index_axis(Axis(1), 0).to_owned();
        let device = study.arguments().device();
        Ok(Self { task, noise, exact, training, pairs, references, streams, device })
    }

    /// Ranks among draws for some of the pairs.
    fn ranks(&self, method: &str, draws: &Proposals, pairs: &[usize]) -> Result<Row, StudyError> {
        let mut ties = self.streams.stream("noisy ties", 0);
        let x = self.pairs.x().select(Axis(0), pairs);
        let references = self.references.select(Axis(0), pairs);
        let variables = RankStatistics::of_variables(x.view(), draws, &mut ties)?;
        let distances = RankStatistics::of_distances(x.view(), draws, references.view(), &mut ties)?;
        Ok(Row {
            task: self.task.name().to_owned(),
            method: method.to_owned(),
            weighed: false,
            p_variables: variables.least_p_value()?,
            p_distance: distances.uniformity_p_value(0)?,
            central_50: variables.mean_central_coverage(0.5)?,
            central_90: variables.mean_central_coverage(0.9)?,
            effective_median: None,
            few_effective: None,
        })
    }

    /// Fits a method, and ranks among its draws with and without weights.
    fn rows<M: Method>(
        &self,
        method: &M,
        label: &str,
        arguments: &Arguments,
    ) -> Result<[Row; 2], StudyError> {
        let progress = Progress::new(format!("{}, {label}", self.task.name()), arguments.study.quiet);
        let mut observer = EpochProgress::new(&progress);
        let mut context =
            FitContext::new(self.streams.seed()).with_device(self.device).with_observer(&mut observer);
        let model = method.fit(&self.training, &mut context)?;
        progress.finish();
        let mut rng = self.streams.stream("noisy draws", 0);
        let draws = model.propose(self.pairs.y(), arguments.draws, &mut rng)?;
        let weights = ImportanceWeights::of_draws(self.task, &self.noise, &model, &draws, self.pairs.y())?;
        self.ranked(label, &draws, &weights, arguments, &mut rng)
    }

    /// Trains a surrogate, draws from its posterior, and ranks among the draws of the first pairs.
    fn surrogate_rows(&self, arguments: &Arguments) -> Result<[Row; 2], StudyError> {
        let label = "surrogate";
        let progress = Progress::new(format!("{}, {label}", self.task.name()), arguments.study.quiet);
        let mut observer = EpochProgress::new(&progress);
        let mut context =
            FitContext::new(self.streams.seed()).with_device(self.device).with_observer(&mut observer);
        let posterior = surrogate::surrogate_posterior(
            self.task,
            &self.exact,
            |errors| self.noise.with_error(errors),
            &mut context,
        )?;
        progress.finish();
        let first: Vec<usize> = (0..self.pairs.len().min(arguments.sampled)).collect();
        let y = self.pairs.y().select(Axis(0), &first);
        let mut rng = self.streams.stream("noisy draws", 0);
        let drawn = posterior.draw(y.view(), arguments.draws, &mut rng)?;
        let (draws, log) = (&drawn.proposals, drawn.log_density.view());
        let weights = ImportanceWeights::of_densities(self.task, &self.noise, draws, log, y.view())?;
        self.ranked(label, draws, &weights, arguments, &mut rng)
    }

    /// Ranks among draws for the first pairs, with and without weights.
    fn ranked(
        &self,
        label: &str,
        draws: &Proposals,
        weights: &ImportanceWeights,
        arguments: &Arguments,
        rng: &mut dyn Rng,
    ) -> Result<[Row; 2], StudyError> {
        let sizes = weights.effective_sample_sizes();
        let all: Vec<usize> = (0..sizes.len()).collect();
        let counted: Vec<usize> = all.iter().copied().filter(|pair| sizes[*pair] > 0.0).collect();
        if counted.is_empty() {
            let expected = "one that counts, of some measurement";
            return Err(
                InvalidArgument::new("draws", expected, format!("none of {}", arguments.draws)).into()
            );
        }
        let of_counted = Proposals::new(draws.designs().select(Axis(0), &counted))?;
        let weighed = weights.select(&counted)?.resample(&of_counted, arguments.ranked, rng)?;
        let first = Proposals::new(draws.designs().slice(s![.., ..arguments.ranked, ..]).to_owned())?;
        let mut sorted = sizes.to_vec();
        sorted.sort_by(f64::total_cmp);
        let few = sorted.iter().filter(|size| **size < FEW).count() as f64 / sorted.len() as f64;
        Ok([
            self.ranks(label, &first, &all)?,
            Row {
                weighed: true,
                effective_median: Some(sorted[sorted.len() / 2]),
                few_effective: Some(few),
                ..self.ranks(label, &weighed, &counted)?
            },
        ])
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&[
        "task",
        "method",
        "draws",
        "p, variables",
        "p, distance",
        "central 50%",
        "central 90%",
        "effective, median",
        "fewer than 100",
    ]);
    let percent = |share: f64| format!("{:.1}%", 100.0 * share);
    for row in rows {
        table.push(vec![
            row.task.clone(),
            row.method.clone(),
            if row.weighed { "weighed" } else { "as drawn" }.into(),
            scientific(row.p_variables),
            scientific(row.p_distance),
            percent(row.central_50),
            percent(row.central_90),
            row.effective_median.map(|size| format!("{size:.0}")).unwrap_or_default(),
            row.few_effective.map(percent).unwrap_or_default(),
        ]);
    }
    table
}

fn check(arguments: &Arguments) -> Result<(), InvalidArgument> {
    let (least, largest) = (arguments.ranked, LARGEST_PAIRS / arguments.pairs);
    if !(least..=largest).contains(&arguments.draws) {
        let expected =
            format!("{least} to {largest}: as many as are ranked, and not too many for all pairs together");
        return Err(InvalidArgument::new("draws", expected, arguments.draws));
    }
    Ok(())
}

fn run(arguments: &Arguments) -> Result<(), StudyError> {
    check(arguments)?;
    let study = Study::new(&arguments.study)?;
    let source = study.arguments().profile().source();
    let asked = |name: &str| study.methods().contains(&name);
    let mut rows = Vec::new();
    for task in study.tasks() {
        if !noisy::is_continuous(&**task, RandomStreams::new(study.arguments().seed())) {
            println!("{}: left out, for it has a discrete variable", task.name());
            continue;
        }
        let case = Case::new(&**task, arguments, &study)?;
        if asked(MixtureDensityNetwork::NAME) {
            let method = density_methods::mdn(task.name(), source)?;
            rows.extend(case.rows(&method, MixtureDensityNetwork::LABEL, arguments)?);
        }
        if asked(ConditionalInvertibleNetwork::NAME) {
            let method = density_methods::cinn(task.name(), source)?;
            rows.extend(case.rows(&method, ConditionalInvertibleNetwork::LABEL, arguments)?);
        }
        if asked(NeuralAdjoint::NAME) {
            rows.extend(case.surrogate_rows(arguments)?);
        }
    }
    let table = table(&rows);
    study.results().write_table("noisy_measurements", &rows, &table)?;
    print!("{}", table.text());
    println!("results in {}", study.results().path().display());
    Ok(())
}

fn main() -> ExitCode {
    exit_code(run(&Arguments::parse()))
}
