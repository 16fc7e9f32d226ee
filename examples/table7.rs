//! Table 7: r_1, the error of one proposal, of every method on the paper's tasks.
//!
//! `cargo run --release --example table7 [-- --profile paper]`
//!
//! The trainings are those of `table3`: after it, this takes seconds.

use std::process::ExitCode;

use clap::Parser;
use inverse::bench::{PaperItem, StudyArguments, exit_code, publish};

/// Trains every method on the paper's tasks and prints r_1 beside the paper's figures.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    study: StudyArguments,
}

fn main() -> ExitCode {
    exit_code(publish(&Arguments::parse().study, PaperItem::Table(7)))
}
