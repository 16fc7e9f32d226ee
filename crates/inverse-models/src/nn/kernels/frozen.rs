//! Forward pass and input gradient of a network whose weights are fixed.

use std::borrow::Cow;
use std::cell::RefCell;

use rayon::prelude::*;

use super::TRAINING_BLOCK;
use super::matrix::{Matrix, multiply, transpose};
use super::vector_unit::{multiply_in_place, vectorized, weighted_error};
use crate::nn::Activation;

/// Rows a block: the activations of one block and one layer stay in a core's second-level cache.
const BLOCK: usize = 128;

/// One linear layer, with any normalisation folded into it.
#[derive(Debug, Clone)]
pub(crate) struct FrozenLayer {
    /// (outputs, inputs), row-major.
    pub(crate) weight: Vec<f32>,
    /// (inputs, outputs), row-major: the same numbers as the forward pass reads them.
    transposed: Vec<f32>,
    /// (outputs).
    pub(crate) bias: Vec<f32>,
}

impl FrozenLayer {
    /// * `weight`: (outputs, inputs), row-major; `bias`: (outputs)
    pub(crate) fn new(weight: Vec<f32>, bias: Vec<f32>) -> Self {
        let mut transposed = vec![0.0; weight.len()];
        transpose(&weight, weight.len().checked_div(bias.len()).unwrap_or(0), &mut transposed);
        Self { weight, transposed, bias }
    }

    pub(crate) fn outputs(&self) -> usize {
        self.bias.len()
    }

    pub(crate) fn inputs(&self) -> usize {
        self.weight.len() / self.bias.len().max(1)
    }

    /// z = x · weightᵀ + bias.
    fn forward(&self, x: &[f32], z: &mut [f32]) {
        for row in z.chunks_exact_mut(self.outputs()) {
            row.copy_from_slice(&self.bias);
        }
        multiply(z, Matrix::new(x, self.inputs()), Matrix::new(&self.transposed, self.outputs()), true);
    }

    /// The gradient with respect to x, given that with respect to z.
    fn backward(&self, gradient: &[f32], x_gradient: &mut [f32]) {
        let weight = Matrix::new(&self.weight, self.inputs());
        multiply(x_gradient, Matrix::new(gradient, self.outputs()), weight, false);
    }
}

/// Buffers of one thread, kept from block to block.
#[derive(Default)]
struct Scratch {
    /// Two activations of a block, used in turn.
    activations: [Vec<f32>; 2],
    /// Activation derivatives, one buffer a hidden layer.
    derivatives: Vec<Vec<f32>>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Scratch {
    /// Runs a block forward; the network's output ends in `activations[layers.len() % 2]`.
    fn forward(&mut self, layers: &[FrozenLayer], activation: Activation, x: &[f32], rows: usize) -> usize {
        let hidden = layers.len() - 1;
        self.derivatives.resize_with(self.derivatives.len().max(hidden), Vec::new);
        self.activations[0].clear();
        self.activations[0].extend_from_slice(x);
        let mut source = 0;
        for (index, layer) in layers.iter().enumerate() {
            let [first, second] = &mut self.activations;
            let (input, output) = if source == 0 { (first, second) } else { (second, first) };
            output.resize(rows * layer.outputs(), 0.0);
            layer.forward(input, output);
            if index < hidden {
                let derivatives = &mut self.derivatives[index];
                derivatives.resize(output.len(), 0.0);
                activation.apply_in_place(output, derivatives);
            }
            source = 1 - source;
        }
        source
    }

    /// Pulls the gradient in `activations[source]` back to the input; returns where it ends.
    fn backward(&mut self, layers: &[FrozenLayer], rows: usize, mut source: usize) -> usize {
        for (index, layer) in layers.iter().enumerate().rev() {
            let [first, second] = &mut self.activations;
            let (gradient, output) = if source == 0 { (first, second) } else { (second, first) };
            output.resize(rows * layer.inputs(), 0.0);
            layer.backward(gradient, output);
            if index > 0 {
                multiply_in_place(output, &self.derivatives[index - 1]);
            }
            source = 1 - source;
        }
        source
    }
}

/// Up to this many rows, blocks are as small as those of a training step.
const FEW_ROWS: usize = 512;

/// A short block is filled up to a multiple of this many rows.
const FILL: usize = 4;

/// The longest inner sum that the matrix product never cuts in two.
const WHOLE_SUM: usize = 512;

/// Up to this many rows and columns the product cuts longer sums at other places.
const SMALL_SIDE: usize = 64;

/// Rows that a block of `rows` rows is computed with.
///
/// What comes of a row shall not depend on which rows come with it. The matrix product sums every entry in the same
/// order for any number of rows but one, as long as the sum is whole or its result has a long side; other networks
/// always have full blocks.
fn filled_rows(layers: &[FrozenLayer], rows: usize) -> usize {
    if has_steady_rows(layers) { rows.next_multiple_of(FILL) } else { BLOCK }
}

/// Rows of each block of `rows` rows: a training batch of 128 still keeps two cores busy.
fn block_rows(layers: &[FrozenLayer], rows: usize) -> usize {
    if rows <= FEW_ROWS && has_steady_rows(layers) { TRAINING_BLOCK } else { BLOCK }
}

/// Whether the product sums a row's entries in the same order in a block of any size.
fn has_steady_rows(layers: &[FrozenLayer]) -> bool {
    let steady = |inner: usize, columns: usize| inner <= WHOLE_SUM || columns > SMALL_SIDE;
    let both = |layer: &FrozenLayer| {
        steady(layer.inputs(), layer.outputs()) && steady(layer.outputs(), layer.inputs())
    };
    layers.iter().all(both)
}

/// The rows of one block with zeros behind them, (count, columns).
fn filled(rows: &[f32], columns: usize, count: usize) -> Cow<'_, [f32]> {
    if rows.len() == count * columns {
        return Cow::Borrowed(rows);
    }
    let mut filled = rows.to_vec();
    filled.resize(count * columns, 0.0);
    Cow::Owned(filled)
}

fn widths(layers: &[FrozenLayer]) -> (usize, usize) {
    let inputs = layers.first().map_or(0, FrozenLayer::inputs);
    (inputs, layers.last().map_or(0, FrozenLayer::outputs))
}

/// The network's output, (rows, outputs), for x, (rows, inputs); a row's does not depend on the other rows.
pub(crate) fn predict(layers: &[FrozenLayer], activation: Activation, x: &[f32]) -> Vec<f32> {
    let (inputs, outputs) = widths(layers);
    let rows = x.len() / inputs;
    let mut y = vec![0.0; rows * outputs];
    let block = block_rows(layers, rows);
    y.par_chunks_mut(block * outputs).zip(x.par_chunks(block * inputs)).for_each(|(y, x)| {
        SCRATCH.with_borrow_mut(|scratch| {
            let rows = filled_rows(layers, x.len() / inputs);
            let end = scratch.forward(layers, activation, &filled(x, inputs, rows), rows);
            y.copy_from_slice(&scratch.activations[end][..y.len()]);
        });
    });
    y
}

/// For each row the weighted squared error Σ_j w_j (f̂_j(x) − y_j)² and its gradient with respect to x.
///
/// * `x`: (rows, inputs), `y`: (rows, outputs), `weights`: (outputs)
///
/// Returns (rows, 1 + inputs): the error, then the gradient; a row's do not depend on the other rows.
pub(crate) fn error_and_gradient(
    layers: &[FrozenLayer],
    activation: Activation,
    x: &[f32],
    y: &[f32],
    weights: &[f32],
) -> Vec<f32> {
    let (inputs, outputs) = widths(layers);
    let rows = x.len() / inputs;
    let mut result = vec![0.0; rows * (1 + inputs)];
    let block = block_rows(layers, rows);
    let blocks = result.par_chunks_mut(block * (1 + inputs));
    blocks.zip(x.par_chunks(block * inputs)).zip(y.par_chunks(block * outputs)).for_each(
        |((result, x), y)| {
            SCRATCH.with_borrow_mut(|scratch| {
                let count = filled_rows(layers, x.len() / inputs);
                let end = scratch.forward(layers, activation, &filled(x, inputs, count), count);
                let predictions = scratch.activations[end].chunks_exact_mut(outputs);
                let targets = y.chunks_exact(outputs);
                // Rows that only fill the block up keep their prediction as gradient: nothing reads theirs.
                let rows = result.chunks_exact_mut(1 + inputs).zip(predictions).zip(targets);
                vectorized(
                    #[inline(always)]
                    || {
                        for ((row, prediction), target) in rows {
                            row[0] = weighted_error(prediction, target, weights);
                        }
                    },
                );
                let end = scratch.backward(layers, count, end);
                let gradients = scratch.activations[end].chunks_exact(inputs);
                for (row, gradient) in result.chunks_exact_mut(1 + inputs).zip(gradients) {
                    row[1..].copy_from_slice(gradient);
                }
            });
        },
    );
    result
}

/// Σ_j g_j ∂f̂_j/∂x for each row: what reverse differentiation needs.
///
/// * `x`: (rows, inputs), `gradient` g: (rows, outputs)
///
/// Returns (rows, inputs).
pub(crate) fn vector_jacobian_product(
    layers: &[FrozenLayer],
    activation: Activation,
    x: &[f32],
    gradient: &[f32],
) -> Vec<f32> {
    let (inputs, outputs) = widths(layers);
    let mut result = vec![0.0; x.len()];
    let blocks = result.par_chunks_mut(BLOCK * inputs);
    blocks.zip(x.par_chunks(BLOCK * inputs)).zip(gradient.par_chunks(BLOCK * outputs)).for_each(
        |((result, x), gradient)| {
            SCRATCH.with_borrow_mut(|scratch| {
                let rows = x.len() / inputs;
                let end = scratch.forward(layers, activation, x, rows);
                scratch.activations[end].copy_from_slice(gradient);
                let end = scratch.backward(layers, rows, end);
                result.copy_from_slice(&scratch.activations[end]);
            });
        },
    );
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers between −1 and 1 without a pattern that sums could hide.
    fn numbers(count: usize, salt: u32) -> Vec<f32> {
        let mix = |index: u32| index.wrapping_mul(2_654_435_761).wrapping_add(salt.wrapping_mul(40_503)) >> 8;
        (0..count as u32).map(|index| mix(index) as f32 / (1 << 23) as f32 - 1.0).collect()
    }

    #[test]
    fn a_row_has_the_same_bits_whatever_rows_come_with_it() {
        for widths in [[3, 40, 1], [4, 500, 2], [2, 512, 300], [5, 700, 3], [700, 65, 600], [1, 1, 1]] {
            let layer = |index: usize| {
                let (inputs, outputs) = (widths[index], widths[index + 1]);
                let weight = numbers(inputs * outputs, 1 + index as u32);
                FrozenLayer::new(weight, numbers(outputs, 7))
            };
            let layers = [layer(0), layer(1)];
            let (x, y) = (numbers(600 * widths[0], 3), numbers(600 * widths[2], 4));
            let weights = vec![0.5; widths[2]];
            let all = predict(&layers, Activation::Silu, &x);
            let all_errors = error_and_gradient(&layers, Activation::Silu, &x, &y, &weights);
            for count in [1, 2, 5, 64, 65, 127] {
                let some = predict(&layers, Activation::Silu, &x[..count * widths[0]]);
                assert_eq!(some, all[..some.len()], "{count} rows of {widths:?}");
                let (x, y) = (&x[..count * widths[0]], &y[..count * widths[2]]);
                let some = error_and_gradient(&layers, Activation::Silu, x, y, &weights);
                assert_eq!(some, all_errors[..some.len()], "gradients of {count} rows of {widths:?}");
            }
        }
    }
}
