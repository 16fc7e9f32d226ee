//! Checks of measurement noise.

use ndarray::{Array2, ArrayView2, Axis, concatenate, s};

use super::density_scale::{DRAWS, DensityScale};
use super::{Nonconformance, caught};
use crate::{InvalidArgument, MeasurementNoise, RandomStreams, check_matrix};

/// What the order of sums may change in a log-likelihood where other pairs stand beside.
const TOLERANCE: f64 = 1e-9;

/// Checks measurement noise on outputs of a simulator, (at least two, `dim_y`).
///
/// * measurements of the right shape, every value finite, that depend on the generator that is passed in, and on nothing
///   else
/// * a log-likelihood for each pair, the same alone as among others, and none of no pairs
/// * that measurements follow the likelihood, as far as 5,500 of the first output show it
/// * that no likelihood exceeds [`largest_log_likelihood`](MeasurementNoise::largest_log_likelihood), where that is known
/// * outputs and measurements of another width or number, or not finite, refused by an error that names `exact` or `y`
///
/// # Errors
/// [`Nonconformance`] that lists every finding.
///
/// ```
/// use inverse_core::{GaussianNoise, testing::check_noise};
/// use ndarray::array;
///
/// let exact = array![[1.0, 30.0], [2.0, 40.0]];
/// check_noise(&GaussianNoise::new(&[0.1, 2.0])?, exact.view(), 7)?;
/// let report = check_noise(&GaussianNoise::new(&[0.1])?, exact.view(), 7).unwrap_err();
/// assert!(report.to_string().contains("expected at least two rows of 1 finite values, came shape (2, 2)"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn check_noise(
    noise: &dyn MeasurementNoise,
    exact: ArrayView2<'_, f64>,
    seed: u64,
) -> Result<(), Nonconformance> {
    let mut report = Nonconformance::new("the noise");
    let dim_y = noise.dim_y();
    let fit = dim_y > 0 && exact.nrows() >= 2 && check_matrix("exact", exact, dim_y).is_ok();
    report.require(
        fit,
        "the outputs of this check",
        format!("at least two rows of {dim_y} finite values"),
        format!("shape {:?}", exact.dim()),
        "pass outputs of the simulator whose measurements are noisy",
    );
    if fit {
        if let Some(y) = measurements(&mut report, noise, exact, seed) {
            likelihoods(&mut report, noise, exact, y.view());
            bound(&mut report, noise, exact, y.view());
        }
        scale(&mut report, noise, exact, seed);
        refusals(&mut report, noise, exact, seed);
    }
    report.finish()
}

fn measurements(
    report: &mut Nonconformance,
    noise: &dyn MeasurementNoise,
    exact: ArrayView2<'_, f64>,
    seed: u64,
) -> Option<Array2<f64>> {
    let streams = RandomStreams::new(seed);
    let mut measure = |exact: ArrayView2<'_, f64>, index: u64| {
        let mut rng = streams.stream("conformance", index);
        let y = report.expect("measurements", || noise.measure(exact, &mut rng))?;
        let (expected, came) = (exact.dim(), y.dim());
        let sound = expected == came && y.iter().all(|value| value.is_finite());
        let (expected, came) = (format!("finite values of shape {expected:?}"), format!("shape {came:?}"));
        report.require(sound, "measurements", expected, came, "return one measurement an output");
        sound.then_some(y)
    };
    measure(exact.slice(s![..0, ..]), 0);
    let (y, again, other) = (measure(exact, 0)?, measure(exact, 0)?, measure(exact, 1)?);
    let generator = "draw from the generator that is passed in, and from nothing else";
    report.require(y == again, "measurements", "the same from the same stream", "others", generator);
    report.require(y != other, "measurements", "others from another stream", "the same", generator);
    Some(y)
}

fn likelihoods(
    report: &mut Nonconformance,
    noise: &dyn MeasurementNoise,
    exact: ArrayView2<'_, f64>,
    y: ArrayView2<'_, f64>,
) {
    let rows = exact.nrows();
    let none = s![..0, ..];
    let empty = report
        .expect("log_likelihood of no pairs", || noise.log_likelihood(exact.slice(none), y.slice(none)));
    if let Some(empty) = empty {
        report.require(
            empty.is_empty(),
            "log_likelihood of no pairs",
            "an empty array",
            format!("{empty}"),
            "return one number a pair",
        );
    }
    let Some(all) = report.expect("log_likelihood", || noise.log_likelihood(exact, y)) else { return };
    let usable = all.len() == rows && all.iter().all(|log| log.is_finite());
    report.require(
        usable,
        "log_likelihood of its own measurements",
        format!("{rows} finite numbers"),
        format!("{all}"),
        "measure and log_likelihood must describe one law",
    );
    for row in 0..if usable { rows } else { 0 } {
        let own = s![row..=row, ..];
        let what = format!("log_likelihood of pair {row} alone");
        let alone = report.expect(&what, || noise.log_likelihood(exact.slice(own), y.slice(own)));
        let Some(alone) = alone else { return };
        report.require(
            alone.len() == 1 && (alone[0] - all[row]).abs() <= TOLERANCE * all[row].abs().max(1.0),
            &what,
            format!("{}, as among others", all[row]),
            format!("{alone}"),
            "let no pair change another's likelihood",
        );
    }
}

/// Whether likelihoods exceed the largest: those of its own measurements, and of measurements without error.
fn bound(
    report: &mut Nonconformance,
    noise: &dyn MeasurementNoise,
    exact: ArrayView2<'_, f64>,
    y: ArrayView2<'_, f64>,
) {
    let what = "largest_log_likelihood";
    let bound = report.expect(what, || Ok::<_, InvalidArgument>(noise.largest_log_likelihood()));
    let Some(bound) = bound.flatten() else { return };
    for y in [y, exact] {
        // What is wrong with likelihoods themselves is another check's finding.
        let Ok(Ok(log)) = caught(|| noise.log_likelihood(exact, y)) else { return };
        let largest = log.fold(f64::NEG_INFINITY, |largest, log| largest.max(*log));
        report.require(
            bound.is_finite() && largest <= bound + TOLERANCE * bound.abs().max(1.0),
            what,
            format!("a number of at least {largest}"),
            bound,
            "return a bound of all likelihoods, or `None`",
        );
    }
}

/// Whether measurements of the first output follow their likelihood.
fn scale(report: &mut Nonconformance, noise: &dyn MeasurementNoise, exact: ArrayView2<'_, f64>, seed: u64) {
    let streams = RandomStreams::new(seed);
    let repeated = |rows: usize| exact.select(Axis(0), &vec![0; rows]);
    let mut rng = streams.stream("conformance", 2);
    let draws =
        report.expect(&format!("{DRAWS} measurements"), || noise.measure(repeated(DRAWS).view(), &mut rng));
    let Some(draws) = draws else { return };
    if draws.dim() != (DRAWS, exact.ncols()) || draws.iter().any(|value| !value.is_finite()) {
        return;
    }
    // What is wrong with likelihoods themselves is another check's finding.
    let density =
        |y: ArrayView2<'_, f64>| caught(|| noise.log_likelihood(repeated(y.nrows()).view(), y).ok());
    let estimate = DensityScale::estimate(draws.view(), density, &mut streams.stream("conformance", 3));
    let Ok(Some(scale)) = estimate else { return };
    report.require(
        !scale.excludes(1.0, 1.0),
        "log_likelihood",
        "that of its measurements",
        format!("about {:.3} times it", scale.factor()),
        "measure and log_likelihood must describe one law, per unit of volume of y",
    );
}

fn refusals(
    report: &mut Nonconformance,
    noise: &dyn MeasurementNoise,
    exact: ArrayView2<'_, f64>,
    seed: u64,
) {
    let mut rng = RandomStreams::new(seed).stream("conformance", 0);
    report.expect_refusal("the likelihood of too few measurements", "y", || {
        noise.log_likelihood(exact, exact.slice(s![1.., ..]))
    });
    let Ok(wide) = concatenate(Axis(1), &[exact, exact]) else { return };
    let mut strange = exact.to_owned();
    strange[[0, 0]] = f64::NAN;
    for (what, bad) in [("of another width", &wide), ("with a NaN", &strange)] {
        let bad = bad.view();
        report.expect_refusal(&format!("outputs {what}"), "exact", || noise.measure(bad, &mut rng));
        let likelihood = format!("the likelihood of outputs {what}");
        report.expect_refusal(&likelihood, "exact", || noise.log_likelihood(bad, exact));
        let likelihood = format!("the likelihood of measurements {what}");
        report.expect_refusal(&likelihood, "y", || noise.log_likelihood(exact, bad));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use ndarray::{Array1, array};
    use rand::Rng;

    use super::*;
    use crate::GaussianNoise;

    /// Gaussian noise with one flaw or none.
    struct Flawed(&'static str, GaussianNoise, AtomicU64);

    impl MeasurementNoise for Flawed {
        fn dim_y(&self) -> usize {
            1
        }

        fn measure(
            &self,
            exact: ArrayView2<'_, f64>,
            rng: &mut dyn Rng,
        ) -> Result<Array2<f64>, InvalidArgument> {
            match self.0 {
                "silent" => Ok(exact.to_owned()),
                "impatient" if exact.nrows() == DRAWS => panic!("too many"),
                "unsteady" => {
                    let call = self.2.fetch_add(1, Ordering::Relaxed);
                    self.1.measure(exact, &mut RandomStreams::new(call).stream("noise", 0))
                }
                "short" => Ok(self.1.measure(exact, rng)?.slice(s![1.., ..]).to_owned()),
                _ => self.1.measure(exact, rng),
            }
        }

        fn log_likelihood(
            &self,
            exact: ArrayView2<'_, f64>,
            y: ArrayView2<'_, f64>,
        ) -> Result<Array1<f64>, InvalidArgument> {
            if self.0 == "careless" {
                return Ok((&exact - &y).remove_axis(Axis(1)).mapv(|difference| -difference.abs()));
            }
            let log = self.1.log_likelihood(exact, y)?;
            if self.0 == "talkative" && log.is_empty() {
                return Ok(Array1::zeros(1));
            }
            Ok(match self.0 {
                // Without the constant of a Gaussian of deviation 0.1: 1 / (0.1 √(2π)) = 3.99 times too small.
                "unscaled" => log - (1.0 / (0.1 * (2.0 * std::f64::consts::PI).sqrt())).ln(),
                "entangled" => &log + log.len() as f64,
                "impossible" => log.mapv(|_| f64::NEG_INFINITY),
                _ => log,
            })
        }

        fn largest_log_likelihood(&self) -> Option<f64> {
            let largest = self.1.largest_log_likelihood()?;
            match self.0 {
                "unbounded" => None,
                "low" => Some(largest - 0.5),
                _ => Some(largest),
            }
        }
    }

    fn findings(flaw: &'static str) -> String {
        let noise = Flawed(flaw, GaussianNoise::new(&[0.1]).unwrap(), AtomicU64::new(0));
        let report = check_noise(&noise, array![[0.5], [1.5]].view(), 1);
        report.err().map(|report| report.to_string()).unwrap_or_default()
    }

    #[test]
    fn every_flaw_is_found() {
        assert_eq!(findings("none"), "");
        assert_eq!(findings("unbounded"), "");
        for (flaw, words) in [
            ("silent", "measurements: expected others from another stream, came the same"),
            ("unsteady", "measurements: expected the same from the same stream, came others"),
            ("short", "measurements: expected finite values of shape (2, 1), came shape (1, 1)"),
            ("impatient", "5500 measurements: expected an answer, came the panic \"too many\""),
            ("talkative", "log_likelihood of no pairs: expected an empty array, came [0]"),
            ("unscaled", "log_likelihood: expected that of its measurements, came about 0.2"),
            ("entangled", "log_likelihood of pair 0 alone: expected"),
            // ln(1 / (0.1 √(2π))) = 1.3836.
            ("low", "largest_log_likelihood: expected a number of at least 1.3836"),
            (
                "impossible",
                "log_likelihood of its own measurements: expected 2 finite numbers, came [-inf, -inf]",
            ),
            ("careless", "the likelihood of too few measurements: expected InvalidArgument that names `y`"),
            ("careless", "the likelihood of outputs with a NaN: expected InvalidArgument that names `exact`"),
            (
                "careless",
                "the likelihood of measurements with a NaN: expected InvalidArgument that names `y`",
            ),
        ] {
            let report = findings(flaw);
            assert!(report.contains(words), "{flaw}: {report}");
        }
    }
}
