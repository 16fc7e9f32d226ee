//! One training: resumed where it was killed.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use inverse_core::{CheckpointPolicy, Dataset, EpochReport, FitContext, Observer, Signal};
use inverse_models::AnyMethod;
use serde::{Deserialize, Serialize};

use super::{Study, read_json, write_json};
use crate::progress::{EpochProgress, Progress};
use crate::{EventFile, Observers, ResultFolder, StudyError};

/// Kept until the training's record is written: a model without a record is not trusted, but made anew from these.
pub(crate) const CHECKPOINTS: &str = "checkpoints";

pub(crate) const TRAINING_TIME: &str = "training_time.json";

/// How long a training took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainingTime {
    /// Seconds of all sittings. Epochs that a kill undid are counted twice.
    pub seconds: f64,
    /// In how many sittings.
    pub sittings: usize,
    /// Threads of the last sitting.
    pub threads: usize,
}

impl Study {
    pub(super) fn train(
        &self,
        folder: &Path,
        method: &dyn AnyMethod,
        data: &Dataset,
        seed: u64,
        progress: &Progress,
    ) -> Result<(), StudyError> {
        progress.stage(1, "training");
        let device = self.arguments.device();
        let every = self.arguments.profile().record_every();
        let mut events = self.event_file(folder)?;
        let mut clock = Clock::go_on(folder, every, EpochProgress::new(progress));
        let mut watching: Vec<&mut dyn Observer> = vec![&mut clock];
        watching.extend(events.iter_mut().map(|events| events as &mut dyn Observer));
        let mut observers = Observers::new(watching);
        let mut context = FitContext::new(seed)
            .with_device(device)
            .with_observer(&mut observers)
            .with_checkpoints(CheckpointPolicy { folder: folder.join(CHECKPOINTS), every });
        let model = method.fit(data, &mut context)?;
        clock.write()?;
        if let Some(Err(error)) = events.map(EventFile::finish) {
            progress.note(&error.to_string());
        }
        for (stage, report) in model.training_reports() {
            let name = format!("learning_curve_{}.csv", stage.replace(' ', "_"));
            ResultFolder::create(folder)?.write_csv(&name, &report.curve)?;
        }
        Ok(model.save(folder)?)
    }
}

impl Study {
    /// Where TensorBoard looks for a training: a run of the cell's name.
    fn event_file(&self, folder: &Path) -> Result<Option<EventFile>, StudyError> {
        let run = self.arguments.tensorboard.as_ref().zip(folder.file_name());
        Ok(run.map(|(root, name)| EventFile::create(&root.join(name))).transpose()?)
    }
}

/// Adds up the time of all sittings, and passes each epoch on.
struct Clock<'a> {
    folder: PathBuf,
    every: Duration,
    before: TrainingTime,
    started: Instant,
    written: Instant,
    progress: EpochProgress<'a>,
}

impl<'a> Clock<'a> {
    fn go_on(folder: &Path, every: Duration, progress: EpochProgress<'a>) -> Self {
        // A time that cannot be read is none: it is no result.
        let before = read_json(folder, TRAINING_TIME).unwrap_or_default();
        let now = Instant::now();
        Self { folder: folder.into(), every, before, started: now, written: now, progress }
    }

    fn write(&mut self) -> Result<(), StudyError> {
        self.written = Instant::now();
        let time = TrainingTime {
            seconds: self.before.seconds + self.started.elapsed().as_secs_f64(),
            sittings: self.before.sittings + 1,
            threads: rayon::current_num_threads(),
        };
        write_json(&self.folder, TRAINING_TIME, &time)
    }
}

impl Observer for Clock<'_> {
    fn epoch(&mut self, report: &EpochReport) -> Signal {
        if self.written.elapsed() >= self.every {
            // The checkpoint beside it tells of a disk that is full.
            let _ = self.write();
        }
        self.progress.epoch(report)
    }
}
