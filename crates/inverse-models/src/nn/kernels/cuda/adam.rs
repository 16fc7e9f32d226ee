//! Adam on the device, and running statistics.

use std::sync::Mutex;

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::CudaSlice;
use candle_core::{
    CpuStorage, CudaDevice, CudaStorage, Device, InplaceOp1, InplaceOp2, Layout, Result, Tensor, Var, bail,
};

use super::{Borrowed, Kernels, device_of, floats, integer, launch, thread_each};
use crate::nn::optimizer::AdamStep;

/// First and second moments of a flat vector of parameters.
#[derive(Debug)]
pub(crate) struct CudaMoments {
    device: CudaDevice,
    first: CudaSlice<f32>,
    second: CudaSlice<f32>,
}

impl CudaMoments {
    /// The moments of a saved state, on their device.
    pub(crate) fn new(first: &Tensor, second: &Tensor) -> Result<Self> {
        let device = device_of(first)?;
        let kernels = Kernels::of(&device)?;
        let copy = |tensor: &Tensor| {
            let mut copy = kernels.buffer(tensor.elem_count())?;
            device.memcpy_dtod(&Borrowed::new(tensor).floats()?, &mut copy)?;
            Ok::<_, candle_core::Error>(copy)
        };
        let (first, second) = (copy(first)?, copy(second)?);
        Ok(Self { device, first, second })
    }

    /// Both moments in host memory.
    pub(crate) fn state(&self) -> Result<(Tensor, Tensor)> {
        let host = |values: &CudaSlice<f32>| {
            let values = self.device.clone_dtoh(values)?;
            let length = values.len();
            Tensor::from_vec(values, length, &Device::Cpu)
        };
        Ok((host(&self.first)?, host(&self.second)?))
    }

    /// Moves the parameters against the gradient.
    pub(crate) fn step(&mut self, parameters: &Var, gradient: &Tensor, step: AdamStep) -> Result<()> {
        let update = Update { step, moments: Mutex::new(self) };
        parameters.inplace_op2(&gradient.contiguous()?, &update)
    }
}

struct Update<'a> {
    step: AdamStep,
    moments: Mutex<&'a mut CudaMoments>,
}

impl InplaceOp2 for Update<'_> {
    fn name(&self) -> &'static str {
        "adam-cuda"
    }

    fn cpu_fwd(
        &self,
        _parameters: &mut CpuStorage,
        _parameter_layout: &Layout,
        _gradient: &CpuStorage,
        _gradient_layout: &Layout,
    ) -> Result<()> {
        bail!("moments on the device move parameters on the device")
    }

    fn cuda_fwd(
        &self,
        parameters: &mut CudaStorage,
        parameter_layout: &Layout,
        gradient: &CudaStorage,
        gradient_layout: &Layout,
    ) -> Result<()> {
        let kernels = Kernels::of(gradient.device())?;
        let gradient = floats(gradient, gradient_layout)?;
        let Some((start, end)) = parameter_layout.contiguous_offsets() else {
            bail!("adam works on contiguous tensors")
        };
        let mut parameters = parameters.as_cuda_slice_mut::<f32>()?.slice_mut(start..end);
        let Ok(mut moments) = self.moments.lock() else { bail!("an earlier step failed") };
        let CudaMoments { first, second, .. } = &mut **moments;
        if [gradient.len(), first.len(), second.len()] != [end - start; 3] {
            bail!("{} parameters, {} gradients, {} moments", end - start, gradient.len(), first.len())
        }
        let AdamStep { l2, limit, beta1, beta2, epsilon, second_correction, .. } = self.step;
        let rate = self.step.learning_rate * self.step.first_correction;
        let (count, shape) = (integer(end - start)?, thread_each(end - start));
        launch!(
            kernels,
            adam,
            shape,
            &mut parameters,
            &gradient,
            first,
            second,
            &rate,
            &l2,
            &limit,
            &beta1,
            &beta2,
            &epsilon,
            &second_correction,
            &count
        )
    }
}

/// Moves running statistics towards those of a batch.
pub(crate) fn move_statistics(running: &Var, batch: CudaSlice<f32>, momentum: f32) -> Result<()> {
    running.inplace_op1(&MoveStatistics { batch, momentum })
}

struct MoveStatistics {
    batch: CudaSlice<f32>,
    momentum: f32,
}

impl InplaceOp1 for MoveStatistics {
    fn name(&self) -> &'static str {
        "running-statistics-cuda"
    }

    fn cpu_fwd(&self, _running: &mut CpuStorage, _layout: &Layout) -> Result<()> {
        bail!("statistics on the device move those on the device")
    }

    fn cuda_fwd(&self, running: &mut CudaStorage, layout: &Layout) -> Result<()> {
        let kernels = Kernels::of(running.device())?;
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("running statistics are contiguous")
        };
        if self.batch.len() != end - start {
            bail!("{} running statistics, {} of the batch", end - start, self.batch.len())
        }
        let mut running = running.as_cuda_slice_mut::<f32>()?.slice_mut(start..end);
        let (momentum, count, batch) = (self.momentum, integer(end - start)?, &self.batch);
        launch!(kernels, move_statistics, thread_each(end - start), &mut running, batch, &momentum, &count)
    }
}
