//! Figure 8: what the boundary loss does for the tandem model, on D1 and D3.
//!
//! `cargo run --release --example figure8 [-- --profile paper]`

use std::process::ExitCode;

use clap::Parser;
use inverse::bench::{
    CurveFigure, Study, StudyArguments, StudyError, TaskResult, exit_code, panels, score_table,
};
use inverse::models::presets::PresetMethod;
use inverse::models::{Tandem, any_method};

/// Trains the tandem model with and without the boundary loss.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    study: StudyArguments,
}

fn run(mut arguments: StudyArguments) -> Result<(), StudyError> {
    if arguments.tasks.is_empty() {
        arguments.tasks = vec!["ballistics".into(), "robotic-arm".into()];
    }
    let study = Study::new(&arguments, "results/figure8")?;
    let mut results = Vec::new();
    for task in study.tasks() {
        let with = Tandem::preset(task.name(), arguments.profile.source())?;
        let without = Tandem { boundary_weight: 0.0, ..with.clone() };
        results.push(study.variant(&**task, &*any_method(with), "with boundary loss")?);
        results.push(study.variant(&**task, &*any_method(without), "without boundary loss")?);
    }
    let rows = study.score_rows(&results, 1, 7)?;
    let curves: Vec<_> = results.iter().flat_map(TaskResult::curve_rows).collect();
    let table = score_table(&rows);
    let figure = CurveFigure { panels: panels(&results)? };
    let folder = study.results();
    folder.write_table("figure8", &rows, &table)?;
    folder.write_csv("curves.csv", &curves)?;
    folder.write_figure("figure8", &figure)?;
    print!("{}", table.text());
    println!("results in {}", folder.path().display());
    Ok(())
}

fn main() -> ExitCode {
    exit_code(run(Arguments::parse().study))
}
