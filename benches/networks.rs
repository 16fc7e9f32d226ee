//! One step of training and of search, one pass in use, and the matrix products they cannot avoid.
//!
//! `cargo bench --bench networks`
#![allow(missing_docs, reason = "criterion's macros write functions of their own")]

use std::error::Error;
use std::hint::black_box;

use candle_core::{DType, Device, Result as TensorResult, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use inverse::core::Stream;
use inverse::models::nn::{
    Activation, Coupling, Flow, FlowSettings, Mlp, MlpSettings, Objective, Pairs, TrainableNetwork,
    TrainingSettings, train,
};
use inverse::prelude::*;
use rand::RngExt;

/// The paper's surrogate of D1.
fn surrogate(batch_norm: bool) -> MlpSettings {
    let activation = if batch_norm { Activation::Relu } else { Activation::Silu };
    MlpSettings { inputs: 4, hidden: vec![500; 3], outputs: 1, activation, batch_norm }
}

fn stream(purpose: &str) -> Stream {
    RandomStreams::new(1).stream(purpose, 0)
}

/// Numbers between −1 and 1; not `Tensor::randn`, for candle's generator cannot be seeded in host memory.
fn numbers(rows: usize, columns: usize) -> TensorResult<Tensor> {
    let mut stream = stream("numbers");
    let values: Vec<f32> = (0..rows * columns).map(|_| stream.random_range(-1.0..1.0)).collect();
    Tensor::from_vec(values, (rows, columns), &Device::Cpu)
}

/// The mean squared error, by candle's graph: what an objective of one's own gets.
struct SquaredError(Mlp);

impl Objective for SquaredError {
    fn stage(&self) -> &'static str {
        "squared error"
    }

    fn networks(&self) -> Vec<&dyn TrainableNetwork> {
        vec![&self.0]
    }

    fn training_loss(&self, batch: &Pairs, _noise: &mut Stream) -> TensorResult<Tensor> {
        (self.0.forward(&batch.x)? - &batch.y)?.sqr()?.mean_all()
    }

    fn validation_loss(&self, pairs: &Pairs, _noise: &mut Stream) -> TensorResult<f64> {
        let y = self.0.freeze()?.forward(&pairs.x)?;
        (y - &pairs.y)?.sqr()?.mean_all()?.to_scalar::<f32>().map(f64::from)
    }
}

/// Ten steps, one epoch, of each batch size, with and without normalisation.
fn training(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let mut group = criterion.benchmark_group("ten training steps");
    for (rows, batch_norm) in [(128, false), (128, true), (1024, false), (1024, true)] {
        let pairs = Pairs { x: numbers(10 * rows, 4)?, y: numbers(10 * rows, 1)? };
        let held_out = Pairs { x: numbers(1, 4)?, y: numbers(1, 1)? };
        let settings = TrainingSettings { epochs: 1, batch_size: rows, ..TrainingSettings::default() };
        let name = if batch_norm { "normalised" } else { "plain" };
        group.throughput(Throughput::Elements(10 * rows as u64));
        let network = Mlp::new(&surrogate(batch_norm), &Device::Cpu, &mut stream("weights"))?;
        let objective = SquaredError(network);
        group.bench_function(BenchmarkId::new(name, rows), |bench| {
            bench.iter(|| {
                let mut context = FitContext::new(1);
                train(&objective, &pairs, &held_out, &settings, "bench", &mut context).map(black_box)
            });
        });
    }
    group.finish();
    Ok(())
}

/// The gradient of the input, which each step of NA takes, and the output alone.
fn frozen(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let network = Mlp::new(&surrogate(false), &Device::Cpu, &mut stream("weights"))?.freeze()?;
    let mut group = criterion.benchmark_group("fixed weights");
    for rows in [1, 128, 2048] {
        let (x, y) = (numbers(rows, 4)?, numbers(rows, 1)?);
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function(BenchmarkId::new("error and input gradient", rows), |bench| {
            bench.iter(|| network.error_and_gradient(&x, &y, &[1.0]).map(black_box));
        });
        group.bench_function(BenchmarkId::new("output", rows), |bench| {
            bench.iter(|| network.forward(&x).map(black_box));
        });
    }
    group.finish();
    Ok(())
}

/// A flow of six blocks, each way.
fn flows(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let mut group = criterion.benchmark_group("flow, 1,000 rows");
    let couplings =
        [("affine", Coupling::Affine { clamp: 2.0 }), ("spline", Coupling::Spline { bins: 8, bound: 5.0 })];
    for (name, coupling) in couplings {
        let settings =
            FlowSettings { blocks: 6, hidden: vec![256; 2], coupling, activation: Activation::Silu };
        let flow = Flow::new(&settings, 4, 1, &Device::Cpu, &mut stream("flow"))?.freeze()?;
        let (x, y) = (numbers(1000, 4)?.to_dtype(DType::F64)?, numbers(1000, 1)?);
        group.bench_function(BenchmarkId::new("forward", name), |bench| {
            bench.iter(|| flow.forward(&x, Some(&y)).map(black_box));
        });
        group.bench_function(BenchmarkId::new("inverse", name), |bench| {
            bench.iter(|| flow.inverse(&x, Some(&y)).map(black_box));
        });
    }
    group.finish();
    Ok(())
}

/// candle's matrix product of the hidden layers' size: the yardstick beside the steps.
fn products(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let weight = numbers(500, 500)?;
    let mut group = criterion.benchmark_group("candle's product with (500, 500)");
    for rows in [128, 1024, 2048] {
        let batch = numbers(rows, 500)?;
        group.throughput(Throughput::ElementsAndBytes { elements: (rows * 500 * 500) as u64, bytes: 0 });
        group.bench_function(BenchmarkId::from_parameter(rows), |bench| {
            bench.iter(|| batch.matmul(&weight).map(black_box));
        });
    }
    group.finish();
    Ok(())
}

fn all(criterion: &mut Criterion) {
    for bench in [training, frozen, flows, products] {
        if let Err(error) = bench(criterion) {
            eprintln!("{error}");
            std::process::exit(1);
        }
    }
}

criterion_group!(benches, all);
criterion_main!(benches);
