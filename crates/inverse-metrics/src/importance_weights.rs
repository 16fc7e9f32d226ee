//! Weights that make draws of a model draws of the posterior.

use inverse_core::{InvalidArgument, InverseModel, LARGEST_PAIRS, MeasurementNoise, Proposals, Task};
use ndarray::{Array1, Array2, Array3, ArrayView1, ArrayView2, Axis, s};
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use rayon::prelude::*;

use crate::MetricError;
use crate::resimulation::{BLOCK, check_proposals, simulate_finite};

/// Importance weights: how much each draw of a model counts towards the posterior p(x | y).
///
/// What a network has learnt of p(x | y) is not quite right. Where its density is known, simulator, prior and measurement
/// noise can mend it: a draw x that is made with density p̂(x | y) and has the weight
///
/// ```text
/// w ∝ p(x) p(y | f(x)) / p̂(x | y)
/// ```
///
/// counts as it should, whatever the network missed, as long as it draws wherever the posterior is (importance sampling; from
/// networks: Dax et al. 2023). It costs one call of the simulator a draw, at most. The
/// [effective sample size](Self::effective_sample_sizes) says how good the network was: as many draws of the posterior itself
/// would tell as much. Few say that it is not to be trusted there; many do not prove that no solution was left out.
///
/// ```
/// use inverse_core::{
///     BoxPrior, FnSimulator, GaussianNoise, InverseModel, ProposeError, Proposals, RandomStreams, SimulatedTask,
/// };
/// use inverse_metrics::ImportanceWeights;
/// use ndarray::{Array1, Array3, ArrayView2, array};
/// use rand::{Rng, RngExt};
///
/// /// Draws from 0 to 1, whatever the measurement.
/// struct Deaf;
///
/// impl InverseModel for Deaf {
///     fn name(&self) -> &str {
///         "deaf"
///     }
///     fn dim_x(&self) -> usize {
///         1
///     }
///     fn dim_y(&self) -> usize {
///         1
///     }
///     fn propose(&self, y: ArrayView2<f64>, n: usize, rng: &mut dyn Rng) -> Result<Proposals, ProposeError> {
///         Ok(Proposals::new(Array3::from_shape_simple_fn((y.nrows(), n, 1), || rng.random()))?)
///     }
///     fn log_density(&self, x: ArrayView2<f64>, _: ArrayView2<f64>) -> Result<Option<Array1<f64>>, ProposeError> {
///         Ok(Some(Array1::zeros(x.nrows())))
///     }
/// }
///
/// // y = 2x, measured as 1.2 ± 0.1: x is 0.6 ± 0.05.
/// let double = FnSimulator::new(1, 1, |x, y| y[0] = 2.0 * x[0])?;
/// let task = SimulatedTask::new("double", double, BoxPrior::new(&[0.0], &[1.0])?)?;
/// let y = array![[1.2]];
/// let mut rng = RandomStreams::new(1).stream("propose", 0);
/// let draws = Deaf.propose(y.view(), 4000, &mut rng)?;
/// let weights = ImportanceWeights::of_draws(&task, &GaussianNoise::new(&[0.1])?, &Deaf, &draws, y.view())?;
/// assert!((weights.effective_sample_sizes()[0] / 4000.0 - 0.177).abs() < 0.03);
/// let posterior = weights.resample(&draws, 500, &mut rng)?;
/// let x = posterior.designs();
/// assert!((x.mean().ok_or("no draws")? - 0.6).abs() < 0.02 && (x.std(0.0) - 0.05).abs() < 0.01);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ImportanceWeights {
    weights: Array2<f64>,
}

impl ImportanceWeights {
    /// Weighs draws of a model that has a density.
    ///
    /// Weight 0 is given to draws that the simulator cannot evaluate or the prior never gives, that are not finite or have
    /// no finite density, and to those that the model [moved](Proposals::moved_inside) inside the range of its training
    /// designs: a posterior beyond that range is left out.
    ///
    /// * `task`: simulator, and prior of continuous variables with a density
    /// * `noise`: of the measurements
    /// * `model`: the one that made the draws
    /// * `proposals`: its draws as they came, (targets, n, `dim_x`): not the densest of them, and not refined
    /// * `y`: the measurements, (targets, `dim_y`)
    ///
    /// Designs that may count are simulated in parallel, in blocks of a fixed size: any number of threads gives the same bits.
    ///
    /// # Errors
    /// [`MetricError::InvalidArgument`] where shapes disagree, a measurement is not finite, the prior or the model has no
    /// density, the prior gives no draw of any target, as where it has a discrete variable, or prior or noise answers in another
    /// shape or with NaN or infinity; otherwise those of the simulator and of [`InverseModel::log_density`].
    pub fn of_draws(
        task: &dyn Task,
        noise: &dyn MeasurementNoise,
        model: &(impl InverseModel + ?Sized),
        proposals: &Proposals,
        y: ArrayView2<'_, f64>,
    ) -> Result<Self, MetricError> {
        check_proposals(task, proposals, y)?;
        if noise.dim_y() != task.dim_y() {
            let expected = format!("one of {} measured variables", task.dim_y());
            return Err(InvalidArgument::new("noise", expected, noise.dim_y()).into());
        }
        let Some(log_density) = proposals.log_density(model, y)? else {
            return Err(InvalidArgument::new("model", "one with a density", model.name()).into());
        };
        let designs = proposals.designs();
        let may_count = |target: usize, draw: usize| {
            let moved = proposals.moved_inside().is_some_and(|moved| moved[[target, draw]]);
            let finite = designs.slice(s![target, draw, ..]).iter().all(|value| value.is_finite());
            !moved && finite && log_density[[target, draw]].is_finite()
        };
        let log_posterior = log_posterior(task, noise, proposals, y, may_count)?;
        Self::of_logarithms(log_posterior.view(), log_density.view())
    }

    /// Weighs draws by the logarithms of two densities, each known up to a factor: of the law that they should follow and of
    /// the one that they were drawn from, (targets, n).
    ///
    /// Weight 0 is given to draws whose first logarithm is −∞ or whose second is not finite.
    ///
    /// # Errors
    /// [`MetricError::InvalidArgument`] where an axis is empty, the shapes differ, or a `wanted` is NaN or +∞.
    pub fn of_logarithms(
        wanted: ArrayView2<'_, f64>,
        drawn: ArrayView2<'_, f64>,
    ) -> Result<Self, MetricError> {
        if wanted.is_empty() {
            let found = format!("shape {:?}", wanted.dim());
            return Err(InvalidArgument::new("wanted", "at least one target and draw", found).into());
        }
        if drawn.dim() != wanted.dim() {
            let expected = format!("shape {:?}", wanted.dim());
            return Err(InvalidArgument::new("drawn", expected, format!("{:?}", drawn.dim())).into());
        }
        if let Some(log) = wanted.iter().find(|log| log.is_nan() || **log == f64::INFINITY) {
            return Err(InvalidArgument::new("wanted", "numbers below infinity", log).into());
        }
        let mut weights = Array2::zeros(wanted.dim());
        for (mut weights, (wanted, drawn)) in
            weights.rows_mut().into_iter().zip(wanted.rows().into_iter().zip(drawn.rows()))
        {
            let ratio = |(wanted, drawn): (&f64, &f64)| {
                // The largest number where the difference is beyond it.
                if drawn.is_finite() { (wanted - drawn).min(f64::MAX) } else { f64::NEG_INFINITY }
            };
            let log: Array1<f64> = wanted.iter().zip(drawn).map(ratio).collect();
            let largest = log.fold(f64::NEG_INFINITY, |largest, log| largest.max(*log));
            if largest > f64::NEG_INFINITY {
                weights.assign(&log.mapv(|log| (log - largest).exp()));
                weights /= weights.sum();
            }
        }
        Ok(Self { weights })
    }

    /// The weights, (targets, n): of sum 1 for each target, or all 0 where no draw counts.
    pub fn weights(&self) -> ArrayView2<'_, f64> {
        self.weights.view()
    }

    /// How many draws of the posterior itself would tell as much, (targets): (Σ w)² / Σ w², 1 to n; 0 where no draw counts.
    pub fn effective_sample_sizes(&self) -> Array1<f64> {
        let sizes = self.weights.rows().into_iter().map(|weights| {
            let squares: f64 = weights.iter().map(|weight| weight * weight).sum();
            if squares > 0.0 { 1.0 / squares } else { 0.0 }
        });
        sizes.collect()
    }

    /// Those of some targets, in the order of `targets`.
    ///
    /// # Errors
    /// [`MetricError::InvalidArgument`] where there is none, or one is not of these.
    pub fn select(&self, targets: &[usize]) -> Result<Self, MetricError> {
        let count = self.weights.nrows();
        if targets.is_empty() {
            return Err(InvalidArgument::new("targets", "at least one", "none").into());
        }
        if let Some(target) = targets.iter().find(|target| **target >= count) {
            return Err(InvalidArgument::new("targets", format!("below {count}"), target).into());
        }
        Ok(Self { weights: self.weights.select(Axis(0), targets) })
    }

    /// `n` draws for each target, as often as their weights say, in random order: (targets, n, `dim_x`).
    ///
    /// A draw of weight w comes n w times, rounded up or down at random. Where n is not well below the
    /// [effective sample size](Self::effective_sample_sizes), many repeat.
    ///
    /// * `proposals`: the draws that were weighed
    ///
    /// # Errors
    /// [`MetricError::InvalidArgument`] where the proposals are of another shape than the weights, `n` is 0 or more than
    /// [`LARGEST_PAIRS`] for all targets together, or no draw of a target counts.
    pub fn resample(
        &self,
        proposals: &Proposals,
        n: usize,
        rng: &mut dyn Rng,
    ) -> Result<Proposals, MetricError> {
        let (targets, count, dim_x) = proposals.designs().dim();
        if (targets, count) != self.weights.dim() {
            let expected = format!("those that were weighed, {:?}", self.weights.dim());
            return Err(InvalidArgument::new("proposals", expected, format!("{:?}", (targets, count))).into());
        }
        let largest = LARGEST_PAIRS / targets;
        if !(1..=largest).contains(&n) {
            return Err(InvalidArgument::new(
                "n",
                format!("1 to {largest} for each of {targets} targets"),
                n,
            )
            .into());
        }
        let mut designs = Array3::zeros((targets, n, dim_x));
        for (target, weights) in self.weights.rows().into_iter().enumerate() {
            if weights.iter().all(|weight| *weight == 0.0) {
                let expected = "a draw of positive weight for each target";
                return Err(
                    InvalidArgument::new("proposals", expected, format!("none for target {target}")).into()
                );
            }
            for (slot, draw) in systematic(weights, n, rng).into_iter().enumerate() {
                designs.slice_mut(s![target, slot, ..]).assign(&proposals.designs().slice(s![
                    target,
                    draw,
                    ..
                ]));
            }
        }
        Ok(Proposals::new(designs)?)
    }
}

/// `n` places, each as often as its weight says: a comb of n teeth, laid at random over the weights; then shuffled.
fn systematic(weights: ArrayView1<'_, f64>, n: usize, rng: &mut dyn Rng) -> Vec<usize> {
    let offset: f64 = rng.random();
    let step = weights.sum() / n as f64;
    let mut places = Vec::with_capacity(n);
    let (mut place, mut reached) = (0, weights[0]);
    // Rounding may leave the last tooth beyond the sum.
    let last = weights.iter().rposition(|weight| *weight > 0.0).unwrap_or(0);
    for tooth in 0..n {
        while place < last && reached <= (tooth as f64 + offset) * step {
            place += 1;
            reached += weights[place];
        }
        places.push(place);
    }
    places.shuffle(rng);
    places
}

/// log p(x) + log p(y | f(x)) of each draw that may count, (targets, n); −∞ of the others and where there is no answer.
///
/// * `may_count`: by target and draw
fn log_posterior(
    task: &dyn Task,
    noise: &dyn MeasurementNoise,
    proposals: &Proposals,
    y: ArrayView2<'_, f64>,
    may_count: impl Fn(usize, usize) -> bool,
) -> Result<Array2<f64>, MetricError> {
    let designs = proposals.designs();
    let (targets, count, dim_x) = designs.dim();
    let places = ndarray::indices((targets, count)).into_iter();
    let places: Vec<_> = places.filter(|(target, draw)| may_count(*target, *draw)).collect();
    let blocks = places.par_chunks(BLOCK).map(|places| {
        let x = Array2::from_shape_fn((places.len(), dim_x), |(row, column)| {
            designs[[places[row].0, places[row].1, column]]
        });
        let prior = task.prior().log_density(x.view());
        let prior =
            prior.ok_or_else(|| InvalidArgument::new("task", "a prior with a density", task.name()))?;
        check_logarithms("task", &prior, places.len())?;
        // A simulation may take long: none of what the prior never gives.
        let possible: Vec<usize> = (0..places.len()).filter(|row| prior[*row] > f64::NEG_INFINITY).collect();
        let exact = simulate_finite(task, x.select(Axis(0), &possible).view())?;
        let (of_exact, answered): (Vec<usize>, Vec<usize>) = possible
            .iter()
            .enumerate()
            .filter(|(row, _)| exact.row(*row).iter().all(|value| value.is_finite()))
            .unzip();
        let of_target: Vec<usize> = answered.iter().map(|row| places[*row].0).collect();
        let likelihood = noise
            .log_likelihood(exact.select(Axis(0), &of_exact).view(), y.select(Axis(0), &of_target).view())?;
        check_logarithms("noise", &likelihood, answered.len())?;
        let logs = answered.iter().zip(&likelihood).map(|(row, log)| (places[*row], prior[*row] + log));
        Ok((logs.collect::<Vec<_>>(), possible.len()))
    });
    let blocks: Vec<_> = blocks.collect::<Result<_, MetricError>>()?;
    if !places.is_empty() && blocks.iter().all(|(_, possible)| *possible == 0) {
        let expected = "a prior of continuous variables that gives one of the draws, at least";
        return Err(
            InvalidArgument::new("task", expected, format!("density 0 of all {}", places.len())).into()
        );
    }
    let mut logs = Array2::from_elem((targets, count), f64::NEG_INFINITY);
    for (place, log) in blocks.into_iter().flat_map(|(block, _)| block) {
        logs[place] = log;
    }
    Ok(logs)
}

/// Whether there is a logarithm for each of so many, and none NaN or +∞.
fn check_logarithms(argument: &str, logs: &Array1<f64>, count: usize) -> Result<(), InvalidArgument> {
    if logs.len() != count {
        return Err(InvalidArgument::new(argument, format!("{count} log-densities"), logs.len()));
    }
    match logs.iter().find(|log| log.is_nan() || **log == f64::INFINITY) {
        Some(log) => Err(InvalidArgument::new(argument, "log-densities below infinity", log)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use approx::assert_relative_eq;
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
            let count =
                |draw: usize| resampled.designs().iter().filter(|value| **value == draw as f64).count();
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
            pool.install(|| {
                ImportanceWeights::of_draws(&normal(), &noise(), &WIDE, &draws, y.view()).unwrap()
            })
        };
        assert_eq!(weigh(1), weigh(3));
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
        let silent =
            |density: Option<Array1<f64>>| line(Silent(density, BoxPrior::new(&[0.0], &[1.0]).unwrap()));
        for density in [None, Some(array![0.0]), Some(Array1::from_elem(6, f64::NAN))] {
            named(weigh(&silent(density), &noise(), &WIDE, &y), "task");
        }
        // Draws are no whole numbers.
        let poisson = line(IndependentPrior::new(&[Marginal::Poisson { rate: 5.0 }]).unwrap());
        named(weigh(&poisson, &noise(), &WIDE, &y), "task");
        named(weigh(&normal(), &GaussianNoise::new(&[1.0, 1.0]).unwrap(), &WIDE, &y), "noise");
        named(weigh(&normal(), &noise(), &Wide { density: false }, &y), "model");
        /// Noise that answers with these numbers.
        struct Odd(Array1<f64>);
        impl MeasurementNoise for Odd {
            fn dim_y(&self) -> usize {
                1
            }

            fn measure(
                &self,
                exact: ArrayView2<'_, f64>,
                _: &mut dyn Rng,
            ) -> Result<Array2<f64>, InvalidArgument> {
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
        for log in [array![0.0], Array1::from_elem(6, f64::NAN), Array1::from_elem(6, f64::INFINITY)] {
            let weights = ImportanceWeights::of_draws(&normal(), &Odd(log), &WIDE, &draws, y.view());
            named(weights.map(|_| ()), "noise");
        }
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
}
