//! Measurement noise: what stands between f(x) and a measured y.

use std::f64::consts::PI;

use ndarray::{Array1, Array2, ArrayView2, Zip};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::simulator::check_dimension;
use crate::{InvalidArgument, check_matrix};

/// The law of measurements around what the simulator gives, p(y | f(x)).
///
/// The paper's tasks measure without noise, so that several designs have exactly the wanted y. Where an instrument has
/// noise, a model is trained on measurements as noisy as those that it will be asked about
/// ([`Dataset::measured`](crate::Dataset::measured)), and p(y | f(x)) says how well a design explains a measurement.
/// [`testing::check_noise`](crate::testing::check_noise) checks an implementation.
pub trait MeasurementNoise: Send + Sync {
    /// Number of measured variables.
    fn dim_y(&self) -> usize;

    /// One measurement of each row, (n, `dim_y`).
    ///
    /// * `exact`: outputs of the simulator, (n, `dim_y`); there may be none
    ///
    /// # Errors
    /// [`InvalidArgument`] that names `exact` where it has another width or is not finite.
    fn measure(&self, exact: ArrayView2<'_, f64>, rng: &mut dyn Rng) -> Result<Array2<f64>, InvalidArgument>;

    /// log p(y | f(x)) of each pair, (n), in nats per unit of volume of y; −∞ where that measurement cannot come.
    ///
    /// * `exact`: outputs of the simulator, (n, `dim_y`); there may be none
    /// * `y`: a measurement for each, (n, `dim_y`)
    ///
    /// # Errors
    /// [`InvalidArgument`] where `exact` or `y` has another width or is not finite, or `y` has not one row for each of
    /// `exact`.
    fn log_likelihood(
        &self,
        exact: ArrayView2<'_, f64>,
        y: ArrayView2<'_, f64>,
    ) -> Result<Array1<f64>, InvalidArgument>;

    /// A number that no log-likelihood exceeds, whatever the output and the measurement, in nats per unit of volume of y: the
    /// closer, the fewer draws rejection sampling of p(x | y) takes.
    ///
    /// The default is `None`: no such number is known, and rejection sampling refuses.
    fn largest_log_likelihood(&self) -> Option<f64> {
        None
    }
}

impl<N: MeasurementNoise + ?Sized> MeasurementNoise for Box<N> {
    fn dim_y(&self) -> usize {
        (**self).dim_y()
    }

    fn measure(&self, exact: ArrayView2<'_, f64>, rng: &mut dyn Rng) -> Result<Array2<f64>, InvalidArgument> {
        (**self).measure(exact, rng)
    }

    fn log_likelihood(
        &self,
        exact: ArrayView2<'_, f64>,
        y: ArrayView2<'_, f64>,
    ) -> Result<Array1<f64>, InvalidArgument> {
        (**self).log_likelihood(exact, y)
    }

    fn largest_log_likelihood(&self) -> Option<f64> {
        (**self).largest_log_likelihood()
    }
}

impl<N: MeasurementNoise + ?Sized> MeasurementNoise for &N {
    fn dim_y(&self) -> usize {
        (**self).dim_y()
    }

    fn measure(&self, exact: ArrayView2<'_, f64>, rng: &mut dyn Rng) -> Result<Array2<f64>, InvalidArgument> {
        (**self).measure(exact, rng)
    }

    fn log_likelihood(
        &self,
        exact: ArrayView2<'_, f64>,
        y: ArrayView2<'_, f64>,
    ) -> Result<Array1<f64>, InvalidArgument> {
        (**self).log_likelihood(exact, y)
    }

    fn largest_log_likelihood(&self) -> Option<f64> {
        (**self).largest_log_likelihood()
    }
}

/// Checks the arguments of [`MeasurementNoise::log_likelihood`].
///
/// * `exact`, `y`: outputs and a measurement for each, (n, `dim_y`)
///
/// # Errors
/// [`InvalidArgument`] that names `exact` or `y`.
pub fn check_measurements(
    exact: ArrayView2<'_, f64>,
    y: ArrayView2<'_, f64>,
    dim_y: usize,
) -> Result<(), InvalidArgument> {
    check_matrix("exact", exact, dim_y)?;
    check_matrix("y", y, dim_y)?;
    if y.nrows() == exact.nrows() {
        return Ok(());
    }
    let expected = format!("{} rows, as in `exact`", exact.nrows());
    Err(InvalidArgument::new("y", expected, format!("{} rows", y.nrows())))
}

/// Checks logarithms of densities, as a prior or a noise gives them: as many as were asked for, below infinity, and none NaN.
///
/// * `argument`: what gave them
/// * `logs`: in nats, (`count`)
///
/// # Errors
/// [`InvalidArgument`] that names `argument`.
pub fn check_log_densities(argument: &str, logs: &Array1<f64>, count: usize) -> Result<(), InvalidArgument> {
    if logs.len() != count {
        return Err(InvalidArgument::new(argument, format!("{count} log-densities"), logs.len()));
    }
    match logs.iter().find(|log| log.is_nan() || **log == f64::INFINITY) {
        Some(log) => Err(InvalidArgument::new(argument, "log-densities below infinity", log)),
        None => Ok(()),
    }
}

/// Gaussian noise of its own deviation in each measured variable, independent of all others.
///
/// ```
/// use inverse_core::{Dataset, GaussianNoise, MeasurementNoise, RandomStreams};
/// use ndarray::array;
///
/// let noise = GaussianNoise::new(&[0.1, 2.0])?;
/// let exact = Dataset::new(array![[1.0], [2.0]], array![[0.0, 30.0], [1.0, 40.0]])?;
/// let measured = exact.measured(&noise, &mut RandomStreams::new(1).stream("noise", 0))?;
/// assert_eq!(measured.x(), exact.x());
/// assert_ne!(measured.y(), exact.y());
/// // The second is two deviations off in its first variable.
/// let y = array![[0.0, 30.0], [1.2, 40.0]];
/// let log = noise.log_likelihood(exact.y(), y.view())?;
/// assert!((log[0] - log[1] - 2.0).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct GaussianNoise {
    deviations: Array1<f64>,
}

impl GaussianNoise {
    /// Noise of these deviations.
    ///
    /// * `deviations`: standard deviations, one a measured variable, in units of y
    ///
    /// # Errors
    /// [`InvalidArgument`] where there is none or more than [`LARGEST_DIMENSION`](crate::LARGEST_DIMENSION), or one is not a
    /// positive number.
    pub fn new(deviations: &[f64]) -> Result<Self, InvalidArgument> {
        check_dimension("deviations", deviations.len())?;
        check_deviations(deviations, "positive numbers", |deviation| deviation > 0.0)?;
        Ok(Self { deviations: Array1::from(deviations.to_vec()) })
    }

    /// The noise together with another error, independent of it, such as that of a network which stands for the simulator: squares
    /// of deviations add.
    ///
    /// * `deviations`: the other error's standard deviations, (`dim_y`); 0 where there is none
    ///
    /// ```
    /// use inverse_core::GaussianNoise;
    ///
    /// let noise = GaussianNoise::new(&[3.0, 1.0])?.with_error(&[4.0, 0.0])?;
    /// assert_eq!(noise.deviations(), [5.0, 1.0]);
    /// # Ok::<(), inverse_core::InvalidArgument>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidArgument`] that names `deviations` where there is not one for each measured variable, or one is not a number of 0 or more.
    pub fn with_error(&self, deviations: &[f64]) -> Result<Self, InvalidArgument> {
        if deviations.len() != self.dim_y() {
            let expected = format!("one for each of {} measured variables", self.dim_y());
            return Err(InvalidArgument::new("deviations", expected, deviations.len()));
        }
        check_deviations(deviations, "numbers of 0 or more", |deviation| deviation >= 0.0)?;
        let both = self.deviations.iter().zip(deviations).map(|(noise, error)| noise.hypot(*error));
        Self::new(&both.collect::<Vec<_>>())
    }

    /// Standard deviations, (`dim_y`).
    pub fn deviations(&self) -> &[f64] {
        self.deviations.as_slice().unwrap_or_default()
    }

    /// The log-likelihood of a measurement without error.
    fn log_density_at_centre(&self) -> f64 {
        -self.deviations.iter().map(|deviation| deviation.ln() + 0.5 * (2.0 * PI).ln()).sum::<f64>()
    }
}

fn check_deviations(
    deviations: &[f64],
    expected: &str,
    fits: impl Fn(f64) -> bool,
) -> Result<(), InvalidArgument> {
    let bad = |deviation: &f64| !(fits(*deviation) && deviation.is_finite());
    match deviations.iter().position(bad) {
        Some(index) => {
            let found = format!("{} for y{}", deviations[index], index + 1);
            Err(InvalidArgument::new("deviations", expected, found))
        }
        None => Ok(()),
    }
}

impl MeasurementNoise for GaussianNoise {
    fn dim_y(&self) -> usize {
        self.deviations.len()
    }

    fn measure(&self, exact: ArrayView2<'_, f64>, rng: &mut dyn Rng) -> Result<Array2<f64>, InvalidArgument> {
        check_matrix("exact", exact, self.dim_y())?;
        let mut y = exact.to_owned();
        for mut row in y.rows_mut() {
            Zip::from(&mut row).and(&self.deviations).for_each(|value, deviation| {
                let draw: f64 = StandardNormal.sample(rng);
                *value += deviation * draw;
            });
        }
        Ok(y)
    }

    fn log_likelihood(
        &self,
        exact: ArrayView2<'_, f64>,
        y: ArrayView2<'_, f64>,
    ) -> Result<Array1<f64>, InvalidArgument> {
        check_measurements(exact, y, self.dim_y())?;
        let largest = self.log_density_at_centre();
        let rows = exact.rows().into_iter().zip(y.rows());
        let log = rows.map(|(exact, y)| {
            let values = exact.iter().zip(&y).zip(&self.deviations);
            let squares: f64 = values.map(|((exact, y), deviation)| ((y - exact) / deviation).powi(2)).sum();
            largest - 0.5 * squares
        });
        Ok(log.collect())
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
    use crate::{LARGEST_DIMENSION, RandomStreams};

    #[test]
    fn gaussian_noise_conforms() {
        let noise = GaussianNoise::new(&[0.1, 2.0, 1e-6]).unwrap();
        check_noise(&noise, array![[0.0, 30.0, 1.0], [1.0, -40.0, 0.0]].view(), 1).unwrap();
        assert_eq!(noise.deviations(), [0.1, 2.0, 1e-6]);
    }

    #[test]
    fn measurements_scatter_by_the_deviations() {
        let noise = GaussianNoise::new(&[0.5, 20.0]).unwrap();
        let exact = Array2::from_shape_fn((10_000, 2), |(row, column)| (row + column) as f64);
        let mut rng = RandomStreams::new(1).stream("noise", 0);
        let difference = noise.measure(exact.view(), &mut rng).unwrap() - &exact;
        for (column, deviation) in difference.columns().into_iter().zip([0.5, 20.0]) {
            // A mean scatters by σ/√n and a deviation by σ/√(2n): five of each.
            assert!(column.mean().unwrap().abs() < 0.05 * deviation);
            assert_relative_eq!(column.std(0.0), deviation, max_relative = 0.036);
        }
    }

    #[test]
    fn likelihoods_are_the_normal_law_s() {
        let noise = GaussianNoise::new(&[2.0]).unwrap();
        let log = noise.log_likelihood(array![[1.0], [1.0]].view(), array![[1.0], [5.0]].view()).unwrap();
        // 1 / (2 √(2π)), and e⁻² times that.
        assert_relative_eq!(log[0].exp(), 0.199_471_140_200_716_35, max_relative = 1e-14);
        assert_relative_eq!(log[1] - log[0], -2.0, max_relative = 1e-14);
    }

    #[test]
    fn bad_arguments_are_named() {
        let named = |error: InvalidArgument, argument: &str| assert_eq!(error.argument, argument);
        for deviations in [&[][..], &[0.0], &[1.0, -1.0], &[f64::NAN], &[f64::INFINITY]] {
            named(GaussianNoise::new(deviations).unwrap_err(), "deviations");
        }
        named(GaussianNoise::new(&vec![1.0; LARGEST_DIMENSION + 1]).unwrap_err(), "deviations");
        let noise = GaussianNoise::new(&[1.0, 1.0]).unwrap();
        for deviations in [&[][..], &[1.0], &[0.0, -1.0], &[f64::NAN, 0.0], &[0.0, f64::INFINITY]] {
            named(noise.with_error(deviations).unwrap_err(), "deviations");
        }
        let (good, nan, wide) = (array![[0.0, 1.0]], array![[0.0, f64::NAN]], array![[0.0, 1.0, 2.0]]);
        let mut rng = RandomStreams::new(1).stream("noise", 0);
        for bad in [&nan, &wide] {
            named(noise.measure(bad.view(), &mut rng).unwrap_err(), "exact");
            named(noise.log_likelihood(bad.view(), good.view()).unwrap_err(), "exact");
            named(noise.log_likelihood(good.view(), bad.view()).unwrap_err(), "y");
        }
        named(noise.log_likelihood(good.view(), array![[0.0, 1.0], [2.0, 3.0]].view()).unwrap_err(), "y");
    }
}
