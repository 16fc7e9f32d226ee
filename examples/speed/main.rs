//! This library's side of the comparison with PyTorch on the processor; `benches/pytorch/compare.py` runs both.
//!
//! ```text
//! cargo run --release --example speed -- cells            the cells and their sizes, as JSON
//! cargo run --release --example speed -- data FOLDER      the tasks' data, as raw 32-bit floats
//! cargo run --release --example speed -- worker D1 NA     one cell: times what it is asked for, line by line
//! cargo run --release --example speed -- growth           how cost grows with each size
//! cargo run --release --example speed -- peak             what the cores can do at most
//! ```
//!
//! An example and no benchmark target, for the script must find the program under a name that does not change.

mod cells;
mod growth;
mod peak;
mod products;
mod worker;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use ndarray::ArrayView2;

/// One side of the comparison with PyTorch on the processor.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Prints every cell and its sizes as JSON.
    Cells,
    /// Writes the tasks' data for PyTorch.
    Data {
        /// Where to; made where it does not exist.
        folder: PathBuf,
    },
    /// Answers `train`, `infer`, `floor-train`, `floor-infer`, `peak-train`, `peak-infer` and `quit`, one line each, by
    /// seconds (`quit`: KiB).
    Worker {
        /// A task's name.
        task: String,
        /// A method's name.
        method: String,
    },
    /// Prints how the cost of a step grows with rows, widths, dimensions and targets.
    Growth,
    /// Prints the most 32-bit operations a second of all threads together.
    Peak,
}

fn main() -> Result<(), Box<dyn Error>> {
    match Arguments::parse().command {
        Command::Cells => {
            println!("{}", serde_json::to_string_pretty(&cells::all()?)?);
            Ok(())
        }
        Command::Data { folder } => write_data(&folder),
        Command::Worker { task, method } => worker::serve(&task, &method),
        Command::Growth => growth::print(),
        Command::Peak => {
            println!("{:.0} GFLOP/s", peak::operations_a_second() / 1e9);
            Ok(())
        }
    }
}

/// Designs and measurements of each task, row-major 32-bit floats of this machine's byte order.
fn write_data(folder: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    for task in cells::TASKS {
        let data = cells::data(task)?;
        fs::write(folder.join(format!("{task}.x")), bytes(data.x()))?;
        fs::write(folder.join(format!("{task}.y")), bytes(data.y()))?;
    }
    Ok(())
}

fn bytes(values: ArrayView2<'_, f64>) -> Vec<u8> {
    values.iter().flat_map(|value| (*value as f32).to_ne_bytes()).collect()
}
