//! Settings of the conditional variational auto-encoder for each task.

use inverse_core::InvalidArgument;

use crate::cvae::ConditionalVae;
use crate::measurement_encoder::MeasurementEncoder;
use crate::nn::{Activation, MlpSettings, TrainingSettings};
use crate::presets::{
    PresetMethod, Source, authors_training, cosine_training, tuned_relabelling, unreleased,
};

impl PresetMethod for ConditionalVae {
    const NAME: &'static str = "cvae";
    const LABEL: &'static str = "cVAE";

    fn preset(task: &str, source: Source) -> Result<Self, InvalidArgument> {
        match source {
            Source::Authors => authors_preset(task),
            Source::Tuned => Ok(tuned_preset(task)),
            Source::Quick => Ok(Self {
                hidden: vec![96; 3],
                activation: Activation::Silu,
                batch_norm: false,
                latent: None,
                divergence_weight: 0.01,
                training: cosine_training(40, 128, 2e-3),
                relabelling: None,
                measurement_encoder: None,
            }),
        }
    }

    fn parameter_count(&self, dim_x: usize, dim_y: usize) -> usize {
        let networks = [self.encoder(dim_x, dim_y), self.decoder(dim_x, dim_y)];
        let measurement = self.measurement_encoder.as_ref();
        let measurement = measurement.map_or(0, |encoder| encoder.parameter_count(dim_y, self.batch_norm));
        let counts = networks.iter().map(MlpSettings::parameter_count);
        counts.fold(measurement, usize::saturating_add)
    }
}

/// A fifth of the paper's width and many more steps: accuracy comes from the steps.
///
/// The decoder of a design that lies on several curves must jump between them, and the kinks of ReLU jump where
/// SiLU cannot: with SiLU the sine wave's decoder takes z for the design and leaves the target unused. Where one
/// curve is left (D1), the smooth activation is the more accurate.
fn tuned_preset(task: &str) -> ConditionalVae {
    let (activation, latent, divergence_weight, training) = match task {
        "sine-wave" => (Activation::Relu, Some(3), 0.03, cosine_training(150, 128, 2e-3)),
        "ballistics" => (Activation::Silu, None, 0.03, cosine_training(200, 128, 2e-3)),
        _ => (Activation::Relu, None, 0.02, cosine_training(150, 128, 2e-3)),
    };
    ConditionalVae {
        hidden: vec![192; 4],
        activation,
        batch_norm: false,
        latent,
        divergence_weight,
        training,
        relabelling: tuned_relabelling(task),
        measurement_encoder: None,
    }
}

fn authors_preset(task: &str) -> Result<ConditionalVae, InvalidArgument> {
    let (hidden, latent, divergence_weight, training) = match task {
        "ballistics" => {
            let training = TrainingSettings { epochs: 1000, ..authors_training(1e-3, 5e-3, 0.9) };
            (vec![500; 7], 5, 0.01, training)
        }
        "sine-wave" => (vec![500; 6], 3, 0.02, authors_training(1e-3, 5e-3, 0.5)),
        "robotic-arm" => {
            let training = TrainingSettings { batch_size: 256, ..authors_training(1e-3, 5e-3, 0.5) };
            (vec![500; 7], 3, 1.0, training)
        }
        "metamaterial" => (vec![1000; 10], 30, 0.005, authors_training(1e-3, 5e-3, 0.5)),
        _ => return Err(unreleased(task)),
    };
    Ok(ConditionalVae {
        hidden,
        activation: Activation::Relu,
        batch_norm: true,
        latent: Some(latent),
        divergence_weight,
        training,
        relabelling: None,
        measurement_encoder: (task == "metamaterial").then(MeasurementEncoder::metamaterial),
    })
}
