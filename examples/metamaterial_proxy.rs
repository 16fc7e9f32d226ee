//! D4's proxy simulator from its solver: the paper's recipe, from designs to one file of weights.
//!
//! `cargo run --release --example metamaterial_proxy -- --half`
//!
//! With `--half` and nothing else it makes the file that ships with `inverse-tasks`. Where the authors had some 40,000
//! designs of a full-wave solver, this solver gives 60,000 in seconds; more designs and fewer epochs cost the same
//! and err less. Writes `proxy.safetensors` and `learning_curve.csv`, and prints the error on held-out designs. A killed run goes
//! on from its checkpoints with the same command.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use inverse::bench::ResultFolder;
use inverse::core::{CheckpointPolicy, EpochReport, Signal};
use inverse::models::ProxyReport;
use inverse::models::nn::{Activation, Schedule, TrainingSettings};
use inverse::prelude::*;
use inverse::tasks::metamaterial::{self, MetamaterialSettings, MetamaterialSolver};
use serde::Serialize;

/// Trains an ensemble on the metamaterial's solver and measures it.
#[derive(Parser)]
struct Arguments {
    /// Designs to simulate; each stands for four by symmetry, and a fifth is held out
    #[arg(long, default_value_t = 60_000)]
    samples: usize,
    /// Epochs of each network
    #[arg(long, default_value_t = 20)]
    epochs: usize,
    /// Seed of everything random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder of the results
    #[arg(long, default_value = "results/metamaterial_proxy")]
    out: PathBuf,
    /// Keep the weights in half precision
    #[arg(long)]
    half: bool,
    /// A JSON file with another recipe; `--samples` and `--epochs` do not apply to it
    #[arg(long, conflicts_with_all = ["samples", "epochs"])]
    recipe: Option<PathBuf>,
}

/// Networks that differ in width, depth and rate, and so in their errors.
fn recipe(arguments: &Arguments) -> Result<ProxyRecipe, Box<dyn std::error::Error>> {
    if let Some(path) = &arguments.recipe {
        return Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?);
    }
    let member = |hidden: Vec<usize>, learning_rate| RegressionSettings {
        hidden,
        activation: Activation::Silu,
        batch_norm: false,
        encoder: None,
        head: None,
        training: TrainingSettings {
            epochs: arguments.epochs,
            batch_size: 64,
            learning_rate,
            schedule: Schedule::Cosine { last: 1e-6 },
            validation_share: 0.02,
            ..TrainingSettings::default()
        },
    };
    let members = vec![member(vec![512; 4], 2e-3), member(vec![448; 5], 2e-3), member(vec![640; 3], 1e-3)];
    Ok(ProxyRecipe { samples: arguments.samples, test_share: 0.2, members })
}

/// One epoch of one member.
#[derive(Serialize)]
struct CurveRow {
    member: usize,
    epoch: usize,
    training_loss: f64,
    validation_loss: f64,
    learning_rate: f64,
}

fn learning_curve(report: &ProxyReport) -> Vec<CurveRow> {
    let members = report.training.iter().enumerate();
    let epochs = members.flat_map(|(member, training)| {
        let losses = training.curve.iter().enumerate();
        losses.map(move |(index, losses)| (member, index + 1, losses))
    });
    epochs
        .map(|(member, epoch, losses)| CurveRow {
            member,
            epoch,
            training_loss: losses.training,
            validation_loss: losses.validation,
            learning_rate: losses.learning_rate,
        })
        .collect()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let recipe = recipe(&arguments)?;
    let solver = MetamaterialSolver::new(MetamaterialSettings::default())?;
    let prior = metamaterial::prior();
    let start = Instant::now();
    let simulated = recipe.simulate(&solver, &prior, RandomStreams::new(arguments.seed))?;
    println!("{} designs simulated in {:.1} s", simulated.data.len(), start.elapsed().as_secs_f64());

    let mut progress = |report: &EpochReport| {
        let validation = report.validation_loss.unwrap_or(f64::NAN);
        eprintln!(
            "epoch {}/{}: {:.3e}, held out {validation:.3e}",
            report.epoch, report.epochs, report.training_loss
        );
        Signal::Continue
    };
    let policy =
        CheckpointPolicy { folder: arguments.out.join("checkpoints"), every: Duration::from_mins(1) };
    let mut context = FitContext::new(arguments.seed).with_observer(&mut progress).with_checkpoints(policy);
    let start = Instant::now();
    let proxy = recipe.fit_data(&simulated, Some(&metamaterial::symmetric_copies), &mut context)?;
    let seconds = start.elapsed().as_secs_f64();
    let report = proxy.report().ok_or("a fitted proxy has a report")?;

    let path = arguments.out.join("proxy.safetensors");
    proxy.save(&path, if arguments.half { Precision::Half } else { Precision::Single })?;
    ResultFolder::create(&arguments.out)?.write_csv("learning_curve.csv", &learning_curve(report))?;
    println!(
        "{} training pairs, {} test pairs, {} dropped",
        report.training_pairs, report.test_pairs, report.dropped
    );
    println!("trained in {seconds:.1} s; variance of the test spectra {:.3e}", report.test_variance);
    for (name, errors) in [("single", &report.test_errors), ("half", &report.half_precision_test_errors)] {
        let members: Vec<String> = errors.members.iter().map(|error| format!("{error:.3e}")).collect();
        println!("test MSE, {name} precision: {:.3e}; members {}", errors.ensemble, members.join(", "));
    }
    println!(
        "{} weights, {} bytes: {}",
        proxy.weight_count(),
        std::fs::metadata(&path)?.len(),
        path.display()
    );
    let x = prior.sample(5000, &mut RandomStreams::new(arguments.seed).stream("speed", 0));
    let start = Instant::now();
    proxy.simulate(x.view())?;
    println!("{:.0} spectra a second", 5000.0 / start.elapsed().as_secs_f64());
    let start = Instant::now();
    ProxySimulator::load(&path, inverse::core::Device::Cpu)?;
    println!("loaded in {:.1} ms", 1e3 * start.elapsed().as_secs_f64());
    Ok(())
}
