//! Table 4: how well each method's proposals match the true posterior p(x | y), by MMD.
//!
//! `cargo run --release --example table4 [-- --profile paper]`
//!
//! The trainings are those of `table3`. The reference is drawn by rejection (section 8.1): prior draws whose
//! measurement lies within a hundredth of its standard deviation of the target. Designs are compared in units
//! of the prior's standard deviations, as many proposals as reference draws, and the figure is the mean over
//! targets of the biased MMD² under the paper's three kernels. A target whose reference is not complete is
//! left out, and counted; only a number of draws ends the search for one, so that no result depends on the speed of
//! the machine. The numbers of targets (`--targets`) and proposals, and the width of the band, are ours: the paper
//! prints none. The last row of a task is the floor: two halves of the reference against each other.

use std::process::ExitCode;

use clap::Parser;
use inverse::bench::{PaperItem, StudyArguments, exit_code, publish};

/// Compares each method's proposals with the true posterior.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    study: StudyArguments,
}

fn main() -> ExitCode {
    exit_code(publish(&Arguments::parse().study, PaperItem::Table(4)))
}
