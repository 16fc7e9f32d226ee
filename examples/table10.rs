//! Table 10: how long training takes, beside the paper's.
//!
//! `cargo run --release --example table10 [-- --profile paper]`
//!
//! The trainings are those of `table3`. A training of several sittings has their times added up.

use std::process::ExitCode;

use clap::Parser;
use inverse::bench::{PaperItem, StudyArguments, exit_code, publish};

/// Times the training of every method.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    study: StudyArguments,
}

fn main() -> ExitCode {
    exit_code(publish(&Arguments::parse().study, PaperItem::Table(10)))
}
