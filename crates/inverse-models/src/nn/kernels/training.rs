//! Forward and backward pass of a whole fully connected network in training mode.

use rayon::prelude::*;

use super::normalization::{Moments, ScaleGradient, column_sums, normalize, pull_back};
use super::panels::{PANEL, PanelMatrix, PanelRow, TASK_ROWS, TILE, flat, flat_mut};
use super::product::{Start, multiply, multiply_transposed};
use super::vector_unit::{multiply_in_place, vectorized};
use super::weight::{Panel, Weight};
use crate::nn::Activation;
use crate::nn::layout::{LayerLayout, NormalizationLayout};

/// What the forward pass of one layer leaves for the backward pass.
#[derive(Debug, Default)]
struct LayerBuffers {
    /// The activation's value; of the last layer, its output.
    value: PanelMatrix,
    /// The activation's derivative.
    derivative: PanelMatrix,
    /// The normalised x · weightᵀ + bias, where there is normalisation.
    normalized: PanelMatrix,
    /// 1 / √(batch variance + ε) of each panel.
    inverse_deviation: Vec<PanelRow>,
}

/// Buffers of one pass, reused from step to step.
#[derive(Debug, Default)]
pub(crate) struct TrainingWorkspace {
    input: PanelMatrix,
    layers: Vec<LayerBuffers>,
    gradient: PanelMatrix,
    next_gradient: PanelMatrix,
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
        workspace.input.par_copy(x, self.layers.first().map_or(0, |layer| layer.inputs));
        for (index, layer) in self.layers.iter().enumerate() {
            let (done, rest) = workspace.layers.split_at_mut(index);
            let input = done.last().map_or(&workspace.input, |buffers| &buffers.value);
            let buffers = &mut rest[0];
            buffers.value.reshape(input.rows(), layer.outputs);
            if index + 1 == self.layers.len() {
                self.last(layer, input, buffers);
            } else if let Some(normalization) = &layer.normalization {
                buffers.derivative.reshape(input.rows(), layer.outputs);
                let moments = self.normalized(layer, normalization, input, buffers);
                keep_statistics(&moments, buffers, layer.outputs, &mut workspace.statistics);
            } else {
                buffers.derivative.reshape(input.rows(), layer.outputs);
                self.hidden(layer, input, buffers);
            }
        }
        workspace.layers.last().map(|last| last.value.to_rows()).unwrap_or_default()
    }

    /// The numbers of one panel from a range of the parameters.
    fn panel_of(&self, range: &std::ops::Range<usize>, panel: usize) -> PanelRow {
        let values = &self.parameters[range.clone()];
        PanelRow::filled(&values[panel * PANEL..values.len().min((panel + 1) * PANEL)])
    }

    fn weight(&self, layer: &LayerLayout) -> Weight<'_> {
        Weight { values: &self.parameters[layer.weight.clone()], inputs: layer.inputs }
    }

    fn last(&self, layer: &LayerLayout, input: &PanelMatrix, buffers: &mut LayerBuffers) {
        buffers.value.par_panels_mut().enumerate().for_each(|(panel, rows)| {
            let bias = self.panel_of(&layer.bias, panel);
            self.weight(layer).turned(panel, |right| {
                rows.par_chunks_mut(TASK_ROWS).enumerate().for_each(|(task, rows)| {
                    multiply(input, task * TASK_ROWS, right, Start::Row(&bias), rows);
                });
            });
        });
    }

    fn hidden(&self, layer: &LayerLayout, input: &PanelMatrix, buffers: &mut LayerBuffers) {
        let LayerBuffers { value, derivative, .. } = buffers;
        let panels = value.par_panels_mut().zip(derivative.par_panels_mut());
        panels.enumerate().for_each(|(panel, (values, derivatives))| {
            let bias = self.panel_of(&layer.bias, panel);
            let tasks = values.par_chunks_mut(TASK_ROWS).zip(derivatives.par_chunks_mut(TASK_ROWS));
            self.weight(layer).turned(panel, |right| {
                tasks.enumerate().for_each(|(task, (values, derivatives))| {
                    multiply(input, task * TASK_ROWS, right, Start::Row(&bias), values);
                    self.activation.apply_in_place(flat_mut(values), flat_mut(derivatives));
                });
            });
        });
    }

    /// A panel is one task here: its columns' moments need all rows.
    fn normalized(
        &self,
        layer: &LayerLayout,
        normalization: &NormalizationLayout,
        input: &PanelMatrix,
        buffers: &mut LayerBuffers,
    ) -> Vec<Moments> {
        let LayerBuffers { value, derivative, normalized, .. } = buffers;
        let count = input.rows();
        normalized.reshape(count, layer.outputs);
        let panels = value.par_panels_mut().zip(derivative.par_panels_mut()).zip(normalized.par_panels_mut());
        let moments = panels.enumerate().map(|(panel, ((values, derivatives), normalized))| {
            let bias = self.panel_of(&layer.bias, panel);
            self.weight(layer)
                .turned(panel, |right| multiply(input, 0, right, Start::Row(&bias), normalized));
            let moments = Moments::of(&normalized[..count]);
            let affine =
                (self.panel_of(&normalization.scale, panel), self.panel_of(&normalization.shift, panel));
            let statistics = (moments.mean(), moments.inverse_deviation());
            normalize(normalized, (&statistics.0, &statistics.1), (&affine.0, &affine.1), values);
            self.activation.apply_in_place(flat_mut(values), flat_mut(derivatives));
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
        let TrainingWorkspace { input: x, layers, gradient: given, next_gradient: next, .. } = workspace;
        given.par_copy(gradient, self.layers.last().map_or(0, |layer| layer.outputs));
        for (index, layer) in self.layers.iter().enumerate().rev() {
            let (before, _) = layers.split_at(index);
            let previous = before.last().map(|buffers| (&self.layers[index - 1], buffers));
            let input = previous.map_or(&*x, |(_, buffers)| &buffers.value);
            let (of_layer, of_scale) =
                split_gradient(of_parameters, layer, previous.map(|(layout, _)| layout));
            let of_previous = || {
                if previous.is_none() && !wants_x {
                    return Vec::new();
                }
                next.reshape(given.rows(), layer.inputs);
                self.pull_back(self.weight(layer), previous, given, next)
            };
            let ((), sums) = rayon::join(|| weight_gradient(layer, input, given, of_layer), of_previous);
            if let Some((scale, shift)) = of_scale {
                keep_scale_gradient(&sums, scale, shift);
            }
            std::mem::swap(given, next);
        }
        wants_x.then(|| given.to_rows())
    }

    /// Pulls the gradient back through the weights and the previous layer's activation and normalisation; gives the
    /// latter's own gradients, panel by panel.
    fn pull_back(
        &self,
        weight: Weight<'_>,
        previous: Option<(&LayerLayout, &LayerBuffers)>,
        gradient: &PanelMatrix,
        next: &mut PanelMatrix,
    ) -> Vec<ScaleGradient> {
        let normalization = previous.and_then(|(layout, _)| layout.normalization.as_ref());
        let through = |panel: usize, right: Panel<'_>, task: usize, rows: &mut [PanelRow]| {
            multiply(gradient, task * TASK_ROWS, right, Start::Row(&PanelRow::ZERO), rows);
            if let Some((_, buffers)) = previous {
                let derivative = buffers.derivative.part(panel, task * TASK_ROWS, rows.len());
                multiply_in_place(flat_mut(rows), flat(derivative));
            }
        };
        let (Some((_, buffers)), Some(normalization)) = (previous, normalization) else {
            next.par_panels_mut().enumerate().for_each(|(panel, rows)| {
                let tasks = rows.par_chunks_mut(TASK_ROWS).enumerate();
                weight.straight(panel, |right| {
                    tasks.for_each(|(task, rows)| through(panel, right, task, rows));
                });
            });
            return Vec::new();
        };
        let panels = next.par_panels_mut().enumerate().map(|(panel, rows)| {
            weight.straight(panel, |right| {
                for (task, rows) in rows.chunks_mut(TASK_ROWS).enumerate() {
                    through(panel, right, task, rows);
                }
            });
            let scale = self.panel_of(&normalization.scale, panel);
            pull_back(rows, buffers.normalized.panel(panel), &scale, &buffers.inverse_deviation[panel])
        });
        panels.collect()
    }
}

/// gᵀ · input for the weights and Σ g for the bias.
///
/// Under batch normalisation the bias has no effect: its gradient is exactly 0.
fn weight_gradient(
    layer: &LayerLayout,
    input: &PanelMatrix,
    gradient: &PanelMatrix,
    (of_weight, of_bias): (&mut [f32], &mut [f32]),
) {
    let inputs = layer.inputs;
    let panels = of_weight.par_chunks_mut(PANEL * inputs).zip(of_bias.par_chunks_mut(PANEL));
    panels.enumerate().for_each(|(panel, (of_weight, of_bias))| {
        let gradient = gradient.panel(panel);
        if layer.normalization.is_some() {
            of_bias.fill(0.0);
        } else {
            column_sums(gradient).write(of_bias);
        }
        of_weight.par_chunks_mut(TILE * inputs).enumerate().for_each(|(tile, of_weight)| {
            let mut out = [PanelRow::ZERO; TILE];
            for panel in 0..inputs.div_ceil(PANEL) {
                let (columns, right) = (input.range(panel), (input.panel(panel), input.width(panel)));
                multiply_transposed(gradient, tile * TILE, right, &mut out);
                vectorized(
                    #[inline(always)]
                    || {
                        for (of_weight, out) in of_weight.chunks_exact_mut(inputs).zip(&out) {
                            out.write(&mut of_weight[columns.clone()]);
                        }
                    },
                );
            }
        });
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
