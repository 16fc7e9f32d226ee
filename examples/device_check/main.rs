//! Does a GPU compute what the processor does, and how fast? Parity of layers, gradients, optimiser and methods, then
//! the times of Tables 2 and 10.
//!
//! `cargo run --release --features cuda --example device_check [-- --device cuda:0 --out results/device]`
//!
//! `parity.csv`, `table2.csv`, `table10.csv` and `steps.csv` hold what is printed; with `pytorch.py` beside this file,
//! which times the same steps in PyTorch, they make docs/cuda.md. Exits with 3 where a parity check fails.

mod methods;
mod networks;
mod timing;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use inverse::core::Device;
use serde::Serialize;

/// Compares a device with the processor, then times it.
#[derive(Parser)]
struct Arguments {
    /// The device to check.
    #[arg(long, default_value = "cuda:0")]
    device: Device,
    /// Times nothing.
    #[arg(long)]
    parity_only: bool,
    /// Checks nothing.
    #[arg(long, conflicts_with = "parity_only")]
    timing_only: bool,
    /// Tasks to time the methods on.
    #[arg(long, value_delimiter = ',', default_value = "D1,D2,D3,D4")]
    tasks: Vec<String>,
    /// Folder for the CSV files.
    #[arg(long, default_value = "results/device")]
    out: PathBuf,
}

/// What a check computed, by name; the same names on every device.
type Values = Vec<(String, Vec<f64>)>;

/// One line of the parity table.
#[derive(Debug, Serialize)]
struct Parity {
    check: String,
    /// ‖device − processor‖ / ‖processor‖.
    relative_error: f64,
    bound: f64,
    numbers: usize,
}

impl Parity {
    fn holds(&self) -> bool {
        // NaN holds nowhere.
        self.relative_error <= self.bound
    }
}

/// Compares what two devices computed, name by name; what one of them lacks fails.
fn compare(check: &str, expected: &Values, found: &Values, bound: f64) -> Vec<Parity> {
    let nothing = Vec::new();
    let of = |values: &Values, wanted: &str| values.iter().position(|(name, _)| name == wanted);
    let surplus =
        found.iter().filter(|(name, _)| of(expected, name).is_none()).map(|(name, _)| (name, &nothing));
    expected
        .iter()
        .map(|(name, values)| (name, values))
        .chain(surplus)
        .map(|(name, expected)| {
            let found = of(found, name).map_or(&nothing, |index| &found[index].1);
            let square =
                |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
            let difference = square(&mut expected.iter().zip(found).map(|(a, b)| a - b)).sqrt();
            let size = square(&mut expected.iter().copied()).sqrt();
            let complete = expected.len() == found.len();
            Parity {
                check: format!("{check}: {name}"),
                relative_error: if complete { difference / size.max(f64::MIN_POSITIVE) } else { f64::NAN },
                bound,
                numbers: found.len(),
            }
        })
        .collect()
}

fn check(device: Device) -> Result<Vec<Parity>, Box<dyn Error>> {
    let mut lines = networks::check(device)?;
    lines.extend(methods::check(device)?);
    println!("| parity | relative error | bound | numbers | |");
    println!("|---|---|---|---|---|");
    for line in &lines {
        let verdict = if line.holds() { "holds" } else { "FAILS" };
        let Parity { check, relative_error, bound, numbers } = line;
        println!("| {check} | {relative_error:.1e} | {bound:.0e} | {numbers} | {verdict} |");
    }
    let failed = lines.iter().filter(|line| !line.holds()).count();
    println!("\n{} checks, {failed} failed\n", lines.len());
    Ok(lines)
}

fn write_csv<T: Serialize>(folder: &std::path::Path, name: &str, rows: &[T]) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    let mut writer = csv::Writer::from_path(folder.join(name))?;
    rows.iter().try_for_each(|row| writer.serialize(row))?;
    Ok(writer.flush()?)
}

fn run(arguments: &Arguments) -> Result<bool, Box<dyn Error>> {
    // First, so that a missing device is said at once.
    inverse::models::open_device(arguments.device)?;
    let mut sound = true;
    if !arguments.timing_only {
        let lines = check(arguments.device)?;
        sound = lines.iter().all(Parity::holds);
        write_csv(&arguments.out, "parity.csv", &lines)?;
    }
    if !arguments.parity_only {
        let steps = timing::steps(arguments.device)?;
        write_csv(&arguments.out, "steps.csv", &steps)?;
        let (inference, training) = timing::tables(arguments.device, &arguments.tasks)?;
        write_csv(&arguments.out, "table2.csv", &inference)?;
        write_csv(&arguments.out, "table10.csv", &training)?;
    }
    Ok(sound)
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(3),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
