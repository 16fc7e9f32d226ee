//! Forward pass and input gradient of a network whose weights are fixed.

use std::borrow::Cow;
use std::cell::RefCell;

use rayon::prelude::*;

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

/// The rows of one block, (`BLOCK`, columns): a short last block is filled up with zeros.
///
/// Matrix products round otherwise for other numbers of rows, and what comes of a row shall not depend on which
/// rows come with it.
fn filled(rows: &[f32], columns: usize) -> Cow<'_, [f32]> {
    if rows.len() == BLOCK * columns {
        return Cow::Borrowed(rows);
    }
    let mut filled = rows.to_vec();
    filled.resize(BLOCK * columns, 0.0);
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
    y.par_chunks_mut(BLOCK * outputs).zip(x.par_chunks(BLOCK * inputs)).for_each(|(y, x)| {
        SCRATCH.with_borrow_mut(|scratch| {
            let end = scratch.forward(layers, activation, &filled(x, inputs), BLOCK);
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
    let blocks = result.par_chunks_mut(BLOCK * (1 + inputs));
    blocks.zip(x.par_chunks(BLOCK * inputs)).zip(y.par_chunks(BLOCK * outputs)).for_each(
        |((result, x), y)| {
            SCRATCH.with_borrow_mut(|scratch| {
                let end = scratch.forward(layers, activation, &filled(x, inputs), BLOCK);
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
                let end = scratch.backward(layers, BLOCK, end);
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
