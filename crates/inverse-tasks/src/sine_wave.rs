//! D2: the two-dimensional sinusoid (section 5.2).

use std::f64::consts::PI;

use inverse_core::{
    BoxPrior, DifferentiableSimulator, InvalidArgument, Prior, SimulationError, Simulator, Task,
};
use ndarray::{Array2, Array3, ArrayView2};

use crate::rows::{map_jacobians, map_rows};

/// y = sin(3π x₁) + cos(3π x₂), with x uniform on [-1, 1]².
///
/// Every y in (-2, 2) has a family of rings of solutions: easy to look at, hard to cover.
#[derive(Debug, Clone)]
pub struct SineWave {
    prior: BoxPrior,
}

impl SineWave {
    /// The task's name.
    pub const NAME: &'static str = "sine-wave";

    /// The task.
    ///
    /// # Errors
    /// Never with the constants of this file; the signature is that of all tasks.
    pub fn new() -> Result<Self, InvalidArgument> {
        Ok(Self { prior: BoxPrior::new(&[-1.0, -1.0], &[1.0, 1.0])? })
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
        map_rows(x, |[x1, x2]| [(3.0 * PI * x1).sin() + (3.0 * PI * x2).cos()])
    }
}

impl DifferentiableSimulator for SineWave {
    fn jacobian(&self, x: ArrayView2<'_, f64>) -> Result<Array3<f64>, SimulationError> {
        let slope = 3.0 * PI;
        map_jacobians(x, |[x1, x2]| [[slope * (slope * x1).cos(), -slope * (slope * x2).sin()]])
    }
}

impl Task for SineWave {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn prior(&self) -> &dyn Prior {
        &self.prior
    }
}
