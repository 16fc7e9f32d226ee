//! Sums that batch normalisation needs, block by block.

/// Column means and sums of squared deviations of a block or of a whole batch.
#[derive(Debug, Clone, Default)]
pub(super) struct Moments {
    count: f64,
    pub(super) mean: Vec<f64>,
    squares: Vec<f64>,
}

impl Moments {
    /// The moments of one row-major block with `columns` columns.
    pub(super) fn of_block(values: &[f32], columns: usize) -> Self {
        let count = (values.len() / columns) as f64;
        // Sums of a block's 128 values in f32 lose at most 7 bits; blocks are added in f64.
        let mut sum = vec![0.0_f32; columns];
        for row in values.chunks_exact(columns) {
            for (sum, value) in sum.iter_mut().zip(row) {
                *sum += value;
            }
        }
        let mean: Vec<f32> = sum.iter().map(|sum| sum / count as f32).collect();
        let mut squares = vec![0.0_f32; columns];
        for row in values.chunks_exact(columns) {
            for ((square, value), mean) in squares.iter_mut().zip(row).zip(&mean) {
                let deviation = value - mean;
                *square += deviation * deviation;
            }
        }
        let widen = |values: Vec<f32>| values.into_iter().map(f64::from).collect();
        Self { count, mean: widen(mean), squares: widen(squares) }
    }

    /// Adds the moments of more rows (Chan et al. 1979).
    pub(super) fn merge(&mut self, other: &Self) {
        if self.count == 0.0 {
            self.clone_from(other);
            return;
        }
        let total = self.count + other.count;
        let share = other.count / total;
        for column in 0..self.mean.len() {
            let shift = other.mean[column] - self.mean[column];
            self.mean[column] += shift * share;
            self.squares[column] += other.squares[column] + shift * shift * self.count * share;
        }
        self.count = total;
    }

    /// Biased variance, which normalises the batch.
    pub(super) fn variance(&self, column: usize) -> f64 {
        self.squares[column] / self.count
    }

    /// Unbiased variance, which the running statistics keep; biased for a single row.
    pub(super) fn unbiased_variance(&self, column: usize) -> f64 {
        self.squares[column] / (self.count - 1.0).max(1.0)
    }
}

/// Adds up, column by column, `a` and `a · b` of a row-major block.
pub(super) fn column_sums(a: &[f32], b: &[f32], columns: usize) -> (Vec<f32>, Vec<f32>) {
    let (mut sums, mut products) = (vec![0.0; columns], vec![0.0; columns]);
    for (a_row, b_row) in a.chunks_exact(columns).zip(b.chunks_exact(columns)) {
        for column in 0..columns {
            sums[column] += a_row[column];
            products[column] += a_row[column] * b_row[column];
        }
    }
    (sums, products)
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::*;

    #[test]
    fn merged_blocks_equal_the_whole() {
        let values: Vec<f32> = (0..300).map(|i| ((i * 31) % 17) as f32 + 100.0).collect();
        let mut merged = Moments::default();
        for block in values.chunks(2 * 44) {
            merged.merge(&Moments::of_block(block, 2));
        }
        for column in 0..2 {
            let own: Vec<f64> = values.iter().skip(column).step_by(2).map(|v| f64::from(*v)).collect();
            let mean = own.iter().sum::<f64>() / 150.0;
            let squares: f64 = own.iter().map(|v| (v - mean).powi(2)).sum();
            assert_relative_eq!(merged.mean[column], mean, max_relative = 1e-6);
            assert_relative_eq!(merged.variance(column), squares / 150.0, max_relative = 1e-5);
            assert_relative_eq!(merged.unbiased_variance(column), squares / 149.0, max_relative = 1e-5);
        }
    }

    #[test]
    fn a_constant_column_has_no_variance() {
        let moments = Moments::of_block(&[3.0; 10], 1);
        assert_eq!(moments.variance(0), 0.0);
    }
}
