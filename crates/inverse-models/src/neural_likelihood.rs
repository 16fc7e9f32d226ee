//! Posteriors by a learnt likelihood: a density model of measurements, given designs.

use std::fmt;

use inverse_core::{
    Dataset, FitContext, FitError, InvalidArgument, InverseModel, MeasurementNoise, Method, Prior, Proposals,
    ProposeError, SimulationError, Simulator, Task,
};
use ndarray::{Array1, Array2, ArrayView2, Axis};
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::log_density::{check_density, no_density};
use crate::mdn::MixtureDensityNetwork;
use crate::nn::TrainingSettings;
use crate::presets::cosine_training;
use crate::tempered_posterior::{TemperedDraws, TemperedPosterior, TemperedSettings};

/// The posterior p(x | y) ∝ p(x) p̂(y | x), where nothing is known of the noise but draws: p̂ is a density model that takes designs for
/// targets, and measurements for designs (neural likelihood estimation: Papamakarios, Sterratt and Murray 2019).
///
/// A model of p(x | y) has to learn every solution of every measurement. How a measurement varies around what its design gives is often
/// simpler, and then few pairs teach it. Draws are dear in turn, as any [`TemperedPosterior`]'s: each measurement
/// asks the model for the density of hundreds of thousands of pairs. Where the law of the noise is known, a network that learns f alone
/// is better still ([`ProxyRecipe`](crate::ProxyRecipe)).
///
/// ```
/// use inverse_core::{BoxPrior, Dataset, FitContext, FnSimulator, GaussianNoise, InverseModel, RandomStreams, SimulatedTask, Task};
/// use inverse_models::NeuralLikelihood;
/// use ndarray::array;
///
/// let square = FnSimulator::new(1, 1, |x, y| y[0] = x[0] * x[0])?;
/// let task = SimulatedTask::new("square", square, BoxPrior::new(&[-1.0], &[1.0])?)?;
/// let streams = RandomStreams::new(1);
/// let exact = Dataset::from_task(&task, 500, &mut streams.stream("data", 0))?;
/// let pairs = exact.measured(&GaussianNoise::new(&[0.05])?, &mut streams.stream("noise", 0))?;
///
/// let method = NeuralLikelihood::for_posteriors(500);
/// let posterior = method.fit(&pairs, task.prior(), &mut FitContext::new(1))?;
/// // y is known to 0.05, so x to 0.05 / |∂y/∂x| = 0.05, around +0.5 and −0.5.
/// let draws = posterior.propose(array![[0.25]].view(), 1000, &mut streams.stream("draws", 0))?;
/// let positive = draws.designs().iter().filter(|x| **x > 0.0).count();
/// assert!((350..650).contains(&positive));
/// let deviation = draws.designs().mapv(f64::abs).std(0.0);
/// assert!((deviation - 0.05).abs() < 0.02);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NeuralLikelihood<M> {
    /// What p̂(y | x) is fitted by; its models must have a density.
    pub method: M,
    /// How draws are made.
    #[serde(default)]
    pub tempered: TemperedSettings,
}

impl NeuralLikelihood<MixtureDensityNetwork> {
    /// A mixture of six Gaussians for measurements with noise, whatever the number of pairs.
    ///
    /// * `pairs`: how many there will be. A training takes some 12,000 batches of 32 whatever their number, but 50 epochs at least, and
    ///   keeps the epoch that explains held-out pairs best.
    pub fn for_posteriors(pairs: usize) -> Self {
        let batches = pairs.div_ceil(POSTERIOR_BATCH).max(1);
        let epochs = POSTERIOR_STEPS.div_ceil(batches).max(LEAST_EPOCHS);
        let mut method = MixtureDensityNetwork::for_posteriors();
        method.components = POSTERIOR_COMPONENTS;
        method.training =
            TrainingSettings { validation_share: 0.1, ..cosine_training(epochs, POSTERIOR_BATCH, 2e-3) };
        Self { method, tempered: TemperedSettings::default() }
    }
}

/// Of [`NeuralLikelihood::for_posteriors`].
const POSTERIOR_COMPONENTS: usize = 6;
const POSTERIOR_BATCH: usize = 32;
const POSTERIOR_STEPS: usize = 12_000;
const LEAST_EPOCHS: usize = 50;

impl<M: Method> NeuralLikelihood<M> {
    /// Learns p̂(y | x) from pairs; their designs may come from anywhere that covers the prior.
    ///
    /// * `data`: designs, and measurements with noise
    /// * `prior`: p(x), of continuous variables with a density
    ///
    /// # Errors
    /// [`FitError::InvalidArgument`] where a setting is out of range, `prior` is of another width than the designs or has no density, or
    /// the method's model has none; otherwise as [`Method::fit`], whose errors call measurements designs, and designs measurements.
    pub fn fit<P: Prior>(
        &self,
        data: &Dataset,
        prior: P,
        context: &mut FitContext<'_>,
    ) -> Result<NeuralLikelihoodModel<P, M::Model>, FitError> {
        check_prior(&prior, data.x().ncols())?;
        self.tempered.validate()?;
        let swapped = Dataset::new(data.y().to_owned(), data.x().to_owned())
            .map_err(|error| InvalidArgument::new("data", "pairs of finite numbers", error))?;
        let model = self.method.fit(&swapped, context)?;
        Ok(NeuralLikelihoodModel::new(prior, model, self.tempered.clone())?)
    }
}

/// Whether designs of that many variables can be drawn from a posterior with this prior.
fn check_prior(prior: &dyn Prior, dim_x: usize) -> Result<(), InvalidArgument> {
    let found = prior.domain().dim();
    if found != dim_x {
        return Err(InvalidArgument::new("prior", format!("{dim_x} variables, as the designs"), found));
    }
    match prior.log_density(Array2::zeros((0, dim_x)).view()) {
        Some(_) => Ok(()),
        None => Err(InvalidArgument::new("prior", "one with a density", "none")),
    }
}

/// A fitted [`NeuralLikelihood`].
pub struct NeuralLikelihoodModel<P, M> {
    posterior: TemperedPosterior<DesignsThemselves<P>, LearntLikelihood<M>>,
}

impl<P: Prior, M: InverseModel> NeuralLikelihoodModel<P, M> {
    /// The posterior by a likelihood that is there already: one that was loaded, or taken from a fit with another prior.
    ///
    /// * `prior`: p(x), of continuous variables with a density
    /// * `model`: p̂(y | x), whose designs are measurements, and whose targets are designs
    ///
    /// # Errors
    /// [`InvalidArgument`] where a setting is out of range, `prior` is of another width than the model's targets or has no density, or `model`
    /// has none.
    pub fn new(prior: P, model: M, tempered: TemperedSettings) -> Result<Self, InvalidArgument> {
        check_prior(&prior, model.dim_y())?;
        tempered.validate()?;
        check_density(&model).map_err(argument)?;
        let (designs, likelihood) = (DesignsThemselves { prior }, LearntLikelihood { model });
        Ok(Self { posterior: TemperedPosterior::of_parts(designs, likelihood, tempered) })
    }

    /// `n` draws of the posterior of each measurement, and its evidence, as far as the likelihood was learnt: as
    /// [`TemperedPosterior::draw`]; `simulations` are evaluations of the likelihood here.
    ///
    /// # Errors
    /// As there, where `task` is the prior, and `noise` the likelihood.
    pub fn draw(
        &self,
        y: ArrayView2<'_, f64>,
        n: usize,
        rng: &mut dyn Rng,
    ) -> Result<TemperedDraws, ProposeError> {
        self.posterior.draw(y, n, rng)
    }

    /// The model of p̂(y | x): its designs are measurements, and its targets designs.
    pub fn likelihood(&self) -> &M {
        &self.posterior.noise().model
    }
}

impl<P: Prior, M: InverseModel> fmt::Debug for NeuralLikelihoodModel<P, M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let model = self.likelihood().name();
        formatter.debug_struct("NeuralLikelihoodModel").field("likelihood", &model).finish_non_exhaustive()
    }
}

impl<P: Prior, M: InverseModel> InverseModel for NeuralLikelihoodModel<P, M> {
    fn name(&self) -> &'static str {
        "neural likelihood"
    }

    fn dim_x(&self) -> usize {
        self.posterior.dim_x()
    }

    fn dim_y(&self) -> usize {
        self.posterior.dim_y()
    }

    fn parameter_count(&self) -> usize {
        self.likelihood().parameter_count()
    }

    fn propose(
        &self,
        y: ArrayView2<'_, f64>,
        n: usize,
        rng: &mut dyn Rng,
    ) -> Result<Proposals, ProposeError> {
        self.posterior.propose(y, n, rng)
    }
}

/// y = x: the likelihood depends on the design itself.
struct DesignsThemselves<P> {
    prior: P,
}

impl<P: Prior> Simulator for DesignsThemselves<P> {
    fn dim_x(&self) -> usize {
        self.prior.domain().dim()
    }

    fn dim_y(&self) -> usize {
        self.prior.domain().dim()
    }

    fn simulate(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>, SimulationError> {
        Ok(x.to_owned())
    }
}

impl<P: Prior> Task for DesignsThemselves<P> {
    fn name(&self) -> &'static str {
        "designs"
    }

    fn prior(&self) -> &dyn Prior {
        &self.prior
    }
}

/// p̂(y | x) by a model whose designs are measurements.
struct LearntLikelihood<M> {
    model: M,
}

impl<M: InverseModel> MeasurementNoise for LearntLikelihood<M> {
    fn dim_y(&self) -> usize {
        self.model.dim_x()
    }

    fn measure(&self, exact: ArrayView2<'_, f64>, rng: &mut dyn Rng) -> Result<Array2<f64>, InvalidArgument> {
        let drawn = self.model.propose(exact, 1, rng).map_err(argument)?;
        Ok(drawn.designs().index_axis_move(Axis(1), 0).to_owned())
    }

    fn log_likelihood(
        &self,
        exact: ArrayView2<'_, f64>,
        y: ArrayView2<'_, f64>,
    ) -> Result<Array1<f64>, InvalidArgument> {
        let logs = self.model.log_density(y, exact).map_err(argument)?;
        let logs = logs.ok_or_else(|| no_density(&self.model))?;
        // So far from the data that numbers overflow, nothing explains the measurement.
        Ok(logs.mapv(|log| if log.is_nan() { f64::NEG_INFINITY } else { log }))
    }
}

fn argument(error: ProposeError) -> InvalidArgument {
    match error {
        ProposeError::InvalidArgument(error) => error,
        error => InvalidArgument::new("likelihood", "one that can be evaluated", error),
    }
}

#[cfg(test)]
#[path = "neural_likelihood_tests.rs"]
mod tests;
