//! D3, the robotic arm: where an arm of three joints on a sliding foot reaches (section 8.6.2).

use inverse_core::{
    DifferentiableSimulator, IndependentPrior, Marginal, Prior, SimulationError, Simulator, Task,
};
use ndarray::{Array2, Array3, ArrayView2};

use crate::fixed_prior::fixed_prior;
use crate::rows::{jacobian_rows, simulate_rows};

/// Lengths l₁, l₂, l₃ of the arm's links.
const LENGTHS: [f64; 3] = [0.5, 0.5, 1.0];

/// Standard deviations of x: σ² = [1/16, 1/4, 1/4, 1/4].
const DEVIATIONS: [f64; 4] = [0.25, 0.5, 0.5, 0.5];

/// D3: the end point of a planar arm (section 8.6.2).
///
/// ```text
/// y₁ = l₁ sin(x₂) + l₂ sin(x₃ − x₂) + l₃ sin(x₄ − x₃ − x₂) + x₁
/// y₂ = l₁ cos(x₂) + l₂ cos(x₃ − x₂) + l₃ cos(x₄ − x₃ − x₂)
/// ```
///
/// * x: starting height x₁ in units of length, joint angles x₂, x₃, x₄ in radians; x ~ N(0, σ²) with
///   σ² = [1/16, 1/4, 1/4, 1/4]
/// * y: position (y₁, y₂) of the arm's end in units of length, l₁ = l₂ = 0.5, l₃ = 1
///
/// The prior's domain spans ±1.96 σ. The signs of the angles are the paper's, which are those of Ardizzone
/// et al., "Analyzing inverse problems with invertible neural networks" (2019), where the task comes from.
///
/// ```
/// use inverse_core::Simulator;
/// use inverse_tasks::RoboticArm;
/// use ndarray::array;
///
/// let y = RoboticArm::new().simulate(array![[0.25, 0.0, 0.0, 0.0]].view())?; // stretched out
/// assert_eq!(y, array![[0.25, 2.0]]);
/// # Ok::<(), inverse_core::SimulationError>(())
/// ```
#[derive(Debug, Clone)]
pub struct RoboticArm {
    prior: IndependentPrior,
}

impl RoboticArm {
    /// The task's name.
    pub const NAME: &str = "robotic-arm";

    /// The task with the paper's prior.
    pub fn new() -> Self {
        let marginals = DEVIATIONS.map(|deviation| Marginal::Normal { mean: 0.0, deviation });
        Self { prior: fixed_prior(IndependentPrior::new(&marginals)) }
    }
}

impl Default for RoboticArm {
    fn default() -> Self {
        Self::new()
    }
}

/// Each link as a vector (along y₁, along y₂).
fn links([_, x2, x3, x4]: [f64; 4]) -> [(f64, f64); 3] {
    let [l1, l2, l3] = LENGTHS;
    let turned = |length: f64, angle: f64| {
        let (sine, cosine) = angle.sin_cos();
        (length * sine, length * cosine)
    };
    [turned(l1, x2), turned(l2, x3 - x2), turned(l3, x4 - x3 - x2)]
}

impl Simulator for RoboticArm {
    fn dim_x(&self) -> usize {
        4
    }

    fn dim_y(&self) -> usize {
        2
    }

    fn simulate(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>, SimulationError> {
        simulate_rows(x, |x| {
            let [first, second, third] = links(x);
            [first.0 + second.0 + third.0 + x[0], first.1 + second.1 + third.1]
        })
    }
}

impl DifferentiableSimulator for RoboticArm {
    fn jacobian(&self, x: ArrayView2<'_, f64>) -> Result<Array3<f64>, SimulationError> {
        jacobian_rows(x, |x| {
            let [first, second, third] = links(x);
            // A link (s, c) whose angle grows moves by (c, −s).
            [
                [1.0, first.1 - second.1 - third.1, second.1 - third.1, third.1],
                [0.0, -first.0 + second.0 + third.0, -second.0 + third.0, -third.0],
            ]
        })
    }
}

impl Task for RoboticArm {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn prior(&self) -> &dyn Prior {
        &self.prior
    }
}
