//! Times one training step and one input-gradient step against the matrix products they cannot avoid.
//!
//! `cargo run --release -p inverse-models --example step_speed`

use std::time::Instant;

use candle_core::{Device, Result, Tensor};
use inverse_core::RandomStreams;
use inverse_models::nn::{Activation, Mlp, MlpSettings, TrainableNetwork};
use rand::RngExt;

fn median_seconds(mut run: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..21 {
        let start = Instant::now();
        run()?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times[10])
}

fn main() -> Result<()> {
    let device = Device::Cpu;
    let settings = MlpSettings {
        inputs: 4,
        hidden: vec![500; 3],
        outputs: 1,
        activation: Activation::Relu,
        batch_norm: true,
    };
    let mut stream = RandomStreams::new(1).stream("weights", 0);
    let network = Mlp::new(&settings, &device, &mut stream)?;
    // Not `Tensor::randn`: candle's generator cannot be seeded on the host.
    let mut draw = |rows: usize, columns: usize| {
        let values: Vec<f32> = (0..rows * columns).map(|_| stream.random_range(-1.0..1.0)).collect();
        Tensor::from_vec(values, (rows, columns), &device)
    };
    let x = draw(1024, 4)?;
    let y = draw(1024, 1)?;
    let training = median_seconds(|| {
        let loss = (network.forward(&x)? - &y)?.sqr()?.mean_all()?;
        let gradients = loss.backward()?;
        assert!(gradients.get(network.parameters()).is_some());
        Ok(())
    })?;
    let weight = draw(500, 500)?;
    let batch = draw(1024, 500)?;
    let product = median_seconds(|| batch.matmul(&weight).map(drop))?;
    println!(
        "training step, 1024 rows: {:.1} ms, {:.2} of the products",
        1e3 * training,
        training / (6.0 * product)
    );

    let frozen = network.freeze()?;
    let x = draw(2048, 4)?;
    let y = draw(2048, 1)?;
    let step = median_seconds(|| frozen.error_and_gradient(&x, &y, &[1.0]).map(drop))?;
    let batch = draw(2048, 500)?;
    let product = median_seconds(|| batch.matmul(&weight).map(drop))?;
    println!(
        "input gradient, 2048 rows: {:.1} ms, {:.2} of the products",
        1e3 * step,
        step / (4.0 * product)
    );
    Ok(())
}
