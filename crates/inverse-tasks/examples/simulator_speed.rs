//! Measures how many designs each task's simulator evaluates in a second on one core.
//!
//! `cargo run --release -p inverse-tasks --example simulator_speed`

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use inverse_core::RandomStreams;

const ROWS: usize = 1_000_000;
const REPEATS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    println!("{ROWS} prior designs a call, one thread, best of {REPEATS}");
    for name in inverse_tasks::names() {
        let task = inverse_tasks::by_name(name)?;
        let x = task.prior().sample(ROWS, &mut RandomStreams::new(1).stream("speed", 0));
        let mut best = Duration::MAX;
        for _ in 0..REPEATS {
            let start = Instant::now();
            black_box(task.simulate(black_box(x.view()))?);
            best = best.min(start.elapsed());
        }
        println!("{name:>12}: {:6.2} million rows/s", ROWS as f64 / best.as_secs_f64() / 1e6);
    }
    Ok(())
}
