//! D1, ballistics: where a ball thrown against air drag lands (section 8.6.1).

mod landing;

use std::f64::consts::PI;

use inverse_core::{
    DifferentiableSimulator, IndependentPrior, Marginal, Prior, SimulationError, Simulator, Task,
};
use ndarray::{Array2, Array3, ArrayView2};

use self::landing::landing_time;
use crate::fixed_prior::fixed_prior;
use crate::rows::{jacobian_rows, simulate_rows};

/// Acceleration of gravity g, m/s².
const GRAVITY: f64 = 9.81;
/// Drag coefficient k, kg/s: the force of the air is −k times the velocity.
const DRAG: f64 = 0.25;
/// Mass of the ball m, kg.
const MASS: f64 = 0.2;

/// The time m/k in which drag takes all but 1/e of the velocity, s.
const DECAY_TIME: f64 = MASS / DRAG;
/// The speed gm/k of a long fall, m/s.
const TERMINAL_SPEED: f64 = GRAVITY * DECAY_TIME;
/// The height gm²/k² that a ball at terminal speed falls in one decay time, m.
const DECAY_HEIGHT: f64 = TERMINAL_SPEED * DECAY_TIME;

/// D1: the position at which a thrown ball hits the ground (section 8.6.1).
///
/// ```text
/// v₁ = x₄ cos x₃,  v₂ = x₄ sin x₃
/// T₁(t) = x₁ − (v₁ m / k) (e^{−kt/m} − 1)
/// T₂(t) = x₂ − (m / k²) ((gm + v₂ k) (e^{−kt/m} − 1) + g t k)
/// y = T₁(t*) where T₂(t*) = 0
/// ```
///
/// * x: position x₁ in m, height x₂ in m, launch angle x₃ in radians above the horizontal, speed x₄ in m/s;
///   x₁ ~ N(0, ¼), x₂ ~ N(3/2, ¼) (variances), x₃ ~ U(9°, 72°), x₄ ~ Poisson(15)
/// * y: position of impact in m
///
/// t* is the moment the ball comes down: the last root of T₂. A ball thrown upwards from the ground
/// therefore flies, though t = 0 is a root as well. A ball that starts below the ground and never rises
/// above it has no impact, and y is NaN; so it is where y exceeds the range of `f64`. Everywhere else y is
/// exact to rounding: the root is found by a guarded Newton iteration, not on a grid of times.
///
/// The Jacobian comes from the implicit function theorem. It is NaN where y is, and where the derivative
/// does not exist: at a flight that just touches the ground from below.
///
/// The paper does not give the constants; g = 9.81 m/s², k = 0.25 kg/s and m = 0.2 kg are those of its
/// authors' code. That code differs from the paper, and from this type, in three points: x₃ reaches up to
/// 81°, x₂ is max(0, N(3/2, ¼)), and the impact is the nearest of 1,500 time steps over 6 s, which
/// misses by up to two centimetres. (It also feeds x₄ / 15 to the networks; standardisation does that here.)
///
/// ```
/// use inverse_core::Simulator;
/// use inverse_tasks::Ballistics;
/// use ndarray::array;
///
/// // The same throw from a table, from the ground, and straight down into a hole.
/// let x = array![[0.0, 1.0, 0.8, 15.0], [0.0, 0.0, 0.8, 15.0], [0.0, -1.0, -0.8, 15.0]];
/// let y = Ballistics::new().simulate(x.view())?;
/// assert!(y[[0, 0]] > y[[1, 0]] && y[[1, 0]] > 0.0);
/// assert!(y[[2, 0]].is_nan());
/// # Ok::<(), inverse_core::SimulationError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Ballistics {
    prior: IndependentPrior,
}

impl Ballistics {
    /// The task's name.
    pub const NAME: &str = "ballistics";

    /// The task with the paper's prior.
    pub fn new() -> Self {
        let degree = PI / 180.0;
        let prior = IndependentPrior::new(&[
            Marginal::Normal { mean: 0.0, deviation: 0.5 },
            Marginal::Normal { mean: 1.5, deviation: 0.5 },
            Marginal::Uniform { lower: 9.0 * degree, upper: 72.0 * degree },
            Marginal::Poisson { rate: 15.0 },
        ]);
        Self { prior: fixed_prior(prior) }
    }
}

impl Default for Ballistics {
    fn default() -> Self {
        Self::new()
    }
}

/// One throw and its end.
struct Flight {
    /// cos x₃ and sin x₃.
    direction: (f64, f64),
    /// v₂ in units of the terminal speed.
    climb: f64,
    /// Time of flight τ = k t* / m.
    time: f64,
    /// Share 1 − e^{−τ} of the horizontal velocity that drag took.
    spent: f64,
    /// y.
    impact: f64,
}

/// Follows one throw to its impact; `None` where there is none.
fn fly([x1, x2, x3, x4]: [f64; 4]) -> Option<Flight> {
    let (sine, cosine) = x3.sin_cos();
    let climb = x4 * sine / TERMINAL_SPEED;
    let time = landing_time(x2 / DECAY_HEIGHT, climb)?;
    let spent = -(-time).exp_m1();
    let impact = x1 + x4 * cosine * DECAY_TIME * spent;
    Some(Flight { direction: (cosine, sine), climb, time, spent, impact })
}

/// dy/dx by implicit differentiation of F(τ) = 0 (see [`landing_time`]); `None` where there is no impact.
fn derivative(x: [f64; 4]) -> Option<[f64; 4]> {
    let Flight { direction: (cosine, sine), climb, time, spent, impact } = fly(x)?;
    if !impact.is_finite() {
        return None;
    }
    let [.., x4] = x;
    let left = (-time).exp();
    // Minus dF/dτ, the speed of descent in units of the terminal speed: dτ = dF / descent.
    let descent = spent - climb * left;
    let impact_by_height = x4 * cosine * left / (TERMINAL_SPEED * descent);
    let impact_by_v1 = DECAY_TIME * spent;
    let impact_by_v2 = impact_by_height * DECAY_TIME * spent;
    Some([
        1.0,
        impact_by_height,
        x4 * (impact_by_v2 * cosine - impact_by_v1 * sine),
        impact_by_v1 * cosine + impact_by_v2 * sine,
    ])
}

impl Simulator for Ballistics {
    fn dim_x(&self) -> usize {
        4
    }

    fn dim_y(&self) -> usize {
        1
    }

    fn simulate(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>, SimulationError> {
        simulate_rows(x, |x| [fly(x).map_or(f64::NAN, |flight| flight.impact)])
    }
}

impl DifferentiableSimulator for Ballistics {
    fn jacobian(&self, x: ArrayView2<'_, f64>) -> Result<Array3<f64>, SimulationError> {
        jacobian_rows(x, |x| [derivative(x).unwrap_or([f64::NAN; 4])])
    }
}

impl Task for Ballistics {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn prior(&self) -> &dyn Prior {
        &self.prior
    }
}
