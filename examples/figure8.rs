//! Figure 8: what the boundary loss does for the tandem model, on D1 and D3.
//!
//! `cargo run --release --example figure8 [-- --profile paper]`

use std::process::ExitCode;

use clap::Parser;
use inverse::bench::{CurveFigure, Study, StudyArguments, StudyError, TaskResult, panels, score_table};
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
    folder.write_csv("figure8.csv", &rows)?;
    folder.write_csv("curves.csv", &curves)?;
    folder.write("figure8.md", table.markdown().as_bytes())?;
    figure.save_svg(&folder.path().join("figure8.svg"))?;
    figure.save_png(&folder.path().join("figure8.png"))?;
    print!("{}", table.text());
    println!("results in {}", folder.path().display());
    Ok(())
}

fn main() -> ExitCode {
    match run(Arguments::parse().study) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
