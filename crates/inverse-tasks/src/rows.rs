//! Evaluating one design after another, fast.

use inverse_core::{InvalidArgument, SimulationError, check_designs};
use ndarray::{Array2, Array3, ArrayView2, ShapeError};
use rayon::prelude::*;

/// Evaluates `measure` on each row.
///
/// * `x`: designs, (n, `X`), in any memory layout
///
/// Returns measurements, (n, `Y`). A row with a value that is not finite is NaN as a whole.
pub(crate) fn simulate_rows<const X: usize, const Y: usize>(
    x: ArrayView2<'_, f64>,
    measure: impl Fn([f64; X]) -> [f64; Y],
) -> Result<Array2<f64>, SimulationError> {
    let mut values = Vec::with_capacity(x.nrows() * Y);
    for_each_row(x, |design| {
        let measurement = measure(design);
        let finite = measurement.iter().all(|value| value.is_finite());
        values.extend_from_slice(&if finite { measurement } else { [f64::NAN; Y] });
    })?;
    Array2::from_shape_vec((x.nrows(), Y), values).map_err(shape_failure)
}

/// Evaluates `measure(design, measurement)` on each row, rows spread over threads.
///
/// * `x`: designs, (n, `X`), in any memory layout
/// * `dim_y`: width of a measurement, at least 1; its entries are NaN at first
///
/// Returns measurements, (n, `dim_y`). A row with a value that is not finite is NaN as a whole. No row depends
/// on another, so the bits are the same for any number of threads.
pub(crate) fn simulate_rows_in_parallel<const X: usize>(
    x: ArrayView2<'_, f64>,
    dim_y: usize,
    measure: impl Fn([f64; X], &mut [f64]) + Sync,
) -> Result<Array2<f64>, SimulationError> {
    let mut designs = Vec::with_capacity(x.nrows());
    for_each_row(x, |design| designs.push(design))?;
    let mut values = vec![f64::NAN; designs.len() * dim_y];
    designs.into_par_iter().zip(values.par_chunks_mut(dim_y.max(1))).for_each(|(design, measurement)| {
        measure(design, measurement);
        if measurement.iter().any(|value| !value.is_finite()) {
            measurement.fill(f64::NAN);
        }
    });
    Array2::from_shape_vec((x.nrows(), dim_y), values).map_err(shape_failure)
}

/// Evaluates `derive` on each row.
///
/// * `x`: designs, (n, `X`), in any memory layout
///
/// Returns Jacobians, (n, `Y`, `X`). A Jacobian with an entry that is not finite is NaN as a whole.
pub(crate) fn jacobian_rows<const X: usize, const Y: usize>(
    x: ArrayView2<'_, f64>,
    derive: impl Fn([f64; X]) -> [[f64; X]; Y],
) -> Result<Array3<f64>, SimulationError> {
    let mut values = Vec::with_capacity(x.nrows() * Y * X);
    for_each_row(x, |design| {
        let jacobian = derive(design);
        let finite = jacobian.as_flattened().iter().all(|value| value.is_finite());
        let jacobian = if finite { jacobian } else { [[f64::NAN; X]; Y] };
        values.extend_from_slice(jacobian.as_flattened());
    })?;
    Array3::from_shape_vec((x.nrows(), Y, X), values).map_err(shape_failure)
}

fn for_each_row<const X: usize>(
    x: ArrayView2<'_, f64>,
    mut visit: impl FnMut([f64; X]),
) -> Result<(), InvalidArgument> {
    check_designs(x, X)?;
    if let Some(values) = x.as_slice() {
        for design in values.as_chunks::<X>().0 {
            visit(*design);
        }
    } else {
        for row in x.rows() {
            visit(std::array::from_fn(|column| row[column]));
        }
    }
    Ok(())
}

fn shape_failure(error: ShapeError) -> SimulationError {
    SimulationError::Failed(Box::new(error))
}

#[cfg(test)]
mod tests {
    use ndarray::{array, s};

    use super::*;

    #[test]
    fn any_layout_gives_the_same_answer() {
        let swap = |[a, b]: [f64; 2]| [b, a, a * b];
        let x = array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]];
        let expected = array![[2.0, 1.0, 2.0], [4.0, 3.0, 12.0], [6.0, 5.0, 30.0]];
        assert_eq!(simulate_rows(x.view(), swap).unwrap(), expected);
        let column_major = x.t().as_standard_layout().into_owned();
        assert_eq!(simulate_rows(column_major.t(), swap).unwrap(), expected);
        let reversed = simulate_rows(x.slice(s![..;-1, ..]), swap).unwrap();
        assert_eq!(reversed, expected.slice(s![..;-1, ..]));
        assert_eq!(simulate_rows(x.slice(s![..0, ..]), swap).unwrap().dim(), (0, 3));
    }

    #[test]
    fn parallel_rows_are_the_same_rows() {
        let x = Array2::from_shape_fn((300, 2), |(row, column)| (row * 2 + column) as f64);
        let one_by_one = simulate_rows(x.view(), |[a, b]: [f64; 2]| [a / b, (a - 4.0).ln()]).unwrap();
        let parallel = simulate_rows_in_parallel(x.view(), 2, |[a, b]: [f64; 2], y| {
            y[0] = a / b;
            y[1] = (a - 4.0).ln();
        });
        let bits = |y: &Array2<f64>| y.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&parallel.unwrap()), bits(&one_by_one));
        let none = simulate_rows_in_parallel(x.slice(s![..0, ..]), 3, |_: [f64; 2], _| ()).unwrap();
        assert_eq!(none.dim(), (0, 3));
        assert!(simulate_rows_in_parallel(x.view(), 3, |_: [f64; 3], _| ()).is_err());
    }

    #[test]
    fn values_that_are_not_finite_make_the_row_nan() {
        let x = array![[0.0], [2.0]];
        let y = simulate_rows(x.view(), |[a]: [f64; 1]| [a, 1.0 / a]).unwrap();
        assert!(y.row(0).iter().all(|value| value.is_nan()));
        assert_eq!(y.row(1), array![2.0, 0.5]);
        let jacobian = jacobian_rows(x.view(), |[a]: [f64; 1]| [[1.0], [-1.0 / (a * a)]]).unwrap();
        assert!(jacobian.slice(s![0, .., ..]).iter().all(|value| value.is_nan()));
        assert_eq!(jacobian.slice(s![1, .., ..]), array![[1.0], [-0.25]]);
    }
}
