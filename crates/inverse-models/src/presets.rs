//! Settings for each task, by name.
//!
//! Three sources are kept apart: [`Source::Authors`] is the released code of the paper, [`Source::Tuned`]
//! keeps the paper's sizes and data but trains to a better model, and [`Source::Quick`] is a small network
//! for a first look.

use std::path::Path;

use inverse_core::{Device, InvalidArgument, Method};

use crate::nn::{Activation, Schedule, TrainingSettings};
use crate::relabelling::Relabelling;
use crate::surrogate::RegressionSettings;
use crate::{ModelFileError, SavedModel};

/// Where a preset comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// The authors' released settings: ReLU, batch normalisation, L2, plateaus.
    Authors,
    /// The paper's sizes and budgets with what trains best; on the paper's tasks generative models also renew their training
    /// pairs by a surrogate ([`Relabelling`]).
    Tuned,
    /// Small and fast: seconds of training on a laptop.
    Quick,
}

/// A method with a name and settings for each task.
pub trait PresetMethod: Method + Sized {
    /// The method's name in files and on command lines.
    const NAME: &'static str;

    /// The method's name in the paper's tables.
    const LABEL: &'static str;

    /// Settings for a task; a task that the paper does not know gets settings that suit the most.
    ///
    /// * `task`: the task's name, such as "ballistics"
    ///
    /// # Errors
    /// [`InvalidArgument`] where the authors released no settings for the task.
    fn preset(task: &str, source: Source) -> Result<Self, InvalidArgument>;

    /// Number of trainable parameters, as Table 8 counts them, for designs and measurements of those widths.
    fn parameter_count(&self, dim_x: usize, dim_y: usize) -> usize;

    /// The model that this method fitted and [`SavedModel::save`] wrote to `folder`.
    ///
    /// The default reads the files of this library's methods. A method of one's own whose model writes files of its own
    /// reads them here, so that studies can go on from them.
    ///
    /// # Errors
    /// [`ModelFileError`] where the folder cannot be read or holds something else, or the device cannot be used.
    fn load_model(folder: &Path, device: Device) -> Result<Box<dyn SavedModel>, ModelFileError> {
        crate::load(folder, device)
    }
}

/// Hidden widths of the forward network: the paper's three layers of 500 for D1 and four for D2 and D3. Four are
/// also enough for D4, where the paper's has 1,000 a layer.
pub(crate) fn surrogate_widths(task: &str) -> Vec<usize> {
    vec![500; if task == "ballistics" { 3 } else { 4 }]
}

/// The authors' way of training: Table 6 with their rate, L2 weight and plateau factor.
pub(crate) fn authors_training(learning_rate: f64, l2: f64, factor: f64) -> TrainingSettings {
    TrainingSettings {
        learning_rate,
        l2,
        schedule: Schedule::Plateau { factor, patience: 10, lowest: 1e-6 },
        ..TrainingSettings::default()
    }
}

/// Adam without L2 under half a cosine: every budget is used, and the last epochs are quiet.
pub(crate) fn cosine_training(epochs: usize, batch_size: usize, learning_rate: f64) -> TrainingSettings {
    TrainingSettings {
        epochs,
        batch_size,
        learning_rate,
        l2: 0.0,
        schedule: Schedule::Cosine { last: 1e-6 },
        ..TrainingSettings::default()
    }
}

/// Adam whose rate falls, and which stops, by the held-out likelihood: few pairs are soon learnt by heart, many take long.
pub(crate) fn posterior_training(learning_rate: f64) -> TrainingSettings {
    TrainingSettings {
        epochs: 500,
        batch_size: 128,
        learning_rate,
        l2: 0.0,
        schedule: Schedule::Plateau { factor: 0.5, patience: 10, lowest: 1e-6 },
        validation_share: 0.1,
        early_stop: Some(30),
        gradient_limit: Some(15.0),
    }
}

/// A smooth network for a smooth simulator: SiLU, no batch normalisation, a cosine.
pub(crate) fn smooth_regression(hidden: Vec<usize>, epochs: usize) -> RegressionSettings {
    RegressionSettings {
        hidden,
        activation: Activation::Silu,
        batch_norm: false,
        encoder: None,
        head: None,
        training: cosine_training(epochs, 128, 2e-3),
    }
}

/// Pairs renewed by a small surrogate: its error stays far below that of the models it trains.
///
/// Steps of 0.4 are about the distance between neighbours among 8,000 designs of four variables (Silverman's
/// n^(−1/(d+4)) is 0.33): shorter ones leave gaps that a likelihood sinks into, and training and held-out loss
/// part.
///
/// The metamaterial's spectra need a surrogate of the size that NA takes for them. Of a task that the paper does not know
/// nobody here can say whether its measurements are free of noise, without which the pairs would be others.
pub(crate) fn tuned_relabelling(task: &str) -> Option<Relabelling> {
    let surrogate = match task {
        "metamaterial" => {
            RegressionSettings { training: cosine_training(150, 128, 1e-3), ..tuned_surrogate(task) }
        }
        "ballistics" | "sine-wave" | "robotic-arm" => smooth_regression(vec![200; 3], 40),
        _ => return None,
    };
    Some(Relabelling { surrogate, jitter: 0.4 })
}

/// The paper's widths, trained to a better f̂; D4's 300 numbers take three times the epochs.
pub(crate) fn tuned_surrogate(task: &str) -> RegressionSettings {
    let smooth = smooth_regression(surrogate_widths(task), 100);
    match task {
        "metamaterial" => RegressionSettings { training: cosine_training(300, 128, 1e-3), ..smooth },
        _ => smooth,
    }
}

/// The error of a task for which the authors released nothing.
pub(crate) fn unreleased(task: &str) -> InvalidArgument {
    let expected =
        "ballistics, sine-wave, robotic-arm or metamaterial; settings of other tasks were not released";
    InvalidArgument::new("task", expected, format!("`{task}`"))
}
