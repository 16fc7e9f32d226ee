//! Priors made of independent, named distributions.

use ndarray::{Array1, Array2, ArrayView2, Axis};
use rand::Rng;
use rand_distr::{Distribution, LogNormal, Normal, Poisson, Uniform};

use crate::{Domain, InvalidArgument, Prior};

/// Half the width of the 95% interval of a standard normal variable.
const NORMAL_95: f64 = 1.959_963_984_540_054;

/// Rates above this make the exact Poisson interval slow to sum, and no task needs them.
const LARGEST_RATE: f64 = 1e6;

/// The distribution of one design variable.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Marginal {
    /// Uniform between two bounds.
    Uniform {
        /// Smallest value.
        lower: f64,
        /// Largest value.
        upper: f64,
    },
    /// Normal.
    Normal {
        /// Mean.
        mean: f64,
        /// Standard deviation, positive.
        deviation: f64,
    },
    /// Log-normal: the natural logarithm is normal, such as that of a positive quantity known up to a factor.
    LogNormal {
        /// Mean of the logarithm; e to its power is the median.
        log_mean: f64,
        /// Standard deviation of the logarithm, positive.
        log_deviation: f64,
    },
    /// Poisson, on the whole numbers.
    Poisson {
        /// Mean, above 0 and at most 1e6.
        rate: f64,
    },
}

enum Sampler {
    Uniform(Uniform<f64>),
    Normal(Normal<f64>),
    LogNormal(LogNormal<f64>),
    Poisson(Poisson<f64>),
}

impl Marginal {
    fn sampler(&self) -> Result<Sampler, InvalidArgument> {
        let refused = |expected: &str| InvalidArgument::new("marginals", expected, format!("{self:?}"));
        match *self {
            Self::Uniform { lower, upper } => {
                let bounds = "finite bounds with lower < upper";
                if lower >= upper {
                    return Err(refused(bounds));
                }
                Uniform::new(lower, upper).map(Sampler::Uniform).map_err(|_| refused(bounds))
            }
            Self::Normal { mean, deviation } => {
                let finite = mean.is_finite() && deviation.is_finite() && deviation > 0.0;
                let normal = Normal::new(mean, deviation).ok().filter(|_| finite);
                normal.map(Sampler::Normal).ok_or_else(|| refused("a finite mean, a positive deviation"))
            }
            Self::LogNormal { log_mean, log_deviation } => {
                let finite = log_mean.is_finite() && log_deviation.is_finite() && log_deviation > 0.0;
                let normal = LogNormal::new(log_mean, log_deviation).ok().filter(|_| finite);
                let expected = "a finite mean of the logarithm, a positive deviation of it";
                normal.map(Sampler::LogNormal).ok_or_else(|| refused(expected))
            }
            Self::Poisson { rate } => {
                let poisson = Poisson::new(rate).ok().filter(|_| rate <= LARGEST_RATE);
                poisson.map(Sampler::Poisson).ok_or_else(|| refused("a rate above 0 and at most 1e6"))
            }
        }
    }

    /// μ_x of eq. 5: the mean; of the skewed log-normal distribution the middle of its 95% interval, so that the domain is
    /// that interval, and does not reach below 0.
    fn center(&self) -> f64 {
        match *self {
            Self::Uniform { lower, upper } => 0.5 * (lower + upper),
            Self::Normal { mean, .. } => mean,
            Self::LogNormal { log_mean, log_deviation } => {
                let [low, high] = log_normal_interval(log_mean, log_deviation);
                0.5 * (low + high)
            }
            Self::Poisson { rate } => rate,
        }
    }

    /// R_x of eq. 5: the range, or the width of the central 95% interval where there is none. An interval of one count
    /// has no width: R_x reaches from the mean to it, as a domain that holds no design would punish all.
    fn range(&self) -> f64 {
        match *self {
            Self::Uniform { lower, upper } => upper - lower,
            Self::Normal { deviation, .. } => 2.0 * NORMAL_95 * deviation,
            Self::LogNormal { log_mean, log_deviation } => {
                let [low, high] = log_normal_interval(log_mean, log_deviation);
                high - low
            }
            Self::Poisson { rate } => match (poisson_quantile(rate, 0.025), poisson_quantile(rate, 0.975)) {
                (low, high) if low == high => 2.0 * (rate - low).abs(),
                (low, high) => high - low,
            },
        }
    }

    fn log_density(&self, value: f64) -> f64 {
        match *self {
            Self::Uniform { lower, upper } if (lower..=upper).contains(&value) => -(upper - lower).ln(),
            Self::Normal { mean, deviation } => {
                let z = (value - mean) / deviation;
                -0.5 * z * z - deviation.ln() - 0.5 * std::f64::consts::TAU.ln()
            }
            Self::LogNormal { log_mean, log_deviation } if value > 0.0 => {
                Self::Normal { mean: log_mean, deviation: log_deviation }.log_density(value.ln()) - value.ln()
            }
            Self::Poisson { rate } if value >= 0.0 && value.fract() == 0.0 && value < 1e9 => {
                let log_factorial: f64 = (2..=value as u64).map(|k| (k as f64).ln()).sum();
                value * rate.ln() - rate - log_factorial
            }
            _ => f64::NEG_INFINITY,
        }
    }
}

/// The central 95% interval.
fn log_normal_interval(log_mean: f64, log_deviation: f64) -> [f64; 2] {
    [-1.0, 1.0].map(|side| (log_mean + side * NORMAL_95 * log_deviation).exp())
}

/// The smallest count whose cumulative probability reaches `probability`.
///
/// Terms are summed in logarithms so that a large rate does not underflow.
fn poisson_quantile(rate: f64, probability: f64) -> f64 {
    let (mut count, mut log_mass, mut cumulative) = (0.0, -rate, (-rate).exp());
    while cumulative < probability && count < 2.0 * LARGEST_RATE {
        count += 1.0;
        log_mass += (rate / count).ln();
        cumulative += log_mass.exp();
    }
    count
}

/// A prior whose variables are independent.
///
/// ```
/// use inverse_core::{IndependentPrior, Marginal, Prior};
///
/// let prior = IndependentPrior::new(&[
///     Marginal::Normal { mean: 0.0, deviation: 0.5 },
///     Marginal::Poisson { rate: 15.0 },
/// ])?;
/// // The central 95% of Poisson(15) runs from 8 to 23.
/// assert_eq!(prior.domain().range()[1], 15.0);
/// # Ok::<(), inverse_core::InvalidArgument>(())
/// ```
#[derive(Debug, Clone)]
pub struct IndependentPrior {
    marginals: Vec<Marginal>,
    domain: Domain,
}

impl IndependentPrior {
    /// Joins one marginal a variable.
    ///
    /// # Errors
    /// [`InvalidArgument`] that names `marginals`, where there is none, or a parameter is out of bounds.
    pub fn new(marginals: &[Marginal]) -> Result<Self, InvalidArgument> {
        if marginals.is_empty() {
            return Err(InvalidArgument::new("marginals", "at least one variable", "none"));
        }
        for marginal in marginals {
            marginal.sampler()?;
        }
        let center = marginals.iter().map(Marginal::center).collect();
        let range = marginals.iter().map(Marginal::range).collect();
        Ok(Self { marginals: marginals.to_vec(), domain: Domain::of("marginals", center, range)? })
    }

    /// The distributions, one a variable.
    pub fn marginals(&self) -> &[Marginal] {
        &self.marginals
    }
}

impl Prior for IndependentPrior {
    fn sample(&self, n: usize, rng: &mut dyn Rng) -> Array2<f64> {
        let samplers: Vec<_> = self.marginals.iter().filter_map(|marginal| marginal.sampler().ok()).collect();
        let mut x = Array2::zeros((n, self.marginals.len()));
        for mut row in x.rows_mut() {
            for (value, sampler) in row.iter_mut().zip(&samplers) {
                *value = match sampler {
                    Sampler::Uniform(uniform) => uniform.sample(rng),
                    Sampler::Normal(normal) => normal.sample(rng),
                    Sampler::LogNormal(normal) => normal.sample(rng),
                    Sampler::Poisson(poisson) => poisson.sample(rng),
                };
            }
        }
        x
    }

    fn domain(&self) -> &Domain {
        &self.domain
    }

    fn log_density(&self, x: ArrayView2<'_, f64>) -> Option<Array1<f64>> {
        Some(x.map_axis(Axis(1), |row| {
            if row.len() != self.marginals.len() {
                return f64::NEG_INFINITY;
            }
            row.iter().zip(&self.marginals).map(|(value, marginal)| marginal.log_density(*value)).sum()
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
    fn log_normal_variables_are_normal_in_their_logarithm() {
        let marginal = Marginal::LogNormal { log_mean: 1.0, log_deviation: 0.5 };
        let prior = IndependentPrior::new(&[marginal]).unwrap();
        let n = 20_000;
        let x = prior.sample(n, &mut RandomStreams::new(2).stream("test", 0));
        let logs = x.mapv(f64::ln);
        let standard_error = 0.5 / (n as f64).sqrt();
        assert_abs_diff_eq!(logs.mean().unwrap(), 1.0, epsilon = 5.0 * standard_error);
        assert_abs_diff_eq!(logs.std(0.0), 0.5, epsilon = 5.0 * standard_error);
        // The domain holds 95 % of the draws, and no design below 0.
        let domain = prior.domain();
        let ends = [-0.5, 0.5].map(|side| domain.center()[0] + side * domain.range()[0]);
        assert_abs_diff_eq!(ends[0].ln(), 1.0 - 0.5 * NORMAL_95, epsilon = 1e-12);
        assert_abs_diff_eq!(ends[1].ln(), 1.0 + 0.5 * NORMAL_95, epsilon = 1e-12);
        // Simpson's rule over ten deviations of the logarithm: the density's integral is 1, and its first moment the mean.
        let step = 10.0 / 2000.0;
        let at = |index: usize| (1.0 + (index as f64 * step - 5.0)).exp();
        let values = Array2::from_shape_fn((2001, 1), |(index, _)| at(index));
        let density = prior.log_density(values.view()).unwrap().mapv(f64::exp);
        let weight = |index: usize| match index {
            0 | 2000 => 1.0,
            index if index % 2 == 1 => 4.0,
            _ => 2.0,
        };
        let moment = |power: i32| -> f64 {
            let terms = density.iter().enumerate();
            terms.map(|(index, p)| weight(index) * p * at(index).powi(power + 1)).sum::<f64>() * step / 3.0
        };
        assert_abs_diff_eq!(moment(0), 1.0, epsilon = 1e-9);
        assert_abs_diff_eq!(moment(1), (1.0_f64 + 0.125).exp(), epsilon = 1e-6);
        let outside = prior.log_density(array![[0.0], [-1.0]].view()).unwrap();
        assert!(outside.iter().all(|log| *log == f64::NEG_INFINITY));
        for (log_mean, log_deviation) in
            [(f64::NAN, 1.0), (0.0, 0.0), (0.0, -1.0), (0.0, f64::INFINITY), (800.0, 1.0)]
        {
            let marginal = Marginal::LogNormal { log_mean, log_deviation };
            let error = IndependentPrior::new(&[marginal]).unwrap_err().to_string();
            assert!(error.contains("`marginals`"), "{error}");
        }
    }

    #[test]
    fn moments_match() {
        let prior = IndependentPrior::new(&[
            Marginal::Uniform { lower: 0.0, upper: 1.0 },
            Marginal::Normal { mean: 1.5, deviation: 0.5 },
            Marginal::Poisson { rate: 15.0 },
        ])
        .unwrap();
        let n = 20_000;
        let x = prior.sample(n, &mut RandomStreams::new(2).stream("test", 0));
        let deviations = [(1.0_f64 / 12.0).sqrt(), 0.5, 15.0_f64.sqrt()];
        for ((column, mean), deviation) in x.columns().into_iter().zip([0.5, 1.5, 15.0]).zip(deviations) {
            // Five standard errors of the mean, and of the deviation (kurtosis at most 3.07).
            let standard_error = deviation / (n as f64).sqrt();
            assert_abs_diff_eq!(column.mean().unwrap(), mean, epsilon = 5.0 * standard_error);
            assert_abs_diff_eq!(column.std(0.0), deviation, epsilon = 5.0 * standard_error);
        }
        assert!(x.column(2).iter().all(|speed| speed.fract() == 0.0));
    }

    #[test]
    fn densities_match_closed_forms() {
        let prior = IndependentPrior::new(&[
            Marginal::Normal { mean: 0.0, deviation: 2.0 },
            Marginal::Poisson { rate: 3.0 },
        ])
        .unwrap();
        let density = prior.log_density(array![[2.0, 2.0], [0.0, 0.5]].view()).unwrap();
        // N(2; 0, 2²) = e^{-1/2} / (2 √(2π)); P(2; 3) = 9 e^{-3} / 2.
        let expected = (0.120_985_362_259_571_68_f64 * 0.224_041_807_655_387_75).ln();
        assert_abs_diff_eq!(density[0], expected, epsilon = 1e-12);
        assert_eq!(density[1], f64::NEG_INFINITY);
    }

    #[test]
    fn poisson_interval_is_exact() {
        // From tabulated cumulative probabilities of Poisson(15): P(≤7) = 0.0180, P(≤8) = 0.0374,
        // P(≤22) = 0.9673, P(≤23) = 0.9805.
        assert_eq!(poisson_quantile(15.0, 0.025), 8.0);
        assert_eq!(poisson_quantile(15.0, 0.975), 23.0);
        assert_eq!(poisson_quantile(0.01, 0.025), 0.0);
    }

    #[test]
    fn domains_of_rare_counts_hold_them() {
        for rate in [1e-9, 1e-3, 0.025, 0.026, 0.24] {
            let prior = IndependentPrior::new(&[Marginal::Poisson { rate }]).unwrap();
            assert!(prior.domain().lower()[0] <= 0.0, "{rate}: {:?}", prior.domain());
        }
    }

    #[test]
    fn parameters_out_of_bounds_are_refused() {
        for marginal in [
            Marginal::Uniform { lower: 1.0, upper: 1.0 },
            Marginal::Uniform { lower: 0.0, upper: f64::INFINITY },
            Marginal::Normal { mean: 0.0, deviation: 0.0 },
            Marginal::Normal { mean: f64::NAN, deviation: 1.0 },
            Marginal::Poisson { rate: 0.0 },
            Marginal::Poisson { rate: 1e9 },
            Marginal::Poisson { rate: f64::NAN },
            Marginal::Normal { mean: 0.0, deviation: 1e308 },
            Marginal::Uniform { lower: 1e308, upper: 1.5e308 },
        ] {
            let error = IndependentPrior::new(&[marginal]).unwrap_err();
            assert_eq!(error.argument, "marginals", "{marginal:?}");
        }
        assert_eq!(IndependentPrior::new(&[]).unwrap_err().argument, "marginals");
    }
}
