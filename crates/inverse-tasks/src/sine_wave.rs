//! D2, the sine wave: the benchmark whose designs can be drawn on paper (section 5.2).

use std::f64::consts::PI;

use inverse_core::{BoxPrior, DifferentiableSimulator, Prior, SimulationError, Simulator, Task};
use ndarray::{Array2, Array3, ArrayView2};

use crate::fixed_prior::fixed_prior;
use crate::rows::{jacobian_rows, simulate_rows};

/// Three half turns a unit of x.
const WAVE_NUMBER: f64 = 3.0 * PI;

/// D2: y = sin(3πx₁) + cos(3πx₂) (section 5.2).
///
/// * x: two numbers without unit, uniform on the square [-1, 1]²
/// * y: one number without unit, between -2 and 2
///
/// Each y has a family of closed curves, or points, of solutions, repeated over the square. The phase 3πx
/// is rounded, so y carries an error of about |x| · 10⁻¹⁵: nothing inside the prior's square, everything
/// where |x| is astronomic.
///
/// ```
/// use inverse_core::Simulator;
/// use inverse_tasks::SineWave;
/// use ndarray::array;
///
/// let y = SineWave::new().simulate(array![[0.0, 0.0], [0.5, 1.0]].view())?;
/// assert_eq!(y, array![[1.0], [-2.0]]);
/// # Ok::<(), inverse_core::SimulationError>(())
/// ```
#[derive(Debug, Clone)]
pub struct SineWave {
    prior: BoxPrior,
}

impl SineWave {
    /// The task's name.
    pub const NAME: &str = "sine-wave";

    /// The task with the paper's prior.
    pub fn new() -> Self {
        Self { prior: fixed_prior(BoxPrior::new(&[-1.0; 2], &[1.0; 2])) }
    }
}

impl Default for SineWave {
    fn default() -> Self {
        Self::new()
    }
}

impl Simulator for SineWave {
    fn dim_x(&self) -> usize {
        2
    }

    fn dim_y(&self) -> usize {
        1
    }

    fn simulate(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>, SimulationError> {
        simulate_rows(x, |[x1, x2]| [(WAVE_NUMBER * x1).sin() + (WAVE_NUMBER * x2).cos()])
    }
}

impl DifferentiableSimulator for SineWave {
    fn jacobian(&self, x: ArrayView2<'_, f64>) -> Result<Array3<f64>, SimulationError> {
        jacobian_rows(x, |[x1, x2]| {
            [[WAVE_NUMBER * (WAVE_NUMBER * x1).cos(), -WAVE_NUMBER * (WAVE_NUMBER * x2).sin()]]
        })
    }
}

impl Task for SineWave {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn prior(&self) -> &dyn Prior {
        &self.prior
    }
}
