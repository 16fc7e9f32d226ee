//! Measures how long the metamaterial's solver takes for a geometry, and the task's proxy where its feature is on.
//!
//! `RAYON_NUM_THREADS=1 cargo run --release -p inverse-tasks --example metamaterial_speed [--features metamaterial-proxy]`

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use inverse_core::{Prior, RandomStreams, Simulator};
use inverse_tasks::metamaterial::{self, MetamaterialSettings, MetamaterialSolver};

const ROWS: usize = 500;
const REPEATS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let solver = MetamaterialSolver::new(MetamaterialSettings::default())?;
    println!("lattice sums of {} frequencies: {:.1} ms", solver.dim_y(), milliseconds(start.elapsed()));

    let x = metamaterial::prior().sample(ROWS, &mut RandomStreams::new(1).stream("speed", 0));
    let mut best = Duration::MAX;
    for _ in 0..REPEATS {
        let start = Instant::now();
        black_box(solver.simulate(black_box(x.view()))?);
        best = best.min(start.elapsed());
    }
    let threads = std::env::var("RAYON_NUM_THREADS").unwrap_or_else(|_| "all".to_owned());
    println!(
        "{ROWS} prior designs a call, {threads} thread(s), best of {REPEATS}: {:.3} ms a geometry",
        milliseconds(best) / ROWS as f64
    );
    #[cfg(feature = "metamaterial-proxy")]
    proxy(x.view())?;
    Ok(())
}

/// Prints what the task needs to be ready, and its speed.
#[cfg(feature = "metamaterial-proxy")]
fn proxy(x: ndarray::ArrayView2<'_, f64>) -> Result<(), Box<dyn Error>> {
    use inverse_tasks::metamaterial::MetamaterialTask;

    let start = Instant::now();
    let task = MetamaterialTask::new();
    task.simulate(x.slice(ndarray::s![..1, ..]))?;
    println!("proxy: ready, with a first spectrum, after {:.1} ms", milliseconds(start.elapsed()));
    let mut best = Duration::MAX;
    for _ in 0..4 * REPEATS {
        let start = Instant::now();
        black_box(task.simulate(black_box(x))?);
        best = best.min(start.elapsed());
    }
    println!("proxy: {:.0} spectra a second", ROWS as f64 / best.as_secs_f64());
    Ok(())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
