//! Figures 6 and 7: why the boundary loss helps, on one period of a sine (section 8.3).
//!
//! `cargo run --release --example figure6_7`
//!
//! A small network knows y = sin x on [-π, π] and makes something up outside. How wrong that is depends on
//! the seed, so several networks are trained. A design looks right when the network puts it within 0.001 of
//! the target: without the boundary loss, designs outside look as right as designs inside, and only rounding
//! ranks them; with it, they do not look right. The figure shows the network that is most wrong about them.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use inverse::bench::{ResultFolder, Study, StudyError, exit_code};

/// Trains small networks on a sine and inverts them with and without the boundary loss.
#[derive(Parser)]
struct Arguments {
    /// The seed of the first network; the others follow it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many networks to train.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=1000))]
    networks: u64,
    /// Folder for results.
    #[arg(long, value_name = "FOLDER", default_value = "results/figure6_7")]
    out: PathBuf,
}

fn run(arguments: Arguments) -> Result<(), StudyError> {
    let folder = ResultFolder::create(arguments.out)?;
    let figure = Study::boundary_toy(arguments.seed, arguments.networks)?;
    figure.write(&folder)?;
    print!("{}", figure.text());
    println!("results in {}", folder.path().display());
    Ok(())
}

fn main() -> ExitCode {
    exit_code(run(Arguments::parse()))
}
