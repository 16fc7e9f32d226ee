//! Tasks with noisy measurements whose posteriors can be drawn exactly.

use std::f64::consts::{FRAC_PI_2, PI, SQRT_2};

use inverse::bench::StudyError;
use inverse::core::{InvalidArgument, check_matrix, check_measurements};
use inverse::metrics::ReferencePosterior;
use inverse::prelude::*;
use inverse::tasks::{RoboticArm, SineWave};
use ndarray::{Array1, Array2, Array3, ArrayView2};
use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};

/// Names of all cases.
pub(crate) const CASES: [&str; 6] =
    ["two-moons", "gaussian-mixture", LINEAR, "sine-wave", "robotic-arm", "beam"];

const LINEAR: &str = "gaussian-linear-uniform";
const LINEAR_VARIANCE: f64 = 0.1;

/// Standard deviation of the noise of the last three, as a share of each output's own.
const NOISE_SHARE: f64 = 0.05;

/// A task, and the noise of its measurements.
pub(crate) struct Case {
    pub(crate) task: Box<dyn Task>,
    pub(crate) noise: Box<dyn KnownNoise>,
}

/// Noise that another error, of a network in place of the simulator, can be added to.
pub(crate) trait KnownNoise: MeasurementNoise {
    /// * `deviations`: of the error, one a measured variable
    fn with_error(&self, deviations: &[f64]) -> Result<Box<dyn KnownNoise>, InvalidArgument>;
}

impl KnownNoise for GaussianNoise {
    fn with_error(&self, deviations: &[f64]) -> Result<Box<dyn KnownNoise>, InvalidArgument> {
        Ok(Box::new(GaussianNoise::with_error(self, deviations)?))
    }
}

impl Case {
    /// The first three are of Lueckmann et al. 2021, *Benchmarking simulation-based inference*, two of the paper, and the last is
    /// the tutorial's.
    pub(crate) fn new(name: &str, streams: RandomStreams) -> Result<Self, StudyError> {
        let (task, noise): Parts = match name {
            "two-moons" => {
                let shift = FnSimulator::new(2, 2, |x, y| {
                    y[0] = -(x[0] + x[1]).abs() / SQRT_2;
                    y[1] = (x[1] - x[0]) / SQRT_2;
                })?;
                let prior = BoxPrior::new(&[-1.0; 2], &[1.0; 2])?;
                (
                    Box::new(SimulatedTask::new(name, shift, prior)?),
                    Box::new(Crescent { deviation: Crescent::DEVIATION }),
                )
            }
            "gaussian-mixture" => (identity(name, 2, 10.0)?, Box::new(TwoGaussians::new()?)),
            LINEAR => {
                (identity(name, 10, 1.0)?, Box::new(GaussianNoise::new(&[LINEAR_VARIANCE.sqrt(); 10])?))
            }
            "sine-wave" => with_gaussian_noise(SineWave::new(), streams)?,
            "robotic-arm" => with_gaussian_noise(RoboticArm::new(), streams)?,
            "beam" => with_gaussian_noise(beam(name)?, streams)?,
            _ => return Err(InvalidArgument::new("case", CASES.join(", "), name).into()),
        };
        Ok(Self { task, noise })
    }

    /// Exact draws of each measurement's posterior, (measurements, `n`, `dim_x`).
    pub(crate) fn posterior(
        &self,
        y: ArrayView2<'_, f64>,
        n: usize,
        streams: RandomStreams,
    ) -> Result<Array3<f64>, StudyError> {
        let mut draws = Array3::zeros((y.nrows(), n, self.task.dim_x()));
        if self.task.name() == LINEAR {
            // The prior hardly ever hits ten numbers at once, but each variable has a posterior of its own.
            let mut rng = streams.stream("exact posterior", 0);
            for ((target, _, variable), draw) in draws.indexed_iter_mut() {
                *draw = inside(y[[target, variable]], LINEAR_VARIANCE.sqrt(), &mut rng);
            }
            return Ok(draws);
        }
        let settings = ReferencePosterior { samples: n, ..ReferencePosterior::default() };
        let samples = settings.draw_measured(&*self.task, &*self.noise, y, streams)?;
        for (mut draws, sample) in draws.outer_iter_mut().zip(samples) {
            if !sample.complete {
                let found =
                    format!("{} of {n}, in {} draws of the prior", sample.designs.nrows(), sample.draws);
                return Err(InvalidArgument::new("draws", "as many as rejection gives", found).into());
            }
            draws.assign(&sample.designs);
        }
        Ok(draws)
    }
}

/// A Gaussian's draw in −1 to 1.
fn inside(mean: f64, deviation: f64, rng: &mut impl Rng) -> f64 {
    loop {
        let normal: f64 = StandardNormal.sample(rng);
        let draw = mean + deviation * normal;
        if draw.abs() <= 1.0 {
            return draw;
        }
    }
}

/// y = x, on the box ±`half_width`.
fn identity(name: &str, width: usize, half_width: f64) -> Result<Box<dyn Task>, StudyError> {
    let identity = FnSimulator::new(width, width, |x, y| y.copy_from_slice(x))?;
    let prior = BoxPrior::new(&vec![-half_width; width], &vec![half_width; width])?;
    Ok(Box::new(SimulatedTask::new(name, identity, prior)?))
}

/// Deflection (mm) and first frequency (Hz) of a steel cantilever, from its length, width and height (m).
fn beam(name: &str) -> Result<impl Task + 'static, StudyError> {
    let beam = FnSimulator::new(3, 2, |x, y| {
        let stiffness = 210e9 * x[1] * x[2].powi(3) / 12.0;
        y[0] = 1e5 * x[0].powi(3) / (3.0 * stiffness);
        y[1] = 0.56 / x[0].powi(2) * (stiffness / (7850.0 * x[1] * x[2])).sqrt();
    })?;
    Ok(SimulatedTask::new(name, beam, BoxPrior::new(&[0.5, 0.02, 0.02], &[1.0, 0.05, 0.05])?)?)
}

type Parts = (Box<dyn Task>, Box<dyn KnownNoise>);

fn with_gaussian_noise(task: impl Task + 'static, streams: RandomStreams) -> Result<Parts, StudyError> {
    let noise = super::noise::noise_of(&task, NOISE_SHARE, streams)?;
    Ok((Box::new(task), Box::new(noise)))
}

/// Half an annulus: a radius of 0.1 ± 0.01 in any direction of the right half plane, from a point 0.25 to the right.
struct Crescent {
    /// Of the radius.
    deviation: f64,
}

impl Crescent {
    const CENTRE: f64 = 0.25;
    const RADIUS: f64 = 0.1;
    const DEVIATION: f64 = 0.01;
    /// Radii beyond eight deviations, of probability 1e-15, are drawn again: the density grows without bound towards the
    /// centre.
    const LEAST: f64 = 0.02;

    /// The log-density of the radius, less that of its circle's length.
    fn at(&self, radius: f64) -> f64 {
        let normal = -0.5 * ((radius - Self::RADIUS) / self.deviation).powi(2);
        normal - (self.deviation * (2.0 * PI).sqrt()).ln() - (PI * radius).ln()
    }
}

impl KnownNoise for Crescent {
    /// What an error of any direction adds to the radius.
    fn with_error(&self, deviations: &[f64]) -> Result<Box<dyn KnownNoise>, InvalidArgument> {
        let squares: f64 = deviations.iter().map(|deviation| deviation * deviation).sum();
        Ok(Box::new(Self { deviation: (self.deviation.powi(2) + 0.5 * squares).sqrt() }))
    }
}

impl MeasurementNoise for Crescent {
    fn dim_y(&self) -> usize {
        2
    }

    fn measure(&self, exact: ArrayView2<'_, f64>, rng: &mut dyn Rng) -> Result<Array2<f64>, InvalidArgument> {
        check_matrix("exact", exact, 2)?;
        let mut y = exact.to_owned();
        for mut row in y.rows_mut() {
            let angle = rng.random_range(-FRAC_PI_2..FRAC_PI_2);
            let mut radius = 0.0;
            while radius < Self::LEAST {
                let normal: f64 = StandardNormal.sample(rng);
                radius = Self::RADIUS + self.deviation * normal;
            }
            row[0] += Self::CENTRE + radius * angle.cos();
            row[1] += radius * angle.sin();
        }
        Ok(y)
    }

    fn log_likelihood(
        &self,
        exact: ArrayView2<'_, f64>,
        y: ArrayView2<'_, f64>,
    ) -> Result<Array1<f64>, InvalidArgument> {
        check_measurements(exact, y, 2)?;
        let log = exact.rows().into_iter().zip(y.rows()).map(|(exact, y)| {
            let (right, up) = (y[0] - exact[0] - Self::CENTRE, y[1] - exact[1]);
            let radius = right.hypot(up);
            if right < 0.0 || radius < Self::LEAST { f64::NEG_INFINITY } else { self.at(radius) }
        });
        Ok(log.collect())
    }

    fn largest_log_likelihood(&self) -> Option<f64> {
        // Where the derivative is 0: r² − r R + σ² = 0; at the least radius it is lower by far.
        let root = (Self::RADIUS.powi(2) - 4.0 * self.deviation.powi(2)).sqrt();
        Some(self.at(0.5 * (Self::RADIUS + root)))
    }
}

/// One of two Gaussians around the output, as likely: of deviation 1 or 0.1.
struct TwoGaussians([GaussianNoise; 2]);

impl TwoGaussians {
    fn new() -> Result<Self, InvalidArgument> {
        Ok(Self([GaussianNoise::new(&[1.0; 2])?, GaussianNoise::new(&[0.1; 2])?]))
    }
}

impl KnownNoise for TwoGaussians {
    fn with_error(&self, deviations: &[f64]) -> Result<Box<dyn KnownNoise>, InvalidArgument> {
        Ok(Box::new(Self([self.0[0].with_error(deviations)?, self.0[1].with_error(deviations)?])))
    }
}

impl MeasurementNoise for TwoGaussians {
    fn dim_y(&self) -> usize {
        2
    }

    fn measure(&self, exact: ArrayView2<'_, f64>, rng: &mut dyn Rng) -> Result<Array2<f64>, InvalidArgument> {
        let [mut y, narrow] = [self.0[0].measure(exact, rng)?, self.0[1].measure(exact, rng)?];
        for (mut y, narrow) in y.rows_mut().into_iter().zip(narrow.rows()) {
            if rng.random_bool(0.5) {
                y.assign(&narrow);
            }
        }
        Ok(y)
    }

    fn log_likelihood(
        &self,
        exact: ArrayView2<'_, f64>,
        y: ArrayView2<'_, f64>,
    ) -> Result<Array1<f64>, InvalidArgument> {
        let mut log = self.0[0].log_likelihood(exact, y)?;
        let narrow = self.0[1].log_likelihood(exact, y)?;
        log.zip_mut_with(&narrow, |wide, narrow| {
            let larger = wide.max(*narrow);
            *wide = larger + (0.5 * ((*wide - larger).exp() + (narrow - larger).exp())).ln();
        });
        Ok(log)
    }

    fn largest_log_likelihood(&self) -> Option<f64> {
        let [wide, narrow] = [self.0[0].largest_log_likelihood()?, self.0[1].largest_log_likelihood()?];
        Some((0.5 * (wide.exp() + narrow.exp())).ln())
    }
}

#[cfg(test)]
mod tests {
    use inverse::core::testing::check_noise;

    use super::*;

    #[test]
    fn every_case_has_noise_that_conforms() {
        for name in CASES {
            let streams = RandomStreams::new(1);
            let case = Case::new(name, streams).unwrap();
            let exact = Dataset::from_task(&*case.task, 5, &mut streams.stream("test", 0)).unwrap();
            check_noise(&*case.noise, exact.y(), 1).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}
