//! Watching trainings from outside: files that other programs read while a training runs.

mod curve_file;
mod event_file;

use inverse_core::{EpochReport, Observer, Signal};

pub use curve_file::CurveFile;
pub use event_file::EventFile;

/// Several observers as one; the training stops where any of them wants it to.
///
/// ```
/// use inverse_bench::Observers;
/// use inverse_core::{EpochReport, Observer, Signal};
///
/// let mut losses = Vec::new();
/// let mut keep = |report: &EpochReport| {
///     losses.push(report.training_loss);
///     Signal::Continue
/// };
/// let mut stop_soon = |report: &EpochReport| if report.epoch >= 3 { Signal::Stop } else { Signal::Continue };
/// let mut both = Observers::new(vec![&mut keep, &mut stop_soon]);
/// # let _: &mut dyn Observer = &mut both;
/// ```
pub struct Observers<'a> {
    observers: Vec<&'a mut dyn Observer>,
}

impl<'a> Observers<'a> {
    /// Each of them sees each epoch, in the order given.
    pub fn new(observers: Vec<&'a mut dyn Observer>) -> Self {
        Self { observers }
    }
}

impl Observer for Observers<'_> {
    fn epoch(&mut self, report: &EpochReport) -> Signal {
        let mut signal = Signal::Continue;
        for observer in &mut self.observers {
            // No short cut: those behind the one that stops see the epoch, too.
            if observer.epoch(report) == Signal::Stop {
                signal = Signal::Stop;
            }
        }
        signal
    }

    fn finished(&mut self, stage: &str, epochs: usize, best_epoch: usize) {
        for observer in &mut self.observers {
            observer.finished(stage, epochs, best_epoch);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    pub(super) fn report(epoch: usize, validation_loss: Option<f64>) -> EpochReport {
        EpochReport {
            stage: "inverse network".into(),
            epoch,
            epochs: 3,
            training_loss: 0.5 / epoch as f64,
            validation_loss,
            learning_rate: 1e-3,
            elapsed: Duration::from_millis(250 * epoch as u64),
        }
    }

    #[test]
    fn one_stop_is_enough_and_all_see_every_epoch() {
        let (mut first, mut second) = (0, 0);
        let mut stops = |_: &EpochReport| {
            first += 1;
            Signal::Stop
        };
        let mut goes_on = |_: &EpochReport| {
            second += 1;
            Signal::Continue
        };
        let mut both = Observers::new(vec![&mut stops, &mut goes_on]);
        assert_eq!(both.epoch(&report(1, None)), Signal::Stop);
        assert_eq!(Observers::new(Vec::new()).epoch(&report(1, None)), Signal::Continue);
        assert_eq!((first, second), (1, 1));
    }
}
