//! Forward and backward pass of a whole fully connected network in training mode.

use std::sync::{Arc, Mutex};

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView, CudaViewMut};
use candle_core::{CpuStorage, CudaStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};

use super::workspace::{CudaWorkspaces, LayerBuffers, Workspace};
use super::{
    Factor, IDENTITY, Kernels, LARGEST_BATCH, Precision, elementwise, floats, in_parts, integer, kind,
    launch, thread_each,
};
use crate::nn::Activation;
use crate::nn::layout::{Layout as NetworkLayout, NORMALIZATION_EPSILON};

/// (x, parameters) → output of a fully connected network in training mode, on the device.
pub(crate) struct CudaTraining {
    layout: Arc<NetworkLayout>,
    activation: Activation,
    workspaces: CudaWorkspaces,
    /// What the forward pass left for the backward pass.
    workspace: Mutex<Option<Workspace>>,
    /// Batch mean and unbiased variance of each normalised layer, in the order of the layout.
    statistics: Arc<Mutex<Option<CudaSlice<f32>>>>,
    wants_x: bool,
}

impl CudaTraining {
    pub(crate) fn new(
        layout: Arc<NetworkLayout>,
        activation: Activation,
        workspaces: CudaWorkspaces,
        statistics: Arc<Mutex<Option<CudaSlice<f32>>>>,
        wants_x: bool,
    ) -> Self {
        Self { layout, activation, workspaces, workspace: Mutex::new(None), statistics, wants_x }
    }

    fn workspace(&self, kernels: &Kernels, rows: usize) -> Result<Workspace> {
        let waiting = self.workspaces.lock().ok().and_then(|mut waiting| waiting.pop());
        match waiting.filter(|workspace| workspace.rows == rows) {
            Some(workspace) => Ok(workspace),
            None => Workspace::new(kernels, &self.layout.layers, rows),
        }
    }

    fn give_back(&self, workspace: Workspace) {
        if let Ok(mut waiting) = self.workspaces.lock() {
            waiting.push(workspace);
        }
    }

    /// Runs the network; its output lies in the last layer's z, without the bias.
    fn forward(
        &self,
        kernels: &Kernels,
        x: &CudaView<'_, f32>,
        parameters: &CudaView<'_, f32>,
        workspace: &mut Workspace,
        statistics: &mut Option<CudaSlice<f32>>,
    ) -> Result<()> {
        let rows = workspace.rows;
        for (index, layer) in self.layout.layers.iter().enumerate() {
            let (done, rest) = workspace.layers.split_at_mut(index);
            let buffers = &mut rest[0];
            let previous = done.last().map(|buffers| buffers.activation.slice(..));
            let weight = parameters.slice(layer.weight.clone());
            let factors = (Factor::plain(previous.as_ref().unwrap_or(x)), Factor::transposed(&weight));
            let size = (rows, layer.outputs, layer.inputs);
            kernels.multiply(&mut buffers.z.slice_mut(..), factors.0, factors.1, size, Precision::Full)?;
            if index + 1 == self.layout.layers.len() {
                return Ok(());
            }
            let bias = parameters.slice(layer.bias.clone());
            if layer.normalization.is_none() {
                let mut activation = buffers.activation.slice_mut(..);
                let size = (rows, layer.outputs);
                kernels.activate(
                    &buffers.z.slice(..),
                    &bias,
                    &mut activation,
                    size,
                    kind(self.activation),
                )?;
            } else if let Some(statistics) = statistics {
                self.normalize(
                    kernels,
                    index,
                    parameters,
                    (rows, buffers),
                    &mut workspace.parts,
                    statistics,
                )?;
            }
        }
        Ok(())
    }

    /// Takes the moments of a layer's z, normalises it and applies the activation.
    fn normalize(
        &self,
        kernels: &Kernels,
        index: usize,
        parameters: &CudaView<'_, f32>,
        (rows, buffers): (usize, &mut LayerBuffers),
        parts: &mut CudaSlice<f32>,
        statistics: &mut CudaSlice<f32>,
    ) -> Result<()> {
        let layer = &self.layout.layers[index];
        let Some(normalization) = &layer.normalization else { return Ok(()) };
        let LayerBuffers { z, activation, mean, inverse_deviation } = buffers;
        let (count, width) = (integer(rows)?, integer(layer.outputs)?);
        let bias = parameters.slice(layer.bias.clone());
        let scale = parameters.slice(normalization.scale.clone());
        let shift = parameters.slice(normalization.shift.clone());
        let epsilon = NORMALIZATION_EPSILON as f32;
        // Mean and variance lie side by side, in the layout as in the kernel's result.
        let both = normalization.running_mean.start..normalization.running_variance.end;
        let mut statistics = statistics.slice_mut(both);
        let shape = in_parts(rows, layer.outputs);
        launch!(kernels, column_moments, shape, &*z, &mut *parts, &count, &width)?;
        let shape = thread_each(layer.outputs);
        launch!(
            kernels,
            finish_moments,
            shape,
            &*parts,
            &bias,
            &mut *mean,
            &mut *inverse_deviation,
            &mut statistics,
            &count,
            &width,
            &epsilon
        )?;
        let (shape, activation_kind) = (elementwise(rows, layer.outputs), kind(self.activation));
        launch!(
            kernels,
            normalize_activate,
            shape,
            z,
            &*mean,
            &*inverse_deviation,
            &scale,
            &shift,
            activation,
            &count,
            &width,
            &activation_kind
        )
    }

    /// The gradient of the parameters, and of x where it is wanted, one behind the other.
    fn backward(
        &self,
        kernels: &Kernels,
        (x, parameters, gradient): (&CudaView<'_, f32>, &CudaView<'_, f32>, &CudaView<'_, f32>),
        workspace: &mut Workspace,
    ) -> Result<CudaSlice<f32>> {
        let (rows, count) = (workspace.rows, self.layout.parameter_count);
        let wanted = if self.wants_x { x.len() } else { 0 };
        let mut result = kernels.zeros(count + wanted)?;
        let (mut of_parameters, mut of_x) = result.split_at_mut(count);
        let Workspace { layers, gradients: [even, odd], parts, .. } = workspace;
        let last = layers.len() - 1;
        kernels.device.memcpy_dtod(
            gradient,
            &mut if last % 2 == 0 { &mut *even } else { &mut *odd }.slice_mut(..gradient.len()),
        )?;
        for (index, layer) in self.layout.layers.iter().enumerate().rev() {
            let (source, target) =
                if index % 2 == 0 { (&mut *even, &mut *odd) } else { (&mut *odd, &mut *even) };
            let mut source = source.slice_mut(..rows * layer.outputs);
            self.pull_back(
                kernels,
                index,
                parameters,
                (rows, &layers[index]),
                &mut source,
                parts,
                &mut of_parameters,
            )?;
            let source = source.as_view();
            let input = index.checked_sub(1).map(|before| layers[before].activation.slice(..));
            let factors = (Factor::transposed(&source), Factor::plain(input.as_ref().unwrap_or(x)));
            let size = (layer.outputs, layer.inputs, rows);
            let mut of_weight = of_parameters.slice_mut(layer.weight.clone());
            kernels.multiply(&mut of_weight, factors.0, factors.1, size, Precision::Full)?;
            let weight = parameters.slice(layer.weight.clone());
            let factors = (Factor::plain(&source), Factor::plain(&weight));
            let size = (rows, layer.inputs, layer.outputs);
            if index > 0 {
                let mut target = target.slice_mut(..rows * layer.inputs);
                kernels.multiply(&mut target, factors.0, factors.1, size, Precision::Full)?;
            } else if self.wants_x {
                kernels.multiply(&mut of_x, factors.0, factors.1, size, Precision::Full)?;
            }
        }
        Ok(result)
    }

    /// Turns the gradient of a layer's activation into that of its z, and writes that of its bias, or of its scale and
    /// shift: under batch normalisation the bias has no effect, and its gradient is exactly 0.
    #[allow(clippy::too_many_arguments, reason = "one layer's buffers, the network's and the gradient's")]
    fn pull_back(
        &self,
        kernels: &Kernels,
        index: usize,
        parameters: &CudaView<'_, f32>,
        (rows, buffers): (usize, &LayerBuffers),
        gradient: &mut CudaViewMut<'_, f32>,
        parts: &mut CudaSlice<f32>,
        of_parameters: &mut CudaViewMut<'_, f32>,
    ) -> Result<()> {
        let layer = &self.layout.layers[index];
        let (count, width, nothing) = (integer(rows)?, integer(layer.outputs)?, 0_u64);
        let hidden = index + 1 < self.layout.layers.len();
        let activation = if hidden { kind(self.activation) } else { IDENTITY };
        let (shape, whole) = (in_parts(rows, layer.outputs), thread_each(layer.outputs));
        let LayerBuffers { z, inverse_deviation, .. } = buffers;
        let Some(normalization) = &layer.normalization else {
            let bias = parameters.slice(layer.bias.clone());
            launch!(
                kernels,
                pull_back_activation,
                shape,
                gradient,
                z,
                &nothing,
                &bias,
                &mut *parts,
                &count,
                &width,
                &activation
            )?;
            let mut sums = of_parameters.slice_mut(layer.bias.clone());
            return launch!(kernels, finish_sums, whole, &*parts, &mut sums, &nothing, &count, &width);
        };
        let scale = parameters.slice(normalization.scale.clone());
        let shift = parameters.slice(normalization.shift.clone());
        launch!(
            kernels,
            pull_back_activation,
            shape,
            &mut *gradient,
            z,
            &scale,
            &shift,
            &mut *parts,
            &count,
            &width,
            &activation
        )?;
        // Scale, then shift: what a normalisation's parameters lie like in the layout.
        let both = normalization.scale.start..normalization.shift.end;
        let mut both = of_parameters.slice_mut(both);
        let (mut products, mut sums) = both.split_at_mut(layer.outputs);
        launch!(kernels, finish_sums, whole, &*parts, &mut sums, &mut products, &count, &width)?;
        let (sums, products) = (sums.as_view(), products.as_view());
        let shape = elementwise(rows, layer.outputs);
        launch!(
            kernels,
            pull_back_normalization,
            shape,
            gradient,
            z,
            &scale,
            inverse_deviation,
            &sums,
            &products,
            &count,
            &width
        )
    }
}

impl Drop for CudaTraining {
    fn drop(&mut self) {
        if let Some(workspace) = self.workspace.get_mut().ok().and_then(Option::take) {
            self.give_back(workspace);
        }
    }
}

impl CustomOp2 for CudaTraining {
    fn name(&self) -> &'static str {
        "mlp-training-cuda"
    }

    fn cpu_fwd(
        &self,
        _x: &CpuStorage,
        _x_layout: &Layout,
        _parameters: &CpuStorage,
        _parameter_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        bail!("a network on the device takes inputs on the device")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        parameters: &CudaStorage,
        parameter_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let kernels = Kernels::of(x.device())?;
        let (rows, inputs) = x_layout.shape().dims2()?;
        let (Some(first), Some(last)) = (self.layout.layers.first(), self.layout.layers.last()) else {
            bail!("a network without layers")
        };
        if inputs != first.inputs || rows == 0 {
            bail!("the network's input has another width: {:?}", x_layout.shape())
        }
        if rows > LARGEST_BATCH {
            bail!("a batch has at most {LARGEST_BATCH} rows, found {rows}")
        }
        let (x, parameters) = (floats(x, x_layout)?, floats(parameters, parameter_layout)?);
        let mut workspace = self.workspace(&kernels, rows)?;
        let count = self.layout.statistic_count;
        let mut statistics = if count > 0 { Some(kernels.buffer(count)?) } else { None };
        self.forward(&kernels, &x, &parameters, &mut workspace, &mut statistics)?;
        let mut y = kernels.buffer(rows * last.outputs)?;
        if let Some(buffers) = workspace.layers.last() {
            let bias = parameters.slice(last.bias.clone());
            let size = (rows, last.outputs);
            kernels.activate(&buffers.z.slice(..), &bias, &mut y.slice_mut(..), size, IDENTITY)?;
        }
        if let Ok(mut kept) = self.statistics.lock() {
            *kept = statistics;
        }
        if let Ok(mut kept) = self.workspace.lock() {
            *kept = Some(workspace);
        }
        let storage = CudaStorage::wrap_cuda_slice(y, kernels.device.clone());
        Ok((storage, Shape::from((rows, last.outputs))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        parameters: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let packed = x.apply_op3_no_bwd(parameters, &gradient.contiguous()?, &Backward(self))?;
        let count = self.layout.parameter_count;
        let of_x = if self.wants_x {
            Some(packed.narrow(0, count, x.elem_count())?.reshape(x.shape())?)
        } else {
            None
        };
        Ok((of_x, Some(packed.narrow(0, 0, count)?)))
    }
}

/// (x, parameters, gradient of the output) → gradient of the parameters, and of x behind it.
struct Backward<'a>(&'a CudaTraining);

impl CustomOp3 for Backward<'_> {
    fn name(&self) -> &'static str {
        "mlp-training-gradient-cuda"
    }

    fn cpu_fwd(
        &self,
        _x: &CpuStorage,
        _x_layout: &Layout,
        _parameters: &CpuStorage,
        _parameter_layout: &Layout,
        _gradient: &CpuStorage,
        _gradient_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        bail!("a network on the device takes inputs on the device")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        parameters: &CudaStorage,
        parameter_layout: &Layout,
        gradient: &CudaStorage,
        gradient_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let workspace = self.0.workspace.lock().ok().and_then(|mut kept| kept.take());
        let Some(mut workspace) = workspace else { bail!("mlp-training-cuda runs backward once") };
        let kernels = Kernels::of(x.device())?;
        let x = floats(x, x_layout)?;
        let (parameters, gradient) =
            (floats(parameters, parameter_layout)?, floats(gradient, gradient_layout)?);
        let result = self.0.backward(&kernels, (&x, &parameters, &gradient), &mut workspace)?;
        self.0.give_back(workspace);
        let shape = Shape::from(result.len());
        Ok((CudaStorage::wrap_cuda_slice(result, kernels.device.clone()), shape))
    }
}
