//! Spline couplings as a candle operation: one pass over the variables, and one for the gradient.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

pub(crate) use super::kernels::Direction;
use super::kernels::Spline;
use super::training_op::floats;

/// Rows a block: splines of 64 rows are work enough for a thread to be worth waking.
const BLOCK: usize = 64;

/// Transformed x, (rows, n), and the log of its slope, summed over columns, (rows); both `f64` and differentiable by
/// candle.
///
/// * `x`: (rows, n), `f64`; `parameters`: (rows, n · (3 · bins − 1)), `f32`; for each variable the widths, the heights
///   and the slopes at the inner knots, before they are made positive
pub(crate) fn spline(
    x: &Tensor,
    parameters: &Tensor,
    bins: usize,
    bound: f64,
    direction: Direction,
) -> Result<(Tensor, Tensor)> {
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        let inverse = direction == Direction::Inverse;
        return super::kernels::cuda::spline_coupling(x, parameters, bins, bound, inverse);
    }
    let columns = x.dim(1)?;
    let packed = x.contiguous()?.apply_op2(&parameters.contiguous()?, SplineOp { bins, bound, direction })?;
    Ok((packed.narrow(1, 0, columns)?.contiguous()?, packed.narrow(1, columns, 1)?.squeeze(1)?.contiguous()?))
}

/// (x, parameters) → transformed x with the sum of the log slopes in a last column.
#[derive(Clone, Copy)]
struct SplineOp {
    bins: usize,
    bound: f64,
    direction: Direction,
}

impl SplineOp {
    /// Numbers that describe the spline of one variable.
    fn raw(self) -> usize {
        3 * self.bins - 1
    }

    fn kernel(self) -> Spline {
        Spline::new(self.bins, self.bound, self.direction)
    }

    /// Rows and columns of x, where the parameters fit it.
    fn shape(self, x: &Layout, parameters: &Layout) -> Result<(usize, usize)> {
        let (rows, columns) = x.shape().dims2()?;
        if parameters.shape().dims2()? != (rows, self.raw() * columns) || columns == 0 {
            bail!("spline parameters of shape {:?} for x of shape {:?}", parameters.shape(), x.shape())
        }
        Ok((rows, columns))
    }
}

/// The numbers of a contiguous `f64` tensor in host memory.
fn doubles<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f64]> {
    let CpuStorage::F64(values) = storage else { bail!("splines change f64") };
    let Some((start, end)) = layout.contiguous_offsets() else { bail!("splines change contiguous tensors") };
    Ok(&values[start..end])
}

impl CustomOp2 for SplineOp {
    fn name(&self) -> &'static str {
        "spline-coupling"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        parameters: &CpuStorage,
        parameter_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, columns) = self.shape(x_layout, parameter_layout)?;
        let (x, parameters) = (doubles(x, x_layout)?, floats(parameters, parameter_layout)?);
        let mut packed = vec![0.0; rows * (columns + 1)];
        let blocks = packed.par_chunks_mut(BLOCK * (columns + 1)).enumerate();
        blocks.for_each(|(block, results)| {
            let mut kernel = self.kernel();
            for (row, result) in results.chunks_mut(columns + 1).enumerate() {
                let start = (block * BLOCK + row) * columns;
                for column in 0..columns {
                    let raw = &parameters[(start + column) * self.raw()..][..self.raw()];
                    let transformed = kernel.transform(x[start + column], raw);
                    result[column] = transformed.value;
                    result[columns] += transformed.log_slope;
                }
            }
        });
        Ok((CpuStorage::F64(packed), Shape::from((rows, columns + 1))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        parameters: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (rows, columns) = x.dims2()?;
        let packed = x.apply_op3_no_bwd(parameters, &gradient.contiguous()?, &SplineGradient(*self))?;
        let of_x = packed.narrow(1, 0, columns)?.contiguous()?;
        let rest = packed.narrow(1, columns, columns * self.raw())?.to_dtype(DType::F32)?;
        Ok((Some(of_x), Some(rest.reshape((rows, columns * self.raw()))?)))
    }
}

/// (x, parameters, gradient of the result) → gradient of x and that of the parameters, side by side in each row.
struct SplineGradient(SplineOp);

impl CustomOp3 for SplineGradient {
    fn name(&self) -> &'static str {
        "spline-coupling-gradient"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        parameters: &CpuStorage,
        parameter_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, columns) = self.0.shape(x_layout, parameter_layout)?;
        let (x, parameters) = (doubles(x, x_layout)?, floats(parameters, parameter_layout)?);
        let gradient = doubles(gradient, gradient_layout)?;
        if gradient.len() != rows * (columns + 1) {
            bail!("a gradient of {} numbers for {rows} rows of {columns}", gradient.len())
        }
        let raw_width = self.0.raw();
        let width = columns * (1 + raw_width);
        let mut packed = vec![0.0; rows * width];
        packed.par_chunks_mut(BLOCK * width).enumerate().for_each(|(block, results)| {
            let mut kernel = self.0.kernel();
            for (row, result) in results.chunks_mut(width).enumerate() {
                let row = block * BLOCK + row;
                let given = &gradient[row * (columns + 1)..][..=columns];
                let (of_x, of_parameters) = result.split_at_mut(columns);
                for (column, of_raw) in of_parameters.chunks_mut(raw_width).enumerate() {
                    let index = row * columns + column;
                    let raw = &parameters[index * raw_width..][..raw_width];
                    of_x[column] = kernel.pull_back(x[index], raw, (given[column], given[columns]), of_raw);
                }
            }
        });
        Ok((CpuStorage::F64(packed), Shape::from((rows, width))))
    }
}
