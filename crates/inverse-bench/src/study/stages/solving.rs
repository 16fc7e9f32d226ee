//! The errors of the metamaterial's designs under the solver that the task's proxy stands for.

use std::path::Path;

use inverse_core::{Proposals, Task};
use inverse_metrics::resimulate;
use inverse_tasks::metamaterial::{MetamaterialSettings, MetamaterialSolver};
use ndarray::Axis;

use super::Study;
use super::evaluation::{read_proposals, write_errors};
use crate::StudyError;
use crate::progress::Progress;

impl Study {
    pub(super) fn solve(
        &self,
        folder: &Path,
        task: &dyn Task,
        evaluation: Option<&str>,
        progress: &Progress,
    ) -> Result<(), StudyError> {
        progress.stage(1, "solving");
        let targets = self.test_targets(task)?;
        let proposals = match evaluation {
            Some(evaluation) => read_proposals(&self.store.folder(evaluation))?,
            None => Proposals::new(targets.x().insert_axis(Axis(1)).to_owned())?,
        };
        let solver = MetamaterialSolver::new(MetamaterialSettings::default())?;
        write_errors(folder, resimulate(&solver, &proposals, targets.y())?.errors())?;
        progress.advance(1);
        Ok(())
    }
}
