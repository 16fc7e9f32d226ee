//! A likelihood that counts for less than it says.

use inverse_core::{InvalidArgument, MeasurementNoise};
use ndarray::{Array1, Array2, ArrayView2};
use rand::Rng;

/// p(y | f(x)) to a power of at most 1: no law of measurements, but what flattens a posterior.
#[derive(Clone)]
pub(super) struct FlattenedNoise<'a> {
    pub(super) noise: &'a dyn MeasurementNoise,
    /// Above 0.
    pub(super) power: f64,
}

impl MeasurementNoise for FlattenedNoise<'_> {
    fn dim_y(&self) -> usize {
        self.noise.dim_y()
    }

    fn measure(&self, exact: ArrayView2<'_, f64>, rng: &mut dyn Rng) -> Result<Array2<f64>, InvalidArgument> {
        self.noise.measure(exact, rng)
    }

    fn log_likelihood(
        &self,
        exact: ArrayView2<'_, f64>,
        y: ArrayView2<'_, f64>,
    ) -> Result<Array1<f64>, InvalidArgument> {
        Ok(self.noise.log_likelihood(exact, y)? * self.power)
    }
}
