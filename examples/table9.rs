//! Table 9: size of each saved model, in megabytes.
//!
//! `cargo run --release --example table9`
//!
//! A file's size does not depend on how well its model is trained: one epoch on few pairs makes it. The
//! models are of the authors' sizes. Files here hold what inference needs: batch normalisation is folded
//! into the weights, and a cVAE keeps no encoder.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use inverse::bench::{ResultFolder, Table, exit_code, paper_table};
use inverse::core::{Dataset, FitContext, RandomStreams};
use inverse::models::presets::Source;
use inverse::models::{method_by_name, method_names};

/// Prints the size of each method's saved model beside the paper's.
#[derive(Parser)]
struct Arguments {
    /// Where the table goes.
    #[arg(long, default_value = "results/table9")]
    out: PathBuf,
}

fn run(out: &Path) -> Result<(), Box<dyn Error>> {
    let results = ResultFolder::create(out)?;
    let paper = paper_table(9)?;
    let mut table = Table::new(&["task", "method", "MB", "paper"]);
    let folder = std::env::temp_dir().join(format!("inverse-table9-{}", std::process::id()));
    for task in inverse::tasks::names() {
        let simulator = inverse::tasks::by_name(task)?;
        let streams = RandomStreams::new(1);
        let data = Dataset::from_task(&*simulator, 10_000, &mut streams.stream("data", 0))?;
        for name in method_names() {
            // Left out where the authors' network has layers that are not built here.
            let Ok(method) = method_by_name(name, task, Source::Authors) else { continue };
            let method = method.with_epochs(1)?;
            let model = method.fit(&data, &mut FitContext::new(1))?;
            model.save(&folder)?;
            let bytes = std::fs::metadata(folder.join("model.safetensors"))?.len();
            let label = method.label();
            let printed = paper.value(task, label).map_or_else(String::new, |value| value.to_string());
            let own = format!("{:.1}", bytes as f64 / 1e6);
            table.push(vec![(*task).to_owned(), label.to_owned(), own, printed]);
        }
    }
    std::fs::remove_dir_all(&folder)?;
    results.write("table9.md", table.markdown().as_bytes())?;
    print!("{}", table.text());
    println!("results in {}", results.path().display());
    Ok(())
}

fn main() -> ExitCode {
    exit_code(run(&Arguments::parse().out))
}
