//! Posteriors of noisy measurements: as MDN and cINN have learnt them, and as importance weights mend them.
//!
//! `cargo run --release --example noisy_measurements [-- --task D1 --noise 0.05]`
//!
//! Both methods train on measurements with Gaussian noise, of a share of each output's standard deviation, and draw designs
//! for new ones. Weights p(x) p(y | f(x)) / p̂(x | y) cost one simulation a draw; from the draws, as often as they say, as many are
//! taken as without them. Each line ranks true designs as `calibration` does:
//!
//! * each variable of x: the least p-value of them all, times their number;
//! * the distance from the training design whose measurement is nearest;
//! * the share of true values in the middle part of the draws, a mean over the variables.
//!
//! The last columns are the effective sample size: its median over the measurements, of all draws that were weighed, and
//! the share of measurements where it is below 100. All is fit to be drawn from scratch: trainings are not kept.

use std::process::ExitCode;

use clap::Parser;
use inverse::bench::{Study, StudyArguments, StudyError, Table, exit_code, scientific};
use inverse::core::{InvalidArgument, LARGEST_PAIRS};
use inverse::prelude::*;
use ndarray::{Array2, Axis, s};
use serde::Serialize;

/// Below, weights are not to be relied on.
const FEW: f64 = 100.0;

/// Weighs the draws of MDN and cINN for noisy measurements.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    study: StudyArguments,
    /// Standard deviation of the noise of each output, in those of the output.
    #[arg(long, default_value_t = 0.05)]
    noise: f64,
    /// New pairs a task.
    #[arg(long, default_value_t = 500, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(10..=100_000))]
    pairs: usize,
    /// Draws a pair that are weighed.
    #[arg(long, default_value_t = 5000, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=100_000))]
    draws: usize,
    /// Of them, how many are ranked with; best one less than a multiple of 20, so that bins are equal.
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
        let exact = Dataset::from_task(
            task,
            study.arguments().profile().pairs(),
            &mut streams.stream("noisy pairs", 0),
        )?;
        let deviations = exact.y().std_axis(Axis(0), 0.0) * arguments.noise;
        let noise = GaussianNoise::new(&deviations.to_vec())?;
        let training = exact.measured(&noise, &mut streams.stream("noise", 0))?;
        let pairs = Dataset::from_task(task, arguments.pairs, &mut streams.stream("noisy pairs", 1))?;
        let pairs = pairs.measured(&noise, &mut streams.stream("noise", 1))?;
        let nearest = NearestNeighbor {}.fit(&training, &mut FitContext::new(study.arguments().seed()))?;
        let nearest = nearest.propose(pairs.y(), 1, &mut streams.stream("noisy references", 0))?;
        let references = nearest.designs().index_axis(Axis(1), 0).to_owned();
        let device = study.arguments().device();
        Ok(Self { task, noise, training, pairs, references, streams, device })
    }

    fn ranks(&self, method: &str, draws: &Proposals, effective: Option<&[f64]>) -> Result<Row, StudyError> {
        let mut ties = self.streams.stream("noisy ties", 0);
        let variables = RankStatistics::of_variables(self.pairs.x(), draws, &mut ties)?;
        let distances =
            RankStatistics::of_distances(self.pairs.x(), draws, self.references.view(), &mut ties)?;
        let few =
            |sizes: &[f64]| sizes.iter().filter(|size| **size < FEW).count() as f64 / sizes.len() as f64;
        Ok(Row {
            task: self.task.name().to_owned(),
            method: method.to_owned(),
            weighed: effective.is_some(),
            p_variables: variables.least_p_value()?,
            p_distance: distances.uniformity_p_value(0)?,
            central_50: variables.mean_central_coverage(0.5)?,
            central_90: variables.mean_central_coverage(0.9)?,
            effective_median: effective.map(|sizes| sizes[sizes.len() / 2]),
            few_effective: effective.map(few),
        })
    }

    fn rows<M: Method>(
        &self,
        method: &M,
        label: &str,
        arguments: &Arguments,
    ) -> Result<[Row; 2], StudyError> {
        let mut context = FitContext::new(self.streams.seed()).with_device(self.device);
        let model = method.fit(&self.training, &mut context)?;
        let mut rng = self.streams.stream("noisy draws", 0);
        let draws = model.propose(self.pairs.y(), arguments.draws, &mut rng)?;
        let weights = ImportanceWeights::of_draws(self.task, &self.noise, &model, &draws, self.pairs.y())?;
        let mut sizes = weights.effective_sample_sizes().to_vec();
        sizes.sort_by(f64::total_cmp);
        let weighed = weights.resample(&draws, arguments.ranked, &mut rng)?;
        let first = Proposals::new(draws.designs().slice(s![.., ..arguments.ranked, ..]).to_owned())?;
        Ok([self.ranks(label, &first, None)?, self.ranks(label, &weighed, Some(&sizes))?])
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

fn run(arguments: &Arguments) -> Result<(), StudyError> {
    let (least, largest) = (arguments.ranked, LARGEST_PAIRS / arguments.pairs);
    if !(least..=largest).contains(&arguments.draws) {
        let expected =
            format!("{least} to {largest}: as many as are ranked, and not too many for all pairs together");
        return Err(InvalidArgument::new("draws", expected, arguments.draws).into());
    }
    let study = Study::new(&arguments.study)?;
    let source = study.arguments().profile().source();
    let mut rows = Vec::new();
    for task in study.tasks() {
        let case = Case::new(&**task, arguments, &study)?;
        // Pairs that a surrogate renews have no noise.
        let mdn = MixtureDensityNetwork {
            relabelling: None,
            ..MixtureDensityNetwork::preset(task.name(), source)?
        };
        rows.extend(case.rows(&mdn, MixtureDensityNetwork::LABEL, arguments)?);
        let cinn = ConditionalInvertibleNetwork {
            relabelling: None,
            ..ConditionalInvertibleNetwork::preset(task.name(), source)?
        };
        rows.extend(case.rows(&cinn, ConditionalInvertibleNetwork::LABEL, arguments)?);
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
