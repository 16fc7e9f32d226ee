//! How cost grows with each size: medians over doubling sizes, and the slope of their logarithms.

use std::error::Error;
use std::time::Instant;

use candle_core::{Device, Tensor};
use inverse::core::Stream;
use inverse::models::nn::{Activation, Mlp, MlpSettings};
use inverse::prelude::*;
use ndarray::s;

const REPEATS: usize = 11;

/// The sizes of one step.
#[derive(Clone, Copy)]
struct Sizes {
    rows: usize,
    width: usize,
    dim_x: usize,
    dim_y: usize,
}

const USUAL: Sizes = Sizes { rows: 1024, width: 256, dim_x: 4, dim_y: 4 };

/// One size that grows while the others stay: its name, its values, and how it is set.
type Growing = (&'static str, [usize; 4], fn(&mut Sizes, usize));

const GROWING: [Growing; 4] = [
    ("rows", [512, 1024, 2048, 4096], |sizes, value| sizes.rows = value),
    ("width", [128, 256, 512, 1024], |sizes, value| sizes.width = value),
    ("x-dimension", [4, 16, 64, 256], |sizes, value| sizes.dim_x = value),
    ("y-dimension", [4, 16, 64, 256], |sizes, value| sizes.dim_y = value),
];

/// Prints a line for each step and each size.
pub(crate) fn print() -> Result<(), Box<dyn Error>> {
    println!("| step | grows | from | to | ms, least to most | slope |\n|---|---|--:|--:|---|--:|");
    let steps: [(&str, Step); 2] = [("input gradient", input_gradient), ("training", training)];
    for (name, step) in steps {
        for (grows, values, set) in GROWING {
            let mut times = Vec::new();
            for value in values {
                let mut sizes = USUAL;
                set(&mut sizes, value);
                times.push(step(sizes)?);
            }
            line(name, grows, &values, &times);
        }
    }
    let (values, times) = targets()?;
    line("inference by NA, 250 starts a target", "targets", &values, &times);
    Ok(())
}

/// Seconds of one step.
type Step = fn(Sizes) -> Result<f64, Box<dyn Error>>;

fn line(step: &str, grows: &str, values: &[usize], times: &[f64]) {
    let (first, last) = (values[0], values[values.len() - 1]);
    let logarithms = |numbers: &mut dyn Iterator<Item = f64>| numbers.map(f64::ln).collect::<Vec<_>>();
    let x = logarithms(&mut values.iter().map(|value| *value as f64));
    let y = logarithms(&mut times.iter().copied());
    let milliseconds: Vec<String> = times.iter().map(|time| format!("{:.2}", 1e3 * time)).collect();
    println!("| {step} | {grows} | {first} | {last} | {} | {:.2} |", milliseconds.join(", "), slope(&x, &y));
}

/// Of the least-squares line.
fn slope(x: &[f64], y: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (x_mean, y_mean) = (mean(x), mean(y));
    let products: f64 = x.iter().zip(y).map(|(x, y)| (x - x_mean) * (y - y_mean)).sum();
    products / x.iter().map(|x| (x - x_mean).powi(2)).sum::<f64>()
}

fn median(mut run: impl FnMut() -> Result<(), Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    run()?;
    let mut seconds = Vec::new();
    for _ in 0..REPEATS {
        let start = Instant::now();
        run()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[REPEATS / 2])
}

fn network(sizes: Sizes) -> Result<(Mlp, Tensor, Tensor), Box<dyn Error>> {
    let Sizes { rows, width, dim_x, dim_y } = sizes;
    let settings = MlpSettings {
        inputs: dim_x,
        hidden: vec![width; 3],
        outputs: dim_y,
        activation: Activation::Silu,
        batch_norm: false,
    };
    let mut stream: Stream = RandomStreams::new(1).stream("growth", 0);
    let network = Mlp::new(&settings, &Device::Cpu, &mut stream)?;
    let numbers = |columns: usize| {
        let values: Vec<f32> = (0..rows * columns).map(|index| (index % 19) as f32 * 0.1 - 0.9).collect();
        Tensor::from_vec(values, (rows, columns), &Device::Cpu)
    };
    Ok((network, numbers(dim_x)?, numbers(dim_y)?))
}

fn input_gradient(sizes: Sizes) -> Result<f64, Box<dyn Error>> {
    let (network, x, y) = network(sizes)?;
    let (frozen, weights) = (network.freeze()?, vec![1.0; sizes.dim_y]);
    median(|| Ok(frozen.error_and_gradient(&x, &y, &weights).map(drop)?))
}

fn training(sizes: Sizes) -> Result<f64, Box<dyn Error>> {
    let (network, x, y) = network(sizes)?;
    median(|| Ok((network.forward(&x)? - &y)?.sqr()?.mean_all()?.backward().map(drop)?))
}

/// Numbers of targets, and seconds of their proposals.
fn targets() -> Result<([usize; 4], Vec<f64>), Box<dyn Error>> {
    let task = inverse::tasks::by_name("D2")?;
    let streams = RandomStreams::new(1);
    let data = Dataset::from_task(&*task, 1000, &mut streams.stream("data", 0))?;
    let mut method = NeuralAdjoint::preset(task.name(), Source::Quick)?;
    method.surrogate.training.epochs = 1;
    let model = method.fit(&data, &mut FitContext::new(1))?;
    let counts = [1, 2, 4, 8];
    let mut times = Vec::new();
    for count in counts {
        let y = data.y().slice(s![..count, ..]).to_owned();
        times.push(median(|| {
            model.propose(y.view(), 1, &mut streams.stream("propose", 0))?;
            Ok(())
        })?);
    }
    Ok((counts, times))
}
