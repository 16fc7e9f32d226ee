//! D3: the planar robotic arm (section 8.6.2).

use inverse_core::{
    DifferentiableSimulator, IndependentPrior, InvalidArgument, Marginal, Prior, SimulationError, Simulator,
    Task,
};
use ndarray::{Array2, Array3, ArrayView2};

use crate::rows::{map_jacobians, map_rows};

/// Lengths of the three links.
const LENGTHS: [f64; 3] = [0.5, 0.5, 1.0];

/// An arm on a rail: x = (height of its foot, three joint angles in radians), y = position of its hand.
///
/// ```text
/// y₁ = l₁ sin x₂ + l₂ sin(x₃ − x₂) + l₃ sin(x₄ − x₃ − x₂) + x₁
/// y₂ = l₁ cos x₂ + l₂ cos(x₃ − x₂) + l₃ cos(x₄ − x₃ − x₂)
/// ```
///
/// with l = (1/2, 1/2, 1) and x ~ N(0, σ²), σ² = (1/16, 1/4, 1/4, 1/4).
#[derive(Debug, Clone)]
pub struct RoboticArm {
    prior: IndependentPrior,
}

impl RoboticArm {
    /// The task's name.
    pub const NAME: &'static str = "robotic-arm";

    /// The task.
    ///
    /// # Errors
    /// Never with the constants of this file; the signature is that of all tasks.
    pub fn new() -> Result<Self, InvalidArgument> {
        let deviations = [0.25, 0.5, 0.5, 0.5];
        let marginals = deviations.map(|deviation| Marginal::Normal { mean: 0.0, deviation });
        Ok(Self { prior: IndependentPrior::new(&marginals)? })
    }
}

/// Directions of the three links.
fn directions(x: &[f64; 4]) -> [f64; 3] {
    [x[1], x[2] - x[1], x[3] - x[2] - x[1]]
}

impl Simulator for RoboticArm {
    fn dim_x(&self) -> usize {
        4
    }

    fn dim_y(&self) -> usize {
        2
    }

    fn simulate(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>, SimulationError> {
        map_rows(x, |x| {
            let mut hand = [x[0], 0.0];
            for (length, direction) in LENGTHS.iter().zip(directions(x)) {
                let (sine, cosine) = direction.sin_cos();
                hand[0] += length * sine;
                hand[1] += length * cosine;
            }
            hand
        })
    }
}

impl DifferentiableSimulator for RoboticArm {
    fn jacobian(&self, x: ArrayView2<'_, f64>) -> Result<Array3<f64>, SimulationError> {
        map_jacobians(x, |x| {
            let [first, second, third] = directions(x).map(f64::sin_cos);
            let [l1, l2, l3] = LENGTHS;
            // The directions' derivatives: x₂ turns the first link by 1 and the others by −1, and so on.
            let row = |a: f64, b: f64, c: f64| [l1 * a - l2 * b - l3 * c, l2 * b - l3 * c, l3 * c];
            let [a, b, c] = row(first.1, second.1, third.1);
            let [d, e, f] = row(-first.0, -second.0, -third.0);
            [[1.0, a, b, c], [0.0, d, e, f]]
        })
    }
}

impl Task for RoboticArm {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn prior(&self) -> &dyn Prior {
        &self.prior
    }
}
