use std::sync::atomic::{AtomicUsize, Ordering};

use approx::{assert_abs_diff_eq, assert_relative_eq};
use inverse_core::{
    BoxPrior, FnSimulator, GaussianNoise, IndependentPrior, Marginal, Prior, ProposeError, RandomStreams,
    SimulatedTask, check_pairs, check_request,
};
use ndarray::array;
use rand_distr::{Distribution, StandardNormal};

use super::*;

/// Draws from N(y, 1), or says that it does.
struct Wide {
    density: bool,
}

impl InverseModel for Wide {
    fn name(&self) -> &'static str {
        "wide"
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
            y[[target, 0]] + normal
        };
        Ok(Proposals::new(Array3::from_shape_fn((y.nrows(), n, 1), |(target, _, _)| draw(target)))?)
    }

    fn log_density(
        &self,
        x: ArrayView2<'_, f64>,
        y: ArrayView2<'_, f64>,
    ) -> Result<Option<Array1<f64>>, ProposeError> {
        check_pairs(x, y, (1, 1))?;
        let log = (&x - &y).mapv(|difference| -0.5 * difference * difference);
        Ok(self.density.then(|| log.remove_axis(Axis(1))))
    }
}

const WIDE: Wide = Wide { density: true };

type Line = SimulatedTask<FnSimulator<fn(&[f64], &mut [f64])>, Box<dyn Prior>>;

/// y = x, and no answer above 3.
fn line(prior: impl Prior + 'static) -> Line {
    let identity: fn(&[f64], &mut [f64]) = |x, y| {
        if x[0] <= 3.0 {
            y[0] = x[0];
        }
    };
    let prior: Box<dyn Prior> = Box::new(prior);
    SimulatedTask::new("line", FnSimulator::new(1, 1, identity).unwrap(), prior).unwrap()
}

fn normal() -> Line {
    line(IndependentPrior::new(&[Marginal::Normal { mean: 0.0, deviation: 1.0 }]).unwrap())
}

fn noise() -> GaussianNoise {
    GaussianNoise::new(&[0.5]).unwrap()
}

fn stream(name: &str) -> inverse_core::Stream {
    RandomStreams::new(1).stream(name, 0)
}

#[test]
fn weighed_draws_follow_the_posterior() {
    // x is N(0, 1) and y is x ± 0.5, so that p(x | y) is N(0.8 y, 0.2).
    let (y, n) = (array![[1.0], [-0.5]], 20_000);
    let draws = WIDE.propose(y.view(), n, &mut stream("draws")).unwrap();
    let weights = ImportanceWeights::of_draws(&normal(), &noise(), &WIDE, &draws, y.view()).unwrap();
    let resampled = weights.resample(&draws, 4000, &mut stream("resample")).unwrap();
    for (target, y) in y.iter().enumerate() {
        let (mean, variance): (f64, f64) = (0.8 * y, 0.2);
        // ∫ p²/q of two normal laws, 1 and 0.2 wide and 0.2 y apart.
        let expected = n as f64 * 0.6 / ((0.2 * y).powi(2) / 1.8).exp();
        // w² has a deviation of its own size at most: three hundredths at five standard errors.
        let size = weights.effective_sample_sizes()[target];
        assert_relative_eq!(size, expected, max_relative = 0.04);
        let x = draws.designs().slice_move(s![target, .., 0]).to_owned();
        let weights = weights.weights().slice_move(s![target, ..]).to_owned();
        assert_relative_eq!(weights.sum(), 1.0, max_relative = 1e-12);
        let estimate = (&weights * &x).sum();
        // Five standard errors of as many draws of the posterior as the effective size says.
        let error = 5.0 * (variance / size).sqrt();
        assert!((estimate - mean).abs() < error, "{estimate}");
        let square = (&weights * &x.mapv(|x| (x - mean).powi(2))).sum();
        assert!((square - variance).abs() < 5.0 * variance * (2.0 / size).sqrt(), "{square}");
        let again = resampled.designs().slice_move(s![target, .., 0]).mean().unwrap();
        // A comb scatters less than as many independent draws.
        assert!((again - estimate).abs() < 5.0 * (variance / 4000.0).sqrt(), "{again}");
    }
}

#[test]
fn draws_that_do_not_count_have_no_weight() {
    let box_prior = line(BoxPrior::new(&[0.0], &[5.0]).unwrap());
    // Inside, beyond the prior, no number, without an answer, moved, inside.
    let designs = array![[[1.0], [-1.0], [f64::NAN], [4.0], [1.0], [1.0]]];
    let moved = array![[false, false, false, false, true, false]];
    let draws = Proposals::new(designs).unwrap().with_moved_inside(moved).unwrap();
    let y = array![[1.0]];
    let weights = ImportanceWeights::of_draws(&box_prior, &noise(), &WIDE, &draws, y.view()).unwrap();
    assert_eq!(weights.weights(), array![[0.5, 0.0, 0.0, 0.0, 0.0, 0.5]]);
    assert_eq!(weights.effective_sample_sizes(), array![2.0]);
    assert_eq!(weights.select(&[0, 0]).unwrap().effective_sample_sizes(), array![2.0, 2.0]);
    let none = draws.clone().with_moved_inside(Array2::from_elem((1, 6), true)).unwrap();
    let weights = ImportanceWeights::of_draws(&box_prior, &noise(), &WIDE, &none, y.view()).unwrap();
    assert_eq!((weights.weights().sum(), weights.effective_sample_sizes()[0]), (0.0, 0.0));
    let error = weights.resample(&draws, 2, &mut stream("resample")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid `proposals`: expected a draw of positive weight for each target, found none for target 0"
    );
}

#[test]
fn draws_come_as_often_as_their_weights_say() {
    let (none, wanted) = (f64::NEG_INFINITY, array![[0.0_f64, 1.0, 2.5, 0.0, 6.5, 0.0]].mapv(f64::ln));
    // A common factor does not matter, whatever its size; no density, no weight.
    let drawn = array![[-2000.0, -2000.0, -2000.0, -2000.0, -2000.0, none]];
    let weights = ImportanceWeights::of_logarithms(wanted.view(), drawn.view()).unwrap();
    for (weight, expected) in weights.weights().iter().zip([0.0, 0.1, 0.25, 0.0, 0.65, 0.0]) {
        assert_relative_eq!(*weight, expected, max_relative = 1e-12);
    }
    let draws = Proposals::new(Array3::from_shape_fn((1, 6, 1), |(_, draw, _)| draw as f64)).unwrap();
    let mut first = [0; 6];
    for index in 0..400 {
        let mut rng = RandomStreams::new(2).stream("resample", index);
        let resampled = weights.resample(&draws, 10, &mut rng).unwrap();
        let count = |draw: usize| resampled.designs().iter().filter(|value| **value == draw as f64).count();
        assert_eq!((count(0), count(1), count(3), count(5)), (0, 1, 0, 0));
        assert!([2, 3].contains(&count(2)) && [6, 7].contains(&count(4)));
        first[resampled.designs()[[0, 0, 0]] as usize] += 1;
    }
    // The order is random: 65 % of 400 first draws, within four deviations.
    assert!((first[4] - 260_i32).abs() < 39, "{first:?}");
}

#[test]
fn logarithms_may_be_of_any_size() {
    let of = |wanted: Array2<f64>, drawn: Array2<f64>| {
        ImportanceWeights::of_logarithms(wanted.view(), drawn.view()).unwrap().weights
    };
    assert_eq!(of(array![[1e308, 0.0]], array![[-1e308, 0.0]]), array![[1.0, 0.0]]);
    assert_eq!(of(array![[-1e308, -1e308]], array![[1e308, 1e308]]), array![[0.0, 0.0]], "e to the −∞");
    assert_eq!(of(array![[-1e300, -1e300]], array![[0.0, f64::NAN]]), array![[1.0, 0.0]]);
}

#[test]
fn nothing_is_simulated_that_cannot_count() {
    let calls = AtomicUsize::new(0);
    let counted = FnSimulator::new(1, 1, |x, y| {
        calls.fetch_add(1, Ordering::Relaxed);
        y[0] = x[0];
    });
    let prior = BoxPrior::new(&[0.0], &[5.0]).unwrap();
    let task = SimulatedTask::new("counted", counted.unwrap(), prior).unwrap();
    let designs = array![[[1.0], [-1.0], [f64::INFINITY], [2.0], [3.0]]];
    let moved = array![[false, false, false, true, false]];
    let draws = Proposals::new(designs).unwrap().with_moved_inside(moved).unwrap();
    ImportanceWeights::of_draws(&task, &noise(), &WIDE, &draws, array![[1.0]].view()).unwrap();
    assert_eq!(calls.into_inner(), 2);
}

#[test]
fn threads_change_no_bit() {
    let y = array![[1.0], [0.5], [2.0]];
    let draws = WIDE.propose(y.view(), BLOCK, &mut stream("draws")).unwrap();
    let weigh = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| ImportanceWeights::of_draws(&normal(), &noise(), &WIDE, &draws, y.view()).unwrap())
    };
    assert_eq!(weigh(1), weigh(3));
}

/// A prior without a density, or one of so many numbers.
struct Silent(Option<Array1<f64>>, BoxPrior);
impl Prior for Silent {
    fn sample(&self, n: usize, rng: &mut dyn Rng) -> Array2<f64> {
        self.1.sample(n, rng)
    }

    fn domain(&self) -> &inverse_core::Domain {
        self.1.domain()
    }

    fn log_density(&self, _: ArrayView2<'_, f64>) -> Option<Array1<f64>> {
        self.0.clone()
    }
}

/// Noise that answers with these numbers.
struct Odd(Array1<f64>);
impl MeasurementNoise for Odd {
    fn dim_y(&self) -> usize {
        1
    }

    fn measure(&self, exact: ArrayView2<'_, f64>, _: &mut dyn Rng) -> Result<Array2<f64>, InvalidArgument> {
        Ok(exact.to_owned())
    }

    fn log_likelihood(
        &self,
        _: ArrayView2<'_, f64>,
        _: ArrayView2<'_, f64>,
    ) -> Result<Array1<f64>, InvalidArgument> {
        Ok(self.0.clone())
    }
}

#[test]
fn densities_may_lack_a_factor_of_each_target() {
    let y = array![[1.0], [2.0]];
    let draws = WIDE.propose(y.view(), 300, &mut stream("draws")).unwrap();
    let weights = ImportanceWeights::of_draws(&normal(), &noise(), &WIDE, &draws, y.view()).unwrap();
    let log = draws.log_density(&WIDE, y.view()).unwrap().unwrap() + &array![[3.0], [-500.0]];
    let again = ImportanceWeights::of_densities(&normal(), &noise(), &draws, log.view(), y.view()).unwrap();
    // Logarithms of some hundreds have 13 digits behind the point.
    assert_abs_diff_eq!(again.weights(), weights.weights(), epsilon = 1e-12);
}

#[test]
fn bad_arguments_are_named() {
    let y = array![[1.0], [2.0]];
    let draws = WIDE.propose(y.view(), 3, &mut stream("draws")).unwrap();
    let named = |result: Result<(), MetricError>, argument: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(&format!("invalid `{argument}`")), "{error}");
    };
    let weigh = |task: &dyn Task, noise: &GaussianNoise, model: &Wide, y: &Array2<f64>| {
        ImportanceWeights::of_draws(task, noise, model, &draws, y.view()).map(|_| ())
    };
    let silent = |density: Option<Array1<f64>>| line(Silent(density, BoxPrior::new(&[0.0], &[1.0]).unwrap()));
    for density in [None, Some(array![0.0]), Some(Array1::from_elem(6, f64::NAN))] {
        named(weigh(&silent(density), &noise(), &WIDE, &y), "task");
    }
    // Draws are no whole numbers.
    let poisson = line(IndependentPrior::new(&[Marginal::Poisson { rate: 5.0 }]).unwrap());
    named(weigh(&poisson, &noise(), &WIDE, &y), "task");
    named(weigh(&normal(), &GaussianNoise::new(&[1.0, 1.0]).unwrap(), &WIDE, &y), "noise");
    named(weigh(&normal(), &noise(), &Wide { density: false }, &y), "model");
    for log in [array![0.0], Array1::from_elem(6, f64::NAN), Array1::from_elem(6, f64::INFINITY)] {
        let weights = ImportanceWeights::of_draws(&normal(), &Odd(log), &WIDE, &draws, y.view());
        named(weights.map(|_| ()), "noise");
    }
    let log = Array2::zeros((3, 2));
    let weights = ImportanceWeights::of_densities(&normal(), &noise(), &draws, log.view(), y.view());
    named(weights.map(|_| ()), "log_density");
    let wide = Proposals::new(Array3::zeros((2, 3, 2))).unwrap();
    let weights = ImportanceWeights::of_draws(&normal(), &noise(), &WIDE, &wide, y.view());
    named(weights.map(|_| ()), "proposals");
    for y in [array![[1.0]], array![[1.0], [f64::NAN]], array![[1.0, 2.0], [1.0, 2.0]]] {
        named(weigh(&normal(), &noise(), &WIDE, &y), "y");
    }
    let of = |wanted: Array2<f64>, drawn: Array2<f64>| {
        ImportanceWeights::of_logarithms(wanted.view(), drawn.view()).map(|_| ())
    };
    named(of(Array2::zeros((1, 0)), Array2::zeros((1, 0))), "wanted");
    named(of(array![[0.0, f64::NAN]], array![[0.0, 0.0]]), "wanted");
    named(of(array![[0.0, f64::INFINITY]], array![[0.0, 0.0]]), "wanted");
    named(of(array![[0.0, 0.0]], array![[0.0], [0.0]]), "drawn");
    let weights =
        ImportanceWeights::of_logarithms(Array2::zeros((2, 3)).view(), Array2::zeros((2, 3)).view());
    let weights = weights.unwrap();
    let mut rng = stream("resample");
    for n in [0, LARGEST_PAIRS, usize::MAX] {
        named(weights.resample(&draws, n, &mut rng).map(|_| ()), "n");
    }
    named(weights.select(&[]).map(|_| ()), "targets");
    named(weights.select(&[0, 2]).map(|_| ()), "targets");
    let fewer = WIDE.propose(y.view(), 2, &mut rng).unwrap();
    named(weights.resample(&fewer, 2, &mut rng).map(|_| ()), "proposals");
}
