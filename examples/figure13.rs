//! Figures 2 and 13: D4 scored by the solver itself; how much of a method's error is the proxy's.
//!
//! `cargo run --release --example figure13 [-- --profile paper]`
//!
//! Targets are spectra of the proxy, the task's f, and models are those of `table3`. The designs proposed for them are
//! simulated twice: by the proxy, which gives Table 3's r_T, and by the solver that it stands for. The line "true
//! designs" is of the designs behind the targets: under the solver it has the proxy's own error, a floor for
//! methods that know the proxy only.

use std::process::ExitCode;

use clap::Parser;
use inverse::bench::{PaperItem, StudyArguments, exit_code, publish};

/// Scores every method on D4 under the proxy and under the solver.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    study: StudyArguments,
}

fn main() -> ExitCode {
    exit_code(publish(&Arguments::parse().study, PaperItem::Figure(13)))
}
