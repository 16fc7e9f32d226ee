use inverse_core::testing::check_prior;
use inverse_core::{BoxPrior, Dataset, FnSimulator, RandomStreams, SimulatedTask, Stream, check_pairs};
use ndarray::{Array3, array};
use rand_distr::{Distribution, StandardNormal};

use super::*;

/// Draws from N(y + shift, 0.1²).
#[derive(Debug, Clone, Copy)]
struct Normal {
    shift: f64,
    density: bool,
    /// Draws above it are said to be moved.
    moved_above: f64,
    /// Proposals at most.
    largest: usize,
    /// Pairs at most whose density it knows; more are an error.
    largest_pairs: usize,
}

const NORMAL: Normal = Normal {
    shift: 0.0,
    density: true,
    moved_above: f64::INFINITY,
    largest: usize::MAX,
    largest_pairs: usize::MAX,
};

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
        check_request(y, 1, n, self.largest)?;
        let mut draw = |target: usize| -> f64 {
            let normal: f64 = StandardNormal.sample(rng);
            y[[target, 0]] + self.shift + 0.1 * normal
        };
        let draws = Proposals::new(Array3::from_shape_fn((y.nrows(), n, 1), |(target, _, _)| draw(target)))?;
        let moved = draws.designs().remove_axis(Axis(2)).mapv(|x| x > self.moved_above);
        Ok(draws.with_moved_inside(moved)?)
    }

    fn log_density(
        &self,
        x: ArrayView2<'_, f64>,
        y: ArrayView2<'_, f64>,
    ) -> Result<Option<Array1<f64>>, ProposeError> {
        check_pairs(x, y, (1, 1))?;
        if x.nrows() > self.largest_pairs {
            return Err(ProposeError::Backend("out of memory".into()));
        }
        let log = (&x - &y - self.shift).mapv(|difference| -0.5 * (difference / 0.1).powi(2));
        Ok(self.density.then(|| log.remove_axis(Axis(1))))
    }
}

fn unit() -> BoxPrior {
    BoxPrior::new(&[0.0], &[1.0]).unwrap()
}

fn stream(index: u64) -> Stream {
    RandomStreams::new(1).stream("region", index)
}

fn truncated(y: f64, left_out: f64) -> Result<TruncatedPrior<BoxPrior, Normal>, ProposeError> {
    TruncatedPrior::new(unit(), NORMAL, array![[y]].view(), left_out, &mut stream(0))
}

#[test]
fn the_region_is_that_of_the_highest_density() {
    let prior = truncated(0.5, 0.05).unwrap();
    // ±1.96 deviations; the quantile of 20,000 draws is right to 0.0015 in probability, and so the end to 0.0015 / (2 · 0.0584)
    // deviations of 0.1: 0.0013. Seven times that.
    let end = 0.196;
    let x = array![[0.5], [0.5 + end - 0.01], [0.5 - end - 0.01], [0.9]];
    assert_eq!(prior.contains(x.view()).unwrap(), array![true, true, false, false]);
    // Of about 10,200 trials 4,000: five standard errors, and the ends' 0.005.
    let error = 5.0 * (0.392 * 0.608 / 10_200.0_f64).sqrt() + 0.005;
    assert!((prior.acceptance_rate() - 2.0 * end).abs() < error, "{}", prior.acceptance_rate());
    let x = prior.sample(4000, &mut stream(1));
    assert!(x.iter().all(|x| (x - 0.5).abs() < end + 0.01));
    // Still uniform: a mean of 0.5 and a variance of (2 end)²/12, within five standard errors and the ends' 10 %.
    assert!((x.mean().unwrap() - 0.5).abs() < 5.0 * end / (3.0_f64 * 4000.0).sqrt());
    let variance = end * end / 3.0;
    assert!((x.var(0.0) - variance).abs() < (0.1 + 5.0 * (0.8_f64 / 4000.0).sqrt()) * variance);
    assert!((prior.domain().center()[0] - 0.5).abs() < 0.02);
}

#[test]
fn it_is_a_prior() {
    for (y, seed) in [(0.5, 1), (0.5, 2), (0.05, 3), (0.9, 4)] {
        let prior = TruncatedPrior::new(unit(), NORMAL, array![[y]].view(), 1e-3, &mut stream(seed)).unwrap();
        check_prior(&prior, 1, seed).unwrap();
        let x = array![[y], [1.5], [f64::NAN]];
        let none = f64::NEG_INFINITY;
        assert_eq!(prior.log_density(x.view()).unwrap(), array![-prior.acceptance_rate().ln(), none, none]);
    }
}

#[test]
fn moved_draws_do_not_measure_the_region() {
    // What is left of the draws lies 2 deviations below the middle, and a twentieth of it 3.05 or more.
    let moving = Normal { moved_above: 0.3, ..NORMAL };
    let tail = TruncatedPrior::new(unit(), moving, array![[0.5]].view(), 0.05, &mut stream(0)).unwrap();
    let x = array![[0.22], [0.78]];
    assert_eq!(tail.contains(x.view()).unwrap(), array![true, true]);
    assert_eq!(truncated(0.5, 0.05).unwrap().contains(x.view()).unwrap(), array![false, false]);
}

#[test]
fn a_later_region_lies_within_the_earlier_ones() {
    let first = truncated(0.5, 0.05).unwrap();
    let shifted = Normal { shift: 0.2, ..NORMAL };
    let second = first.narrowed(shifted, 0.05, &mut stream(1)).unwrap();
    // The first reaches from 0.304 to 0.696, the second alone from 0.504 to 0.896.
    let x = array![[0.45], [0.52], [0.68], [0.75]];
    assert_eq!(second.contains(x.view()).unwrap(), array![false, true, true, false]);
    assert!((second.acceptance_rate() - 0.192).abs() < 0.02);
    check_prior(&second, 1, 1).unwrap();
    let apart = Normal { shift: 0.45, ..NORMAL };
    let error = second.narrowed(apart, 0.4, &mut stream(2)).unwrap_err().to_string();
    assert!(error.contains("invalid `prior`") && error.contains("found 0 in 10"), "{error}");
}

/// The unit box, with a flaw.
struct Faulty(&'static str, BoxPrior);

impl Prior for Faulty {
    fn sample(&self, n: usize, rng: &mut dyn Rng) -> Array2<f64> {
        match self.0 {
            "short" => self.1.sample(n / 2, rng),
            "wide" => Array2::zeros((n, 2)),
            "empty" => Array2::zeros((0, 1)),
            _ => Array2::from_elem((n, 1), f64::NAN),
        }
    }

    fn domain(&self) -> &Domain {
        self.1.domain()
    }
}

#[test]
fn bad_arguments_are_named() {
    let named = |error: ProposeError, argument: &str| {
        let error = error.to_string();
        assert!(error.contains(&format!("invalid `{argument}`")), "{error}");
    };
    for left_out in [0.0, 1e-6, -0.1, 0.6, f64::NAN] {
        named(truncated(0.5, left_out).unwrap_err(), "left_out");
    }
    named(truncated(f64::NAN, 0.1).unwrap_err(), "y");
    named(truncated(3.0, 0.1).unwrap_err(), "prior");
    let of = |model: Normal, y: Array2<f64>, prior: BoxPrior| {
        TruncatedPrior::new(prior, model, y.view(), 0.001, &mut stream(0)).unwrap_err()
    };
    for y in [array![[0.5], [0.4]], array![[0.5, 0.4]], Array2::zeros((0, 1))] {
        named(of(NORMAL, y, unit()), "y");
    }
    for model in [
        Normal { density: false, ..NORMAL },
        Normal { density: false, largest: 10, ..NORMAL },
        Normal { largest: 10, ..NORMAL },
        Normal { moved_above: 0.2, ..NORMAL },
    ] {
        named(of(model, array![[0.5]], unit()), "model");
    }
    named(of(NORMAL, array![[0.5]], BoxPrior::new(&[0.0; 2], &[1.0; 2]).unwrap()), "prior");
    for flaw in ["short", "wide", "empty", "nan"] {
        let prior =
            TruncatedPrior::new(Faulty(flaw, unit()), NORMAL, array![[0.5]].view(), 0.1, &mut stream(0));
        named(prior.unwrap_err(), "prior");
    }
    let prior = truncated(0.5, 0.1).unwrap();
    named(prior.contains(array![[0.5, 0.5]].view()).unwrap_err(), "x");
}

#[test]
fn a_model_that_fails_gives_no_designs() {
    let mut prior = truncated(0.5, 0.1).unwrap();
    prior.regions[0].0.largest_pairs = 5;
    let error = prior.draw(10, &mut stream(0)).unwrap_err().to_string();
    assert!(error.contains("out of memory"), "{error}");
    let task =
        SimulatedTask::new("line", FnSimulator::new(1, 1, |x, y| y[0] = x[0]).unwrap(), &prior).unwrap();
    let error = Dataset::from_task(&task, 10, &mut stream(0)).unwrap_err().to_string();
    assert!(error.contains("invalid `prior`") && error.contains("NaN"), "{error}");
    // A region that is hit less often than was measured ends the search.
    let mut prior = truncated(0.5, 0.1).unwrap();
    prior.regions[0].1 = f64::INFINITY;
    let error = prior.draw(10, &mut stream(0)).unwrap_err().to_string();
    assert!(error.contains("invalid `prior`: expected 10 designs in the region"), "{error}");
}
