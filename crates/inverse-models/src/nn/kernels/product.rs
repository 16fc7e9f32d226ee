//! The matrix product.
//!
//! Each entry is one sum in the order of its terms, fused multiply-adds one after the other, whatever the shapes, the
//! number of threads, and the vector unit: a row does not depend on which rows come with it, and the bits are the
//! same on every machine. Many entries at once, not parts of one sum, keep the vector unit busy.
#![allow(clippy::inline_always, reason = "the vector unit holds only for what is inlined into its function")]

use pulp::{Arch, Simd, WithSimd};

use super::panels::{PANEL, PanelMatrix, PanelRow, TILE};

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
        let Self { left, first, right, width, start, out } = self;
        for (index, out) in out.chunks_exact_mut(TILE).enumerate() {
            let first = first + index * TILE;
            let only = first + 1 == left.rows();
            if only {
                by_columns::<S>(
                    width,
                    #[inline(always)]
                    |columns, count| {
                        let factors = (left, first, right);
                        match count {
                            1 => rows::<S, 1, 1>(simd, factors, columns, start, out),
                            2 => rows::<S, 1, 2>(simd, factors, columns, start, out),
                            _ => rows::<S, 1, 3>(simd, factors, columns, start, out),
                        }
                    },
                );
            } else if lanes::<S>() == WIDEST {
                by_columns::<S>(
                    width,
                    #[inline(always)]
                    |columns, count| {
                        let factors = (left, first, right);
                        match count {
                            1 => rows::<S, TILE, 1>(simd, factors, columns, start, out),
                            2 => rows::<S, TILE, 2>(simd, factors, columns, start, out),
                            _ => rows::<S, TILE, 3>(simd, factors, columns, start, out),
                        }
                    },
                );
            } else {
                // Half as many registers hold half as many rows.
                for (index, out) in out.chunks_exact_mut(HALF).enumerate() {
                    by_columns::<S>(
                        width,
                        #[inline(always)]
                        |columns, count| {
                            let factors = (left, first + index * HALF, right);
                            match count {
                                1 => rows::<S, HALF, 1>(simd, factors, columns, start, out),
                                2 => rows::<S, HALF, 2>(simd, factors, columns, start, out),
                                _ => rows::<S, HALF, 3>(simd, factors, columns, start, out),
                            }
                        },
                    );
                }
            }
        }
    }
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

/// Calls `tile` with the first column and the number of registers (at most three) until `width` columns are done.
#[inline(always)]
fn by_columns<S: Simd>(width: usize, mut tile: impl FnMut(usize, usize)) {
    let mut column = 0;
    while column < width {
        let count = (width - column).div_ceil(lanes::<S>()).min(BESIDE);
        tile(column, count);
        column += count * lanes::<S>();
    }
}

/// `V` registers of a panel's row, from a column on.
#[inline(always)]
fn load<S: Simd, const V: usize>(row: &PanelRow, column: usize) -> [S::f32s; V] {
    let (registers, _) = S::as_simd_f32s(&row.0[column..]);
    std::array::from_fn(|index| registers[index])
}

#[inline(always)]
fn store<S: Simd, const M: usize, const V: usize>(
    sums: &[[S::f32s; V]; M],
    column: usize,
    out: &mut [PanelRow],
) {
    for (row, sums) in out.iter_mut().zip(sums) {
        let (registers, _) = S::as_mut_simd_f32s(&mut row.0[column..]);
        registers[..V].copy_from_slice(sums);
    }
}

/// `M` rows by `V` registers of left · right.
#[inline(always)]
fn rows<S: Simd, const M: usize, const V: usize>(
    simd: S,
    (left, first, right): (&PanelMatrix, usize, &[PanelRow]),
    column: usize,
    start: Start<'_>,
    out: &mut [PanelRow],
) {
    let mut sums: [[S::f32s; V]; M] = std::array::from_fn(|row| match start {
        Start::Row(start) => load::<S, V>(start, column),
        Start::Own => load::<S, V>(&out[row], column),
    });
    for (panel, right) in right.chunks(PANEL).enumerate() {
        let (left, _) = left.part(panel, first, M).as_chunks::<M>();
        let Some(left) = left.first() else { return };
        for (term, right) in right.iter().enumerate().take(PANEL) {
            let right = load::<S, V>(right, column);
            for (sums, left) in sums.iter_mut().zip(left) {
                let factor = simd.splat_f32s(left.0[term]);
                for (sum, right) in sums.iter_mut().zip(right) {
                    *sum = simd.mul_add_f32s(factor, right, *sum);
                }
            }
        }
    }
    store::<S, M, V>(&sums, column, out);
}

/// out = leftᵀ · right, for one tile of columns of `left` and one panel of `right`.
struct Transposed<'a> {
    left: &'a [PanelRow],
    first: usize,
    right: &'a [PanelRow],
    width: usize,
    out: &'a mut [PanelRow; TILE],
}

/// out = leftᵀ · right, for the tile of columns of `left` from `first` on and the first `width` columns of `right`.
///
/// * `left`, `right`: one panel each, of as many rows
#[inline(never)] // A profile shows it by its name.
pub(super) fn multiply_transposed(
    left: &[PanelRow],
    first: usize,
    (right, width): (&[PanelRow], usize),
    out: &mut [PanelRow; TILE],
) {
    Arch::new().dispatch(Transposed { left, first, right, width, out });
}

impl WithSimd for Transposed<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { left, first, right, width, out } = self;
        if lanes::<S>() == WIDEST {
            by_columns::<S>(
                width,
                #[inline(always)]
                |columns, count| {
                    let factors = (left, first, right);
                    match count {
                        1 => columns_of::<S, TILE, 1>(simd, factors, columns, out),
                        2 => columns_of::<S, TILE, 2>(simd, factors, columns, out),
                        _ => columns_of::<S, TILE, 3>(simd, factors, columns, out),
                    }
                },
            );
        } else {
            for (index, out) in out.chunks_exact_mut(HALF).enumerate() {
                by_columns::<S>(
                    width,
                    #[inline(always)]
                    |columns, count| {
                        let factors = (left, first + index * HALF, right);
                        match count {
                            1 => columns_of::<S, HALF, 1>(simd, factors, columns, out),
                            2 => columns_of::<S, HALF, 2>(simd, factors, columns, out),
                            _ => columns_of::<S, HALF, 3>(simd, factors, columns, out),
                        }
                    },
                );
            }
        }
    }
}

/// `M` columns of `left` by `V` registers of leftᵀ · right.
#[inline(always)]
fn columns_of<S: Simd, const M: usize, const V: usize>(
    simd: S,
    (left, first, right): (&[PanelRow], usize, &[PanelRow]),
    column: usize,
    out: &mut [PanelRow],
) {
    let mut sums = [[simd.splat_f32s(0.0); V]; M];
    for (left, right) in left.iter().zip(right) {
        let right = load::<S, V>(right, column);
        let factors: [f32; M] = std::array::from_fn(|index| left.0[first..first + M][index]);
        for (sums, factor) in sums.iter_mut().zip(factors) {
            let factor = simd.splat_f32s(factor);
            for (sum, right) in sums.iter_mut().zip(right) {
                *sum = simd.mul_add_f32s(factor, right, *sum);
            }
        }
    }
    store::<S, M, V>(&sums, column, out);
}

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
            // aᵀ · c, for a c with a's rows.
            let c = numbers(rows * columns, salt + 2);
            let right = panels(&c, columns);
            for panel in 0..columns.div_ceil(PANEL) {
                for first in (0..inner).step_by(TILE) {
                    let mut out = [PanelRow::ZERO; TILE];
                    let (of_left, first) = (left.panel(first / PANEL), first % PANEL);
                    multiply_transposed(of_left, first, (right.panel(panel), right.width(panel)), &mut out);
                    for (place, out) in out.iter().enumerate() {
                        for (column, value) in right.range(panel).zip(out.0) {
                            let terms =
                                (0..rows).map(|row| (of_left[row].0[first + place], c[row * columns + column]));
                            prop_assert_eq!(value, in_order(0.0, terms));
                        }
                    }
                }
            }
        }
    }
}
