//! D4 scored by the solver itself, and Figures 2 and 13: how much of a method's error is the proxy's.
//!
//! Targets are spectra of the proxy, the task's f. The designs proposed for them are simulated twice: by the proxy,
//! which gives Table 3's r_T, and by the solver that it stands for. The line "true designs" is of the designs behind the
//! targets: under the solver it has the proxy's own error, a floor for methods that know the proxy only.

use std::f64::consts::TAU;

use inverse_core::{Proposals, Simulator};
use inverse_metrics::{ResimulationErrors, resimulate};
use inverse_tasks::metamaterial::{MetamaterialSettings, MetamaterialSolver, MetamaterialTask, SuperCell};
use ndarray::{Array2, ArrayView2, Axis, s};
use serde::Serialize;

use super::Publication;
use crate::study::{Plan, Work, read_errors};
use crate::{LineFigure, LinePanel, Series, Study, StudyError, Table, scientific};

/// Spectra in the figure.
const SPECTRA: usize = 6;

/// r_T of one method under both simulators.
#[derive(Serialize)]
struct Row {
    method: String,
    proposals: usize,
    under_proxy: f64,
    under_solver: f64,
}

/// Both simulators' r_1 and r_T of the same proposals.
fn rows(
    method: &str,
    under_proxy: &ResimulationErrors,
    under_solver: &ResimulationErrors,
) -> Result<Vec<Row>, StudyError> {
    let mut counts = vec![1, under_solver.errors().ncols()];
    counts.dedup();
    let row = |proposals| {
        let (under_proxy, under_solver) = (under_proxy.mean(proposals)?, under_solver.mean(proposals)?);
        Ok(Row { method: method.to_owned(), proposals, under_proxy, under_solver })
    };
    counts.into_iter().map(row).collect()
}

/// Seen from above: three by two super-cells of a design, in µm.
fn layout(design: &[f64; 8], period: f64) -> LinePanel {
    let cell = SuperCell::from_design(design);
    let quarter = period / 4.0;
    let sites = [(-quarter, -quarter), (quarter, -quarter), (-quarter, quarter), (quarter, quarter)];
    let mut circles = Vec::new();
    for (column, row) in (-1..=1).flat_map(|column| (0..2).map(move |row| (column, row))) {
        let (x, y) = (f64::from(column) * period, f64::from(row) * period);
        for ((dx, dy), cylinder) in sites.iter().zip(&cell.cylinders) {
            let around = (0..=60).map(|step| TAU * f64::from(step) / 60.0);
            let point =
                |angle: f64| (x + dx + cylinder.radius * angle.cos(), y + dy + cylinder.radius * angle.sin());
            circles.extend(around.map(point));
            circles.push((f64::NAN, f64::NAN));
        }
    }
    let half = period / 2.0;
    let square = vec![(-half, -half), (half, -half), (half, half), (-half, half), (-half, -half)];
    let heights: Vec<String> =
        cell.cylinders.iter().map(|cylinder| format!("{:.0}", cylinder.height)).collect();
    LinePanel {
        title: format!("heights {} µm", heights.join(", ")),
        x_label: "x, µm".into(),
        y_label: "y, µm".into(),
        lines: vec![
            Series { label: "cylinders from above".into(), points: circles },
            Series { label: "super-cell".into(), points: square },
        ],
        ..LinePanel::default()
    }
}

/// Solver against proxy, one panel a design.
fn spectra(
    x: ArrayView2<'_, f64>,
    task: &MetamaterialTask,
    solver: &MetamaterialSolver,
) -> Result<Vec<LinePanel>, StudyError> {
    let simulated = [("solver", solver.simulate(x)?), ("proxy", task.simulate(x)?)];
    let frequencies = &solver.settings().frequencies;
    let panel = |row: usize| {
        let line = |(label, y): &(&str, Array2<f64>)| Series {
            label: (*label).to_owned(),
            points: frequencies.iter().copied().zip(y.row(row).iter().copied()).collect(),
        };
        LinePanel {
            title: format!("test design {}", row + 1),
            x_label: "frequency, THz".into(),
            y_label: "reflectance".into(),
            y_range: Some((0.0, 1.0)),
            lines: simulated.iter().map(line).collect(),
            ..LinePanel::default()
        }
    };
    Ok((0..x.nrows()).map(panel).collect())
}

impl Study {
    /// Every method's score on D4 under the proxy and under the solver.
    pub(super) fn metamaterial_plan(&self) -> Result<Plan<'_>, StudyError> {
        let mut planner = self.planner();
        for (task, method) in self.pairs().filter(|(task, _)| task.name() == MetamaterialTask::NAME) {
            planner.solving(task, None)?;
            planner.solving(task, Some(method))?;
        }
        let plan = planner.plan();
        if plan.cells().is_empty() {
            return Err(StudyError::NothingToShow {
                item: "Figure 13",
                needs: "the task metamaterial".into(),
            });
        }
        Ok(plan)
    }

    pub(super) fn metamaterial_spectra(&self, plan: &Plan<'_>) -> Result<Publication, StudyError> {
        let task = MetamaterialTask::new();
        let solver = MetamaterialSolver::new(MetamaterialSettings::default())?;
        let targets = self.test_targets(&task)?;
        let mut all = Vec::new();
        for planned in plan.cells() {
            let Work::Solve { evaluation } = &planned.work else { continue };
            let under_proxy = if let Some(evaluation) = evaluation {
                read_errors(&self.store().folder(evaluation))?
            } else {
                let designs = Proposals::new(targets.x().insert_axis(Axis(1)).to_owned())?;
                resimulate(&task, &designs, targets.y())?
            };
            let under_solver = read_errors(&self.store().folder(&planned.id))?;
            all.extend(rows(&planned.cell.label, &under_proxy, &under_solver)?);
        }
        let mut table = Table::new(&["method", "T", "r_T, proxy", "r_T, solver"]);
        for Row { method, proposals, under_proxy, under_solver } in &all {
            let errors = [under_proxy, under_solver].map(|error| scientific(*error));
            table.push([method.clone(), proposals.to_string()].into_iter().chain(errors).collect());
        }
        let x = targets.x().slice_move(s![..SPECTRA.min(targets.len()), ..]);
        let panels = spectra(x, &task, &solver)?;
        let design: [f64; 8] = std::array::from_fn(|variable| x[[0, variable]]);
        let mut first = vec![layout(&design, solver.settings().period)];
        first.extend(panels.first().cloned());
        let publication =
            Publication::new("metamaterial_solver", "D4 under the proxy and under the solver, r_T")
                .with_table(&all, table)?
                .with_figure("figure2", LineFigure { panels: first });
        Ok(publication.with_figure("figure13", LineFigure { panels }))
    }
}
