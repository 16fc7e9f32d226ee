//! Checks of simulators.

use ndarray::{Array2, ArrayView2, Axis, concatenate, s};

use super::Nonconformance;
use crate::{SimulationError, Simulator, check_matrix};

/// Rows that are simulated one by one, to be compared with the batch.
const ALONE: usize = 5;

/// Checks a simulator on designs it should be able to take, (at least one, `dim_x`), in its units.
///
/// * shapes for no, one and many designs
/// * a function of each row alone: the same answers twice, alone, in another order, in another memory layout
/// * no infinite answers: a design that cannot be evaluated is a row of NaN
/// * NaN, infinite and wrong-width designs refused by an error that names `x`
///
/// # Errors
/// [`Nonconformance`] that lists every finding.
///
/// ```
/// use inverse_core::{FnSimulator, testing::check_simulator};
/// use ndarray::array;
///
/// let inverse = FnSimulator::new(1, 1, |x, y| y[0] = 1.0 / x[0])?;
/// check_simulator(&inverse, array![[1.0], [2.0]].view())?;
/// let report = check_simulator(&inverse, array![[1.0], [0.0]].view()).unwrap_err();
/// assert!(report.to_string().contains("write NaN where a design cannot be evaluated"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn check_simulator(
    simulator: &dyn Simulator,
    designs: ArrayView2<'_, f64>,
) -> Result<(), Nonconformance> {
    let mut report = Nonconformance::new("the simulator");
    if usable(&mut report, simulator, designs) {
        answers(&mut report, simulator, designs);
        refusals(&mut report, designs, |x| simulator.simulate(x));
    }
    report.finish()
}

/// Whether the checks can run at all.
pub(super) fn usable(report: &mut Nonconformance, simulator: &dyn Simulator, x: ArrayView2<'_, f64>) -> bool {
    let dims = (simulator.dim_x(), simulator.dim_y());
    report.require(
        dims.0 > 0 && dims.1 > 0,
        "dim_x and dim_y",
        "at least 1",
        format!("{dims:?}"),
        "return the widths of x and y",
    );
    let fit = !x.is_empty() && check_matrix("designs", x, dims.0).is_ok();
    report.require(
        fit,
        "the designs of this check",
        format!("at least one row of {} finite values", dims.0),
        format!("shape {:?}", x.dim()),
        "pass designs that the simulator can take",
    );
    report.is_clean()
}

pub(super) fn answers(report: &mut Nonconformance, simulator: &dyn Simulator, x: ArrayView2<'_, f64>) {
    let none = Array2::zeros((0, simulator.dim_x()));
    simulated(report, simulator, "no designs", none.view());
    let Some(all) = simulated(report, simulator, "designs", x) else { return };
    report.require(
        !all.iter().any(|value| value.is_infinite()),
        "designs",
        "finite answers or NaN",
        "infinity",
        "write NaN where a design cannot be evaluated",
    );
    let mut compare = |what: &str, x: ArrayView2<'_, f64>, expected: ArrayView2<'_, f64>, remedy: &str| {
        let Some(y) = simulated(report, simulator, what, x) else { return };
        let row = y.rows().into_iter().zip(expected.rows()).position(|(a, b)| !a.iter().zip(b).all(same));
        if let Some(row) = row {
            let (expected, came) = (expected.row(row), y.row(row));
            report.require(false, &format!("{what}, row {row}"), expected, came, remedy);
        }
    };
    compare("the same designs again", x, all.view(), "a simulator is a function of x and nothing else");
    let rows = "rows must not interact";
    for row in 0..x.nrows().min(ALONE) {
        let one = |array: ArrayView2<'_, f64>| array.slice(s![row..=row, ..]).to_owned();
        compare(&format!("design {row} alone"), one(x).view(), one(all.view()).view(), rows);
    }
    let backwards = x.slice(s![..;-1, ..]).as_standard_layout().into_owned();
    compare("the designs in reverse order", backwards.view(), all.slice(s![..;-1, ..]), rows);
    let columns = x.t().as_standard_layout().into_owned();
    let layout = "read designs by row and column, not as one slice";
    compare("the designs stored column by column", columns.t(), all.view(), layout);
}

/// Answers of the right shape, or a finding.
pub(super) fn simulated(
    report: &mut Nonconformance,
    simulator: &dyn Simulator,
    what: &str,
    x: ArrayView2<'_, f64>,
) -> Option<Array2<f64>> {
    let y = report.expect(what, || simulator.simulate(x))?;
    let expected = (x.nrows(), simulator.dim_y());
    let fits = y.dim() == expected;
    let came = format!("{:?}", y.dim());
    report.require(
        fits,
        what,
        format!("shape {expected:?}"),
        came,
        "return one row of dim_y values a design",
    );
    fits.then_some(y)
}

/// Equal bits, with any NaN equal to any other: its payload has no meaning.
fn same((a, b): (&f64, &f64)) -> bool {
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

/// Checks that `call` refuses what is no design; apart from its fault, each is a design that was accepted.
pub(super) fn refusals<T>(
    report: &mut Nonconformance,
    designs: ArrayView2<'_, f64>,
    call: impl Fn(ArrayView2<'_, f64>) -> Result<T, SimulationError>,
) {
    let first = designs.slice(s![..1, ..]);
    let twice = designs.select(Axis(0), &[0, 0]);
    let last = designs.ncols() - 1;
    let strange =
        [("a NaN", f64::NAN), ("an infinite", f64::INFINITY), ("a negative infinite", f64::NEG_INFINITY)];
    for (name, value) in strange {
        let mut x = twice.clone();
        x[[1, last]] = value;
        report.expect_refusal(&format!("{name} design"), "x", || call(x.view()));
    }
    if let Ok(wide) = concatenate(Axis(1), &[first, first]) {
        report.expect_refusal("a design of too many variables", "x", || call(wide.slice(s![.., ..last + 2])));
    }
    report.expect_refusal("a design of too few variables", "x", || call(first.slice(s![.., ..last])));
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use ndarray::array;

    use super::*;
    use crate::{FnSimulator, check_designs};

    fn findings(simulator: &dyn Simulator) -> String {
        let x = array![[0.5, 1.0], [2.0, -1.0], [0.0, 0.0], [1.5, 0.25]];
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
        assert!(findings(&moody).contains("the same designs again, row 0: expected [0], came [4]"));
        let infinite = FnSimulator::new(2, 1, |_, y| y[0] = f64::INFINITY).unwrap();
        assert!(findings(&infinite).contains("expected finite answers or NaN, came infinity"));
    }

    /// y = x₁ − x₂ with one flaw.
    struct Flawed(&'static str);

    impl Simulator for Flawed {
        fn dim_x(&self) -> usize {
            if self.0 == "empty" { 0 } else { 2 }
        }

        fn dim_y(&self) -> usize {
            1
        }

        fn simulate(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>, SimulationError> {
            match self.0 {
                // Accepts NaN, and indexes what a narrow design does not have.
                "unchecked" => {}
                "misnamed" => check_matrix("designs", x, 2)?,
                "failing" if !x.is_empty() => return Err(SimulationError::Failed("no licence".into())),
                "late" => check_matrix("x", x, x.ncols())?,
                _ => check_designs(x, 2)?,
            }
            let y = Array2::from_shape_fn((x.nrows(), 1), |(row, _)| x[[row, 0]] - x[[row, 1]]);
            Ok(match self.0 {
                "centred" => &y - y.mean().unwrap_or_default(),
                "running" => Array2::from_shape_fn(y.dim(), |(row, _)| y.slice(s![..=row, 0]).sum()),
                "hasty" => x.as_slice().map(|_| y).unwrap(),
                "flat" => Array2::zeros((x.nrows(), 2)),
                "crowded" => Array2::zeros((x.nrows().max(1), 1)),
                _ => y,
            })
        }
    }

    #[test]
    fn every_flaw_is_found() {
        for (flaw, words) in [
            ("centred", "design 1 alone, row 0: expected"),
            ("running", "the designs in reverse order, row 0: expected"),
            ("hasty", "the designs stored column by column: expected an answer, came the panic"),
            ("flat", "designs: expected shape (4, 1), came (4, 2)"),
            ("crowded", "no designs: expected shape (0, 1), came (1, 1)"),
            ("empty", "dim_x and dim_y: expected at least 1, came (0, 1)"),
            ("failing", "designs: expected an answer, came the error \"the simulator failed: no licence\""),
            (
                "misnamed",
                "a NaN design: expected InvalidArgument that names `x`, came an error that names `designs`",
            ),
            (
                "unchecked",
                "a negative infinite design: expected InvalidArgument that names `x`, came an answer",
            ),
            (
                "unchecked",
                "a design of too few variables: expected InvalidArgument that names `x`, came the panic",
            ),
            (
                "late",
                "a design of too many variables: expected InvalidArgument that names `x`, came an answer",
            ),
        ] {
            let report = findings(&Flawed(flaw));
            assert!(report.contains(words), "{flaw}: {report}");
            assert!(report.lines().skip(1).all(|line| line.contains("; ")), "a remedy each: {report}");
        }
    }

    #[test]
    fn unusable_designs_are_a_finding() {
        let sum = FnSimulator::new(2, 1, |x, y| y[0] = x[0] + x[1]).unwrap();
        for x in [Array2::zeros((0, 2)), Array2::zeros((3, 1)), array![[f64::NAN, 0.0]]] {
            let report = check_simulator(&sum, x.view()).unwrap_err().to_string();
            assert!(report.contains("the designs of this check"), "{report}");
        }
    }
}
