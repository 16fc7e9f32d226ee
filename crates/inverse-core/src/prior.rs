//! Priors: where designs live and how they are drawn.

use ndarray::{Array1, Array2, ArrayView2, Axis};
use rand::{Rng, RngExt};

use crate::{Domain, InvalidArgument};

/// The distribution of designs x.
pub trait Prior: Send + Sync {
    /// Draws `n` designs, (n, `dim_x`).
    ///
    /// They have to fit into memory, as the elements of a `Vec` have to;
    /// [`Dataset::from_task`](crate::Dataset::from_task) checks the counts that a user gives.
    fn sample(&self, n: usize, rng: &mut dyn Rng) -> Array2<f64>;

    /// μ_x and R_x of eq. 5; for unbounded distributions R_x spans 95% of the probability.
    fn domain(&self) -> &Domain;

    /// Logarithm of the density at each design, (n), or `None` where it is not known; there may be no design.
    ///
    /// Discrete variables contribute the logarithm of their probability mass. A design outside the
    /// support, or of another width, has negative infinity.
    fn log_density(&self, _x: ArrayView2<'_, f64>) -> Option<Array1<f64>> {
        None
    }
}

impl<P: Prior + ?Sized> Prior for Box<P> {
    fn sample(&self, n: usize, rng: &mut dyn Rng) -> Array2<f64> {
        (**self).sample(n, rng)
    }

    fn domain(&self) -> &Domain {
        (**self).domain()
    }

    fn log_density(&self, x: ArrayView2<'_, f64>) -> Option<Array1<f64>> {
        (**self).log_density(x)
    }
}

impl<P: Prior + ?Sized> Prior for &P {
    fn sample(&self, n: usize, rng: &mut dyn Rng) -> Array2<f64> {
        (**self).sample(n, rng)
    }

    fn domain(&self) -> &Domain {
        (**self).domain()
    }

    fn log_density(&self, x: ArrayView2<'_, f64>) -> Option<Array1<f64>> {
        (**self).log_density(x)
    }
}

/// Independent uniform variables on a box.
///
/// ```
/// use inverse_core::{BoxPrior, Prior, RandomStreams};
///
/// let prior = BoxPrior::new(&[0.0, -1.0], &[2.0, 1.0])?;
/// let x = prior.sample(5, &mut RandomStreams::new(0).stream("example", 0));
/// assert_eq!(x.dim(), (5, 2));
/// assert_eq!(prior.domain().center()[0], 1.0);
/// # Ok::<(), inverse_core::InvalidArgument>(())
/// ```
#[derive(Debug, Clone)]
pub struct BoxPrior {
    domain: Domain,
    lower: Array1<f64>,
    upper: Array1<f64>,
}

impl BoxPrior {
    /// The uniform distribution between `lower` and `upper`.
    ///
    /// # Errors
    /// [`InvalidArgument`] where the lengths differ or are 0, a value is not finite, or a range is not finite and
    /// positive.
    pub fn new(lower: &[f64], upper: &[f64]) -> Result<Self, InvalidArgument> {
        let domain = Domain::from_bounds(lower, upper)?;
        if let Some(range) = domain.range().iter().find(|range| **range <= 0.0) {
            return Err(InvalidArgument::new("upper", "values above `lower`", format!("a range of {range}")));
        }
        Ok(Self { domain, lower: lower.to_vec().into(), upper: upper.to_vec().into() })
    }
}

impl Prior for BoxPrior {
    fn sample(&self, n: usize, rng: &mut dyn Rng) -> Array2<f64> {
        let mut x = Array2::zeros((n, self.lower.len()));
        for mut row in x.rows_mut() {
            for ((value, low), high) in row.iter_mut().zip(&self.lower).zip(&self.upper) {
                *value = low + (high - low) * rng.random::<f64>();
            }
        }
        x
    }

    fn domain(&self) -> &Domain {
        &self.domain
    }

    fn log_density(&self, x: ArrayView2<'_, f64>) -> Option<Array1<f64>> {
        let inside = -self.domain.range().mapv(f64::ln).sum();
        Some(x.map_axis(Axis(1), |row| {
            let bounds = self.lower.iter().zip(&self.upper);
            let contained = row.len() == self.lower.len()
                && row.iter().zip(bounds).all(|(value, (low, high))| (low..=high).contains(&value));
            if contained { inside } else { f64::NEG_INFINITY }
        }))
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use ndarray::array;

    use super::*;
    use crate::RandomStreams;

    #[test]
    fn samples_fill_the_box() {
        let prior = BoxPrior::new(&[-1.0, 2.0], &[1.0, 5.0]).unwrap();
        let x = prior.sample(4000, &mut RandomStreams::new(1).stream("test", 0));
        let observed = Domain::from_samples(x.view()).unwrap();
        // Standard error of the mean: range / sqrt(12 n) = 0.0046 a unit of range; 5 of them.
        assert_abs_diff_eq!(observed.center()[0], 0.0, epsilon = 2.0 * 0.023);
        assert_abs_diff_eq!(observed.center()[1], 3.5, epsilon = 3.0 * 0.023);
        assert!(x.column(1).iter().all(|value| (2.0..=5.0).contains(value)));
    }

    #[test]
    fn density_is_uniform_inside() {
        let prior = BoxPrior::new(&[0.0], &[4.0]).unwrap();
        let density = prior.log_density(array![[1.0], [5.0]].view()).unwrap();
        assert_abs_diff_eq!(density[0], -(4.0_f64.ln()));
        assert_eq!(density[1], f64::NEG_INFINITY);
        assert_eq!(prior.log_density(array![[1.0, 1.0]].view()).unwrap()[0], f64::NEG_INFINITY);
    }

    #[test]
    fn empty_ranges_are_refused() {
        for (lower, upper, argument) in [
            (&[0.0][..], &[0.0][..], "upper"),
            (&[1.0], &[0.0], "upper"),
            (&[], &[], "lower"),
            (&[0.0], &[f64::INFINITY], "upper"),
            (&[f64::NAN], &[0.0], "lower"),
        ] {
            assert_eq!(BoxPrior::new(lower, upper).unwrap_err().argument, argument);
        }
    }
}
