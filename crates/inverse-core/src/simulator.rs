//! Simulators: the forward problem y = f(x) (eq. 1).

use std::fmt;

use ndarray::{Array2, Array3, ArrayView2};

use crate::{InvalidArgument, SimulationError};

/// The most variables that a design or a measurement may have: a mistyped width fails with a message instead of
/// exhausting the memory.
pub const LARGEST_DIMENSION: usize = 1 << 20;

/// The forward operator y = f(x) of eq. 1.
///
/// A design that f cannot evaluate (a ball that never lands) comes back as a row of NaN, never as a
/// made-up number. A design that is not a design (wrong width, NaN or infinite entries) is an error.
pub trait Simulator: Send + Sync {
    /// Number of design variables.
    fn dim_x(&self) -> usize;

    /// Number of measured variables.
    fn dim_y(&self) -> usize;

    /// Evaluates designs.
    ///
    /// * `x`: designs, (n, `dim_x`), in the simulator's units; n may be 0
    ///
    /// Returns measurements, (n, `dim_y`).
    ///
    /// # Errors
    /// [`SimulationError::InvalidArgument`] where `x` has another width or holds a value that is not
    /// finite; [`SimulationError::Failed`] where the simulator as a whole could not run.
    fn simulate(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>, SimulationError>;
}

/// A simulator that also knows its derivative: the ceiling that any surrogate can reach.
pub trait DifferentiableSimulator: Simulator {
    /// The derivative dy/dx at each design.
    ///
    /// * `x`: designs, (n, `dim_x`)
    ///
    /// Returns Jacobians, (n, `dim_y`, `dim_x`); NaN where `simulate` gives NaN.
    ///
    /// # Errors
    /// As [`Simulator::simulate`].
    fn jacobian(&self, x: ArrayView2<'_, f64>) -> Result<Array3<f64>, SimulationError>;
}

impl<S: Simulator + ?Sized> Simulator for Box<S> {
    fn dim_x(&self) -> usize {
        (**self).dim_x()
    }

    fn dim_y(&self) -> usize {
        (**self).dim_y()
    }

    fn simulate(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>, SimulationError> {
        (**self).simulate(x)
    }
}

impl<S: Simulator + ?Sized> Simulator for &S {
    fn dim_x(&self) -> usize {
        (**self).dim_x()
    }

    fn dim_y(&self) -> usize {
        (**self).dim_y()
    }

    fn simulate(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>, SimulationError> {
        (**self).simulate(x)
    }
}

/// Checks that a matrix has `width` columns and only finite values.
///
/// * `argument`: the name that an error carries
///
/// # Errors
/// [`InvalidArgument`] that tells the first offending row and column.
pub fn check_matrix(
    argument: &str,
    matrix: ArrayView2<'_, f64>,
    width: usize,
) -> Result<(), InvalidArgument> {
    if matrix.ncols() != width {
        return Err(InvalidArgument::new(
            argument,
            format!("{width} columns"),
            format!("{} columns", matrix.ncols()),
        ));
    }
    for ((row, column), value) in matrix.indexed_iter() {
        if !value.is_finite() {
            return Err(InvalidArgument::new(
                argument,
                "finite values",
                format!("{value} in row {row}, column {column}"),
            ));
        }
    }
    Ok(())
}

/// Checks a number of variables: 1 to [`LARGEST_DIMENSION`].
pub(crate) fn check_dimension(argument: &str, dimension: usize) -> Result<(), InvalidArgument> {
    if (1..=LARGEST_DIMENSION).contains(&dimension) {
        return Ok(());
    }
    Err(InvalidArgument::new(argument, format!("1 to {LARGEST_DIMENSION} variables"), dimension))
}

/// Checks the designs handed to a simulator; see [`check_matrix`].
///
/// # Errors
/// [`InvalidArgument`] that names `x`.
pub fn check_designs(x: ArrayView2<'_, f64>, dim_x: usize) -> Result<(), InvalidArgument> {
    check_matrix("x", x, dim_x)
}

/// A closure as a simulator: it reads one design and writes one measurement.
///
/// The closure leaves NaN in `y` (every entry starts as NaN) where it cannot evaluate the design.
///
/// ```
/// use inverse_core::{FnSimulator, Simulator};
/// use ndarray::array;
///
/// let root = FnSimulator::new(1, 1, |x, y| {
///     if x[0] >= 0.0 {
///         y[0] = x[0].sqrt();
///     }
/// })?;
/// let y = root.simulate(array![[4.0], [-1.0]].view())?;
/// assert_eq!(y[[0, 0]], 2.0);
/// assert!(y[[1, 0]].is_nan());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct FnSimulator<F> {
    dim_x: usize,
    dim_y: usize,
    evaluate: F,
}

impl<F> fmt::Debug for FnSimulator<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = formatter.debug_struct("FnSimulator");
        text.field("dim_x", &self.dim_x).field("dim_y", &self.dim_y).finish_non_exhaustive()
    }
}

impl<F: Fn(&[f64], &mut [f64]) + Send + Sync> FnSimulator<F> {
    /// Wraps `evaluate(x, y)`, where x has `dim_x` and y `dim_y` entries.
    ///
    /// # Errors
    /// [`InvalidArgument`] where a dimension is 0 or above [`LARGEST_DIMENSION`].
    pub fn new(dim_x: usize, dim_y: usize, evaluate: F) -> Result<Self, InvalidArgument> {
        check_dimension("dim_x", dim_x)?;
        check_dimension("dim_y", dim_y)?;
        Ok(Self { dim_x, dim_y, evaluate })
    }
}

impl<F: Fn(&[f64], &mut [f64]) + Send + Sync> Simulator for FnSimulator<F> {
    fn dim_x(&self) -> usize {
        self.dim_x
    }

    fn dim_y(&self) -> usize {
        self.dim_y
    }

    fn simulate(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>, SimulationError> {
        check_designs(x, self.dim_x)?;
        let mut design = vec![0.0; self.dim_x];
        let mut measurement = vec![f64::NAN; self.dim_y];
        let mut y = Array2::from_elem((x.nrows(), self.dim_y), f64::NAN);
        for (x_row, mut y_row) in x.rows().into_iter().zip(y.rows_mut()) {
            for (slot, value) in design.iter_mut().zip(x_row) {
                *slot = *value;
            }
            measurement.fill(f64::NAN);
            (self.evaluate)(&design, &mut measurement);
            for (slot, value) in y_row.iter_mut().zip(&measurement) {
                *slot = *value;
            }
        }
        Ok(y)
    }
}

/// The derivative dy/dx of any simulator by central differences with Richardson's extrapolation.
///
/// * `x`: designs, (n, `dim_x`)
/// * `step`: the larger of the two steps, in units of x
///
/// Returns Jacobians, (n, `dim_y`, `dim_x`), with an error of order `step`⁴ where f is smooth.
///
/// # Errors
/// As [`Simulator::simulate`]; also where `step` is not a positive number, or so small or large that its half is 0, its
/// double infinite or a design one step away not finite, or the simulator answers in another shape than its dimensions
/// promise.
pub fn numerical_jacobian(
    simulator: &dyn Simulator,
    x: ArrayView2<'_, f64>,
    step: f64,
) -> Result<Array3<f64>, SimulationError> {
    check_designs(x, simulator.dim_x())?;
    if !((2.0 * step).is_finite() && step / 2.0 > 0.0) {
        return Err(
            InvalidArgument::new("step", "a positive number that has a half and a double", step).into()
        );
    }
    // Here, not in the simulator: its error would say that `x` is not finite.
    if let Some(value) = x.iter().find(|value| !(value.abs() + step).is_finite()) {
        let found = format!("{step} beside {value}");
        return Err(InvalidArgument::new("step", "a step to finite designs", found).into());
    }
    let (rows, dim_x) = x.dim();
    let mut jacobian = Array3::zeros((rows, simulator.dim_y(), dim_x));
    for column in 0..dim_x {
        let shifted = |shift: f64| {
            let mut moved = x.to_owned();
            moved.column_mut(column).mapv_inplace(|value| value + shift);
            let y = simulator.simulate(moved.view())?;
            if y.dim() != (rows, simulator.dim_y()) {
                let expected = format!("measurements of shape {:?}", (rows, simulator.dim_y()));
                return Err(InvalidArgument::new("simulator", expected, format!("{:?}", y.dim())).into());
            }
            Ok::<_, SimulationError>(y)
        };
        let coarse = (shifted(step)? - shifted(-step)?) / (2.0 * step);
        let fine = (shifted(step / 2.0)? - shifted(-step / 2.0)?) / step;
        let derivative = (fine * 4.0 - coarse) / 3.0;
        for ((row, output), value) in derivative.indexed_iter() {
            jacobian[[row, output, column]] = *value;
        }
    }
    Ok(jacobian)
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use ndarray::array;

    use super::*;

    fn product() -> FnSimulator<impl Fn(&[f64], &mut [f64]) + Send + Sync> {
        FnSimulator::new(2, 1, |x, y| y[0] = x[0] * x[1]).unwrap()
    }

    #[test]
    fn bad_designs_are_named() {
        let error = product().simulate(array![[1.0]].view()).unwrap_err().to_string();
        assert_eq!(error, "invalid `x`: expected 2 columns, found 1 columns");
        let error = product().simulate(array![[1.0, 2.0], [0.0, f64::NAN]].view()).unwrap_err();
        assert_eq!(error.to_string(), "invalid `x`: expected finite values, found NaN in row 1, column 1");
        for dimension in [0, LARGEST_DIMENSION + 1, usize::MAX] {
            let refused = |dim_x, dim_y| FnSimulator::new(dim_x, dim_y, |_, _| ()).unwrap_err().argument;
            assert_eq!([refused(dimension, 1), refused(1, dimension)], ["dim_x", "dim_y"]);
        }
    }

    #[test]
    fn numerical_jacobian_of_a_product() {
        let jacobian = numerical_jacobian(&product(), array![[2.0, 5.0]].view(), 1e-3).unwrap();
        assert_abs_diff_eq!(jacobian, array![[[5.0, 2.0]]], epsilon = 1e-10);
    }

    #[test]
    fn steps_that_have_no_derivative_are_refused() {
        let double = FnSimulator::new(1, 1, |x, y| y[0] = 2.0 * x[0]).unwrap();
        let error = |x: f64, step: f64| match numerical_jacobian(&double, array![[x]].view(), step) {
            Err(SimulationError::InvalidArgument(error)) => error,
            other => panic!("{step} at {x}: {other:?}"),
        };
        for step in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e308, f64::from_bits(1)] {
            assert_eq!(error(0.0, step).argument, "step", "{step}");
        }
        for x in [1.7e308, -1.7e308] {
            assert_eq!(error(x, 5e307).argument, "step");
        }
        let jacobian = numerical_jacobian(&double, array![[0.0]].view(), 8e300).unwrap();
        assert_abs_diff_eq!(jacobian, array![[[2.0]]], epsilon = 1e-12);
    }

    /// Promises one measurement a design, and answers in a shape of its own.
    struct Liar((usize, usize));

    impl Simulator for Liar {
        fn dim_x(&self) -> usize {
            2
        }

        fn dim_y(&self) -> usize {
            1
        }

        fn simulate(&self, _x: ArrayView2<'_, f64>) -> Result<Array2<f64>, SimulationError> {
            Ok(Array2::zeros(self.0))
        }
    }

    #[test]
    fn answers_of_another_shape_are_named() {
        let x = array![[2.0, 5.0], [1.0, 0.0]];
        assert!(numerical_jacobian(&Liar((2, 1)), x.view(), 1e-3).is_ok());
        for shape in [(2, 2), (1, 1), (3, 1), (0, 0), (2, 0)] {
            let error = numerical_jacobian(&Liar(shape), x.view(), 1e-3).unwrap_err().to_string();
            assert!(error.contains("`simulator`") && error.contains(&format!("found {shape:?}")), "{error}");
        }
    }
}
