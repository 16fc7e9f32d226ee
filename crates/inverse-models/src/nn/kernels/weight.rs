//! The weight of a layer in training, and its gradient, as they lie in the parameters.
//!
//! A step moves every weight, so nothing packed would outlive it: the products take each number of the weight by itself
//! and a line of the batch beside it. Only the backward pass packs, a square at a time: a column's numbers lie far apart.
#![allow(clippy::inline_always, reason = "the vector unit holds only for what is inlined into its function")]

use pulp::{Arch, Simd, WithSimd};

use super::blocks::{Blocks, Terms};
use super::panels::{PANEL, PanelRow, TILE};
use super::product::{Pieces, add_terms, each, exact_rows, registers, store};

/// (outputs, inputs), row-major.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weight<'a> {
    pub(super) values: &'a [f32],
    pub(super) inputs: usize,
}

impl<'w> Weight<'w> {
    /// out = start + weight · right for the outputs of one chunk of 48: the forward pass.
    ///
    /// * `start`: (outputs of the chunk)
    /// * `right`: a line an input, of which `width` columns mean something
    /// * `out`: a line an output
    #[inline(never)] // A profile shows it by its name.
    pub(super) fn multiply(
        self,
        chunk: usize,
        start: &[f32],
        (right, width): (Terms<'_>, usize),
        out: &mut [PanelRow],
    ) {
        Arch::new().dispatch(self.forward(chunk, start, (right, width), out));
    }

    fn forward<'a>(
        self,
        chunk: usize,
        start: &'a [f32],
        (right, width): (Terms<'a>, usize),
        out: &'a mut [PanelRow],
    ) -> Forward<'a>
    where
        'w: 'a,
    {
        let values = &self.values[chunk * PANEL * self.inputs..];
        Forward { weight: Weight { values, ..self }, start, right, width, out }
    }

    /// out = weightᵀ · right for the inputs of one chunk of 48: the backward pass.
    ///
    /// * `right`: lines are outputs; from block `beside` on
    /// * `out`: a line an input, block after block
    #[inline(never)] // A profile shows it by its name.
    pub(super) fn multiply_transposed(
        self,
        chunk: usize,
        (right, beside): (&Blocks, usize),
        out: &mut [PanelRow],
    ) {
        Arch::new().dispatch(Backward { weight: self, first: chunk * PANEL, right, beside, out });
    }
}

/// The gradient of lines of the weight, gᵀ · input, and of the bias, Σ g.
///
/// * `gradient`: a line an output, 48 rows of each; the next 48 lie a block behind them
/// * `input`: lines are rows
/// * `of_weight`: (outputs, inputs), up to 48 outputs
/// * `of_bias`: (outputs), where it is wanted
#[inline(never)] // A profile shows it by its name.
pub(super) fn write_gradient(
    gradient: &[PanelRow],
    input: &Blocks,
    of_weight: &mut [f32],
    of_bias: Option<&mut [f32]>,
) {
    // Not last: a call at a function's end takes its place, and a profile would not show it.
    Arch::new().dispatch(Gradient { given: gradient, input, chunk: 0, of_weight });
    if let Some(of_bias) = of_bias {
        for (of_bias, first) in of_bias.chunks_mut(TILE).zip((0..).step_by(TILE)) {
            of_bias.copy_from_slice(&line_sums(&gradient[first..], input.rows())[..of_bias.len()]);
        }
    }
}

/// The sum of each line of a tile, in the order of its terms: eight sums at a time do not wait for each other.
fn line_sums(lines: &[PanelRow], count: usize) -> [f32; TILE] {
    let mut sums = [0.0; TILE];
    let segments = lines.chunks(PANEL).zip((0..count).step_by(PANEL));
    for (lines, first) in segments {
        let Some(lines) = lines.first_chunk::<TILE>() else { break };
        for term in 0..PANEL.min(count - first) {
            sums.iter_mut().zip(lines).for_each(|(sum, line)| *sum += line.0[term]);
        }
    }
    sums
}

struct Gradient<'a> {
    /// Of what the layer gives.
    given: &'a [PanelRow],
    input: &'a Blocks,
    /// Of the inputs.
    chunk: usize,
    of_weight: &'a mut [f32],
}

impl WithSimd for Gradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut product = self;
        let inputs = product.input.features();
        let outputs = product.of_weight.len() / inputs;
        for chunk in 0..inputs.div_ceil(PANEL) {
            product.chunk = chunk;
            exact_rows(simd, outputs, product.input.features_of(chunk), &mut product);
        }
    }
}

impl Pieces for Gradient<'_> {
    #[inline(always)]
    fn piece<S: Simd, const M: usize, const V: usize>(&mut self, simd: S, first: usize, column: usize) {
        let (inputs, width) = (self.input.features(), self.input.features_of(self.chunk));
        let mut sums = [[simd.splat_f32s(0.0); V]; M];
        let lines = &self.input.chunk(self.chunk)[..self.input.rows()];
        for (segment, right) in lines.chunks(PANEL).enumerate() {
            let (left, _) = self.given[segment * PANEL + first..].as_chunks::<M>();
            let Some(left) = left.first() else { return };
            add_terms!(simd, sums, right, column, |row, term| left[row].0[term]);
        }
        each!(row < M, |row| {
            let start = (first + row) * inputs + self.chunk * PANEL;
            let line = &mut self.of_weight[start + column..start + width];
            let (whole, rest) = S::as_mut_simd_f32s(line);
            each!(register < V, |register| match whole.get_mut(register) {
                Some(own) => *own = sums[row][register],
                None => simd.partial_store_f32s(rest, sums[row][register]),
            });
        });
    }
}

struct Forward<'a> {
    /// Its lines from the chunk's first on.
    weight: Weight<'a>,
    start: &'a [f32],
    right: Terms<'a>,
    width: usize,
    out: &'a mut [PanelRow],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut product = self;
        exact_rows(simd, product.start.len(), product.width, &mut product);
    }
}

impl Pieces for Forward<'_> {
    #[inline(always)]
    fn piece<S: Simd, const M: usize, const V: usize>(&mut self, simd: S, first: usize, column: usize) {
        let inputs = self.weight.inputs;
        let start = &self.start[first..first + M];
        let mut sums = [[simd.splat_f32s(0.0); V]; M];
        each!(row < M, |row| {
            let start = simd.splat_f32s(start[row]);
            each!(register < V, |register| sums[row][register] = start);
        });
        let mut lines: [&[f32]; M] = [&[]; M];
        let own = self.weight.values[first * inputs..(first + M) * inputs].chunks_exact(inputs);
        lines.iter_mut().zip(own).for_each(|(line, own)| *line = own);
        for right in self.right.segments() {
            if right.len() == PANEL {
                // A length that the compiler knows: no index is checked in the loop.
                let mut whole = [&[0.0; PANEL]; M];
                for (whole, line) in whole.iter_mut().zip(&mut lines) {
                    let Some((own, rest)) = line.split_first_chunk() else { return };
                    (*whole, *line) = (own, rest);
                }
                add_terms!(simd, sums, right, column, |row, term| whole[row][term]);
            } else {
                add_terms!(simd, sums, right, column, |row, term| lines[row][term]);
            }
        }
        store::<S, M, V>(&sums, column, &mut self.out[first..first + M]);
    }
}

struct Backward<'a> {
    weight: Weight<'a>,
    /// The first input.
    first: usize,
    right: &'a Blocks,
    /// Of the right factor's blocks, the first.
    beside: usize,
    out: &'a mut [PanelRow],
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let inputs = self.weight.inputs;
        let count = PANEL.min(inputs - self.first);
        // A square of the weight and of each block stay in the nearest cache; sums wait in `out` for their next terms.
        let mut packed = [PanelRow::ZERO; PANEL];
        for segment in 0..self.right.features().div_ceil(PANEL) {
            let terms = self.right.features_of(segment);
            let lines = self.weight.values[segment * PANEL * inputs..].chunks(inputs);
            for (packed, line) in packed.iter_mut().zip(lines).take(terms) {
                *packed = PanelRow::filled(&line[self.first..self.first + count]);
            }
            for (out, beside) in self.out.chunks_mut(PANEL).zip(self.beside..) {
                let right = &self.right.block(self.right.shape().index(segment, beside))[..terms];
                let mut part = Part { left: &packed, right, is_first: segment == 0, out };
                exact_rows(simd, count, self.right.rows_of(beside), &mut part);
            }
        }
    }
}

/// out = out + leftᵀ · right for up to 48 terms, or leftᵀ · right where they are the first.
struct Part<'a> {
    left: &'a [PanelRow; PANEL],
    right: &'a [PanelRow],
    is_first: bool,
    out: &'a mut [PanelRow],
}

impl Pieces for Part<'_> {
    #[inline(always)]
    fn piece<S: Simd, const M: usize, const V: usize>(&mut self, simd: S, first: usize, column: usize) {
        let out = &mut self.out[first..first + M];
        let mut sums = [[simd.splat_f32s(0.0); V]; M];
        if !self.is_first {
            each!(row < M, |row| {
                let Some(own) = registers::<S, V>(&out[row], column) else { return };
                sums[row] = *own;
            });
        }
        add_terms!(simd, sums, self.right, column, |row, term| self.left[term].0[first..][..M][row]);
        store::<S, M, V>(&sums, column, out);
    }
}

#[cfg(test)]
#[path = "weight_tests.rs"]
mod tests;
