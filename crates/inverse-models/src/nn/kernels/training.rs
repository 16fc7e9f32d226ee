//! Forward and backward pass of a whole fully connected network in training mode.

use rayon::prelude::*;

use super::TRAINING_BLOCK;
use super::matrix::{Matrix, multiply, transpose};
use super::normalization::{Moments, column_sums};
use super::vector_unit::multiply_in_place;
use crate::nn::Activation;
use crate::nn::layout::{LayerLayout, NORMALIZATION_EPSILON};

/// Output columns a block of the weight gradient.
const COLUMN_BLOCK: usize = 128;

/// What the forward pass of one layer leaves for the backward pass.
#[derive(Debug, Default)]
struct LayerBuffers {
    /// z = x · weightᵀ + bias; after normalisation, the normalised z.
    z: Vec<f32>,
    /// The activation's value.
    activation: Vec<f32>,
    /// The activation's derivative.
    derivative: Vec<f32>,
    /// Batch mean and 1 / √(batch variance + ε), one entry an output.
    mean: Vec<f32>,
    inverse_deviation: Vec<f32>,
}

/// Buffers of one pass, reused from step to step.
#[derive(Debug, Default)]
pub(crate) struct TrainingWorkspace {
    layers: Vec<LayerBuffers>,
    /// The layer's weights as (inputs, outputs).
    transposed: Vec<f32>,
    gradient: Vec<f32>,
    next_gradient: Vec<f32>,
    /// Batch mean and unbiased variance of each normalised layer, in the order of the layout.
    pub(crate) statistics: Vec<f32>,
}

/// A network in training mode: its layers and where their parameters lie in one flat vector.
#[derive(Clone, Copy)]
pub(crate) struct TrainingPass<'a> {
    pub(crate) layers: &'a [LayerLayout],
    pub(crate) activation: Activation,
    pub(crate) parameters: &'a [f32],
}

impl TrainingPass<'_> {
    /// The network's output, (rows, outputs), for x, (rows, inputs).
    pub(crate) fn forward(&self, x: &[f32], workspace: &mut TrainingWorkspace) -> Vec<f32> {
        workspace.layers.resize_with(self.layers.len(), LayerBuffers::default);
        workspace.statistics.clear();
        for index in 0..self.layers.len() {
            let (done, rest) = workspace.layers.split_at_mut(index);
            let previous = done.last_mut().map(|buffers| (&self.layers[index - 1], buffers));
            let layer = &self.layers[index];
            workspace.transposed.resize(layer.weight.len(), 0.0);
            transpose(&self.parameters[layer.weight.clone()], layer.inputs, &mut workspace.transposed);
            let moments = self.linear(index, x, previous, &workspace.transposed, &mut rest[0]);
            if let Some(moments) = moments {
                keep_statistics(&moments, &mut rest[0], &mut workspace.statistics);
            }
        }
        workspace.layers.last_mut().map(|last| std::mem::take(&mut last.z)).unwrap_or_default()
    }

    /// Finishes the previous layer's rows (normalisation, activation) and multiplies them by this layer's
    /// weights while they are in cache; gives the batch moments where this layer is normalised.
    fn linear(
        &self,
        index: usize,
        x: &[f32],
        previous: Option<(&LayerLayout, &mut LayerBuffers)>,
        transposed: &[f32],
        buffers: &mut LayerBuffers,
    ) -> Option<Moments> {
        let layer = &self.layers[index];
        let (inputs, outputs) = (layer.inputs, layer.outputs);
        buffers.z.resize(x.len() / self.layers[0].inputs * outputs, 0.0);
        let multiply_block = |input: &[f32], z: &mut [f32]| {
            let bias = &self.parameters[layer.bias.clone()];
            for row in z.chunks_exact_mut(outputs) {
                row.copy_from_slice(bias);
            }
            multiply(z, Matrix::new(input, inputs), Matrix::new(transposed, outputs), true);
            layer.normalization.as_ref().map(|_| Moments::of_block(z, outputs))
        };
        let z_blocks = buffers.z.par_chunks_mut(TRAINING_BLOCK * outputs);
        let blocks: Vec<Option<Moments>> = match previous {
            None => {
                let x_blocks = x.par_chunks(TRAINING_BLOCK * inputs);
                z_blocks.zip(x_blocks).map(|(z, x)| multiply_block(x, z)).collect()
            }
            Some((layout, done)) => {
                done.activation.resize(done.z.len(), 0.0);
                done.derivative.resize(done.z.len(), 0.0);
                let statistics = (&done.mean[..], &done.inverse_deviation[..]);
                let size = TRAINING_BLOCK * inputs;
                let values = done.activation.par_chunks_mut(size).zip(done.derivative.par_chunks_mut(size));
                let finished = done.z.par_chunks_mut(size).zip(values);
                z_blocks
                    .zip(finished)
                    .map(|(z, (previous_z, (activation, derivative)))| {
                        self.activate(layout, statistics, previous_z, activation, derivative);
                        multiply_block(activation, z)
                    })
                    .collect()
            }
        };
        layer.normalization.as_ref()?;
        let mut moments = Moments::default();
        blocks.iter().flatten().for_each(|block| moments.merge(block));
        Some(moments)
    }

    /// Normalises a block of z in place and writes the activation and its derivative.
    fn activate(
        &self,
        layout: &LayerLayout,
        (mean, inverse_deviation): (&[f32], &[f32]),
        z: &mut [f32],
        activation: &mut [f32],
        derivative: &mut [f32],
    ) {
        let Some(normalization) = &layout.normalization else {
            activation.copy_from_slice(z);
            self.activation.apply_in_place(activation, derivative);
            return;
        };
        let scale = &self.parameters[normalization.scale.clone()];
        let shift = &self.parameters[normalization.shift.clone()];
        let width = layout.outputs;
        for (z, activation) in z.chunks_exact_mut(width).zip(activation.chunks_exact_mut(width)) {
            for column in 0..width {
                let normalized = (z[column] - mean[column]) * inverse_deviation[column];
                z[column] = normalized;
                activation[column] = scale[column] * normalized + shift[column];
            }
        }
        self.activation.apply_in_place(activation, derivative);
    }

    /// The gradient of the parameters, and of x where it is wanted, given that of the output.
    ///
    /// * `x`: (rows, inputs), `gradient`: (rows, outputs); after [`TrainingPass::forward`] on the same `x`
    pub(crate) fn backward(
        &self,
        x: &[f32],
        gradient: &[f32],
        workspace: &mut TrainingWorkspace,
        wants_x: bool,
    ) -> (Vec<f32>, Option<Vec<f32>>) {
        let mut parameter_gradient = vec![0.0; self.parameters.len()];
        workspace.gradient.clear();
        workspace.gradient.extend_from_slice(gradient);
        let mut sums = None;
        for index in (0..self.layers.len()).rev() {
            let (before, rest) = workspace.layers.split_at(index);
            let previous = before.last().map(|buffers| (&self.layers[index - 1], buffers));
            let pull_back = previous.is_some() || wants_x;
            let correction = sums.take().map(|sums: (Vec<f32>, Vec<f32>)| {
                self.keep_scale_gradient(index, &sums, &mut parameter_gradient);
                Correction::new(self, index, &rest[0], sums, x.len() / self.layers[0].inputs)
            });
            let columns = if pull_back { self.layers[index].inputs } else { 0 };
            let rows = x.len() / self.layers[0].inputs;
            workspace.next_gradient.resize(rows * columns, 0.0);
            sums = self.pull_back(
                index,
                correction.as_ref(),
                previous,
                &mut workspace.gradient,
                &mut workspace.next_gradient,
            );
            let input = previous.map_or(x, |(_, buffers)| &buffers.activation[..]);
            self.weight_gradient(index, input, &workspace.gradient, &mut parameter_gradient);
            std::mem::swap(&mut workspace.gradient, &mut workspace.next_gradient);
        }
        (parameter_gradient, wants_x.then(|| workspace.gradient.clone()))
    }

    /// Turns the gradient of the normalised output into that of z, block by block, and pulls it back through
    /// the weights and the previous activation; gives the column sums that the previous layer's
    /// normalisation needs.
    fn pull_back(
        &self,
        index: usize,
        correction: Option<&Correction<'_>>,
        previous: Option<(&LayerLayout, &LayerBuffers)>,
        gradient: &mut [f32],
        next: &mut [f32],
    ) -> Option<(Vec<f32>, Vec<f32>)> {
        let layer = &self.layers[index];
        let (inputs, outputs) = (layer.inputs, layer.outputs);
        let blocks = gradient.par_chunks_mut(TRAINING_BLOCK * outputs).enumerate();
        if next.is_empty() {
            blocks.for_each(|(block, gradient)| {
                if let Some(correction) = correction {
                    correction.apply(block, gradient);
                }
            });
            return None;
        }
        let sums: Vec<Option<(Vec<f32>, Vec<f32>)>> = blocks
            .zip(next.par_chunks_mut(TRAINING_BLOCK * inputs))
            .map(|((block, gradient), next)| {
                if let Some(correction) = correction {
                    correction.apply(block, gradient);
                }
                let weight = Matrix::new(&self.parameters[layer.weight.clone()], inputs);
                multiply(next, Matrix::new(gradient, outputs), weight, false);
                let (layout, buffers) = previous?;
                let start = block * TRAINING_BLOCK * inputs;
                let range = start..start + next.len();
                multiply_in_place(next, &buffers.derivative[range.clone()]);
                layout.normalization.as_ref()?;
                Some(column_sums(next, &buffers.z[range], inputs))
            })
            .collect();
        sums.into_iter().flatten().reduce(|mut total, block| {
            for (total, block) in [(&mut total.0, block.0), (&mut total.1, block.1)] {
                total.iter_mut().zip(block).for_each(|(total, value)| *total += value);
            }
            total
        })
    }

    /// Normalisation's own gradients: Σ g · ẑ for the scale and Σ g for the shift.
    fn keep_scale_gradient(&self, index: usize, sums: &(Vec<f32>, Vec<f32>), parameters: &mut [f32]) {
        if let Some(normalization) = &self.layers[index].normalization {
            parameters[normalization.shift.clone()].copy_from_slice(&sums.0);
            parameters[normalization.scale.clone()].copy_from_slice(&sums.1);
        }
    }

    /// gᵀ · input for the weights and Σ g for the bias.
    ///
    /// Under batch normalisation the bias has no effect: its gradient is exactly 0, and is left so.
    fn weight_gradient(&self, index: usize, input: &[f32], gradient: &[f32], parameters: &mut [f32]) {
        let layer = &self.layers[index];
        let (inputs, outputs) = (layer.inputs, layer.outputs);
        if layer.normalization.is_none() {
            for row in gradient.chunks_exact(outputs) {
                for (sum, value) in parameters[layer.bias.clone()].iter_mut().zip(row) {
                    *sum += value;
                }
            }
        }
        let blocks = parameters[layer.weight.clone()].par_chunks_mut(COLUMN_BLOCK * inputs).enumerate();
        blocks.for_each(|(block, weight)| {
            let columns = Matrix::new(gradient, outputs).columns(block * COLUMN_BLOCK, weight.len() / inputs);
            multiply(weight, columns.transposed(), Matrix::new(input, inputs), false);
        });
    }
}

/// The part of normalisation's backward pass that couples the rows of a batch:
/// ∂z = γ / σ · (g − mean(g) − ẑ · mean(g · ẑ)).
struct Correction<'a> {
    normalized: &'a [f32],
    factor: Vec<f32>,
    mean: Vec<f32>,
    projection: Vec<f32>,
}

impl<'a> Correction<'a> {
    fn new(
        pass: &TrainingPass<'_>,
        index: usize,
        buffers: &'a LayerBuffers,
        (sums, products): (Vec<f32>, Vec<f32>),
        rows: usize,
    ) -> Self {
        let scale = pass.layers[index].normalization.as_ref().map(|layout| layout.scale.clone());
        let scale = &pass.parameters[scale.unwrap_or_default()];
        let factor = scale.iter().zip(&buffers.inverse_deviation).map(|(scale, inverse)| scale * inverse);
        let share = |sums: Vec<f32>| sums.into_iter().map(|sum| sum / rows as f32).collect();
        Self {
            normalized: &buffers.z,
            factor: factor.collect(),
            mean: share(sums),
            projection: share(products),
        }
    }

    fn apply(&self, block: usize, gradient: &mut [f32]) {
        let width = self.factor.len();
        let start = block * TRAINING_BLOCK * width;
        let normalized = self.normalized[start..start + gradient.len()].chunks_exact(width);
        for (gradient, normalized) in gradient.chunks_exact_mut(width).zip(normalized) {
            for column in 0..width {
                let centred = gradient[column] - self.mean[column];
                gradient[column] =
                    self.factor[column] * (centred - normalized[column] * self.projection[column]);
            }
        }
    }
}

fn keep_statistics(moments: &Moments, buffers: &mut LayerBuffers, statistics: &mut Vec<f32>) {
    let columns = moments.mean.len();
    buffers.mean.clear();
    buffers.mean.extend(moments.mean.iter().map(|mean| *mean as f32));
    buffers.inverse_deviation.clear();
    buffers.inverse_deviation.extend(
        (0..columns).map(|column| 1.0 / (moments.variance(column) + NORMALIZATION_EPSILON).sqrt() as f32),
    );
    statistics.extend_from_slice(&buffers.mean);
    statistics.extend((0..columns).map(|column| moments.unbiased_variance(column) as f32));
}
