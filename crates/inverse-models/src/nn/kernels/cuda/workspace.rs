//! Buffers of a training pass on the device.

use std::sync::{Arc, Mutex};

use candle_core::Result;
use candle_core::cuda_backend::cudarc::driver::CudaSlice;

use super::{Kernels, ROWS_PER_PART};
use crate::nn::layout::LayerLayout;

/// What the forward pass of one layer leaves for the backward pass.
#[derive(Debug)]
pub(super) struct LayerBuffers {
    /// x · weightᵀ; after normalisation, the normalised z.
    pub(super) z: CudaSlice<f32>,
    pub(super) activation: CudaSlice<f32>,
    /// Batch mean and 1 / √(batch variance + ε); empty without normalisation.
    pub(super) mean: CudaSlice<f32>,
    pub(super) inverse_deviation: CudaSlice<f32>,
}

/// Buffers of one pass over `rows` rows, reused from step to step.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(super) rows: usize,
    pub(super) layers: Vec<LayerBuffers>,
    /// Used in turn.
    pub(super) gradients: [CudaSlice<f32>; 2],
    /// Partial sums, (parts, 2, widest layer).
    pub(super) parts: CudaSlice<f32>,
}

/// Workspaces that wait for their next step.
pub(crate) type CudaWorkspaces = Arc<Mutex<Vec<Workspace>>>;

impl Workspace {
    pub(super) fn new(kernels: &Kernels, layers: &[LayerLayout], rows: usize) -> Result<Self> {
        let widest = layers.iter().map(|layer| layer.outputs).max().unwrap_or(0);
        let last = layers.len().saturating_sub(1);
        let buffers = layers.iter().enumerate().map(|(index, layer)| {
            let normalized = if layer.normalization.is_some() { layer.outputs } else { 1 };
            Ok(LayerBuffers {
                z: kernels.buffer(rows * layer.outputs)?,
                activation: kernels.buffer(if index < last { rows * layer.outputs } else { 1 })?,
                mean: kernels.buffer(normalized)?,
                inverse_deviation: kernels.buffer(normalized)?,
            })
        });
        Ok(Self {
            rows,
            layers: buffers.collect::<Result<_>>()?,
            gradients: [kernels.buffer(rows * widest)?, kernels.buffer(rows * widest)?],
            parts: kernels.buffer(rows.div_ceil(ROWS_PER_PART) * 2 * widest)?,
        })
    }
}
