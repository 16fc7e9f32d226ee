//! Figure 8: what the boundary loss does for the tandem model, on D1 and D3.
//!
//! `cargo run --release --example figure8 [-- --profile paper]`

use std::process::ExitCode;

use clap::Parser;
use inverse::bench::{PaperItem, StudyArguments, exit_code, publish};

/// Trains the tandem model with and without the boundary loss.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    study: StudyArguments,
}

fn main() -> ExitCode {
    exit_code(publish(&Arguments::parse().study, PaperItem::Figure(8)))
}
