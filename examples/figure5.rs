//! Figure 5: what Ω and the boundary loss do for the Neural-Adjoint method, as curves; see `table5`.
//!
//! `cargo run --release --example figure5 [-- --profile paper]`

use std::process::ExitCode;

use clap::Parser;
use inverse::bench::{PaperItem, StudyArguments, exit_code, publish};

/// Draws the paper's ablation E1 to E4 of NA.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    study: StudyArguments,
}

fn main() -> ExitCode {
    exit_code(publish(&Arguments::parse().study, PaperItem::Figure(5)))
}
