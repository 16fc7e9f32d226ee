//! Ensembles of models that have a density: their mixture.

mod files;

use inverse_core::{
    Dataset, Device, FitContext, FitError, InvalidArgument, InverseModel, LARGEST_PAIRS, Method, Proposals,
    ProposeError, RandomStreams, check_request,
};
use ndarray::{Array1, Array2, Array3, ArrayView2, s};
use rand::Rng;
use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::ensemble::LARGEST_MEMBER_COUNT;
use crate::fitted::check_count;
use crate::latent_sampling::target_streams;
use crate::log_density::{check_density, check_shape, no_density};
use crate::member_contexts::MemberContexts;

pub(crate) use files::{forget, load};

/// An ensemble of models that have a density: their mixture is a model that has one, too.
///
/// Trained on few pairs, each network is wrong in its own way, and too sure of it. The mixture of several,
/// p̂(x | y) = mean_m p̂_m(x | y), is broader where they disagree: less often too narrow (Hermans et al. 2022), and its mean
/// log-density is never below the members' own mean. Each member has first weights, batches and held-out pairs of its own:
/// what one holds out trains others.
///
/// ```
/// use inverse_core::{
///     BoxPrior, Dataset, FitContext, FnSimulator, GaussianNoise, InverseModel, Method, RandomStreams, SimulatedTask,
/// };
/// use inverse_models::{DensityEnsemble, MixtureDensityNetwork, presets::{PresetMethod, Source}};
///
/// let product = FnSimulator::new(2, 1, |x, y| y[0] = x[0] * x[1])?;
/// let task = SimulatedTask::new("product", product, BoxPrior::new(&[0.0; 2], &[1.0; 2])?)?;
/// let streams = RandomStreams::new(1);
/// let data = Dataset::from_task(&task, 500, &mut streams.stream("data", 0))?;
/// let data = data.measured(&GaussianNoise::new(&[0.05])?, &mut streams.stream("noise", 0))?;
///
/// let method = MixtureDensityNetwork::preset("product", Source::Quick)?;
/// let model = DensityEnsemble { method, members: 3 }.fit(&data, &mut FitContext::new(1))?;
/// let draws = model.propose(ndarray::array![[0.5]].view(), 10, &mut streams.stream("propose", 0))?;
/// assert_eq!((model.members().len(), draws.count()), (3, 10));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DensityEnsemble<M> {
    /// What each member is fitted by; its models must have a density.
    pub method: M,
    /// Number of members, 1 to 64; five are usual.
    pub members: usize,
}

impl<M: Method + Sync> Method for DensityEnsemble<M> {
    type Model = DensityEnsembleModel<M::Model>;

    /// Fits the members, each with streams and checkpoints of its own: all at once, or one after the other where an observer
    /// watches or a GPU trains. The model is the same.
    fn fit(&self, data: &Dataset, context: &mut FitContext<'_>) -> Result<Self::Model, FitError> {
        check_count("members", self.members, LARGEST_MEMBER_COUNT)?;
        let members = 0..self.members;
        let own = MemberContexts::of(context, "density member");
        // A GPU's libraries are held by one handle.
        let in_turn = context.is_observed() || own.device != Device::Cpu;
        let members: Result<Vec<M::Model>, FitError> = if in_turn {
            let fits = members.map(|index| {
                self.method.fit(data, &mut own.context(index).with_observer(context.observer()))
            });
            fits.collect()
        } else {
            let fits = members.into_par_iter().map(|index| self.method.fit(data, &mut own.context(index)));
            // Of several errors the first member's, whichever came first.
            fits.collect::<Vec<_>>().into_iter().collect()
        };
        DensityEnsembleModel::new(members?).map_err(|error| match error {
            ProposeError::InvalidArgument(error) => error.into(),
            error => FitError::Backend(Box::new(error)),
        })
    }
}

/// A mixture of models that have a density, each as likely: what [`DensityEnsemble`] fits.
///
/// Any models of the same widths can be members, of different methods as boxes. As many draws come from each member, but for
/// the rest of a division, in an order of chance. Members that draw again what lies outside the range of the training designs do
/// so by themselves: where the share that they lose differs between members, draws follow the mixture of what is left of
/// each, and [`log_density`](InverseModel::log_density) is the mixture of the whole.
#[derive(Debug, Clone)]
pub struct DensityEnsembleModel<M> {
    members: Vec<M>,
    name: String,
}

impl<M: InverseModel> DensityEnsembleModel<M> {
    /// The mixture of these models.
    ///
    /// # Errors
    /// [`ProposeError::InvalidArgument`] that names `members` where there is none, more than 64 or one of other widths than
    /// the first, `model` where one has no density; a member's own error where its density of no pairs fails.
    pub fn new(members: Vec<M>) -> Result<Self, ProposeError> {
        check_count("members", members.len(), LARGEST_MEMBER_COUNT)?;
        let widths = |model: &M| (model.dim_x(), model.dim_y());
        let first = widths(&members[0]);
        for model in &members {
            if widths(model) != first {
                let expected = format!("models of {first:?} variables, x and y, as the first");
                return Err(InvalidArgument::new("members", expected, format!("{:?}", widths(model))).into());
            }
            check_density(model)?;
        }
        let mut names: Vec<&str> = members.iter().map(InverseModel::name).collect();
        names.dedup();
        let name = format!("ensemble of {} {}", members.len(), names.join(", "));
        Ok(Self { members, name })
    }

    /// The models.
    pub fn members(&self) -> &[M] {
        &self.members
    }
}

impl<M: InverseModel> InverseModel for DensityEnsembleModel<M> {
    fn name(&self) -> &str {
        &self.name
    }

    fn dim_x(&self) -> usize {
        self.members[0].dim_x()
    }

    fn dim_y(&self) -> usize {
        self.members[0].dim_y()
    }

    fn parameter_count(&self) -> usize {
        self.members.iter().map(InverseModel::parameter_count).fold(0, usize::saturating_add)
    }

    fn propose(
        &self,
        y: ArrayView2<'_, f64>,
        n: usize,
        rng: &mut dyn Rng,
    ) -> Result<Proposals, ProposeError> {
        check_request(y, self.dim_y(), n, LARGEST_PAIRS)?;
        let each = n.div_ceil(self.members.len());
        // All targets' streams come after those of the members, so that no target changes the draws of one before it.
        let seeds: Vec<u64> = self.members.iter().map(|_| rng.next_u64()).collect();
        let draws = self.members.iter().zip(seeds).map(|(member, seed)| {
            let draws = member.propose(y, each, &mut RandomStreams::new(seed).stream("member", 0))?;
            check_shape("members", &draws, (y.nrows(), each, self.dim_x()))?;
            Ok(draws)
        });
        let draws = draws.collect::<Result<Vec<_>, ProposeError>>()?;
        mixed(&draws, n, rng)
    }

    fn log_density(
        &self,
        x: ArrayView2<'_, f64>,
        y: ArrayView2<'_, f64>,
    ) -> Result<Option<Array1<f64>>, ProposeError> {
        let logs = self.members.iter().map(|member| {
            let log = member.log_density(x, y)?.ok_or_else(|| no_density(member))?;
            if log.len() == x.nrows() {
                return Ok(log);
            }
            let expected = format!("log-densities of {} pairs", x.nrows());
            Err(InvalidArgument::new("members", expected, log.len()).into())
        });
        let logs = logs.collect::<Result<Vec<_>, ProposeError>>()?;
        Ok(Some((0..x.nrows()).map(|pair| log_mean(logs.iter().map(|log| log[pair]))).collect()))
    }
}

/// `n` of all members' draws for each target, in an order of chance.
fn mixed(draws: &[Proposals], n: usize, rng: &mut dyn Rng) -> Result<Proposals, ProposeError> {
    let (targets, each, width) = draws[0].designs().dim();
    let mut designs = Array3::zeros((targets, n, width));
    let mut moved = draws
        .iter()
        .any(|draws| draws.moved_inside().is_some())
        .then(|| Array2::from_elem((targets, n), false));
    for (target, mut stream) in target_streams(targets, rng).into_iter().enumerate() {
        // Whole rounds of members first, then as many of another as are missing: no member has two more than another.
        let mut order: Vec<usize> = (0..draws.len()).collect();
        order.shuffle(&mut stream);
        let mut places: Vec<(usize, usize)> =
            (0..each).flat_map(|rank| order.iter().map(move |member| (*member, rank))).take(n).collect();
        places.shuffle(&mut stream);
        for (place, (member, rank)) in places.into_iter().enumerate() {
            let draw = draws[member].designs().slice_move(s![target, rank, ..]);
            designs.slice_mut(s![target, place, ..]).assign(&draw);
            if let (Some(moved), Some(of_member)) = (&mut moved, draws[member].moved_inside()) {
                moved[[target, place]] = of_member[[target, rank]];
            }
        }
    }
    let proposals = Proposals::new(designs)?;
    Ok(match moved {
        Some(moved) => proposals.with_moved_inside(moved)?,
        None => proposals,
    })
}

/// The logarithm of the mean of numbers that are given by theirs.
fn log_mean(logs: impl ExactSizeIterator<Item = f64> + Clone) -> f64 {
    let count = logs.len() as f64;
    let largest = logs.clone().fold(f64::NEG_INFINITY, f64::max);
    // Of −∞ alone, or where one is +∞, differences would be NaN.
    if largest.is_infinite() {
        return if logs.into_iter().any(f64::is_nan) { f64::NAN } else { largest };
    }
    largest + (logs.map(|log| (log - largest).exp()).sum::<f64>() / count).ln()
}

#[cfg(test)]
#[path = "density_ensemble_tests.rs"]
mod tests;
