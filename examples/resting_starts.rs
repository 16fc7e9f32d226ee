//! What it saves, and what it changes, that starts of the Neural-Adjoint method rest when they can add nothing.
//!
//! `cargo run --release --example resting_starts [-- --seed 1 --out results/resting-starts]`
//!
//! Surrogates of the quick profile, searched as the `paper` profile's are: 1,000 starts a target, 100 steps. Each
//! tolerance is compared with the descent that lets all starts take all steps, from the same starts: time, in turn with
//! it; the largest rise of any proposal's predicted error, rank by rank; and the re-simulation error.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use inverse::bench::{ResultFolder, StudyError, Table, exit_code, scientific};
use inverse::models::InputDescentSettings;
use inverse::prelude::*;
use ndarray::{ArrayView2, Axis};
use serde::Serialize;

const TASKS: [&str; 4] = ["D1", "D2", "D3", "D4"];
/// Proposals that are asked for.
const WANTED: [usize; 4] = [1, 10, 100, 1000];
const TOLERANCES: [f64; 2] = [1e-6, 1e-8];

/// Compares descents whose starts rest with one whose starts do not.
#[derive(Parser)]
struct Arguments {
    /// The seed from which all randomness flows.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Held-out targets a task.
    #[arg(long, default_value_t = 50, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(2..=10_000))]
    targets: usize,
    /// Folder for results.
    #[arg(long, value_name = "FOLDER", default_value = "results/resting-starts")]
    out: PathBuf,
}

/// One tolerance of one task and number of proposals.
#[derive(Serialize)]
struct Row {
    task: String,
    proposals: usize,
    tolerance: f64,
    /// Time of the descent to the end over that of this one.
    speedup: f64,
    /// By rank, in units of the variance of y: the most that a predicted error is above that of the descent to the end.
    largest_rise: f64,
    /// Mean re-simulation error of the best of all proposals, to the end and with this tolerance.
    r_to_the_end: f64,
    r: f64,
    /// Mean difference of both, target by target, and half the width of its 95 % confidence interval.
    difference: f64,
    difference_half_width: f64,
}

/// Proposals of all targets and the seconds that they took.
fn propose(
    model: &NeuralAdjointModel,
    y: ArrayView2<'_, f64>,
    wanted: usize,
    streams: RandomStreams,
) -> Result<(Proposals, f64), StudyError> {
    let start = Instant::now();
    let proposals = model.propose(y, wanted, &mut streams.stream("starts", 0))?;
    Ok((proposals, start.elapsed().as_secs_f64()))
}

/// By rank, in units of y's variance.
fn largest_rise(resting: &Proposals, full: &Proposals, variance: f64) -> f64 {
    let (Some(resting), Some(full)) = (resting.predicted_errors(), full.predicted_errors()) else {
        return f64::NAN;
    };
    (&resting - &full).into_iter().fold(f64::NEG_INFINITY, f64::max) / variance
}

fn study(name: &str, arguments: &Arguments, rows: &mut Vec<Row>) -> Result<(), StudyError> {
    let task = inverse::tasks::by_name(name)?;
    let streams = RandomStreams::new(arguments.seed).family(task.name(), 0);
    let data = Dataset::from_task(&*task, 10_000, &mut streams.stream("data", 0))?;
    let targets = Dataset::from_task(&*task, arguments.targets, &mut streams.stream("targets", 0))?;
    let method = NeuralAdjoint::preset(task.name(), Source::Quick)?;
    let NeuralAdjoint { start_count, starts, descent, .. } =
        NeuralAdjoint::preset(task.name(), Source::Tuned)?;
    let model = method.fit(&data, &mut FitContext::new(arguments.seed))?;
    let with = |tolerance: Option<f64>| {
        let descent = InputDescentSettings { tolerance, ..descent.clone() };
        model.with_inference(start_count, starts, descent)
    };
    let variance = data.y().var_axis(Axis(0), 0.0).mean().unwrap_or(f64::NAN);
    for wanted in WANTED {
        let (full, full_time) = propose(&with(None)?, targets.y(), wanted, streams)?;
        let full_errors = resimulate(&*task, &full, targets.y())?.best_of(wanted)?.to_owned();
        for tolerance in TOLERANCES {
            let (resting, time) = propose(&with(Some(tolerance))?, targets.y(), wanted, streams)?;
            let errors = resimulate(&*task, &resting, targets.y())?.best_of(wanted)?.to_owned();
            let differences = &errors - &full_errors;
            rows.push(Row {
                task: name.to_owned(),
                proposals: wanted,
                tolerance,
                speedup: full_time / time,
                largest_rise: largest_rise(&resting, &full, variance),
                r_to_the_end: full_errors.mean().unwrap_or(f64::NAN),
                r: errors.mean().unwrap_or(f64::NAN),
                difference: differences.mean().unwrap_or(f64::NAN),
                difference_half_width: 1.96 * differences.std(1.0) / (differences.len() as f64).sqrt(),
            });
        }
    }
    Ok(())
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&[
        "task",
        "proposals",
        "tolerance",
        "speed-up",
        "largest rise",
        "r to the end",
        "r",
        "difference",
    ]);
    for row in rows {
        let difference =
            format!("{} ± {}", scientific(row.difference), scientific(row.difference_half_width));
        table.push(vec![
            row.task.clone(),
            row.proposals.to_string(),
            format!("{:e}", row.tolerance),
            format!("{:.2}", row.speedup),
            scientific(row.largest_rise),
            scientific(row.r_to_the_end),
            scientific(row.r),
            difference,
        ]);
    }
    table
}

fn run(arguments: &Arguments) -> Result<(), StudyError> {
    let folder = ResultFolder::create(&arguments.out)?;
    let mut rows = Vec::new();
    for task in TASKS {
        study(task, arguments, &mut rows)?;
    }
    let table = table(&rows);
    folder.write_table("resting-starts", &rows, &table)?;
    print!("{}", table.text());
    println!("results in {}", folder.path().display());
    Ok(())
}

fn main() -> ExitCode {
    exit_code(run(&Arguments::parse()))
}
