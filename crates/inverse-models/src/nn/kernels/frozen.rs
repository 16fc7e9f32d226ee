//! Forward pass and input gradient of a network whose weights are fixed.

use std::cell::RefCell;

use rayon::prelude::*;

use super::frozen_layer::FrozenLayer;
use super::panels::{PANEL, PanelMatrix, PanelRow, TILE, flat, flat_mut};
use super::vector_unit::{multiply_in_place, vectorized, weighted_error};
use crate::nn::Activation;

/// The fewest and the most rows of a block: one layer's values stay in a core's second-level cache, and the weights
/// are not read again for a handful of rows.
const BLOCK: std::ops::RangeInclusive<usize> = 64..=128;

/// Blocks a thread, so that none waits long for another.
const BLOCKS_PER_THREAD: usize = 2;

/// Multiplications that are worth more than one thread where the others are awake, and where they have to be woken.
const WORTH_SHARING: usize = 1 << 21;
const WORTH_WAKING: usize = 1 << 24;

/// Rows that take about as long as a single one where the weights come from memory, or from a cache that cores share.
const MEMORY_BOUND_ROWS: usize = 24;

/// Buffers of one thread, kept from block to block.
#[derive(Default)]
pub(super) struct Scratch {
    /// What a layer reads, and what it writes.
    pub(super) current: PanelMatrix,
    next: PanelMatrix,
    /// Activation derivatives, one matrix a hidden layer.
    pub(super) derivatives: Vec<PanelMatrix>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Scratch {
    /// Leaves the network's output for the rows x, (rows, inputs), in `current`; with all threads where `spread`.
    fn predict(&mut self, layers: &[FrozenLayer], activation: Activation, x: &[f32], spread: bool) {
        self.current.copy(x, layers.first().map_or(0, FrozenLayer::inputs));
        self.predict_from(0, layers, activation, spread);
    }

    /// As [`Scratch::predict`] for the first inputs of each row, x; row i has row `of_row[i]` of `given` as the others.
    fn predict_beside(
        &mut self,
        layers: &[FrozenLayer],
        activation: Activation,
        (x, varying): (&[f32], usize),
        given: &GivenRows<'_>,
    ) {
        let Some(first) = layers.first() else { return };
        // Rows that share what they are given come one after the other.
        let mut distinct = Vec::new();
        let mut places = Vec::with_capacity(given.of_row.len());
        let mut last = None;
        for of_row in given.of_row {
            if last != Some(of_row) {
                distinct.extend_from_slice(&given.values[of_row * given.width..(of_row + 1) * given.width]);
                last = Some(of_row);
            }
            places.push(distinct.len() / given.width - 1);
        }
        let mut shared = PanelMatrix::default();
        shared.copy(&distinct, given.width);
        self.current.reshape(places.len(), varying);
        if varying > 0 {
            self.current.copy(x, varying);
        }
        first.forward_beside(&self.current, &shared, &places, &mut self.next);
        if layers.len() > 1 {
            self.next.panels_mut().for_each(|z| activation.value_in_place(flat_mut(z)));
        }
        std::mem::swap(&mut self.current, &mut self.next);
        self.predict_from(1, layers, activation, false);
    }

    /// The layers from `start` on.
    fn predict_from(&mut self, start: usize, layers: &[FrozenLayer], activation: Activation, spread: bool) {
        for (index, layer) in layers.iter().enumerate().skip(start) {
            let is_hidden = index + 1 < layers.len();
            let Self { current, next, .. } = self;
            next.reshape(current.rows(), layer.outputs());
            let pass = |(panel, z): (usize, &mut [PanelRow])| {
                layer.forward(current, panel, z);
                if is_hidden {
                    activation.value_in_place(flat_mut(z));
                }
            };
            if spread {
                next.par_panels_mut().enumerate().for_each(pass);
            } else {
                next.panels_mut().enumerate().for_each(pass);
            }
            std::mem::swap(current, next);
        }
    }

    /// As [`Scratch::predict`], and keeps the activations' derivatives.
    pub(super) fn forward(&mut self, layers: &[FrozenLayer], activation: Activation, x: &[f32]) {
        self.current.copy(x, layers.first().map_or(0, FrozenLayer::inputs));
        self.derivatives.resize_with(self.derivatives.len().max(layers.len()), PanelMatrix::default);
        for (index, layer) in layers.iter().enumerate() {
            let Self { current, next, derivatives } = self;
            next.reshape(current.rows(), layer.outputs());
            if index + 1 < layers.len() {
                let derivatives = &mut derivatives[index];
                derivatives.reshape(current.rows(), layer.outputs());
                let panels = next.panels_mut().zip(derivatives.panels_mut());
                for (panel, (z, derivatives)) in panels.enumerate() {
                    layer.forward(current, panel, z);
                    activation.apply_in_place(flat_mut(z), flat_mut(derivatives));
                }
            } else {
                next.panels_mut().enumerate().for_each(|(panel, z)| layer.forward(current, panel, z));
            }
            std::mem::swap(current, next);
        }
    }

    /// Pulls the gradient in `current` back to the input.
    fn backward(&mut self, layers: &[FrozenLayer]) {
        for (index, layer) in layers.iter().enumerate().rev() {
            layer.backward(&self.current, &mut self.next);
            if index > 0 {
                let derivatives = &mut self.derivatives[index - 1];
                for (rows, derivatives) in self.next.panels_mut().zip(derivatives.panels_mut()) {
                    multiply_in_place(flat_mut(rows), flat(derivatives));
                }
            }
            std::mem::swap(&mut self.current, &mut self.next);
        }
    }
}

pub(super) fn widths(layers: &[FrozenLayer]) -> (usize, usize) {
    let inputs = layers.first().map_or(0, FrozenLayer::inputs);
    (inputs, layers.last().map_or(0, FrozenLayer::outputs))
}

/// Whether a pass of so many rows is worth more than one thread.
fn is_worth_sharing(layers: &[FrozenLayer], rows: usize) -> bool {
    let weights: usize = layers.iter().map(|layer| layer.weight.len()).sum();
    // A thread of the pool is at work within a pass that others have been woken for already.
    let (rows, least) = if rayon::current_thread_index().is_some() {
        (rows, WORTH_SHARING)
    } else {
        (rows.max(MEMORY_BOUND_ROWS), WORTH_WAKING)
    };
    rayon::current_num_threads() > 1 && rows.saturating_mul(weights) >= least
}

/// Rows a block: what comes of a row does not depend on it.
fn block_rows(layers: &[FrozenLayer], rows: usize) -> usize {
    if !is_worth_sharing(layers, rows) {
        return *BLOCK.end();
    }
    let share = rows.div_ceil(BLOCKS_PER_THREAD * rayon::current_num_threads());
    share.next_multiple_of(TILE).clamp(*BLOCK.start(), *BLOCK.end())
}

/// Calls `pass` with the thread's buffers, a block's rows of `out` and the place of its first row.
fn in_blocks(
    layers: &[FrozenLayer],
    out: &mut [f32],
    columns: usize,
    rows: usize,
    pass: impl Fn(&mut Scratch, &mut [f32], std::ops::Range<usize>) + Sync,
) {
    let block = block_rows(layers, rows);
    let run = |(index, out): (usize, &mut [f32])| {
        let first = index * block;
        SCRATCH.with_borrow_mut(|scratch| pass(scratch, out, first..rows.min(first + block)));
    };
    if rows > block && is_worth_sharing(layers, rows) {
        out.par_chunks_mut(block * columns).enumerate().for_each(run);
    } else {
        out.chunks_mut(block * columns).enumerate().for_each(run);
    }
}

/// The network's output, (rows, outputs), for x, (rows, inputs); a row's does not depend on the other rows.
pub(crate) fn predict(layers: &[FrozenLayer], activation: Activation, x: &[f32]) -> Vec<f32> {
    let (inputs, outputs) = widths(layers);
    let rows = x.len() / inputs;
    if rows <= *BLOCK.start() && is_worth_sharing(layers, rows) {
        // Too few rows to share: the panels are. The buffers are not the thread's, which may take up other work
        // while it waits for them.
        let mut scratch = Scratch::default();
        // All layers are one of the pool's tasks: each alone would be handed over, and a thread woken, anew.
        rayon::scope(|_| scratch.predict(layers, activation, x, true));
        return scratch.current.to_rows();
    }
    let mut y = vec![0.0; rows * outputs];
    in_blocks(layers, &mut y, outputs, rows, |scratch, y, rows| {
        scratch.predict(layers, activation, &x[rows.start * inputs..rows.end * inputs], false);
        scratch.current.write(y);
    });
    y
}

/// What a network is given beside inputs of each row's own: row i of a batch has row `of_row[i]` of `values`.
#[derive(Clone, Copy)]
pub(crate) struct GivenRows<'a> {
    /// (distinct rows, width), row-major.
    pub(crate) values: &'a [f32],
    /// At least 1.
    pub(crate) width: usize,
    pub(crate) of_row: &'a [usize],
}

/// As [`predict`] for rows x, (rows, inputs − given width), each with what it is given behind it.
///
/// A row's sums have another order here: what is given comes first.
pub(crate) fn predict_beside(
    layers: &[FrozenLayer],
    activation: Activation,
    x: &[f32],
    given: &GivenRows<'_>,
) -> Vec<f32> {
    let (inputs, outputs) = widths(layers);
    let (rows, varying) = (given.of_row.len(), inputs - given.width);
    let mut y = vec![0.0; rows * outputs];
    in_blocks(layers, &mut y, outputs, rows, |scratch, y, rows| {
        let x = &x[rows.start * varying..rows.end * varying];
        let given = GivenRows { of_row: &given.of_row[rows], ..*given };
        scratch.predict_beside(layers, activation, (x, varying), &given);
        scratch.current.write(y);
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
    in_blocks(layers, &mut result, 1 + inputs, rows, |scratch, result, rows| {
        scratch.forward(layers, activation, &x[rows.start * inputs..rows.end * inputs]);
        let mut predictions = scratch.current.to_rows();
        let targets = y[rows.start * outputs..rows.end * outputs].chunks_exact(outputs);
        let errors = result.chunks_exact_mut(1 + inputs).zip(predictions.chunks_exact_mut(outputs));
        vectorized(
            #[inline(always)]
            || {
                for ((row, prediction), target) in errors.zip(targets) {
                    row[0] = weighted_error(prediction, target, weights);
                }
            },
        );
        scratch.current.copy(&predictions, outputs);
        scratch.backward(layers);
        for panel in 0..inputs.div_ceil(PANEL) {
            let range = scratch.current.range(panel);
            let gradients = scratch.current.panel(panel);
            for (row, gradient) in result.chunks_exact_mut(1 + inputs).zip(gradients) {
                gradient.write(&mut row[1..][range.clone()]);
            }
        }
    });
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
    let rows = x.len() / inputs;
    let mut result = vec![0.0; x.len()];
    in_blocks(layers, &mut result, inputs, rows, |scratch, result, rows| {
        scratch.forward(layers, activation, &x[rows.start * inputs..rows.end * inputs]);
        scratch.current.copy(&gradient[rows.start * outputs..rows.end * outputs], outputs);
        scratch.backward(layers);
        scratch.current.write(result);
    });
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

    #[test]
    fn what_rows_share_is_as_if_each_had_its_own() {
        for (varying, width) in [(3, 40), (60, 7), (0, 5)] {
            let (inputs, hidden, outputs) = (varying + width, 70, 5);
            let layers = [
                FrozenLayer::new(numbers(inputs * hidden, 1), numbers(hidden, 2)),
                FrozenLayer::new(numbers(hidden * outputs, 3), numbers(outputs, 4)),
            ];
            let of_row: Vec<usize> = (0..300).map(|row| row / 130).collect();
            let (x, values) = (numbers(300 * varying, 5), numbers(3 * width, 6));
            let given = GivenRows { values: &values, width, of_row: &of_row };
            let ours = predict_beside(&layers, Activation::Tanh, &x, &given);
            let mut whole = Vec::new();
            for (row, own) in of_row.iter().enumerate() {
                whole.extend_from_slice(&x[row * varying..(row + 1) * varying]);
                whole.extend_from_slice(&values[own * width..(own + 1) * width]);
            }
            let plain = predict(&layers, Activation::Tanh, &whole);
            for (ours, plain) in ours.iter().zip(&plain) {
                // Sums of at most 67 terms below 1 in another order, twice: 67² · 2⁻²⁴, and 70 of them added.
                assert!((ours - plain).abs() < 70.0 * 67.0 * 67.0 * f32::EPSILON, "{ours} {plain}");
            }
            // A row has the same bits whatever rows come with it.
            let alone = GivenRows { of_row: &of_row[299..], ..given };
            let alone = predict_beside(&layers, Activation::Tanh, &x[299 * varying..], &alone);
            assert_eq!(alone, ours[299 * outputs..]);
        }
    }
}
