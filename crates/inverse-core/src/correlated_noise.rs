//! Gaussian noise whose parts go together.

use std::f64::consts::PI;

use ndarray::{Array1, Array2, ArrayView2, Axis};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::measurement_noise::{MeasurementNoise, check_measurements};
use crate::simulator::check_dimension;
use crate::{CholeskyFactor, InvalidArgument, check_matrix};

/// How far apart two entries of a symmetric covariance may be, relative to their variables' deviations: rounding.
const ASYMMETRY: f64 = 1e-9;

/// Gaussian noise with a covariance, such as that of a spectrum whose neighbouring points err together.
///
/// ```
/// use inverse_core::{CorrelatedNoise, MeasurementNoise};
/// use ndarray::array;
///
/// // Deviations 0.1 and 0.2, correlation 0.9.
/// let noise = CorrelatedNoise::new(array![[0.01, 0.018], [0.018, 0.04]])?;
/// let exact = array![[1.0, 2.0], [1.0, 2.0]];
/// // Both too large by a deviation is likelier than one too large and one too small.
/// let log = noise.log_likelihood(exact.view(), array![[1.1, 2.2], [1.1, 1.8]].view())?;
/// assert!(log[0] > log[1] + 5.0);
/// # Ok::<(), inverse_core::InvalidArgument>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct CorrelatedNoise {
    covariance: Array2<f64>,
    factor: CholeskyFactor,
    /// L⁻ᵀ: what turns errors, a row each, into independent ones of deviation 1.
    whitening: Array2<f64>,
}

impl CorrelatedNoise {
    /// Noise of that covariance.
    ///
    /// * `covariance`: (`dim_y`, `dim_y`), in units of y, squared
    ///
    /// # Errors
    /// [`InvalidArgument`] where it is not square, empty or wider than [`LARGEST_DIMENSION`](crate::LARGEST_DIMENSION), not finite, not
    /// symmetric, or not positive definite: given the variables before it, one would be known to 1e-4 of its deviation or better.
    pub fn new(covariance: Array2<f64>) -> Result<Self, InvalidArgument> {
        let invalid = |expected: &str, found: String| InvalidArgument::new("covariance", expected, found);
        check_dimension("covariance", covariance.nrows())?;
        check_matrix("covariance", covariance.view(), covariance.nrows())?;
        for ((i, j), value) in covariance.indexed_iter() {
            let deviations = (covariance[[i, i]].abs() * covariance[[j, j]].abs()).sqrt();
            if (value - covariance[[j, i]]).abs() > ASYMMETRY * deviations {
                let found = format!("{value} for y{} with y{}, {} back", i + 1, j + 1, covariance[[j, i]]);
                return Err(invalid("a symmetric matrix", found));
            }
        }
        let factor = CholeskyFactor::new(covariance.clone(), 0.0);
        let factor = factor.ok_or_else(|| invalid("a positive definite matrix", "another".to_owned()))?;
        let whitening = factor.inverse_lower().reversed_axes();
        Ok(Self { covariance, factor, whitening })
    }

    /// (`dim_y`, `dim_y`), in units of y, squared.
    pub fn covariance(&self) -> ArrayView2<'_, f64> {
        self.covariance.view()
    }

    /// The log-likelihood of a measurement without error.
    fn log_density_at_centre(&self) -> f64 {
        -0.5 * (self.factor.log_determinant() + self.covariance.nrows() as f64 * (2.0 * PI).ln())
    }
}

impl MeasurementNoise for CorrelatedNoise {
    fn dim_y(&self) -> usize {
        self.covariance.nrows()
    }

    fn measure(&self, exact: ArrayView2<'_, f64>, rng: &mut dyn Rng) -> Result<Array2<f64>, InvalidArgument> {
        check_matrix("exact", exact, self.dim_y())?;
        let independent = Array2::from_shape_simple_fn(exact.dim(), || StandardNormal.sample(rng));
        Ok(&exact + &independent.dot(&self.factor.lower().t()))
    }

    fn log_likelihood(
        &self,
        exact: ArrayView2<'_, f64>,
        y: ArrayView2<'_, f64>,
    ) -> Result<Array1<f64>, InvalidArgument> {
        check_measurements(exact, y, self.dim_y())?;
        let largest = self.log_density_at_centre();
        let independent = (&y - &exact).dot(&self.whitening);
        Ok(independent.map_axis(Axis(1), |errors| largest - 0.5 * errors.dot(&errors)))
    }

    fn largest_log_likelihood(&self) -> Option<f64> {
        Some(self.log_density_at_centre())
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;
    use ndarray::array;

    use super::*;
    use crate::testing::check_noise;
    use crate::{GaussianNoise, RandomStreams};

    fn correlated() -> CorrelatedNoise {
        CorrelatedNoise::new(array![[0.04, 0.018, 0.0], [0.018, 0.01, 0.0], [0.0, 0.0, 9.0]]).unwrap()
    }

    #[test]
    fn correlated_noise_conforms() {
        check_noise(&correlated(), array![[0.0, 30.0, 1.0], [1.0, -40.0, 0.0]].view(), 1).unwrap();
    }

    #[test]
    fn measurements_have_the_covariance() {
        let exact = Array2::from_elem((10_000, 3), 5.0);
        let mut rng = RandomStreams::new(1).stream("noise", 0);
        let errors = correlated().measure(exact.view(), &mut rng).unwrap() - &exact;
        let found = errors.t().dot(&errors) / 10_000.0;
        let covariance = correlated().covariance().to_owned();
        for ((i, j), found) in found.indexed_iter() {
            // A mean of products scatters by √((c_ii c_jj + c_ij²) / n): five of them.
            let variance = covariance[[i, i]] * covariance[[j, j]] + covariance[[i, j]].powi(2);
            assert!((found - covariance[[i, j]]).abs() < 5.0 * (variance / 10_000.0).sqrt());
        }
    }

    #[test]
    fn without_correlation_it_is_independent_noise() {
        let independent = GaussianNoise::new(&[0.5, 2.0]).unwrap();
        let noise = CorrelatedNoise::new(array![[0.25, 0.0], [0.0, 4.0]]).unwrap();
        let (exact, y) = (array![[0.0, 1.0], [2.0, 3.0]], array![[0.3, 1.5], [2.0, -4.0]]);
        let expected = independent.log_likelihood(exact.view(), y.view()).unwrap();
        let found = noise.log_likelihood(exact.view(), y.view()).unwrap();
        for (found, expected) in found.iter().zip(&expected) {
            assert_relative_eq!(found, expected, max_relative = 1e-14);
        }
    }

    #[test]
    fn bad_covariances_are_refused() {
        let bad = [
            Array2::zeros((0, 0)),
            Array2::zeros((1, 2)),
            array![[f64::NAN]],
            array![[1.0, 0.5], [0.4, 1.0]],
            array![[1.0, 1.0], [1.0, 1.0]],
            array![[-1.0]],
        ];
        for covariance in bad {
            assert_eq!(CorrelatedNoise::new(covariance).unwrap_err().argument, "covariance");
        }
    }
}
