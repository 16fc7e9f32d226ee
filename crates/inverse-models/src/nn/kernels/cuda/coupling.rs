//! Affine coupling in one pass, and its gradient in another.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::CudaView;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Tensor, bail,
};

use super::{Kernels, floats, integer, launch, warp_a_row};

/// The changed variables, (rows, columns), and the sum of each row's log scale, (rows); both `f64` and differentiable
/// by candle.
///
/// * `x`: (rows, columns), `f64`; `parameters`: (rows, 2 columns), `f32`, raw log scale and shift
pub(crate) fn affine_coupling(
    x: &Tensor,
    parameters: &Tensor,
    clamp: f64,
    inverse: bool,
) -> Result<(Tensor, Tensor)> {
    let columns = x.dim(1)?;
    let packed = x.contiguous()?.apply_op2(&parameters.contiguous()?, Coupling { clamp, inverse })?;
    Ok((packed.narrow(1, 0, columns)?.contiguous()?, packed.narrow(1, columns, 1)?.squeeze(1)?.contiguous()?))
}

/// (x, parameters) → changed x with the sum of the log scales in a last column.
#[derive(Clone, Copy)]
struct Coupling {
    clamp: f64,
    inverse: bool,
}

impl Coupling {
    /// Rows and columns of x, where the parameters fit it.
    fn shape(x: &Layout, parameters: &Layout) -> Result<(usize, usize)> {
        let (rows, columns) = x.shape().dims2()?;
        if parameters.shape().dims2()? != (rows, 2 * columns) || rows == 0 || columns == 0 {
            bail!("coupling parameters of shape {:?} for x of shape {:?}", parameters.shape(), x.shape())
        }
        Ok((rows, columns))
    }
}

/// The numbers of a contiguous `f64` tensor on the device.
fn doubles<'a>(storage: &'a CudaStorage, layout: &Layout) -> Result<CudaView<'a, f64>> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("the kernels work on contiguous tensors")
    };
    Ok(storage.as_cuda_slice::<f64>()?.slice(start..end))
}

impl CustomOp2 for Coupling {
    fn name(&self) -> &'static str {
        "affine-coupling-cuda"
    }

    fn cpu_fwd(
        &self,
        _x: &CpuStorage,
        _x_layout: &Layout,
        _parameters: &CpuStorage,
        _parameter_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        bail!("this coupling runs on the device")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        parameters: &CudaStorage,
        parameter_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let kernels = Kernels::of(x.device())?;
        let (rows, columns) = Self::shape(x_layout, parameter_layout)?;
        let (x, parameters) = (doubles(x, x_layout)?, floats(parameters, parameter_layout)?);
        // SAFETY: the kernel writes every number.
        let mut result = unsafe { kernels.device.alloc::<f64>(rows * (columns + 1)) }?;
        let (count, width) = (integer(rows)?, integer(columns)?);
        let (clamp, inverse) = (self.clamp, i32::from(self.inverse));
        launch!(
            kernels,
            affine_coupling,
            warp_a_row(rows),
            &x,
            &parameters,
            &mut result,
            &count,
            &width,
            &clamp,
            &inverse
        )?;
        let storage = CudaStorage::wrap_cuda_slice(result, kernels.device.clone());
        Ok((storage, Shape::from((rows, columns + 1))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        parameters: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (rows, columns) = x.dims2()?;
        let gradient = gradient.contiguous()?;
        let packed = x.apply_op3_no_bwd(parameters, &gradient, &CouplingGradient(*self))?;
        let x_gradient = packed.narrow(0, 0, rows * columns)?.reshape((rows, columns))?;
        let rest = packed.narrow(0, rows * columns, 2 * rows * columns)?.to_dtype(DType::F32)?;
        Ok((Some(x_gradient), Some(rest.reshape((rows, 2 * columns))?)))
    }
}

/// (x, parameters, gradient of the result) → gradient of x, then that of the parameters.
struct CouplingGradient(Coupling);

impl CustomOp3 for CouplingGradient {
    fn name(&self) -> &'static str {
        "affine-coupling-gradient-cuda"
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
        bail!("this coupling runs on the device")
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
        let kernels = Kernels::of(x.device())?;
        let (rows, columns) = Coupling::shape(x_layout, parameter_layout)?;
        let (x, parameters) = (doubles(x, x_layout)?, floats(parameters, parameter_layout)?);
        let gradient = doubles(gradient, gradient_layout)?;
        if gradient.len() != rows * (columns + 1) {
            bail!("a gradient of {} numbers for {rows} rows of {columns}", gradient.len())
        }
        // SAFETY: the kernel writes every number.
        let mut result = unsafe { kernels.device.alloc::<f64>(3 * rows * columns) }?;
        let (mut of_x, mut of_parameters) = result.split_at_mut(rows * columns);
        let (count, width) = (integer(rows)?, integer(columns)?);
        let (clamp, inverse) = (self.0.clamp, i32::from(self.0.inverse));
        launch!(
            kernels,
            affine_coupling_gradient,
            warp_a_row(rows),
            &x,
            &parameters,
            &gradient,
            &mut of_x,
            &mut of_parameters,
            &count,
            &width,
            &clamp,
            &inverse
        )?;
        let storage = CudaStorage::wrap_cuda_slice(result, kernels.device.clone());
        Ok((storage, Shape::from(3 * rows * columns)))
    }
}
