//! Settings of the Neural-Adjoint method for each task.

use inverse_core::InvalidArgument;

use crate::input_descent::InputDescentSettings;
use crate::neural_adjoint::NeuralAdjoint;
use crate::nn::{Convolutions, Schedule};
use crate::presets::{
    PresetMethod, Source, authors_training, smooth_regression, surrogate_widths, tuned_surrogate, unreleased,
};
use crate::starts::Starts;
use crate::surrogate::RegressionSettings;

impl PresetMethod for NeuralAdjoint {
    const NAME: &'static str = "neural-adjoint";
    const LABEL: &'static str = "NA";

    fn preset(task: &str, source: Source) -> Result<Self, InvalidArgument> {
        let descent = |steps: usize| InputDescentSettings {
            steps,
            learning_rate: 0.3,
            schedule: Schedule::Cosine { last: 1e-4 },
            boundary_weight: 0.01,
            tolerance: None,
            ..InputDescentSettings::default()
        };
        match source {
            Source::Authors => authors_preset(task),
            Source::Tuned => Ok(Self {
                surrogate: tuned_surrogate(task),
                start_count: 1000,
                starts: Starts::Prior,
                descent: descent(100),
                levenberg_marquardt: None,
                ensemble: None,
            }),
            Source::Quick => Ok(Self {
                surrogate: smooth_regression(vec![200; 3], 60),
                start_count: 250,
                starts: Starts::Prior,
                // A step through 300 measurements costs several of the others'.
                descent: descent(if task == "metamaterial" { 50 } else { 80 }),
                levenberg_marquardt: None,
                ensemble: None,
            }),
        }
    }

    fn parameter_count(&self, dim_x: usize, dim_y: usize) -> usize {
        self.surrogate.parameter_count(dim_x, dim_y)
    }
}

fn authors_preset(task: &str) -> Result<NeuralAdjoint, InvalidArgument> {
    let (learning_rate, l2, factor) = match task {
        "ballistics" => (1e-2, 5e-3, 0.8),
        "sine-wave" => (5e-4, 5e-4, 0.5),
        "robotic-arm" => (1e-3, 2e-2, 0.5),
        "metamaterial" => (5e-4, 2e-5, 0.5),
        _ => return Err(unreleased(task)),
    };
    let is_metamaterial = task == "metamaterial";
    Ok(NeuralAdjoint {
        surrogate: RegressionSettings {
            hidden: if is_metamaterial { vec![1000; 4] } else { surrogate_widths(task) },
            head: is_metamaterial.then(Convolutions::metamaterial_head),
            training: authors_training(learning_rate, l2, factor),
            ..RegressionSettings::default()
        },
        start_count: 2048,
        starts: Starts::Prior,
        descent: InputDescentSettings {
            steps: 300,
            learning_rate: 0.5,
            schedule: Schedule::Plateau { factor: 0.5, patience: 10, lowest: 1e-6 },
            // Ten times the mean over D4's eight variables; a tenth of the sum for the others.
            boundary_weight: if is_metamaterial { 10.0 / 8.0 } else { 0.1 },
            tolerance: None,
            ..InputDescentSettings::default()
        },
        levenberg_marquardt: None,
        ensemble: None,
    })
}
