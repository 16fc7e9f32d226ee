//! log p̂(x | y) in the data's units, from the density of standardised designs.

use inverse_core::{InvalidArgument, InverseModel, Proposals, ProposeError, check_pairs};
use ndarray::{Array1, Array2, ArrayView2, Axis};

use crate::device::propose_backend;
use crate::fitted::Fitted;
use crate::latent_sampling::Targets;
use crate::standardized_data::tensor;

/// Pairs that are evaluated together: it bounds the memory whatever their number.
const GROUP_ROWS: usize = 1 << 13;

/// log √(2π): the constant of a Gaussian, for each of its variables.
pub(crate) const LOG_ROOT_TWO_PI: f64 = 0.918_938_533_204_672_8;

/// The density of each design, (pairs, `dim_x`), under its own target, (pairs, `dim_y`).
///
/// * `standard`: the logarithms for standardised designs, (rows, `dim_x`), and their targets; equal ones in a row, as where
///   many draws for one target are asked about, are one of the distinct
pub(crate) fn log_density<S>(
    fitted: &Fitted<S>,
    device: &candle_core::Device,
    x: ArrayView2<'_, f64>,
    y: ArrayView2<'_, f64>,
    standard: impl Fn(ArrayView2<'_, f64>, &Targets) -> candle_core::Result<Vec<f64>>,
) -> Result<Option<Array1<f64>>, ProposeError> {
    check_pairs(x, y, (fitted.x.width(), fitted.y.width()))?;
    // A unit of volume of x holds 1 / Π scale units of standardised volume.
    let volume: f64 = fitted.x.scale().iter().map(|scale| scale.ln()).sum();
    let groups = x.axis_chunks_iter(Axis(0), GROUP_ROWS).zip(y.axis_chunks_iter(Axis(0), GROUP_ROWS));
    let mut log = Vec::with_capacity(x.nrows());
    for (x, y) in groups {
        let (first, of_row) = runs(y);
        let x = fitted.x.transform(x)?;
        let distinct = fitted.y.transform(y.select(Axis(0), &first).view())?;
        let logs = tensor(distinct.view(), device)
            .and_then(|distinct| standard(x.view(), &Targets { distinct, of_row }))
            .map_err(propose_backend)?;
        log.extend(logs.into_iter().map(|log| log - volume));
    }
    Ok(Some(Array1::from(log)))
}

/// Whether a model has a density: asked about no pairs.
///
/// # Errors
/// [`ProposeError::InvalidArgument`] that names `model` where it has none; the model's own error.
pub(crate) fn check_density(model: &impl InverseModel) -> Result<(), ProposeError> {
    let (x, y) = (Array2::zeros((0, model.dim_x())), Array2::zeros((0, model.dim_y())));
    match model.log_density(x.view(), y.view())? {
        Some(_) => Ok(()),
        None => Err(no_density(model).into()),
    }
}

pub(crate) fn no_density(model: &impl InverseModel) -> InvalidArgument {
    InvalidArgument::new("model", "one with a density", model.name())
}

/// Whether a model has given as many proposals as it was asked for, each of all variables.
///
/// * `argument`: the model, by the name that the caller knows it by
/// * `expected`: (targets, n, `dim_x`)
pub(crate) fn check_shape(
    argument: &str,
    proposals: &Proposals,
    expected: (usize, usize, usize),
) -> Result<(), InvalidArgument> {
    let found = proposals.designs().dim();
    if found == expected {
        return Ok(());
    }
    Err(InvalidArgument::new(argument, format!("proposals of shape {expected:?}"), format!("{found:?}")))
}

/// An error about the number of draws, by the name that the caller knows it by.
pub(crate) fn draws_named(error: ProposeError, argument: &str) -> ProposeError {
    match error {
        ProposeError::InvalidArgument(mut error) if error.argument == "n" => {
            error.argument = argument.into();
            error.into()
        }
        error => error,
    }
}

/// The first row of each run of equal rows, and which run each row is in.
fn runs(y: ArrayView2<'_, f64>) -> (Vec<usize>, Vec<usize>) {
    let mut first: Vec<usize> = Vec::new();
    let mut of_row = Vec::with_capacity(y.nrows());
    for row in 0..y.nrows() {
        if first.last().is_none_or(|first| y.row(*first) != y.row(row)) {
            first.push(row);
        }
        of_row.push(first.len() - 1);
    }
    (first, of_row)
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn equal_rows_are_joined_where_they_follow_each_other() {
        let y = array![[1.0, 2.0], [1.0, 2.0], [1.0, 3.0], [1.0, 2.0], [1.0, 2.0]];
        assert_eq!(runs(y.view()), (vec![0, 2, 3], vec![0, 0, 1, 2, 2]));
        assert_eq!(runs(Array2::zeros((0, 2)).view()), (vec![], vec![]));
    }
}
