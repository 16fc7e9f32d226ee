//! Proposals of networks that turn a target straight into a design.

use candle_core::Device;
use inverse_core::{InvalidArgument, Proposals, ProposeError, Standardizer, check_request};
use ndarray::{ArrayView2, Axis};

use crate::device::propose_backend;
use crate::latent_sampling::LARGEST_PROPOSAL_COUNT;
use crate::nn::FrozenMlp;
use crate::standardized_data::{array, tensor};

/// One design a target, `n` times: asking again changes nothing.
///
/// * `network`: standardised y → standardised x
pub(crate) fn propose_one(
    network: &FrozenMlp,
    y_units: &Standardizer,
    x_units: &Standardizer,
    device: &Device,
    y: ArrayView2<'_, f64>,
    n: usize,
) -> Result<Proposals, ProposeError> {
    check_request(y, y_units.width(), n, LARGEST_PROPOSAL_COUNT)?;
    let standard = y_units.transform(y)?;
    let designs = tensor(standard.view(), device)
        .and_then(|y| network.forward(&y))
        .and_then(|x| array(&x))
        .map_err(propose_backend)?;
    let designs = x_units.inverse(designs.view())?;
    let shape = (y.nrows(), n, x_units.width());
    let repeated = designs.insert_axis(Axis(1)).broadcast(shape).map(|view| view.to_owned());
    let wrong = || InvalidArgument::new("y", format!("shape {shape:?}"), "another");
    Ok(Proposals::new(repeated.ok_or_else(wrong)?)?)
}
