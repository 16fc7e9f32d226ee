//! Tables 3 and 7 and Figure 3: r_T of every method on every task.

use super::Publication;
use crate::study::Plan;
use crate::{CurveFigure, Study, StudyError, TaskResult, panels, score_table};

impl Study {
    pub(super) fn resimulation_errors(&self, plan: &Plan<'_>) -> Result<Publication, StudyError> {
        let results = self.evaluations(plan)?;
        let mut rows = self.score_rows(&results, 1, 7)?;
        if self.arguments().proposals() > 1 {
            rows.extend(self.score_rows(&results, self.arguments().proposals(), 3)?);
        }
        let table = score_table(&rows);
        let publication = Publication::new("table3", "re-simulation error r_T").with_table(&rows, table)?;
        with_curves(publication, &results)
    }

    pub(super) fn errors_of_one_proposal(&self, plan: &Plan<'_>) -> Result<Publication, StudyError> {
        let rows = self.score_rows(&self.evaluations(plan)?, 1, 7)?;
        let table = score_table(&rows);
        Publication::new("table7", "r_1, the error of one proposal").with_table(&rows, table)
    }

    pub(super) fn error_curves(&self, plan: &Plan<'_>) -> Result<Publication, StudyError> {
        with_curves(Publication::new("figure3", "r_T against T"), &self.evaluations(plan)?)
    }
}

fn with_curves(publication: Publication, results: &[TaskResult]) -> Result<Publication, StudyError> {
    let curves: Vec<_> = results.iter().flat_map(TaskResult::curve_rows).collect();
    let figure = CurveFigure { panels: panels(results)? };
    Ok(publication.with_rows("curves.csv", &curves)?.with_figure("figure3", figure))
}
