//! Row-by-row evaluation of designs of a fixed width.

use inverse_core::{SimulationError, check_designs};
use ndarray::{Array2, Array3, ArrayView2, CowArray};

/// Applies `evaluate` to each design after checking them all.
pub(crate) fn map_rows<const X: usize, const Y: usize>(
    x: ArrayView2<'_, f64>,
    evaluate: impl Fn(&[f64; X]) -> [f64; Y],
) -> Result<Array2<f64>, SimulationError> {
    check_designs(x, X)?;
    let mut y = Vec::with_capacity(x.nrows() * Y);
    for_each_row(x, |design| y.extend_from_slice(&evaluate(design)));
    Array2::from_shape_vec((x.nrows(), Y), y).map_err(|error| SimulationError::Failed(Box::new(error)))
}

/// Applies `differentiate` to each design after checking them all.
pub(crate) fn map_jacobians<const X: usize, const Y: usize>(
    x: ArrayView2<'_, f64>,
    differentiate: impl Fn(&[f64; X]) -> [[f64; X]; Y],
) -> Result<Array3<f64>, SimulationError> {
    check_designs(x, X)?;
    let mut jacobian = Vec::with_capacity(x.nrows() * Y * X);
    for_each_row(x, |design| jacobian.extend(differentiate(design).as_flattened()));
    let shape = (x.nrows(), Y, X);
    Array3::from_shape_vec(shape, jacobian).map_err(|error| SimulationError::Failed(Box::new(error)))
}

fn for_each_row<const X: usize>(x: ArrayView2<'_, f64>, mut use_row: impl FnMut(&[f64; X])) {
    let standard: CowArray<'_, f64, _> = x.as_standard_layout();
    if let Some(values) = standard.as_slice() {
        values.as_chunks::<X>().0.iter().for_each(&mut use_row);
    }
}
