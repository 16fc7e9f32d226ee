//! r_T of a model on the held-out targets: resumed where it was killed.

use std::fs;
use std::path::Path;
use std::time::Instant;

use inverse_core::{Dataset, InvalidArgument, InverseModel, Proposals, Stream, Task};
use inverse_metrics::{ResimulationErrors, resimulate};
use ndarray::{Array2, Array3, ArrayView2, Axis, concatenate, s};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::super::plan::streams;
use super::{Study, read_json, write_json};
use crate::progress::Progress;
use crate::store::hexadecimal;
use crate::{ResultFolder, StudyError};

/// Targets a call, so that little is lost by a kill; proposals do not depend on it.
const TARGET_BLOCK: usize = 10;

const ERRORS: &str = "errors.csv";
const PROPOSALS: &str = "proposals.json";
const PARTIAL: &str = "partial.json";

/// One line of `errors.csv`.
#[derive(Debug, Serialize, Deserialize)]
struct ErrorRow {
    /// Counted from 1.
    target: usize,
    /// Counted from 1, best guess first.
    proposal: usize,
    /// In units of y²; infinite where the proposal is invalid.
    squared_error: f64,
}

/// What a killed evaluation has done: designs of the first targets, and where its random stream stands.
#[derive(Serialize, Deserialize)]
struct Partial {
    designs: Array3<f64>,
    /// In decimal: JSON has no numbers of 128 bits.
    stream_position: String,
    /// SHA-256 of the others and of the cell's name: no entry speaks for a cell that is not finished.
    digest: String,
}

impl Partial {
    fn new(folder: &Path, designs: Array3<f64>, stream_position: String) -> Self {
        let digest = Self::digest(folder, &designs, &stream_position);
        Self { designs, stream_position, digest }
    }

    fn digest(folder: &Path, designs: &Array3<f64>, stream_position: &str) -> String {
        let mut hasher = Sha256::new();
        hasher.update(folder.file_name().unwrap_or_default().as_encoded_bytes());
        hasher.update(format!(" {stream_position} {:?}", designs.dim()));
        designs.iter().for_each(|value| hasher.update(value.to_le_bytes()));
        hexadecimal(&hasher.finalize())
    }
}

impl Study {
    pub(super) fn evaluate(
        &self,
        folder: &Path,
        task: &dyn Task,
        model: &dyn InverseModel,
        progress: &Progress,
    ) -> Result<(), StudyError> {
        let targets = self.test_targets(task)?;
        progress.stage(targets.len(), format!("{}: searching", model.name()));
        let mut rng = streams(&self.arguments, task).stream("test proposals", 0);
        let designs = self.propose(folder, model, targets.y(), &mut rng, progress)?;
        let proposals = Proposals::new(designs)?;
        let errors = resimulate(task, &proposals, targets.y())?;
        write_json(folder, PROPOSALS, &proposals.designs())?;
        write_errors(folder, errors.errors())?;
        let _ = fs::remove_file(folder.join(PARTIAL));
        Ok(())
    }

    /// A task's held-out targets, with the designs behind them.
    pub(crate) fn test_targets(&self, task: &dyn Task) -> Result<Dataset, StudyError> {
        let mut stream = streams(&self.arguments, task).stream("test targets", 0);
        Ok(Dataset::from_task(task, self.arguments.targets(), &mut stream)?)
    }

    /// Proposes block by block; the same proposals as one call gives, because targets are drawn in order.
    fn propose(
        &self,
        folder: &Path,
        model: &dyn InverseModel,
        y: ArrayView2<'_, f64>,
        rng: &mut Stream,
        progress: &Progress,
    ) -> Result<Array3<f64>, StudyError> {
        let count = self.arguments.proposals();
        let mut blocks = go_on(folder, y.nrows(), count, rng)?;
        let done: usize = blocks.iter().map(|block| block.dim().0).sum();
        progress.advance(done);
        let (every, mut recorded) = (self.arguments.profile().record_every(), Instant::now());
        for block in y.slice(s![done.., ..]).axis_chunks_iter(Axis(0), TARGET_BLOCK) {
            blocks.push(model.propose(block, count, rng)?.designs().to_owned());
            progress.advance(block.nrows());
            if recorded.elapsed() >= every {
                let stream_position = rng.get_word_pos().to_string();
                write_json(folder, PARTIAL, &Partial::new(folder, joined(&blocks)?, stream_position))?;
                recorded = Instant::now();
            }
        }
        joined(&blocks)
    }
}

/// What an earlier sitting has done, if anything; moves the stream to where that one left it.
fn go_on(
    folder: &Path,
    targets: usize,
    count: usize,
    rng: &mut Stream,
) -> Result<Vec<Array3<f64>>, StudyError> {
    if !folder.join(PARTIAL).exists() {
        return Ok(Vec::new());
    }
    let Partial { designs, stream_position, digest } = read_json(folder, PARTIAL)?;
    let damaged = |reason| StudyError::Damaged { file: folder.join(PARTIAL).display().to_string(), reason };
    if digest != Partial::digest(folder, &designs, &stream_position) {
        return Err(damaged("its digest is not that of this cell's designs".into()));
    }
    let position = stream_position.parse().ok();
    let (done, proposed, _) = designs.dim();
    let Some(position) = position.filter(|_| done <= targets && proposed == count) else {
        let expected = format!("{count} designs for up to {targets} targets");
        return Err(damaged(format!(
            "expected {expected}, found {proposed} for {done} at `{stream_position}`"
        )));
    };
    rng.set_word_pos(position);
    Ok(vec![designs])
}

fn joined(blocks: &[Array3<f64>]) -> Result<Array3<f64>, StudyError> {
    let views: Vec<_> = blocks.iter().map(|block| block.view()).collect();
    concatenate(Axis(0), &views)
        .map_err(|error| InvalidArgument::new("model", "designs of one width", error).into())
}

pub(super) fn write_errors(folder: &Path, errors: ArrayView2<'_, f64>) -> Result<(), StudyError> {
    let row = |((target, proposal), error): ((usize, usize), &f64)| ErrorRow {
        target: target + 1,
        proposal: proposal + 1,
        squared_error: *error,
    };
    let rows: Vec<ErrorRow> = errors.indexed_iter().map(row).collect();
    Ok(ResultFolder::create(folder)?.write_csv(ERRORS, &rows)?)
}

/// The errors of a finished evaluation.
pub(crate) fn read_errors(folder: &Path) -> Result<ResimulationErrors, StudyError> {
    let path = folder.join(ERRORS);
    let damaged = |reason: String| StudyError::Damaged { file: path.display().to_string(), reason };
    let mut reader = csv::Reader::from_path(&path).map_err(|error| damaged(error.to_string()))?;
    let rows: Vec<ErrorRow> =
        reader.deserialize().collect::<Result<_, _>>().map_err(|error| damaged(error.to_string()))?;
    let (targets, count) = rows.last().map_or((0, 0), |row| (row.target, row.proposal));
    let errors = rows.iter().map(|row| row.squared_error).collect();
    let errors = Array2::from_shape_vec((targets, count), errors)
        .map_err(|_| damaged(format!("{} lines for {targets} targets times {count}", rows.len())))?;
    Ok(ResimulationErrors::from_errors(errors)?)
}

/// The designs of a finished evaluation, (targets, proposals, `dim_x`).
pub(crate) fn read_proposals(folder: &Path) -> Result<Proposals, StudyError> {
    Ok(Proposals::new(read_json(folder, PROPOSALS)?)?)
}
