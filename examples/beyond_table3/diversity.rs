//! How many of a target's distinct solutions the accepted designs of a search lie in.

use std::time::Duration;

use inverse::bench::{StudyError, Table};
use inverse::metrics::{ModeClustering, ReferencePosterior, SolutionModes};
use inverse::prelude::*;
use ndarray::{Array2, Array3, ArrayView2, Axis};
use serde::Serialize;

/// A design is accepted where its error, by the simulator, is at most this.
const ACCEPTED: f64 = 1e-4;

/// Targets whose posteriors are drawn; a thousand designs each.
const TARGETS: usize = 50;

/// The modes of the first targets of a task.
pub(crate) struct Diversity {
    modes: Vec<SolutionModes>,
}

/// What one search found.
#[derive(Serialize)]
pub(crate) struct DiversityRow {
    task: String,
    search: String,
    targets: usize,
    calls: usize,
    /// Mean number of accepted designs a target.
    accepted: f64,
    /// Mean number of modes a target in the reference posterior.
    modes: f64,
    /// Mean number of modes that hold an accepted design.
    found: f64,
    /// Mean share of the modes.
    share: f64,
}

impl Diversity {
    /// None where rejection cannot draw the posteriors: too many measurements.
    pub(crate) fn new(
        task: &dyn Task,
        y: ArrayView2<'_, f64>,
        streams: RandomStreams,
    ) -> Result<Option<Self>, StudyError> {
        if task.dim_y() > 2 {
            return Ok(None);
        }
        let y = y.slice(ndarray::s![..y.nrows().min(TARGETS), ..]);
        let settings = ReferencePosterior {
            draw_limit: 30_000_000,
            time_limit: Duration::from_mins(5),
            ..ReferencePosterior::default()
        };
        let samples = settings.draw(task, y, streams.family("reference posterior", 0))?;
        // A target in the far tail of the prior has too few designs to tell modes by.
        let whole = samples.iter().take_while(|sample| sample.designs.nrows() >= 2);
        let domain = task.prior().domain();
        let modes = whole
            .map(|sample| SolutionModes::new(sample.designs.view(), domain, &ModeClustering::default()))
            .collect::<Result<_, _>>()?;
        Ok(Some(Self { modes }))
    }

    pub(crate) fn row(
        &self,
        (task, search): (&str, &str),
        designs: &Array3<f64>,
        errors: ArrayView2<'_, f64>,
    ) -> Result<DiversityRow, StudyError> {
        let targets = self.modes.len();
        let (mut accepted, mut found, mut share) = (0, 0, 0.0);
        for (target, modes) in self.modes.iter().enumerate() {
            let errors = errors.row(target);
            let rows: Vec<usize> = (0..errors.len()).filter(|call| errors[*call] <= ACCEPTED).collect();
            let designs: Array2<f64> = designs.index_axis(Axis(0), target).select(Axis(0), &rows);
            let coverage = modes.coverage(designs.view())?;
            accepted += rows.len();
            found += coverage.found;
            share += coverage.share();
        }
        let mean = |sum: usize| sum as f64 / targets as f64;
        Ok(DiversityRow {
            task: task.to_owned(),
            search: search.to_owned(),
            targets,
            calls: errors.ncols(),
            accepted: mean(accepted),
            modes: mean(self.modes.iter().map(SolutionModes::count).sum()),
            found: mean(found),
            share: share / targets as f64,
        })
    }
}

pub(crate) fn table(rows: &[DiversityRow]) -> Table {
    let mut table =
        Table::new(&["task", "search", "calls", "accepted designs", "modes", "found", "share found"]);
    for row in rows {
        table.push(vec![
            row.task.clone(),
            row.search.clone(),
            row.calls.to_string(),
            format!("{:.1}", row.accepted),
            format!("{:.2}", row.modes),
            format!("{:.2}", row.found),
            format!("{:.0}%", 100.0 * row.share),
        ]);
    }
    table
}
