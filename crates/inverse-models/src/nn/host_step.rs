//! One step of a network in training in host memory, without candle's graph.
//!
//! The graph copies each gradient of a network's parameters into zeros, allocates every small result, and knows of no
//! pass but its own operations. A method that knows its loss's gradient by hand needs none of it.

use std::ops::{Deref, Range};

use candle_core::{CpuStorage, Device, Result, Storage, Tensor, bail};

use super::kernels::{TrainingPass, TrainingWorkspace};
use super::mlp::Mlp;
use super::training_loop::LossGradients;

/// A network's parameters and buffers, held for one forward and one backward pass.
pub(crate) struct HostStep<'a> {
    network: &'a Mlp,
    /// A lock, whose type candle keeps to itself.
    storage: Box<dyn Deref<Target = Storage> + 'a>,
    range: Range<usize>,
    workspace: TrainingWorkspace,
}

impl<'a> HostStep<'a> {
    /// # Errors
    /// Where the parameters do not lie in host memory.
    pub(crate) fn new(network: &'a Mlp) -> Result<Self> {
        let (storage, layout) = network.parameter_tensor().storage_and_layout();
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("a network's parameters lie together")
        };
        if !matches!(&*storage, Storage::Cpu(CpuStorage::F32(_))) {
            bail!("the step runs in host memory")
        }
        let workspace = network.take_workspace();
        Ok(Self { network, storage: Box::new(storage), range: start..end, workspace })
    }

    /// The output, (rows, outputs), for x, (rows, inputs); moves the running statistics.
    pub(crate) fn forward(&mut self, x: &[f32]) -> Result<Vec<f32>> {
        let mut workspace = std::mem::take(&mut self.workspace);
        let y = self.pass()?.forward(x, &mut workspace);
        self.network.move_statistics(&workspace.statistics)?;
        self.workspace = workspace;
        Ok(y)
    }

    /// The gradient of the parameters, and of x where it is wanted, given that of the output.
    ///
    /// * `x`: that of [`HostStep::forward`]; `gradient`: (rows, outputs)
    pub(crate) fn backward(
        &mut self,
        x: &[f32],
        gradient: &[f32],
        wants_x: bool,
    ) -> Result<(Tensor, Option<Vec<f32>>)> {
        let mut workspace = std::mem::take(&mut self.workspace);
        let (parameters, x_gradient) = self.pass()?.backward(x, gradient, &mut workspace, wants_x);
        self.workspace = workspace;
        let count = parameters.len();
        Ok((Tensor::from_vec(parameters, count, &Device::Cpu)?, x_gradient))
    }

    fn pass(&self) -> Result<TrainingPass<'_>> {
        let Storage::Cpu(CpuStorage::F32(parameters)) = &**self.storage else {
            bail!("the step runs in host memory")
        };
        Ok(self.network.pass(&parameters[self.range.clone()]))
    }
}

impl Drop for HostStep<'_> {
    fn drop(&mut self) {
        self.network.return_workspace(std::mem::take(&mut self.workspace));
    }
}

/// The numbers of a tensor in host memory.
pub(crate) fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_vec1()
}

/// A loss and its gradients as the training loop takes them.
pub(crate) fn host_loss(loss: f64, parameters: Vec<Tensor>) -> Result<LossGradients> {
    let loss = Tensor::new(loss as f32, &Device::Cpu)?;
    Ok(LossGradients { loss, parameters: parameters.into_iter().map(Some).collect() })
}
