//! A batch in training: blocks of 48 features by 48 rows.
//!
//! The vector unit works on numbers that lie together. In the forward and the backward pass those are one feature's
//! numbers of many rows, in the gradient of the weights one row's numbers of many features; then the products read the
//! weights, or write their gradient, as they lie, but for squares that the backward pass packs. So a step turns
//! activations, block by block in the nearest cache, where it would else write packed copies of all weights to memory.
#![allow(clippy::inline_always, reason = "the vector unit holds only for what is inlined into its function")]

use rayon::prelude::*;

use super::panels::{PANEL, PanelRow, SQUARE, copy_panel, flat_mut, turn_square};

/// The lines of a right factor, a term's each; 48 of them lie together.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a> {
    lines: &'a [PanelRow],
    /// From the first line of 48 to that of the next 48.
    step: usize,
    count: usize,
}

impl<'a> Terms<'a> {
    /// The lines, 48 and at the end fewer at a time.
    #[inline(always)]
    pub(super) fn segments(self) -> impl Iterator<Item = &'a [PanelRow]> {
        (0..self.count.div_ceil(PANEL)).map(move |segment| {
            let start = segment * self.step;
            &self.lines[start..start + PANEL.min(self.count - segment * PANEL)]
        })
    }
}

/// A matrix of `f32` of a batch in square blocks: the blocks of 48 features one after the other, each of those with
/// the blocks of all rows.
///
/// A block's lines are features or rows, which the name of a matrix says. Numbers beyond the last feature or row mean
/// nothing.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    shape: BlockShape,
    /// At least as many lines as the shape takes: a smaller shape keeps them.
    values: Vec<PanelRow>,
}

/// Where the numbers of a matrix in blocks lie.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct BlockShape {
    rows: usize,
    features: usize,
}

impl BlockShape {
    /// Blocks beside each other: all rows of 48 features.
    fn beside(self) -> usize {
        self.rows.div_ceil(PANEL)
    }

    /// Lines of all rows of 48 features.
    fn chunk_lines(self) -> usize {
        self.beside() * PANEL
    }

    fn lines(self) -> usize {
        self.chunk_lines() * self.features.div_ceil(PANEL)
    }

    /// Where a block lies: its chunk of features, and its place among the blocks of the rows.
    pub(super) fn place(self, index: usize) -> (usize, usize) {
        (index / self.beside(), index % self.beside())
    }

    /// Which block lies at a place.
    pub(super) fn index(self, chunk: usize, beside: usize) -> usize {
        chunk * self.beside() + beside
    }

    /// Features of a chunk that mean something.
    pub(super) fn features_of(self, chunk: usize) -> usize {
        PANEL.min(self.features - chunk * PANEL)
    }

    /// Rows of a block that mean something.
    pub(super) fn rows_of(self, beside: usize) -> usize {
        PANEL.min(self.rows - beside * PANEL)
    }
}

impl Blocks {
    /// Gives the matrix another shape; its numbers mean nothing until they are written.
    pub(super) fn reshape(&mut self, rows: usize, features: usize) {
        self.shape = BlockShape { rows, features };
        let lines = self.shape.lines();
        if self.values.len() < lines {
            self.values.resize(lines, PanelRow::ZERO);
        }
    }

    pub(super) fn shape(&self) -> BlockShape {
        self.shape
    }

    pub(super) fn rows(&self) -> usize {
        self.shape.rows
    }

    pub(super) fn features(&self) -> usize {
        self.shape.features
    }

    /// Features of a chunk that mean something.
    pub(super) fn features_of(&self, chunk: usize) -> usize {
        self.shape.features_of(chunk)
    }

    /// Rows of a block that mean something.
    pub(super) fn rows_of(&self, beside: usize) -> usize {
        self.shape.rows_of(beside)
    }

    /// The blocks, each for a task.
    pub(super) fn par_blocks_mut(&mut self) -> rayon::slice::ChunksExactMut<'_, PanelRow> {
        let lines = self.shape.lines();
        self.values[..lines].par_chunks_exact_mut(PANEL)
    }

    /// The blocks of one chunk of features after the other, each chunk for a task.
    pub(super) fn par_chunks_mut(&mut self) -> rayon::slice::ChunksExactMut<'_, PanelRow> {
        let (lines, of_chunk) = (self.shape.lines(), self.shape.chunk_lines().max(1));
        self.values[..lines].par_chunks_exact_mut(of_chunk)
    }

    pub(super) fn block(&self, index: usize) -> &[PanelRow] {
        &self.values[index * PANEL..(index + 1) * PANEL]
    }

    /// The blocks of one chunk; where lines are rows, all rows one after the other.
    pub(super) fn chunk(&self, chunk: usize) -> &[PanelRow] {
        let lines = self.shape.chunk_lines();
        &self.values[chunk * lines..(chunk + 1) * lines]
    }

    /// The right factor of a sum over all features, for the rows of one block; lines are features.
    pub(super) fn over_features(&self, beside: usize) -> Terms<'_> {
        Terms {
            lines: &self.values[beside * PANEL..],
            step: self.shape.chunk_lines(),
            count: self.shape.features,
        }
    }

    /// Becomes the row-major matrix `values` with `columns` columns; lines are rows.
    pub(super) fn copy_rows(&mut self, values: &[f32], columns: usize) {
        self.reshape(values.len().checked_div(columns).unwrap_or(0), columns);
        self.par_chunks_mut()
            .enumerate()
            .for_each(|(chunk, lines)| copy_panel(values, columns, chunk, lines));
    }

    /// All numbers, those that mean nothing among them.
    pub(super) fn numbers_mut(&mut self) -> &mut [f32] {
        let lines = self.shape.lines();
        flat_mut(&mut self.values[..lines])
    }

    /// Becomes a matrix whose lines are features of one whose lines are rows.
    pub(super) fn turn(&mut self, of_rows: &Self) {
        let shape = of_rows.shape;
        self.reshape(shape.rows, shape.features);
        self.par_blocks_mut().enumerate().for_each(|(index, block)| {
            let (_, beside) = shape.place(index);
            turn_block(of_rows.block(index), shape.rows_of(beside), block);
        });
    }

    /// The numbers row by row; lines are features.
    pub(super) fn to_rows(&self) -> Vec<f32> {
        let shape = self.shape;
        let mut values = vec![0.0; shape.rows * shape.features];
        let columns = shape.features.max(1);
        values.par_chunks_mut(PANEL * columns).enumerate().for_each(|(beside, rows)| {
            let mut turned = [PanelRow::ZERO; PANEL];
            for chunk in 0..shape.features.div_ceil(PANEL) {
                let (first, width) = (chunk * PANEL, shape.features_of(chunk));
                turn_block(self.block(chunk * shape.beside() + beside), width, &mut turned);
                for (row, turned) in rows.chunks_exact_mut(columns).zip(&turned) {
                    turned.write(&mut row[first..first + width]);
                }
            }
        });
        values
    }
}

/// The first `count` lines of a block become the first columns of another.
#[inline(never)] // A profile shows it by its name.
pub(super) fn turn_block(from: &[PanelRow], count: usize, to: &mut [PanelRow]) {
    #[cfg(target_arch = "x86_64")]
    if let Some(unit) = pulp::x86::V3::try_new() {
        let turn = EightByEight { unit, from, count, to };
        return pulp::Simd::vectorize(unit, turn);
    }
    turn_by_fours(from, count, to);
}

fn turn_by_fours(from: &[PanelRow], count: usize, to: &mut [PanelRow]) {
    let from = from.as_chunks::<SQUARE>().0.iter().take(count.div_ceil(SQUARE));
    for (lines, place) in from.zip((0..).step_by(SQUARE)) {
        for (to, column) in to.as_chunks_mut::<SQUARE>().0.iter_mut().zip((0..PANEL).step_by(SQUARE)) {
            let [a, b, c, d] = lines.each_ref().map(|line| line.0.as_chunks::<SQUARE>().0[column / SQUARE]);
            turn_square([a, b, c, d], place, to);
        }
    }
}

/// [`turn_block`] by registers of eight numbers, which no loop becomes.
#[cfg(target_arch = "x86_64")]
struct EightByEight<'a> {
    unit: pulp::x86::V3,
    from: &'a [PanelRow],
    count: usize,
    to: &'a mut [PanelRow],
}

#[cfg(target_arch = "x86_64")]
impl pulp::NullaryFnOnce for EightByEight<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let from = self.from.as_chunks::<8>().0.iter().take(self.count.div_ceil(8));
        for (group, lines) in from.enumerate() {
            for (column, to) in self.to.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                let mut square = [bytemuck::Zeroable::zeroed(); 8];
                for (own, line) in square.iter_mut().zip(lines) {
                    *own = bytemuck::cast(line.0.as_chunks::<8>().0[column]);
                }
                for (own, line) in turned(self.unit, square).iter().zip(to) {
                    line.0.as_chunks_mut::<8>().0[group] = bytemuck::cast(*own);
                }
            }
        }
    }
}

/// The transpose of an eight by eight square: pairs, fours and eights of rows are interleaved.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn turned(unit: pulp::x86::V3, rows: [pulp::f32x8; 8]) -> [pulp::f32x8; 8] {
    use bytemuck::cast;
    let avx = unit.avx;
    let [a, b, c, d, e, f, g, h] = rows;
    let pairs = |a, b| (avx._mm256_unpacklo_ps(cast(a), cast(b)), avx._mm256_unpackhi_ps(cast(a), cast(b)));
    let ((ab, ab_high), (cd, cd_high)) = (pairs(a, b), pairs(c, d));
    let ((ef, ef_high), (gh, gh_high)) = (pairs(e, f), pairs(g, h));
    let fours =
        |a, b| (avx._mm256_shuffle_ps::<0b0100_0100>(a, b), avx._mm256_shuffle_ps::<0b1110_1110>(a, b));
    let ((a, b), (c, d)) = (fours(ab, cd), fours(ab_high, cd_high));
    let ((e, f), (g, h)) = (fours(ef, gh), fours(ef_high, gh_high));
    let low = |a, b| cast(avx._mm256_permute2f128_ps::<0x20>(a, b));
    let high = |a, b| cast(avx._mm256_permute2f128_ps::<0x31>(a, b));
    [low(a, e), low(b, f), low(c, g), low(d, h), high(a, e), high(b, f), high(c, g), high(d, h)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_by_fours_is_that_of_the_vector_unit() {
        let line = |line: usize| PanelRow(std::array::from_fn(|place| (line * PANEL + place) as f32));
        let from: [PanelRow; PANEL] = std::array::from_fn(line);
        for count in [1, 4, 9, 47, PANEL] {
            let (mut ours, mut plain) = ([PanelRow::ZERO; PANEL], [PanelRow::ZERO; PANEL]);
            turn_block(&from, count, &mut ours);
            turn_by_fours(&from, count, &mut plain);
            for (place, lines) in ours.iter().zip(&plain).enumerate() {
                for (line, from) in from.iter().enumerate().take(count) {
                    assert_eq!((lines.0.0[line], lines.1.0[line]), (from.0[place], from.0[place]));
                }
            }
        }
    }

    #[test]
    fn rows_come_back_after_a_turn() {
        let (mut rows, mut features) = (Blocks::default(), Blocks::default());
        // The first is the largest: what it leaves must not shine through.
        for (count, columns) in [(300, 150), (1, 1), (1, 100), (9, 48), (17, 49), (130, 7), (48, 48), (0, 5)]
        {
            let values: Vec<f32> = (0..count * columns).map(|index| index as f32 + 1.0).collect();
            rows.copy_rows(&values, columns);
            features.turn(&rows);
            assert_eq!(features.to_rows(), values);
            for beside in 0..count.div_ceil(PANEL) {
                let lines: Vec<_> = features.over_features(beside).segments().flatten().collect();
                assert_eq!(lines.len(), columns);
                for (feature, line) in lines.iter().enumerate() {
                    for (row, value) in line.0.iter().enumerate().take(features.rows_of(beside)) {
                        assert_eq!(*value, values[(beside * PANEL + row) * columns + feature]);
                    }
                }
            }
        }
    }
}
