//! Batch normalisation, panel by panel: a column's statistics are at hand where its numbers still are in the cache.

use super::panels::{PANEL, PanelRow};
use super::vector_unit::vectorized;
use crate::nn::layout::NORMALIZATION_EPSILON;

/// Means and variances of one panel's columns over a batch.
#[derive(Debug, Clone)]
pub(super) struct Moments {
    pub(super) mean: [f64; PANEL],
    /// Biased: what normalises the batch.
    variance: [f64; PANEL],
    rows: usize,
}

impl Moments {
    /// Two passes in `f64`, row by row: the bits do not depend on who computes them.
    pub(super) fn of(rows: &[PanelRow]) -> Self {
        vectorized(
            #[inline(always)]
            || {
                let count = rows.len() as f64;
                let mut mean = [0.0_f64; PANEL];
                for row in rows {
                    for (sum, value) in mean.iter_mut().zip(&row.0) {
                        *sum += f64::from(*value);
                    }
                }
                for sum in &mut mean {
                    *sum /= count;
                }
                let mut variance = [0.0_f64; PANEL];
                for row in rows {
                    for ((sum, value), mean) in variance.iter_mut().zip(&row.0).zip(&mean) {
                        let deviation = f64::from(*value) - mean;
                        *sum += deviation * deviation;
                    }
                }
                for sum in &mut variance {
                    *sum /= count;
                }
                Self { mean, variance, rows: rows.len() }
            },
        )
    }

    /// 1 / √(variance + ε).
    pub(super) fn inverse_deviation(&self) -> PanelRow {
        PanelRow(self.variance.map(|variance| 1.0 / (variance + NORMALIZATION_EPSILON).sqrt() as f32))
    }

    pub(super) fn mean(&self) -> PanelRow {
        PanelRow(self.mean.map(|mean| mean as f32))
    }

    /// Unbiased variances, which the running statistics keep; biased for a single row.
    pub(super) fn unbiased_variance(&self) -> PanelRow {
        let factor = self.rows as f64 / (self.rows as f64 - 1.0).max(1.0);
        PanelRow(self.variance.map(|variance| (variance * factor) as f32))
    }
}

/// Normalises rows of a panel in place, and writes scale · ẑ + shift.
pub(super) fn normalize(
    rows: &mut [PanelRow],
    (mean, inverse_deviation): (&PanelRow, &PanelRow),
    (scale, shift): (&PanelRow, &PanelRow),
    out: &mut [PanelRow],
) {
    vectorized(
        #[inline(always)]
        || {
            for (row, out) in rows.iter_mut().zip(out) {
                for column in 0..PANEL {
                    let normalized = (row.0[column] - mean.0[column]) * inverse_deviation.0[column];
                    row.0[column] = normalized;
                    out.0[column] = scale.0[column] * normalized + shift.0[column];
                }
            }
        },
    );
}

/// Gradients of one panel's scale and shift.
pub(super) struct ScaleGradient {
    /// Σ g · ẑ.
    pub(super) scale: [f64; PANEL],
    /// Σ g.
    pub(super) shift: [f64; PANEL],
}

/// Turns the gradient g of a panel's normalised and scaled rows into that of what was normalised:
/// γ / σ · (g − mean(g) − ẑ · mean(g · ẑ)).
pub(super) fn pull_back(
    gradient: &mut [PanelRow],
    normalized: &[PanelRow],
    scale: &PanelRow,
    inverse_deviation: &PanelRow,
) -> ScaleGradient {
    vectorized(
        #[inline(always)]
        || {
            let (mut sums, mut products) = ([0.0_f64; PANEL], [0.0_f64; PANEL]);
            for (gradient, normalized) in gradient.iter().zip(normalized) {
                for column in 0..PANEL {
                    let value = f64::from(gradient.0[column]);
                    sums[column] += value;
                    products[column] += value * f64::from(normalized.0[column]);
                }
            }
            let count = normalized.len() as f64;
            let (mut mean, mut projection) = ([0.0_f32; PANEL], [0.0_f32; PANEL]);
            let mut factor = [0.0_f32; PANEL];
            for column in 0..PANEL {
                mean[column] = (sums[column] / count) as f32;
                projection[column] = (products[column] / count) as f32;
                factor[column] = scale.0[column] * inverse_deviation.0[column];
            }
            for (gradient, normalized) in gradient.iter_mut().zip(normalized) {
                for column in 0..PANEL {
                    let centred = gradient.0[column] - mean[column];
                    gradient.0[column] =
                        factor[column] * (centred - normalized.0[column] * projection[column]);
                }
            }
            ScaleGradient { scale: products, shift: sums }
        },
    )
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::*;

    #[test]
    fn moments_are_those_of_the_columns() {
        let rows: Vec<PanelRow> = (0..150)
            .map(|row| PanelRow(std::array::from_fn(|column| ((row * 31 + column * 7) % 17) as f32 + 100.0)))
            .collect();
        let moments = Moments::of(&rows);
        for column in 0..PANEL {
            let own: Vec<f64> = rows.iter().map(|row| f64::from(row.0[column])).collect();
            let mean = own.iter().sum::<f64>() / 150.0;
            let squares: f64 = own.iter().map(|value| (value - mean).powi(2)).sum();
            // Sums of 150 terms in f64.
            assert_relative_eq!(moments.mean[column], mean, max_relative = 150.0 * f64::EPSILON);
            assert_relative_eq!(moments.variance[column], squares / 150.0, max_relative = 1e-12);
            let unbiased = f64::from(moments.unbiased_variance().0[column]);
            assert_relative_eq!(unbiased, squares / 149.0, max_relative = 1e-7);
        }
    }

    #[test]
    fn a_constant_column_has_no_variance() {
        let moments = Moments::of(&[PanelRow([3.0; PANEL]); 10]);
        assert_eq!(moments.variance, [0.0; PANEL]);
        let alone = Moments::of(&[PanelRow([3.0; PANEL])]);
        assert_eq!(alone.unbiased_variance().0, [0.0; PANEL], "one row has no unbiased variance");
    }
}
