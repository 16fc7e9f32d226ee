//! Figure 4: where on D2, the sine wave, each method looks for y = -0.3.
//!
//! `cargo run --release --example figure4 [-- --profile paper]`
//!
//! Trainings are those of table3, so run that first, or wait for them here. The table tells how many of the
//! curves f(x) = y a method finds: those with a design within 0.05.

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use inverse::bench::{
    ErrorMap, ErrorMapPanel, Progress, ResidualGrid, Study, StudyArguments, Table, exit_code, scientific,
};
use inverse::core::{InvalidArgument, InverseModel, RandomStreams, Simulator, Task};
use inverse::models::method_by_name;
use inverse::tasks::SineWave;
use ndarray::Array2;
use serde::Serialize;

/// Grid points a side: 40 a period.
const POINTS: usize = 121;

/// How near a design must be to find a curve; the curves' widths are ten times that.
const NEAR: f64 = 0.05;

/// Draws every method's designs for one target over the error of all designs.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    study: StudyArguments,
    /// The measurement that designs should have.
    #[arg(long, default_value_t = -0.3, allow_negative_numbers = true)]
    target: f64,
}

/// What a method makes of the target.
#[derive(Serialize)]
struct Row {
    method: &'static str,
    designs: usize,
    outside: usize,
    median: f64,
    worst: f64,
    curves_found: usize,
    curves: usize,
}

fn run(Arguments { mut study, target }: Arguments) -> Result<(), Box<dyn Error>> {
    let task = SineWave::new();
    let asked = |name: &String| inverse::tasks::by_name(name).is_ok_and(|asked| asked.name() == task.name());
    if let Some(other) = study.tasks.iter().find(|name| !asked(name)) {
        return Err(InvalidArgument::new("--task", "sine-wave, which can be drawn", other).into());
    }
    study.tasks = vec![task.name().into()];
    let study = Study::new(&study, "results/table3")?;
    let grid = ResidualGrid::simulate(&task, target, task.prior().domain(), POINTS)?;
    let level_set = grid.level_set();
    let streams = RandomStreams::new(study.arguments().seed).family(task.name(), 0);
    let progress = Progress::new(task.name(), study.arguments().quiet);
    let (mut rows, mut panels) = (Vec::new(), Vec::new());
    for name in study.methods() {
        let method = method_by_name(name, task.name(), study.arguments().profile.source())?;
        let (model, _) = study.best_model(&task, &*method, &progress)?;
        let designs = propose(&*model, target, study.arguments().proposals, streams)?;
        let points: Vec<[f64; 2]> = designs.rows().into_iter().map(|x| [x[0], x[1]]).collect();
        let mut errors: Vec<f64> =
            task.simulate(designs.view())?.iter().map(|y| (y - target).abs()).collect();
        errors.sort_by(f64::total_cmp);
        rows.push(Row {
            method: method.label(),
            designs: points.len(),
            outside: points.iter().filter(|x| !grid.contains(**x)).count(),
            median: errors[errors.len() / 2],
            worst: errors[errors.len() - 1],
            curves_found: level_set.curves_near(&points, NEAR),
            curves: level_set.curves().len(),
        });
        panels.push(ErrorMapPanel { title: method.label().into(), designs: points });
    }
    progress.finish();
    let mut table = Table::new(&["method", "outside", "median error", "worst error", "curves found"]);
    for row in &rows {
        table.push(vec![
            row.method.into(),
            format!("{:.1}%", 100.0 * row.outside as f64 / row.designs as f64),
            scientific(row.median),
            scientific(row.worst),
            format!("{} of {}", row.curves_found, row.curves),
        ]);
    }
    let figure = ErrorMap { grid, names: ["x₁".into(), "x₂".into()], panels };
    let folder = study.results();
    folder.write_table("figure4", &rows, &table)?;
    folder.write_figure("figure4", &figure)?;
    print!("{}", table.text());
    println!("results in {}", folder.path().display());
    Ok(())
}

/// Designs for one target, (count, 2).
fn propose(
    model: &dyn InverseModel,
    target: f64,
    count: usize,
    streams: RandomStreams,
) -> Result<Array2<f64>, Box<dyn Error>> {
    let target = Array2::from_elem((1, 1), target);
    let proposals = model.propose(target.view(), count, &mut streams.stream("figure 4 proposals", 0))?;
    Ok(proposals.designs().index_axis(ndarray::Axis(0), 0).to_owned())
}

fn main() -> ExitCode {
    exit_code(run(Arguments::parse()))
}
