//! Checks of simulators.

use ndarray::{Array2, ArrayView2, Axis};

use super::{Nonconformance, Outcome};
use crate::{DifferentiableSimulator, SimulationError, Simulator, numerical_jacobian};

/// Checks a simulator on designs it should be able to take, (n, `dim_x`).
///
/// Shapes for no, one and many designs; the same answer alone and in a batch, and twice; designs that are not
/// designs refused by the name `x`.
///
/// # Errors
/// [`Nonconformance`] that lists every finding.
pub fn check_simulator(
    simulator: &dyn Simulator,
    designs: ArrayView2<'_, f64>,
) -> Result<(), Nonconformance> {
    let mut report = Nonconformance::new("the simulator");
    answers(&mut report, simulator, designs);
    refusals(&mut report, simulator);
    report.finish()
}

pub(super) fn answers(report: &mut Nonconformance, simulator: &dyn Simulator, x: ArrayView2<'_, f64>) {
    let (dim_x, dim_y) = (simulator.dim_x(), simulator.dim_y());
    report.require(dim_x > 0 && dim_y > 0, || {
        format!("dimensions: expected at least 1, came {dim_x}, {dim_y}")
    });
    let none = Array2::zeros((0, dim_x));
    if let Some(y) = report.expect("no designs", simulator.simulate(none.view())) {
        report.require(y.dim() == (0, dim_y), || {
            format!("no designs: expected (0, {dim_y}), came {:?}", y.dim())
        });
    }
    let Some(all) = report.expect("designs", simulator.simulate(x)) else { return };
    if all.dim() != (x.nrows(), dim_y) {
        let expected = (x.nrows(), dim_y);
        report.require(false, || format!("designs: expected shape {expected:?}, came {:?}", all.dim()));
        return;
    }
    report.require(!all.iter().any(|value| value.is_infinite()), || {
        "designs: an answer is infinite; write NaN where a design cannot be evaluated".into()
    });
    if let Some(again) = report.expect("the same designs again", simulator.simulate(x)) {
        report.require(same_bits(&again, &all), || {
            "the same designs again: expected the same answers; a simulator is a function of x alone".into()
        });
    }
    for row in (0..x.nrows()).take(5) {
        let one = x.slice_axis(Axis(0), (row..=row).into());
        if let Some(y) = report.expect("one design", simulator.simulate(one)) {
            let batch = all.slice_axis(Axis(0), (row..=row).into()).to_owned();
            report.require(y.dim() == (1, dim_y) && same_bits(&y, &batch), || {
                format!(
                    "design {row} alone: expected {batch} as in the batch, came {y}; rows must not interact"
                )
            });
        }
    }
}

/// Equal values, with NaN equal to NaN.
fn same_bits(a: &Array2<f64>, b: &Array2<f64>) -> bool {
    a.dim() == b.dim() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan())
}

pub(super) fn refusals(report: &mut Nonconformance, simulator: &dyn Simulator) {
    let dim_x = simulator.dim_x();
    let refusal = |x: Array2<f64>| match simulator.simulate(x.view()) {
        Ok(_) => Outcome::Answer,
        Err(SimulationError::InvalidArgument(error)) => Outcome::Refused(error),
        Err(_) => Outcome::OtherError,
    };
    for (what, value) in [("a NaN design", f64::NAN), ("an infinite design", f64::INFINITY)] {
        let mut x = Array2::zeros((2, dim_x));
        x[[1, dim_x - 1]] = value;
        report.expect_refusal(what, "x", refusal(x));
    }
    report.expect_refusal("a design of another width", "x", refusal(Array2::zeros((1, dim_x + 1))));
}

/// Checks a Jacobian against finite differences at designs, (n, `dim_x`), where f is smooth.
///
/// * `step`: of the differences, in units of x
/// * `tolerance`: largest difference, relative to the largest entry of the design's Jacobian
///
/// # Errors
/// [`Nonconformance`] that lists every finding.
pub fn check_differentiable<S: DifferentiableSimulator>(
    simulator: &S,
    designs: ArrayView2<'_, f64>,
    step: f64,
    tolerance: f64,
) -> Result<(), Nonconformance> {
    let mut report = Nonconformance::new("the Jacobian");
    let expected = (designs.nrows(), simulator.dim_y(), simulator.dim_x());
    let analytic = report.expect("the Jacobian", simulator.jacobian(designs));
    let numeric = report.expect("finite differences", numerical_jacobian(simulator, designs, step));
    if let (Some(analytic), Some(numeric)) = (analytic, numeric) {
        if analytic.dim() != expected {
            report.require(false, || format!("shape: expected {expected:?}, came {:?}", analytic.dim()));
            return report.finish();
        }
        for (design, (analytic, numeric)) in analytic.outer_iter().zip(numeric.outer_iter()).enumerate() {
            let largest = numeric.iter().fold(f64::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
            for ((place, analytic), numeric) in analytic.indexed_iter().zip(&numeric) {
                let close = (analytic - numeric).abs() <= tolerance * largest;
                report.require(close || numeric.is_nan(), || {
                    format!("design {design}, entry {place:?}: differences give {numeric}, the Jacobian {analytic}")
                });
            }
        }
    }
    report.finish()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use ndarray::{Array3, array};

    use super::*;
    use crate::{FnSimulator, check_designs};

    fn findings(simulator: &dyn Simulator) -> String {
        let x = array![[0.5, 1.0], [2.0, -1.0], [0.0, 0.0]];
        check_simulator(simulator, x.view()).err().map(|report| report.to_string()).unwrap_or_default()
    }

    #[test]
    fn sound_simulators_pass() {
        assert_eq!(findings(&FnSimulator::new(2, 1, |x, y| y[0] = x[0] - x[1]).unwrap()), "");
        assert_eq!(findings(&FnSimulator::new(2, 1, |x, y| y[0] = x[1].sqrt()).unwrap()), "");
    }

    #[test]
    fn moody_and_infinite_answers_are_found() {
        let calls = AtomicUsize::new(0);
        let moody =
            FnSimulator::new(2, 1, |_, y| y[0] = calls.fetch_add(1, Ordering::SeqCst) as f64).unwrap();
        assert!(findings(&moody).contains("the same designs again"));
        let infinite = FnSimulator::new(2, 1, |_, y| y[0] = f64::INFINITY).unwrap();
        assert!(findings(&infinite).contains("an answer is infinite"));
    }

    /// Subtracts the batch's first row, takes anything, and forgets a column.
    struct Careless;

    impl Simulator for Careless {
        fn dim_x(&self) -> usize {
            2
        }

        fn dim_y(&self) -> usize {
            1
        }

        fn simulate(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>, SimulationError> {
            let first = x.get([0, 0]).copied().unwrap_or(0.0);
            Ok(Array2::from_shape_fn((x.nrows(), 1), |(row, _)| x[[row, 0]] - first))
        }
    }

    #[test]
    fn interacting_rows_and_missing_checks_are_found() {
        let report = findings(&Careless);
        for words in ["rows must not interact", "a NaN design", "an infinite design", "another width"] {
            assert!(report.contains(words), "{words}: {report}");
        }
    }

    /// y = x₁ x₂ with a Jacobian scaled by a factor.
    struct Product(f64);

    impl Simulator for Product {
        fn dim_x(&self) -> usize {
            2
        }

        fn dim_y(&self) -> usize {
            1
        }

        fn simulate(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>, SimulationError> {
            check_designs(x, 2)?;
            Ok(Array2::from_shape_fn((x.nrows(), 1), |(row, _)| x[[row, 0]] * x[[row, 1]]))
        }
    }

    impl DifferentiableSimulator for Product {
        fn jacobian(&self, x: ArrayView2<'_, f64>) -> Result<Array3<f64>, SimulationError> {
            check_designs(x, 2)?;
            Ok(Array3::from_shape_fn((x.nrows(), 1, 2), |(row, _, column)| self.0 * x[[row, 1 - column]]))
        }
    }

    #[test]
    fn wrong_jacobians_are_found() {
        let x = array![[0.5, 1.0], [2.0, -1.0]];
        check_differentiable(&Product(1.0), x.view(), 1e-3, 1e-8).unwrap();
        let report = check_differentiable(&Product(1.001), x.view(), 1e-3, 1e-8).unwrap_err();
        assert_eq!(report.findings().len(), 4, "{report}");
    }
}
