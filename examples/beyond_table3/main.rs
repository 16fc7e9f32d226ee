//! Beyond Table 3: what a search reaches that listens to the simulator, beside searches that do not.
//!
//! ```text
//! cargo run --release --example beyond_table3                                         # minutes: small networks
//! cargo run --release --example beyond_table3 -- --profile paper --trainings 1        # the paper's networks
//! cargo run --release --example beyond_table3 -- --task D1 --timed-targets 0          # no timing
//! cargo run --release --example beyond_table3 -- --task D4 --solver                   # coupled dipoles in place of the proxy
//! ```
//!
//! All searches of a task share one surrogate and one set of held-out targets. What is trained is kept in the folder of
//! results, beside `beyond_table3.csv`, `.md`, `.svg` and `.png`; times are in `beyond_table3_times.csv`, the numbers of
//! distinct solutions in `beyond_table3_diversity.csv`.

mod baselines;
mod case;
mod diversity;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use inverse::bench::{
    CurveFigure, Study, StudyArguments, StudyError, Table, TaskResult, exit_code, panels, scientific,
};
use inverse::core::InvalidArgument;
use inverse::prelude::*;
use inverse::tasks::metamaterial::{self, MetamaterialSettings, MetamaterialSolver, MetamaterialTask};
use serde::Serialize;

use crate::case::{Case, Results, STARTS, Time, compare, time};

/// The numbers of calls T that the table shows.
const CALLS: [usize; 6] = [1, 2, 5, 10, 50, 200];

/// The searches of the figure.
const DRAWN: [&str; 9] = [
    "random search",
    "CMA-ES",
    "genetic algorithm",
    "NA, Adam",
    "NA, Levenberg–Marquardt",
    "adaptive NA, screened",
    "adaptive NA, symmetric",
    "nearest neighbour, refined",
    "true gradients",
];

/// As many as the figure has colours: those of `DRAWN`, but for the genetic algorithm where a task has a symmetry.
fn drawn(results: &[TaskResult]) -> Vec<TaskResult> {
    let has_symmetry = results.iter().any(|result| result.method == "adaptive NA, symmetric");
    let is_drawn = |result: &&TaskResult| {
        DRAWN.contains(&&*result.method) && !(has_symmetry && result.method == "genetic algorithm")
    };
    results.iter().filter(is_drawn).cloned().collect()
}

/// Seconds a target of the table by wall time.
const SECONDS: [f64; 5] = [0.001, 0.01, 0.1, 1.0, 10.0];

/// Searches with the simulator's answers, and without, on one surrogate.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    study: StudyArguments,
    /// Targets of the timing; 0 leaves it out.
    #[arg(long, default_value_t = 1000)]
    timed_targets: usize,
    /// Widths of the surrogate's hidden layers, as `200,200`; the profile's, where not given.
    #[arg(long, value_delimiter = ',')]
    hidden: Option<Vec<usize>>,
    /// Epochs of the surrogate's training; the profile's, where not given.
    #[arg(long)]
    epochs: Option<usize>,
    /// Searches the solver that D4's proxy stands for in the proxy's place: slower, and smooth.
    #[arg(long)]
    solver: bool,
    /// Adds a surrogate of that many pairs and their symmetric copies, where a task has any.
    #[arg(long, value_name = "PAIRS")]
    symmetric_pairs: Option<usize>,
    /// Starts a target of searches whose starts are screened. Symmetric copies are near a target alike: four times as many
    /// for as many distinct designs of D4.
    #[arg(long, default_value_t = 64)]
    screened_starts: usize,
    /// Adds an ensemble of that many surrogates.
    #[arg(long, value_name = "MEMBERS", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(2..=64))]
    members: Option<usize>,
}

/// One line of `beyond_table3.csv`.
#[derive(Serialize)]
struct Row<'a> {
    task: &'a str,
    method: &'a str,
    calls: usize,
    mean: f64,
    median: f64,
    worst: f64,
    unanswered: usize,
}

/// Rows for programs, and the table for people: mean over targets and, below it, the worst target.
fn tabulate(results: &[TaskResult]) -> (Vec<Row<'_>>, Table) {
    let shown: Vec<usize> = CALLS
        .into_iter()
        .filter(|calls| results.iter().all(|result| *calls <= result.errors.count()))
        .collect();
    let names: Vec<String> = shown.iter().map(|calls| format!("r_{calls}")).collect();
    let header: Vec<&str> =
        ["task", "search", "of targets"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let (mut rows, mut table) = (Vec::new(), Table::new(&header));
    for result in results {
        let curve = result.errors.curve();
        for (kind, values) in [("mean", &curve.mean), ("worst", &curve.worst)] {
            let cells = shown.iter().map(|calls| scientific(values[calls - 1]));
            let start = [result.task.clone(), result.method.clone(), kind.to_owned()];
            table.push(start.into_iter().chain(cells).collect());
        }
        rows.extend((0..curve.mean.len()).map(|index| Row {
            task: &result.task,
            method: &result.method,
            calls: index + 1,
            mean: curve.mean[index],
            median: curve.median[index],
            worst: curve.worst[index],
            unanswered: curve.unanswered[index],
        }));
    }
    (rows, table)
}

/// r by wall time a target: all targets share the machine.
fn by_time(times: &[Time]) -> Table {
    let names = SECONDS.map(|seconds| format!("{seconds} s"));
    let mut header = vec!["task", "search", "whole search"];
    header.extend(names.iter().map(String::as_str));
    let mut table = Table::new(&header);
    for rows in times.chunk_by(|a, b| (&a.task, &a.search) == (&b.task, &b.search)) {
        let whole = rows[rows.len() - 1].seconds / rows[0].targets as f64;
        let mut line = vec![rows[0].task.clone(), rows[0].search.clone(), format!("{whole:.4} s")];
        line.extend(SECONDS.iter().map(|limit| {
            let within = rows.iter().take_while(|row| row.seconds <= limit * row.targets as f64).last();
            within.map_or_else(String::new, |row| scientific(row.mean))
        }));
        table.push(line);
    }
    table
}

/// Refuses, before anything is trained, what no search here can do: all run, whatever `--method` says, and those on the
/// surrogate have no more proposals than starts.
fn check(study: &StudyArguments) -> Result<(), InvalidArgument> {
    if let Some(method) = study.methods.first() {
        let expected = "no such option, because all searches run";
        return Err(InvalidArgument::new("--method", expected, format!("`{method}`")));
    }
    let proposals = study.proposals();
    if proposals > STARTS {
        return Err(InvalidArgument::new("--proposals", format!("1 to {STARTS}"), proposals));
    }
    Ok(())
}

fn beyond(arguments: &Arguments) -> Result<(), StudyError> {
    check(&arguments.study)?;
    let study = Study::new(&arguments.study)?;
    let mut results = Results::default();
    let mut tasks: Vec<&dyn Task> = study.tasks().iter().map(|task| &**task).collect();
    let solver = MetamaterialSolver::new(MetamaterialSettings::default())?;
    let solver = SimulatedTask::new("metamaterial solver", solver, metamaterial::prior())?;
    if arguments.solver {
        tasks.retain(|task| task.name() != MetamaterialTask::NAME);
        tasks.push(&solver);
    }
    for task in tasks {
        let start = Instant::now();
        let case = Case::new(&study, task, arguments)?;
        eprintln!("{}: surrogate ready after {:.0} s", task.name(), start.elapsed().as_secs_f64());
        compare(&case, &mut results)?;
        if arguments.timed_targets > 0 {
            time(&case, arguments.timed_targets, &mut results.times)?;
        }
        // After every task, so that a study that is stopped leaves what it has.
        let (rows, table) = tabulate(&results.errors);
        let folder = study.results();
        folder.write_table("beyond_table3", &rows, &table)?;
        folder.write_table("beyond_table3_times", &results.times, &by_time(&results.times))?;
        folder.write_table(
            "beyond_table3_diversity",
            &results.diversity,
            &diversity::table(&results.diversity),
        )?;
        folder.write_figure("beyond_table3", &CurveFigure { panels: panels(&drawn(&results.errors))? })?;
    }
    print!("{}", tabulate(&results.errors).1.text());
    print!("{}", by_time(&results.times).text());
    print!("{}", diversity::table(&results.diversity).text());
    println!("results in {}", study.results().path().display());
    Ok(())
}

fn main() -> ExitCode {
    exit_code(beyond(&Arguments::parse()))
}
