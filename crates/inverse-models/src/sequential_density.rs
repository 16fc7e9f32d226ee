//! The posterior of one measurement in rounds: a model of p(x | y) says where to simulate, and learns from that.

use inverse_core::{
    DataError, Dataset, FitContext, FitError, InvalidArgument, InverseModel, LARGEST_PAIRS, MeasurementNoise,
    Method, Prior, Proposals, ProposeError, SimulationError, Simulator, check_matrix, check_request,
};
use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use rand::Rng;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::log_density::check_density;
use crate::member_contexts::MemberContexts;
use crate::posterior_draws::posterior_draws;
use crate::truncated_prior::{TruncatedPrior, check_left_out};

/// Pairs that a round has at least.
const LEAST_PAIRS: usize = 20;

/// How many times as many draws a model may make as were asked for and lie in the last round's region.
const PATIENCE: usize = 1000;

/// Why rounds came to no end.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SequentialError {
    /// A setting, the prior, the measurement or the simulator's answers cannot be used.
    #[error(transparent)]
    InvalidArgument(#[from] InvalidArgument),
    /// The simulator failed as a whole.
    #[error(transparent)]
    Simulation(#[from] SimulationError),
    /// The simulator's answers are no dataset.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A model could not be trained.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// A model's region could not be found.
    #[error(transparent)]
    Propose(#[from] ProposeError),
}

/// What measures designs, (n, `dim_x`): one measurement of each, (n, `dim_y`), noise included; a row of NaN where there is no answer.
/// Its noise is drawn from the second argument.
pub type NoisySimulator<'a> =
    dyn FnMut(ArrayView2<'_, f64>, &mut dyn Rng) -> Result<Array2<f64>, SimulationError> + 'a;

/// A simulator and its noise, as what [`SequentialDensity`] asks; designs without an exact answer have none with noise.
///
/// Its errors are the simulator's, and the noise's where that is of another width.
pub fn noisy_simulator<'a>(
    simulator: &'a dyn Simulator,
    noise: &'a dyn MeasurementNoise,
) -> impl FnMut(ArrayView2<'_, f64>, &mut dyn Rng) -> Result<Array2<f64>, SimulationError> + 'a {
    |x, rng| {
        let mut y = simulator.simulate(x)?;
        let rows = finite_rows(&y);
        let measured = noise.measure(y.select(Axis(0), &rows).view(), rng)?;
        if measured.dim() != (rows.len(), y.ncols()) {
            let expected = format!("measurements of shape {:?}", (rows.len(), y.ncols()));
            return Err(InvalidArgument::new("noise", expected, format!("{:?}", measured.dim())).into());
        }
        for (row, measured) in rows.into_iter().zip(measured.rows()) {
            y.row_mut(row).assign(&measured);
        }
        Ok(y)
    }
}

fn finite_rows(y: &Array2<f64>) -> Vec<usize> {
    (0..y.nrows()).filter(|row| y.row(*row).iter().all(|value| value.is_finite())).collect()
}

/// The posterior p(x | y) of one measurement, where nothing is known of its noise but draws.
///
/// The first round's designs are of the prior, and teach a model that serves any measurement. Each later round draws designs from
/// the prior inside that model's [region](TruncatedPrior) of highest density for one measurement, and trains a model anew on all
/// pairs inside (truncated sequential posterior estimation: Deistler, Goncalves and Macke 2022). Where the noise's law is known,
/// [`SequentialSurrogate`](crate::SequentialSurrogate) takes fewer simulations; where it is not, but simple, a
/// [`NeuralLikelihood`](crate::NeuralLikelihood) may need no rounds.
///
/// ```
/// use inverse_core::{BoxPrior, FitContext, RandomStreams};
/// use inverse_models::{MixtureDensityNetwork, SequentialDensity};
/// use ndarray::{Axis, array};
/// use rand::{Rng, RngExt};
///
/// // A product that a gauge shows to the next tenth, at random up or down.
/// let mut gauge = |x: ndarray::ArrayView2<'_, f64>, rng: &mut dyn Rng| {
///     let products = x.map_axis(Axis(1), |x| x.product());
///     Ok(products.mapv(|y| (10.0 * y + rng.random::<f64>()).floor() / 10.0).insert_axis(Axis(1)))
/// };
/// let prior = BoxPrior::new(&[0.0; 2], &[1.0; 2])?;
/// let method =
///     SequentialDensity { method: MixtureDensityNetwork::for_posteriors(), each: 400, rounds: 3, left_out: 1e-3 };
/// let mut context = FitContext::new(1);
/// let first = method.first_round(&prior, &mut gauge, &mut context)?;
/// let last = method.explain(&prior, &mut gauge, &first, array![0.7].view(), &mut context)?;
/// println!("the last round drew from {:.0} % of the prior", 100.0 * last.region.acceptance_rate());
/// assert!(last.region.acceptance_rate() < 0.5);
///
/// let draws = last.draw(200, &mut RandomStreams::new(1).stream("draws", 0))?;
/// let x = draws.designs().index_axis_move(Axis(0), 0);
/// let near = x.rows().into_iter().filter(|x| (x.product() - 0.7).abs() < 0.1).count();
/// assert!(near > 150);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SequentialDensity<M> {
    /// What each round's model is fitted by; it must have a density.
    pub method: M,
    /// Designs that each round simulates, the first one included; at least 20.
    pub each: usize,
    /// Rounds, the first one included; at least 2.
    pub rounds: usize,
    /// Share of a model's own draws that its region leaves out, 1e-4 to ½. What it leaves out, no later round sees.
    pub left_out: f64,
}

/// What all measurements share: pairs of the prior, and the model that they teach.
#[derive(Debug, Clone)]
pub struct FirstDensity<M> {
    /// Pairs of the prior.
    pub pairs: Dataset,
    /// The model of any measurement.
    pub model: M,
}

/// What the rounds of one measurement have come to.
#[derive(Debug)]
pub struct DensityRounds<'a, M> {
    /// The measurement, (1, `dim_y`).
    pub y: Array2<f64>,
    /// The last round's model: of this measurement, and no other.
    pub model: M,
    /// The prior that the last round drew from.
    pub region: TruncatedPrior<&'a dyn Prior, M>,
    /// Pairs that the model was trained on: those of all rounds that lie in that region.
    pub pairs: Dataset,
    /// Share of the prior that each round but the first drew from, in their order.
    pub shares: Vec<f64>,
}

impl<M: Method<Model: Clone>> SequentialDensity<M> {
    /// Simulates designs of the prior, and fits the first model: for any number of measurements.
    ///
    /// * `simulate`: measures designs, as [`NoisySimulator`]; asked once
    ///
    /// # Errors
    /// [`SequentialError::InvalidArgument`] where a setting is out of range, or `prior` or `simulate` answers in another shape, or to no
    /// design at all; [`SequentialError::Propose`] where the model has no density; otherwise those of the simulator and of [`Method::fit`].
    pub fn first_round(
        &self,
        prior: &dyn Prior,
        simulate: &mut NoisySimulator<'_>,
        context: &mut FitContext<'_>,
    ) -> Result<FirstDensity<M::Model>, SequentialError> {
        self.validate()?;
        let streams = context.streams();
        let x = prior.sample(self.each, &mut streams.stream("sequential designs", 0));
        check_matrix("prior", x.view(), prior.domain().dim())?;
        let (x, y) = answered(x, None, simulate, &mut streams.stream("sequential noise", 0))?;
        let pairs = Dataset::new(x, y)?.with_domain(prior.domain().clone())?;
        let model = self.method.fit(&pairs, context)?;
        check_density(&model)?;
        Ok(FirstDensity { pairs, model })
    }

    /// Explains one measurement.
    ///
    /// * `prior`, `simulate`: those of the first round; the simulator is asked once a round
    /// * `y`: the measurement, (`dim_y`), in units of y
    ///
    /// The result depends on the context's seed, and not on the number of threads. A folder of checkpoints is for one measurement alone.
    ///
    /// # Errors
    /// As [`SequentialDensity::first_round`], and [`SequentialError::Propose`] as [`TruncatedPrior::new`], among it where `y` is of another
    /// width or not finite.
    pub fn explain<'a>(
        &self,
        prior: &'a dyn Prior,
        simulate: &mut NoisySimulator<'_>,
        first: &FirstDensity<M::Model>,
        y: ArrayView1<'_, f64>,
        context: &mut FitContext<'_>,
    ) -> Result<DensityRounds<'a, M::Model>, SequentialError> {
        self.validate()?;
        let (own, streams) = (MemberContexts::of(context, "sequential round"), context.streams());
        let y = y.to_owned().insert_axis(Axis(0));
        let mut rng = streams.stream("sequential regions", 0);
        let mut region = TruncatedPrior::new(prior, first.model.clone(), y.view(), self.left_out, &mut rng)?;
        let (mut pairs, mut shares, mut round) = (first.pairs.clone(), vec![region.acceptance_rate()], 1);
        loop {
            let x = region.draw(self.each, &mut streams.stream("sequential designs", round))?;
            let mut noise = streams.stream("sequential noise", round);
            let (x, measured) = answered(x, Some(y.ncols()), simulate, &mut noise)?;
            let new = Dataset::new(x, measured)?;
            pairs = match inside(&region, &pairs)? {
                Some(kept) => kept.joined(&new)?,
                None => new,
            };
            let mut of_round = own.context(round as usize).with_observer(context.observer());
            let model = self.method.fit(&pairs, &mut of_round)?;
            round += 1;
            if round >= self.rounds as u64 {
                return Ok(DensityRounds { y, model, region, pairs, shares });
            }
            region = region.narrowed(model, self.left_out, &mut rng)?;
            shares.push(region.acceptance_rate());
        }
    }

    fn validate(&self) -> Result<(), InvalidArgument> {
        for (argument, value, least) in [("each", self.each, LEAST_PAIRS), ("rounds", self.rounds, 2)] {
            if !(least..=LARGEST_PAIRS).contains(&value) {
                return Err(InvalidArgument::new(argument, format!("{least} to {LARGEST_PAIRS}"), value));
            }
        }
        check_left_out(self.left_out)
    }
}

/// Designs that the simulator has answers to, and these.
///
/// * `dim_y`: the width of answers, where it is known
fn answered(
    x: Array2<f64>,
    dim_y: Option<usize>,
    simulate: &mut NoisySimulator<'_>,
    rng: &mut dyn Rng,
) -> Result<(Array2<f64>, Array2<f64>), SequentialError> {
    let y = simulate(x.view(), rng)?;
    let expected = (x.nrows(), dim_y.unwrap_or(y.ncols()));
    if y.dim() != expected {
        let found = format!("{:?}", y.dim());
        return Err(InvalidArgument::new("simulate", format!("answers of shape {expected:?}"), found).into());
    }
    let rows = finite_rows(&y);
    if rows.is_empty() {
        return Err(InvalidArgument::new("simulate", "an answer to any design", "none").into());
    }
    Ok((x.select(Axis(0), &rows), y.select(Axis(0), &rows)))
}

/// The pairs inside a region, if any.
fn inside<P: Prior, M: InverseModel>(
    region: &TruncatedPrior<P, M>,
    pairs: &Dataset,
) -> Result<Option<Dataset>, SequentialError> {
    let inside = region.contains(pairs.x())?;
    let kept: Vec<usize> = (0..inside.len()).filter(|row| inside[*row]).collect();
    Ok(if kept.is_empty() { None } else { Some(pairs.select(&kept)?) })
}

impl<M: InverseModel> DensityRounds<'_, M> {
    /// Draws of the model that lie in the last round's region, (1, `n`, `dim_x`): outside it the model has learnt nothing.
    ///
    /// # Errors
    /// As [`posterior_draws`]; also where fewer than one draw in a thousand lies in the region.
    pub fn draw(&self, n: usize, rng: &mut dyn Rng) -> Result<Proposals, ProposeError> {
        check_request(self.y.view(), self.model.dim_y(), n, LARGEST_PAIRS)?;
        let mut draws = Array2::zeros((n, self.model.dim_x()));
        let (mut kept, mut made) = (0, 0);
        while kept < n {
            if made > (kept + n) * PATIENCE {
                let found = format!("{kept} of {made}");
                return Err(InvalidArgument::new("model", "one that draws in its region", found).into());
            }
            let new = posterior_draws(&self.model, self.y.view(), n, rng)?;
            let new = new.designs().index_axis_move(Axis(0), 0);
            let inside = self.region.contains(new.view())?;
            for (row, _) in new.rows().into_iter().zip(inside).filter(|(_, inside)| *inside).take(n - kept) {
                draws.row_mut(kept).assign(&row);
                kept += 1;
            }
            made += n;
        }
        Ok(Proposals::new(draws.insert_axis(Axis(0)))?)
    }
}

#[cfg(test)]
#[path = "sequential_density_tests.rs"]
mod tests;
