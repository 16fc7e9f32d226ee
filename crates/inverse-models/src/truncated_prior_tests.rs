use inverse_core::testing::check_prior;
use inverse_core::{BoxPrior, RandomStreams, Stream, check_pairs};
use ndarray::{Array3, array};
use rand_distr::{Distribution, StandardNormal};

use super::*;

/// Draws from N(y, 0.1²), all of them moved from outside, or without a density.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Normal {
    Sound,
    Moving,
    Silent,
}

impl InverseModel for Normal {
    fn name(&self) -> &'static str {
        "normal"
    }

    fn dim_x(&self) -> usize {
        1
    }

    fn dim_y(&self) -> usize {
        1
    }

    fn propose(
        &self,
        y: ArrayView2<'_, f64>,
        n: usize,
        rng: &mut dyn Rng,
    ) -> Result<Proposals, ProposeError> {
        check_request(y, 1, n, usize::MAX)?;
        let mut draw = |target: usize| -> f64 {
            let normal: f64 = StandardNormal.sample(rng);
            y[[target, 0]] + 0.1 * normal
        };
        let draws = Proposals::new(Array3::from_shape_fn((y.nrows(), n, 1), |(target, _, _)| draw(target)))?;
        let moved = Array2::from_elem((y.nrows(), n), *self == Self::Moving);
        Ok(draws.with_moved_inside(moved)?)
    }

    fn log_density(
        &self,
        x: ArrayView2<'_, f64>,
        y: ArrayView2<'_, f64>,
    ) -> Result<Option<Array1<f64>>, ProposeError> {
        check_pairs(x, y, (1, 1))?;
        let log = (&x - &y).mapv(|difference| -0.5 * (difference / 0.1).powi(2)).remove_axis(Axis(1));
        Ok((*self != Self::Silent).then_some(log))
    }
}

fn unit() -> BoxPrior {
    BoxPrior::new(&[0.0], &[1.0]).unwrap()
}

fn stream() -> Stream {
    RandomStreams::new(1).stream("region", 0)
}

fn truncated(y: f64, left_out: f64) -> Result<TruncatedPrior<BoxPrior, Normal>, ProposeError> {
    TruncatedPrior::new(unit(), Normal::Sound, array![[y]].view(), left_out, &mut stream())
}

#[test]
fn the_region_is_that_of_the_highest_density() {
    let prior = truncated(0.5, 0.05).unwrap();
    // ±1.96 deviations; the quantile of 10,000 draws is right to 0.0022 in probability, and so the end to 0.0022 / (2 · 0.0584)
    // deviations: 0.019, five times that in a deviation of 0.1.
    let end = 0.196;
    let contained =
        prior.contains(array![[0.5], [0.5 + end - 0.01], [0.5 - end - 0.01], [0.9]].view()).unwrap();
    assert_eq!(contained, array![true, true, false, false]);
    // A hundred of about 255 uniform designs: four deviations.
    assert!((prior.acceptance_rate() - 2.0 * end).abs() < 0.13, "{}", prior.acceptance_rate());
    let x = prior.sample(4000, &mut stream());
    assert!(x.iter().all(|x| (x - 0.5).abs() < end + 0.01));
    // Still uniform: a mean of 0.5 and a variance of (2 end)²/12, within five standard errors and the ends' 5 %.
    assert!((x.mean().unwrap() - 0.5).abs() < 5.0 * end / (3.0_f64 * 4000.0).sqrt());
    let variance = end * end / 3.0;
    assert!((x.var(0.0) - variance).abs() < (0.1 + 5.0 * (0.8_f64 / 4000.0).sqrt()) * variance);
    assert!((prior.domain().center()[0] - 0.5).abs() < 0.05);
}

#[test]
fn it_is_a_prior() {
    for y in [0.5, 0.05] {
        check_prior(&truncated(y, 1e-3).unwrap(), 1, 1).unwrap();
    }
    let density = truncated(0.5, 1e-3).unwrap().log_density(array![[0.5], [0.95]].view()).unwrap();
    assert!(density[0] > 0.3 && density[1] == f64::NEG_INFINITY);
}

#[test]
fn bad_arguments_are_named() {
    let named = |result: Result<TruncatedPrior<BoxPrior, Normal>, ProposeError>, argument: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(&format!("invalid `{argument}`")), "{error}");
    };
    for left_out in [0.0, -0.1, 0.6, f64::NAN] {
        named(truncated(0.5, left_out), "left_out");
    }
    named(truncated(f64::NAN, 0.1), "y");
    named(truncated(3.0, 0.1), "prior");
    let of = |model: Normal, y: Array2<f64>, prior: BoxPrior| {
        TruncatedPrior::new(prior, model, y.view(), 0.1, &mut stream())
    };
    for y in [array![[0.5], [0.4]], array![[0.5, 0.4]], Array2::zeros((0, 1))] {
        named(of(Normal::Sound, y, unit()), "y");
    }
    named(of(Normal::Silent, array![[0.5]], unit()), "model");
    named(of(Normal::Moving, array![[0.5]], unit()), "model");
    named(of(Normal::Sound, array![[0.5]], BoxPrior::new(&[0.0; 2], &[1.0; 2]).unwrap()), "prior");
    let prior = truncated(0.5, 0.1).unwrap();
    assert!(prior.contains(array![[0.5, 0.5]].view()).unwrap_err().to_string().contains("invalid `x`"));
}
