//! Tables 3 and 7 and Figure 3: r_T of the Neural-Adjoint method on the paper's tasks.
//!
//! ```text
//! cargo run --release --example table3                     # minutes: small networks
//! cargo run --release --example table3 -- --profile paper  # the paper's sizes
//! ```
//!
//! Trained models are kept under the results folder: a second run, also after a crash, goes on from there.

use std::process::ExitCode;

use clap::Parser;
use inverse::bench::{CurveFigure, Study, StudyArguments, StudyError, Table, scientific};

/// Trains NA on the paper's tasks and prints r_T beside the paper's figures.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    study: StudyArguments,
}

fn run(arguments: &StudyArguments) -> Result<(), StudyError> {
    let study = Study::new(arguments, "results/table3")?;
    let results =
        study.tasks().iter().map(|task| study.neural_adjoint(&**task)).collect::<Result<Vec<_>, _>>()?;
    let all = arguments.proposals;
    let mut rows = study.score_rows(&results, 1, 7)?;
    rows.extend(study.score_rows(&results, all, 3)?);
    let mut table =
        Table::new(&["task", "method", "T", "r_T", "95% interval", "worst target", "paper", "ours / paper"]);
    for row in &rows {
        let ratio = row.paper.map(|paper| format!("{:.2e}", row.mean / paper));
        table.push(vec![
            row.task.clone(),
            row.method.clone(),
            row.proposals.to_string(),
            scientific(row.mean),
            format!("{} to {}", scientific(row.lower), scientific(row.upper)),
            scientific(row.worst),
            row.paper.map_or_else(String::new, scientific),
            ratio.unwrap_or_default(),
        ]);
    }
    let panels = results.iter().map(inverse::bench::TaskResult::panel).collect::<Result<_, _>>()?;
    let figure = CurveFigure { panels };
    let curves: Vec<_> = results.iter().flat_map(inverse::bench::TaskResult::curve_rows).collect();
    let folder = study.results();
    folder.write_csv("table3.csv", &rows)?;
    folder.write_csv("curves.csv", &curves)?;
    folder.write("table3.md", table.markdown().as_bytes())?;
    figure.save_svg(&folder.path().join("figure3.svg"))?;
    figure.save_png(&folder.path().join("figure3.png"))?;
    print!("{}", table.text());
    println!("results in {}", folder.path().display());
    Ok(())
}

fn main() -> ExitCode {
    match run(&Arguments::parse().study) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
