//! Maximum mean discrepancy (MMD): how far apart two samples are as distributions.
//!
//! The squared MMD (Gretton et al., *A Kernel Two-Sample Test*, JMLR 2012) compares mean similarities,
//!
//! ```text
//! MMD²(a, b) = mean k(aᵢ, aⱼ) + mean k(bᵢ, bⱼ) − 2 mean k(aᵢ, bⱼ),
//! ```
//!
//! and for the kernel used here is 0, in the limit of large samples, only where the distributions agree. Section
//! 8.1 of the paper scores an inverse model so: b are its proposals for a target, a is a sample of the true
//! posterior, which [`ReferencePosterior`](crate::ReferencePosterior) draws.

use inverse_core::{InvalidArgument, check_matrix};
use ndarray::{ArrayView2, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::MetricError;

/// The kernel scales of section 8.1, "0.05, 0.2 and 0.9".
const PAPER_SCALES: [f64; 3] = [0.05, 0.2, 0.9];

/// Rows of one sample that a thread takes at a time; fixed, so that results do not depend on their number.
const BLOCK: usize = 64;

/// Distances held at once: two such buffers stay in the first-level cache.
const CHUNK: usize = 512;

/// Running sums side by side, so that additions need not wait for each other.
const LANES: usize = 8;

/// Which mean over the pairs within a sample the squared MMD takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MmdEstimator {
    /// Over all pairs, those of a row with itself included (Gretton et al., eq. 5), as in the paper.
    ///
    /// Never negative; for samples of n and m rows from one distribution it is of order 1/n + 1/m, not 0.
    #[default]
    Biased,
    /// Over pairs of different rows (Gretton et al., eq. 3): 0 on average for equal distributions, so single
    /// values may be negative.
    Unbiased,
}

/// The squared maximum mean discrepancy under a sum of inverse multiquadric kernels,
/// k(u, v) = Σ_s s² / (s² + |u − v|²).
///
/// Scales are lengths in the units of the samples: a discrepancy means something only where the columns have
/// comparable units, so bring designs to comparable ranges first. The default is that of section 8.1.
///
/// ```
/// use inverse_metrics::{Mmd, MmdEstimator};
/// use ndarray::array;
///
/// let mmd = Mmd { scales: vec![1.0], estimator: MmdEstimator::Biased };
/// // Kernels: 1 within each sample, 1/(1 + 3²) between them.
/// let squared = mmd.squared(array![[0.0]].view(), array![[3.0]].view())?;
/// assert!((squared - (1.0 + 1.0 - 2.0 * 0.1)).abs() < 1e-15);
/// # Ok::<(), inverse_metrics::MetricError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mmd {
    /// Kernel scales s, in units of the samples; any number of them, each positive.
    pub scales: Vec<f64>,
    /// Which pairs count.
    pub estimator: MmdEstimator,
}

impl Default for Mmd {
    fn default() -> Self {
        Self { scales: PAPER_SCALES.to_vec(), estimator: MmdEstimator::default() }
    }
}

impl Mmd {
    /// MMD² between two samples; dimensionless, at most twice the number of scales.
    ///
    /// * `a`: one sample, (n, d)
    /// * `b`: the other, (m, d), in the same units
    ///
    /// Distances are direct differences: the expansion |a|² + |b|² − 2ab would lose the small ones to
    /// rounding. They are never all held at once, so the memory needed is that of the samples. Pairs are summed
    /// in blocks of a fixed size: any number of threads gives the same bits.
    ///
    /// # Errors
    /// [`MetricError::InvalidArgument`] where a sample is empty or holds a value that is not finite, their
    /// widths differ, the unbiased estimator gets fewer than two rows, there is no scale, or a scale is not a
    /// positive number (with a square that floating point can hold).
    pub fn squared(&self, a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>) -> Result<f64, MetricError> {
        let squares = self.squared_scales()?;
        self.check_sample("a", a, a.ncols())?;
        self.check_sample("b", b, a.ncols())?;
        let (a_columns, b_columns) = (columns(a), columns(b));
        let within = |sample: ArrayView2<'_, f64>, columns: &[Vec<f64>]| {
            let (sum, rows) = (kernel_sum(sample, columns, &squares), sample.nrows() as f64);
            match self.estimator {
                MmdEstimator::Biased => sum / (rows * rows),
                // Each kernel is exactly 1 between a row and itself.
                MmdEstimator::Unbiased => (sum - rows * squares.len() as f64) / (rows * (rows - 1.0)),
            }
        };
        let between = kernel_sum(a, &b_columns, &squares) / (a.nrows() as f64 * b.nrows() as f64);
        let squared = within(a, &a_columns) + within(b, &b_columns) - 2.0 * between;
        Ok(match self.estimator {
            // Rounding alone takes it below 0.
            MmdEstimator::Biased => squared.max(0.0),
            MmdEstimator::Unbiased => squared,
        })
    }

    fn squared_scales(&self) -> Result<Vec<f64>, InvalidArgument> {
        if self.scales.is_empty() {
            return Err(InvalidArgument::new("scales", "at least one scale", "none"));
        }
        let square = |scale: &f64| {
            // A square that underflows to 0 would divide 0 by 0 between equal rows.
            if *scale > 0.0 && (scale * scale).is_normal() {
                Ok(scale * scale)
            } else {
                Err(InvalidArgument::new("scales", "positive numbers between 1e-153 and 1e153", scale))
            }
        };
        self.scales.iter().map(square).collect()
    }

    fn check_sample(
        &self,
        name: &str,
        sample: ArrayView2<'_, f64>,
        width: usize,
    ) -> Result<(), InvalidArgument> {
        let fewest = if self.estimator == MmdEstimator::Unbiased { 2 } else { 1 };
        if sample.nrows() < fewest || sample.ncols() == 0 {
            let expected = format!("at least {fewest} rows and one column");
            return Err(InvalidArgument::new(name, expected, format!("shape {:?}", sample.dim())));
        }
        check_matrix(name, sample, width)
    }
}

/// The columns of a sample, each contiguous: distances to many rows then go through vector instructions.
fn columns(sample: ArrayView2<'_, f64>) -> Vec<Vec<f64>> {
    sample.columns().into_iter().map(|column| column.to_vec()).collect()
}

/// Σ k(u, v) over all pairs; `u` is (n, d), `v` holds d columns of m values, `squares` are the s².
fn kernel_sum(u: ArrayView2<'_, f64>, v: &[Vec<f64>], squares: &[f64]) -> f64 {
    let blocks: Vec<_> = u.axis_chunks_iter(Axis(0), BLOCK).collect();
    let sums: Vec<f64> = blocks.into_par_iter().map(|block| block_sum(block, v, squares)).collect();
    sums.iter().sum()
}

fn block_sum(u: ArrayView2<'_, f64>, v: &[Vec<f64>], squares: &[f64]) -> f64 {
    let rows = v.first().map_or(0, Vec::len);
    let (mut distances, mut kernels) = ([0.0; CHUNK], [0.0; CHUNK]);
    let mut sums = [0.0; LANES];
    for u in u.rows() {
        for start in (0..rows).step_by(CHUNK) {
            let end = rows.min(start + CHUNK);
            let (distances, kernels) = (&mut distances[..end - start], &mut kernels[..end - start]);
            distances.fill(0.0);
            for (u, v) in u.iter().zip(v) {
                for (distance, v) in distances.iter_mut().zip(&v[start..end]) {
                    *distance += (u - v) * (u - v);
                }
            }
            kernels.fill(0.0);
            for square in squares {
                for (kernel, distance) in kernels.iter_mut().zip(&*distances) {
                    *kernel += square / (square + distance);
                }
            }
            for kernels in kernels.chunks(LANES) {
                for (sum, kernel) in sums.iter_mut().zip(kernels) {
                    *sum += kernel;
                }
            }
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    #[test]
    fn a_tiny_example_by_hand() {
        // |u − v|² within a: 25; within b: nothing; between: 0 and 25. Kernels: 1 at 0, s²/(s² + 25) at 25.
        let (a, b) = (array![[0.0, 0.0], [3.0, 4.0]], array![[0.0, 0.0]]);
        let far: f64 = 25.0 / (25.0 + 25.0) + 100.0 / (100.0 + 25.0);
        let mmd = Mmd { scales: vec![5.0, 10.0], ..Mmd::default() };
        let expected = (2.0 * 2.0 + 2.0 * far) / 4.0 + 2.0 - 2.0 * (2.0 + far) / 2.0;
        assert!((mmd.squared(a.view(), b.view()).unwrap() - expected).abs() < 1e-15);
        let mmd = Mmd { estimator: MmdEstimator::Unbiased, ..mmd };
        let twice = array![[0.0, 0.0], [0.0, 0.0]];
        let expected = far + 2.0 - 2.0 * (2.0 + far) / 2.0;
        assert!((mmd.squared(a.view(), twice.view()).unwrap() - expected).abs() < 1e-15);
    }

    #[test]
    fn bad_input_is_named() {
        let message = |mmd: &Mmd, a: &Array2<f64>, b: &Array2<f64>| {
            mmd.squared(a.view(), b.view()).unwrap_err().to_string()
        };
        let (paper, one) = (Mmd::default(), array![[0.0, 1.0]]);
        let none = Array2::zeros((0, 2));
        let expected = "invalid `b`: expected at least 1 rows and one column, found shape (0, 2)";
        assert_eq!(message(&paper, &one, &none), expected);
        assert!(message(&paper, &none, &one).starts_with("invalid `a`"));
        assert!(message(&paper, &Array2::zeros((2, 0)), &Array2::zeros((2, 0))).starts_with("invalid `a`"));
        let narrow = array![[0.0]];
        assert_eq!(message(&paper, &one, &narrow), "invalid `b`: expected 2 columns, found 1 columns");
        for wrong in [f64::NAN, f64::INFINITY] {
            assert!(message(&paper, &array![[0.0, wrong]], &one).starts_with("invalid `a`: expected finite"));
        }
        let unbiased = Mmd { estimator: MmdEstimator::Unbiased, ..Mmd::default() };
        assert!(message(&unbiased, &array![[0.0], [1.0]], &narrow).contains("`b`: expected at least 2 rows"));
        for scale in [0.0, -0.2, f64::NAN, f64::INFINITY, 1e-200, 1e200] {
            let mmd = Mmd { scales: vec![0.2, scale], ..Mmd::default() };
            assert!(message(&mmd, &one, &one).starts_with("invalid `scales`"), "{scale}");
        }
        assert!(message(&Mmd { scales: vec![], ..paper }, &one, &one).contains("at least one scale"));
    }
}
