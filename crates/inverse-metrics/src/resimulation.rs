//! Re-simulation: proposals go through the simulator and are compared with their targets.

use inverse_core::{InvalidArgument, Proposals, Search, Simulator, check_matrix};
use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use rand::Rng;
use rayon::prelude::*;

use crate::{MetricError, ResimulationErrors};

/// Designs simulated in one call; fixed, so that results do not depend on the number of threads.
const BLOCK: usize = 4096;

/// Simulates every proposal and measures its squared error, averaged over the measured variables.
///
/// * `proposals`: designs, (targets, n, `dim_x`)
/// * `y`: targets, (targets, `dim_y`)
///
/// A proposal that is not finite, or that the simulator cannot evaluate, is invalid: its error is infinite
/// and it is counted.
///
/// # Errors
/// [`MetricError::InvalidArgument`] where shapes disagree or a target is not finite;
/// [`MetricError::Simulation`] where the simulator fails.
pub fn resimulate(
    simulator: &dyn Simulator,
    proposals: &Proposals,
    y: ArrayView2<'_, f64>,
) -> Result<ResimulationErrors, MetricError> {
    check_matrix("y", y, simulator.dim_y())?;
    let (targets, count, dim_x) = proposals.designs().dim();
    if y.nrows() != targets {
        return Err(InvalidArgument::new("y", format!("{targets} targets, as proposals"), y.nrows()).into());
    }
    if dim_x != simulator.dim_x() {
        let expected = format!("designs of {} variables", simulator.dim_x());
        return Err(InvalidArgument::new("proposals", expected, dim_x).into());
    }
    let designs = proposals.designs();
    let designs = designs
        .to_shape((targets * count, dim_x))
        .map_err(|error| InvalidArgument::new("proposals", "a rectangular array", error))?;
    let blocks: Vec<_> = designs.axis_chunks_iter(Axis(0), BLOCK).collect();
    let answers: Vec<Array2<f64>> =
        blocks.into_par_iter().map(|block| simulate_finite(simulator, block)).collect::<Result<_, _>>()?;
    let answers = answers.iter().flat_map(|block| block.axis_iter(Axis(0)));
    let errors = answers.enumerate().map(|(row, answer)| squared_error(answer, y.row(row / count))).collect();
    let errors = Array2::from_shape_vec((targets, count), errors)
        .map_err(|error| InvalidArgument::new("simulator", "one answer a design", error))?;
    ResimulationErrors::from_errors(errors)
}

/// Runs an ask/tell search for `budget` simulator calls a target and measures each call's error.
///
/// * `y`: targets, (targets, `dim_y`)
///
/// # Errors
/// As [`resimulate`]; also where the budget is 0 or the search fails.
pub fn resimulate_search(
    simulator: &dyn Simulator,
    search: &mut dyn Search,
    y: ArrayView2<'_, f64>,
    budget: usize,
    rng: &mut dyn Rng,
) -> Result<ResimulationErrors, MetricError> {
    check_matrix("y", y, simulator.dim_y())?;
    if budget == 0 || y.nrows() == 0 {
        return Err(InvalidArgument::new("budget", "at least one call and one target", budget).into());
    }
    let mut errors = Array2::from_elem((y.nrows(), budget), f64::INFINITY);
    for call in 0..budget {
        let designs = search.ask(rng)?;
        if designs.dim() != (y.nrows(), simulator.dim_x()) {
            let expected = format!("designs of shape {:?}", (y.nrows(), simulator.dim_x()));
            return Err(InvalidArgument::new("search", expected, format!("{:?}", designs.dim())).into());
        }
        let answers = simulate_finite(simulator, designs.view())?;
        for (target, answer) in answers.axis_iter(Axis(0)).enumerate() {
            errors[[target, call]] = squared_error(answer, y.row(target));
        }
        search.tell(answers.view())?;
    }
    ResimulationErrors::from_errors(errors)
}

/// Simulates the finite designs; the others get rows of NaN, because simulators refuse them.
fn simulate_finite(simulator: &dyn Simulator, x: ArrayView2<'_, f64>) -> Result<Array2<f64>, MetricError> {
    let finite: Vec<usize> =
        (0..x.nrows()).filter(|row| x.row(*row).iter().all(|value| value.is_finite())).collect();
    let answers = simulator.simulate(x.select(Axis(0), &finite).view())?;
    if answers.dim() != (finite.len(), simulator.dim_y()) {
        let expected = format!("answers of shape {:?}", (finite.len(), simulator.dim_y()));
        return Err(InvalidArgument::new("simulator", expected, format!("{:?}", answers.dim())).into());
    }
    let mut y = Array2::from_elem((x.nrows(), simulator.dim_y()), f64::NAN);
    for (row, answer) in finite.iter().zip(answers.axis_iter(Axis(0))) {
        y.row_mut(*row).assign(&answer);
    }
    Ok(y)
}

/// The mean squared error of one answer; infinite where it is not a number.
fn squared_error(answer: ArrayView1<'_, f64>, target: ArrayView1<'_, f64>) -> f64 {
    let sum: f64 = answer.iter().zip(target).map(|(answer, target)| (answer - target).powi(2)).sum();
    let mean = sum / target.len() as f64;
    if mean.is_nan() { f64::INFINITY } else { mean }
}
