//! Reference posteriors in a file: one JSON document with what they were drawn for.

use std::borrow::Cow;
use std::fmt::Debug;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Instant;

use inverse_core::{InvalidArgument, RandomStreams, Task, write_atomically};
use ndarray::{Array1, Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use super::{PosteriorSample, ReferencePosterior};
use crate::MetricError;

const FORMAT: &str = "inverse reference posteriors 1";

/// The scale is measured again on loading; libraries of mathematical functions differ in the last bits only.
const SCALE_TOLERANCE: f64 = 1e-9;

#[derive(Serialize, Deserialize)]
struct Document<'a> {
    format: Cow<'a, str>,
    task: Cow<'a, str>,
    seed: u64,
    settings: ReferencePosterior,
    /// Tells tasks of one name apart whose simulator or prior has changed.
    scale: Array1<f64>,
    y: Array2<f64>,
    samples: Cow<'a, [PosteriorSample]>,
}

impl ReferencePosterior {
    /// Writes posteriors to one file, with the settings, task name, seed and targets they were drawn for.
    ///
    /// * `y`: targets, (targets, `dim_y`), as in [`ReferencePosterior::draw`]
    ///
    /// The file appears whole or not at all and holds every bit of the designs.
    ///
    /// # Errors
    /// [`MetricError::InvalidArgument`] as in [`ReferencePosterior::draw`], or where `samples` is not what these
    /// settings, task and targets can give; [`MetricError::Io`] where the file cannot be written.
    pub fn save(
        &self,
        path: &Path,
        task: &dyn Task,
        y: ArrayView2<'_, f64>,
        streams: RandomStreams,
        samples: &[PosteriorSample],
    ) -> Result<(), MetricError> {
        self.check(task, y)?;
        let scale = Self::output_scale(task, streams)?;
        self.save_scaled(path, task, y, streams, samples, scale)
    }

    /// Reads posteriors that were drawn for exactly this request.
    ///
    /// * `y`: targets, (targets, `dim_y`), as in [`ReferencePosterior::draw`]
    ///
    /// Another `time_limit` is accepted where every sample is complete, because it changed nothing then. The
    /// [`ReferencePosterior::output_scale`] is measured again (4,096 simulations): it gives away a simulator or a
    /// prior that has changed under the task's name.
    ///
    /// # Errors
    /// [`MetricError::InvalidArgument`] as in [`ReferencePosterior::draw`]; [`MetricError::Io`] where the file
    /// cannot be read; [`MetricError::Format`] where it is another kind of file or damaged;
    /// [`MetricError::Mismatch`], naming what differs, where it was drawn for another request.
    pub fn load(
        &self,
        path: &Path,
        task: &dyn Task,
        y: ArrayView2<'_, f64>,
        streams: RandomStreams,
    ) -> Result<Vec<PosteriorSample>, MetricError> {
        self.check(task, y)?;
        let text = fs::read(path).map_err(|source| MetricError::Io { path: path.into(), source })?;
        let document: Document<'_> = serde_json::from_slice(&text)
            .map_err(|error| format_error(path, "a JSON document of posteriors", error.to_string()))?;
        if document.format != FORMAT {
            return Err(format_error(path, FORMAT, document.format.into()));
        }
        self.check_request(path, task, y, streams, &document)?;
        if let Err(found) = self.check_samples(task, y, &document.samples) {
            return Err(format_error(path, "samples that fit their settings", found));
        }
        Ok(document.samples.into_owned())
    }

    /// Reads the posteriors where the file exists, else draws them and writes the file.
    ///
    /// A file that is damaged or was drawn for another request is an error, never overwritten: delete it to draw
    /// anew. Samples that a limit left short are kept, too, with their flag.
    ///
    /// # Errors
    /// As [`ReferencePosterior::load`], [`ReferencePosterior::draw`] and [`ReferencePosterior::save`]. A folder
    /// that does not exist is noticed before the draw.
    ///
    /// ```
    /// use inverse_core::{BoxPrior, FnSimulator, RandomStreams, SimulatedTask};
    /// use inverse_metrics::{MetricError, ReferencePosterior};
    /// use ndarray::array;
    ///
    /// let square = FnSimulator::new(1, 1, |x, y| y[0] = x[0] * x[0])?;
    /// let task = SimulatedTask::new("square", square, BoxPrior::new(&[-1.0], &[1.0])?)?;
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("posteriors.json");
    ///
    /// let settings = ReferencePosterior { samples: 50, ..ReferencePosterior::default() };
    /// let (y, streams) = (array![[0.25]], RandomStreams::new(1));
    /// let drawn = settings.draw_cached(&path, &task, y.view(), streams)?;
    /// assert_eq!(settings.draw_cached(&path, &task, y.view(), streams)?, drawn);
    /// let other = settings.draw_cached(&path, &task, y.view(), RandomStreams::new(2));
    /// assert!(matches!(other, Err(MetricError::Mismatch { argument, .. }) if argument == "seed"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn draw_cached(
        &self,
        path: &Path,
        task: &dyn Task,
        y: ArrayView2<'_, f64>,
        streams: RandomStreams,
    ) -> Result<Vec<PosteriorSample>, MetricError> {
        match self.load(path, task, y, streams) {
            Err(MetricError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
            other => return other,
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder {
            fs::metadata(folder).map_err(|source| MetricError::Io { path: folder.into(), source })?;
        }
        let started = Instant::now();
        let scale = Self::output_scale(task, streams)?;
        let samples = self.draw_within(task, y, &scale, streams, started)?;
        self.save_scaled(path, task, y, streams, &samples, scale)?;
        Ok(samples)
    }

    fn save_scaled(
        &self,
        path: &Path,
        task: &dyn Task,
        y: ArrayView2<'_, f64>,
        streams: RandomStreams,
        samples: &[PosteriorSample],
        scale: Array1<f64>,
    ) -> Result<(), MetricError> {
        self.check_samples(task, y, samples)
            .map_err(|found| InvalidArgument::new("samples", "samples that fit their settings", found))?;
        let document = Document {
            format: FORMAT.into(),
            task: task.name().into(),
            seed: streams.seed(),
            settings: *self,
            scale,
            y: y.to_owned(),
            samples: samples.into(),
        };
        let io_error = |source| MetricError::Io { path: path.into(), source };
        let text = serde_json::to_vec(&document).map_err(|error| io_error(error.into()))?;
        write_atomically(path, &text).map_err(io_error)
    }

    /// Holds each part of the request against the file's.
    fn check_request(
        &self,
        path: &Path,
        task: &dyn Task,
        y: ArrayView2<'_, f64>,
        streams: RandomStreams,
        document: &Document<'_>,
    ) -> Result<(), MetricError> {
        let stored = &document.settings;
        same(path, "task", task.name(), document.task.as_ref())?;
        same(path, "seed", streams.seed(), document.seed)?;
        same(path, "band", self.band, stored.band)?;
        same(path, "samples", self.samples, stored.samples)?;
        same(path, "draw_limit", self.draw_limit, stored.draw_limit)?;
        same(path, "block", self.block, stored.block)?;
        if !document.samples.iter().all(|sample| sample.complete) {
            same(path, "time_limit", self.time_limit, stored.time_limit)?;
        }
        same(path, "y", y.dim(), document.y.dim())?;
        for (row, (wanted, stored)) in y.rows().into_iter().zip(document.y.rows()).enumerate() {
            if wanted != stored {
                return Err(mismatch(path, "y", format!("{wanted} in row {row}"), stored.to_string()));
            }
        }
        let scale = Self::output_scale(task, streams)?;
        let close = |(a, b): (&f64, &f64)| (a - b).abs() <= SCALE_TOLERANCE * a.abs();
        if scale.len() != document.scale.len() || !scale.iter().zip(&document.scale).all(close) {
            return Err(mismatch(path, "output_scale", scale.to_string(), document.scale.to_string()));
        }
        Ok(())
    }

    /// What is wrong with samples for this request.
    fn check_samples(
        &self,
        task: &dyn Task,
        y: ArrayView2<'_, f64>,
        samples: &[PosteriorSample],
    ) -> Result<(), String> {
        if samples.len() != y.nrows() {
            return Err(format!("{} samples for {} targets", samples.len(), y.nrows()));
        }
        for (target, PosteriorSample { designs, draws, complete }) in samples.iter().enumerate() {
            let (rows, width) = designs.dim();
            let fits = width == task.dim_x()
                && rows <= self.samples
                && rows as u64 <= *draws
                && *draws <= self.draw_limit
                && *complete == (rows == self.samples)
                && designs.iter().all(|value| value.is_finite());
            if !fits {
                let state = if *complete { "complete" } else { "incomplete" };
                return Err(format!(
                    "{rows} by {width} {state} designs of {draws} draws for target {target}"
                ));
            }
        }
        Ok(())
    }
}

fn format_error(path: &Path, expected: &str, found: String) -> MetricError {
    MetricError::Format { path: path.into(), expected: expected.into(), found }
}

fn same<T: PartialEq + Debug>(path: &Path, argument: &str, expected: T, found: T) -> Result<(), MetricError> {
    if expected == found {
        return Ok(());
    }
    Err(mismatch(path, argument, format!("{expected:?}"), format!("{found:?}")))
}

fn mismatch(path: &Path, argument: &str, expected: String, found: String) -> MetricError {
    MetricError::Mismatch { path: path.into(), argument: argument.into(), expected, found }
}
