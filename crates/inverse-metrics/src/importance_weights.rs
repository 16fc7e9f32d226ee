//! Weights that make draws of a model draws of the posterior.

use inverse_core::{
    InvalidArgument, InverseModel, LARGEST_PAIRS, MeasurementNoise, Proposals, Task, check_log_densities,
    systematic_draws,
};
use ndarray::{Array1, Array2, Array3, ArrayView2, Axis, s};
use rand::Rng;
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
        let Some(log_density) = proposals.log_density(model, y)? else {
            return Err(InvalidArgument::new("model", "one with a density", model.name()).into());
        };
        Self::of_densities(task, noise, proposals, log_density.view(), y)
    }

    /// Weighs draws whose densities are known: as [`ImportanceWeights::of_draws`] does, which asks a model for them.
    ///
    /// * `log_density`: log p̂(x | y) of each draw, known up to a number for each target, (targets, n)
    ///
    /// # Errors
    /// As [`ImportanceWeights::of_draws`]; [`MetricError::InvalidArgument`] that names `log_density` where it is of another shape than the
    /// draws.
    pub fn of_densities(
        task: &dyn Task,
        noise: &dyn MeasurementNoise,
        proposals: &Proposals,
        log_density: ArrayView2<'_, f64>,
        y: ArrayView2<'_, f64>,
    ) -> Result<Self, MetricError> {
        check_proposals(task, proposals, y)?;
        let shape = (proposals.targets(), proposals.count());
        if log_density.dim() != shape {
            let expected = format!("shape {shape:?}");
            return Err(
                InvalidArgument::new("log_density", expected, format!("{:?}", log_density.dim())).into()
            );
        }
        if noise.dim_y() != task.dim_y() {
            let expected = format!("one of {} measured variables", task.dim_y());
            return Err(InvalidArgument::new("noise", expected, noise.dim_y()).into());
        }
        let may_count = |target: usize, draw: usize| {
            proposals.is_draw(target, draw) && log_density[[target, draw]].is_finite()
        };
        let log_posterior = log_posterior(task, noise, proposals, y, may_count)?;
        Self::of_logarithms(log_posterior.view(), log_density)
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
            for (slot, draw) in systematic_draws(weights, n, rng)?.into_iter().enumerate() {
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
        check_log_densities("task", &prior, places.len())?;
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
        check_log_densities("noise", &likelihood, answered.len())?;
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

#[cfg(test)]
#[path = "importance_weights_tests.rs"]
mod tests;
