//! Small complex linear systems.

use num_complex::Complex64;

/// Solves a system of four equations by Gaussian elimination with partial pivoting.
///
/// Returns what is not finite where the matrix is singular to rounding.
pub(super) fn solve(mut matrix: [[Complex64; 4]; 4], mut right: [Complex64; 4]) -> [Complex64; 4] {
    for column in 0..4 {
        let mut pivot = column;
        for row in column + 1..4 {
            if matrix[row][column].norm_sqr() > matrix[pivot][column].norm_sqr() {
                pivot = row;
            }
        }
        matrix.swap(column, pivot);
        right.swap(column, pivot);
        let inverse = matrix[column][column].inv();
        matrix[column].iter_mut().skip(column + 1).for_each(|entry| *entry *= inverse);
        right[column] *= inverse;
        let (pivot_row, pivot_right) = (matrix[column], right[column]);
        for (row, value) in matrix.iter_mut().zip(&mut right).skip(column + 1) {
            let factor = row[column];
            for (entry, above) in row.iter_mut().zip(pivot_row).skip(column + 1) {
                *entry -= factor * above;
            }
            *value -= factor * pivot_right;
        }
    }
    for row in (0..3).rev() {
        let known: Complex64 = matrix[row].iter().zip(right).skip(row + 1).map(|(entry, x)| entry * x).sum();
        right[row] -= known;
    }
    right
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(seed: usize) -> Complex64 {
        let angle = seed as f64;
        Complex64::new((7.3 * angle).sin(), (3.1 * angle + 1.0).cos())
    }

    #[test]
    fn solutions_satisfy_their_equations() {
        for seed in 0..100 {
            let mut matrix: [[Complex64; 4]; 4] =
                std::array::from_fn(|row| std::array::from_fn(|column| number(97 * seed + 4 * row + column)));
            // Elimination without pivoting would divide by 0.
            matrix[0][0] = Complex64::ZERO;
            let right: [Complex64; 4] = std::array::from_fn(|row| number(1000 + 31 * seed + row));
            let solution = solve(matrix, right);
            for (row, expected) in matrix.iter().zip(right) {
                let found: Complex64 = row.iter().zip(solution).map(|(a, b)| a * b).sum();
                // The solutions reach a few hundred for the worst of these matrices.
                assert!((found - expected).norm() < 1e-12, "{seed}: {found} {expected}");
            }
        }
    }

    #[test]
    fn a_singular_matrix_gives_no_number() {
        let solution = solve([[Complex64::ONE; 4]; 4], [Complex64::ONE; 4]);
        assert!(solution.iter().any(|value| !value.is_finite()));
    }
}
