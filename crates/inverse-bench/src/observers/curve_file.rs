//! A learning curve as CSV, up to date while the training runs.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use inverse_core::{EpochReport, Observer, Signal};
use serde::Serialize;

use crate::ResultFileError;
use crate::result_files::{csv_bytes, write_atomically};

/// Least time between two versions of the file.
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Row {
    stage: String,
    /// Counted from 1.
    epoch: usize,
    training_loss: f64,
    /// Empty where it was not measured.
    validation_loss: Option<f64>,
    learning_rate: f64,
    /// Since this run's training began.
    seconds: f64,
}

/// An observer that keeps a learning curve as CSV: a row an epoch, written whole at most once a second.
///
/// ```
/// use inverse_bench::CurveFile;
/// use inverse_core::{Dataset, FitContext, Method, RandomStreams};
/// use inverse_models::DirectRegression;
/// use inverse_models::presets::{PresetMethod, Source};
///
/// let task = inverse_tasks::Ballistics::new();
/// let data = Dataset::from_task(&task, 200, &mut RandomStreams::new(1).stream("data", 0))?;
/// let mut method = DirectRegression::preset("ballistics", Source::Quick)?;
/// method.network.hidden = vec![8];
/// method.network.training.epochs = 3;
/// method.network.training.batch_size = 64;
/// let folder = tempfile::tempdir()?;
/// let mut curve = CurveFile::new(folder.path().join("curve.csv"));
/// method.fit(&data, &mut FitContext::new(1).with_observer(&mut curve))?;
/// curve.finish()?;
/// let text = std::fs::read_to_string(folder.path().join("curve.csv"))?;
/// assert_eq!(text.lines().next(), Some("stage,epoch,training_loss,validation_loss,learning_rate,seconds"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct CurveFile {
    path: PathBuf,
    rows: Vec<Row>,
    written: Option<Instant>,
    outcome: Result<(), ResultFileError>,
}

impl CurveFile {
    /// A curve for the file at `path`, which is replaced.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), rows: Vec::new(), written: None, outcome: Ok(()) }
    }

    fn write(&mut self) {
        self.written = Some(Instant::now());
        let name = self.path.display().to_string();
        self.outcome = csv_bytes(&name, &self.rows).and_then(|bytes| write_atomically(&self.path, &bytes));
    }

    /// Writes what is not written.
    ///
    /// # Errors
    /// [`ResultFileError`] where the file cannot be written; what could not be written before, but can now, is none.
    pub fn finish(mut self) -> Result<(), ResultFileError> {
        self.write();
        self.outcome
    }
}

impl Observer for CurveFile {
    fn epoch(&mut self, report: &EpochReport) -> Signal {
        self.rows.push(Row {
            stage: report.stage.clone(),
            epoch: report.epoch,
            training_loss: report.training_loss,
            validation_loss: report.validation_loss,
            learning_rate: report.learning_rate,
            seconds: report.elapsed.as_secs_f64(),
        });
        if self.written.is_none_or(|written| written.elapsed() >= WRITE_EVERY) {
            self.write();
        }
        Signal::Continue
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;

    #[test]
    fn the_file_holds_every_epoch() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("curve.csv");
        let mut curve = CurveFile::new(&path);
        assert_eq!(curve.epoch(&report(1, None)), Signal::Continue);
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2, "up to date from the start");
        curve.epoch(&report(2, Some(0.25)));
        curve.finish().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let rows: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(rows, ["inverse network,1,0.5,,0.001,0.25", "inverse network,2,0.25,0.25,0.001,0.5"]);
    }

    #[test]
    fn a_file_that_cannot_be_written_does_not_stop_the_training() {
        let folder = tempfile::tempdir().unwrap();
        let mut curve = CurveFile::new(folder.path().join("no/such/curve.csv"));
        assert_eq!(curve.epoch(&report(1, None)), Signal::Continue);
        assert!(curve.finish().unwrap_err().to_string().contains("curve.csv"));
    }
}
