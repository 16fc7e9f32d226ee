//! Convolutions in training.

use candle_core::{DType, Device, Result, Tensor, Var};
use inverse_core::Stream;
use rand::RngExt;

use super::convolution::{AffineMap, Convolution, Convolutions};
use super::{FrozenMlp, Network, TrainableNetwork};

/// The convolutions of a head or an encoder, trained through their own weights.
///
/// A step builds their matrix from the kernels by sending the unit vectors through them, and applies it to
/// the batch: `width` rows pass the convolutions instead of a batch. A convolution is a selection of the values
/// that each tap meets and one matrix product: candle 0.11 has no derivative of `conv_transpose1d`, and that of
/// `conv1d` with respect to the kernel misreads the transposed gradient on the processor. Selection and product
/// run, and are differentiated, by the same code on every device.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use inverse_core::RandomStreams;
/// use inverse_models::nn::{Convolutions, ConvolutionNetwork, Network};
///
/// let mut stream = RandomStreams::new(0).stream("weights", 0);
/// let head = ConvolutionNetwork::new(&Convolutions::metamaterial_head(), &Device::Cpu, &mut stream)?;
/// let spectra = head.forward(&Tensor::zeros((7, 150), candle_core::DType::F32, &Device::Cpu)?)?;
/// assert_eq!(spectra.dims(), [7, 300]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug)]
pub struct ConvolutionNetwork {
    convolutions: Convolutions,
    /// Weight (PyTorch's layout) and bias of each convolution in turn.
    parameters: Var,
    /// None: a vector of length 0.
    statistics: Var,
}

impl ConvolutionNetwork {
    /// Convolutions with PyTorch's default weights, uniform in ±1/√fan_in.
    ///
    /// # Errors
    /// Where the settings cannot be used or the tensor library fails.
    pub fn new(convolutions: &Convolutions, device: &Device, stream: &mut Stream) -> Result<Self> {
        let outputs = convolutions.output_width().unwrap_or(0);
        convolutions.validate("convolutions", outputs).map_err(candle_core::Error::wrap)?;
        let mut parameters = Vec::with_capacity(convolutions.parameter_count());
        for (inputs, layer) in convolutions.steps() {
            let (bound, count) = (layer.initial_bound(inputs), layer.weight_count(inputs) + layer.channels);
            parameters.extend((0..count).map(|_| stream.random_range(-bound..=bound)));
        }
        let parameters = Var::new(parameters, device)?;
        let statistics = Var::zeros(0, DType::F32, device)?;
        Ok(Self { convolutions: convolutions.clone(), parameters, statistics })
    }

    /// All of them as one affine map in candle operations: its matrix, (`width`, outputs), and bias, (1, outputs).
    fn affine(&self) -> Result<(Tensor, Tensor)> {
        let (width, device) = (self.convolutions.width, self.parameters.device());
        // Unit vectors, on which only the weights act, and a row of zeros, which gathers the biases.
        let zeros = |rows: usize, columns: usize| Tensor::zeros((rows, columns), DType::F32, device);
        let rows = Tensor::cat(&[&Tensor::eye(width, DType::F32, device)?, &zeros(1, width)?], 0)?;
        let last = Tensor::cat(&[&zeros(width, 1)?, &Tensor::ones((1, 1), DType::F32, device)?], 0)?;
        let last = last.unsqueeze(2)?;
        let mut value = rows.unsqueeze(1)?;
        let mut start = 0;
        for (inputs, layer) in self.convolutions.steps() {
            let count = layer.weight_count(inputs);
            let weight = self.parameters.narrow(0, start, count)?.reshape(&layer.weight_shape(inputs))?;
            let bias = self.parameters.narrow(0, start + count, layer.channels)?;
            let bias = bias.reshape((1, layer.channels, 1))?.broadcast_mul(&last)?;
            value = convolve(layer, &value, &weight)?.broadcast_add(&bias)?;
            start += count + layer.channels;
        }
        let map = value.squeeze(1)?;
        Ok((map.narrow(0, 0, width)?, map.narrow(0, width, 1)?))
    }

    /// A network on their device, followed by these convolutions as they stand.
    pub(crate) fn follow_on_device(&self, stack: &FrozenMlp) -> Result<FrozenMlp> {
        let (matrix, bias) = self.affine()?;
        stack.followed_on_device(&matrix.contiguous()?, &bias)
    }

    /// A network on their device, preceded by these convolutions as they stand.
    pub(crate) fn precede_on_device(&self, stack: &FrozenMlp) -> Result<FrozenMlp> {
        let (matrix, bias) = self.affine()?;
        stack.preceded_on_device(&matrix, &bias)
    }

    /// As they stand, as one affine map.
    pub(crate) fn freeze(&self) -> Result<AffineMap> {
        Ok(self.convolutions.affine_map(&self.parameters.to_vec1::<f32>()?))
    }
}

/// (rows, channels in, length) to (rows, channels out, length out); differentiable by candle.
fn convolve(layer: &Convolution, value: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let (rows, channels, length) = value.dims3()?;
    let sources = layer.sources(length);
    let longer = sources.len() / layer.kernel;
    // A zero stands behind the sequence for the taps that meet none of its values.
    let padded = value.pad_with_zeros(2, 0, 1)?;
    let sources: Vec<u32> = sources.iter().map(|source| source.unwrap_or(length) as u32).collect();
    let met = padded.index_select(&Tensor::new(sources, value.device())?, 2)?;
    let met = met.reshape((rows, channels * layer.kernel, longer))?.transpose(1, 2)?.contiguous()?;
    let matrix = if layer.transposed { weight.permute((0, 2, 1))? } else { weight.permute((1, 2, 0))? };
    let matrix = matrix.contiguous()?.reshape((channels * layer.kernel, layer.channels))?;
    let result = met.reshape((rows * longer, channels * layer.kernel))?.matmul(&matrix)?;
    result.reshape((rows, longer, layer.channels))?.transpose(1, 2)?.contiguous()
}

impl Network for ConvolutionNetwork {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (matrix, bias) = self.affine()?;
        x.matmul(&matrix.contiguous()?)?.broadcast_add(&bias)
    }
}

impl TrainableNetwork for ConvolutionNetwork {
    fn parameters(&self) -> &Var {
        &self.parameters
    }

    fn statistics(&self) -> &Var {
        &self.statistics
    }
}
