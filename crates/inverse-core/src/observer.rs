//! Watching a training: progress bars, learning curves, early stops by hand.

use std::time::Duration;

/// What one epoch of a training came to.
#[derive(Debug, Clone, PartialEq)]
pub struct EpochReport {
    /// What is being trained ("surrogate", "inverse network").
    pub stage: String,
    /// Epoch, counted from 1.
    pub epoch: usize,
    /// The most epochs this training may take.
    pub epochs: usize,
    /// Mean training loss of the epoch.
    pub training_loss: f64,
    /// Loss on the validation pairs after the epoch, where it was measured.
    pub validation_loss: Option<f64>,
    /// Learning rate of the epoch.
    pub learning_rate: f64,
    /// Time since this run's training began.
    pub elapsed: Duration,
}

/// What an observer wants of a training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Go on.
    Continue,
    /// End the whole fit after this epoch. Where what is trained is the last stage of the method, its best
    /// parameters so far make the model; in an earlier stage (the surrogate of a tandem model) there is no model
    /// yet, and the fit ends with [`FitError::Stopped`](crate::FitError::Stopped). With checkpoints, the same fit
    /// goes on from there.
    Stop,
}

/// Receives the reports of a training.
pub trait Observer {
    /// Called after each epoch.
    fn epoch(&mut self, report: &EpochReport) -> Signal;

    /// Called when a stage ends: epochs run, and the epoch whose parameters were kept.
    fn finished(&mut self, _stage: &str, _epochs: usize, _best_epoch: usize) {}
}

/// An observer that says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn epoch(&mut self, _report: &EpochReport) -> Signal {
        Signal::Continue
    }
}

impl<F: FnMut(&EpochReport) -> Signal> Observer for F {
    fn epoch(&mut self, report: &EpochReport) -> Signal {
        self(report)
    }
}
