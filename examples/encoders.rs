//! Does a convolutional encoder help D4's Tandem and cVAE? Each is trained with the library's own settings as they are,
//! and with the authors' convolutions before its network of the spectrum.
//!
//! `cargo run --release --example encoders [-- --method tandem] [--seed 7] [--epochs 2]`
//!
//! r_T is on 100 targets that belong to no table: `--seed` draws data and targets.

use std::error::Error;

use clap::Parser;
use inverse::core::InvalidArgument;
use inverse::models::nn::Convolutions;
use inverse::models::{MeasurementEncoder, any_method, method_by_name};
use inverse::prelude::*;
use inverse::tasks::by_name;

const PAIRS: usize = 10_000;
const TARGETS: usize = 100;
const PROPOSALS: usize = 200;

/// Compares own settings of D4 with and without a convolutional encoder.
#[derive(Parser)]
struct Arguments {
    /// `tandem` or `cvae`; both, where not given.
    #[arg(long)]
    method: Option<String>,
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Epochs of every training; the settings' own, where not given.
    #[arg(long)]
    epochs: Option<usize>,
}

/// The name of the method to compare, from its name or label.
fn chosen(asked: &str, task: &dyn Task) -> Result<&'static str, InvalidArgument> {
    let name = method_by_name(asked, task.name(), Source::Tuned)?.name();
    if [Tandem::NAME, ConditionalVae::NAME].contains(&name) {
        return Ok(name);
    }
    let expected = format!("{} or {}", Tandem::NAME, ConditionalVae::NAME);
    Err(InvalidArgument::new("--method", expected, format!("`{asked}`")))
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let task = by_name("D4")?;
    let only = arguments.method.as_deref().map(|asked| chosen(asked, &*task)).transpose()?;
    let streams = RandomStreams::new(arguments.seed);
    let data = Dataset::from_task(&*task, PAIRS, &mut streams.stream("data", 0))?;
    let targets = Dataset::from_task(&*task, TARGETS, &mut streams.stream("targets", 0))?;
    let tandem = Tandem::preset(task.name(), Source::Tuned)?;
    let vae = ConditionalVae::preset(task.name(), Source::Tuned)?;
    let (mut plain_tandem, mut plain_vae) = (tandem.clone(), vae.clone());
    plain_tandem.inverse.encoder = None;
    plain_vae.measurement_encoder = None;
    let (mut encoded_tandem, mut encoded_vae) = (tandem, vae);
    let convolutions = Some(Convolutions::metamaterial_encoder());
    encoded_tandem.inverse.encoder.clone_from(&convolutions);
    encoded_vae.measurement_encoder =
        Some(MeasurementEncoder { convolutions, hidden: vec![192; 2], code: 20 });
    let methods = [
        ("as it is", any_method(plain_tandem)),
        ("convolutions", any_method(encoded_tandem)),
        ("as it is", any_method(plain_vae)),
        ("convolutions", any_method(encoded_vae)),
    ];
    for (encoder, method) in methods {
        if only.is_some_and(|name| name != method.name()) {
            continue;
        }
        let method = arguments
            .epochs
            .map_or(Ok(None), |epochs| method.with_epochs(epochs).map(Some))?
            .unwrap_or(method);
        let model = method.fit(&data, &mut FitContext::new(arguments.seed))?;
        let proposals = model.propose(targets.y(), PROPOSALS, &mut streams.stream("propose", 0))?;
        let errors = resimulate(&*task, &proposals, targets.y())?;
        let (r_1, r_all) = (errors.mean(1)?, errors.mean(PROPOSALS)?);
        let count = model.parameter_count() as f64 / 1e6;
        println!(
            "{:8} {encoder:12} {count:.2} million  r_1 {r_1:.2e}  r_{PROPOSALS} {r_all:.2e}",
            method.label()
        );
    }
    Ok(())
}
