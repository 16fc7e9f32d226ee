//! The next step of each target: the minimum of its corrected problem within the trust region.

use ndarray::{Array2, ArrayView1, Axis, s};
use rayon::prelude::*;

use super::AdaptiveNeuralAdjoint;
use crate::adaptive_search_settings::inner_settings;
use crate::adaptive_target::{Center, TargetSearch};
use crate::host_network::Evaluation;
use crate::levenberg_marquardt::{Bounds, Minimum, minimize};

/// Targets whose corrected problems are solved together; fixed, so that results do not depend on the threads.
const BLOCK: usize = 32;

impl AdaptiveNeuralAdjoint {
    /// Minima of the corrected problems of targets that have a promising center, in order.
    pub(super) fn steps(&self, targets: &[usize]) -> Vec<Minimum> {
        let blocks: Vec<Vec<Minimum>> =
            targets.par_chunks(BLOCK).map(|targets| self.steps_of_block(targets)).collect();
        blocks.concat()
    }

    fn steps_of_block(&self, targets: &[usize]) -> Vec<Minimum> {
        let centers: Vec<(&Center, &TargetSearch)> = targets
            .iter()
            .filter_map(|&target| {
                let search = &self.searches[target];
                search.promising_center(&self.settings).map(|center| (center, search))
            })
            .collect();
        let dim_x = self.first.ncols();
        let mut starts = Array2::zeros((centers.len(), dim_x));
        let mut bounds = Bounds { lower: starts.clone(), upper: starts.clone() };
        for (row, (center, search)) in centers.iter().enumerate() {
            starts.row_mut(row).assign(&center.x);
            let (lower, upper) = search.bounds(center, &self.reach);
            bounds.lower.row_mut(row).assign(&lower);
            bounds.upper.row_mut(row).assign(&upper);
        }
        let mut base = self.surrogate.values(starts.view());
        for (mut base, (center, search)) in base.rows_mut().into_iter().zip(&centers) {
            if let Some(defect) = &search.defect {
                let mut measured = base.slice_mut(s![..self.y.ncols()]);
                measured += &defect.values(center.x.view());
            }
        }
        let mut minima = minimize(&starts, &bounds, &inner_settings(), |problems, x| {
            let mut evaluation = self.surrogate.evaluate(x);
            for (row, &problem) in problems.iter().enumerate() {
                let (center, search) = centers[problem];
                correct(&mut evaluation, row, x.row(row), base.row(problem), (center, search));
            }
            evaluation
        });
        for (minimum, (center, _)) in minima.iter_mut().zip(&centers) {
            minimum.residuals *= center.loss.sqrt();
            minimum.loss *= center.loss;
        }
        minima
    }
}

/// Turns f̂ and its Jacobian at one row into m(x) − y and m's Jacobian, both in units of the center's residual norm:
/// the inner problem then has the same tolerance in the first call and in the last.
fn correct(
    evaluation: &mut Evaluation,
    row: usize,
    x: ArrayView1<'_, f64>,
    base: ArrayView1<'_, f64>,
    (center, search): (&Center, &TargetSearch),
) {
    if let Some(defect) = &search.defect {
        defect.correct(evaluation, row, x);
    }
    let correction = &search.correction;
    let scale = 1.0 / center.loss.sqrt();
    let linear = correction.t().dot(&(&x - &center.x));
    let mut values = evaluation.values.row_mut(row);
    values -= &base;
    values += &center.residuals;
    values += &linear;
    values *= scale;
    let mut jacobian = evaluation.jacobian.index_axis_mut(Axis(0), row);
    jacobian += correction;
    jacobian *= scale;
}
