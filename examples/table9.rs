//! Table 9: size of each saved model, in megabytes.
//!
//! `cargo run --release --example table9 [-- --authors] [-- --profile paper]`
//!
//! The models are those of `table3`; with `--authors`, models of the authors' sizes, in `table9_authors.md` and `.csv`.
//! A file's size does not depend on how well its model is trained: one epoch makes those. Files here hold what
//! inference needs: batch normalisation is folded into the weights, and a cVAE keeps no encoder.

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use inverse::bench::{PaperItem, Study, StudyArguments, Table, exit_code, paper_table};
use inverse::core::{Dataset, FitContext, InvalidArgument, RandomStreams};
use inverse::models::method_by_name;
use inverse::models::presets::Source;
use serde::Serialize;

/// Prints the size of each method's saved model beside the paper's.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    study: StudyArguments,
    /// Measures models of the authors' sizes instead of the study's.
    #[arg(long)]
    authors: bool,
}

/// One model's file.
#[derive(Serialize)]
struct Row<'a> {
    task: &'a str,
    method: &'static str,
    bytes: u64,
    paper_megabytes: Option<f64>,
}

/// Refuses what one epoch of each model and the size of its file do not depend on.
fn check(study: &StudyArguments) -> Result<(), InvalidArgument> {
    let counts =
        [("--trainings", study.trainings), ("--targets", study.targets), ("--proposals", study.proposals)];
    let given = counts.into_iter().find_map(|(name, count)| Some((name, count?.to_string())));
    let folder = study.tensorboard.as_ref().map(|folder| ("--tensorboard", folder.display().to_string()));
    given.or(folder).map_or(Ok(()), |(name, found)| {
        Err(InvalidArgument::new(name, "no such option with `--authors`", found))
    })
}

/// Models of the authors' sizes, each trained for one epoch.
fn authors_sizes(study: &Study) -> Result<(), Box<dyn Error>> {
    let paper = paper_table(9)?;
    let (mut rows, mut table) = (Vec::new(), Table::new(&["task", "method", "MB", "paper"]));
    let (seed, device) = (study.arguments().seed(), study.arguments().device());
    let folder = tempfile::tempdir()?;
    for task in study.tasks() {
        let data = Dataset::from_task(&**task, 10_000, &mut RandomStreams::new(seed).stream("data", 0))?;
        for name in study.methods() {
            // Left out where the authors released no settings.
            let Ok(method) = method_by_name(name, task.name(), Source::Authors) else { continue };
            let mut context = FitContext::new(seed).with_device(device);
            method.with_epochs(1)?.fit(&data, &mut context)?.save(folder.path())?;
            let bytes = std::fs::metadata(folder.path().join("model.safetensors"))?.len();
            let (task, method) = (task.name(), method.label());
            let paper_megabytes = paper.value(task, method);
            let printed = paper_megabytes.map_or_else(String::new, |value| value.to_string());
            table.push(vec![task.into(), method.into(), format!("{:.1}", bytes as f64 / 1e6), printed]);
            rows.push(Row { task, method, bytes, paper_megabytes });
        }
    }
    study.results().write_table("table9_authors", &rows, &table)?;
    print!("{}", table.text());
    println!("results in {}", study.results().path().display());
    Ok(())
}

fn run(Arguments { study, authors }: Arguments) -> Result<(), Box<dyn Error>> {
    if authors {
        check(&study)?;
        return authors_sizes(&Study::new(&study)?);
    }
    Ok(Study::new(&study)?.publish(PaperItem::Table(9))?)
}

fn main() -> ExitCode {
    exit_code(run(Arguments::parse()))
}
