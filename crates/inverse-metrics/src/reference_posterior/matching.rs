//! Which targets a measurement hits, fast enough that simulating stays the work.

use std::ops::Range;

use inverse_core::InvalidArgument;
use ndarray::{Array1, ArrayView1, ArrayView2, Zip};
use rand::Rng;

use super::Acceptance;
use crate::MetricError;

/// Cells a target, so that few targets share one; a band is a few cells wide where targets are many.
const CELLS_PER_TARGET: usize = 8;

/// More cells leave the processor's caches.
const MOST_CELLS: usize = 1 << 14;

/// The interval around each target, both ends included.
pub(super) struct Bands {
    /// Lower and upper end of each output, target after target.
    ends: Vec<(f64, f64)>,
    targets: usize,
    dim_y: usize,
}

impl Bands {
    /// * `y`: targets, (targets, `dim_y`)
    /// * `reach`: half the width of the band in each output, (`dim_y`)
    pub(super) fn new(y: ArrayView2<'_, f64>, reach: &Array1<f64>) -> Result<Self, InvalidArgument> {
        let around = |y: ArrayView1<'_, f64>| Zip::from(y).and(reach).map_collect(|y, r| (y - r, y + r));
        let ends: Vec<(f64, f64)> = y.rows().into_iter().flat_map(around).collect();
        // With an infinite end the band would let infinite measurements in.
        if ends.iter().all(|(lower, upper)| lower.is_finite() && upper.is_finite()) {
            Ok(Self { ends, targets: y.nrows(), dim_y: y.ncols() })
        } else {
            Err(InvalidArgument::new("band", "a band that floating point can hold", format!("±{reach}")))
        }
    }

    pub(super) fn targets(&self) -> usize {
        self.targets
    }

    /// The ends of a target's band in each output, (`dim_y`).
    fn of(&self, target: usize) -> &[(f64, f64)] {
        &self.ends[target * self.dim_y..][..self.dim_y]
    }

    /// The ends in the first output.
    fn first(&self, target: usize) -> (f64, f64) {
        self.ends[target * self.dim_y]
    }

    /// Whether a measurement, (`dim_y`), lies in a target's band; NaN lies in none.
    fn contains(&self, target: usize, measurement: &[f64]) -> bool {
        let mut values = measurement.iter().zip(self.of(target));
        values.all(|(value, (lower, upper))| lower <= value && value <= upper)
    }
}

/// The targets that still lack samples, found by the cell in which the first output falls.
///
/// The range of all bands is cut into equal cells. Targets are sorted, and each cell knows the run of them whose
/// bands reach into it: most draws fall in a cell without any and cost one look-up.
pub(super) struct TargetIndex<'a> {
    bands: &'a Bands,
    /// Targets in order of their first output.
    sorted: Vec<usize>,
    /// The run of `sorted` for each cell.
    cells: Vec<Range<usize>>,
    low: f64,
    high: f64,
    cells_per_unit: f64,
}

impl<'a> TargetIndex<'a> {
    /// * `missing`: how many samples each target lacks, (targets); those that lack none are left out
    pub(super) fn new(bands: &'a Bands, missing: &[usize]) -> Self {
        let mut sorted: Vec<usize> = (0..bands.targets()).filter(|target| missing[*target] > 0).collect();
        // Bands are equally wide, so this sorts their upper ends too.
        sorted.sort_unstable_by(|a, b| bands.first(*a).0.total_cmp(&bands.first(*b).0));
        let low = sorted.first().map_or(0.0, |target| bands.first(*target).0);
        let high = sorted.last().map_or(0.0, |target| bands.first(*target).1);
        let count = (CELLS_PER_TARGET * sorted.len()).clamp(1, MOST_CELLS);
        let cells_per_unit = count as f64 / (high - low);
        let mut index = Self { bands, sorted, cells: vec![0..0; count], low, high, cells_per_unit };
        index.cells = index.runs(count);
        index
    }

    /// The targets whose bands reach into each cell.
    fn runs(&self, count: usize) -> Vec<Range<usize>> {
        // The cell number grows with the value, whatever the rounding: a value between the ends of a band falls
        // in a cell between theirs, and no neighbour needs to be searched.
        let cell = |end: f64| self.cell(end, count);
        let (mut first, mut past) = (0, 0);
        let run = |number| {
            while first < self.sorted.len() && cell(self.bands.first(self.sorted[first]).1) < number {
                first += 1;
            }
            while past < self.sorted.len() && cell(self.bands.first(self.sorted[past]).0) <= number {
                past += 1;
            }
            first..past
        };
        (0..count).map(run).collect()
    }

    /// The cell of a value between `low` and `high`; NaN, from a range without width, counts as 0.
    fn cell(&self, value: f64, count: usize) -> usize {
        (((value - self.low) * self.cells_per_unit) as usize).min(count - 1)
    }

    /// The targets in whose band a measurement, (`dim_y`), lies.
    fn matches<'m>(&'m self, measurement: &'m [f64]) -> impl Iterator<Item = usize> + 'm {
        let run = match measurement.first() {
            Some(value) if self.low <= *value && *value <= self.high => {
                self.cells[self.cell(*value, self.cells.len())].clone()
            }
            _ => 0..0,
        };
        let targets = self.sorted[run].iter().copied();
        targets.filter(move |target| self.bands.contains(*target, measurement))
    }
}

impl Acceptance for TargetIndex<'_> {
    fn accept(
        &self,
        answers: ArrayView2<'_, f64>,
        _: &mut dyn Rng,
        keep: &mut dyn FnMut(usize, usize),
    ) -> Result<(), MetricError> {
        // Rows as plain slices: views of rows would cost more than the search.
        let answers = answers.as_standard_layout();
        let rows = answers.as_slice().unwrap_or_default().chunks_exact(self.bands.dim_y);
        for (row, answer) in rows.enumerate() {
            self.matches(answer).for_each(|target| keep(target, row));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = f64> {
        // Few different values, so that measurements lie on ends of bands and targets coincide.
        prop_oneof![
            (-20..20_i32).prop_map(|step| f64::from(step) * 0.25),
            (-20..20_i32).prop_map(|step| 1e15 + f64::from(step)),
            Just(1e300),
            Just(-1e300),
            -5.0..5.0_f64,
        ]
    }

    proptest! {
        #[test]
        fn finds_what_a_search_of_all_targets_finds(
            targets in prop::collection::vec((value(), value()), 1..40),
            measurements in prop::collection::vec(
                (prop_oneof![8 => value(), 1 => Just(f64::NAN), 1 => Just(f64::INFINITY)], value()), 1..60,
            ),
            reach in prop_oneof![Just(0.25), Just(1e-320), Just(3.0), Just(1e300), 0.01..2.0_f64],
            missing in prop::collection::vec(0..2_usize, 40),
        ) {
            let y = Array2::from_shape_fn((targets.len(), 2), |(row, column)| {
                if column == 0 { targets[row].0 } else { targets[row].1 }
            });
            let bands = Bands::new(y.view(), &array![reach, reach]).unwrap();
            let missing = &missing[..targets.len()];
            let index = TargetIndex::new(&bands, missing);
            for (first, second) in measurements {
                let mut found: Vec<usize> = index.matches(&[first, second]).collect();
                found.sort_unstable();
                let inside = |row: usize, column: usize, value: f64| {
                    y[[row, column]] - reach <= value && value <= y[[row, column]] + reach
                };
                let expected: Vec<usize> = (0..targets.len())
                    .filter(|row| missing[*row] > 0 && inside(*row, 0, first) && inside(*row, 1, second))
                    .collect();
                prop_assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn bands_must_be_finite() {
        let bands = |reach: f64| Bands::new(array![[1e308]].view(), &array![reach]);
        assert!(bands(1e307).is_ok());
        assert!(bands(1e308).is_err_and(|error| error.argument == "band"));
    }
}
