//! Cholesky's factors of small systems.

use ndarray::{Array2, ArrayViewMut1};

/// Factors are refused where a pivot is a smaller share of its diagonal entry: half of the digits are lost.
const LEAST_PIVOT_SHARE: f64 = 1e-8;

/// L of A + μ I = L Lᵀ, in the lower triangle; what is above it means nothing.
///
/// None where A is so far from positive definite that half of the digits are lost, or holds what is no number.
pub(crate) fn factor(mut matrix: Array2<f64>, shift: f64) -> Option<Array2<f64>> {
    for i in 0..matrix.nrows() {
        for j in 0..=i {
            let inner: f64 = (0..j).map(|k| matrix[[i, k]] * matrix[[j, k]]).sum();
            if i == j {
                let diagonal = matrix[[i, i]] + shift;
                let pivot = diagonal - inner;
                if pivot.is_nan() || pivot <= LEAST_PIVOT_SHARE * diagonal {
                    return None;
                }
                matrix[[i, i]] = pivot.sqrt();
            } else {
                matrix[[i, j]] = (matrix[[i, j]] - inner) / matrix[[j, j]];
            }
        }
    }
    Some(matrix)
}

/// Overwrites b by the solution of L Lᵀ x = b.
pub(crate) fn solve(factor: &Array2<f64>, mut b: ArrayViewMut1<'_, f64>) {
    let count = b.len();
    for i in 0..count {
        let inner: f64 = (0..i).map(|k| factor[[i, k]] * b[k]).sum();
        b[i] = (b[i] - inner) / factor[[i, i]];
    }
    for i in (0..count).rev() {
        let inner: f64 = (i + 1..count).map(|k| factor[[k, i]] * b[k]).sum();
        b[i] = (b[i] - inner) / factor[[i, i]];
    }
}
