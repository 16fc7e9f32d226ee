//! Checks of priors.

use std::convert::Infallible;

use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate, s};

use super::density_scale::{DRAWS, DensityScale};
use super::{Nonconformance, caught};
use crate::{Prior, RandomStreams};

/// Designs drawn for the checks.
pub(super) const SAMPLES: usize = 200;

/// Share of samples that must lie in the domain, in each variable. μ_x ± R_x / 2 holds all of a bounded variable,
/// 95% of a normal one and no less than 79% of a Poisson variable (of rate 0.24, where mean and interval are
/// farthest apart); 200 draws scatter by 3%. A domain made of deviations instead of ranges holds 38%.
const INSIDE: f64 = 0.6;

/// Checks a prior of designs with `dim_x` variables.
///
/// * no, one and many samples of the right shape, every value finite
/// * samples that depend on the generator that is passed in, and on nothing else; samples that are all equal are not
///   compared with those of another stream
/// * a domain of `dim_x` variables that holds most samples
/// * a log-density, where there is one, finite on samples and negative infinity at designs of another width; of priors
///   without discrete variables also that samples follow it, as far as 5,500 of them show it
///
/// # Errors
/// [`Nonconformance`] that lists every finding.
///
/// ```
/// use inverse_core::{IndependentPrior, Marginal, testing::check_prior};
///
/// let prior = IndependentPrior::new(&[Marginal::Normal { mean: 0.0, deviation: 0.5 }])?;
/// check_prior(&prior, 1, 7)?;
/// let report = check_prior(&prior, 2, 7).unwrap_err();
/// assert!(report.to_string().contains("expected shape (200, 2), came (200, 1)"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn check_prior(prior: &dyn Prior, dim_x: usize, seed: u64) -> Result<(), Nonconformance> {
    let mut report = Nonconformance::new("the prior");
    samples(&mut report, prior, dim_x, seed);
    report.finish()
}

/// All checks of a prior; gives its samples, (200, `dim_x`), where a simulator can be asked about them.
pub(super) fn samples(
    report: &mut Nonconformance,
    prior: &dyn Prior,
    dim_x: usize,
    seed: u64,
) -> Option<Array2<f64>> {
    let streams = RandomStreams::new(seed);
    let mut draw = |n: usize, index: u64| {
        let what = format!("prior, {n} samples");
        let sample = || Ok::<_, Infallible>(prior.sample(n, &mut streams.stream("conformance", index)));
        let x = report.expect(&what, sample)?;
        let (expected, came) = (format!("shape ({n}, {dim_x})"), format!("{:?}", x.dim()));
        report.require(x.dim() == (n, dim_x), &what, expected, came, "return n rows of dim_x values");
        (x.dim() == (n, dim_x)).then_some(x)
    };
    draw(0, 0);
    draw(1, 0);
    let (x, again, other) = (draw(SAMPLES, 0), draw(SAMPLES, 0), draw(SAMPLES, 1));
    let domain = prior.domain().dim();
    report.require(
        domain == dim_x,
        "domain",
        format!("{dim_x} variables"),
        domain,
        "one centre and range a variable",
    );
    let x = x?;
    let finite = x.iter().all(|value| value.is_finite());
    report.require(finite, "prior", "finite samples", "one that is not finite", "a design is finite numbers");
    let generator = "draw from the generator that is passed in, and from nothing else";
    // An unrepeatable NaN was found above; comparing it would call it another sample.
    report.require(
        again.is_none_or(|again| again == x || !finite),
        "prior",
        "the same samples from the same stream",
        "others",
        generator,
    );
    // Of a variable that hardly varies, samples of two streams may well be the same.
    let varies = x.rows().into_iter().any(|row| row != x.row(0));
    report.require(
        !varies || other.is_none_or(|other| other != x),
        "prior",
        "other samples from another stream",
        "the same",
        generator,
    );
    if !finite || domain != dim_x {
        return None;
    }
    inside(report, prior, x.view());
    if density(report, prior, x.view()) {
        scale(report, prior, dim_x, seed);
    }
    Some(x)
}

fn inside(report: &mut Nonconformance, prior: &dyn Prior, x: ArrayView2<'_, f64>) {
    let (lower, upper) = (prior.domain().lower(), prior.domain().upper());
    for (variable, column) in x.columns().into_iter().enumerate() {
        let (lower, upper) = (lower[variable], upper[variable]);
        let inside = column.iter().filter(|value| (lower..=upper).contains(value)).count();
        report.require(
            inside as f64 >= INSIDE * SAMPLES as f64,
            &format!("domain of x{}", variable + 1),
            format!("most samples in {lower} to {upper}"),
            format!("{inside} of {SAMPLES}"),
            "give the range R_x, or the width of the 95% interval, around the mean (eq. 5)",
        );
    }
}

/// Whether there is a density at all.
fn density(report: &mut Nonconformance, prior: &dyn Prior, x: ArrayView2<'_, f64>) -> bool {
    let Some(Some(density)) = report.expect("log_density", || Ok::<_, Infallible>(prior.log_density(x)))
    else {
        return false;
    };
    let fits = density.len() == x.nrows();
    report.require(fits, "log_density", format!("{} values", x.nrows()), density.len(), "one value a design");
    report.require(
        density.iter().all(|value| value.is_finite()),
        "log_density",
        "finite values at the prior's own samples",
        "one that is not finite",
        "sample and log_density must describe one distribution",
    );
    let none = x.slice(s![..0, ..]);
    let call = || Ok::<_, Infallible>(prior.log_density(none));
    if let Some(empty) = report.expect("log_density of no designs", call) {
        report.require(
            empty.as_ref().is_some_and(Array1::is_empty),
            "log_density of no designs",
            "an empty array",
            format!("{empty:?}"),
            "return one value a design",
        );
    }
    let Ok(wide) = concatenate(Axis(1), &[x, x]) else { return true };
    let call = || Ok::<_, Infallible>(prior.log_density(wide.view()));
    if let Some(Some(density)) = report.expect("log_density of another width", call) {
        report.require(
            density.iter().all(|value| *value == f64::NEG_INFINITY),
            "log_density of another width",
            "negative infinity",
            density.first().copied().unwrap_or(f64::NAN),
            "compare the width first",
        );
    }
    true
}

/// Whether samples follow the density.
fn scale(report: &mut Nonconformance, prior: &dyn Prior, dim_x: usize, seed: u64) {
    let streams = RandomStreams::new(seed);
    let samples = || Ok::<_, Infallible>(prior.sample(DRAWS, &mut streams.stream("conformance", 2)));
    let Some(x) = report.expect(&format!("prior, {DRAWS} samples"), samples) else { return };
    // What is wrong with samples and densities themselves is another check's finding.
    if x.dim() != (DRAWS, dim_x) || x.iter().any(|value| !value.is_finite()) {
        return;
    }
    let density = |x: ArrayView2<'_, f64>| caught(|| prior.log_density(x));
    let estimate = DensityScale::estimate(x.view(), density, &mut streams.stream("conformance", 3));
    let Ok(Some(scale)) = estimate else { return };
    report.require(
        !scale.excludes(1.0, 1.0),
        "log_density",
        "that of the prior's samples",
        format!("about {:.3} times it", scale.factor()),
        "sample and log_density must describe one distribution, per unit of volume of x",
    );
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use ndarray::Array1;
    use rand::Rng;

    use super::*;
    use crate::{BoxPrior, Domain, IndependentPrior, Marginal};

    #[test]
    fn sound_priors_pass() {
        let prior = IndependentPrior::new(&[
            Marginal::Uniform { lower: 3.0, upper: 4.0 },
            Marginal::Normal { mean: 1.5, deviation: 0.5 },
            Marginal::Poisson { rate: 0.24 },
            Marginal::Poisson { rate: 15.0 },
        ])
        .unwrap();
        for seed in 0..50 {
            check_prior(&prior, 4, seed).unwrap();
        }
    }

    #[test]
    fn priors_that_hardly_vary_pass() {
        let rare = IndependentPrior::new(&[Marginal::Poisson { rate: 1e-3 }]).unwrap();
        for seed in 0..50 {
            check_prior(&rare, 1, seed).unwrap();
        }
    }

    /// The unit box with one flaw.
    struct Flawed(&'static str, BoxPrior, AtomicU64);

    impl Prior for Flawed {
        fn sample(&self, n: usize, rng: &mut dyn Rng) -> Array2<f64> {
            let x = self.1.sample(n, rng);
            match self.0 {
                "empty" => assert!(n > 0, "nothing to draw"),
                "short" => return self.1.sample(n.min(1), rng),
                "shifted" => return x + 0.7,
                "narrow" => return x * 0.45 + 0.25,
                "infinite" => return x / 0.0,
                "moody" => return x * 0.5 + self.2.fetch_add(1, Ordering::SeqCst) as f64 * 1e-3,
                "frozen" => return self.1.sample(n, &mut RandomStreams::new(0).stream("frozen", 0)),
                _ => {}
            }
            x
        }

        fn domain(&self) -> &Domain {
            self.1.domain()
        }

        fn log_density(&self, x: ArrayView2<'_, f64>) -> Option<Array1<f64>> {
            match self.0 {
                "single" => Some(Array1::zeros(1)),
                "broad" => Some(Array1::zeros(x.nrows())),
                "brittle" => Some(self.1.log_density(x.view()).filter(|_| x.ncols() == 1).unwrap()),
                "impossible" => Some(Array1::from_elem(x.nrows(), f64::NEG_INFINITY)),
                "unscaled" => self.1.log_density(x).map(|log| log + 2.5_f64.ln()),
                _ => self.1.log_density(x),
            }
        }
    }

    fn findings(flaw: &'static str, dim_x: usize) -> String {
        let prior = Flawed(flaw, BoxPrior::new(&[0.0], &[1.0]).unwrap(), AtomicU64::new(0));
        check_prior(&prior, dim_x, 1).err().map(|report| report.to_string()).unwrap_or_default()
    }

    #[test]
    fn every_flaw_is_found() {
        assert_eq!(findings("none", 1), "");
        for (flaw, words) in [
            ("empty", "prior, 0 samples: expected an answer, came the panic \"nothing to draw\""),
            ("short", "prior, 200 samples: expected shape (200, 1), came (1, 1)"),
            ("shifted", "domain of x1: expected most samples in 0 to 1, came"),
            ("shifted", "log_density: expected finite values at the prior's own samples"),
            ("infinite", "prior: expected finite samples"),
            ("moody", "the same samples from the same stream, came others"),
            ("frozen", "other samples from another stream, came the same"),
            ("single", "log_density: expected 200 values, came 1"),
            ("broad", "log_density of another width: expected negative infinity, came 0"),
            ("brittle", "log_density of another width: expected an answer, came"),
            ("impossible", "log_density: expected finite values at the prior's own samples"),
            ("unscaled", "log_density: expected that of the prior's samples, came about 2."),
            ("narrow", "log_density: expected that of the prior's samples, came about 0."),
        ] {
            let report = findings(flaw, 1);
            assert!(report.contains(words), "{flaw}: {report}");
        }
        assert!(findings("none", 2).contains("domain: expected 2 variables, came 1"));
    }
}
