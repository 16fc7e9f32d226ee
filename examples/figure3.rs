//! Figure 3: r_T against T of every method on the paper's tasks.
//!
//! `cargo run --release --example figure3 [-- --profile paper]`
//!
//! The scores are those of `table3`.

use std::process::ExitCode;

use clap::Parser;
use inverse::bench::{PaperItem, StudyArguments, exit_code, publish};

/// Draws r_T against T of every method.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    study: StudyArguments,
}

fn main() -> ExitCode {
    exit_code(publish(&Arguments::parse().study, PaperItem::Figure(3)))
}
