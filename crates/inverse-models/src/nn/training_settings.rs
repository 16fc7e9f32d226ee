//! How a network is trained.

use inverse_core::InvalidArgument;
use serde::{Deserialize, Serialize};

use super::schedule::Schedule;

/// How a network is trained; Table 6 and the authors' settings for each task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingSettings {
    /// The most epochs.
    pub epochs: usize,
    /// Pairs a step; the last, smaller batch of an epoch is left out where there is a full one.
    pub batch_size: usize,
    /// Learning rate of the first epoch.
    pub learning_rate: f64,
    /// Weight of Adam's L2 term, added to the gradient.
    pub l2: f64,
    /// How the learning rate falls.
    pub schedule: Schedule,
    /// Share of the pairs held out to choose the best epoch; the paper's split is 0.2.
    pub validation_share: f64,
    /// Stops when the validation loss has not fallen for this many epochs; never, where `None`.
    pub early_stop: Option<usize>,
    /// Each entry of the gradient is cut to ± this, as the authors do for flows; not at all, where `None`.
    pub gradient_limit: Option<f64>,
}

impl Default for TrainingSettings {
    /// Table 6: 500 epochs of batches of 1,024 at a rate of 1e-3, halved on a plateau.
    fn default() -> Self {
        Self {
            epochs: 500,
            batch_size: 1024,
            learning_rate: 1e-3,
            l2: 0.0,
            schedule: Schedule::Plateau { factor: 0.5, patience: 10, lowest: 1e-6 },
            validation_share: 0.2,
            early_stop: None,
            gradient_limit: None,
        }
    }
}

impl TrainingSettings {
    /// Whether a training can follow these settings.
    ///
    /// # Errors
    /// [`InvalidArgument`] that names the setting.
    pub fn validate(&self) -> Result<(), InvalidArgument> {
        for (name, count) in [("epochs", self.epochs), ("batch_size", self.batch_size)] {
            if count == 0 {
                return Err(InvalidArgument::new(name, "at least 1", 0));
            }
        }
        if self.early_stop == Some(0) {
            return Err(InvalidArgument::new("early_stop", "at least 1", 0));
        }
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return Err(InvalidArgument::new("learning_rate", "a positive number", self.learning_rate));
        }
        if !(self.l2 >= 0.0 && self.l2.is_finite()) {
            return Err(InvalidArgument::new("l2", "a number of at least 0", self.l2));
        }
        if let Some(limit) = self.gradient_limit.filter(|limit| limit.is_nan() || *limit <= 0.0) {
            return Err(InvalidArgument::new("gradient_limit", "a positive number", limit));
        }
        if !(self.validation_share > 0.0 && self.validation_share < 1.0) {
            let found = self.validation_share;
            return Err(InvalidArgument::new("validation_share", "a share between 0 and 1", found));
        }
        self.schedule.validate()
    }
}
