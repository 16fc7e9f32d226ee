//! Table 5 and Figure 5: what Ω and the boundary loss do for NA, on D1 and D3.

use inverse_core::Task;
use inverse_models::presets::PresetMethod;
use inverse_models::{InputDescentSettings, NeuralAdjoint, Starts};

use super::{Publication, ratio};
use crate::paper::paper_name;
use crate::proposal_limit::neural_adjoint_settings;
use crate::study::{InferenceSettings, Plan, Variant};
use crate::{CurveFigure, Panel, ScoreRow, Study, StudyError, Table, TaskResult, scientific};

/// The tasks of the paper's ablations.
const TASKS: [&str; 2] = ["ballistics", "robotic-arm"];

/// The paper's experiments E1 to E4 from NA's own search.
///
/// Without Ω, starts are uniform over the domain, μ_x ± R_x / 2; the paper says "a uniform sampling distribution" and no
/// more.
pub fn ablation_experiments(
    with: &InputDescentSettings,
) -> [(&'static str, Starts, InputDescentSettings); 4] {
    let without = InputDescentSettings { boundary_weight: 0.0, ..with.clone() };
    [
        ("E1", Starts::Uniform, without.clone()),
        ("E2", Starts::Uniform, with.clone()),
        ("E3", Starts::Prior, without),
        ("E4", Starts::Prior, with.clone()),
    ]
}

/// Whether the paper ablates on that task.
pub(super) fn is_ablated(task: &dyn Task) -> bool {
    TASKS.contains(&task.name())
}

impl Study {
    /// The four experiments, which share a task's surrogates; only the search differs.
    pub(super) fn ablation_plan(&self) -> Result<Plan<'_>, StudyError> {
        let mut planner = self.planner();
        let neural_adjoint = |method: &str| method == NeuralAdjoint::NAME;
        for (task, method) in
            self.pairs().filter(|(task, method)| is_ablated(*task) && neural_adjoint(method.name()))
        {
            let descent = neural_adjoint_settings(method)?.descent;
            for (label, starts, descent) in ablation_experiments(&descent) {
                let inference = Some(InferenceSettings { starts, descent, levenberg_marquardt: None });
                planner.evaluation(task, Variant { label: label.into(), method, inference })?;
            }
        }
        let plan = planner.plan();
        if plan.cells().is_empty() {
            let needs = "NA on ballistics or robotic-arm".into();
            return Err(StudyError::NothingToShow { item: "Table 5", needs });
        }
        Ok(plan)
    }

    pub(super) fn ablation(&self, plan: &Plan<'_>) -> Result<Publication, StudyError> {
        self.publish_ablation(&self.evaluations(plan)?)
    }

    /// Table 5 and Figure 5 of the results of [`ablation_experiments`], tasks leading.
    ///
    /// # Errors
    /// [`StudyError`] where the rows cannot be written as CSV.
    pub fn publish_ablation(&self, results: &[TaskResult]) -> Result<Publication, StudyError> {
        let rows = self.score_rows(results, self.arguments().proposals(), 5)?;
        let panel = |group: &[TaskResult]| Panel {
            title: paper_name(&group[0].task).to_owned(),
            curves: group.iter().map(TaskResult::panel_curve).collect(),
            references: Vec::new(),
        };
        let panels = results.chunk_by(|a, b| a.task == b.task).map(panel).collect();
        let curves: Vec<_> = results.iter().flat_map(TaskResult::curve_rows).collect();
        Ok(Publication::new("table5", "what Ω and the boundary loss do for NA, r_T")
            .with_table(&rows, table(&rows))?
            .with_rows("figure5_curves.csv", &curves)?
            .with_figure("figure5", CurveFigure { panels }))
    }
}

fn table(rows: &[ScoreRow]) -> Table {
    let mut table = Table::new(&[
        "task",
        "experiment",
        "Ω",
        "L_bnd",
        "r_T",
        "95% interval",
        "worst target",
        "paper",
        "ours / paper",
    ]);
    for row in rows {
        let starts_from_prior = matches!(row.method.as_str(), "E3" | "E4");
        let bounded = matches!(row.method.as_str(), "E2" | "E4");
        let mark = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        table.push(vec![
            row.task.clone(),
            row.method.clone(),
            mark(starts_from_prior),
            mark(bounded),
            scientific(row.mean),
            format!("{} to {}", scientific(row.lower), scientific(row.upper)),
            scientific(row.worst),
            row.paper.map_or_else(String::new, scientific),
            ratio(row.mean, row.paper),
        ]);
    }
    table
}
