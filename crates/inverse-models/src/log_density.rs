//! log p̂(x | y) in the data's units, from the density of standardised designs.

use inverse_core::{InvalidArgument, ProposeError, check_pairs};
use ndarray::{Array1, ArrayView2, Axis};

use crate::device::propose_backend;
use crate::fitted::Fitted;

/// Pairs that are evaluated together: it bounds the memory whatever their number.
const GROUP_ROWS: usize = 1 << 12;

/// log √(2π): the constant of a Gaussian, for each of its variables.
pub(crate) const LOG_ROOT_TWO_PI: f64 = 0.918_938_533_204_672_8;

/// The density of each design, (pairs, `dim_x`), under its own target, (pairs, `dim_y`).
///
/// * `standard`: the logarithms for standardised designs and targets, (rows, `dim_x`) and (rows, `dim_y`)
pub(crate) fn log_density<S>(
    fitted: &Fitted<S>,
    x: ArrayView2<'_, f64>,
    y: ArrayView2<'_, f64>,
    standard: impl Fn(ArrayView2<'_, f64>, ArrayView2<'_, f64>) -> candle_core::Result<Vec<f64>>,
) -> Result<Option<Array1<f64>>, ProposeError> {
    check_pairs(x, y, (fitted.x.width(), fitted.y.width()))?;
    let named =
        |name: &'static str| move |error: InvalidArgument| InvalidArgument { argument: name.into(), ..error };
    let x = fitted.x.transform(x).map_err(named("x"))?;
    let y = fitted.y.transform(y).map_err(named("y"))?;
    // A unit of volume of x holds 1 / Π scale units of standardised volume.
    let volume: f64 = fitted.x.scale().iter().map(|scale| scale.ln()).sum();
    let groups = x.axis_chunks_iter(Axis(0), GROUP_ROWS).zip(y.axis_chunks_iter(Axis(0), GROUP_ROWS));
    let mut log = Vec::with_capacity(x.nrows());
    for (x, y) in groups {
        log.extend(standard(x, y).map_err(propose_backend)?.into_iter().map(|log| log - volume));
    }
    Ok(Some(Array1::from(log)))
}
