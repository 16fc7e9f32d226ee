//! What a search is run for: the best design that it has simulated.

use std::ops::ControlFlow;

use inverse_core::{InvalidArgument, Search, Simulator};
use ndarray::{Array1, Array2, ArrayView2};
use rand::Rng;

use crate::MetricError;
use crate::resimulation::follow_search;

/// The best design that was simulated for each target.
#[derive(Debug, Clone, PartialEq)]
pub struct BestDesigns {
    /// (targets, `dim_x`); NaN for a target none of whose designs has a finite error.
    pub designs: Array2<f64>,
    /// Their mean squared errors, (targets), in units of y²; infinite where there is no design.
    pub errors: Array1<f64>,
    /// Calls of the simulator for each target.
    pub calls: usize,
}

/// Runs an ask/tell search until every target has a design that is good enough, or for `budget` calls a target.
///
/// * `search`: a search of at least `budget` calls for these targets, as `InverseModel::search` starts it
/// * `y`: targets, (targets, `dim_y`)
/// * `tolerance`: the mean squared error that is good enough, in units of y²; 0 spends the whole budget, unless an answer is
///   exact
///
/// The search is told every answer, as by [`resimulate_search`](crate::resimulate_search).
///
/// # Errors
/// As [`resimulate_search`](crate::resimulate_search); also where the tolerance is NaN.
///
/// ```
/// use inverse_core::{FnSimulator, ProposalWalk, Proposals, RandomStreams};
/// use inverse_metrics::best_designs;
/// use ndarray::array;
///
/// let double = FnSimulator::new(1, 1, |x, y| y[0] = 2.0 * x[0])?;
/// let mut search = ProposalWalk::new(Proposals::new(array![[[0.0], [0.9], [1.2], [1.0]]])?, 1);
/// let mut rng = RandomStreams::new(1).stream("search", 0);
/// let found = best_designs(&double, &mut search, array![[2.0]].view(), 4, 0.05, &mut rng)?;
/// assert_eq!(found.designs, array![[0.9]]);
/// assert_eq!(found.calls, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn best_designs(
    simulator: &dyn Simulator,
    search: &mut dyn Search,
    y: ArrayView2<'_, f64>,
    budget: usize,
    tolerance: f64,
    rng: &mut dyn Rng,
) -> Result<BestDesigns, MetricError> {
    if tolerance.is_nan() {
        return Err(InvalidArgument::new("tolerance", "a number", tolerance).into());
    }
    let mut best = BestDesigns {
        designs: Array2::from_elem((y.nrows(), simulator.dim_x()), f64::NAN),
        errors: Array1::from_elem(y.nrows(), f64::INFINITY),
        calls: 0,
    };
    follow_search(simulator, search, y, budget, rng, |designs, errors| {
        best.calls += 1;
        for (target, error) in errors.iter().enumerate() {
            if *error < best.errors[target] {
                best.errors[target] = *error;
                best.designs.row_mut(target).assign(&designs.row(target));
            }
        }
        let done = best.errors.iter().all(|error| *error <= tolerance);
        if done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(best)
}

#[cfg(test)]
mod tests {
    use inverse_core::{FnSimulator, ProposalWalk, Proposals, RandomStreams};
    use ndarray::array;

    use super::*;

    /// y = 2x, and no answer above 10.
    fn found(y: &Array2<f64>, budget: usize, tolerance: f64) -> Result<BestDesigns, MetricError> {
        let double = FnSimulator::new(1, 1, |x, y| {
            if x[0] < 10.0 {
                y[0] = 2.0 * x[0];
            }
        })?;
        let proposals =
            Proposals::new(array![[[20.0], [1.5], [1.0], [3.0]], [[3.0], [20.0], [2.5], [2.25]]])?;
        let mut search = ProposalWalk::new(proposals, 1);
        let mut rng = RandomStreams::new(1).stream("search", 0);
        best_designs(&double, &mut search, y.view(), budget, tolerance, &mut rng)
    }

    #[test]
    fn the_search_ends_where_every_target_is_met() {
        let y = array![[2.0], [4.0]];
        let all = found(&y, 4, 0.0).unwrap();
        assert_eq!((all.designs, all.errors, all.calls), (array![[1.0], [2.25]], array![0.0, 0.25], 4));
        // The first target is met at the third call, with the second at an error of 1.
        let early = found(&y, 4, 1.0).unwrap();
        assert_eq!((early.designs, early.errors, early.calls), (array![[1.0], [2.5]], array![0.0, 1.0], 3));
        let first = found(&y, 1, 0.0).unwrap();
        assert!(first.designs[[0, 0]].is_nan(), "no answer, no design");
        assert_eq!((first.designs[[1, 0]], first.errors), (3.0, array![f64::INFINITY, 4.0]));
        assert_eq!(found(&y, 4, f64::INFINITY).unwrap().calls, 1, "any design, or none, is good enough");
    }

    #[test]
    fn bad_arguments_are_named() {
        let y = array![[2.0], [4.0]];
        let named = |result: Result<BestDesigns, MetricError>, argument: &str| {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(&format!("`{argument}`")), "{error}");
        };
        named(found(&y, 4, f64::NAN), "tolerance");
        named(found(&y, 0, 0.0), "budget");
        named(found(&y, 5, 0.0), "budget");
        named(found(&array![[2.0]], 4, 0.0), "search");
        named(found(&Array2::zeros((0, 1)), 4, 0.0), "y");
        named(found(&Array2::zeros((2, 2)), 4, 0.0), "y");
    }
}
