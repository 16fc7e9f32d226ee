//! The derivative of a network's outputs with respect to all its inputs.

use candle_core::{Result, Tensor};
use ndarray::Array3;

use crate::nn::{Activation, FrozenMlp};

/// ∂f̂/∂x at each row, (rows, outputs, inputs), by forward differentiation.
///
/// One tangent an input passes the layers beside the values: for many outputs and few inputs that is far less
/// than one backward pass an output.
///
/// * `x`: (rows, inputs)
pub(crate) fn network_jacobian(
    network: &FrozenMlp,
    activation: Activation,
    x: &Tensor,
) -> Result<Array3<f64>> {
    let (rows, inputs) = x.dims2()?;
    let device = x.device();
    let mut value = x.clone();
    // (rows · inputs, width): the tangents of a row stand one below the other.
    let mut tangent = Tensor::eye(inputs, x.dtype(), device)?.repeat((rows, 1))?;
    let layers = network.layers()?;
    let last = layers.len().saturating_sub(1);
    for (index, (weight, bias)) in layers.enumerate() {
        let outputs = bias.len();
        let weight = Tensor::from_slice(weight, (outputs, weight.len() / outputs), device)?.t()?;
        value = value.matmul(&weight)?.broadcast_add(&Tensor::from_slice(bias, outputs, device)?)?;
        tangent = tangent.matmul(&weight)?;
        if index < last {
            let mut values = value.flatten_all()?.to_vec1::<f32>()?;
            let mut slopes = vec![0.0; values.len()];
            activation.apply_in_place(&mut values, &mut slopes);
            value = Tensor::from_vec(values, (rows, outputs), device)?;
            let slopes = Tensor::from_vec(slopes, (rows, 1, outputs), device)?;
            let tangents = tangent.reshape((rows, inputs, outputs))?.broadcast_mul(&slopes)?;
            tangent = tangents.reshape((rows * inputs, outputs))?;
        }
    }
    let outputs = network.outputs();
    let columns =
        tangent.reshape((rows, inputs, outputs))?.transpose(1, 2)?.flatten_all()?.to_vec1::<f32>()?;
    Array3::from_shape_vec((rows, outputs, inputs), columns.into_iter().map(f64::from).collect())
        .map_err(candle_core::Error::wrap)
}
