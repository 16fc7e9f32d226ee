//! Tables 8 and 9: parameters and bytes of each method's model.

use std::fs;

use inverse_core::InvalidArgument;
use inverse_models::method_by_name;
use inverse_models::presets::Source;
use serde::Serialize;

use super::{Publication, ratio};
use crate::study::Plan;
use crate::{Study, StudyError, Table, paper_table};

#[derive(Serialize)]
struct ParameterRow {
    task: String,
    method: &'static str,
    /// Of the authors' settings; none where they released none.
    authors: Option<usize>,
    paper_millions: Option<f64>,
    /// Of the study's own settings.
    own: usize,
}

#[derive(Serialize)]
struct SizeRow {
    task: String,
    method: String,
    bytes: u64,
    paper_megabytes: Option<f64>,
}

impl Study {
    /// Counted from the settings; nothing is trained. The authors' settings are those that the paper counts.
    pub(super) fn parameter_counts(&self) -> Result<Publication, StudyError> {
        let paper = paper_table(8)?;
        let millions = |count: usize| format!("{:.2}", count as f64 / 1e6);
        let (mut rows, mut table) = (
            Vec::new(),
            Table::new(&["task", "method", "authors' settings", "paper", "ours / paper", "own settings"]),
        );
        for (task, method) in self.pairs() {
            let authors = released(method.name(), task.name())?;
            let authors = authors.map(|authors| authors.parameter_count(task.dim_x(), task.dim_y()));
            let own = method.parameter_count(task.dim_x(), task.dim_y());
            let printed = paper.value(task.name(), method.label());
            table.push(vec![
                task.name().into(),
                method.label().into(),
                authors.map_or_else(String::new, millions),
                printed.map_or_else(String::new, |value| format!("{value:.1}")),
                authors.map_or_else(String::new, |authors| ratio(authors as f64 / 1e6, printed)),
                millions(own),
            ]);
            let (task, method) = (task.name().into(), method.label());
            rows.push(ParameterRow { task, method, authors, paper_millions: printed, own });
        }
        Publication::new("table8", "trainable parameters, millions").with_table(&rows, table)
    }

    /// Sizes of the study's models in their files, which hold what inference needs: batch normalisation is folded into
    /// the weights, and a cVAE keeps no encoder.
    pub(super) fn model_sizes(&self, plan: &Plan<'_>) -> Result<Publication, StudyError> {
        let paper = paper_table(9)?;
        let (mut rows, mut table) =
            (Vec::new(), Table::new(&["task", "method", "MB", "paper", "ours / paper"]));
        for planned in plan.cells() {
            let path = self.store().folder(&planned.id).join("model.safetensors");
            let damaged = |error: std::io::Error| StudyError::Damaged {
                file: path.display().to_string(),
                reason: error.to_string(),
            };
            let bytes = fs::metadata(&path).map_err(damaged)?.len();
            let (task, method) = (planned.cell.task.clone(), planned.cell.label.clone());
            let printed = paper.value(&task, &method);
            table.push(vec![
                task.clone(),
                method.clone(),
                format!("{:.1}", bytes as f64 / 1e6),
                printed.map_or_else(String::new, |value| value.to_string()),
                ratio(bytes as f64 / 1e6, printed),
            ]);
            rows.push(SizeRow { task, method, bytes, paper_megabytes: printed });
        }
        Publication::new("table9", "saved model, MB").with_table(&rows, table)
    }
}

/// The authors' settings; `None` where they released none for the task.
fn released(method: &str, task: &str) -> Result<Option<Box<dyn inverse_models::AnyMethod>>, InvalidArgument> {
    match method_by_name(method, task, Source::Authors) {
        Ok(method) => Ok(Some(method)),
        Err(error) if error.argument == "task" => Ok(None),
        Err(error) => Err(error),
    }
}
