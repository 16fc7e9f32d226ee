//! What the answers of one basin say of the model's Jacobian.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2};

use crate::cholesky;

/// Answers that a basin remembers, the latest: each correction takes their number to the third power.
const LARGEST_COUNT: usize = 32;

/// How far the model's error is about linear in x, in standardised units.
const LINEAR_LENGTH: f64 = 1.0;

/// A step is left out where shorter ones leave a smaller share than this of its direction's square, or of its doubt: they
/// tell more of it, and the system keeps its rank.
const LEAST_NEWS: f64 = 1e-6;

/// A simulated design.
struct Secant {
    x: Array1<f64>,
    /// f(x) − y.
    residuals: Array1<f64>,
    /// What the model that is to be corrected has wrong there.
    error: Array1<f64>,
}

/// The answers of one basin.
///
/// From the center x_c to each answer x_k leads a step s_k, along which the model's error e changes by e(x_k) − e(x_c).
/// Broyden's update (1965) corrects the Jacobian by the least C that explains the last of them; here C explains them all, as
/// in the multisecant methods (Eyert 1996; Fang and Saad 2009), each as far as its step is short: over the length s a slope
/// may change by a share s² / 2 of its square, with lengths in units of what the error is linear over. C minimises
///
/// ```text
/// ‖C‖² + Σ_k ‖C s_k / ‖s_k‖ − (e(x_k) − e(x_c)) / ‖s_k‖‖² / (‖s_k‖² / 2)
/// ```
#[derive(Default)]
pub(crate) struct Secants {
    answers: Vec<Secant>,
}

impl Secants {
    /// A basin that has this answer alone.
    ///
    /// * `model`: what the model has for f(x) − y
    pub(crate) fn begin(&mut self, x: &Array1<f64>, residuals: &Array1<f64>, model: ArrayView1<'_, f64>) {
        self.answers.clear();
        self.push(x, residuals, model);
    }

    /// One more answer of the basin.
    pub(crate) fn push(&mut self, x: &Array1<f64>, residuals: &Array1<f64>, model: ArrayView1<'_, f64>) {
        if self.answers.len() == LARGEST_COUNT {
            self.answers.remove(0);
        }
        let error = residuals - &model;
        self.answers.push(Secant { x: x.clone(), residuals: residuals.clone(), error });
    }

    fn at(&self, x: ArrayView1<'_, f64>) -> Option<&Secant> {
        self.answers.iter().rev().find(|answer| answer.x == x)
    }

    /// The simulator answers by something else from now on, as at a symmetric copy, which differs by a constant: by what it
    /// says at the simulated design x.
    pub(crate) fn shift(&mut self, x: ArrayView1<'_, f64>, residuals: &Array1<f64>) {
        let Some(difference) = self.at(x).map(|answer| residuals - &answer.residuals) else { return };
        for answer in &mut self.answers {
            answer.residuals += &difference;
            answer.error += &difference;
        }
    }

    /// Cᵀ, (`dim_x`, residuals); 0 where nothing was simulated but the center.
    pub(crate) fn correction(&self, center: ArrayView1<'_, f64>, residuals: usize) -> Array2<f64> {
        let zero = Array2::zeros((center.len(), residuals));
        let Some(origin) = self.at(center) else { return zero };
        let mut steps = Vec::new();
        for answer in &self.answers {
            let step = &answer.x - &center;
            let length = step.dot(&step).sqrt();
            if length > 0.0 {
                steps.push((step / length, length, (&answer.error - &origin.error) / length));
            }
        }
        steps.sort_by(|(_, a, _), (_, b, _)| a.total_cmp(b));
        let mut span: Vec<Array1<f64>> = Vec::new();
        steps.retain(|(direction, length, _)| brings_news(&mut span, direction, *length));
        let directions =
            Array2::from_shape_fn((steps.len(), center.len()), |(row, column)| steps[row].0[column]);
        let slopes = Array2::from_shape_fn((steps.len(), residuals), |(row, column)| steps[row].2[column]);
        let lengths: Vec<f64> = steps.iter().map(|(_, length, _)| *length).collect();
        explain(directions.view(), &lengths, slopes).unwrap_or(zero)
    }
}

/// The doubt of what a step of this length tells of the slope at its start, as a share of the slope's square.
fn doubt(length: f64) -> f64 {
    0.5 * (length / LINEAR_LENGTH).powi(2)
}

/// Whether a step tells what those before did not; `span` are orthonormal directions that they span.
fn brings_news(span: &mut Vec<Array1<f64>>, direction: &Array1<f64>, length: f64) -> bool {
    let mut rest = direction.clone();
    for known in span.iter() {
        let shared = known.dot(&rest);
        rest.scaled_add(-shared, known);
    }
    let square = rest.dot(&rest);
    if square > LEAST_NEWS {
        span.push(rest / square.sqrt());
    }
    square + doubt(length) > LEAST_NEWS
}

/// Cᵀ = Dᵀ (D Dᵀ + Λ)⁻¹ Z of directions D, (steps, `dim_x`), and slopes Z along them, (steps, residuals).
fn explain(directions: ArrayView2<'_, f64>, lengths: &[f64], mut slopes: Array2<f64>) -> Option<Array2<f64>> {
    let mut matrix = directions.dot(&directions.t());
    for (index, length) in lengths.iter().enumerate() {
        matrix[[index, index]] += doubt(*length);
    }
    let factor = cholesky::factor(matrix, 0.0)?;
    slopes.columns_mut().into_iter().for_each(|column| cholesky::solve(&factor, column));
    Some(directions.t().dot(&slopes))
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use ndarray::{Axis, array};

    use super::*;

    /// A basin of the error J x, seen at these designs; the model is 0.
    fn linear(designs: &Array2<f64>, jacobian: &Array2<f64>) -> Secants {
        let mut secants = Secants::default();
        for (index, x) in designs.rows().into_iter().enumerate() {
            let (x, error) = (x.to_owned(), jacobian.t().dot(&x));
            let model = Array1::zeros(error.len());
            if index == 0 {
                secants.begin(&x, &error, model.view());
            } else {
                secants.push(&x, &error, model.view());
            }
        }
        secants
    }

    #[test]
    fn short_steps_tell_the_whole_jacobian_of_a_linear_error() {
        let jacobian = array![[1.0, -2.0, 0.5], [0.3, 4.0, 0.0]];
        let step = 1e-3;
        let secants = linear(&array![[0.5, 0.5], [0.5 + step, 0.5], [0.5 + step, 0.5 - step]], &jacobian);
        let center = array![0.5 + step, 0.5];
        // The steps are at right angles: each loses its doubt, and rounding is 1e-16 / s.
        let lost = 5.0 * doubt(step);
        assert_abs_diff_eq!(secants.correction(center.view(), 3), jacobian, epsilon = lost + 1e-12);
    }

    #[test]
    fn one_step_tells_of_its_direction_alone() {
        let jacobian = array![[1.0], [1.0]];
        let secants = linear(&array![[0.0, 0.0], [1e-2, 0.0]], &jacobian);
        let correction = secants.correction(array![0.0, 0.0].view(), 1);
        assert_abs_diff_eq!(correction[[0, 0]], 1.0 / (1.0 + 0.5e-4), epsilon = 1e-12);
        assert_eq!(correction[[1, 0]], 0.0);
    }

    #[test]
    fn where_answers_contradict_each_other_the_nearer_one_is_right() {
        let mut secants = Secants::default();
        let model = array![0.0];
        secants.begin(&array![0.0], &array![0.0], model.view());
        secants.push(&array![1.0], &array![5.0], model.view());
        secants.push(&array![-0.01], &array![-0.01], model.view());
        // Slopes of 5 and of 1, with weights of 1 / 0.5 and 1 / 0.5e-4 beside 1 of C = 0.
        let (far, near) = (2.0, 1.0 / 0.5e-4);
        let slope = (5.0 * far + near) / (1.0 + far + near);
        let correction = secants.correction(array![0.0].view(), 1);
        // The pivot of 1 − (1 − 0.5e-4) costs four digits and a half.
        assert_abs_diff_eq!(correction, array![[slope]], epsilon = 1e-10);
        // A step whose direction is known to a millionth is left out, whatever it says.
        secants.push(&array![-1e-5], &array![-1e-5], model.view());
        secants.push(&array![2e-5], &array![1e9], model.view());
        assert_abs_diff_eq!(secants.correction(array![0.0].view(), 1), array![[1.0]], epsilon = 1e-3);
    }

    #[test]
    fn equal_designs_and_long_basins_leave_numbers() {
        let mut secants = linear(&array![[0.0, 0.0], [0.1, 0.0], [0.1, 0.0], [0.2, 0.0]], &Array2::eye(2));
        assert!(secants.correction(array![0.0, 0.0].view(), 2).iter().all(|value| value.is_finite()));
        for index in 0..2 * LARGEST_COUNT {
            let x = array![0.3, index as f64];
            secants.push(&x, &x, array![0.0, 0.0].view());
        }
        assert_eq!(secants.answers.len(), LARGEST_COUNT);
        let last = array![0.3, (2 * LARGEST_COUNT - 1) as f64];
        assert!(secants.correction(last.view(), 2).iter().all(|value| value.is_finite()));
        assert_eq!(secants.correction(array![0.0, 0.0].view(), 2), Array2::<f64>::zeros((2, 2)), "forgotten");
    }

    #[test]
    fn a_constant_between_copies_is_no_slope() {
        let jacobian = array![[1.0, -2.0], [0.3, 4.0]];
        let designs = array![[0.1, 0.2], [0.3, -0.1], [0.2, 0.2]];
        let (mut secants, whole) = (linear(&designs, &jacobian), linear(&designs, &jacobian));
        let center = designs.index_axis(Axis(0), 1);
        let offset = array![7.0, -1.0];
        secants.shift(center, &(jacobian.t().dot(&center) + &offset));
        let next = array![0.4, 0.4];
        secants.push(&next, &(jacobian.t().dot(&next) + &offset), array![0.0, 0.0].view());
        // And back.
        secants.shift(center, &jacobian.t().dot(&center));
        let mut all = whole;
        all.push(&next, &jacobian.t().dot(&next), array![0.0, 0.0].view());
        let (shifted, plain) = (secants.correction(center, 2), all.correction(center, 2));
        // Rounding of 7, divided by a step of 0.3.
        assert_abs_diff_eq!(shifted, plain, epsilon = 1e-13);
    }
}
