//! Table 7: r_1, the error of one proposal, of every method on the paper's tasks.
//!
//! `cargo run --release --example table7 [-- --profile paper]`
//!
//! The trainings are those of `table3`: after it, this takes seconds.

use std::process::ExitCode;

use clap::Parser;
use inverse::bench::{Study, StudyArguments, StudyError, exit_code, score_table};

/// Trains every method on the paper's tasks and prints r_1 beside the paper's figures.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    study: StudyArguments,
}

fn run(arguments: StudyArguments) -> Result<(), StudyError> {
    let study = Study::new(&StudyArguments { proposals: 1, ..arguments }, "results/table3")?;
    let rows = study.score_rows(&study.grid()?, 1, 7)?;
    let table = score_table(&rows);
    study.results().write_table("table7", &rows, &table)?;
    print!("{}", table.text());
    println!("results in {}", study.results().path().display());
    Ok(())
}

fn main() -> ExitCode {
    exit_code(run(Arguments::parse().study))
}
