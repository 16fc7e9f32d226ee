//! Cholesky's factors of small systems.

use ndarray::{Array2, ArrayView2, ArrayViewMut1};

/// Factors are refused where a pivot is a smaller share of its diagonal entry: half of the digits are lost.
const LEAST_PIVOT_SHARE: f64 = 1e-8;

/// The lower triangular L of a symmetric positive definite A = L Lᵀ, for the small systems of noise, fits and descents.
///
/// ```
/// use inverse_core::CholeskyFactor;
/// use ndarray::array;
///
/// let factor = CholeskyFactor::new(array![[4.0, 2.0], [2.0, 5.0]], 0.0).ok_or("not positive definite")?;
/// assert_eq!(factor.lower(), array![[2.0, 0.0], [1.0, 2.0]]);
/// let mut x = array![8.0, 12.0];
/// factor.solve(x.view_mut());
/// assert_eq!(x, array![1.0, 2.0]);
/// # Ok::<(), &str>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct CholeskyFactor {
    lower: Array2<f64>,
}

impl CholeskyFactor {
    /// The factor of A + μ I.
    ///
    /// * `matrix`: A, of which the lower triangle counts
    /// * `shift`: μ
    ///
    /// None where A is not square, is so far from positive definite that half of the digits are lost, or holds what is no number.
    pub fn new(matrix: Array2<f64>, shift: f64) -> Option<Self> {
        if !matrix.is_square() {
            return None;
        }
        let mut lower = matrix;
        for i in 0..lower.nrows() {
            for j in 0..=i {
                let inner: f64 = (0..j).map(|k| lower[[i, k]] * lower[[j, k]]).sum();
                if i == j {
                    let diagonal = lower[[i, i]] + shift;
                    let pivot = diagonal - inner;
                    if pivot.is_nan() || pivot <= LEAST_PIVOT_SHARE * diagonal {
                        return None;
                    }
                    lower[[i, i]] = pivot.sqrt();
                } else {
                    lower[[i, j]] = (lower[[i, j]] - inner) / lower[[j, j]];
                    lower[[j, i]] = 0.0;
                }
            }
        }
        Some(Self { lower })
    }

    /// L, (n, n).
    pub fn lower(&self) -> ArrayView2<'_, f64> {
        self.lower.view()
    }

    /// Overwrites b by the solution of L Lᵀ x = b.
    ///
    /// * `b`: (n); fewer entries are a right side of the leading system of that size, and entries beyond n stay as they are
    pub fn solve(&self, mut b: ArrayViewMut1<'_, f64>) {
        let (factor, count) = (&self.lower, b.len().min(self.lower.nrows()));
        for i in 0..count {
            let inner: f64 = (0..i).map(|k| factor[[i, k]] * b[k]).sum();
            b[i] = (b[i] - inner) / factor[[i, i]];
        }
        for i in (0..count).rev() {
            let inner: f64 = (i + 1..count).map(|k| factor[[k, i]] * b[k]).sum();
            b[i] = (b[i] - inner) / factor[[i, i]];
        }
    }

    /// L⁻¹, (n, n), lower triangular.
    pub fn inverse_lower(&self) -> Array2<f64> {
        let count = self.lower.nrows();
        let mut inverse = Array2::zeros((count, count));
        for column in 0..count {
            inverse[[column, column]] = 1.0 / self.lower[[column, column]];
            for i in column + 1..count {
                let inner: f64 = (column..i).map(|k| self.lower[[i, k]] * inverse[[k, column]]).sum();
                inverse[[i, column]] = -inner / self.lower[[i, i]];
            }
        }
        inverse
    }

    /// log det A, of the shifted A.
    pub fn log_determinant(&self) -> f64 {
        2.0 * self.lower.diag().iter().map(|entry| entry.ln()).sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use ndarray::{Array1, array};

    use super::*;

    /// Of a symmetric matrix whose eigenvalues are at least 1.
    fn matrix(count: usize) -> Array2<f64> {
        let root: Array2<f64> =
            Array2::from_shape_fn((count, count), |(i, j)| ((i * 7 + j * 3) % 5) as f64 / 5.0);
        root.dot(&root.t()) + Array2::<f64>::eye(count)
    }

    #[test]
    fn factors_inverses_and_solutions_fit() {
        let a = matrix(12);
        let factor = CholeskyFactor::new(a.clone(), 0.5).unwrap();
        let shifted = &a + Array2::<f64>::eye(12) * 0.5;
        assert_abs_diff_eq!(factor.lower().dot(&factor.lower().t()), shifted, epsilon = 1e-12);
        assert_abs_diff_eq!(factor.lower().dot(&factor.inverse_lower()), Array2::eye(12), epsilon = 1e-12);
        let x = Array1::from_shape_fn(12, |i| i as f64 - 4.0);
        let mut b = shifted.dot(&x);
        factor.solve(b.view_mut());
        assert_abs_diff_eq!(b, x, epsilon = 1e-11);
        // The determinant of a triangular matrix with a known diagonal.
        let known = CholeskyFactor::new(array![[4.0, 2.0], [2.0, 5.0]], 0.0).unwrap();
        assert_abs_diff_eq!(known.log_determinant(), 16.0_f64.ln(), epsilon = 1e-15);
    }

    #[test]
    fn short_and_long_sides_are_the_leading_system() {
        let factor = CholeskyFactor::new(array![[4.0, 2.0], [2.0, 5.0]], 0.0).unwrap();
        let (mut short, mut long) = (array![8.0], array![8.0, 12.0, 7.0]);
        factor.solve(short.view_mut());
        factor.solve(long.view_mut());
        assert_eq!((short, long), (array![2.0], array![1.0, 2.0, 7.0]));
    }

    #[test]
    fn what_is_not_positive_definite_has_none() {
        let nan = f64::NAN;
        for bad in
            [array![[1.0, 1.0], [1.0, 1.0]], array![[1.0, 2.0], [2.0, 1.0]], array![[-1.0]], array![[nan]]]
        {
            assert_eq!(CholeskyFactor::new(bad, 0.0), None);
        }
        assert_eq!(CholeskyFactor::new(Array2::ones((2, 3)), 0.0), None);
        assert!(CholeskyFactor::new(array![[1.0, 1.0], [1.0, 1.0]], 1e-3).is_some());
    }
}
