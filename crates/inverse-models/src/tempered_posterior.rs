//! Draws of a posterior from a simulator that can be asked often: a network's, or a fast one itself.

mod exponent;
mod moves;
mod population;

use std::fmt;

use inverse_core::{
    InvalidArgument, InverseModel, LARGEST_PAIRS, MeasurementNoise, Proposals, ProposeError, SimulationError,
    Task, check_request,
};
use ndarray::{Array1, Array2, Array3, ArrayView1, ArrayView2, Axis, Slice, concatenate};
use rand::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::latent_sampling::target_streams;
pub(crate) use exponent::next_exponent;
use population::{Densities, Population, log_prior};

/// Targets whose populations move together, and the designs that these have together where there is more than one: it bounds the memory.
const LARGEST_GROUP: usize = 64;
const GROUP_DESIGNS: usize = 1 << 20;

/// Designs that one thread simulates in one call, and answers whose likelihood it asks for.
const BLOCK: usize = 256;

/// How a population moves from the prior to a posterior.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TemperedSettings {
    /// Designs that move together, at least 16; more where more draws are asked for. Default: 2,048.
    pub particles: usize,
    /// The share of a population that a step towards the posterior leaves effective, between 0 and 1: the larger, the more
    /// and the smaller steps. Default: 0.5.
    pub effective_share: f64,
    /// The most moves of each design after a step; they end as soon as designs do not come farther from where they were.
    /// Default: 256.
    pub move_limit: usize,
}

impl Default for TemperedSettings {
    fn default() -> Self {
        Self { particles: 2048, effective_share: 0.5, move_limit: 256 }
    }
}

impl TemperedSettings {
    pub(crate) fn validate(&self) -> Result<(), InvalidArgument> {
        if !(16..=LARGEST_PAIRS).contains(&self.particles) {
            let expected = format!("16 to {LARGEST_PAIRS}");
            return Err(InvalidArgument::new("particles", expected, self.particles));
        }
        if !(self.effective_share > 0.0 && self.effective_share < 1.0) {
            let expected = "a number between 0 and 1";
            return Err(InvalidArgument::new("effective_share", expected, self.effective_share));
        }
        if self.move_limit == 0 {
            return Err(InvalidArgument::new("move_limit", "at least 1", 0));
        }
        Ok(())
    }
}

/// The posterior p(x | y) ∝ p(x) p(y | f(x)) of noisy measurements, where f can be evaluated hundreds of thousands of times.
///
/// A model that learns p(x | y) from pairs has to learn the noise, too, and needs many. Where the law of the noise is known, a
/// network has only to learn f, as the forward network of the paper's method does (section 3), and f can be learnt well from a
/// few hundred exact pairs. What this draws is then as good as that network, which held-out pairs measure; a network's error can
/// be [added to the noise](inverse_core::GaussianNoise::with_error). With a fast simulator in place of the network, it draws the
/// posterior itself, also where rejection (`inverse_metrics::ReferencePosterior`) would hardly ever succeed.
///
/// ```
/// use inverse_core::{
///     BoxPrior, Dataset, FitContext, FnSimulator, GaussianNoise, InverseModel, RandomStreams, SimulatedTask, Task,
/// };
/// use inverse_models::{ProxyRecipe, TemperedPosterior, TemperedSettings};
/// use ndarray::array;
///
/// // A slow simulator of which there are 200 exact pairs.
/// let square = FnSimulator::new(1, 1, |x, y| y[0] = x[0] * x[0])?;
/// let prior = BoxPrior::new(&[-1.0], &[1.0])?;
/// let mut recipe = ProxyRecipe { samples: 200, ..ProxyRecipe::default() };
/// recipe.members.truncate(1);
/// recipe.members[0].hidden = vec![32, 32];
/// recipe.members[0].training.batch_size = 16;
/// let network = recipe.fit(&square, &prior, None, &mut FitContext::new(1))?;
///
/// // y is known to 0.05, so x to 0.05 / |∂y/∂x| = 0.05, around +0.5 and −0.5.
/// let task = SimulatedTask::new("square", network, prior)?;
/// let noise = GaussianNoise::new(&[0.05])?;
/// let posterior = TemperedPosterior::new(task, noise, TemperedSettings::default())?;
/// let mut rng = RandomStreams::new(1).stream("draws", 0);
/// let draws = posterior.propose(array![[0.25]].view(), 1000, &mut rng)?;
/// let positive = draws.designs().iter().filter(|x| **x > 0.0).count();
/// assert!((400..600).contains(&positive));
/// let deviation = draws.designs().mapv(f64::abs).std(0.0);
/// assert!((deviation - 0.05).abs() < 0.01);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # The method
/// Sequential Monte Carlo (Del Moral, Doucet and Jasra 2006). Designs are drawn from the prior, and the likelihood is raised from
/// the exponent 0 to 1 in steps that leave a share of them effective. After each step designs are drawn again by their weights and then
/// move, by Metropolis steps along differences of two others (ter Braak 2006), the two of which are of the half that does not
/// move at that time. Moves need no derivative, and no more of the noise than its likelihood. The weights of several solutions
/// come from the prior and survive the steps; a solution so narrow that no design of the prior is near may be missed, as
/// by any sampler: more `particles` see more.
///
/// Every step moves all particles many times: a target costs hundreds of thousands of calls of the simulator, and more where the posterior
/// is thin. [`TemperedPosterior::draw`] counts them, and estimates the evidence.
#[derive(Clone)]
pub struct TemperedPosterior<T, N> {
    task: T,
    noise: N,
    settings: TemperedSettings,
}

impl<T: Task, N> fmt::Debug for TemperedPosterior<T, N> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = formatter.debug_struct("TemperedPosterior");
        text.field("task", &self.task.name()).field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Draws of posteriors, and what was learnt on the way.
#[derive(Debug, Clone, PartialEq)]
pub struct TemperedDraws {
    /// Draws, (targets, n, `dim_x`), in no order.
    pub proposals: Proposals,
    /// log p(x | y) of each draw, of the posterior that the task's simulator and the noise make, (targets, n), in nats per unit of
    /// volume of x: as good as the evidence, which is part of it.
    ///
    /// Where the simulator is a network, draws can be weighed by it: `inverse_metrics::ImportanceWeights::of_densities`.
    pub log_density: Array2<f64>,
    /// log p(y) = log ∫ p(x) p(y | f(x)) dx of each target, estimated, (targets), in nats per unit of volume of y.
    ///
    /// Where two tasks explain the same measurement, the difference says which does better.
    pub log_evidence: Array1<f64>,
    /// Designs that were simulated for each target, (targets).
    pub simulations: Array1<u64>,
}

impl<T: Task, N: MeasurementNoise> TemperedPosterior<T, N> {
    /// The posteriors of a task's measurements with noise.
    ///
    /// * `task`: simulator, and prior of continuous variables with a density
    /// * `noise`: p(y | f(x))
    ///
    /// # Errors
    /// [`ProposeError::InvalidArgument`] where a setting is out of range, `noise` is of another width than the task's
    /// measurements, or the prior has no density.
    pub fn new(task: T, noise: N, settings: TemperedSettings) -> Result<Self, ProposeError> {
        settings.validate()?;
        if noise.dim_y() != task.dim_y() {
            let expected = format!("one of {} measured variables, as the task's", task.dim_y());
            return Err(InvalidArgument::new("noise", expected, noise.dim_y()).into());
        }
        let none = Array2::zeros((0, task.dim_x()));
        if task.prior().log_density(none.view()).is_none() {
            return Err(InvalidArgument::new("task", "one whose prior has a density", task.name()).into());
        }
        Ok(Self::of_parts(task, noise, settings))
    }

    /// Unchecked: measurements are as wide as the noise's, and so may the simulator's answers be of another width.
    pub(crate) fn of_parts(task: T, noise: N, settings: TemperedSettings) -> Self {
        Self { task, noise, settings }
    }

    /// The task whose simulator is asked.
    pub fn task(&self) -> &T {
        &self.task
    }

    /// The noise of the measurements.
    pub fn noise(&self) -> &N {
        &self.noise
    }

    /// `n` draws of the posterior of each measurement, and its evidence.
    ///
    /// * `y`: measurements, (targets, `dim_y`), in the task's units
    ///
    /// A target's draws depend neither on targets that come after it nor on the number of threads, as long as the simulator's rows
    /// depend on no others. Designs are simulated in parallel, in blocks of a fixed size.
    ///
    /// # Errors
    /// [`ProposeError::InvalidArgument`] that names `y` where it has another width, is not finite or has no row, or hardly any design
    /// of the prior explains a measurement; `n` where it is 0 or there would be more than [`LARGEST_PAIRS`] draws; `task` or `noise` where
    /// it answers in another shape or with a density of NaN or infinity, or the prior has a discrete variable;
    /// [`ProposeError::Backend`] where the simulator fails.
    pub fn draw(
        &self,
        y: ArrayView2<'_, f64>,
        n: usize,
        rng: &mut dyn Rng,
    ) -> Result<TemperedDraws, ProposeError> {
        check_request(y, self.noise.dim_y(), n, LARGEST_PAIRS)?;
        let mut designs = Array3::zeros((y.nrows(), n, self.task.dim_x()));
        let mut log_density = Array2::zeros((y.nrows(), n));
        let (mut log_evidence, mut simulations) = (Vec::new(), Vec::new());
        let streams = target_streams(y.nrows(), rng);
        let group = (GROUP_DESIGNS / self.settings.particles.max(n)).clamp(1, LARGEST_GROUP);
        let groups = designs.axis_chunks_iter_mut(Axis(0), group).zip(y.axis_chunks_iter(Axis(0), group));
        for ((mut designs, y), streams) in groups.zip(streams.chunks(group)) {
            let rows = y.rows().into_iter().zip(streams);
            let mut populations: Vec<_> = rows
                .map(|(y, rng)| Population::new(y, self.task.dim_x(), n, &self.settings, rng.clone()))
                .collect();
            self.run(&mut populations)?;
            for (population, mut designs) in populations.iter_mut().zip(designs.outer_iter_mut()) {
                let draws = population.draws(n);
                designs.assign(&draws.x);
                let density = draws.log_joint() - population.log_evidence();
                log_density.row_mut(log_evidence.len()).assign(&density);
                log_evidence.push(population.log_evidence());
                simulations.push(population.simulations());
            }
        }
        let proposals = Proposals::new(designs)?;
        let (log_evidence, simulations) = (log_evidence.into(), simulations.into());
        Ok(TemperedDraws { proposals, log_density, log_evidence, simulations })
    }

    /// Moves populations until all are draws of their posteriors; those that are ask for nothing more.
    fn run(&self, populations: &mut [Population]) -> Result<(), ProposeError> {
        let densities = Densities { prior: self.task.prior(), noise: &self.noise };
        while populations.iter().any(|population| !population.is_done()) {
            let asked: Vec<Array2<f64>> = populations
                .par_iter_mut()
                .map(|population| population.ask(&densities))
                .collect::<Result<_, InvalidArgument>>()?;
            let views: Vec<_> = asked.iter().map(|x| x.view()).collect();
            let x = concatenate(Axis(0), &views)
                .map_err(|error| InvalidArgument::new("task", "a prior of designs of one width", error))?;
            let answers = self.simulate(x.view())?;
            let ends = asked.iter().scan(0, |end, asked| {
                *end += asked.nrows();
                Some(*end)
            });
            let told: Vec<_> = ends
                .zip(&asked)
                .map(|(end, asked)| answers.slice_axis(Axis(0), Slice::from(end - asked.nrows()..end)))
                .collect();
            populations
                .par_iter_mut()
                .zip(told)
                .try_for_each(|(population, answers)| population.tell(answers, &densities))?;
        }
        Ok(())
    }

    /// log p(x) + log p(y | f(x)) of designs, (n): −∞ where the prior gives none or there is no answer.
    ///
    /// * `x`: (n, `dim_x`); `answers`: what they measure, (n, `dim_y`); `y`: one measurement, (`dim_y`)
    pub(crate) fn log_joint(
        &self,
        x: &Array2<f64>,
        answers: ArrayView2<'_, f64>,
        y: ArrayView1<'_, f64>,
    ) -> Result<Array1<f64>, ProposeError> {
        let densities = Densities { prior: self.task.prior(), noise: &self.noise };
        Ok(log_prior(densities.prior, x)? + Array1::from(densities.log_likelihood(y, answers)?))
    }

    /// What designs measure, (n, `dim_y`).
    pub(crate) fn simulate(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>, ProposeError> {
        let mut y = Array2::zeros((x.nrows(), self.task.dim_y()));
        let blocks: Vec<_> =
            y.axis_chunks_iter_mut(Axis(0), BLOCK).zip(x.axis_chunks_iter(Axis(0), BLOCK)).collect();
        blocks.into_par_iter().try_for_each(|(mut y, x)| {
            let answers = self.task.simulate(x).map_err(|error| match error {
                SimulationError::InvalidArgument(error) => error.into(),
                error => ProposeError::Backend(Box::new(error)),
            })?;
            if answers.dim() != y.dim() {
                let expected = format!("answers of shape {:?}", y.dim());
                let found = format!("{:?}", answers.dim());
                return Err(ProposeError::from(InvalidArgument::new("task", expected, found)));
            }
            y.assign(&answers);
            Ok(())
        })?;
        Ok(y)
    }
}

impl<T: Task, N: MeasurementNoise> InverseModel for TemperedPosterior<T, N> {
    fn name(&self) -> &'static str {
        "tempered posterior"
    }

    fn dim_x(&self) -> usize {
        self.task.dim_x()
    }

    fn dim_y(&self) -> usize {
        self.noise.dim_y()
    }

    fn propose(
        &self,
        y: ArrayView2<'_, f64>,
        n: usize,
        rng: &mut dyn Rng,
    ) -> Result<Proposals, ProposeError> {
        Ok(self.draw(y, n, rng)?.proposals)
    }
}

#[cfg(test)]
#[path = "tempered_posterior_tests.rs"]
mod tests;
