//! Table 5 and Figure 5: what Ω and the boundary loss do for the Neural-Adjoint method, on D1 and D3.
//!
//! `cargo run --release --example table5 [-- --authors] [-- --profile paper]`
//!
//! With `--authors` the surrogate is trained and searched with the authors' released settings (ReLU, batch
//! normalisation, 500 epochs, L2; 300 steps of Adam from a rate of 0.5, a boundary weight of 0.1): what such a
//! network says outside its data, and a search that gets there, are what the paper's ablation is about. The
//! profile then chooses the number of starts alone, 250 or the authors' 2,048.
//!
//! The four experiments share one surrogate a task; only the search differs. Without Ω, starts are uniform
//! over the domain, μ_x ± R_x / 2; the paper says "a uniform sampling distribution" and no more.

use std::process::ExitCode;

use clap::Parser;
use inverse::bench::{
    CurveFigure, Panel, Profile, Study, StudyArguments, StudyError, Table, TaskResult, exit_code, scientific,
};
use inverse::models::presets::{PresetMethod, Source};
use inverse::models::{InputDescentSettings, NeuralAdjoint, Starts};

/// Runs the paper's ablation E1 to E4 of NA.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    study: StudyArguments,
    /// Trains and searches with the authors' released settings instead of the tuned ones.
    #[arg(long)]
    authors: bool,
}

fn run(mut arguments: StudyArguments, authors: bool) -> Result<(), StudyError> {
    if arguments.tasks.is_empty() {
        arguments.tasks = vec!["ballistics".into(), "robotic-arm".into()];
    }
    let study = Study::new(&arguments, "results/table5")?;
    let mut results = Vec::new();
    let mut panels = Vec::new();
    for task in study.tasks() {
        let mut method = NeuralAdjoint::preset(task.name(), arguments.profile.source())?;
        if authors {
            let released = NeuralAdjoint::preset(task.name(), Source::Authors)?;
            method.surrogate = released.surrogate;
            method.descent = released.descent;
            if arguments.profile == Profile::Paper {
                method.start_count = released.start_count;
            }
        }
        let with = method.descent.clone();
        let without = InputDescentSettings { boundary_weight: 0.0, ..with.clone() };
        let experiments = [
            ("E1", Starts::Uniform, without.clone()),
            ("E2", Starts::Uniform, with.clone()),
            ("E3", Starts::Prior, without),
            ("E4", Starts::Prior, with),
        ];
        let variants = study.neural_adjoint_variants(&**task, &method, &experiments)?;
        let curves = variants.iter().map(TaskResult::panel_curve).collect();
        panels.push(Panel { title: task.name().to_owned(), curves, references: Vec::new() });
        results.extend(variants);
    }
    let rows = study.score_rows(&results, arguments.proposals, 5)?;
    let mut table =
        Table::new(&["task", "experiment", "Ω", "L_bnd", "r_T", "95% interval", "worst target", "paper"]);
    for row in &rows {
        let starts_from_prior = matches!(row.method.as_str(), "E3" | "E4");
        let bounded = matches!(row.method.as_str(), "E2" | "E4");
        let mark = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        table.push(vec![
            row.task.clone(),
            row.method.clone(),
            mark(starts_from_prior),
            mark(bounded),
            scientific(row.mean),
            format!("{} to {}", scientific(row.lower), scientific(row.upper)),
            scientific(row.worst),
            row.paper.map_or_else(String::new, scientific),
        ]);
    }
    let curves: Vec<_> = results.iter().flat_map(TaskResult::curve_rows).collect();
    let folder = study.results();
    folder.write_table("table5", &rows, &table)?;
    folder.write_csv("curves.csv", &curves)?;
    let figure = CurveFigure { panels };
    folder.write_figure("figure5", &figure)?;
    print!("{}", table.text());
    println!("results in {}", folder.path().display());
    Ok(())
}

fn main() -> ExitCode {
    let Arguments { study, authors } = Arguments::parse();
    exit_code(run(study, authors))
}
