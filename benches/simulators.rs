//! What each task's simulator takes for designs of its prior, and its Jacobian where it has one.
//!
//! `cargo bench --bench simulators`
#![allow(missing_docs, reason = "criterion's macros write functions of their own")]

use std::error::Error;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use inverse::prelude::*;
use inverse::tasks::metamaterial::MetamaterialTask;
use inverse::tasks::{self, Ballistics, RoboticArm, SineWave};
use ndarray::Array2;

/// Designs a call.
const ROWS: usize = 1000;

/// The solver takes a hundred times as long as the network that stands in for it.
const SOLVER_ROWS: usize = 10;

fn designs(task: &dyn Task, rows: usize) -> Array2<f64> {
    task.prior().sample(rows, &mut RandomStreams::new(1).stream("designs", 0))
}

fn simulations(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let mut group = criterion.benchmark_group("simulate");
    let mut bench = |name: &str, task: &dyn Task, rows: usize| {
        let x = designs(task, rows);
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |bench| {
            bench.iter(|| task.simulate(black_box(x.view())).map(black_box));
        });
    };
    for name in tasks::names() {
        bench(name, &*tasks::by_name(name)?, ROWS);
    }
    bench("metamaterial, solver", &MetamaterialTask::new(), SOLVER_ROWS);
    group.finish();
    Ok(())
}

fn jacobians(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("Jacobian");
    let mut bench = |name: &str, simulator: &dyn DifferentiableSimulator, x: Array2<f64>| {
        group.throughput(Throughput::Elements(x.nrows() as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |bench| {
            bench.iter(|| simulator.jacobian(black_box(x.view())).map(black_box));
        });
    };
    let (ballistics, sine, arm) = (Ballistics::new(), SineWave::new(), RoboticArm::new());
    let solver = MetamaterialTask::new();
    bench(Ballistics::NAME, &ballistics, designs(&ballistics, ROWS));
    bench(SineWave::NAME, &sine, designs(&sine, ROWS));
    bench(RoboticArm::NAME, &arm, designs(&arm, ROWS));
    bench("metamaterial, solver", &solver, designs(&solver, SOLVER_ROWS));
    group.finish();
}

fn all(criterion: &mut Criterion) {
    if let Err(error) = simulations(criterion) {
        eprintln!("{error}");
        std::process::exit(1);
    }
    jacobians(criterion);
}

criterion_group!(benches, all);
criterion_main!(benches);
