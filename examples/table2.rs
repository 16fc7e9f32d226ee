//! Table 2: how long inference takes, one solution and 1,000, beside the paper's.
//!
//! `cargo run --release --example table2 [-- --profile paper]`
//!
//! Each time is the median of repeated calls after one that is not counted. Times are taken while no other process works on
//! the study; what else the machine does is not known, so leave it idle.

use std::process::ExitCode;

use clap::Parser;
use inverse::bench::{PaperItem, StudyArguments, exit_code, publish};

/// Times the inference of every method.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    study: StudyArguments,
}

fn main() -> ExitCode {
    exit_code(publish(&Arguments::parse().study, PaperItem::Table(2)))
}
