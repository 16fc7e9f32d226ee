//! Networks whose weights are fixed: prediction, products with their Jacobian, and errors with input gradients.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView, CudaViewMut};
use candle_core::{CpuStorage, CudaStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::{
    Borrowed, Factor, IDENTITY, Kernels, Precision, elementwise, floats, integer, kind, launch, warp_a_row,
};
use crate::nn::Activation;

/// Rows that go through the network together: enough to fill the card, few enough that what one layer leaves is still
/// in its cache (50 MB on an H100) when the next takes it.
const CHUNK: usize = 8192;

/// A network on the device: (weight, (outputs, inputs); bias) of each layer.
#[derive(Debug, Clone)]
pub(crate) struct CudaNetwork {
    layers: Vec<(Tensor, Tensor)>,
    activation: Activation,
}

impl CudaNetwork {
    pub(crate) fn new(layers: Vec<(Tensor, Tensor)>, activation: Activation) -> Self {
        Self { layers, activation }
    }

    /// The output, (rows, outputs), for x, (rows, inputs); differentiable in x by candle.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.contiguous()?.apply_op1(ForwardOp(self.clone()))
    }

    /// The weighted squared error of each row, (rows), and its gradient with respect to x, (rows, inputs).
    pub(crate) fn error_and_gradient(
        &self,
        x: &Tensor,
        y: &Tensor,
        weights: &[f32],
    ) -> Result<(Tensor, Tensor)> {
        let (rows, columns) = x.dims2()?;
        let op = ErrorGradientOp { network: self, weights };
        let packed = x.contiguous()?.apply_op2_no_bwd(&y.contiguous()?, &op)?;
        let gradient = packed.narrow(0, rows, rows * columns)?.reshape((rows, columns))?;
        Ok((packed.narrow(0, 0, rows)?, gradient))
    }
}

/// Read access to all layers of a network for one pass.
pub(super) struct Layers<'a> {
    borrowed: Vec<(Borrowed<'a>, Borrowed<'a>)>,
    /// (inputs, outputs) of each.
    widths: Vec<(usize, usize)>,
    activation: i32,
}

impl<'a> Layers<'a> {
    pub(super) fn of(network: &'a CudaNetwork) -> Result<Self> {
        let mut widths = Vec::new();
        for (weight, _) in &network.layers {
            let (outputs, inputs) = weight.dims2()?;
            widths.push((inputs, outputs));
        }
        let borrowed = network.layers.iter();
        let borrowed =
            borrowed.map(|(weight, bias)| (Borrowed::new(weight), Borrowed::new(bias))).collect::<Vec<_>>();
        if borrowed.is_empty() {
            bail!("a network without layers")
        }
        Ok(Self { borrowed, widths, activation: kind(network.activation) })
    }

    pub(super) fn inputs(&self) -> usize {
        self.widths[0].0
    }

    pub(super) fn outputs(&self) -> usize {
        self.widths[self.widths.len() - 1].1
    }

    fn weight(&self, index: usize) -> Result<CudaView<'_, f32>> {
        self.borrowed[index].0.floats()
    }

    fn bias(&self, index: usize) -> Result<CudaView<'_, f32>> {
        self.borrowed[index].1.floats()
    }
}

/// Buffers of one chunk of rows.
pub(super) struct Chunk {
    /// x · weightᵀ of each layer, without its bias.
    z: Vec<CudaSlice<f32>>,
    activation: CudaSlice<f32>,
    /// Used in turn.
    gradients: [CudaSlice<f32>; 2],
}

impl Chunk {
    /// For up to `rows` rows at once; see [`chunks`].
    pub(super) fn new(kernels: &Kernels, layers: &Layers<'_>, rows: usize) -> Result<Self> {
        let rows = rows.min(CHUNK);
        let widest = layers.widths.iter().map(|(_, outputs)| *outputs).max().unwrap_or(0);
        let z = layers.widths.iter().map(|(_, outputs)| kernels.buffer(rows * outputs));
        Ok(Self {
            z: z.collect::<Result<_>>()?,
            activation: kernels.buffer(rows * widest)?,
            gradients: [kernels.buffer(rows * widest)?, kernels.buffer(rows * widest)?],
        })
    }
}

/// First row and number of rows of each chunk.
pub(super) fn chunks(rows: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows).step_by(CHUNK).map(move |start| (start, CHUNK.min(rows - start)))
}

impl Kernels {
    /// Runs one chunk forward; the last layer's bias is left to who reads `chunk.z`.
    fn run_forward(
        &self,
        layers: &Layers<'_>,
        x: &CudaView<'_, f32>,
        rows: usize,
        chunk: &mut Chunk,
        precision: Precision,
    ) -> Result<()> {
        let last = layers.widths.len() - 1;
        for (index, (inputs, outputs)) in layers.widths.iter().copied().enumerate() {
            let weight = layers.weight(index)?;
            let activation = chunk.activation.slice(..);
            let input = if index == 0 { x } else { &activation };
            let mut z = chunk.z[index].slice_mut(..);
            let factors = (Factor::plain(input), Factor::transposed(&weight));
            self.multiply(&mut z, factors.0, factors.1, (rows, outputs, inputs), precision)?;
            if index < last {
                let z = chunk.z[index].slice(..);
                let mut result = chunk.activation.slice_mut(..);
                self.activate(&z, &layers.bias(index)?, &mut result, (rows, outputs), layers.activation)?;
            }
        }
        Ok(())
    }

    /// result = activation(z + bias).
    pub(super) fn activate(
        &self,
        z: &CudaView<'_, f32>,
        bias: &CudaView<'_, f32>,
        result: &mut CudaViewMut<'_, f32>,
        (rows, columns): (usize, usize),
        activation: i32,
    ) -> Result<()> {
        let count = integer(rows)?;
        if columns.is_multiple_of(4) {
            let width = integer(columns / 4)?;
            let shape = elementwise(rows, columns / 4);
            return launch!(self, activate4, shape, z, bias, result, &count, &width, &activation);
        }
        let width = integer(columns)?;
        launch!(self, activate, elementwise(rows, columns), z, bias, result, &count, &width, &activation)
    }

    /// gradient *= slope(z + bias).
    fn multiply_slope(
        &self,
        gradient: &mut CudaViewMut<'_, f32>,
        z: &CudaView<'_, f32>,
        bias: &CudaView<'_, f32>,
        (rows, columns): (usize, usize),
        activation: i32,
    ) -> Result<()> {
        let count = integer(rows)?;
        if columns.is_multiple_of(4) {
            let width = integer(columns / 4)?;
            let shape = elementwise(rows, columns / 4);
            return launch!(self, multiply_slope4, shape, gradient, z, bias, &count, &width, &activation);
        }
        let (width, shape) = (integer(columns)?, elementwise(rows, columns));
        launch!(self, multiply_slope, shape, gradient, z, bias, &count, &width, &activation)
    }

    /// Pulls a gradient of one chunk's output back to its input; the output's gradient is `given`, or lies where the
    /// output was.
    fn run_backward(
        &self,
        layers: &Layers<'_>,
        given: Option<&CudaView<'_, f32>>,
        rows: usize,
        chunk: &mut Chunk,
        result: &mut CudaViewMut<'_, f32>,
        precision: Precision,
    ) -> Result<()> {
        let last = layers.widths.len() - 1;
        let Chunk { z, gradients: [even, odd], .. } = chunk;
        let output = z[last].slice(..);
        for (index, (inputs, outputs)) in layers.widths.iter().copied().enumerate().rev() {
            let (target, source) = if index % 2 == 0 { (&mut *even, &*odd) } else { (&mut *odd, &*even) };
            let source = source.slice(..);
            let source = if index == last { given.unwrap_or(&output) } else { &source };
            let weight = layers.weight(index)?;
            let factors = (Factor::plain(source), Factor::plain(&weight));
            if index == 0 {
                return self.multiply(result, factors.0, factors.1, (rows, inputs, outputs), precision);
            }
            let mut target = target.slice_mut(..);
            self.multiply(&mut target, factors.0, factors.1, (rows, inputs, outputs), precision)?;
            let (z, bias) = (z[index - 1].slice(..), layers.bias(index - 1)?);
            self.multiply_slope(&mut target, &z, &bias, (rows, inputs), layers.activation)?;
        }
        Ok(())
    }

    /// Errors and input gradients of all rows at x.
    ///
    /// * `y`: (targets, outputs), `rows_a_target` rows of x each
    pub(super) fn errors_and_gradients(
        &self,
        layers: &Layers<'_>,
        (x, y, weights): (&CudaView<'_, f32>, &CudaView<'_, f32>, &CudaView<'_, f32>),
        (rows, rows_a_target): (usize, usize),
        chunk: &mut Chunk,
        (errors, gradients): (&mut CudaViewMut<'_, f32>, &mut CudaViewMut<'_, f32>),
        precision: Precision,
    ) -> Result<()> {
        let (inputs, outputs) = (layers.inputs(), layers.outputs());
        let last = layers.widths.len() - 1;
        for (start, count) in chunks(rows) {
            let x = x.slice(start * inputs..(start + count) * inputs);
            self.run_forward(layers, &x, count, chunk, precision)?;
            let (bias, width) = (layers.bias(last)?, integer(outputs)?);
            let (first_row, rows_a_target) = (integer(start)?, integer(rows_a_target)?);
            let mut error = errors.slice_mut(start..start + count);
            let z = &mut chunk.z[last];
            let (number, shape) = (integer(count)?, warp_a_row(count));
            launch!(
                self,
                weighted_error,
                shape,
                z,
                &bias,
                y,
                weights,
                &mut error,
                &number,
                &width,
                &first_row,
                &rows_a_target
            )?;
            let mut gradient = gradients.slice_mut(start * inputs..(start + count) * inputs);
            self.run_backward(layers, None, count, chunk, &mut gradient, precision)?;
        }
        Ok(())
    }
}

/// x → f̂(x) with fixed weights.
struct ForwardOp(CudaNetwork);

impl CustomOp1 for ForwardOp {
    fn name(&self) -> &'static str {
        "mlp-frozen-cuda"
    }

    fn cpu_fwd(&self, _x: &CpuStorage, _layout: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("a network on the device takes inputs on the device")
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let kernels = Kernels::of(x.device())?;
        let layers = Layers::of(&self.0)?;
        let (rows, inputs) = layout.shape().dims2()?;
        let (outputs, last) = (layers.outputs(), layers.widths.len() - 1);
        let x = floats(x, layout)?;
        let mut chunk = Chunk::new(&kernels, &layers, rows)?;
        let mut result = kernels.buffer(rows * outputs)?;
        for (start, count) in chunks(rows) {
            let x = x.slice(start * inputs..(start + count) * inputs);
            kernels.run_forward(&layers, &x, count, &mut chunk, Precision::Full)?;
            let mut y = result.slice_mut(start * outputs..(start + count) * outputs);
            kernels.activate(
                &chunk.z[last].slice(..),
                &layers.bias(last)?,
                &mut y,
                (count, outputs),
                IDENTITY,
            )?;
        }
        let storage = CudaStorage::wrap_cuda_slice(result, kernels.device.clone());
        Ok((storage, Shape::from((rows, outputs))))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let x = x.contiguous()?;
        x.apply_op2_no_bwd(&gradient.contiguous()?, &VectorJacobianOp(&self.0)).map(Some)
    }
}

/// (x, gradient of f̂(x)) → gradient of x.
struct VectorJacobianOp<'a>(&'a CudaNetwork);

impl CustomOp2 for VectorJacobianOp<'_> {
    fn name(&self) -> &'static str {
        "mlp-frozen-gradient-cuda"
    }

    fn cpu_fwd(
        &self,
        _x: &CpuStorage,
        _x_layout: &Layout,
        _gradient: &CpuStorage,
        _gradient_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        bail!("a network on the device takes inputs on the device")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        gradient: &CudaStorage,
        gradient_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let kernels = Kernels::of(x.device())?;
        let layers = Layers::of(self.0)?;
        let (rows, inputs) = x_layout.shape().dims2()?;
        let outputs = layers.outputs();
        let (x, gradient) = (floats(x, x_layout)?, floats(gradient, gradient_layout)?);
        let mut chunk = Chunk::new(&kernels, &layers, rows)?;
        let mut result = kernels.buffer(rows * inputs)?;
        for (start, count) in chunks(rows) {
            let range = start * inputs..(start + count) * inputs;
            kernels.run_forward(&layers, &x.slice(range.clone()), count, &mut chunk, Precision::Full)?;
            let given = gradient.slice(start * outputs..(start + count) * outputs);
            let mut result = result.slice_mut(range);
            kernels.run_backward(&layers, Some(&given), count, &mut chunk, &mut result, Precision::Full)?;
        }
        Ok((CudaStorage::wrap_cuda_slice(result, kernels.device.clone()), x_layout.shape().clone()))
    }
}

/// (x, y) → errors of all rows, then their gradients.
struct ErrorGradientOp<'a> {
    network: &'a CudaNetwork,
    weights: &'a [f32],
}

impl CustomOp2 for ErrorGradientOp<'_> {
    fn name(&self) -> &'static str {
        "mlp-error-gradient-cuda"
    }

    fn cpu_fwd(
        &self,
        _x: &CpuStorage,
        _x_layout: &Layout,
        _y: &CpuStorage,
        _y_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        bail!("a network on the device takes inputs on the device")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        y: &CudaStorage,
        y_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let kernels = Kernels::of(x.device())?;
        let layers = Layers::of(self.network)?;
        let (rows, inputs) = x_layout.shape().dims2()?;
        let (x, y, weights) = (floats(x, x_layout)?, floats(y, y_layout)?, kernels.upload(self.weights)?);
        let mut chunk = Chunk::new(&kernels, &layers, rows)?;
        let mut packed = kernels.buffer(rows * (1 + inputs))?;
        let (mut errors, mut gradients) = packed.split_at_mut(rows);
        let results = (&mut errors, &mut gradients);
        let given = (&x, &y, &weights.slice(..));
        kernels.errors_and_gradients(&layers, given, (rows, 1), &mut chunk, results, Precision::Full)?;
        let storage = CudaStorage::wrap_cuda_slice(packed, kernels.device.clone());
        Ok((storage, Shape::from(rows * (1 + inputs))))
    }
}
