//! Figure 4: where on D2, the sine wave, each method looks for one measurement.

use inverse_core::{InverseModel, Simulator, Task};
use inverse_tasks::SineWave;
use ndarray::{Array2, Axis};
use serde::Serialize;

use super::Publication;
use crate::proposal_limit::check_proposals;
use crate::study::{Plan, streams};
use crate::{ErrorMap, ErrorMapPanel, ResidualGrid, Study, StudyError, Table, scientific};

/// The measurement of the paper's figure.
pub(super) const TARGET: f64 = -0.3;

/// Grid points a side: 40 a period.
const POINTS: usize = 121;

/// How near a design must be to find a curve; the curves' widths are ten times that.
const NEAR: f64 = 0.05;

/// What a method makes of the target.
#[derive(Serialize)]
struct Row {
    method: &'static str,
    designs: usize,
    outside: usize,
    median: f64,
    worst: f64,
    curves_found: usize,
    curves: usize,
}

impl Study {
    /// The trainings on D2.
    pub(super) fn sine_plan(&self) -> Result<Plan<'_>, StudyError> {
        let mut planner = self.planner();
        let (proposals, pairs) = (self.arguments().proposals(), self.arguments().profile().pairs());
        for (task, method) in self.pairs().filter(|(task, _)| task.name() == SineWave::NAME) {
            check_proposals(proposals, method, pairs)?;
            planner.trials(task, method)?;
        }
        let plan = planner.plan();
        if plan.cells().is_empty() {
            return Err(StudyError::NothingToShow { item: "Figure 4", needs: "the task sine-wave".into() });
        }
        Ok(plan)
    }

    /// Every method's designs for one target over the error of all designs of D2. The table tells how many of the
    /// curves f(x) = y a method finds: those with a design within 0.05.
    ///
    /// # Errors
    /// [`StudyError::NothingToShow`] where D2 is not among the study's tasks; [`StudyError::InvalidArgument`] where a
    /// method cannot make that many proposals; else as [`Study::best_model`], or where a model makes no proposals.
    pub fn sine_map(&self, target: f64) -> Result<Publication, StudyError> {
        self.complete(&self.sine_plan()?)?;
        let task = SineWave::new();
        let grid = ResidualGrid::simulate(&task, target, task.prior().domain(), POINTS)?;
        let level_set = grid.level_set();
        let (mut rows, mut panels) = (Vec::new(), Vec::new());
        for (_, method) in self.pairs().filter(|(task, _)| task.name() == SineWave::NAME) {
            let (model, _) = self.best_model(&task, method)?;
            let designs = self.sine_designs(&task, &*model, target)?;
            let points: Vec<[f64; 2]> = designs.rows().into_iter().map(|x| [x[0], x[1]]).collect();
            let y = task.simulate(designs.view())?;
            let mut errors: Vec<f64> = y.iter().map(|y| (y - target).abs()).collect();
            errors.sort_by(f64::total_cmp);
            rows.push(Row {
                method: method.label(),
                designs: points.len(),
                outside: points.iter().filter(|x| !grid.contains(**x)).count(),
                median: errors[errors.len() / 2],
                worst: errors[errors.len() - 1],
                curves_found: level_set.curves_near(&points, NEAR),
                curves: level_set.curves().len(),
            });
            panels.push(ErrorMapPanel { title: method.label().into(), designs: points });
        }
        let figure = ErrorMap { grid, names: ["x₁".into(), "x₂".into()], panels };
        let title = format!("where each method looks for y = {target} on the sine wave");
        Ok(Publication::new("figure4", &title)
            .with_table(&rows, table(&rows))?
            .with_figure("figure4", figure))
    }

    /// Designs for one target, (count, 2).
    fn sine_designs(
        &self,
        task: &SineWave,
        model: &dyn InverseModel,
        target: f64,
    ) -> Result<Array2<f64>, StudyError> {
        let target = Array2::from_elem((1, 1), target);
        let mut rng = streams(self.arguments(), task).stream("figure 4 proposals", 0);
        let proposals = model.propose(target.view(), self.arguments().proposals(), &mut rng)?;
        Ok(proposals.designs().index_axis(Axis(0), 0).to_owned())
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["method", "outside", "median error", "worst error", "curves found"]);
    for row in rows {
        table.push(vec![
            row.method.into(),
            format!("{:.1}%", 100.0 * row.outside as f64 / row.designs as f64),
            scientific(row.median),
            scientific(row.worst),
            format!("{} of {}", row.curves_found, row.curves),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StudyArguments;

    #[test]
    fn a_study_without_the_task_has_no_map() {
        let folder = tempfile::tempdir().unwrap();
        let (out, tasks) = (Some(folder.path().into()), vec!["D1".to_owned()]);
        let study = Study::new(&StudyArguments { tasks, out, ..StudyArguments::default() }).unwrap();
        let error = study.sine_map(TARGET).err().unwrap();
        assert_eq!(error.to_string(), "Figure 4 needs the task sine-wave");
    }
}
