//! The weight of a layer in training, and its gradient, as they lie in the parameters.
//!
//! A step moves every weight, so nothing packed would outlive it: the products take each number of the weight by itself
//! and a line of the batch beside it.
#![allow(clippy::inline_always, reason = "the vector unit holds only for what is inlined into its function")]

use pulp::{Arch, Simd, WithSimd};

use super::blocks::{Blocks, Terms};
use super::panels::{PANEL, PanelRow, TILE};
use super::product::{Pieces, add_terms, exact_rows, registers, store};

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
    /// * `right`: a line an output, of which `width` columns mean something
    /// * `out`: a line an input
    #[inline(never)] // A profile shows it by its name.
    pub(super) fn multiply_transposed(
        self,
        chunk: usize,
        (right, width): (Terms<'_>, usize),
        out: &mut [PanelRow],
    ) {
        Arch::new().dispatch(Backward { weight: self, first: chunk * PANEL, right, width, out });
    }
}

/// The gradient of a tile of the weight's lines, gᵀ · input, and of the bias, Σ g.
///
/// * `gradient`: a line an output, 48 rows of each; the next 48 lie a block behind them
/// * `input`: lines are rows
/// * `of_weight`: (outputs of the tile, inputs)
/// * `of_bias`: (outputs of the tile), where it is wanted
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
        of_bias.copy_from_slice(&line_sums(gradient, input.rows())[..of_bias.len()]);
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
        // Loops of a length that the compiler knows keep the sums in registers.
        for (row, sums) in sums.iter().enumerate() {
            let start = (first + row) * inputs + self.chunk * PANEL;
            let mut line = &mut self.of_weight[start + column..start + width];
            for sum in sums {
                let own;
                (own, line) = line.split_at_mut(line.len().min(size_of::<S::f32s>() / size_of::<f32>()));
                match S::as_mut_simd_f32s(own).0.first_mut() {
                    Some(own) => *own = *sum,
                    None => simd.partial_store_f32s(own, *sum),
                }
            }
        }
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
        for (sums, start) in sums.iter_mut().zip(start) {
            *sums = [simd.splat_f32s(*start); V];
        }
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
    right: Terms<'a>,
    width: usize,
    out: &'a mut [PanelRow],
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut product = self;
        let count = product.out.len().min(product.weight.inputs - product.first);
        exact_rows(simd, count, product.width, &mut product);
    }
}

impl Pieces for Backward<'_> {
    #[inline(always)]
    fn piece<S: Simd, const M: usize, const V: usize>(&mut self, simd: S, first: usize, column: usize) {
        let inputs = self.weight.inputs;
        let mut sums = [[simd.splat_f32s(0.0); V]; M];
        for (segment, right) in self.right.segments().enumerate() {
            let values = &self.weight.values[segment * PANEL * inputs + self.first + first..];
            add_terms!(simd, sums, right, column, |row, term| {
                if row == 0 {
                    fetch_ahead(values, (term + AHEAD) * inputs);
                }
                values[term * inputs..][..M][row]
            });
        }
        store::<S, M, V>(&sums, column, &mut self.out[first..first + M]);
    }
}

/// Lines of the weight ahead, each worth 24 multiply-adds of whole registers: some hundred cycles to answer in.
const AHEAD: usize = 16;

/// Asks for the line of the cache that holds a number: a column of the weight meets another one in each term, which
/// the processor does not foresee by itself.
#[inline(always)]
fn fetch_ahead(values: &[f32], index: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(value) = values.get(index) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        #[allow(
            unsafe_code,
            reason = "a prefetch reads and writes nothing, and the address is a reference's"
        )]
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (values, index);
}

#[cfg(test)]
#[path = "weight_tests.rs"]
mod tests;
