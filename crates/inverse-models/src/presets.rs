//! Settings for each task, by name.
//!
//! Three sources are kept apart: [`Source::Authors`] is the released code of the paper, [`Source::Tuned`]
//! keeps the paper's sizes, data and starts but trains to a better surrogate, and [`Source::Quick`] is a
//! small network for a first look.

use inverse_core::InvalidArgument;

use crate::input_descent::InputDescentSettings;
use crate::neural_adjoint::NeuralAdjoint;
use crate::nn::{Activation, Schedule, TrainingSettings};
use crate::surrogate::SurrogateSettings;

/// Where a preset comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// The authors' released settings: ReLU, batch normalisation, L2, plateaus.
    Authors,
    /// The paper's sizes and budgets with what trains best: SiLU, no normalisation, no L2, a cosine.
    Tuned,
    /// Small and fast: seconds of training on a laptop.
    Quick,
}

/// Neural-Adjoint settings for a task; a task that the paper does not know gets the paper's defaults.
///
/// * `task`: the task's name, such as "ballistics"
///
/// # Errors
/// [`InvalidArgument`] where the authors released no settings for the task.
pub fn neural_adjoint(task: &str, source: Source) -> Result<NeuralAdjoint, InvalidArgument> {
    match source {
        Source::Authors => authors_neural_adjoint(task),
        Source::Tuned => Ok(tuned_neural_adjoint(task)),
        Source::Quick => Ok(quick_neural_adjoint()),
    }
}

/// Hidden widths of the forward network: three layers of 500 for D1, four for D2 and D3.
fn paper_widths(task: &str) -> Vec<usize> {
    vec![500; if task == "ballistics" { 3 } else { 4 }]
}

fn authors_neural_adjoint(task: &str) -> Result<NeuralAdjoint, InvalidArgument> {
    let (learning_rate, l2, factor) = match task {
        "ballistics" => (1e-2, 5e-3, 0.8),
        "sine-wave" => (5e-4, 5e-4, 0.5),
        "robotic-arm" => (1e-3, 2e-2, 0.5),
        _ => {
            let expected = "ballistics, sine-wave or robotic-arm, whose settings were released";
            return Err(InvalidArgument::new("task", expected, format!("`{task}`")));
        }
    };
    let training = TrainingSettings {
        learning_rate,
        l2,
        schedule: Schedule::Plateau { factor, patience: 10, lowest: 1e-6 },
        ..TrainingSettings::default()
    };
    Ok(NeuralAdjoint {
        surrogate: SurrogateSettings { hidden: paper_widths(task), training, ..SurrogateSettings::default() },
        start_count: 2048,
        descent: InputDescentSettings {
            steps: 300,
            learning_rate: 0.5,
            schedule: Schedule::Plateau { factor: 0.5, patience: 10, lowest: 1e-6 },
            boundary_weight: 0.1,
        },
        ..NeuralAdjoint::default()
    })
}

fn tuned_neural_adjoint(task: &str) -> NeuralAdjoint {
    let mut settings = smooth(paper_widths(task), 100);
    settings.start_count = 1000;
    settings
}

fn quick_neural_adjoint() -> NeuralAdjoint {
    let mut settings = smooth(vec![200; 3], 60);
    settings.start_count = 400;
    settings.descent.steps = 80;
    settings
}

fn smooth(hidden: Vec<usize>, epochs: usize) -> NeuralAdjoint {
    let training = TrainingSettings {
        epochs,
        batch_size: 128,
        learning_rate: 2e-3,
        l2: 0.0,
        schedule: Schedule::Cosine { last: 1e-6 },
        ..TrainingSettings::default()
    };
    NeuralAdjoint {
        surrogate: SurrogateSettings { hidden, activation: Activation::Silu, batch_norm: false, training },
        descent: InputDescentSettings {
            steps: 100,
            learning_rate: 0.3,
            schedule: Schedule::Cosine { last: 1e-4 },
            boundary_weight: 0.01,
        },
        ..NeuralAdjoint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authors_settings_have_the_parameters_of_table_8() {
        // Table 8 prints 0.5, 0.7 and 0.8 million; 0.76 million is printed once as 0.7 and once as 0.8.
        for (task, inputs, outputs, count) in
            [("ballistics", 4, 1, 507_001), ("sine-wave", 2, 1, 757_501), ("robotic-arm", 4, 2, 759_002)]
        {
            let settings = neural_adjoint(task, Source::Authors).unwrap();
            assert_eq!(settings.surrogate.shape(inputs, outputs).parameter_count(), count, "{task}");
            settings.validate().unwrap();
        }
        assert!(neural_adjoint("my-task", Source::Authors).is_err());
    }

    #[test]
    fn every_preset_is_valid() {
        for source in [Source::Tuned, Source::Quick] {
            for task in ["ballistics", "sine-wave", "robotic-arm", "my-task"] {
                neural_adjoint(task, source).unwrap().validate().unwrap();
            }
        }
    }
}
