//! Networks whose weights are fixed: prediction and input gradients.

use std::sync::{Arc, OnceLock};

use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, Device, Layout as TensorLayout, Result, Shape, Tensor, Var, bail,
};

use super::Activation;
use super::convolution::AffineMap;
use super::host_mlp::HostMlp;
use super::host_step::values;
use super::kernels::{
    FrozenLayer, GivenRows, error_and_gradient, predict, predict_beside, vector_jacobian_product,
};
use super::training_op::{floats, with_floats};

/// A value this far below the largest of its layer is 0 in a frozen network.
///
/// L2 shrinks the weights of units that ReLU has switched off by a constant factor a step, down to subnormal numbers.
/// The processor multiplies those many times slower than others, and beside a sum of the layer's real weights they
/// are 13 decimal digits below the last one of `f32`.
const NEGLIGIBLE: f32 = 1e-20;

/// For each entry of `of_row` that row of `distinct`, (distinct rows, columns).
pub(crate) fn repeated(distinct: &Tensor, of_row: &[usize]) -> Result<Tensor> {
    let of_row: Vec<u32> = of_row.iter().map(|row| *row as u32).collect();
    distinct.index_select(&Tensor::new(of_row, distinct.device())?, 0)
}

fn without_negligible(mut values: Vec<f32>) -> Vec<f32> {
    // `max` passes NaN over, which then stays: a diverged network must not look healthy.
    let largest = values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let limit =
        if largest.is_finite() { (largest * NEGLIGIBLE).max(f32::MIN_POSITIVE) } else { f32::MIN_POSITIVE };
    for value in &mut values {
        if value.abs() < limit {
            *value = 0.0;
        }
    }
    values
}

/// A fully connected network for use: no normalisation left, no gradient of its weights.
#[derive(Debug, Clone)]
pub struct FrozenMlp {
    inputs: usize,
    outputs: usize,
    activation: Activation,
    /// The layers in host memory; of a network on a device, copied there when they are first asked for.
    layers: Arc<OnceLock<Arc<Vec<FrozenLayer>>>>,
    /// (weight, bias) of each layer where the device is not the host.
    resident: Vec<(Tensor, Tensor)>,
}

impl FrozenMlp {
    /// A network of these layers: (weight, (outputs, inputs) row-major; bias).
    pub(super) fn new(
        layers: Vec<(Vec<f32>, Vec<f32>)>,
        activation: Activation,
        device: &Device,
    ) -> Result<Self> {
        let layers: Vec<FrozenLayer> = layers
            .into_iter()
            .map(|(weight, bias)| FrozenLayer::new(without_negligible(weight), bias))
            .collect();
        let mut resident = Vec::new();
        if !device.is_cpu() {
            for layer in &layers {
                let weight = Tensor::from_slice(&layer.weight, (layer.outputs(), layer.inputs()), device)?;
                resident.push((weight, Tensor::from_slice(&layer.bias, layer.outputs(), device)?));
            }
        }
        Ok(Self {
            inputs: layers.first().map_or(0, FrozenLayer::inputs),
            outputs: layers.last().map_or(0, FrozenLayer::outputs),
            activation,
            layers: Arc::new(OnceLock::from(Arc::new(layers))),
            resident,
        })
    }

    /// A network whose layers, (weight, (outputs, inputs); bias), lie on a device and stay there.
    pub(super) fn on_device(layers: Vec<(Tensor, Tensor)>, activation: Activation) -> Result<Self> {
        let (Some((first, _)), Some((last, _))) = (layers.first(), layers.last()) else {
            bail!("a network without layers")
        };
        let (inputs, outputs) = (first.dim(1)?, last.dim(0)?);
        Ok(Self { inputs, outputs, activation, layers: Arc::default(), resident: layers })
    }

    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Number of weights and biases.
    pub(crate) fn parameter_count(&self) -> usize {
        let layers = self.layers.get().map(|layers| layers.iter());
        match layers {
            Some(layers) => layers.map(|layer| layer.weight.len() + layer.bias.len()).sum(),
            None => self.resident.iter().map(|(weight, bias)| weight.elem_count() + bias.elem_count()).sum(),
        }
    }

    /// The layers in host memory.
    fn host(&self) -> Result<&Arc<Vec<FrozenLayer>>> {
        if let Some(layers) = self.layers.get() {
            return Ok(layers);
        }
        let mut layers = Vec::new();
        for (weight, bias) in &self.resident {
            let weight = without_negligible(weight.flatten_all()?.to_vec1()?);
            layers.push(FrozenLayer::new(weight, bias.to_vec1()?));
        }
        Ok(self.layers.get_or_init(|| Arc::new(layers)))
    }

    /// The linear layers as (weight, (outputs, inputs) row-major; bias).
    pub(crate) fn layers(&self) -> Result<impl ExactSizeIterator<Item = (&[f32], &[f32])>> {
        Ok(self.host()?.iter().map(|layer| (&layer.weight[..], &layer.bias[..])))
    }

    /// Rebuilds a network from the parts of [`FrozenMlp::layers`].
    pub(crate) fn from_layers(
        layers: Vec<(Vec<f32>, Vec<f32>)>,
        activation: Activation,
        device: &Device,
    ) -> Result<Self> {
        Self::new(layers, activation, device)
    }

    /// This network followed by an affine map of its outputs, which becomes one with the last layer.
    pub(crate) fn followed_by(&self, map: &AffineMap, device: &Device) -> Result<Self> {
        let mut layers = self.owned_layers()?;
        if let Some((weight, bias)) = layers.last_mut() {
            (*weight, *bias) = map.after(weight, bias);
        }
        Self::new(layers, self.activation, device)
    }

    fn owned_layers(&self) -> Result<Vec<(Vec<f32>, Vec<f32>)>> {
        Ok(self.host()?.iter().map(|layer| (layer.weight.clone(), layer.bias.clone())).collect())
    }

    /// This network preceded by an affine map of its inputs, which becomes one with the first layer.
    pub(crate) fn preceded_by(&self, map: &AffineMap, device: &Device) -> Result<Self> {
        let mut layers = self.owned_layers()?;
        if let Some((weight, bias)) = layers.first_mut() {
            (*weight, *bias) = map.before(weight, bias);
        }
        Self::new(layers, self.activation, device)
    }

    /// This network on a device, followed by an affine map of its outputs: matrix, (outputs, more outputs), and
    /// bias, (1, more outputs).
    pub(super) fn followed_on_device(&self, matrix: &Tensor, bias: &Tensor) -> Result<Self> {
        let mut layers = self.resident.clone();
        let Some((last_weight, last_bias)) = layers.last_mut() else { bail!("a network without layers") };
        let matrix = matrix.detach();
        *last_bias =
            last_bias.unsqueeze(0)?.matmul(&matrix)?.add(&bias.detach())?.squeeze(0)?.contiguous()?;
        *last_weight = matrix.t()?.matmul(last_weight)?.contiguous()?;
        Self::on_device(layers, self.activation)
    }

    /// This network on a device, preceded by an affine map: matrix, (its inputs, this network's), and bias, (1, this
    /// network's inputs).
    pub(super) fn preceded_on_device(&self, matrix: &Tensor, bias: &Tensor) -> Result<Self> {
        let mut layers = self.resident.clone();
        let Some((weight, shift)) = layers.first_mut() else { bail!("a network without layers") };
        let turned = weight.t()?.contiguous()?;
        *shift = bias.detach().contiguous()?.matmul(&turned)?.squeeze(0)?.add(shift)?.contiguous()?;
        *weight = weight.matmul(&matrix.detach().t()?.contiguous()?)?.contiguous()?;
        Self::on_device(layers, self.activation)
    }

    fn check(&self, x: &Tensor) -> Result<()> {
        let (rows, columns) = x.dims2()?;
        if columns != self.inputs() || rows == 0 {
            bail!("the network takes (rows, {}), found {:?}", self.inputs(), x.shape())
        }
        Ok(())
    }

    /// The output, (rows, outputs), for x, (rows, inputs); differentiable in x by candle.
    ///
    /// # Errors
    /// Where the shapes disagree or the tensor library fails.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.check(x)?;
        if x.device().is_cpu() {
            let op = FrozenOp { layers: self.host()?.clone(), activation: self.activation };
            return x.contiguous()?.apply_op1(op);
        }
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            return self.on_cuda().forward(x);
        }
        self.forward_composed(x)
    }

    /// The output, (rows, outputs), for rows of the first inputs, `x`, and rows of the others that many may share: row
    /// i of x has row `of_row[i]` of `given`.
    ///
    /// In host memory what is shared is multiplied once; not differentiable there.
    pub(crate) fn forward_beside(&self, x: &Tensor, given: &Tensor, of_row: &[usize]) -> Result<Tensor> {
        if !x.device().is_cpu() {
            return self.forward(&Tensor::cat(&[x, &repeated(given, of_row)?], 1)?);
        }
        let (width, y) = (given.dim(1)?, values(given)?);
        let y = self.host_forward_beside(&values(x)?, &GivenRows { values: &y, width, of_row })?;
        Tensor::from_vec(y, (of_row.len(), self.outputs()), x.device())
    }

    /// As [`FrozenMlp::forward_beside`], in host memory.
    pub(super) fn host_forward_beside(&self, x: &[f32], given: &GivenRows<'_>) -> Result<Vec<f32>> {
        let rows = given.of_row.len();
        let is_there = |row: &usize| (row + 1) * given.width <= given.values.len();
        let fits = rows > 0 && given.width > 0 && x.len() == rows * self.inputs().saturating_sub(given.width);
        if !fits || given.width > self.inputs() || !given.of_row.iter().all(is_there) {
            bail!(
                "the network takes {} inputs a row, found {} numbers of {rows} rows and {} beside",
                self.inputs(),
                x.len(),
                given.width
            )
        }
        Ok(predict_beside(self.host()?, self.activation, x, given))
    }

    /// The output, (rows, outputs), for x, (rows, inputs), both in host memory.
    pub(super) fn host_forward(&self, x: &[f32]) -> Result<Vec<f32>> {
        if x.is_empty() || !x.len().is_multiple_of(self.inputs()) {
            bail!("the network takes rows of {}, found {} numbers", self.inputs(), x.len())
        }
        Ok(predict(self.host()?, self.activation, x))
    }

    /// The network in host memory.
    pub(crate) fn on_host(&self) -> Result<HostMlp> {
        Ok(HostMlp { layers: self.host()?.clone(), activation: self.activation })
    }

    pub(crate) fn activation(&self) -> Activation {
        self.activation
    }

    /// The network for the CUDA kernels; without layers where it lies elsewhere, which the kernels refuse.
    #[cfg(feature = "cuda")]
    pub(crate) fn on_cuda(&self) -> super::kernels::cuda::CudaNetwork {
        super::kernels::cuda::CudaNetwork::new(self.resident.clone(), self.activation)
    }

    /// The same pass as plain candle operations.
    pub(crate) fn forward_composed(&self, x: &Tensor) -> Result<Tensor> {
        let mut value = x.clone();
        for (index, (weight, bias)) in self.resident.iter().enumerate() {
            value = value.matmul(&weight.t()?)?.broadcast_add(bias)?;
            if index + 1 < self.resident.len() {
                value = self.activation.apply(&value)?;
            }
        }
        Ok(value)
    }

    /// The weighted squared error of each row, (rows), and its gradient with respect to x, (rows, inputs):
    /// Σ_j w_j (f̂_j(x) − y_j)², eq. 4's loss before it is averaged.
    ///
    /// * `x`: (rows, inputs), `y`: (rows, outputs), `weights`: w, (outputs)
    ///
    /// # Errors
    /// Where the shapes disagree or the tensor library fails.
    pub fn error_and_gradient(&self, x: &Tensor, y: &Tensor, weights: &[f32]) -> Result<(Tensor, Tensor)> {
        self.check(x)?;
        if y.dims2()? != (x.dim(0)?, self.outputs()) || weights.len() != self.outputs() {
            bail!("the targets have another shape: {:?}, {} weights", y.shape(), weights.len())
        }
        if x.device().is_cpu() {
            let op = ErrorGradientOp { layers: self.host()?, activation: self.activation, weights };
            let packed = x.contiguous()?.apply_op2_no_bwd(&y.contiguous()?, &op)?;
            let error = packed.narrow(1, 0, 1)?.squeeze(1)?.contiguous()?;
            return Ok((error, packed.narrow(1, 1, self.inputs())?.contiguous()?));
        }
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            return self.on_cuda().error_and_gradient(x, y, weights);
        }
        let x = Var::from_tensor(x)?;
        let weights = Tensor::new(weights, x.device())?;
        let difference = (self.forward_composed(x.as_tensor())? - y)?;
        let error = difference.sqr()?.broadcast_mul(&weights)?.sum(1)?;
        let gradients = error.sum_all()?.backward()?;
        let Some(gradient) = gradients.get(&x) else { bail!("candle returned no input gradient") };
        Ok((error.detach(), gradient.clone()))
    }
}

/// x → f̂(x) with fixed weights.
struct FrozenOp {
    layers: Arc<Vec<FrozenLayer>>,
    activation: Activation,
}

impl CustomOp1 for FrozenOp {
    fn name(&self) -> &'static str {
        "mlp-frozen"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &TensorLayout) -> Result<(CpuStorage, Shape)> {
        let (rows, _) = layout.shape().dims2()?;
        let y = predict(&self.layers, self.activation, floats(x, layout)?);
        let outputs = y.len() / rows;
        Ok((CpuStorage::F32(y), Shape::from((rows, outputs))))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let gradient = gradient.contiguous()?;
        let values = with_floats(x, |x| {
            with_floats(&gradient, |gradient| {
                Ok(vector_jacobian_product(&self.layers, self.activation, x, gradient))
            })
        })?;
        Ok(Some(Tensor::from_vec(values, x.shape(), x.device())?))
    }
}

/// (x, y) → error and input gradient of each row, side by side.
struct ErrorGradientOp<'a> {
    layers: &'a [FrozenLayer],
    activation: Activation,
    weights: &'a [f32],
}

impl CustomOp2 for ErrorGradientOp<'_> {
    fn name(&self) -> &'static str {
        "mlp-error-gradient"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &TensorLayout,
        y: &CpuStorage,
        y_layout: &TensorLayout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, inputs) = x_layout.shape().dims2()?;
        let (x, y) = (floats(x, x_layout)?, floats(y, y_layout)?);
        let packed = error_and_gradient(self.layers, self.activation, x, y, self.weights);
        Ok((CpuStorage::F32(packed), Shape::from((rows, 1 + inputs))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_values_beside_which_nothing_is_lost_become_zero() {
        let kept = without_negligible(vec![2.0, -1.9e-20, 2.1e-20, f32::NAN, -3.0e-40, 0.0]);
        assert_eq!((kept[0], kept[1], kept[2], kept[4], kept[5]), (2.0, 0.0, 2.1e-20, 0.0, 0.0));
        assert!(kept[3].is_nan());
        assert_eq!(without_negligible(vec![f32::INFINITY, 1.0]), [f32::INFINITY, 1.0]);
        let small = without_negligible(vec![1.0e-30, -1.0e-39, 2.0e-38]);
        assert_eq!(small, [1.0e-30, 0.0, 2.0e-38], "subnormal numbers alone go where all are small");
    }
}
