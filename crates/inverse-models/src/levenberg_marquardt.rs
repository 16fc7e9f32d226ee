//! The Levenberg–Marquardt method: damped Gauss–Newton steps for many least-squares problems at once.
//!
//! At x with residuals r(x) and Jacobian J, the step p solves (Levenberg 1944, Marquardt 1963)
//!
//! ```text
//! min_p ‖r + J p‖² + μ ‖p‖²
//! ```
//!
//! and is taken where it lowers ‖r‖². The damping μ falls after steps that did what J promised, and rises after
//! others (Moré 1978). Variables stay between bounds: one that a step would push through its bound is held there.

use inverse_core::InvalidArgument;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use crate::damped_step::damped_step;
use crate::host_network::Evaluation;

/// Damping is raised at least to this after a step that failed: from almost nothing it would take many tries.
const LEAST_RAISED_DAMPING: f64 = 1e-4;
/// Damping never falls below this: the damped system keeps its rank in `f64`.
const LEAST_DAMPING: f64 = 1e-16;
/// Where even steps this damped fail, the point is as low as the precision of the residuals allows.
const LARGEST_DAMPING: f64 = 1e8;

/// How Levenberg–Marquardt descends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LevenbergMarquardtSettings {
    /// Largest number of steps; each costs one evaluation of f̂ and of its Jacobian.
    pub iterations: usize,
    /// Damping of the first step, relative to the largest squared column of the Jacobian: above 0, at most 1e8, where a
    /// descent ends.
    pub damping: f64,
    /// A start is finished where its mean squared error, in standardised units, is at most this.
    pub tolerance: f64,
    /// A start is finished, too, where the Jacobian promises to lower its error by a smaller share than this: it is in
    /// a minimum that does not meet the target.
    pub least_decrease: f64,
    /// λ, the weight of the boundary loss of eq. 5 in the ranking of end points, in standardised units.
    ///
    /// While they descend, designs may move as far as the training designs reached, and no further.
    pub boundary_weight: f64,
}

impl Default for LevenbergMarquardtSettings {
    fn default() -> Self {
        // Below 1e-12 the rounding of `f32` is all that is left of the error.
        Self { iterations: 20, damping: 1e-2, tolerance: 1e-12, least_decrease: 1e-6, boundary_weight: 0.01 }
    }
}

impl LevenbergMarquardtSettings {
    pub(crate) fn validate(&self) -> Result<(), InvalidArgument> {
        if self.iterations == 0 {
            return Err(InvalidArgument::new("iterations", "at least 1", 0));
        }
        if !(self.damping > 0.0 && self.damping <= LARGEST_DAMPING) {
            let expected = format!("a positive number up to {LARGEST_DAMPING:e}");
            return Err(InvalidArgument::new("damping", expected, self.damping));
        }
        for (name, value) in [
            ("tolerance", self.tolerance),
            ("least_decrease", self.least_decrease),
            ("boundary_weight", self.boundary_weight),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(InvalidArgument::new(name, "a number of at least 0", value));
            }
        }
        Ok(())
    }
}

/// Bounds of every variable of every problem, (problems, variables).
pub(crate) struct Bounds {
    pub(crate) lower: Array2<f64>,
    pub(crate) upper: Array2<f64>,
}

/// The lowest point that a problem's search saw.
#[derive(Debug, Clone)]
pub(crate) struct Minimum {
    pub(crate) x: Array1<f64>,
    pub(crate) residuals: Array1<f64>,
    /// ‖r‖².
    pub(crate) loss: f64,
}

/// One problem on its way.
pub(crate) struct LeastSquares {
    index: usize,
    lowest: Minimum,
    /// Jᵀ at the lowest point, (variables, residuals).
    jacobian: Array2<f64>,
    damping: f64,
    /// The decrease of ‖r‖² that J promises of the step that is being evaluated.
    promised: f64,
}

/// Minimises ‖r‖² of many problems, each from its own start.
///
/// * `starts`: (problems, variables)
/// * `evaluate`: residuals and transposed Jacobians of the problems with those indices at x, one row each
///
/// Returns one minimum a start, in order. A problem whose residuals are not finite keeps its start, at an infinite
/// loss.
pub(crate) fn minimize(
    starts: &Array2<f64>,
    bounds: &Bounds,
    settings: &LevenbergMarquardtSettings,
    mut evaluate: impl FnMut(&[usize], ArrayView2<'_, f64>) -> Evaluation,
) -> Vec<Minimum> {
    let mut x = starts.clone();
    ndarray::Zip::from(&mut x).and(&bounds.lower).and(&bounds.upper).for_each(|x, lower, upper| {
        *x = x.max(*lower).min(*upper);
    });
    let all: Vec<usize> = (0..x.nrows()).collect();
    let mut active = begin(&x, &evaluate(&all, x.view()), settings);
    let mut ends: Vec<Option<Minimum>> = vec![None; x.nrows()];
    for _ in 0..settings.iterations {
        let mut moving = Vec::with_capacity(active.len());
        for mut problem in active {
            match problem.propose(bounds, settings) {
                Some(trial) => moving.push((problem, trial)),
                None => ends[problem.index] = Some(problem.lowest),
            }
        }
        if moving.is_empty() {
            active = Vec::new();
            break;
        }
        let indices: Vec<usize> = moving.iter().map(|(problem, _)| problem.index).collect();
        let mut x = Array2::zeros((moving.len(), starts.ncols()));
        for ((_, trial), mut row) in moving.iter().zip(x.rows_mut()) {
            row.assign(trial);
        }
        let evaluation = evaluate(&indices, x.view());
        active = moving
            .into_iter()
            .enumerate()
            .map(|(row, (mut problem, trial))| {
                let (residuals, jacobian) = evaluation.row(row);
                problem.answer(trial, residuals, jacobian);
                problem
            })
            .collect();
    }
    for problem in active {
        ends[problem.index] = Some(problem.lowest);
    }
    ends.into_iter().flatten().collect()
}

fn begin(
    x: &Array2<f64>,
    evaluation: &Evaluation,
    settings: &LevenbergMarquardtSettings,
) -> Vec<LeastSquares> {
    let problem = |(index, x): (usize, ArrayView1<'_, f64>)| {
        let (residuals, jacobian) = evaluation.row(index);
        let lowest = Minimum { x: x.to_owned(), loss: squared_norm(residuals.view()), residuals };
        LeastSquares { index, lowest, jacobian, damping: settings.damping, promised: f64::INFINITY }
    };
    x.rows().into_iter().enumerate().map(problem).collect()
}

/// ‖r‖², infinite where it is not a number.
pub(crate) fn squared_norm(residuals: ArrayView1<'_, f64>) -> f64 {
    let norm = residuals.dot(&residuals);
    if norm.is_nan() { f64::INFINITY } else { norm }
}

impl LeastSquares {
    /// A problem of that row of the bounds, before its first answer: there is no step yet.
    pub(crate) fn unknown(index: usize, variables: usize, settings: &LevenbergMarquardtSettings) -> Self {
        let lowest =
            Minimum { x: Array1::zeros(variables), residuals: Array1::zeros(0), loss: f64::INFINITY };
        let jacobian = Array2::zeros((variables, 0));
        Self { index, lowest, jacobian, damping: settings.damping, promised: f64::INFINITY }
    }

    /// Where the next step leads, or none where the problem is done.
    pub(crate) fn propose(
        &mut self,
        bounds: &Bounds,
        settings: &LevenbergMarquardtSettings,
    ) -> Option<Array1<f64>> {
        let Minimum { x, residuals, loss } = &self.lowest;
        if *loss <= settings.tolerance || !loss.is_finite() || self.damping > LARGEST_DAMPING {
            return None;
        }
        let (lower, upper) = (bounds.lower.row(self.index), bounds.upper.row(self.index));
        let gradient = self.jacobian.dot(residuals);
        let free: Vec<usize> = (0..x.len())
            .filter(|&i| !(x[i] <= lower[i] && gradient[i] >= 0.0 || x[i] >= upper[i] && gradient[i] <= 0.0))
            .collect();
        let jacobian = self.jacobian.select(Axis(0), &free);
        let largest = jacobian.rows().into_iter().map(|row| row.dot(&row)).fold(0.0, f64::max);
        if !(largest > 0.0 && largest.is_finite()) {
            return None;
        }
        let step = damped_step(jacobian.view(), residuals.view(), self.damping * largest);
        let mut moved = x.clone();
        for (&i, step) in free.iter().zip(&step) {
            moved[i] = (x[i] + step).max(lower[i]).min(upper[i]);
        }
        // A step that its bounds have cut is judged by what is left of it.
        let linear = residuals + &self.jacobian.t().dot(&(&moved - x));
        let promised = loss - squared_norm(linear.view());
        let worthwhile = promised > settings.least_decrease * loss || self.damping > LEAST_RAISED_DAMPING;
        if !worthwhile || moved == *x {
            return None;
        }
        self.promised = promised;
        Some(moved)
    }

    /// Takes the step where it leads down, and adapts the damping to what the step was worth.
    pub(crate) fn answer(&mut self, x: Array1<f64>, residuals: Array1<f64>, jacobian: Array2<f64>) {
        let loss = squared_norm(residuals.view());
        let decrease = self.lowest.loss - loss;
        let share = decrease / self.promised;
        if self.lowest.loss.is_infinite() {
            self.lowest = Minimum { x, residuals, loss };
            self.jacobian = jacobian;
        } else if decrease > 0.0 {
            let factor = if share > 0.75 {
                0.1
            } else if share < 0.25 {
                4.0
            } else {
                1.0
            };
            self.damping = (self.damping * factor).max(LEAST_DAMPING);
            self.lowest = Minimum { x, residuals, loss };
            self.jacobian = jacobian;
        } else {
            self.damping = (self.damping * 10.0).max(LEAST_RAISED_DAMPING);
        }
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use ndarray::{Array3, array, s};

    use super::*;

    fn unbounded(shape: (usize, usize)) -> Bounds {
        Bounds {
            lower: Array2::from_elem(shape, f64::NEG_INFINITY),
            upper: Array2::from_elem(shape, f64::INFINITY),
        }
    }

    /// r = (10 (x₂ − x₁²), 1 − x₁): Rosenbrock's valley, whose only minimum is (1, 1).
    fn rosenbrock(_: &[usize], x: ArrayView2<'_, f64>) -> Evaluation {
        let mut values = Array2::zeros((x.nrows(), 2));
        let mut jacobian = Array3::zeros((x.nrows(), 2, 2));
        for (row, x) in x.rows().into_iter().enumerate() {
            values.row_mut(row).assign(&array![10.0 * (x[1] - x[0] * x[0]), 1.0 - x[0]]);
            jacobian.index_axis_mut(Axis(0), row).assign(&array![[-20.0 * x[0], -1.0], [10.0, 0.0]]);
        }
        Evaluation { values, jacobian }
    }

    fn settings(iterations: usize) -> LevenbergMarquardtSettings {
        LevenbergMarquardtSettings {
            iterations,
            tolerance: 1e-28,
            least_decrease: 1e-9,
            ..Default::default()
        }
    }

    #[test]
    fn rosenbrocks_valley_is_followed_to_its_end() {
        let starts = array![[-1.2, 1.0], [0.0, -3.0], [1.0, 1.0]];
        let ends = minimize(&starts, &unbounded((3, 2)), &settings(60), rosenbrock);
        for end in &ends {
            assert_abs_diff_eq!(end.x, array![1.0, 1.0], epsilon = 1e-12);
        }
        let alone =
            minimize(&starts.slice(s![..1, ..]).to_owned(), &unbounded((1, 2)), &settings(60), rosenbrock);
        assert_eq!(alone[0].x, ends[0].x);
    }

    #[test]
    fn bounds_hold() {
        // In x₁ ≤ 0.5 the minimum lies at the bound: x₂ = x₁², loss (1 − x₁)².
        let bounds = Bounds { upper: array![[0.5, 9.0]], ..unbounded((1, 2)) };
        let end = &minimize(&array![[-1.2, 1.0]], &bounds, &settings(60), rosenbrock)[0];
        assert_abs_diff_eq!(end.x, array![0.5, 0.25], epsilon = 1e-6);
        assert_abs_diff_eq!(end.loss, 0.25, epsilon = 1e-9);
        let outside = &minimize(&array![[3.0, 99.0]], &bounds, &settings(1), rosenbrock)[0];
        assert!(outside.x[0] <= 0.5 && outside.x[1] <= 9.0);
    }

    #[test]
    fn values_that_are_not_numbers_end_a_problem_alone() {
        let evaluate = |problems: &[usize], x: ArrayView2<'_, f64>| {
            let mut evaluation = rosenbrock(problems, x);
            for (row, problem) in problems.iter().enumerate() {
                if *problem == 0 {
                    evaluation.values.row_mut(row).fill(f64::NAN);
                }
            }
            evaluation
        };
        let ends = minimize(&array![[0.0, 0.0], [0.0, 0.0]], &unbounded((2, 2)), &settings(60), evaluate);
        assert_eq!((ends[0].loss, &ends[0].x), (f64::INFINITY, &array![0.0, 0.0]));
        assert!(ends[1].loss < 1e-20);
    }

    #[test]
    fn settings_are_checked() {
        let default = LevenbergMarquardtSettings::default();
        assert!(default.validate().is_ok());
        for (bad, name) in [
            (LevenbergMarquardtSettings { iterations: 0, ..default.clone() }, "iterations"),
            (LevenbergMarquardtSettings { damping: 0.0, ..default.clone() }, "damping"),
            (LevenbergMarquardtSettings { damping: 1e9, ..default.clone() }, "damping"),
            (LevenbergMarquardtSettings { tolerance: f64::NAN, ..default.clone() }, "tolerance"),
            (LevenbergMarquardtSettings { boundary_weight: -1.0, ..default.clone() }, "boundary_weight"),
        ] {
            assert_eq!(bad.validate().unwrap_err().argument, name);
        }
    }
}
