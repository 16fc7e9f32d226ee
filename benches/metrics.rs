//! r_T and its interval, MMD and solution modes.
//!
//! `cargo bench --bench metrics`
#![allow(missing_docs, reason = "criterion's macros write functions of their own")]

use std::error::Error;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use inverse::metrics::{Mmd, ModeClustering, SolutionModes, resimulate};
use inverse::prelude::*;
use inverse::tasks;
use ndarray::Array3;

/// Targets and proposals of the paper's Figure 3, a tenth of its targets.
const TARGETS: usize = 100;
const PROPOSALS: usize = 200;

fn resimulation(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let mut group = criterion.benchmark_group("re-simulation");
    for name in ["D1", "D2", "D3", "D4"] {
        let task = tasks::by_name(name)?;
        let mut stream = RandomStreams::new(1).stream("designs", 0);
        let y = task.simulate(task.prior().sample(TARGETS, &mut stream).view())?;
        let designs = task.prior().sample(TARGETS * PROPOSALS, &mut stream);
        let shape = (TARGETS, PROPOSALS, task.dim_x());
        let proposals = Proposals::new(Array3::from_shape_vec(shape, designs.into_iter().collect())?)?;
        group.throughput(Throughput::Elements((TARGETS * PROPOSALS) as u64));
        group.bench_function(BenchmarkId::new("errors", name), |bench| {
            bench.iter(|| resimulate(&*task, &proposals, y.view()).map(black_box));
        });
        if name == "D1" {
            let errors = resimulate(&*task, &proposals, y.view())?;
            group.bench_function("interval, 2,000 resamples", |bench| {
                bench.iter(|| {
                    let mut stream = RandomStreams::new(1).stream("bootstrap", 0);
                    errors.confidence_interval(PROPOSALS, 0.95, 2000, &mut stream).map(black_box)
                });
            });
        }
    }
    group.finish();
    Ok(())
}

fn samples(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let task = tasks::by_name("D3")?;
    let mut group = criterion.benchmark_group("samples");
    for rows in [1000, 4000] {
        let mut stream = RandomStreams::new(1).stream("samples", 0);
        let (a, b) = (task.prior().sample(rows, &mut stream), task.prior().sample(rows, &mut stream));
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function(BenchmarkId::new("MMD²", rows), |bench| {
            bench.iter(|| Mmd::default().squared(a.view(), b.view()).map(black_box));
        });
        group.bench_function(BenchmarkId::new("modes", rows), |bench| {
            let clustering = ModeClustering::default();
            bench.iter(|| SolutionModes::new(a.view(), task.prior().domain(), &clustering).map(black_box));
        });
    }
    group.finish();
    Ok(())
}

fn all(criterion: &mut Criterion) {
    for bench in [resimulation, samples] {
        if let Err(error) = bench(criterion) {
            eprintln!("{error}");
            std::process::exit(1);
        }
    }
}

criterion_group!(benches, all);
criterion_main!(benches);
