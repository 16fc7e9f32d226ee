//! Matrix products on slices: the one place with `unsafe` code.
#![allow(unsafe_code)]

use std::borrow::Cow;

use gemm::Parallelism;
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

/// Rows of a transpose that one task writes.
const BAND: usize = 64;

/// A borrowed matrix of any strides.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A row-major matrix with `columns` columns that fills `data`.
    pub(super) fn new(data: &'a [f32], columns: usize) -> Self {
        let rows = data.len().checked_div(columns).unwrap_or(0);
        assert_eq!(rows * columns, data.len(), "a matrix fills its slice");
        Self { data, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// The same numbers read as the transpose.
    pub(super) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// The columns from `start` on, `count` of them.
    pub(super) fn columns(self, start: usize, count: usize) -> Self {
        assert!(start + count <= self.columns, "columns exist");
        let offset = (start * self.column_stride).min(self.data.len());
        Self { data: &self.data[offset..], columns: count, ..self }
    }

    fn spans(&self) -> bool {
        let last = (self.rows.max(1) - 1) * self.row_stride + (self.columns.max(1) - 1) * self.column_stride;
        self.rows == 0 || self.columns == 0 || last < self.data.len()
    }
}

/// out = a · b, or out += a · b with `accumulate`, on one thread; `out` is row-major and full.
pub(super) fn multiply(out: &mut [f32], a: Matrix<'_>, b: Matrix<'_>, accumulate: bool) {
    assert_eq!(a.columns, b.rows, "inner dimensions agree");
    assert_eq!(out.len(), a.rows * b.columns, "the product fills its slice");
    assert!(a.spans() && b.spans(), "the factors lie inside their slices");
    if out.is_empty() {
        return;
    }
    let out_columns = b.columns;
    // SAFETY: the assertions above show that every element that the strides reach lies inside its slice,
    // and `out` is borrowed mutably, so it overlaps neither factor.
    unsafe {
        gemm::gemm(
            a.rows,
            out_columns,
            a.columns,
            out.as_mut_ptr(),
            1,
            out_columns as isize,
            accumulate,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// a · b on one thread, for any strides; its rounding depends on the numbers of rows and columns.
pub(crate) fn product(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) -> Array2<f32> {
    let (rows, columns) = (a.nrows(), b.ncols());
    if a.ncols() == 0 {
        // A slice without elements has forgotten how many rows there are.
        return Array2::zeros((rows, columns));
    }
    let mut out = vec![0.0; rows * columns];
    let (a, b) = (Flat::new(a), Flat::new(b));
    multiply(&mut out, a.matrix(), b.matrix(), false);
    // The buffer has the product's shape.
    Array2::from_shape_vec((rows, columns), out).unwrap_or_default()
}

/// An array as a slice: borrowed where it lies row by row or column by column, else copied.
struct Flat<'a> {
    data: Cow<'a, [f32]>,
    /// Of the slice, read row by row.
    columns: usize,
    is_transposed: bool,
}

impl<'a> Flat<'a> {
    fn new(array: ArrayView2<'a, f32>) -> Self {
        let is_transposed = !array.is_standard_layout() && array.t().is_standard_layout();
        let array = if is_transposed { array.reversed_axes() } else { array };
        let columns = array.ncols();
        let data = array.to_slice().map_or_else(|| array.iter().copied().collect(), Cow::Borrowed);
        Self { data, columns, is_transposed }
    }

    fn matrix(&self) -> Matrix<'_> {
        let matrix = Matrix::new(&self.data, self.columns);
        if self.is_transposed { matrix.transposed() } else { matrix }
    }
}

/// Side of the square that is turned at once: it fits into registers and a few lines of the cache.
const TILE: usize = 16;

/// Writes the transpose of a row-major matrix with `columns` columns.
///
/// A product copies a transposed factor as it goes, once for each block of rows, and at a row of 2ⁿ numbers every
/// step of that copy falls into the same few lines of the cache: the product takes twice as long. One copy for all
/// blocks costs less.
pub(super) fn transpose(values: &[f32], columns: usize, out: &mut [f32]) {
    assert_eq!(values.len(), out.len(), "the transpose has as many numbers");
    let rows = values.len().checked_div(columns).unwrap_or(0);
    out.par_chunks_mut((BAND * rows).max(1)).enumerate().for_each(|(band, out)| {
        let first = band * BAND;
        let count = out.len() / rows;
        for row in (0..rows).step_by(TILE) {
            let height = TILE.min(rows - row);
            for column in (0..count).step_by(TILE) {
                let width = TILE.min(count - column);
                let mut tile = [[0.0_f32; TILE]; TILE];
                for (index, line) in tile.iter_mut().enumerate().take(height) {
                    let start = (row + index) * columns + first + column;
                    line[..width].copy_from_slice(&values[start..start + width]);
                }
                for (index, line) in out[column * rows..].chunks_exact_mut(rows).take(width).enumerate() {
                    for (value, source) in line[row..row + height].iter_mut().zip(&tile) {
                        *value = source[index];
                    }
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use proptest::prelude::*;

    use super::*;

    fn plain(a: Matrix<'_>, b: Matrix<'_>) -> Vec<f32> {
        let at = |m: &Matrix<'_>, row: usize, column: usize| {
            f64::from(m.data[row * m.row_stride + column * m.column_stride])
        };
        let entry = |row, column| (0..a.columns).map(|k| at(&a, row, k) * at(&b, k, column)).sum::<f64>();
        (0..a.rows).flat_map(|row| (0..b.columns).map(move |column| entry(row, column) as f32)).collect()
    }

    fn turned(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
        (0..rows * columns).map(|index| values[index % rows * columns + index / rows]).collect()
    }

    #[test]
    fn a_transpose_has_rows_for_columns() {
        for (rows, columns) in [(1, 1), (1, 40), (33, 17), (16, 64), (70, 130), (0, 3)] {
            let values: Vec<f32> = (0..rows * columns).map(|index| index as f32).collect();
            let mut out = vec![-1.0; rows * columns];
            transpose(&values, columns, &mut out);
            for (index, value) in values.iter().enumerate() {
                assert_eq!(out[index % columns * rows + index / columns], *value);
            }
        }
    }

    proptest! {
        #[test]
        fn products_match_the_plain_sum(m in 1..40_usize, k in 0..40_usize, n in 1..40_usize, seed in 0..1000_u32) {
            let fill = |len: usize, salt: u32| -> Vec<f32> {
                (0..len as u32).map(|i| (((i * 37 + salt * 101 + seed) % 97) as f32 - 48.0) / 48.0).collect()
            };
            let (left, right) = (fill(m * k, 1), fill(k * n, 2));
            let a = Matrix { rows: m, columns: k, ..Matrix::new(&left, k) };
            let b = Matrix { rows: k, ..Matrix::new(&right, n) };
            let mut out = vec![1.0; m * n];
            multiply(&mut out, a, b, true);
            // Rounding grows by one unit a term: k · 2⁻²⁴, terms below 1.
            let tolerance = (k as f32 + 2.0) * k.max(1) as f32 * 6e-8;
            for (ours, expected) in out.iter().zip(plain(a, b)) {
                assert_abs_diff_eq!(*ours, expected + 1.0, epsilon = tolerance);
            }
            let transposed = a.transposed();
            let mut square = vec![0.0; k * k];
            multiply(&mut square, transposed, a, false);
            for (ours, expected) in square.iter().zip(plain(transposed, a)) {
                assert_abs_diff_eq!(*ours, expected, epsilon = (m as f32 + 2.0) * m as f32 * 6e-8);
            }
            let arrays = (
                Array2::from_shape_vec((k, m), turned(&left, m, k)).unwrap(),
                Array2::from_shape_vec((k, n), right.clone()).unwrap(),
            );
            let ours = product(arrays.0.t(), arrays.1.view());
            for (ours, expected) in ours.iter().zip(plain(a, b)) {
                assert_abs_diff_eq!(*ours, expected, epsilon = tolerance);
            }
            let part = b.columns(n / 2, n - n / 2);
            let mut narrow = vec![0.0; m * (n - n / 2)];
            multiply(&mut narrow, a, part, false);
            for (ours, expected) in narrow.iter().zip(plain(a, part)) {
                assert_abs_diff_eq!(*ours, expected, epsilon = tolerance);
            }
        }
    }
}
