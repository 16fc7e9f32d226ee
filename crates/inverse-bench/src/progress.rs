//! Progress on the terminal, and learning curves.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use inverse_core::{EpochReport, Observer, Signal};
use serde::Serialize;

use crate::table::scientific;

/// A progress bar for one task: trainings first, then targets.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    label: String,
    quiet: bool,
}

impl Progress {
    /// A bar that carries `label`; nothing is shown with `quiet`.
    pub fn new(label: impl Into<String>, quiet: bool) -> Self {
        let bar = ProgressBar::new(1);
        if quiet {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let style =
            ProgressStyle::with_template("{prefix:<12} {bar:30} {pos:>4}/{len:<4} {eta:>4} left  {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let label = label.into();
        bar.set_prefix(label.clone());
        Self { bar, label, quiet }
    }

    /// Starts a new stage of `length` steps.
    pub fn stage(&self, length: usize, message: impl Into<String>) {
        self.bar.reset();
        self.bar.set_length(length as u64);
        self.bar.enable_steady_tick(Duration::from_millis(200));
        self.bar.set_message(message.into());
    }

    /// Counts finished steps.
    pub fn advance(&self, steps: usize) {
        self.bar.inc(steps as u64);
    }

    /// Leaves one line that stays, on the terminal or in a log.
    pub fn note(&self, text: &str) {
        if self.quiet {
            return;
        }
        if self.bar.is_hidden() {
            eprintln!("{}: {text}", self.label);
        } else {
            self.bar.println(format!("{}: {text}", self.label));
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// One row of a learning curve.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LearningCurveRow {
    /// What was trained.
    pub stage: String,
    /// Epoch, counted from 1.
    pub epoch: usize,
    /// Mean training loss.
    pub training_loss: f64,
    /// Loss on held-out pairs.
    pub validation_loss: Option<f64>,
    /// Learning rate.
    pub learning_rate: f64,
}

/// An observer that moves a progress bar and keeps the learning curve.
#[derive(Debug)]
pub struct LearningCurve<'a> {
    progress: &'a Progress,
    rows: Vec<LearningCurveRow>,
}

impl<'a> LearningCurve<'a> {
    /// Watches a training whose epochs move `progress`.
    pub fn new(progress: &'a Progress) -> Self {
        Self { progress, rows: Vec::new() }
    }

    /// The epochs so far.
    pub fn rows(&self) -> &[LearningCurveRow] {
        &self.rows
    }
}

impl Observer for LearningCurve<'_> {
    fn epoch(&mut self, report: &EpochReport) -> Signal {
        let held_out = report.validation_loss.map(|loss| format!(", held out {}", scientific(loss)));
        self.progress.bar.set_length(report.epochs as u64);
        self.progress.bar.set_position(report.epoch as u64);
        self.progress.bar.set_message(format!(
            "training the {}: loss {}{}, rate {:.0e}",
            report.stage,
            scientific(report.training_loss),
            held_out.unwrap_or_default(),
            report.learning_rate
        ));
        self.rows.push(LearningCurveRow {
            stage: report.stage.clone(),
            epoch: report.epoch,
            training_loss: report.training_loss,
            validation_loss: report.validation_loss,
            learning_rate: report.learning_rate,
        });
        Signal::Continue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_keep_every_epoch() {
        let progress = Progress::new("test", true);
        let mut curve = LearningCurve::new(&progress);
        let mut report = EpochReport {
            stage: "surrogate".into(),
            epoch: 1,
            epochs: 2,
            training_loss: 0.5,
            validation_loss: None,
            learning_rate: 1e-3,
            elapsed: Duration::ZERO,
        };
        assert_eq!(curve.epoch(&report), Signal::Continue);
        report.epoch = 2;
        curve.epoch(&report);
        assert_eq!(curve.rows().iter().map(|row| row.epoch).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(progress.bar.length(), Some(2));
    }
}
