//! One step of a network in training in host memory, without candle's graph.
//!
//! The graph copies each gradient of a network's parameters into zeros, allocates every small result, and knows of no
//! pass but its own operations. A method that knows its loss's gradient by hand needs none of it.

use std::ops::{Deref, Range};
use std::sync::Mutex;

use candle_core::{CpuStorage, Device, InplaceOp1, Layout, Result, Storage, Tensor, bail};

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
    /// * `gradient`: (rows, outputs); after [`HostStep::forward`]
    pub(crate) fn backward(&mut self, gradient: &[f32], wants_x: bool) -> Result<(Tensor, Option<Vec<f32>>)> {
        let of_parameters = self.network.take_gradient()?;
        let results = Mutex::new((std::mem::take(&mut self.workspace), None));
        of_parameters.inplace_op1(&Backward { pass: self.pass()?, gradient, wants_x, results: &results })?;
        let Ok((workspace, of_x)) = results.into_inner() else { bail!("an earlier step failed") };
        self.workspace = workspace;
        Ok((of_parameters, of_x))
    }

    fn pass(&self) -> Result<TrainingPass<'_>> {
        let Storage::Cpu(CpuStorage::F32(parameters)) = &**self.storage else {
            bail!("the step runs in host memory")
        };
        Ok(self.network.pass(&parameters[self.range.clone()]))
    }
}

/// The backward pass, which writes the gradient of the parameters into a tensor that an earlier step has left.
struct Backward<'a> {
    pass: TrainingPass<'a>,
    gradient: &'a [f32],
    wants_x: bool,
    /// The buffers that the forward pass has filled, and the gradient of x.
    results: &'a Mutex<(TrainingWorkspace, Option<Vec<f32>>)>,
}

impl InplaceOp1 for Backward<'_> {
    fn name(&self) -> &'static str {
        "mlp-backward"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (CpuStorage::F32(values), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
            bail!("a gradient is one vector of f32")
        };
        let Ok(mut results) = self.results.lock() else { bail!("an earlier step failed") };
        let (workspace, of_x) = &mut *results;
        *of_x = self.pass.backward(self.gradient, workspace, self.wants_x, &mut values[start..end]);
        Ok(())
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
    let parameters = parameters.into_iter().map(Some).collect();
    Ok(LossGradients { loss: host_scalar(loss)?, parameters })
}

/// A loss as the training loop takes it.
pub(crate) fn host_scalar(loss: f64) -> Result<Tensor> {
    Tensor::new(loss as f32, &Device::Cpu)
}
