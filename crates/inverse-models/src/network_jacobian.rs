//! The derivative of a network's outputs with respect to all its inputs.

use candle_core::{Result, Tensor};
use ndarray::Array3;

use crate::nn::FrozenMlp;

/// ∂f̂/∂x at each row, (rows, outputs, inputs).
///
/// * `x`: (rows, inputs)
pub(crate) fn network_jacobian(network: &FrozenMlp, x: &Tensor) -> Result<Array3<f64>> {
    let (rows, inputs) = x.dims2()?;
    let outputs = network.outputs();
    let (_, jacobian) = network.on_host()?.jacobian_at(&x.flatten_all()?.to_vec1()?);
    Ok(Array3::from_shape_fn((rows, outputs, inputs), |(row, output, input)| {
        f64::from(jacobian[(row * inputs + input) * outputs + output])
    }))
}
