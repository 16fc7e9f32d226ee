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
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Numbers between −1 and 1.
    fn numbers(count: usize, salt: u32) -> Vec<f32> {
        (0..count as u32).map(|i| (((i * 37 + salt * 101) % 97) as f32 - 48.0) / 48.0).collect()
    }

    /// The sum of one entry in the order that the kernels promise.
    fn in_order(start: f32, terms: impl Iterator<Item = (f32, f32)>) -> f32 {
        terms.fold(start, |sum, (left, right)| left.mul_add(right, sum))
    }

    /// (lines are rows, lines are features).
    fn blocks(values: &[f32], columns: usize) -> (Blocks, Blocks) {
        let (mut rows, mut features) = (Blocks::default(), Blocks::default());
        rows.copy_rows(values, columns);
        features.turn(&rows);
        (rows, features)
    }

    /// Runs a product on one vector unit.
    type Dispatch<'a> = &'a dyn Fn(Product<'_>);

    /// Runs what products are checked by for every vector unit that the machine has.
    fn on_every_unit(run: &dyn Fn(Dispatch<'_>)) {
        run(&|product| product.run(pulp::Scalar::new()));
        run(&|product| Arch::new().dispatch(product));
        #[cfg(target_arch = "x86_64")]
        if let Some(unit) = pulp::x86::V3::try_new() {
            run(&|product| Simd::vectorize(unit, product));
        }
    }

    enum Product<'a> {
        Forward(Forward<'a>),
        Backward(Backward<'a>),
        Gradient(Gradient<'a>),
    }

    impl Product<'_> {
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) {
            match self {
                Self::Forward(product) => product.with_simd(simd),
                Self::Backward(product) => product.with_simd(simd),
                Self::Gradient(product) => product.with_simd(simd),
            }
        }
    }

    impl WithSimd for Product<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            self.run(simd);
        }
    }

    /// A layer's numbers: its weight and bias, what it reads, and the gradient of what it writes.
    struct Case {
        rows: usize,
        inputs: usize,
        outputs: usize,
        weight: Vec<f32>,
        bias: Vec<f32>,
        x: Vec<f32>,
        gradient: Vec<f32>,
    }

    impl Case {
        fn new((rows, inputs, outputs): (usize, usize, usize), salt: u32) -> Self {
            let (weight, bias) = (numbers(outputs * inputs, salt), numbers(outputs, salt + 1));
            let (x, gradient) = (numbers(rows * inputs, salt + 2), numbers(rows * outputs, salt + 3));
            Self { rows, inputs, outputs, weight, bias, x, gradient }
        }

        fn weight(&self) -> Weight<'_> {
            Weight { values: &self.weight, inputs: self.inputs }
        }

        /// Runs `check` with the places of all blocks: the chunk of features, and the block among the rows.
        fn each_block(&self, features: usize, mut check: impl FnMut(usize, usize)) {
            for chunk in 0..features.div_ceil(PANEL) {
                (0..self.rows.div_ceil(PANEL)).for_each(|beside| check(chunk, beside));
            }
        }

        fn check_forward(&self, dispatch: Dispatch<'_>) {
            let (_, x) = blocks(&self.x, self.inputs);
            self.each_block(self.outputs, |chunk, beside| {
                let bias = &self.bias[chunk * PANEL..self.outputs.min((chunk + 1) * PANEL)];
                let (right, mut out) =
                    ((x.over_features(beside), x.rows_of(beside)), [PanelRow::ZERO; PANEL]);
                dispatch(Product::Forward(self.weight().forward(chunk, bias, right, &mut out)));
                for (line, (sums, bias)) in out.iter().zip(bias).enumerate() {
                    let weight = &self.weight[(chunk * PANEL + line) * self.inputs..][..self.inputs];
                    for (sum, x) in sums.0.iter().zip(self.x.chunks(self.inputs).skip(beside * PANEL)) {
                        assert_eq!(*sum, in_order(*bias, weight.iter().copied().zip(x.iter().copied())));
                    }
                }
            });
        }

        fn check_backward(&self, dispatch: Dispatch<'_>) {
            let (_, gradient) = blocks(&self.gradient, self.outputs);
            self.each_block(self.inputs, |chunk, beside| {
                let (right, width) = (gradient.over_features(beside), gradient.rows_of(beside));
                let (weight, first, mut out) = (self.weight(), chunk * PANEL, [PanelRow::ZERO; PANEL]);
                dispatch(Product::Backward(Backward { weight, first, right, width, out: &mut out }));
                for (input, sums) in (first..self.inputs).zip(&out) {
                    let rows = self.gradient.chunks(self.outputs).skip(beside * PANEL);
                    for (sum, gradient) in sums.0.iter().zip(rows) {
                        let weight = self.weight.iter().skip(input).step_by(self.inputs);
                        assert_eq!(*sum, in_order(0.0, weight.copied().zip(gradient.iter().copied())));
                    }
                }
            });
        }

        fn check_gradient(&self, dispatch: Dispatch<'_>) {
            let ((input, _), (_, gradient)) =
                (blocks(&self.x, self.inputs), blocks(&self.gradient, self.outputs));
            for start in (0..self.outputs).step_by(TILE) {
                let gradient = &gradient.chunk(start / PANEL)[start % PANEL..];
                let mut of_weight = vec![f32::NAN; TILE.min(self.outputs - start) * self.inputs];
                let product =
                    Gradient { given: gradient, input: &input, chunk: 0, of_weight: &mut of_weight };
                dispatch(Product::Gradient(product));
                let sums = line_sums(gradient, self.rows);
                for (line, of_weight) in of_weight.chunks(self.inputs).enumerate() {
                    let own = || self.gradient.iter().skip(start + line).step_by(self.outputs).copied();
                    assert_eq!(sums[line], own().fold(0.0, |sum, value| sum + value));
                    for (input, value) in of_weight.iter().enumerate() {
                        let x = self.x.iter().skip(input).step_by(self.inputs);
                        assert_eq!(*value, in_order(0.0, own().zip(x.copied())));
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn every_sum_has_its_order_on_every_vector_unit(
            rows in 1..110_usize,
            inputs in 1..110_usize,
            outputs in 1..110_usize,
            salt in 0..1000_u32,
        ) {
            let case = Case::new((rows, inputs, outputs), salt);
            on_every_unit(&|dispatch| {
                case.check_forward(dispatch);
                case.check_backward(dispatch);
                case.check_gradient(dispatch);
            });
        }
    }
}
