//! Progress on the terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use inverse_core::{EpochReport, Observer, Signal};

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

    /// Counts finished steps; where there is no terminal, a finished stage leaves a line in the log.
    pub fn advance(&self, steps: usize) {
        self.bar.inc(steps as u64);
        if let Some(line) = self.finished_stage().filter(|_| self.bar.is_hidden()) {
            self.note(&line);
        }
    }

    /// The line for a stage whose steps are all done.
    fn finished_stage(&self) -> Option<String> {
        let length = self.bar.length()?;
        (length > 0 && self.bar.position() >= length)
            .then(|| format!("{}: {length} done", self.bar.message()))
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

/// An observer that moves a progress bar with each epoch.
#[derive(Debug)]
pub struct EpochProgress<'a> {
    progress: &'a Progress,
}

impl<'a> EpochProgress<'a> {
    /// Watches a training whose epochs move `progress`.
    pub fn new(progress: &'a Progress) -> Self {
        Self { progress }
    }
}

impl Observer for EpochProgress<'_> {
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
        Signal::Continue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finished_stages_are_known() {
        let progress = Progress::new("test", true);
        progress.stage(20, "NA: searching");
        progress.advance(10);
        assert_eq!(progress.finished_stage(), None);
        progress.advance(10);
        assert_eq!(progress.finished_stage().as_deref(), Some("NA: searching: 20 done"));
        progress.stage(20, "another");
        assert_eq!(progress.finished_stage(), None);
    }

    #[test]
    fn epochs_move_the_bar() {
        let progress = Progress::new("test", true);
        let report = EpochReport {
            stage: "surrogate".into(),
            epoch: 1,
            epochs: 2,
            training_loss: 0.5,
            validation_loss: None,
            learning_rate: 1e-3,
            elapsed: Duration::ZERO,
        };
        assert_eq!(EpochProgress::new(&progress).epoch(&report), Signal::Continue);
        assert_eq!((progress.bar.position(), progress.bar.length()), (1, Some(2)));
    }
}
