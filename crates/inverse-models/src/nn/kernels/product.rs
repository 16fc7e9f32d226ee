//! The matrix product.
//!
//! Each entry is one sum in the order of its terms, fused multiply-adds one after the other, whatever the shapes, the
//! number of threads, and the vector unit: a row does not depend on which rows come with it, and the bits are the
//! same on every machine. Many entries at once, not parts of one sum, keep the vector unit busy.
#![allow(clippy::inline_always, reason = "the vector unit holds only for what is inlined into its function")]

use pulp::{Arch, Simd, WithSimd};

use super::panels::{PANEL, PanelMatrix, PanelRow, TILE};

/// Does something for each row of sums, or for each register of a row, up to the count.
///
/// A macro that writes each of them out: where a loop's index is no constant when the compiler decides what lies in
/// registers, the sums start, or end, in memory. Not for the terms, whose loops it unrolls in time: written out, they
/// run out of registers.
macro_rules! each {
    (row < $count:ident, |$index:ident| $body:expr) => { each!($count, $index, $body, 0 1 2 3 4 5 6 7) };
    (register < $count:ident, |$index:ident| $body:expr) => { each!($count, $index, $body, 0 1 2) };
    ($count:ident, $index:ident, $body:expr, $($value:literal)*) => {
        $(if $value < $count {
            let $index: usize = $value;
            $body
        })*
    };
}
pub(super) use each;

/// What the sums of a product start from.
#[derive(Clone, Copy)]
pub(super) enum Start<'a> {
    /// The same numbers in each row.
    Row(&'a PanelRow),
    /// What the output holds.
    Own,
}

/// out = start + left · right, for rows of one panel.
struct Panel<'a> {
    left: &'a PanelMatrix,
    /// The row of `left` that the first one of `out` belongs to.
    first: usize,
    /// The panel of the right factor: as many rows as `left` has columns.
    right: &'a [PanelRow],
    width: usize,
    start: Start<'a>,
    /// Whole tiles.
    out: &'a mut [PanelRow],
}

/// out = start + left · right for rows of one panel, from row `first` of `left` on.
///
/// * `right`: the panel of the right factor, of which `width` columns mean something; the rest of `out` is `start`
///   or not written
/// * `out`: whole tiles
#[inline(never)] // A profile shows it by its name.
pub(super) fn multiply(
    left: &PanelMatrix,
    first: usize,
    (right, width): (&[PanelRow], usize),
    start: Start<'_>,
    out: &mut [PanelRow],
) {
    Arch::new().dispatch(Panel { left, first, right, width, start, out });
}

impl WithSimd for Panel<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let tiles = self.out.len() / TILE;
        let mut panel = self;
        for first in (0..tiles).map(|tile| tile * TILE) {
            if panel.first + first + 1 == panel.left.rows() {
                by_columns::<S, 1>(simd, first, panel.width, &mut panel);
            } else {
                whole_tile(simd, first, panel.width, &mut panel);
            }
        }
    }
}

/// A product that is computed piece by piece.
pub(super) trait Pieces {
    /// Computes `M` rows of the output, from row `first` on, by `V` registers from a column on.
    fn piece<S: Simd, const M: usize, const V: usize>(&mut self, simd: S, first: usize, column: usize);
}

/// Numbers in a register of the widest vector unit.
const WIDEST: usize = 16;

/// Registers beside each other.
const BESIDE: usize = 3;

const HALF: usize = TILE / 2;

#[inline(always)]
fn lanes<S: Simd>() -> usize {
    size_of::<S::f32s>() / size_of::<f32>()
}

/// The first `width` columns of a tile of rows; half as many registers hold half as many rows.
#[inline(always)]
fn whole_tile<S: Simd>(simd: S, first: usize, width: usize, pieces: &mut impl Pieces) {
    if lanes::<S>() == WIDEST {
        by_columns::<S, TILE>(simd, first, width, pieces);
    } else {
        by_columns::<S, HALF>(simd, first, width, pieces);
        by_columns::<S, HALF>(simd, first + HALF, width, pieces);
    }
}

/// The first `width` columns of `count` rows, not one more.
#[inline(always)]
pub(super) fn exact_rows<S: Simd>(simd: S, count: usize, width: usize, pieces: &mut impl Pieces) {
    let mut first = 0;
    while count - first >= TILE {
        whole_tile(simd, first, width, pieces);
        first += TILE;
    }
    if count - first >= HALF {
        by_columns::<S, HALF>(simd, first, width, pieces);
        first += HALF;
    }
    if count - first >= 2 {
        by_columns::<S, 2>(simd, first, width, pieces);
        first += 2;
    }
    if count > first {
        by_columns::<S, 1>(simd, first, width, pieces);
    }
}

/// The first `width` columns of `M` rows.
#[inline(always)]
fn by_columns<S: Simd, const M: usize>(simd: S, first: usize, width: usize, pieces: &mut impl Pieces) {
    let mut column = 0;
    while column < width {
        let count = (width - column).div_ceil(lanes::<S>()).min(BESIDE);
        match count {
            1 => pieces.piece::<S, M, 1>(simd, first, column),
            2 => pieces.piece::<S, M, 2>(simd, first, column),
            _ => pieces.piece::<S, M, BESIDE>(simd, first, column),
        }
        column += count * lanes::<S>();
    }
}

/// `V` registers of a panel's row, from a column on.
///
/// A reference: an array of them goes through memory wherever the compiler does not inline what fills it.
#[inline(always)]
pub(super) fn registers<S: Simd, const V: usize>(row: &PanelRow, column: usize) -> Option<&[S::f32s; V]> {
    S::as_simd_f32s(&row.0[column..]).0.first_chunk()
}

#[inline(always)]
pub(super) fn store<S: Simd, const M: usize, const V: usize>(
    sums: &[[S::f32s; V]; M],
    column: usize,
    out: &mut [PanelRow],
) {
    let Some(out) = out.first_chunk_mut::<M>() else { return };
    each!(row < M, |row| {
        let (registers, _) = S::as_mut_simd_f32s(&mut out[row].0[column..]);
        let Some(registers) = registers.first_chunk_mut::<V>() else { return };
        *registers = sums[row];
    });
}

impl Pieces for Panel<'_> {
    #[inline(always)]
    fn piece<S: Simd, const M: usize, const V: usize>(&mut self, simd: S, first: usize, column: usize) {
        let out = &mut self.out[first..first + M];
        let mut sums = [[simd.splat_f32s(0.0); V]; M];
        each!(row < M, |row| {
            let start = match self.start {
                Start::Row(start) => start,
                Start::Own => &out[row],
            };
            let Some(start) = registers::<S, V>(start, column) else { return };
            sums[row] = *start;
        });
        for (panel, right) in self.right.chunks(PANEL).enumerate() {
            let (left, _) = self.left.part(panel, self.first + first, M).as_chunks::<M>();
            let Some(left) = left.first() else { return };
            add_terms!(simd, sums, right, column, |row, term| left[row].0[term]);
        }
        store::<S, M, V>(&sums, column, out);
    }
}

/// Adds factor · line of up to 48 terms to the sums of as many rows as there are factors.
///
/// A macro: where a function takes the sums, the compiler copies them in memory for each call.
macro_rules! add_terms {
    ($simd:ident, $sums:ident, $lines:expr, $column:ident, |$row:ident, $term:ident| $factor:expr) => {
        for ($term, line) in $lines.iter().enumerate().take(PANEL) {
            let Some(line) = registers::<S, V>(line, $column) else { return };
            for ($row, sums) in $sums.iter_mut().enumerate() {
                let factor = $simd.splat_f32s($factor);
                for (sum, line) in sums.iter_mut().zip(line) {
                    *sum = $simd.mul_add_f32s(factor, *line, *sum);
                }
            }
        }
    };
}
pub(super) use add_terms;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Numbers between −1 and 1.
    fn numbers(count: usize, salt: u32) -> Vec<f32> {
        (0..count as u32).map(|i| (((i * 37 + salt * 101) % 97) as f32 - 48.0) / 48.0).collect()
    }

    fn panels(values: &[f32], columns: usize) -> PanelMatrix {
        let mut matrix = PanelMatrix::default();
        matrix.copy(values, columns);
        matrix
    }

    /// The sum of one entry in the order that the kernel promises.
    fn in_order(start: f32, terms: impl Iterator<Item = (f32, f32)>) -> f32 {
        terms.fold(start, |sum, (left, right)| left.mul_add(right, sum))
    }

    /// Runs a product on every vector unit that the machine has; gives the outputs.
    fn on_every_unit(
        left: &PanelMatrix,
        right: &PanelMatrix,
        columns: usize,
        start: Start<'_>,
    ) -> Vec<Vec<f32>> {
        let run = |dispatch: &dyn Fn(Panel<'_>)| {
            let mut out = PanelMatrix::default();
            out.reshape(left.rows(), columns);
            for (panel, out) in out.panels_mut().enumerate() {
                let (width, right) = (right.width(panel), right.panel(panel));
                dispatch(Panel { left, first: 0, right, width, start, out });
            }
            out.to_rows()
        };
        let mut results = vec![run(&|panel| panel.with_simd(pulp::Scalar::new()))];
        results.push(run(&|panel| Arch::new().dispatch(panel)));
        #[cfg(target_arch = "x86_64")]
        if let Some(unit) = pulp::x86::V3::try_new() {
            results.push(run(&|panel| Simd::vectorize(unit, panel)));
        }
        results
    }

    proptest! {
        #[test]
        fn every_sum_has_its_order_on_every_vector_unit(
            rows in 1..40_usize,
            inner in 0..120_usize,
            columns in 1..120_usize,
            salt in 0..1000_u32,
        ) {
            let (a, b) = (numbers(rows * inner, salt), numbers(inner * columns, salt + 1));
            let (left, right) = (panels(&a, inner), panels(&b, columns));
            prop_assume!(inner > 0);
            let start = PanelRow([0.25; PANEL]);
            for result in on_every_unit(&left, &right, columns, Start::Row(&start)) {
                for row in 0..rows {
                    for column in 0..columns {
                        let terms = (0..inner).map(|k| (a[row * inner + k], b[k * columns + column]));
                        prop_assert_eq!(result[row * columns + column], in_order(0.25, terms));
                    }
                }
            }
        }
    }
}
