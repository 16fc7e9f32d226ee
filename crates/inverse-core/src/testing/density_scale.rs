//! Whether draws follow a density and, if not, by what factor the density is off.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};

/// Draws that a check of the scale asks for.
pub(super) const DRAWS: usize = 5500;

/// As many of them are centres of the kernel estimate.
const CENTRES: usize = 500;

/// ln(3/δ) of the bound below, for two false alarms in a billion: one a mean.
const LOG_CONFIDENCE: f64 = 21.8;

/// Share of draws that may have the value of another before a variable counts as discrete; numbers that were 32 bits
/// wide meet now and then.
const REPEATED: f64 = 0.1;

/// What is known of the factor c by which a density q̂ = c q is off, from draws of q.
///
/// For any other density g, the means of g/(g + q) over draws of q and of q/(g + q) over draws of g are one and the same
/// integral, of g q/(g + q); both are means of numbers in 0 to 1, however far apart the two lie. With q̂ instead of q the
/// second becomes c times the first. g is a Gaussian kernel estimate, which follows ridges and separate modes. Where it
/// does so badly, in many dimensions, both means are small, and no factor is excluded.
#[derive(Debug, Clone, Copy)]
pub(super) struct DensityScale {
    /// Of g/(g + q̂), over draws.
    of_draws: BoundedMean,
    /// Of q̂/(g + q̂), over the kernel estimate.
    of_kernels: BoundedMean,
}

impl DensityScale {
    /// * `draws`: (n, variables), finite, independent but for their order; some become kernels
    /// * `log_density`: log q̂ of each row
    ///
    /// `None` where draws are discrete or too few, or a density is missing, NaN or +∞.
    pub(super) fn estimate<E>(
        draws: ArrayView2<'_, f64>,
        mut log_density: impl FnMut(ArrayView2<'_, f64>) -> Result<Option<Array1<f64>>, E>,
        rng: &mut dyn Rng,
    ) -> Result<Option<Self>, E> {
        if draws.nrows() < 2 * CENTRES || draws.columns().into_iter().any(is_discrete) {
            return Ok(None);
        }
        // Draws may come the best guess first.
        let mut order: Vec<usize> = (0..draws.nrows()).collect();
        order.shuffle(rng);
        let (centres, drawn) = order.split_at(CENTRES);
        let (centres, drawn) = (draws.select(Axis(0), centres), draws.select(Axis(0), drawn));
        let kernels = Kernels::of(centres);
        let others = kernels.sample(drawn.nrows(), rng);
        let mut mean = |points: ArrayView2<'_, f64>, sign: f64| {
            let log = log_density(points)?.filter(|log| {
                log.len() == points.nrows() && log.iter().all(|log| !log.is_nan() && *log < f64::INFINITY)
            });
            Ok(log.map(|log| {
                let odds = sign * (kernels.log_density(points) - log);
                BoundedMean::of(&odds.mapv(|odds| 1.0 / (1.0 + (-odds).exp())))
            }))
        };
        let (of_draws, of_kernels) = (mean(drawn.view(), 1.0)?, mean(others.view(), -1.0)?);
        Ok(of_draws.zip(of_kernels).map(|(of_draws, of_kernels)| Self { of_draws, of_kernels }))
    }

    /// The estimate of c.
    pub(super) fn factor(&self) -> f64 {
        self.of_kernels.mean / self.of_draws.mean
    }

    /// Whether c is certainly none of `least` to `largest`.
    pub(super) fn excludes(&self, least: f64, largest: f64) -> bool {
        let difference = |factor: f64| {
            let error = self.of_kernels.error + factor * self.of_draws.error;
            (self.of_kernels.mean - factor * self.of_draws.mean, error)
        };
        let ((below, error), (above, other_error)) = (difference(least), difference(largest));
        below < -error || above > other_error
    }
}

/// Whether values repeat, or all are whole numbers.
fn is_discrete(values: ArrayView1<'_, f64>) -> bool {
    let mut values = values.to_vec();
    if values.iter().all(|value| value.fract() == 0.0) {
        return true;
    }
    values.sort_by(f64::total_cmp);
    let repeated = values.windows(2).filter(|pair| pair[0] == pair[1]).count();
    repeated as f64 > REPEATED * values.len() as f64
}

/// A mean of independent numbers in 0 to 1, and how far the true one may lie from it.
#[derive(Debug, Clone, Copy)]
struct BoundedMean {
    mean: f64,
    error: f64,
}

impl BoundedMean {
    /// The error is the empirical Bernstein bound (Audibert, Munos and Szepesvári 2009), which holds for numbers that are
    /// hardly ever above 0, too.
    fn of(values: &Array1<f64>) -> Self {
        let n = values.len() as f64;
        let variance = values.var(0.0);
        let error = (2.0 * variance * LOG_CONFIDENCE / n).sqrt() + 3.0 * LOG_CONFIDENCE / n;
        Self { mean: values.mean().unwrap_or(0.0), error }
    }
}

/// A Gaussian kernel density estimate.
struct Kernels {
    centres: Array2<f64>,
    /// Of the kernel, one a variable.
    deviations: Array1<f64>,
}

impl Kernels {
    fn of(centres: Array2<f64>) -> Self {
        let exponent = -1.0 / (centres.ncols() as f64 + 4.0);
        // Scott's rule.
        let deviations = centres.std_axis(Axis(0), 0.0) * (centres.nrows() as f64).powf(exponent);
        Self { centres, deviations }
    }

    fn sample(&self, n: usize, rng: &mut dyn Rng) -> Array2<f64> {
        let mut points = Array2::zeros((n, self.centres.ncols()));
        for mut point in points.rows_mut() {
            let centre = self.centres.row(rng.random_range(0..self.centres.nrows()));
            for ((value, centre), deviation) in point.iter_mut().zip(centre).zip(&self.deviations) {
                let draw: f64 = StandardNormal.sample(rng);
                *value = centre + deviation * draw;
            }
        }
        points
    }

    fn log_density(&self, points: ArrayView2<'_, f64>) -> Array1<f64> {
        let constant: f64 = self
            .deviations
            .iter()
            .map(|deviation| deviation.ln() + 0.5 * (2.0 * std::f64::consts::PI).ln())
            .sum::<f64>()
            + (self.centres.nrows() as f64).ln();
        points
            .rows()
            .into_iter()
            .map(|point| {
                let exponents: Vec<f64> = self
                    .centres
                    .rows()
                    .into_iter()
                    .map(|centre| {
                        let values = point.iter().zip(centre).zip(&self.deviations);
                        -0.5 * values.map(|((value, centre), d)| ((value - centre) / d).powi(2)).sum::<f64>()
                    })
                    .collect();
                let largest = exponents.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = exponents.iter().map(|exponent| (exponent - largest).exp()).sum();
                largest + sum.ln() - constant
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::{IndependentPrior, Marginal, Prior, RandomStreams};

    /// The scale of a prior's density times `factor`.
    fn scale(marginals: &[Marginal], factor: f64, seed: u64) -> DensityScale {
        let prior = IndependentPrior::new(marginals).unwrap();
        let mut rng = RandomStreams::new(seed).stream("scale", 0);
        let draws = prior.sample(DRAWS, &mut rng);
        let density =
            |x: ArrayView2<'_, f64>| Ok::<_, Infallible>(prior.log_density(x).map(|log| log + factor.ln()));
        DensityScale::estimate(draws.view(), density, &mut rng).unwrap().unwrap()
    }

    const LAWS: [&[Marginal]; 3] = [
        &[Marginal::Normal { mean: 3.0, deviation: 1e-3 }],
        &[Marginal::Uniform { lower: -1.0, upper: 1.0 }, Marginal::Uniform { lower: 0.0, upper: 1e4 }],
        &[
            Marginal::LogNormal { log_mean: 0.0, log_deviation: 1.0 },
            Marginal::Normal { mean: 0.0, deviation: 1.0 },
            Marginal::Uniform { lower: 0.0, upper: 1.0 },
        ],
    ];

    #[test]
    fn a_density_of_its_draws_is_never_excluded() {
        for (law, marginals) in LAWS.iter().enumerate() {
            for seed in 0..5 {
                let scale = scale(marginals, 1.0, seed);
                assert!(!scale.excludes(1.0, 1.0), "law {law}, seed {seed}: {scale:?}");
            }
        }
    }

    #[test]
    fn a_factor_is_found_and_measured() {
        for (law, marginals) in LAWS.iter().enumerate() {
            for factor in [1.0 / 3.0, 3.0] {
                let scale = scale(marginals, factor, 1);
                assert!(scale.excludes(1.0, 1.0), "law {law}: {scale:?}");
                assert!(!scale.excludes(factor, factor), "law {law}: {scale:?}");
                // Means of 5,000 numbers in 0 to 1 scatter by 0.007 at most, of means near 1/4 and 3/4 by 3 % together.
                assert!((scale.factor() / factor).ln().abs() < 0.15, "law {law}: {scale:?}");
            }
        }
    }

    #[test]
    fn a_thin_ridge_in_many_dimensions_excludes_nothing() {
        // Ten equal variables with 1e-3 of noise: kernels of a deviation each hardly ever fall on the ridge.
        let mut rng = RandomStreams::new(1).stream("scale", 0);
        let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
        let mut draws = Array2::zeros((DRAWS, 10));
        for mut row in draws.rows_mut() {
            let along = normal();
            row.mapv_inplace(|_: f64| along + 1e-3 * normal());
        }
        let log_normal = |x: f64, deviation: f64| -> f64 {
            -0.5 * (x / deviation).powi(2) - deviation.ln() - 0.5 * (2.0 * std::f64::consts::PI).ln()
        };
        // The mean is N(0, 1 + 1e-7), the nine directions across are N(0, 1e-6), and √10 is their change of units.
        let density = |x: ArrayView2<'_, f64>| {
            let log = x.rows().into_iter().map(|row| {
                let mean = row.sum() / 10.0;
                let across: f64 = row.iter().map(|x| (x - mean).powi(2)).sum();
                let constant = 9.0 * log_normal(0.0, 1e-3) - 0.5 * 10.0_f64.ln();
                log_normal(mean, (1.0 + 1e-7_f64).sqrt()) + constant - 0.5 * across / 1e-6
            });
            Ok::<_, Infallible>(Some(log.collect()))
        };
        let scale = DensityScale::estimate(draws.view(), density, &mut rng).unwrap().unwrap();
        for factor in [1e-3, 1.0, 1e3] {
            assert!(!scale.excludes(factor, factor), "{scale:?}");
        }
    }

    #[test]
    fn draws_in_any_order_are_the_same_draws() {
        let prior = IndependentPrior::new(LAWS[0]).unwrap();
        let mut rng = RandomStreams::new(1).stream("scale", 0);
        let mut draws = prior.sample(DRAWS, &mut rng).remove_axis(Axis(1)).to_vec();
        draws.sort_by(|a, b| (a - 3.0).abs().total_cmp(&(b - 3.0).abs()));
        let draws = Array2::from_shape_vec((DRAWS, 1), draws).unwrap();
        let density = |x: ArrayView2<'_, f64>| Ok::<_, Infallible>(prior.log_density(x));
        let scale = DensityScale::estimate(draws.view(), density, &mut rng).unwrap().unwrap();
        assert!(!scale.excludes(1.0, 1.0), "{scale:?}");
    }

    #[test]
    fn what_cannot_be_compared_is_left_alone() {
        let mut rng = RandomStreams::new(1).stream("scale", 0);
        let flat = |x: ArrayView2<'_, f64>| Ok::<_, Infallible>(Some(Array1::zeros(x.nrows())));
        let none = |draws: Array2<f64>, rng: &mut dyn Rng| {
            assert!(DensityScale::estimate(draws.view(), flat, rng).unwrap().is_none());
        };
        let steps =
            |rows: usize, step: f64| Array2::from_shape_fn((rows, 1), |(row, _)| (row as f64 * step).floor());
        none(steps(DRAWS, 0.8) + 0.5, &mut rng);
        none(steps(DRAWS, 3.0), &mut rng);
        none(steps(2 * CENTRES - 1, 1.0) + 0.5, &mut rng);
        let draws = steps(DRAWS, 0.95) + 0.5;
        let nan = |x: ArrayView2<'_, f64>| Ok::<_, Infallible>(Some(Array1::from_elem(x.nrows(), f64::NAN)));
        assert!(DensityScale::estimate(draws.view(), nan, &mut rng).unwrap().is_none());
        // No draw can come: the mean over draws is 1, that over kernels 0, and so is the factor.
        let empty = |x: ArrayView2<'_, f64>| {
            Ok::<_, Infallible>(Some(Array1::from_elem(x.nrows(), f64::NEG_INFINITY)))
        };
        let scale = DensityScale::estimate(draws.view(), empty, &mut rng).unwrap().unwrap();
        assert!(scale.excludes(0.5, 2.0) && scale.factor() == 0.0);
    }
}
