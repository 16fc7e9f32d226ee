//! Table 1: the benchmark tasks.

use serde::Serialize;

use super::Publication;
use crate::paper::paper_name;
use crate::{Study, StudyError, Table};

#[derive(Serialize)]
struct Row<'a> {
    task: &'a str,
    paper: &'a str,
    dim_x: usize,
    dim_y: usize,
}

impl Study {
    pub(super) fn outline(&self) -> Result<Publication, StudyError> {
        let row = |task: &'_ dyn inverse_core::Task| (task.dim_x(), task.dim_y());
        let mut rows = Vec::new();
        let mut table = Table::new(&["task", "in the paper", "dim(x)", "dim(y)"]);
        for task in self.tasks() {
            let (dim_x, dim_y) = row(&**task);
            let (task, paper) = (task.name(), paper_name(task.name()));
            rows.push(Row { task, paper, dim_x, dim_y });
            table.push(vec![task.into(), paper.into(), dim_x.to_string(), dim_y.to_string()]);
        }
        Publication::new("table1", "the benchmark tasks").with_table(&rows, table)
    }
}
