//! Table 9: size of each saved model, in megabytes.
//!
//! `cargo run --release --example table9 [-- --authors] [-- --profile paper]`
//!
//! The models are those of `table3`; with `--authors`, models of the authors' sizes. A file's size does not depend on
//! how well its model is trained: one epoch makes those. Files here hold what inference needs: batch normalisation is
//! folded into the weights, and a cVAE keeps no encoder.

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use inverse::bench::{PaperItem, Study, StudyArguments, Table, exit_code, paper_table};
use inverse::core::{Dataset, FitContext, RandomStreams};
use inverse::models::method_by_name;
use inverse::models::presets::Source;

/// Prints the size of each method's saved model beside the paper's.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    study: StudyArguments,
    /// Measures models of the authors' sizes instead of the study's.
    #[arg(long)]
    authors: bool,
}

fn run(Arguments { study, authors }: Arguments) -> Result<(), Box<dyn Error>> {
    let study = Study::new(&study)?;
    if !authors {
        return Ok(study.publish(PaperItem::Table(9))?);
    }
    let paper = paper_table(9)?;
    let mut table = Table::new(&["task", "method", "MB", "paper"]);
    let folder = tempfile::tempdir()?;
    for task in study.tasks() {
        let data = Dataset::from_task(&**task, 10_000, &mut RandomStreams::new(1).stream("data", 0))?;
        for name in study.methods() {
            // Left out where the authors released no settings.
            let Ok(method) = method_by_name(name, task.name(), Source::Authors) else { continue };
            let model = method.with_epochs(1)?.fit(&data, &mut FitContext::new(1))?;
            model.save(folder.path())?;
            let bytes = std::fs::metadata(folder.path().join("model.safetensors"))?.len();
            let printed = paper.value(task.name(), method.label());
            let printed = printed.map_or_else(String::new, |value| value.to_string());
            let own = format!("{:.1}", bytes as f64 / 1e6);
            table.push(vec![task.name().into(), method.label().into(), own, printed]);
        }
    }
    study.results().write("table9.md", table.markdown().as_bytes())?;
    print!("{}", table.text());
    println!("results in {}", study.results().path().display());
    Ok(())
}

fn main() -> ExitCode {
    exit_code(run(Arguments::parse()))
}
