//! Coupling transforms, affine and by splines: one pass each, and one for the gradient.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::CudaView;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Tensor, bail,
};

use super::{Kernels, floats, integer, launch, warp_a_row};

/// How the variables of a row change, each by numbers of its own.
#[derive(Debug, Clone, Copy)]
enum Transform {
    /// Raw log scale and shift.
    Affine { clamp: f64 },
    /// Raw widths, heights and inner slopes of the bins.
    Spline { bins: usize, bound: f64 },
}

/// Affine coupling: the changed variables, (rows, columns), and the sum of each row's log scale, (rows); both `f64`
/// and differentiable by candle.
///
/// * `x`: (rows, columns), `f64`; `parameters`: (rows, 2 columns), `f32`, raw log scales, then shifts
pub(crate) fn affine_coupling(
    x: &Tensor,
    parameters: &Tensor,
    clamp: f64,
    inverse: bool,
) -> Result<(Tensor, Tensor)> {
    Coupling { transform: Transform::Affine { clamp }, inverse }.apply(x, parameters)
}

/// Spline coupling: the changed variables, (rows, columns), and the sum of each row's log slopes, (rows); both `f64`
/// and differentiable by candle.
///
/// * `x`: (rows, columns), `f64`; `parameters`: (rows, columns · (3 · bins − 1)), `f32`, variable by variable
pub(crate) fn spline_coupling(
    x: &Tensor,
    parameters: &Tensor,
    bins: usize,
    bound: f64,
    inverse: bool,
) -> Result<(Tensor, Tensor)> {
    Coupling { transform: Transform::Spline { bins, bound }, inverse }.apply(x, parameters)
}

/// (x, parameters) → changed x with the sum of the log slopes in a last column.
#[derive(Debug, Clone, Copy)]
struct Coupling {
    transform: Transform,
    inverse: bool,
}

impl Coupling {
    fn apply(self, x: &Tensor, parameters: &Tensor) -> Result<(Tensor, Tensor)> {
        let columns = x.dim(1)?;
        let packed = x.contiguous()?.apply_op2(&parameters.contiguous()?, self)?;
        let log_slope = packed.narrow(1, columns, 1)?.squeeze(1)?.contiguous()?;
        Ok((packed.narrow(1, 0, columns)?.contiguous()?, log_slope))
    }

    /// Numbers that say how one variable changes.
    fn parameters(self) -> usize {
        match self.transform {
            Transform::Affine { .. } => 2,
            Transform::Spline { bins, .. } => 3 * bins - 1,
        }
    }

    /// Rows and columns of x, where the parameters fit it.
    fn shape(self, x: &Layout, parameters: &Layout) -> Result<(usize, usize)> {
        let (rows, columns) = x.shape().dims2()?;
        let expected = (rows, self.parameters() * columns);
        if parameters.shape().dims2()? != expected || rows == 0 || columns == 0 {
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
        "coupling-cuda"
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
        let (rows, columns) = self.shape(x_layout, parameter_layout)?;
        let (x, parameters) = (doubles(x, x_layout)?, floats(parameters, parameter_layout)?);
        // SAFETY: the kernel writes every number.
        let mut result = unsafe { kernels.device.alloc::<f64>(rows * (columns + 1)) }?;
        let (count, width, inverse) = (integer(rows)?, integer(columns)?, i32::from(self.inverse));
        let grid = warp_a_row(rows);
        let to = &mut result;
        match self.transform {
            Transform::Affine { clamp } => {
                launch!(
                    kernels,
                    affine_coupling,
                    grid,
                    &x,
                    &parameters,
                    to,
                    &count,
                    &width,
                    &clamp,
                    &inverse
                )?;
            }
            Transform::Spline { bins, bound } => {
                let bins = integer(bins)?;
                launch!(
                    kernels,
                    spline_coupling,
                    grid,
                    &x,
                    &parameters,
                    to,
                    &count,
                    &width,
                    &bins,
                    &bound,
                    &inverse
                )?;
            }
        }
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
        let rest = packed.narrow(0, rows * columns, self.parameters() * rows * columns)?;
        let rest = rest.to_dtype(DType::F32)?.reshape((rows, self.parameters() * columns))?;
        Ok((Some(x_gradient), Some(rest)))
    }
}

/// (x, parameters, gradient of the result) → gradient of x, then that of the parameters.
struct CouplingGradient(Coupling);

impl CustomOp3 for CouplingGradient {
    fn name(&self) -> &'static str {
        "coupling-gradient-cuda"
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
        let (rows, columns) = self.0.shape(x_layout, parameter_layout)?;
        let (x, parameters) = (doubles(x, x_layout)?, floats(parameters, parameter_layout)?);
        let gradient = doubles(gradient, gradient_layout)?;
        if gradient.len() != rows * (columns + 1) {
            bail!("a gradient of {} numbers for {rows} rows of {columns}", gradient.len())
        }
        let length = (1 + self.0.parameters()) * rows * columns;
        // SAFETY: the kernel writes every number.
        let mut result = unsafe { kernels.device.alloc::<f64>(length) }?;
        let (mut of_x, mut of_parameters) = result.split_at_mut(rows * columns);
        let (count, width, inverse) = (integer(rows)?, integer(columns)?, i32::from(self.0.inverse));
        let grid = warp_a_row(rows);
        match self.0.transform {
            Transform::Affine { clamp } => launch!(
                kernels,
                affine_coupling_gradient,
                grid,
                &x,
                &parameters,
                &gradient,
                &mut of_x,
                &mut of_parameters,
                &count,
                &width,
                &clamp,
                &inverse
            )?,
            Transform::Spline { bins, bound } => {
                let bins = integer(bins)?;
                launch!(
                    kernels,
                    spline_coupling_gradient,
                    grid,
                    &x,
                    &parameters,
                    &gradient,
                    &mut of_x,
                    &mut of_parameters,
                    &count,
                    &width,
                    &bins,
                    &bound,
                    &inverse
                )?;
            }
        }
        let storage = CudaStorage::wrap_cuda_slice(result, kernels.device.clone());
        Ok((storage, Shape::from(length)))
    }
}
