//! Forward and backward pass of a whole fully connected network in training mode.

use std::cell::Cell;

use rayon::prelude::*;

use super::blocks::{Blocks, turn_block};
use super::normalization::{Moments, ScaleGradient, normalize, pull_back};
use super::panels::{PANEL, PanelRow, TILE, flat, flat_mut};
use super::vector_unit::{flush_in_place, multiply_in_place};
use super::weight::{Weight, write_gradient};
use crate::nn::Activation;
use crate::nn::layout::{LayerLayout, NormalizationLayout};

/// Blocks, or tiles of a gradient, that a thread takes on before another may take the next: few, since all wait for the
/// last of a layer.
const TASK: usize = 2;

/// Blocks beside each other that one task of the backward pass takes on, for which it packs the weight once: all of a
/// batch of 128.
const BESIDE: usize = 3;

/// Lines of a weight's gradient a task, part of a chunk: three tiles read what a chunk of the input holds, and but for the
/// first find it in the nearest cache.
const LINES: usize = 3 * TILE;
const _: () = assert!(PANEL.is_multiple_of(LINES));

/// What the forward pass of one hidden layer leaves for the backward pass.
#[derive(Debug, Default)]
struct LayerBuffers {
    /// The activation's value; lines are rows.
    value_rows: Blocks,
    /// The activation's derivative; lines are features, where there is normalisation rows.
    derivative: Blocks,
    /// The normalised x · weightᵀ + bias, where there is normalisation; lines are rows.
    normalized_rows: Blocks,
    /// 1 / √(batch variance + ε) of each chunk of features.
    inverse_deviation: Vec<PanelRow>,
}

/// What the forward pass of a network leaves for its backward pass, reused from step to step.
#[derive(Debug, Default)]
pub(crate) struct TrainingWorkspace {
    /// Lines are rows.
    input_rows: Blocks,
    layers: Vec<LayerBuffers>,
    /// Batch mean and unbiased variance of each normalised layer, in the order of the layout.
    pub(crate) statistics: Vec<f32>,
}

/// What only one pass needs, kept by its thread: the next network's pass finds it in the nearer caches.
#[derive(Default)]
struct PassBuffers {
    /// What a layer reads, and what it writes; lines are features.
    read: Blocks,
    written: Blocks,
    /// The gradient that goes through a normalisation; before, the gradient of the output. Lines are rows.
    turned_rows: Blocks,
}

thread_local! {
    /// Taken for a pass: while one waits for other threads, its own may take up another network's.
    static BUFFERS: Cell<PassBuffers> = Cell::default();
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
        let TrainingWorkspace { input_rows, layers: kept, statistics } = workspace;
        let mut buffers = BUFFERS.take();
        let PassBuffers { read: value, written: next, .. } = &mut buffers;
        kept.resize_with(self.layers.len(), LayerBuffers::default);
        statistics.clear();
        input_rows.copy_rows(x, self.layers.first().map_or(0, |layer| layer.inputs));
        value.turn(input_rows);
        for (index, (layer, kept)) in self.layers.iter().zip(kept).enumerate() {
            next.reshape(value.rows(), layer.outputs);
            if index + 1 == self.layers.len() {
                self.last(layer, value, next);
            } else if let Some(normalization) = &layer.normalization {
                let moments = self.normalized(layer, normalization, value, kept, next);
                keep_statistics(&moments, kept, layer.outputs, statistics);
            } else {
                self.hidden(layer, value, kept, next);
            }
            std::mem::swap(value, next);
        }
        let output = value.to_rows();
        BUFFERS.set(buffers);
        output
    }

    /// The numbers of one chunk from a range of the parameters.
    fn chunk_of(&self, range: &std::ops::Range<usize>, chunk: usize) -> &[f32] {
        let values = &self.parameters[range.clone()];
        &values[chunk * PANEL..values.len().min((chunk + 1) * PANEL)]
    }

    fn weight(&self, layer: &LayerLayout) -> Weight<'_> {
        Weight { values: &self.parameters[layer.weight.clone()], inputs: layer.inputs }
    }

    /// One block of weight · x + bias; gives how many of its lines mean something.
    fn linear(
        &self,
        layer: &LayerLayout,
        input: &Blocks,
        (chunk, beside): (usize, usize),
        out: &mut [PanelRow],
    ) -> usize {
        let bias = self.chunk_of(&layer.bias, chunk);
        let right = (input.over_features(beside), input.rows_of(beside));
        self.weight(layer).multiply(chunk, bias, right, out);
        bias.len()
    }

    fn last(&self, layer: &LayerLayout, input: &Blocks, out: &mut Blocks) {
        let shape = out.shape();
        out.par_blocks_mut().enumerate().with_max_len(TASK).for_each(|(index, block)| {
            self.linear(layer, input, shape.place(index), block);
        });
    }

    fn hidden(&self, layer: &LayerLayout, input: &Blocks, buffers: &mut LayerBuffers, out: &mut Blocks) {
        let LayerBuffers { value_rows, derivative, .. } = buffers;
        let shape = out.shape();
        value_rows.reshape(input.rows(), layer.outputs);
        derivative.reshape(input.rows(), layer.outputs);
        let blocks = out.par_blocks_mut().zip(derivative.par_blocks_mut()).zip(value_rows.par_blocks_mut());
        blocks.enumerate().with_max_len(TASK).for_each(|(index, ((block, derivative), rows))| {
            let features = self.linear(layer, input, shape.place(index), block);
            self.activation
                .apply_in_place(flat_mut(&mut block[..features]), flat_mut(&mut derivative[..features]));
            turn_block(block, features, rows);
        });
    }

    /// A chunk is one task here: its features' moments need all rows.
    fn normalized(
        &self,
        layer: &LayerLayout,
        normalization: &NormalizationLayout,
        input: &Blocks,
        buffers: &mut LayerBuffers,
        out: &mut Blocks,
    ) -> Vec<Moments> {
        let LayerBuffers { value_rows, derivative, normalized_rows, .. } = buffers;
        let count = input.rows();
        for matrix in [&mut *value_rows, derivative, normalized_rows] {
            matrix.reshape(count, layer.outputs);
        }
        let chunks = out.par_chunks_mut().zip(derivative.par_chunks_mut());
        let chunks = chunks.zip(normalized_rows.par_chunks_mut()).zip(value_rows.par_chunks_mut());
        let moments = chunks.enumerate().map(|(chunk, (((out, derivatives), normalized), rows))| {
            let blocks = out.chunks_exact_mut(PANEL).zip(normalized.chunks_exact_mut(PANEL));
            for (beside, (block, normalized)) in blocks.enumerate() {
                let features = self.linear(layer, input, (chunk, beside), block);
                turn_block(block, features, normalized);
            }
            let (normalized, derivatives) = (&mut normalized[..count], &mut derivatives[..count]);
            let moments = Moments::of(normalized);
            let part = |range| PanelRow::filled(self.chunk_of(range, chunk));
            let affine = (part(&normalization.scale), part(&normalization.shift));
            let statistics = (moments.mean(), moments.inverse_deviation());
            normalize(normalized, (&statistics.0, &statistics.1), (&affine.0, &affine.1), &mut rows[..count]);
            self.activation.apply_in_place(flat_mut(&mut rows[..count]), flat_mut(derivatives));
            let blocks = out.chunks_exact_mut(PANEL).zip(rows.chunks_exact(PANEL));
            blocks.for_each(|(block, rows)| turn_block(rows, PANEL, block));
            moments
        });
        moments.collect()
    }

    /// Writes the gradient of the parameters; gives that of x where it is wanted.
    ///
    /// * `x`: (rows, inputs), `gradient`: that of the output, (rows, outputs); after [`TrainingPass::forward`]
    /// * `of_parameters`: as many numbers as there are parameters, all of them written
    pub(crate) fn backward(
        &self,
        gradient: &[f32],
        workspace: &mut TrainingWorkspace,
        wants_x: bool,
        of_parameters: &mut [f32],
    ) -> Option<Vec<f32>> {
        let TrainingWorkspace { input_rows, layers, .. } = workspace;
        let mut buffers = BUFFERS.take();
        let PassBuffers { read: given, written: next, turned_rows } = &mut buffers;
        turned_rows.copy_rows(gradient, self.layers.last().map_or(0, |layer| layer.outputs));
        flush_in_place(turned_rows.numbers_mut());
        given.turn(turned_rows);
        for (index, layer) in self.layers.iter().enumerate().rev() {
            let (before, _) = layers.split_at(index);
            let previous = before.last().map(|buffers| (&self.layers[index - 1], buffers));
            let input = previous.map_or(&*input_rows, |(_, buffers)| &buffers.value_rows);
            let (of_layer, of_scale) =
                split_gradient(of_parameters, layer, previous.map(|(layout, _)| layout));
            let of_previous = || {
                if previous.is_none() && !wants_x {
                    return Vec::new();
                }
                next.reshape(given.rows(), layer.inputs);
                self.pull_back(self.weight(layer), previous, given, (next, turned_rows))
            };
            let (sums, ()) = rayon::join(of_previous, || weight_gradient(layer, input, given, of_layer));
            if let Some((scale, shift)) = of_scale {
                keep_scale_gradient(&sums, scale, shift);
            }
            std::mem::swap(given, next);
        }
        let of_x = wants_x.then(|| given.to_rows());
        BUFFERS.set(buffers);
        of_x
    }

    /// Pulls the gradient back through the weights and the previous layer's activation and normalisation; gives the
    /// latter's own gradients, chunk by chunk.
    fn pull_back(
        &self,
        weight: Weight<'_>,
        previous: Option<(&LayerLayout, &LayerBuffers)>,
        gradient: &Blocks,
        (next, turned_rows): (&mut Blocks, &mut Blocks),
    ) -> Vec<ScaleGradient> {
        let normalization = previous.and_then(|(layout, _)| layout.normalization.as_ref());
        let shape = next.shape();
        let (Some((_, buffers)), Some(normalization)) = (previous, normalization) else {
            next.par_chunks_mut().enumerate().with_max_len(1).for_each(|(chunk, next)| {
                let features = shape.features_of(chunk);
                next.par_chunks_mut(BESIDE * PANEL).enumerate().for_each(|(group, blocks)| {
                    let beside = group * BESIDE;
                    weight.multiply_transposed(chunk, (gradient, beside), blocks);
                    let Some((_, buffers)) = previous else { return };
                    for (block, beside) in blocks.chunks_exact_mut(PANEL).zip(beside..) {
                        let derivative = &buffers.derivative.block(shape.index(chunk, beside))[..features];
                        multiply_in_place(flat_mut(&mut block[..features]), flat(derivative));
                    }
                });
            });
            return Vec::new();
        };
        let count = gradient.rows();
        turned_rows.reshape(count, weight.inputs);
        let chunks = next.par_chunks_mut().zip(turned_rows.par_chunks_mut()).enumerate();
        let sums = chunks.map(|(chunk, (next, rows))| {
            for (group, blocks) in next.chunks_mut(BESIDE * PANEL).enumerate() {
                weight.multiply_transposed(chunk, (gradient, group * BESIDE), blocks);
            }
            let blocks = next.chunks_exact(PANEL).zip(rows.chunks_exact_mut(PANEL));
            blocks.for_each(|(block, rows)| turn_block(block, shape.features_of(chunk), rows));
            let own = &mut rows[..count];
            multiply_in_place(flat_mut(own), flat(&buffers.derivative.chunk(chunk)[..count]));
            let scale = PanelRow::filled(self.chunk_of(&normalization.scale, chunk));
            let normalized = &buffers.normalized_rows.chunk(chunk)[..count];
            let sums = pull_back(own, normalized, &scale, &buffers.inverse_deviation[chunk]);
            let blocks = next.chunks_exact_mut(PANEL).zip(rows.chunks_exact(PANEL));
            blocks.for_each(|(block, rows)| turn_block(rows, PANEL, block));
            sums
        });
        sums.collect()
    }
}

/// gᵀ · input for the weights and Σ g for the bias.
///
/// Under batch normalisation the bias has no effect: its gradient is exactly 0.
///
/// * `input`: lines are rows; `gradient`: lines are features
fn weight_gradient(
    layer: &LayerLayout,
    input: &Blocks,
    gradient: &Blocks,
    (of_weight, of_bias): (&mut [f32], &mut [f32]),
) {
    let lines = of_weight.par_chunks_mut(LINES * layer.inputs).zip(of_bias.par_chunks_mut(LINES));
    lines.enumerate().with_max_len(1).for_each(|(index, (of_weight, of_bias))| {
        let (chunk, first) = (index * LINES / PANEL, index * LINES % PANEL);
        let gradient = &gradient.chunk(chunk)[first..];
        if layer.normalization.is_some() {
            of_bias.fill(0.0);
            write_gradient(gradient, input, of_weight, None);
        } else {
            write_gradient(gradient, input, of_weight, Some(of_bias));
        }
    });
}

/// Weight and bias of a layer.
type LayerGradient<'a> = (&'a mut [f32], &'a mut [f32]);

/// The parts of the parameters' gradient that one step of the backward pass writes: the layer's own, and the scale
/// and shift of the layer before.
fn split_gradient<'a>(
    gradient: &'a mut [f32],
    layer: &LayerLayout,
    previous: Option<&LayerLayout>,
) -> (LayerGradient<'a>, Option<LayerGradient<'a>>) {
    // A layer's parameters lie behind those of the layer before, its bias behind its weight.
    let (before, own) = gradient.split_at_mut(layer.weight.start);
    let (weight, rest) = own.split_at_mut(layer.weight.len());
    let bias = &mut rest[..layer.bias.len()];
    let normalization = previous.and_then(|layout| layout.normalization.as_ref());
    let of_scale = normalization.map(|normalization| {
        let (_, part) = before.split_at_mut(normalization.scale.start);
        let (scale, rest) = part.split_at_mut(normalization.scale.len());
        (scale, &mut rest[..normalization.shift.len()])
    });
    ((weight, bias), of_scale)
}

fn keep_scale_gradient(sums: &[ScaleGradient], scale: &mut [f32], shift: &mut [f32]) {
    for ((sums, scale), shift) in sums.iter().zip(scale.chunks_mut(PANEL)).zip(shift.chunks_mut(PANEL)) {
        scale.iter_mut().zip(sums.scale).for_each(|(own, sum)| *own = sum as f32);
        shift.iter_mut().zip(sums.shift).for_each(|(own, sum)| *own = sum as f32);
    }
}

fn keep_statistics(
    moments: &[Moments],
    buffers: &mut LayerBuffers,
    columns: usize,
    statistics: &mut Vec<f32>,
) {
    buffers.inverse_deviation.clear();
    buffers.inverse_deviation.extend(moments.iter().map(Moments::inverse_deviation));
    for of in [Moments::mean, Moments::unbiased_variance] {
        let start = statistics.len();
        statistics.extend(moments.iter().flat_map(|moments| of(moments).0));
        statistics.truncate(start + columns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::MlpSettings;
    use crate::nn::layout::Layout;

    #[test]
    fn a_gradient_of_subnormal_numbers_is_none() {
        let settings = MlpSettings {
            inputs: 3,
            hidden: vec![5],
            outputs: 2,
            activation: Activation::Relu,
            batch_norm: false,
        };
        let Layout { layers, parameter_count, .. } = Layout::new(&settings);
        let parameters = vec![1.0; parameter_count];
        let pass = TrainingPass { layers: &layers, activation: settings.activation, parameters: &parameters };
        let mut workspace = TrainingWorkspace::default();
        // Each hidden value is 4: products with them, and sums over two rows, would be normal numbers.
        pass.forward(&[1.0; 6], &mut workspace);
        let mut of_parameters = vec![f32::NAN; parameter_count];
        let of_x = pass.backward(&[f32::MIN_POSITIVE / 2.0; 4], &mut workspace, true, &mut of_parameters);
        assert_eq!(of_parameters, vec![0.0; parameter_count]);
        assert_eq!(of_x, Some(vec![0.0; 6]));
    }
}
