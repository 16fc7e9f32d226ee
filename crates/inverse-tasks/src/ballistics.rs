//! D1: a ball thrown through air (section 8.6.1).

use inverse_core::{
    DifferentiableSimulator, IndependentPrior, InvalidArgument, Marginal, Prior, SimulationError, Simulator,
    Task,
};
use ndarray::{Array2, Array3, ArrayView2};

use crate::rows::{map_jacobians, map_rows};

/// Gravity, m/s²; the paper gives no constants, these are those of its released code.
const GRAVITY: f64 = 9.81;
/// Drag coefficient k, kg/s.
const DRAG: f64 = 0.25;
/// Mass m, kg.
const MASS: f64 = 0.2;

/// Newton's steps that are taken at most; quadratic convergence needs a handful, bisection of the whole
/// exponent range of f64 about a thousand.
const LARGEST_STEP_COUNT: usize = 2000;

/// Where a thrown ball lands: x = (x₁ in m, height x₂ in m, angle x₃ in radians, speed x₄ in m/s), y in m.
///
/// With v₁ = x₄ cos x₃, v₂ = x₄ sin x₃ and linear drag,
///
/// ```text
/// T₁(t) = x₁ − v₁ m/k · (e^(−kt/m) − 1)
/// T₂(t) = x₂ − m/k² · ((g m + v₂ k) · (e^(−kt/m) − 1) + g t k)
/// y = T₁(t*)  such that  T₂(t*) = 0
/// ```
///
/// t* is the last root: the ball comes down. It is found to rounding error, not on a grid of times. A ball
/// that starts below the ground and never reaches it has no y: its row is NaN.
///
/// The prior is the paper's: x₁ ~ N(0, 1/4), x₂ ~ N(3/2, 1/4), x₃ ~ U(9°, 72°), x₄ ~ Poisson(15). The
/// released code differs: angles up to 81°, heights cut at 0, and the nearest of 1,500 time steps for t*.
#[derive(Debug, Clone)]
pub struct Ballistics {
    prior: IndependentPrior,
}

impl Ballistics {
    /// The task's name.
    pub const NAME: &'static str = "ballistics";

    /// The task.
    ///
    /// # Errors
    /// Never with the constants of this file; the signature is that of all tasks.
    pub fn new() -> Result<Self, InvalidArgument> {
        let prior = IndependentPrior::new(&[
            Marginal::Normal { mean: 0.0, deviation: 0.5 },
            Marginal::Normal { mean: 1.5, deviation: 0.5 },
            Marginal::Uniform { lower: 9_f64.to_radians(), upper: 72_f64.to_radians() },
            Marginal::Poisson { rate: 15.0 },
        ])?;
        Ok(Self { prior })
    }
}

/// A flight in units of its own: τ = k t / m.
struct Flight {
    /// 1 + v₂ k / (g m).
    a: f64,
    /// x₂ k² / (g m²).
    c: f64,
}

impl Flight {
    fn new(x: &[f64; 4]) -> Self {
        let upward = x[3] * x[2].sin();
        let a = 1.0 + upward * DRAG / (GRAVITY * MASS);
        Self { a, c: x[1] * DRAG * DRAG / (GRAVITY * MASS * MASS) }
    }

    /// Height above ground, in units of g m² / k²: F(τ) = c + a (1 − e^(−τ)) − τ.
    fn height(&self, time: f64) -> f64 {
        self.c - self.a * (-time).exp_m1() - time
    }

    /// F′(τ) = a e^(−τ) − 1.
    fn slope(&self, time: f64) -> f64 {
        self.a * (-time).exp() - 1.0
    }

    /// The last root of F on τ ≥ 0; NaN where the ball never reaches the ground from above.
    ///
    /// For a > 0, F is concave: Newton's steps from s = a + c, where F = −a e^(−s) < 0, fall monotonically
    /// onto the last root. For a ≤ 0, F is convex and falls: Newton's steps from 0 rise onto the only root.
    /// A bracket guards both against rounding.
    fn landing(&self) -> f64 {
        let peak = if self.a > 1.0 { self.a.ln() } else { 0.0 };
        if self.height(peak).is_nan() || self.height(peak) < 0.0 {
            return f64::NAN;
        }
        let end = (self.a.max(0.0) + self.c).max(peak);
        let (mut low, mut high) = (peak, end);
        let mut time = if self.a > 0.0 { high } else { low };
        for _ in 0..LARGEST_STEP_COUNT {
            let height = self.height(time);
            if height >= 0.0 {
                low = low.max(time);
            } else {
                high = high.min(time);
            }
            let newton = time - height / self.slope(time);
            let next = if newton > low && newton < high { newton } else { 0.5 * (low + high) };
            if (next - time).abs() <= f64::EPSILON * next.abs() || next == low && next == high {
                return next;
            }
            time = next;
        }
        time
    }
}

impl Simulator for Ballistics {
    fn dim_x(&self) -> usize {
        4
    }

    fn dim_y(&self) -> usize {
        1
    }

    fn simulate(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>, SimulationError> {
        map_rows(x, |x| {
            let reach = -(-Flight::new(x).landing()).exp_m1();
            let y = x[0] + x[3] * x[2].cos() * MASS / DRAG * reach;
            [if y.is_finite() { y } else { f64::NAN }]
        })
    }
}

impl DifferentiableSimulator for Ballistics {
    /// By implicit differentiation of F(τ) = 0: ∂τ = −(∂c + ∂a (1 − e^(−τ))) / F′(τ).
    fn jacobian(&self, x: ArrayView2<'_, f64>) -> Result<Array3<f64>, SimulationError> {
        map_jacobians(x, |x| {
            let flight = Flight::new(x);
            let time = flight.landing();
            let (sine, cosine) = x[2].sin_cos();
            let (decay, reach) = ((-time).exp(), -(-time).exp_m1());
            let unit = MASS / DRAG;
            let by_height = DRAG * DRAG / (GRAVITY * MASS * MASS);
            let by_rise = DRAG / (GRAVITY * MASS) * reach;
            let per_time = -x[3] * cosine * unit * decay / flight.slope(time);
            let row = [
                1.0 + 0.0 * time,
                per_time * by_height,
                per_time * by_rise * x[3] * cosine - x[3] * sine * unit * reach,
                per_time * by_rise * sine + cosine * unit * reach,
            ];
            [row.map(|entry| if entry.is_finite() { entry } else { f64::NAN })]
        })
    }
}

impl Task for Ballistics {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn prior(&self) -> &dyn Prior {
        &self.prior
    }
}
