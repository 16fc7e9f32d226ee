//! One damped Gauss–Newton step: a linear least-squares problem.

use inverse_core::CholeskyFactor;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayViewMut1, Axis, s};

/// Residuals a variable from which on the normal equations pay.
const TALL: usize = 4;

/// The p of min ‖r + J p‖² + μ ‖p‖².
///
/// * `jacobian`: Jᵀ, (variables, residuals)
pub(crate) fn damped_step(
    jacobian: ArrayView2<'_, f64>,
    residuals: ArrayView1<'_, f64>,
    damping: f64,
) -> Array1<f64> {
    let (variables, count) = jacobian.dim();
    let normal = if count > TALL * variables { normal_step(jacobian, residuals, damping) } else { None };
    normal.unwrap_or_else(|| orthogonal_step(jacobian, residuals, damping))
}

/// The same by Cholesky's factors of J Jᵀ + μ I: with many residuals a fraction of the work.
///
/// None where the factors lose more than half of the digits: the normal equations square the condition number.
fn normal_step(
    jacobian: ArrayView2<'_, f64>,
    residuals: ArrayView1<'_, f64>,
    damping: f64,
) -> Option<Array1<f64>> {
    let factor = CholeskyFactor::new(jacobian.dot(&jacobian.t()), damping)?;
    let mut step = -jacobian.dot(&residuals);
    factor.solve(step.view_mut());
    Some(step)
}

/// The same by Householder reflections of [J; √μ I] p = [−r; 0]: stable, and regular where J has fewer rows than
/// columns.
fn orthogonal_step(
    jacobian: ArrayView2<'_, f64>,
    residuals: ArrayView1<'_, f64>,
    damping: f64,
) -> Array1<f64> {
    let (variables, count) = jacobian.dim();
    // Row i holds column i of the system, so that reflections run along contiguous memory.
    let mut columns = Array2::zeros((variables + 1, count + variables));
    columns.slice_mut(s![..variables, ..count]).assign(&jacobian);
    columns.slice_mut(s![variables, ..count]).assign(&residuals.mapv(|value| -value));
    for i in 0..variables {
        columns[[i, count + i]] = damping.sqrt();
    }
    let mut diagonal = Array1::zeros(variables);
    for i in 0..variables {
        let (mut left, mut right) = columns.view_mut().split_at(Axis(0), i + 1);
        let mut reflector = left.slice_mut(s![i, i..]);
        diagonal[i] = make_reflector(&mut reflector);
        for mut column in right.rows_mut() {
            let mut column = column.slice_mut(s![i..]);
            let share = reflector.dot(&column);
            column.scaled_add(-share, &reflector);
        }
    }
    let mut step = Array1::zeros(variables);
    for i in (0..variables).rev() {
        let mut sum = columns[[variables, i]];
        for k in i + 1..variables {
            sum -= columns[[k, i]] * step[k];
        }
        step[i] = if diagonal[i] == 0.0 { 0.0 } else { sum / diagonal[i] };
    }
    step
}

/// Turns a column into the v, with ‖v‖² = 2, of the reflection 1 − v vᵀ that leaves its first entry alone;
/// returns that entry.
fn make_reflector(column: &mut ArrayViewMut1<'_, f64>) -> f64 {
    let norm = column.dot(column).sqrt();
    if norm == 0.0 {
        return 0.0;
    }
    let first = if column[0] > 0.0 { -norm } else { norm };
    column[0] -= first;
    let length = column.dot(column);
    *column *= (2.0 / length).sqrt();
    first
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;

    use super::*;

    #[test]
    fn steps_solve_the_damped_normal_equations() {
        for (variables, count) in [(1, 1), (2, 5), (4, 1), (3, 3)] {
            let entry = |(i, j): (usize, usize)| ((7 * i + 3 * j) as f64).sin();
            let jacobian = Array2::from_shape_fn((variables, count), entry);
            let residuals = Array1::from_shape_fn(count, |j| (j as f64 + 0.5).cos());
            for damping in [1e-6, 0.3] {
                let step = damped_step(jacobian.view(), residuals.view(), damping);
                let gradient = jacobian.dot(&(&residuals + &jacobian.t().dot(&step))) + damping * &step;
                assert_abs_diff_eq!(gradient, Array1::zeros(variables), epsilon = 1e-13);
            }
        }
    }

    #[test]
    fn many_residuals_take_the_normal_equations() {
        // Sines of three frequencies: nearly orthogonal.
        let entry = |(i, j): (usize, usize)| (((i + 1) * j) as f64).sin();
        let mut jacobian = Array2::from_shape_fn((3, 40), entry);
        let residuals = Array1::from_shape_fn(40, |j| (j as f64 + 0.5).cos());
        let (jacobian_of, damping) = (jacobian.clone(), 1e-6);
        let normal = normal_step(jacobian_of.view(), residuals.view(), damping).unwrap();
        let orthogonal = orthogonal_step(jacobian_of.view(), residuals.view(), damping);
        // A condition number of about 1: all but the last digits agree.
        assert_abs_diff_eq!(normal, orthogonal, epsilon = 1e-14);
        // Two variables that do the same, but for 1e-5: a pivot of 1e-10.
        let copy = &jacobian.row(0) + &(jacobian.row(1).mapv(|value| 1e-5 * value));
        jacobian.row_mut(1).assign(&copy);
        assert!(normal_step(jacobian.view(), residuals.view(), 0.0).is_none());
        let step = damped_step(jacobian.view(), residuals.view(), 0.0);
        let gradient = jacobian.dot(&(&residuals + &jacobian.t().dot(&step)));
        // Steps of 1e5 along the weak direction, columns of length 5, 40 roundings of 1e-16.
        assert_abs_diff_eq!(gradient, Array1::zeros(3), epsilon = 1e-8);
    }
}
