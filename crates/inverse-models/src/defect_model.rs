//! Kriging of the surrogate's error: what answers at a few designs say of it elsewhere.

use inverse_core::CholeskyFactor;
use ndarray::{Array1, Array2, ArrayView1, Axis, s};

use crate::adaptive_target::Answer;
use crate::host_network::Evaluation;

/// Added to the kernel's 1 at distance 0: a hundredth of an error's square is no function of x to believe in. Where answers
/// at neighbouring designs differ, by noise or a jump, a model through each of them swings wildly between them.
const NUGGET: f64 = 1e-2;

/// d(x) = Σ_k c_k k(x, x_k): about f(x_k) − f̂(x_k) at every simulated design x_k, and less and less of it further away.
///
/// The kernel is the inverse multiquadric k(x, x') = (1 + ‖x − x'‖² / ℓ²)^(−1/2) (Hardy 1971). Its tail is long: errors of
/// a surrogate at two solutions of one target resemble each other, far apart as they may be, because the measurements do.
#[derive(Clone)]
pub(crate) struct DefectModel {
    /// (n, `dim_x`).
    designs: Array2<f64>,
    /// c, (n, `dim_y`).
    coefficients: Array2<f64>,
    /// 1 / ℓ².
    inverse_square: f64,
}

impl DefectModel {
    /// * `length`: ℓ
    pub(crate) fn new(answers: &[Answer], length: f64) -> Self {
        let dims = answers.first().map_or((0, 0), |answer| (answer.x.len(), answer.defect.len()));
        let mut designs = Array2::zeros((answers.len(), dims.0));
        let mut coefficients = Array2::zeros((answers.len(), dims.1));
        for (row, answer) in answers.iter().enumerate() {
            designs.row_mut(row).assign(&answer.x);
            coefficients.row_mut(row).assign(&answer.defect);
        }
        let mut model = Self { designs, coefficients, inverse_square: length.powi(-2) };
        let kernels: Vec<Array1<f64>> = model.designs.rows().into_iter().map(|x| model.kernel(x)).collect();
        let matrix = Array2::from_shape_fn((answers.len(), answers.len()), |(i, j)| kernels[i][j]);
        // The kernel is positive definite, so that no pivot is below the nugget.
        match CholeskyFactor::new(matrix, NUGGET) {
            Some(factor) => {
                model.coefficients.columns_mut().into_iter().for_each(|column| factor.solve(column));
            }
            None => model.coefficients.fill(0.0),
        }
        model
    }

    /// k(x, x_k) of all k.
    fn kernel(&self, x: ArrayView1<'_, f64>) -> Array1<f64> {
        let square = |row: ArrayView1<'_, f64>| row.iter().zip(x).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        let kernel = |row| (1.0 + square(row) * self.inverse_square).sqrt().recip();
        self.designs.rows().into_iter().map(kernel).collect()
    }

    /// d(x), (`dim_y`).
    pub(crate) fn values(&self, x: ArrayView1<'_, f64>) -> Array1<f64> {
        self.kernel(x).dot(&self.coefficients)
    }

    /// Adds d(x) and its derivative to one row of values and of transposed Jacobians.
    pub(crate) fn correct(&self, evaluation: &mut Evaluation, row: usize, x: ArrayView1<'_, f64>) {
        let measured = self.coefficients.ncols();
        let kernel = self.kernel(x);
        let mut values = evaluation.values.slice_mut(s![row, ..measured]);
        values += &kernel.dot(&self.coefficients);
        // ∂k/∂x = −k³ (x − x_k) / ℓ².
        let slopes = kernel.mapv(|kernel| -kernel.powi(3) * self.inverse_square);
        let changes = (&x.insert_axis(Axis(1)) - &self.designs.t()) * &slopes;
        let mut jacobian = evaluation.jacobian.slice_mut(s![row, .., ..measured]);
        jacobian += &changes.dot(&self.coefficients);
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use ndarray::{Array3, array};

    use super::*;

    fn corrected(model: &DefectModel, x: ArrayView1<'_, f64>) -> Evaluation {
        // What is behind the measured values is left alone.
        let mut evaluation = Evaluation { values: Array2::zeros((1, 4)), jacobian: Array3::zeros((1, 2, 4)) };
        model.correct(&mut evaluation, 0, x);
        evaluation
    }

    fn model() -> (DefectModel, [Answer; 4]) {
        let answer = |x: Array1<f64>, defect| Answer { x, defect };
        let answers = [
            answer(array![0.0, 0.0], array![1.0, 0.0, -2.0]),
            answer(array![0.3, -0.2], array![0.5, 1.0, -1.0]),
            answer(array![-1.0, 2.0], array![0.0, 3.0, 0.5]),
            // Twice the same design.
            answer(array![-1.0, 2.0], array![0.0, 3.0, 0.5]),
        ];
        (DefectModel::new(&answers, 0.7), answers)
    }

    #[test]
    fn it_knows_what_was_answered_and_forgets_it_far_away() {
        let (model, answers) = model();
        for (answer, coefficients) in answers.iter().zip(model.coefficients.rows()) {
            // (K + ν I) c = d.
            let known = &answer.defect - &(&coefficients * NUGGET);
            let evaluation = corrected(&model, answer.x.view());
            assert_abs_diff_eq!(evaluation.values.slice(s![0, ..3]), known, epsilon = 1e-12);
            assert_abs_diff_eq!(model.values(answer.x.view()), known, epsilon = 1e-12);
            assert_eq!(evaluation.values[[0, 3]], 0.0);
        }
        assert!(model.values(array![1e9, 0.0].view()).iter().all(|value| value.abs() < 1e-6));
    }

    #[test]
    fn its_derivative_is_that_of_its_values() {
        let (model, _) = model();
        let (x, step) = (array![0.4, 0.9], 1e-6);
        let jacobian = corrected(&model, x.view()).jacobian;
        for variable in 0..2 {
            let at = |sign: f64| {
                let mut x = x.clone();
                x[variable] += sign * step;
                corrected(&model, x.view()).values
            };
            let difference = (at(1.0) - at(-1.0)) / (2.0 * step);
            // Rounding 1e-16 / 1e-6, and the third derivative times 1e-12.
            assert_abs_diff_eq!(jacobian.slice(s![0, variable, ..]), difference.row(0), epsilon = 1e-8);
        }
    }
}
