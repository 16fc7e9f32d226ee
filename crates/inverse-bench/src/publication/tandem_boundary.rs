//! Figure 8: what the boundary loss does for the tandem model, on D1 and D3.

use super::Publication;
use super::ablation::is_ablated;
use crate::study::{Plan, Variant};
use crate::{CurveFigure, Study, StudyError, TaskResult, panels, score_table};

impl Study {
    /// The tandem model with its boundary loss and without.
    pub(super) fn tandem_plan(&self) -> Result<Plan<'_>, StudyError> {
        let mut planner = self.planner();
        for (task, with, without) in self.tandems().filter(|(task, ..)| is_ablated(*task)) {
            for (label, method) in [("with boundary loss", with), ("without boundary loss", without)] {
                planner.evaluation(task, Variant { label: label.into(), method, inference: None })?;
            }
        }
        let plan = planner.plan();
        if plan.cells().is_empty() {
            let needs = "the tandem model on ballistics or robotic-arm".into();
            return Err(StudyError::NothingToShow { item: "Figure 8", needs });
        }
        Ok(plan)
    }

    pub(super) fn tandem_boundary(&self, plan: &Plan<'_>) -> Result<Publication, StudyError> {
        let results = self.evaluations(plan)?;
        let rows = self.score_rows(&results, 1, 7)?;
        let curves: Vec<_> = results.iter().flat_map(TaskResult::curve_rows).collect();
        Ok(Publication::new("figure8", "what the boundary loss does for the tandem model, r_1")
            .with_table(&rows, score_table(&rows))?
            .with_rows("figure8_curves.csv", &curves)?
            .with_figure("figure8", CurveFigure { panels: panels(&results)? }))
    }
}
