//! Tables 3 and 7 and Figure 3: r_T of every method on the paper's tasks.
//!
//! ```text
//! cargo run --release --example table3                     # minutes: small networks
//! cargo run --release --example table3 -- --profile paper  # the paper's sizes
//! cargo run --release --example table3 -- --method NA --task D1
//! ```
//!
//! Trained models are kept under the results folder: a second run, also after a crash, goes on from there.

use std::process::ExitCode;

use clap::Parser;
use inverse::bench::{
    CurveFigure, Study, StudyArguments, StudyError, TaskResult, exit_code, panels, score_table,
};

/// Trains every method on the paper's tasks and prints r_T beside the paper's figures.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    study: StudyArguments,
}

fn run(arguments: &StudyArguments) -> Result<(), StudyError> {
    let study = Study::new(arguments, "results/table3")?;
    let results = study.grid()?;
    let mut rows = study.score_rows(&results, 1, 7)?;
    rows.extend(study.score_rows(&results, arguments.proposals, 3)?);
    let table = score_table(&rows);
    let curves: Vec<_> = results.iter().flat_map(TaskResult::curve_rows).collect();
    let figure = CurveFigure { panels: panels(&results)? };
    let folder = study.results();
    folder.write_table("table3", &rows, &table)?;
    folder.write_csv("curves.csv", &curves)?;
    folder.write_figure("figure3", &figure)?;
    print!("{}", table.text());
    println!("results in {}", folder.path().display());
    Ok(())
}

fn main() -> ExitCode {
    exit_code(run(&Arguments::parse().study))
}
