//! Tables 3 and 7 and Figure 3: r_T of every method on the paper's tasks.
//!
//! ```text
//! cargo run --release --example table3                     # minutes: small networks
//! cargo run --release --example table3 -- --profile paper  # the paper's sizes
//! cargo run --release --example table3 -- --method NA --task D1
//! ```
//!
//! What is finished is kept in the folder of results: a second run, also after a crash, goes on from there.

use std::process::ExitCode;

use clap::Parser;
use inverse::bench::{PaperItem, StudyArguments, exit_code, publish};

/// Trains every method on the paper's tasks and prints r_T beside the paper's figures.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    study: StudyArguments,
}

fn main() -> ExitCode {
    exit_code(publish(&Arguments::parse().study, PaperItem::Table(3)))
}
