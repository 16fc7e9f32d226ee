//! The fused training pass as a candle operation.

use std::sync::{Arc, Mutex};

use candle_core::{CpuStorage, CustomOp2, Layout as TensorLayout, Result, Shape, Storage, Tensor, bail};

use super::Activation;
use super::kernels::{TrainingPass, TrainingWorkspace};
use super::layout::Layout;

/// Workspaces that wait for their next step.
pub(super) type Workspaces = Arc<Mutex<Vec<TrainingWorkspace>>>;

/// (x, parameters) → output of a fully connected network in training mode.
pub(super) struct MlpTrainingOp {
    layout: Arc<Layout>,
    activation: Activation,
    workspaces: Workspaces,
    /// What the forward pass left for the backward pass.
    workspace: Mutex<Option<TrainingWorkspace>>,
    statistics: Arc<Mutex<Vec<f32>>>,
    wants_x: bool,
}

impl MlpTrainingOp {
    pub(super) fn new(
        layout: Arc<Layout>,
        activation: Activation,
        workspaces: Workspaces,
        statistics: Arc<Mutex<Vec<f32>>>,
        wants_x: bool,
    ) -> Self {
        Self { layout, activation, workspaces, workspace: Mutex::new(None), statistics, wants_x }
    }

    fn pass<'a>(&'a self, parameters: &'a [f32]) -> TrainingPass<'a> {
        TrainingPass { layers: &self.layout.layers, activation: self.activation, parameters }
    }
}

impl Drop for MlpTrainingOp {
    fn drop(&mut self) {
        let workspace = self.workspace.get_mut().ok().and_then(Option::take);
        if let (Some(workspace), Ok(mut waiting)) = (workspace, self.workspaces.lock()) {
            waiting.push(workspace);
        }
    }
}

impl CustomOp2 for MlpTrainingOp {
    fn name(&self) -> &'static str {
        "mlp-training"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &TensorLayout,
        parameters: &CpuStorage,
        parameter_layout: &TensorLayout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, inputs) = x_layout.shape().dims2()?;
        if Some(inputs) != self.layout.layers.first().map(|layer| layer.inputs) || rows == 0 {
            bail!("the network's input has another width: {:?}", x_layout.shape())
        }
        let x = floats(x, x_layout)?;
        let pass = self.pass(floats(parameters, parameter_layout)?);
        let mut workspace =
            self.workspaces.lock().ok().and_then(|mut waiting| waiting.pop()).unwrap_or_default();
        let y = pass.forward(x, &mut workspace);
        if let Ok(mut statistics) = self.statistics.lock() {
            statistics.clone_from(&workspace.statistics);
        }
        if let Ok(mut kept) = self.workspace.lock() {
            *kept = Some(workspace);
        }
        let outputs = y.len() / rows;
        Ok((CpuStorage::F32(y), Shape::from((rows, outputs))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        parameters: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let workspace = self.workspace.lock().ok().and_then(|mut kept| kept.take());
        let Some(mut workspace) = workspace else { bail!("mlp-training runs backward once") };
        let gradient = gradient.contiguous()?;
        let (parameter_gradient, x_gradient) = with_floats(parameters, |parameters| {
            with_floats(&gradient, |gradient| {
                let mut of_parameters = vec![0.0; parameters.len()];
                let pass = self.pass(parameters);
                let of_x = pass.backward(gradient, &mut workspace, self.wants_x, &mut of_parameters);
                Ok((of_parameters, of_x))
            })
        })?;
        if let Ok(mut waiting) = self.workspaces.lock() {
            waiting.push(workspace);
        }
        let x_gradient =
            x_gradient.map(|values| Tensor::from_vec(values, x.shape(), x.device())).transpose()?;
        let parameter_gradient = Tensor::from_vec(parameter_gradient, parameters.shape(), x.device())?;
        Ok((x_gradient, Some(parameter_gradient)))
    }
}

/// The numbers of a contiguous `f32` tensor in host memory.
pub(super) fn floats<'a>(storage: &'a CpuStorage, layout: &TensorLayout) -> Result<&'a [f32]> {
    let CpuStorage::F32(values) = storage else { bail!("the network works on f32") };
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("the network works on contiguous tensors")
    };
    Ok(&values[start..end])
}

/// Lends the numbers of a contiguous `f32` tensor in host memory.
pub(super) fn with_floats<T>(tensor: &Tensor, use_values: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else { bail!("the fused network works in host memory") };
    use_values(floats(storage, layout)?)
}
