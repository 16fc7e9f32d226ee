//! Table 4: how well each method's proposals match the true posterior p(x | y), by MMD.

use serde::Serialize;

use super::{Publication, ratio};
use crate::study::{Plan, REJECTION_WIDTH, Work, read_match};
use crate::{Study, StudyError, Table, paper_table};

/// What the halves of the reference are called among the methods: the floor of the comparison.
const FLOOR: &str = "reference, other half";

#[derive(Serialize)]
struct Row {
    task: String,
    method: String,
    mmd: f64,
    paper: Option<f64>,
    targets: usize,
    left_out: usize,
}

impl Study {
    /// The matching of every method on every task whose posterior rejection can draw.
    pub(super) fn matching_plan(&self) -> Result<Plan<'_>, StudyError> {
        let mut planner = self.planner();
        for (task, method) in self.pairs().filter(|(task, _)| task.dim_y() <= REJECTION_WIDTH) {
            let reference = planner.reference(task)?;
            planner.matching(task, method, &reference)?;
        }
        let plan = planner.plan();
        if plan.cells().is_empty() {
            let needs = format!(
                "a task of at most {REJECTION_WIDTH} measurements: rejection finds no design with more"
            );
            return Err(StudyError::NothingToShow { item: "Table 4", needs });
        }
        Ok(plan)
    }

    pub(super) fn posterior_matching(&self, plan: &Plan<'_>) -> Result<Publication, StudyError> {
        let paper = paper_table(4)?;
        let mut rows = Vec::new();
        for planned in plan.cells() {
            let method = match &planned.work {
                Work::Match { method, .. } => method.label(),
                Work::DrawReference => FLOOR,
                _ => continue,
            };
            let found = read_match(&self.store().folder(&planned.id))?;
            let (task, method) = (planned.cell.task.clone(), method.to_owned());
            let paper = paper.value(&task, &method);
            rows.push(Row {
                task,
                method,
                mmd: found.mmd,
                paper,
                targets: found.targets,
                left_out: found.left_out,
            });
        }
        // The floor is below a task's methods.
        rows.sort_by_key(|row| {
            let place = self.tasks().iter().position(|task| task.name() == row.task);
            (place, row.method == FLOOR)
        });
        let mut table =
            Table::new(&["task", "method", "MMD", "paper", "ours / paper", "targets", "left out"]);
        for row in &rows {
            table.push(vec![
                row.task.clone(),
                row.method.clone(),
                format!("{:.3}", row.mmd),
                row.paper.map_or_else(String::new, |paper| paper.to_string()),
                ratio(row.mmd, row.paper),
                row.targets.to_string(),
                row.left_out.to_string(),
            ]);
        }
        Publication::new("table4", "how well proposals match the posterior, MMD").with_table(&rows, table)
    }
}
