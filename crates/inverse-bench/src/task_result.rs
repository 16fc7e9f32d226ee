//! The score of a model on a task, as rows of tables and as curves.

use inverse_metrics::ResimulationErrors;
use serde::Serialize;

use crate::paper::paper_name;
use crate::table::scientific;
use crate::{Panel, PanelCurve, StudyError, Table, paper_table};

/// The score of one model on one task's held-out targets.
#[derive(Debug, Clone)]
pub struct TaskResult {
    /// The task's name.
    pub task: String,
    /// The method's name, as tables print it.
    pub method: String,
    /// Errors of all proposals.
    pub errors: ResimulationErrors,
    /// r_1 of each training on the validation targets; the lowest was chosen.
    pub validation: Vec<f64>,
}

/// One cell of a table, beside the paper's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoreRow {
    /// The task's name.
    pub task: String,
    /// The method's name.
    pub method: String,
    /// T.
    pub proposals: usize,
    /// r_T (eq. 11).
    pub mean: f64,
    /// Lower end of the 95% interval of r_T.
    pub lower: f64,
    /// Upper end of the 95% interval of r_T.
    pub upper: f64,
    /// Median over targets.
    pub median: f64,
    /// The worst target.
    pub worst: f64,
    /// Proposals, up to T = all, that could not be evaluated.
    pub invalid: usize,
    /// The paper's r_T.
    pub paper: Option<f64>,
}

/// One point of a curve of r_T against T.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CurveRow {
    /// The task's name.
    pub task: String,
    /// The method's name.
    pub method: String,
    /// T.
    pub proposals: usize,
    /// r_T (eq. 11).
    pub mean: f64,
    /// First quartile over targets.
    pub lower_quartile: f64,
    /// Median over targets.
    pub median: f64,
    /// Third quartile over targets.
    pub upper_quartile: f64,
}

impl TaskResult {
    /// The curve of r_T against T, one row a T.
    pub fn curve_rows(&self) -> Vec<CurveRow> {
        let curve = self.errors.curve();
        (0..curve.mean.len())
            .map(|index| CurveRow {
                task: self.task.clone(),
                method: self.method.clone(),
                proposals: index + 1,
                mean: curve.mean[index],
                lower_quartile: curve.lower_quartile[index],
                median: curve.median[index],
                upper_quartile: curve.upper_quartile[index],
            })
            .collect()
    }

    /// The curve as a figure draws it.
    pub fn panel_curve(&self) -> PanelCurve {
        let curve = self.errors.curve();
        PanelCurve {
            label: self.method.clone(),
            mean: curve.mean,
            quartiles: (curve.lower_quartile, curve.upper_quartile),
        }
    }
}

/// One panel a task, with the curves of all its results; where a task has one, also the paper's figures at
/// T = 1 and T = 200.
///
/// # Errors
/// Never for the tables named here; the signature is that of [`paper_table`].
pub fn panels(results: &[TaskResult]) -> Result<Vec<Panel>, StudyError> {
    let mut panels: Vec<Panel> = Vec::new();
    for group in results.chunk_by(|a, b| a.task == b.task) {
        let mut references = Vec::new();
        if let [result] = group {
            for (number, proposals) in [(7, 1.0), (3, 200.0)] {
                if let Some(value) = paper_table(number)?.value(&result.task, &result.method) {
                    references.push((format!("the paper's {}", result.method), proposals, value));
                }
            }
        }
        let title = paper_name(&group[0].task).to_owned();
        let curves = group.iter().map(TaskResult::panel_curve).collect();
        panels.push(Panel { title, curves, references });
    }
    Ok(panels)
}

/// Rows as a table: ours beside the paper's.
pub fn score_table(rows: &[ScoreRow]) -> Table {
    let header = ["task", "method", "T", "r_T", "95% interval", "worst target", "paper", "ours / paper"];
    let mut table = Table::new(&header);
    for row in rows {
        let ratio = row.paper.map(|paper| format!("{:.2e}", row.mean / paper));
        table.push(vec![
            row.task.clone(),
            row.method.clone(),
            row.proposals.to_string(),
            scientific(row.mean),
            format!("{} to {}", scientific(row.lower), scientific(row.upper)),
            scientific(row.worst),
            row.paper.map_or_else(String::new, scientific),
            ratio.unwrap_or_default(),
        ]);
    }
    table
}
