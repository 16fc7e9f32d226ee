//! Checks of derivatives.

use ndarray::{Array2, Array3, ArrayView2, ArrayView3, s};

use super::Nonconformance;
use super::simulator::{refusals, simulated, usable};
use crate::{DifferentiableSimulator, numerical_jacobian};

/// Checks a Jacobian against finite differences at designs, (n, `dim_x`), where f is smooth.
///
/// * `step`: the larger step of [`numerical_jacobian`], in units of x
/// * `tolerance`: largest difference, relative to the largest entry of the design's Jacobian
///
/// Also checks shapes, NaN where f gives NaN, and that what is no design is refused by the name `x`. Where f can
/// be evaluated at the design but not beside it, there is nothing to compare with.
///
/// # Errors
/// [`Nonconformance`] that lists every finding; of each design the worst entry.
pub fn check_differentiable(
    simulator: &dyn DifferentiableSimulator,
    designs: ArrayView2<'_, f64>,
    step: f64,
    tolerance: f64,
) -> Result<(), Nonconformance> {
    let mut report = Nonconformance::new("the Jacobian");
    if !usable(&mut report, simulator, designs) {
        return report.finish();
    }
    let none = Array2::zeros((0, simulator.dim_x()));
    jacobian(&mut report, simulator, "no designs", none.view());
    let analytic = jacobian(&mut report, simulator, "designs", designs);
    let numeric = report.expect("finite differences", || numerical_jacobian(simulator, designs, step));
    let y = simulated(&mut report, simulator, "designs", designs);
    if let (Some(analytic), Some(numeric), Some(y)) = (analytic, numeric, y) {
        unanswered(&mut report, analytic.view(), y.view());
        differences(&mut report, analytic.view(), numeric.view(), tolerance);
    }
    refusals(&mut report, designs, |x| simulator.jacobian(x));
    report.finish()
}

/// A Jacobian of the right shape, or a finding.
fn jacobian(
    report: &mut Nonconformance,
    simulator: &dyn DifferentiableSimulator,
    what: &str,
    x: ArrayView2<'_, f64>,
) -> Option<Array3<f64>> {
    let jacobian = report.expect(what, || simulator.jacobian(x))?;
    let expected = (x.nrows(), simulator.dim_y(), simulator.dim_x());
    let fits = jacobian.dim() == expected;
    let came = format!("{:?}", jacobian.dim());
    report.require(fits, what, format!("shape {expected:?}"), came, "return (n, dim_y, dim_x)");
    fits.then_some(jacobian)
}

fn unanswered(report: &mut Nonconformance, jacobian: ArrayView3<'_, f64>, y: ArrayView2<'_, f64>) {
    for ((design, output), value) in y.indexed_iter() {
        let entries = jacobian.slice(s![design, output, ..]);
        report.require(
            !value.is_nan() || entries.iter().all(|entry| entry.is_nan()),
            &format!("design {design}, dy{}/dx", output + 1),
            "NaN, as `simulate` gives",
            entries,
            "a design without an answer has no derivative",
        );
    }
}

fn differences(
    report: &mut Nonconformance,
    analytic: ArrayView3<'_, f64>,
    numeric: ArrayView3<'_, f64>,
    tolerance: f64,
) {
    let mut compared = 0;
    for (design, (analytic, numeric)) in analytic.outer_iter().zip(numeric.outer_iter()).enumerate() {
        let known = numeric.indexed_iter().filter(|(_, value)| value.is_finite());
        let largest = known.clone().fold(f64::MIN_POSITIVE, |largest, (_, value)| largest.max(value.abs()));
        compared += known.clone().count();
        // NaN counts as infinitely far: f has a derivative here.
        let distance = |place: (usize, usize), value: &f64| {
            let distance = (analytic[place] - value).abs();
            if distance.is_nan() { f64::INFINITY } else { distance }
        };
        let worst = known.max_by(|a, b| distance(a.0, a.1).total_cmp(&distance(b.0, b.1)));
        if let Some((place, value)) = worst {
            report.require(
                distance(place, value) <= tolerance * largest,
                &format!("design {design}, dy{}/dx{}", place.0 + 1, place.1 + 1),
                format!("{value} as finite differences give"),
                analytic[place],
                "mend the derivative, or its step and tolerance",
            );
        }
    }
    report.require(
        compared > 0,
        "finite differences",
        "at least one entry to compare",
        "none",
        "pass designs where f can be evaluated, or a smaller step",
    );
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::{SimulationError, Simulator, check_designs};

    /// y = x₁ √x₂ and its derivative, with one flaw.
    struct Product(&'static str);

    impl Simulator for Product {
        fn dim_x(&self) -> usize {
            2
        }

        fn dim_y(&self) -> usize {
            1
        }

        fn simulate(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>, SimulationError> {
            check_designs(x, 2)?;
            Ok(Array2::from_shape_fn((x.nrows(), 1), |(row, _)| x[[row, 0]] * x[[row, 1]].sqrt()))
        }
    }

    impl DifferentiableSimulator for Product {
        fn jacobian(&self, x: ArrayView2<'_, f64>) -> Result<Array3<f64>, SimulationError> {
            if self.0 != "unchecked" {
                check_designs(x, 2)?;
            }
            let root = |row: usize| x[[row, 1]].sqrt();
            let derivative = |row: usize, column: usize| match (column, self.0) {
                (0, "inventive") if root(row).is_nan() => 0.0,
                (0, "silent") => f64::NAN,
                (0, _) => root(row),
                (_, "scaled") => 1.001 * 0.5 * x[[row, 0]] / root(row),
                (_, _) => 0.5 * x[[row, 0]] / root(row),
            };
            let outputs = if self.0 == "wide" { 2 } else { 1 };
            Ok(Array3::from_shape_fn((x.nrows(), outputs, 2), |(row, _, column)| derivative(row, column)))
        }
    }

    fn jacobian_findings(flaw: &'static str, x: Array2<f64>) -> Vec<String> {
        let outcome = check_differentiable(&Product(flaw), x.view(), 1e-3, 1e-6);
        outcome.err().map(|report| report.findings().to_vec()).unwrap_or_default()
    }

    #[test]
    fn wrong_jacobians_are_found() {
        let x = array![[0.5, 1.0], [2.0, 3.0], [1.0, -1.0]];
        assert_eq!(jacobian_findings("none", x.clone()), Vec::<String>::new());
        for (flaw, count, words) in [
            ("scaled", 2, "design 1, dy1/dx2: expected 0.577"),
            ("silent", 2, "design 1, dy1/dx1: expected 1.732"),
            ("inventive", 1, "design 2, dy1/dx: expected NaN, as `simulate` gives, came [0, NaN]"),
            ("wide", 2, "designs: expected shape (3, 1, 2), came (3, 2, 2)"),
            ("unchecked", 5, "a NaN design: expected InvalidArgument that names `x`, came an answer"),
        ] {
            let findings = jacobian_findings(flaw, x.clone());
            assert_eq!(findings.len(), count, "{flaw}: {findings:#?}");
            assert!(findings.iter().any(|finding| finding.contains(words)), "{flaw}: {findings:#?}");
        }
        let nothing = jacobian_findings("none", array![[1.0, -1.0]]);
        assert!(nothing[0].contains("at least one entry to compare"), "{nothing:?}");
    }
}
