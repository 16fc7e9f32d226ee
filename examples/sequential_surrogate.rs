//! The posterior of one noisy measurement, by a surrogate that learns where to simulate.
//!
//! `cargo run --release --example sequential_surrogate [-- --task D4 --noise 0.01]`
//!
//! Designs of the prior teach a first surrogate, which serves all measurements. For each of them draws of the posterior that the surrogate
//! and the noise make are simulated and teach the next surrogate, round by round, until all draws together are worth enough
//! draws of the posterior itself (`SequentialSurrogate`). Every simulation is counted.
//!
//! The table has the simulations of a measurement, the first round's included, what its draws are worth (the effective sample size), and
//! the share of the true designs' variables that lie in the middle part of the weighed draws: that of the posterior would hold 50 and 90 %.
//! `reached` counts the measurements whose draws are worth enough. Seconds are those of one measurement, its simulations included, without the
//! first round.
//!
//! Tasks with discrete variables (D1) are left out: the weights need densities. Of the options of studies, `--task`, `--seed`,
//! `--device`, `--quiet` and `--out` count.

#[path = "noisy/mod.rs"]
mod noisy;
#[path = "noisy/quantile.rs"]
mod quantile;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use inverse::bench::{Progress, Study, StudyArguments, StudyError, Table, exit_code};
use inverse::core::InvalidArgument;
use inverse::models::FirstRound;
use inverse::prelude::*;
use ndarray::{Array3, ArrayView1, Axis, s};
use quantile::quantile;
use serde::Serialize;

/// Weighed draws that a true design is ranked among: one less than a multiple of 20, so that bins are equal.
const RANKED: usize = 99;

/// Draws posteriors of single measurements in rounds.
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
    /// Designs of the prior that the first round simulates.
    #[arg(long, default_value_t = 1000)]
    first: usize,
    /// Draws that each later round simulates.
    #[arg(long, default_value_t = 250)]
    each: usize,
    /// Later rounds, at most.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// The effective sample size with which rounds end.
    #[arg(long, default_value_t = 200.0)]
    enough: f64,
    /// Designs that move together where a surrogate's posterior is drawn.
    #[arg(long, default_value_t = 1024)]
    particles: usize,
    /// Width of the surrogates' three layers.
    #[arg(long, default_value_t = 128)]
    width: usize,
    /// How many times as many batches as `ProxyRecipe::for_posteriors` a training takes.
    #[arg(long, default_value_t = 3)]
    longer: usize,
}

impl Arguments {
    fn method(&self) -> SequentialSurrogate {
        let mut recipe = ProxyRecipe::for_posteriors(self.first);
        for member in &mut recipe.members {
            member.hidden = vec![self.width; 3];
            member.training.epochs = member.training.epochs.saturating_mul(self.longer);
        }
        SequentialSurrogate {
            recipe,
            each: self.each,
            rounds: self.rounds,
            enough: self.enough,
            tempered: TemperedSettings { particles: self.particles, ..TemperedSettings::default() },
        }
    }
}

/// One line of `sequential_surrogate.csv`: one round of a measurement.
#[derive(Serialize)]
struct Row {
    task: String,
    measurement: usize,
    round: usize,
    simulations: usize,
    power: f64,
    network_calls: u64,
    effective_sample_size: f64,
    log_evidence: f64,
    /// The surrogate's error at this round's draws, as a share of the noise's deviation, a mean over the outputs.
    error: f64,
}

/// What the rounds of one measurement have come to.
struct Explained {
    rows: Vec<Row>,
    /// Draws by their weights, (1, `RANKED`, `dim_x`); none where no draw counts.
    posterior: Option<Proposals>,
    seconds: f64,
}

struct Case<'a> {
    task: &'a dyn Task,
    noise: GaussianNoise,
    method: SequentialSurrogate,
    first: FirstRound,
    streams: RandomStreams,
    device: Device,
}

impl<'a> Case<'a> {
    fn new(task: &'a dyn Task, arguments: &Arguments, study: &Study) -> Result<Self, StudyError> {
        let (streams, device) = (RandomStreams::new(study.arguments().seed()), study.arguments().device());
        let method = arguments.method();
        let mut context = FitContext::new(streams.seed()).with_device(device);
        let first = method.first_round(task, &mut context)?;
        Ok(Self {
            task,
            noise: noisy::noise_of(task, arguments.noise, streams)?,
            method,
            first,
            streams,
            device,
        })
    }

    /// * `y`: one measurement, (`dim_y`)
    fn explain(&self, y: ArrayView1<'_, f64>, measurement: usize) -> Result<Explained, StudyError> {
        let start = Instant::now();
        let seed = self.streams.family("sequential measurement", measurement as u64).seed();
        let mut context = FitContext::new(seed).with_device(self.device);
        let drawn = self.method.explain(self.task, &self.noise, &self.first, y, &mut context)?;
        let seconds = start.elapsed().as_secs_f64();
        let weights = ImportanceWeights::of_logarithms(drawn.log_joint.view(), drawn.log_density.view())?;
        let mut rng = self.streams.stream("sequential ranks", measurement as u64);
        let counts = weights.effective_sample_sizes()[0] > 0.0;
        let posterior = counts.then(|| weights.resample(&drawn.proposals, RANKED, &mut rng)).transpose()?;
        let error = |errors: &[f64]| {
            let shares = errors.iter().zip(self.noise.deviations()).map(|(error, noise)| error / noise);
            shares.sum::<f64>() / errors.len() as f64
        };
        let rows = drawn.rounds.iter().enumerate().map(|(index, round)| Row {
            task: self.task.name().to_owned(),
            measurement,
            round: index + 1,
            simulations: round.simulations,
            power: round.power,
            network_calls: round.network_calls,
            effective_sample_size: round.effective_sample_size,
            log_evidence: round.log_evidence,
            error: error(&round.errors),
        });
        Ok(Explained { rows: rows.collect(), posterior, seconds })
    }
}

/// A task's line of the table.
///
/// * `new`: true designs and their measurements
fn line(case: &Case<'_>, new: &Dataset, all: &[Explained], enough: f64) -> Result<Vec<String>, StudyError> {
    let last = |number: fn(&Row) -> f64| -> Vec<f64> {
        all.iter().filter_map(|explained| explained.rows.last()).map(number).collect()
    };
    let (simulations, effective) =
        (last(|row| row.simulations as f64), last(|row| row.effective_sample_size));
    let reached = effective.iter().filter(|size| **size >= enough).count();
    let counted: Vec<usize> =
        (0..all.len()).filter(|measurement| all[*measurement].posterior.is_some()).collect();
    let mut draws = Array3::zeros((0, RANKED, case.task.dim_x()));
    for posterior in all.iter().filter_map(|explained| explained.posterior.as_ref()) {
        let appended = draws.append(Axis(0), posterior.designs());
        appended.map_err(|error| InvalidArgument::new("draws", "designs of one width", error))?;
    }
    let x = new.x().select(Axis(0), &counted);
    let mut ties = case.streams.stream("sequential ties", 0);
    let ranks = RankStatistics::of_variables(x.view(), &Proposals::new(draws)?, &mut ties)?;
    let whole = |numbers: &[f64], share: f64| format!("{:.0}", quantile(numbers.to_vec(), share));
    let percent = |share: f64| format!("{:.1}%", 100.0 * share);
    let seconds = all.iter().map(|explained| explained.seconds).collect();
    Ok(vec![
        case.task.name().to_owned(),
        whole(&simulations, 0.5),
        whole(&simulations, 1.0),
        format!("{reached} of {}", all.len()),
        whole(&effective, 0.0),
        whole(&effective, 0.5),
        percent(ranks.mean_central_coverage(0.5)?),
        percent(ranks.mean_central_coverage(0.9)?),
        format!("{:.0}", quantile(seconds, 0.5)),
    ])
}

fn run(arguments: &Arguments) -> Result<(), StudyError> {
    let study = Study::new(&arguments.study)?;
    let streams = RandomStreams::new(study.arguments().seed());
    let mut table = Table::new(&[
        "task",
        "simulations, median",
        "most",
        "reached",
        "effective, least",
        "median",
        "central 50%",
        "central 90%",
        "seconds, median",
    ]);
    let mut rows = Vec::new();
    for task in study.tasks() {
        if !noisy::is_continuous(&**task, streams) {
            println!("{}: left out, for it has a discrete variable", task.name());
            continue;
        }
        let progress = Progress::new(task.name().to_owned(), arguments.study.quiet);
        progress.stage(arguments.measurements, "measurements explained in rounds");
        let case = Case::new(&**task, arguments, &study)?;
        let new =
            Dataset::from_task(&**task, arguments.measurements, &mut streams.stream("sequential pairs", 0))?;
        let new = new.measured(&case.noise, &mut streams.stream("sequential noise", 0))?;
        let mut all = Vec::new();
        for measurement in 0..new.len() {
            all.push(case.explain(new.y().slice_move(s![measurement, ..]), measurement)?);
            progress.advance(1);
        }
        progress.finish();
        table.push(line(&case, &new, &all, arguments.enough)?);
        rows.extend(all.into_iter().flat_map(|explained| explained.rows));
    }
    study.results().write_table("sequential_surrogate", &rows, &table)?;
    print!("{}", table.text());
    println!("results in {}", study.results().path().display());
    Ok(())
}

fn main() -> ExitCode {
    exit_code(run(&Arguments::parse()))
}
