//! Figure 4: where on D2, the sine wave, each method looks for y = -0.3.
//!
//! `cargo run --release --example figure4 [-- --profile paper]`
//!
//! The trainings are those of `table3`. The table tells how many of the curves f(x) = y a method finds: those with a
//! design within 0.05.

use std::process::ExitCode;

use clap::Parser;
use inverse::bench::{Study, StudyArguments, StudyError, exit_code};

/// Draws every method's designs for one target over the error of all designs.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    study: StudyArguments,
    /// The measurement that designs should have.
    #[arg(long, default_value_t = -0.3, allow_negative_numbers = true)]
    target: f64,
}

fn run(Arguments { study, target }: Arguments) -> Result<(), StudyError> {
    let study = Study::new(&study)?;
    study.show(&study.sine_map(target)?)
}

fn main() -> ExitCode {
    exit_code(run(Arguments::parse()))
}
