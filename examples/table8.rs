//! Table 8: trainable parameters of each method on each task, in millions.
//!
//! `cargo run --release --example table8 [-- --profile paper]`
//!
//! Counted from the settings; nothing is trained. The authors' settings are compared with the paper's figures; the
//! profile's own are those behind the other tables.

use std::process::ExitCode;

use clap::Parser;
use inverse::bench::{PaperItem, StudyArguments, exit_code, publish};

/// Prints the number of parameters of each method beside the paper's.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    study: StudyArguments,
}

fn main() -> ExitCode {
    exit_code(publish(&Arguments::parse().study, PaperItem::Table(8)))
}
