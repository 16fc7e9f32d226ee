//! Matrices as the product kernel reads them: columns in panels, of which each row lies together.
//!
//! A product then reads both of its factors from the first number to the last, an elementwise pass has no remainder,
//! and what one thread writes is a slice of its own.
#![allow(
    clippy::inline_always,
    reason = "a copy of known length is inlined where the vector unit is known too"
)]

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::vector_unit::vectorized;

/// Columns a panel: three registers of the widest vector unit, 24 sums of eight rows in flight.
pub(super) const PANEL: usize = 48;

/// Rows that the kernel computes at once; a matrix has as many times as many, of which the last may mean nothing.
pub(super) const TILE: usize = 8;

/// One row of one panel.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub(super) struct PanelRow(pub(super) [f32; PANEL]);

impl PanelRow {
    pub(super) const ZERO: Self = Self([0.0; PANEL]);

    /// Up to a panel of numbers, with zeros behind them.
    #[inline(always)]
    pub(super) fn filled(values: &[f32]) -> Self {
        // A length that the compiler knows makes a copy three instructions instead of a call.
        if let Ok(values) = values.try_into() {
            return Self(values);
        }
        let mut row = Self::ZERO;
        copy_short(values, &mut row.0);
        row
    }

    /// Writes as many of its first numbers as there are places.
    #[inline(always)]
    pub(super) fn write(&self, out: &mut [f32]) {
        if let Ok(out) = <&mut [f32; PANEL]>::try_from(&mut *out) {
            *out = self.0;
        } else {
            let count = out.len().min(PANEL);
            copy_short(&self.0[..count], out);
        }
    }
}

/// Copies fewer numbers than a panel has; a call for so few takes longer than the copy.
#[inline(always)]
fn copy_short(mut from: &[f32], mut to: &mut [f32]) {
    /// The first `N` numbers, where there are as many; gives what is left.
    #[inline(always)]
    fn copy_first<'a, 'b, const N: usize>(from: &'a [f32], to: &'b mut [f32]) -> (&'a [f32], &'b mut [f32]) {
        match from.split_first_chunk::<N>() {
            Some((first, from)) if to.len() >= N => {
                let (place, to) = to.split_at_mut(N);
                place.copy_from_slice(first);
                (from, to)
            }
            _ => (from, to),
        }
    }
    (from, to) = copy_first::<32>(from, to);
    (from, to) = copy_first::<16>(from, to);
    (from, to) = copy_first::<8>(from, to);
    (from, to) = copy_first::<4>(from, to);
    (from, to) = copy_first::<2>(from, to);
    copy_first::<1>(from, to);
}

/// The numbers of rows, one behind the other: a loop over them alone becomes the vector code that one would write.
pub(super) fn flat(rows: &[PanelRow]) -> &[f32] {
    bytemuck::cast_slice(rows)
}

pub(super) fn flat_mut(rows: &mut [PanelRow]) -> &mut [f32] {
    bytemuck::cast_slice_mut(rows)
}

/// A matrix of `f32` in panels; columns that only fill its last panel up are 0 in what is copied here.
#[derive(Debug, Clone, Default)]
pub(crate) struct PanelMatrix {
    rows: usize,
    columns: usize,
    /// Panel after panel, each with [`PanelMatrix::height`] rows.
    values: Vec<PanelRow>,
}

impl PanelMatrix {
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// Rows a panel, those included that only fill its last tile.
    pub(super) fn height(&self) -> usize {
        self.rows.next_multiple_of(TILE)
    }

    /// Gives the matrix another shape; its numbers mean nothing until they are written.
    pub(super) fn reshape(&mut self, rows: usize, columns: usize) {
        (self.rows, self.columns) = (rows, columns);
        self.values.resize(self.height() * columns.div_ceil(PANEL), PanelRow::ZERO);
    }

    /// Columns of one panel that mean something.
    pub(super) fn width(&self, panel: usize) -> usize {
        PANEL.min(self.columns - panel * PANEL)
    }

    /// The columns of one panel that mean something.
    pub(super) fn range(&self, panel: usize) -> std::ops::Range<usize> {
        panel * PANEL..panel * PANEL + self.width(panel)
    }

    /// The rows of one panel that mean something.
    pub(super) fn panel(&self, panel: usize) -> &[PanelRow] {
        let start = panel * self.height();
        &self.values[start..start + self.rows]
    }

    /// `count` rows of one panel, from `first` on; some may only fill a tile.
    pub(super) fn part(&self, panel: usize, first: usize, count: usize) -> &[PanelRow] {
        let start = panel * self.height() + first;
        &self.values[start..start + count]
    }

    /// The panels, each with all its rows.
    pub(super) fn panels_mut(&mut self) -> std::slice::ChunksExactMut<'_, PanelRow> {
        let height = self.height().max(1);
        self.values.chunks_exact_mut(height)
    }

    /// The panels for as many tasks.
    pub(super) fn par_panels_mut(&mut self) -> rayon::slice::ChunksExactMut<'_, PanelRow> {
        let height = self.height().max(1);
        self.values.par_chunks_exact_mut(height)
    }

    /// Becomes the row-major matrix `values` with `columns` columns.
    pub(super) fn copy(&mut self, values: &[f32], columns: usize) {
        self.reshape(values.len().checked_div(columns).unwrap_or(0), columns);
        self.panels_mut().enumerate().for_each(|(panel, rows)| copy_panel(values, columns, panel, rows));
    }

    /// Becomes the transpose of the row-major matrix `values` with `columns` columns, on all threads.
    pub(super) fn par_copy_transposed(&mut self, values: &[f32], columns: usize) {
        self.reshape(columns, values.len().checked_div(columns).unwrap_or(0));
        let panels = self.par_panels_mut().zip(values.par_chunks(PANEL * columns.max(1)));
        panels.for_each(|(rows, lines)| turn_panel(lines, columns, rows));
    }

    /// Writes the numbers that mean something row by row.
    pub(super) fn write(&self, out: &mut [f32]) {
        let columns = self.columns.max(1);
        vectorized(
            #[inline(always)]
            || {
                for panel in 0..self.columns.div_ceil(PANEL) {
                    let range = self.range(panel);
                    for (out, row) in out.chunks_exact_mut(columns).zip(self.panel(panel)) {
                        row.write(&mut out[range.clone()]);
                    }
                }
            },
        );
    }

    /// The numbers that mean something, row-major.
    pub(super) fn to_rows(&self) -> Vec<f32> {
        let mut rows = vec![0.0; self.rows * self.columns];
        self.write(&mut rows);
        rows
    }
}

#[inline(never)] // A profile shows it by its name.
pub(super) fn copy_panel(values: &[f32], columns: usize, panel: usize, rows: &mut [PanelRow]) {
    let range = panel * PANEL..columns.min((panel + 1) * PANEL);
    vectorized(
        #[inline(always)]
        || {
            for (row, source) in rows.iter_mut().zip(values.chunks_exact(columns)) {
                *row = PanelRow::filled(&source[range.clone()]);
            }
        },
    );
}

/// Side of the square that a transpose turns at once.
pub(super) const SQUARE: usize = 4;

/// Lines that a transpose reads side by side, each from its first number to its last: what it writes of a row together
/// is a whole line of the cache, which a panel of many rows would else bring to the nearest one time and again.
const BESIDE: usize = 16;

/// Up to a panel of lines, row-major with `columns` columns, becomes the columns of a panel.
#[inline(never)] // A profile shows it by its name.
pub(super) fn turn_panel(lines: &[f32], columns: usize, rows: &mut [PanelRow]) {
    if lines.len() < PANEL * columns {
        rows.fill(PanelRow::ZERO);
    }
    for (index, lines) in lines.chunks(BESIDE * columns).enumerate() {
        let place = index * BESIDE;
        if lines.len() == BESIDE * columns {
            turn_lines::<BESIDE>(lines, columns, place, rows);
            continue;
        }
        for (index, lines) in lines.chunks(SQUARE * columns).enumerate() {
            let place = place + index * SQUARE;
            if lines.len() == SQUARE * columns {
                turn_lines::<SQUARE>(lines, columns, place, rows);
                continue;
            }
            for (line, values) in lines.chunks_exact(columns).enumerate() {
                rows.iter_mut().zip(values).for_each(|(row, value)| row.0[place + line] = *value);
            }
        }
    }
}

/// `L` lines, a multiple of a square's side, become as many columns from `place` on.
#[inline(always)]
fn turn_lines<const L: usize>(lines: &[f32], columns: usize, place: usize, rows: &mut [PanelRow]) {
    let lines: [&[f32]; L] = std::array::from_fn(|line| &lines[line * columns..(line + 1) * columns]);
    let squares: [&[[f32; SQUARE]]; L] = lines.map(|line| line.as_chunks().0);
    for (index, rows) in rows[..columns].chunks_exact_mut(SQUARE).enumerate() {
        for (beside, group) in squares.chunks_exact(SQUARE).enumerate() {
            let square = [group[0][index], group[1][index], group[2][index], group[3][index]];
            turn_square(square, place + beside * SQUARE, rows);
        }
    }
    for column in columns / SQUARE * SQUARE..columns {
        for (line, values) in lines.iter().enumerate() {
            rows[column].0[place + line] = values[column];
        }
    }
}

/// Four lines' numbers become columns from `place` on.
#[inline(always)]
pub(super) fn turn_square([a, b, c, d]: [[f32; SQUARE]; SQUARE], place: usize, rows: &mut [PanelRow]) {
    for (index, row) in rows.iter_mut().enumerate().take(SQUARE) {
        row.0[place..place + SQUARE].copy_from_slice(&[a[index], b[index], c[index], d[index]]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_and_transposes_come_back() {
        for (rows, columns) in [(1, 1), (1, 100), (9, 48), (17, 49), (130, 7), (0, 5)] {
            let values: Vec<f32> = (0..rows * columns).map(|index| index as f32 + 1.0).collect();
            // A larger matrix before: its numbers must not shine through.
            let mut matrix = PanelMatrix::default();
            matrix.copy(&vec![-1.0; 200 * 150], 150);
            matrix.copy(&values, columns);
            assert_eq!(matrix.to_rows(), values);
            assert_eq!((matrix.rows, matrix.columns), (rows, columns));
            matrix.copy(&vec![-1.0; 200 * 150], 150);
            matrix.par_copy_transposed(&values, columns);
            let turned = matrix.to_rows();
            for (index, value) in values.iter().enumerate() {
                assert_eq!(turned[index % columns * rows + index / columns], *value);
            }
            let last = rows.div_ceil(PANEL).saturating_sub(1);
            for row in matrix.panels_mut().nth(last).into_iter().flatten().take(columns) {
                assert!(row.0[rows - last * PANEL..].iter().all(|value| *value == 0.0), "the rest is filled");
            }
        }
    }
}
