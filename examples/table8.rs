//! Table 8: trainable parameters of each method on each task, in millions.
//!
//! `cargo run --release --example table8`
//!
//! Counted from the settings; nothing is trained. The authors' settings are compared with the paper's figures;
//! the tuned ones are those behind our own tables.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use inverse::bench::{ResultFolder, Table, exit_code, paper_table};
use inverse::models::presets::Source;
use inverse::models::{AnyMethod, method_by_name, method_names};

/// Prints the number of parameters of each method beside the paper's.
#[derive(Parser)]
struct Arguments {
    /// Where the table goes.
    #[arg(long, default_value = "results/table8")]
    out: PathBuf,
}

fn run(out: &Path) -> Result<(), Box<dyn Error>> {
    let results = ResultFolder::create(out)?;
    let paper = paper_table(8)?;
    let mut table = Table::new(&["task", "method", "authors' settings", "paper", "tuned settings"]);
    for task in inverse::tasks::names() {
        let simulator = inverse::tasks::by_name(task)?;
        for name in method_names() {
            let millions = |method: &dyn AnyMethod| {
                let count = method.parameter_count(simulator.dim_x(), simulator.dim_y());
                format!("{:.2}", count as f64 / 1e6)
            };
            let tuned = method_by_name(name, task, Source::Tuned)?;
            let label = tuned.label();
            let printed = paper.value(task, label).map_or_else(String::new, |value| format!("{value:.1}"));
            // Empty where the authors' network has layers that are not built here.
            let authors = method_by_name(name, task, Source::Authors);
            let authors = authors.map_or_else(|_| String::new(), |method| millions(&*method));
            let tuned = millions(&*tuned);
            table.push(vec![(*task).to_owned(), label.to_owned(), authors, printed, tuned]);
        }
    }
    results.write("table8.md", table.markdown().as_bytes())?;
    print!("{}", table.text());
    println!("results in {}", results.path().display());
    Ok(())
}

fn main() -> ExitCode {
    exit_code(run(&Arguments::parse().out))
}
