//! The posterior of one measurement in rounds: a surrogate says where to simulate, and simulations make it better there.

mod flattened_noise;
mod round_mixture;

use inverse_core::{
    Dataset, FitContext, InvalidArgument, LARGEST_PAIRS, MeasurementNoise, Proposals, SimulatedTask,
    Simulator, Task, check_matrix,
};
use ndarray::{Array2, ArrayView1, Axis};
use serde::{Deserialize, Serialize};

use crate::member_contexts::MemberContexts;
use crate::proxy::{MeasuredProxy, ProxyError, ProxyRecipe, SimulatedDesigns, root_mean_squares};
use crate::proxy_simulator::ProxySimulator;
use crate::tempered_posterior::{TemperedPosterior, TemperedSettings, next_exponent};
use flattened_noise::FlattenedNoise;
use round_mixture::{RoundMixture, RoundPosterior};

/// The share of unseen pairs that a surrogate's errors in the likelihood leave effective.
const RELIABLE_SHARE: f64 = 0.2;

/// Fewer unseen pairs say nothing of a surrogate: draws are then of the prior.
const LEAST_UNSEEN: usize = 16;

/// The posterior p(x | y) ∝ p(x) p(y | f(x)) of one measurement, where the law of the noise is known and f is dear.
///
/// A surrogate learns f from designs of the prior. Draws of the posterior that it and the noise make are simulated, and teach the next
/// surrogate, and so on: sequential neural likelihood (Papamakarios, Sterratt and Murray 2019), where only f has to be learnt. As the
/// posterior fills a tiny part of the prior, a network that saw a thousand designs there knows f as none can that was trained for all
/// measurements.
///
/// A surrogate that errs more at one solution than at another would lose one of them. So the likelihood is raised to a power, at most 1, before
/// a round draws: as far as pairs that the surrogate had not seen, which are those of the round before, show it to be reliable. First
/// rounds are nearly as wide as the prior; where the power comes to 1, draws are of the posterior.
///
/// Every draw is simulated, so that draws of all rounds are weighed by the posterior itself: what a network gets wrong makes them
/// worth less, and not wrong. [`SequentialRound::effective_sample_size`] says what they are worth; as with any weights, it cannot see
/// a solution that no round drew.
///
/// ```
/// use inverse_core::{BoxPrior, FitContext, FnSimulator, GaussianNoise, RandomStreams, SimulatedTask};
/// use inverse_metrics::ImportanceWeights;
/// use inverse_models::{ProxyRecipe, SequentialSurrogate};
/// use ndarray::{Axis, array};
///
/// let product = FnSimulator::new(2, 1, |x, y| y[0] = x[0] * x[1])?;
/// let task = SimulatedTask::new("product", product, BoxPrior::new(&[0.0; 2], &[1.0; 2])?)?;
/// let noise = GaussianNoise::new(&[0.01])?;
/// let method = SequentialSurrogate {
///     recipe: ProxyRecipe::for_posteriors(60),
///     each: 60,
///     enough: 100.0,
///     ..SequentialSurrogate::default()
/// };
/// let mut context = FitContext::new(1);
/// let first = method.first_round(&task, &mut context)?;
/// let drawn = method.explain(&task, &noise, &first, array![0.3].view(), &mut context)?;
/// let last = drawn.rounds.last().ok_or("no round")?;
/// println!("{} simulations, worth {:.0} draws", last.simulations, last.effective_sample_size);
/// assert!(last.effective_sample_size >= 100.0 && last.simulations < 1000);
///
/// // Draws of the posterior itself, by their weights.
/// let weights = ImportanceWeights::of_logarithms(drawn.log_joint.view(), drawn.log_density.view())?;
/// let mut rng = RandomStreams::new(1).stream("resample", 0);
/// let posterior = weights.resample(&drawn.proposals, 50, &mut rng)?;
/// let x = posterior.designs().index_axis_move(Axis(0), 0);
/// assert!(x.rows().into_iter().all(|x| (x.product() - 0.3).abs() < 0.06));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SequentialSurrogate {
    /// The surrogate, and how many designs of the prior the first round simulates (`samples`). Later trainings, of more
    /// pairs, take as many batches. Where it holds out fewer than 16 of them, the first draws are of the prior, too. Default:
    /// [`ProxyRecipe::for_posteriors`] of 1,000.
    pub recipe: ProxyRecipe,
    /// Draws that each later round simulates, at least 16. Default: 250.
    pub each: usize,
    /// Later rounds, at most; at least 1. Default: 20.
    pub rounds: usize,
    /// The effective sample size with which they end, above 0; infinity where all rounds shall take place. Default: 200.
    pub enough: f64,
    /// How draws are made.
    pub tempered: TemperedSettings,
}

impl Default for SequentialSurrogate {
    fn default() -> Self {
        Self {
            recipe: ProxyRecipe::for_posteriors(1000),
            each: 250,
            rounds: 20,
            enough: 200.0,
            tempered: TemperedSettings::default(),
        }
    }
}

/// What all measurements of a task share: designs of the prior, and the surrogate that they teach.
#[derive(Debug, Clone)]
pub struct FirstRound {
    simulations: usize,
    learnt: Learnt,
}

/// What rounds have learnt of f.
#[derive(Debug, Clone)]
struct Learnt {
    pairs: Dataset,
    network: ProxySimulator,
    /// Pairs that it, or the network before it, had not learnt: held-out ones of the prior, or a round's draws, (n, `dim_x`), what
    /// they measure, and what that network said, (n, `dim_y`).
    unseen: Unseen,
}

#[derive(Debug, Clone)]
struct Unseen {
    x: Array2<f64>,
    answers: Array2<f64>,
    predictions: Array2<f64>,
}

impl FirstRound {
    /// Designs of the prior that were simulated, with what they measure.
    pub fn pairs(&self) -> &Dataset {
        &self.learnt.pairs
    }

    /// The surrogate.
    pub fn network(&self) -> &ProxySimulator {
        &self.learnt.network
    }
}

/// Draws of all rounds but the first, every one of which was simulated.
#[derive(Debug, Clone)]
pub struct SequentialDraws {
    /// Draws, (1, n, `dim_x`), in the order of the rounds: not yet of the posterior, but by their weights.
    pub proposals: Proposals,
    /// log p(x) + log p(y | f(x)) of each, (1, n), in nats per unit of volume of x and y; −∞ where the simulator has no answer.
    pub log_joint: Array2<f64>,
    /// The logarithm of the density that draws of all rounds come from, (1, n), in nats per unit of volume of x.
    ///
    /// Both are what `inverse_metrics::ImportanceWeights::of_logarithms` takes.
    pub log_density: Array2<f64>,
    /// How each round went.
    pub rounds: Vec<SequentialRound>,
    /// The last round's surrogate. It has not seen that round's draws.
    pub network: ProxySimulator,
    /// Every pair that was simulated and has an answer, those of the first round first.
    pub pairs: Dataset,
}

/// What a round has come to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SequentialRound {
    /// Simulations so far, the first round's included.
    pub simulations: usize,
    /// The power of the likelihood that this round's draws were made with: 1 where the surrogate can be relied on as far as the
    /// posterior itself.
    pub power: f64,
    /// Calls of the surrogate in this round.
    pub network_calls: u64,
    /// How many draws of the posterior the draws of all rounds so far are worth: (Σ w)² / Σ w².
    pub effective_sample_size: f64,
    /// log p(y) as these draws have it, in nats per unit of volume of y; −∞ where none counts.
    pub log_evidence: f64,
    /// The root mean square, over this round's draws, of the surrogate's error in each measured variable, (`dim_y`), in units of y; of the
    /// round before where no draw has an answer.
    pub errors: Vec<f64>,
}

impl SequentialSurrogate {
    /// Simulates designs of the prior, and trains the first surrogate: for any number of measurements.
    ///
    /// # Errors
    /// [`ProxyError`] where a setting is out of range, or as [`ProxyRecipe::fit`].
    pub fn first_round(
        &self,
        task: &dyn Task,
        context: &mut FitContext<'_>,
    ) -> Result<FirstRound, ProxyError> {
        self.validate()?;
        self.recipe.validate(task.dim_x(), task.dim_y())?;
        let simulated = self.recipe.simulate(&task, task.prior(), context.streams())?;
        let measured = self.recipe.fit_repeated(&simulated, None, None, context)?;
        let MeasuredProxy { proxy: network, test_x: x, test_y: answers } = measured;
        let predictions = network.simulate(x.view())?;
        let learnt = Learnt { pairs: simulated.data, network, unseen: Unseen { x, answers, predictions } };
        Ok(FirstRound { simulations: self.recipe.samples, learnt })
    }

    /// Draws the posterior of one measurement, in rounds.
    ///
    /// * `task`: that of the first round: simulator, and prior of continuous variables with a density
    /// * `noise`: p(y | f(x)), whatever its law
    /// * `y`: the measurement, (`dim_y`), in units of y
    ///
    /// Draws depend on the context's seed, and not on the number of threads. Designs are simulated in parallel, in blocks of a fixed size.
    /// A folder of checkpoints is for one measurement alone.
    ///
    /// # Errors
    /// [`ProxyError::InvalidArgument`] where a setting is out of range, or `first` is of another shape than `task`;
    /// [`ProxyError::Propose`] as [`TemperedPosterior::new`] and [`TemperedPosterior::draw`], among it where `y` cannot be explained, or the
    /// simulator fails; otherwise as [`ProxyRecipe::fit_data`].
    pub fn explain(
        &self,
        task: &dyn Task,
        noise: &dyn MeasurementNoise,
        first: &FirstRound,
        y: ArrayView1<'_, f64>,
        context: &mut FitContext<'_>,
    ) -> Result<SequentialDraws, ProxyError> {
        self.validate()?;
        check_matrix("first", first.pairs().x(), task.dim_x())?;
        check_matrix("first", first.pairs().y(), task.dim_y())?;
        let exact = TemperedPosterior::new(task, noise, self.tempered.clone())?;
        let (own, streams) = (MemberContexts::of(context, "surrogate round"), context.streams());
        let mut mixture = RoundMixture::new(y, task.dim_x());
        let mut learnt = first.learnt.clone();
        let mut rounds: Vec<SequentialRound> = Vec::new();
        for index in 0..self.rounds {
            if index > 0 {
                let mut context = own.context(index).with_observer(context.observer());
                learnt.network = self.retrain(&learnt.pairs, first.pairs().len(), &mut context)?;
            }
            let power = learnt.power(&exact, y)?;
            let posterior = self.posterior(task, noise, power, &learnt)?;
            let mut rng = streams.stream("sequential draws", index as u64);
            let drawn = posterior.draw(y.insert_axis(Axis(0)), self.each, &mut rng)?;
            let x = drawn.proposals.designs().index_axis(Axis(0), 0).to_owned();
            let answers = exact.simulate(x.view())?;
            let log_joint = exact.log_joint(&x, answers.view(), y)?;
            mixture.push(posterior, drawn.log_evidence[0], &x, &log_joint)?;
            learnt.learn(&x, &answers)?;
            let (effective_sample_size, log_evidence) = mixture.effective_count_and_log_evidence();
            rounds.push(SequentialRound {
                simulations: first.simulations + (index + 1) * self.each,
                network_calls: drawn.simulations[0],
                power,
                effective_sample_size,
                log_evidence,
                errors: root_mean_squares(&learnt.unseen.predictions - &learnt.unseen.answers),
            });
            if effective_sample_size >= self.enough {
                break;
            }
        }
        drawn_of(&mixture, rounds, learnt)
    }

    /// What a round draws from: the posterior that the surrogate makes, flattened.
    fn posterior<'a>(
        &self,
        task: &'a dyn Task,
        noise: &'a dyn MeasurementNoise,
        power: f64,
        learnt: &Learnt,
    ) -> Result<RoundPosterior<'a>, ProxyError> {
        let learnt = SimulatedTask::new(task.name(), learnt.network.clone(), task.prior())?;
        Ok(TemperedPosterior::new(learnt, FlattenedNoise { noise, power }, self.tempered.clone())?)
    }

    /// A surrogate that knows the draws, too: a round's count as much as all designs of the prior together.
    ///
    /// * `pairs`: those of the first round, (`first`), and behind them draws
    fn retrain(
        &self,
        pairs: &Dataset,
        first: usize,
        context: &mut FitContext<'_>,
    ) -> Result<ProxySimulator, ProxyError> {
        let often = first.div_ceil(self.each);
        let repeats: Vec<usize> = (0..pairs.len()).map(|row| if row < first { 1 } else { often }).collect();
        let share = first as f64 / repeats.iter().sum::<usize>() as f64;
        let mut recipe = self.recipe.clone();
        for member in &mut recipe.members {
            member.training.epochs = (member.training.epochs as f64 * share).ceil() as usize;
        }
        let simulated = SimulatedDesigns { data: pairs.clone(), dropped: 0 };
        Ok(recipe.fit_repeated(&simulated, Some(&repeats), None, context)?.proxy)
    }

    fn validate(&self) -> Result<(), InvalidArgument> {
        for (argument, value, least) in [("each", self.each, LEAST_UNSEEN), ("rounds", self.rounds, 1)] {
            if !(least..=LARGEST_PAIRS).contains(&value) {
                return Err(InvalidArgument::new(argument, format!("{least} to {LARGEST_PAIRS}"), value));
            }
        }
        if self.enough.is_nan() || self.enough <= 0.0 {
            return Err(InvalidArgument::new("enough", "a positive number", self.enough));
        }
        Ok(())
    }
}

fn drawn_of(
    mixture: &RoundMixture<'_>,
    rounds: Vec<SequentialRound>,
    learnt: Learnt,
) -> Result<SequentialDraws, ProxyError> {
    let row = |values: &[f64]| Array2::from_shape_fn((1, values.len()), |(_, draw)| values[draw]);
    Ok(SequentialDraws {
        proposals: Proposals::new(mixture.x().clone().insert_axis(Axis(0)))?,
        log_joint: row(mixture.log_joint()),
        log_density: row(&mixture.log_density()),
        rounds,
        network: learnt.network,
        pairs: learnt.pairs,
    })
}

impl Learnt {
    /// The power of the likelihood up to which unseen pairs show that the surrogate can be relied on: weights of p(y | f(x)) to it,
    /// relative to the surrogate's, leave a share of the pairs effective.
    fn power<T: Task, N: MeasurementNoise>(
        &self,
        exact: &TemperedPosterior<T, N>,
        y: ArrayView1<'_, f64>,
    ) -> Result<f64, ProxyError> {
        let Unseen { x, answers, predictions } = &self.unseen;
        let excess = exact.log_joint(x, answers.view(), y)? - exact.log_joint(x, predictions.view(), y)?;
        let excess: Vec<f64> = excess.into_iter().filter(|excess| excess.is_finite()).collect();
        if excess.len() < LEAST_UNSEEN {
            return Ok(f64::MIN_POSITIVE);
        }
        Ok(next_exponent(&excess, 0.0, RELIABLE_SHARE))
    }

    /// Adds draws, and takes the surrogate's errors there for those of the next one; draws without an answer teach nothing.
    ///
    /// * `x`: (n, `dim_x`); `answers`: (n, `dim_y`)
    fn learn(&mut self, x: &Array2<f64>, answers: &Array2<f64>) -> Result<(), ProxyError> {
        let answered = |row: &usize| answers.row(*row).iter().all(|value| value.is_finite());
        let rows: Vec<usize> = (0..x.nrows()).filter(answered).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let (x, answers) = (x.select(Axis(0), &rows), answers.select(Axis(0), &rows));
        self.pairs = self.pairs.joined(&Dataset::new(x.clone(), answers.clone())?)?;
        self.unseen = Unseen { predictions: self.network.simulate(x.view())?, x, answers };
        Ok(())
    }
}

#[cfg(test)]
#[path = "sequential_surrogate_tests.rs"]
mod tests;
