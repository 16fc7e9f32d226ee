//! Re-simulation: proposals go through the simulator and are compared with their targets.

use std::ops::ControlFlow;

use inverse_core::{InvalidArgument, Proposals, Search, Simulator, check_matrix};
use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use rand::Rng;
use rayon::prelude::*;

use crate::{MetricError, ResimulationErrors};

/// Designs simulated in one call; fixed, so that results do not depend on the number of threads.
pub(crate) const BLOCK: usize = 4096;

/// Simulates every proposal and measures its squared error, averaged over the measured variables.
///
/// * `proposals`: designs, (targets, n, `dim_x`)
/// * `y`: targets, (targets, `dim_y`)
///
/// The loss of eq. 11 is the mean squared error, as in section 6. A proposal that is not finite, or that the
/// simulator cannot evaluate, is invalid: its error is infinite and it is counted, never dropped.
///
/// Designs are simulated in parallel, in blocks of a fixed size: any number of threads gives the same bits.
/// Answers are not kept, so the memory needed is that of the errors, (targets, n), and of one block a thread.
///
/// # Errors
/// [`MetricError::InvalidArgument`] where shapes disagree or a target is not finite;
/// [`MetricError::Simulation`] where the simulator fails.
///
/// ```
/// use inverse_core::{FnSimulator, Proposals};
/// use inverse_metrics::resimulate;
/// use ndarray::array;
///
/// let root = FnSimulator::new(1, 1, |x, y| y[0] = x[0].sqrt())?;
/// let proposals = Proposals::new(array![[[-1.0], [f64::NAN], [9.0]]])?;
/// let errors = resimulate(&root, &proposals, array![[2.0]].view())?;
/// assert_eq!((errors.invalid(), errors.mean(3)?), (2, 1.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn resimulate(
    simulator: &dyn Simulator,
    proposals: &Proposals,
    y: ArrayView2<'_, f64>,
) -> Result<ResimulationErrors, MetricError> {
    check_proposals(simulator, proposals, y)?;
    let (targets, count, dim_x) = proposals.designs().dim();
    let designs = proposals.designs();
    let designs = designs
        .to_shape((targets * count, dim_x))
        .map_err(|error| InvalidArgument::new("proposals", "a rectangular array", error))?;
    let blocks: Vec<_> = designs.axis_chunks_iter(Axis(0), BLOCK).collect();
    let errors: Vec<Vec<f64>> = blocks
        .into_par_iter()
        .enumerate()
        .map(|(index, block)| {
            let answers = simulate_finite(simulator, block)?;
            let target = |row: usize| y.row((index * BLOCK + row) / count);
            let rows = answers.axis_iter(Axis(0)).enumerate();
            Ok(rows.map(|(row, answer)| squared_error(answer, target(row))).collect())
        })
        .collect::<Result<_, MetricError>>()?;
    let errors = Array2::from_shape_vec((targets, count), errors.concat())
        .map_err(|error| InvalidArgument::new("simulator", "one answer a design", error))?;
    ResimulationErrors::from_errors(errors)
}

/// Runs an ask/tell search for `budget` simulator calls a target and measures each call's error.
///
/// * `search`: a search of at least `budget` calls for these targets, as `InverseModel::search` starts it
/// * `y`: targets, (targets, `dim_y`)
///
/// The search is told every answer, rows of NaN where there was none, and may learn from them. The T-th call
/// counts as the T-th proposal.
///
/// # Errors
/// As [`resimulate`]; also where the budget is 0, there is no target, or the search fails.
///
/// ```
/// use inverse_core::{FnSimulator, ProposalWalk, Proposals, RandomStreams};
/// use inverse_metrics::resimulate_search;
/// use ndarray::array;
///
/// let double = FnSimulator::new(1, 1, |x, y| y[0] = 2.0 * x[0])?;
/// let mut search = ProposalWalk::new(Proposals::new(array![[[0.0], [0.5], [1.0]]])?, 1);
/// let mut rng = RandomStreams::new(1).stream("search", 0);
/// let errors = resimulate_search(&double, &mut search, array![[2.0]].view(), 3, &mut rng)?;
/// assert_eq!(errors.curve().mean, [4.0, 1.0, 0.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn resimulate_search(
    simulator: &dyn Simulator,
    search: &mut dyn Search,
    y: ArrayView2<'_, f64>,
    budget: usize,
    rng: &mut dyn Rng,
) -> Result<ResimulationErrors, MetricError> {
    follow_search(simulator, search, y, budget, rng, |_, _| ControlFlow::Continue(()))
}

/// [`resimulate_search`], which shows every call's designs and their errors once they are answered, and may be ended there.
pub(crate) fn follow_search(
    simulator: &dyn Simulator,
    search: &mut dyn Search,
    y: ArrayView2<'_, f64>,
    budget: usize,
    rng: &mut dyn Rng,
    mut answered: impl FnMut(ArrayView2<'_, f64>, &[f64]) -> ControlFlow<()>,
) -> Result<ResimulationErrors, MetricError> {
    check_matrix("y", y, simulator.dim_y())?;
    if y.nrows() == 0 {
        return Err(InvalidArgument::new("y", "at least one target", "none").into());
    }
    if budget == 0 {
        return Err(InvalidArgument::new("budget", "at least one call", 0).into());
    }
    // One call after the other: a budget beyond the search's own ends in its error, not in a huge array.
    let mut errors = Vec::new();
    for _ in 0..budget {
        let designs = search.ask(rng)?;
        if designs.dim() != (y.nrows(), simulator.dim_x()) {
            let expected = format!("designs of shape {:?}", (y.nrows(), simulator.dim_x()));
            return Err(InvalidArgument::new("search", expected, format!("{:?}", designs.dim())).into());
        }
        let answers = simulate_finite(simulator, designs.view())?;
        let before = errors.len();
        errors.extend(answers.rows().into_iter().zip(y.rows()).map(|(row, y)| squared_error(row, y)));
        search.tell(answers.view())?;
        if answered(designs.view(), &errors[before..]).is_break() {
            break;
        }
    }
    let errors = Array2::from_shape_vec((errors.len() / y.nrows(), y.nrows()), errors)
        .map_err(|error| InvalidArgument::new("search", "one design a target and call", error))?;
    ResimulationErrors::from_errors(errors.t().as_standard_layout().into_owned())
}

/// Whether proposals are designs of the simulator, and `y` holds one measurement for each of their targets.
pub(crate) fn check_proposals(
    simulator: &dyn Simulator,
    proposals: &Proposals,
    y: ArrayView2<'_, f64>,
) -> Result<(), InvalidArgument> {
    check_matrix("y", y, simulator.dim_y())?;
    let (targets, _, dim_x) = proposals.designs().dim();
    if y.nrows() != targets {
        return Err(InvalidArgument::new("y", format!("{targets} targets, as proposals"), y.nrows()));
    }
    if dim_x != simulator.dim_x() {
        let expected = format!("designs of {} variables", simulator.dim_x());
        return Err(InvalidArgument::new("proposals", expected, dim_x));
    }
    Ok(())
}

/// Simulates the finite designs; the others get rows of NaN, because simulators refuse them.
pub(crate) fn simulate_finite(
    simulator: &dyn Simulator,
    x: ArrayView2<'_, f64>,
) -> Result<Array2<f64>, MetricError> {
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
///
/// Summed in order of the measured variables, so that a design scores the same bits in any block.
fn squared_error(answer: ArrayView1<'_, f64>, target: ArrayView1<'_, f64>) -> f64 {
    let sum: f64 = answer.iter().zip(target).map(|(answer, target)| (answer - target).powi(2)).sum();
    let mean = sum / target.len() as f64;
    if mean.is_nan() { f64::INFINITY } else { mean }
}
