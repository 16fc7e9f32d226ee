//! Event files for TensorBoard.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use inverse_core::{EpochReport, Observer, Signal};
use syntaxdot_summary::SummaryWriter;

use crate::ResultFileError;

/// What TensorBoard looks for in a file's name.
const NAME: &str = "events.out.tfevents";

/// An observer that writes losses and the learning rate to an event file; `tensorboard --logdir FOLDER` shows them.
///
/// Each observer has a file of its own: a training that was killed and goes on has several, which TensorBoard joins.
///
/// ```
/// use std::time::Duration;
///
/// use inverse_bench::EventFile;
/// use inverse_core::{EpochReport, Observer};
///
/// let folder = tempfile::tempdir()?;
/// let mut events = EventFile::create(folder.path())?;
/// events.epoch(&EpochReport {
///     stage: "surrogate".into(),
///     epoch: 1,
///     epochs: 1,
///     training_loss: 0.5,
///     validation_loss: None,
///     learning_rate: 1e-3,
///     elapsed: Duration::ZERO,
/// });
/// events.finish()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct EventFile {
    path: PathBuf,
    /// Without a buffer: what is written is there to be seen, and what cannot be written is known.
    writer: SummaryWriter<File>,
    outcome: io::Result<()>,
}

impl EventFile {
    /// A new file in a folder, which is made where it is not there.
    ///
    /// # Errors
    /// [`ResultFileError::Io`] where the file cannot be made.
    pub fn create(folder: &Path) -> Result<Self, ResultFileError> {
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            |source| ResultFileError::Io { path, source }
        };
        fs::create_dir_all(folder).map_err(failed(folder))?;
        let (path, file) = new_file(folder).map_err(failed(folder))?;
        let writer = SummaryWriter::new(file).map_err(failed(&path))?;
        Ok(Self { path, writer, outcome: Ok(()) })
    }

    /// # Errors
    /// [`ResultFileError::Io`] with the first failure, where one of the epochs could not be written.
    pub fn finish(self) -> Result<(), ResultFileError> {
        self.outcome.map_err(|source| ResultFileError::Io { path: self.path, source })
    }

    fn write(&mut self, report: &EpochReport) -> io::Result<()> {
        let values = [
            ("training loss", Some(report.training_loss)),
            ("validation loss", report.validation_loss),
            ("learning rate", Some(report.learning_rate)),
        ];
        for (name, value) in values {
            if let Some(value) = value {
                let tag = format!("{}/{name}", report.stage);
                self.writer.write_scalar(tag, report.epoch as i64, value as f32)?;
            }
        }
        Ok(())
    }
}

/// The first name that is free: times and processes do not matter, the names sort in order.
fn new_file(folder: &Path) -> io::Result<(PathBuf, File)> {
    for number in 1_u32.. {
        let path = folder.join(format!("{NAME}.{number:06}"));
        match File::create_new(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

impl Observer for EventFile {
    fn epoch(&mut self, report: &EpochReport) -> Signal {
        // A training does not end because nobody can watch it; the first failure is kept for the end.
        if self.outcome.is_ok() {
            self.outcome = self.write(report);
        }
        Signal::Continue
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;

    /// Records of a file: length, its checksum, bytes, their checksum (TFRecord).
    fn records(bytes: &[u8]) -> Vec<&[u8]> {
        let (mut rest, mut records) = (bytes, Vec::new());
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            records.push(&rest[12..12 + length]);
            rest = &rest[16 + length..];
        }
        records
    }

    fn holds(record: &[u8], part: &[u8]) -> bool {
        record.windows(part.len()).any(|window| window == part)
    }

    #[test]
    fn tags_and_values_are_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = EventFile::create(&folder.path().join("run")).unwrap();
        events.epoch(&report(1, None));
        events.epoch(&report(2, Some(0.125)));
        events.finish().unwrap();
        let bytes = fs::read(folder.path().join("run").join("events.out.tfevents.000001")).unwrap();
        let records = records(&bytes);
        assert_eq!(records.len(), 1 + 2 + 3, "the version, then two and three scalars");
        assert!(holds(records[0], b"brain.Event:2"));
        assert!(
            holds(records[1], b"inverse network/training loss") && holds(records[1], &0.5_f32.to_le_bytes())
        );
        assert!(holds(records[4], b"inverse network/validation loss"));
        assert!(holds(records[4], &0.125_f32.to_le_bytes()));
    }

    #[test]
    fn each_sitting_has_its_own_file() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..3 {
            EventFile::create(folder.path()).unwrap().finish().unwrap();
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
        let file = folder.path().join("events.out.tfevents.000001");
        assert!(EventFile::create(&file).is_err(), "a file is no folder");
    }
}
