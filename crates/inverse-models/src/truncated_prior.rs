//! The prior where one measurement's posterior is: training pairs for it, round by round.

use std::fmt;

use inverse_core::{
    Domain, InvalidArgument, InverseModel, Prior, Proposals, ProposeError, check_matrix, check_request,
};
use ndarray::{Array1, Array2, ArrayView2, Axis};
use rand::Rng;

use crate::log_density::{check_density, draws_named, no_density};

/// Draws of a model that its region is measured by, and how often as many are drawn at most, until so many are draws of its
/// density.
const DRAWS: usize = 20_000;
const MOST_CALLS: usize = 10;
const LEAST_DRAWS: usize = 100;

/// The least share of them that a region may leave out: two draws.
const LEAST_LEFT_OUT: f64 = 1e-4;

/// Designs of the prior that are asked about at once.
const BLOCK: usize = 1 << 14;

/// How many designs inside the region measure its share of the prior: to 1.6 %.
const MEASURED: usize = 4000;

/// Designs of the prior that are drawn for that at most, and how many have to lie inside.
const LARGEST_TRIAL: usize = 1_000_000;
const LEAST_INSIDE: usize = 100;

/// How many times as many designs of the prior as are expected may be drawn.
const PATIENCE: f64 = 100.0;

/// A prior without the designs that models rule out, given one measurement.
///
/// Where a simulation is dear and a single measurement is to be explained, most designs of the prior are wasted: their
/// outputs are nowhere near. This prior keeps those in a model's region of highest density for that measurement, and leaves
/// the rest out. Inside the region it is the prior but for a factor, so that what a model learns from its pairs about
/// that measurement is still p(x | y), but for the share that the region leaves out (truncated sequential posterior
/// estimation: Deistler et al. 2022). Each round [narrows](Self::narrowed) the region by a sharper model. Regions lie within
/// each other, so that the pairs of all rounds that lie [inside](Self::contains) the last are of one prior.
///
/// Designs are drawn from the prior until enough lie inside: the cost grows as the region shrinks, in evaluations of densities,
/// not in simulations.
///
/// ```
/// use inverse_core::{
///     BoxPrior, Dataset, FitContext, FnSimulator, GaussianNoise, InverseModel, Method, Prior, RandomStreams,
///     SimulatedTask, Task,
/// };
/// use inverse_models::{MixtureDensityNetwork, TruncatedPrior, presets::{PresetMethod, Source}};
/// use ndarray::array;
///
/// // The product is measured as 0.5 ± 0.02.
/// let product = FnSimulator::new(2, 1, |x, y| y[0] = x[0] * x[1])?;
/// let task = SimulatedTask::new("product", product, BoxPrior::new(&[0.0; 2], &[1.0; 2])?)?;
/// let noise = GaussianNoise::new(&[0.02])?;
/// let measured = array![[0.5]];
/// let method = MixtureDensityNetwork::preset("product", Source::Quick)?;
/// let streams = RandomStreams::new(1);
///
/// // The first round knows nothing of the measurement.
/// let first = Dataset::from_task(&task, 2000, &mut streams.stream("data", 0))?;
/// let first = first.measured(&noise, &mut streams.stream("noise", 0))?;
/// let model = method.fit(&first, &mut FitContext::new(1))?;
///
/// // The second draws where that model thinks that the design may be.
/// let mut rng = streams.stream("region", 0);
/// let prior = TruncatedPrior::new(task.prior(), model, measured.view(), 1e-3, &mut rng)?;
/// println!("{:.0} % of the prior", 100.0 * prior.acceptance_rate());
/// assert!(prior.acceptance_rate() < 0.6);
/// let near = SimulatedTask::new("product near 0.5", &task, &prior)?;
/// let second = Dataset::from_task(&near, 1000, &mut streams.stream("data", 1))?;
/// let second = second.measured(&noise, &mut streams.stream("noise", 1))?;
///
/// // It trains on all pairs inside; a third would draw from `prior.narrowed(model, …)`.
/// let inside = prior.contains(first.x())?;
/// let kept: Vec<usize> = (0..first.len()).filter(|row| inside[*row]).collect();
/// let pairs = first.select(&kept)?.joined(&second)?;
/// let model = method.fit(&pairs, &mut FitContext::new(1))?;
/// // Draws are weighed, where they are, by the task as it was.
/// let draws = model.propose(measured.view(), 100, &mut rng)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TruncatedPrior<P, M> {
    prior: P,
    y: Array2<f64>,
    /// Models, and the least log-density that their regions hold; a design lies in all of them.
    regions: Vec<(M, f64)>,
    acceptance_rate: f64,
    domain: Domain,
}

impl<P: Prior, M: InverseModel> TruncatedPrior<P, M> {
    /// Cuts a prior down to a model's region of highest density.
    ///
    /// * `y`: the measurement, (1, `dim_y`)
    /// * `left_out`: share of the model's own draws that the region leaves out, 1e-4 to ½; 1e-4 is usual. What it leaves out,
    ///   no later round sees
    /// * `rng`: draws of the model and the prior, which measure the region
    ///
    /// # Errors
    /// [`ProposeError::InvalidArgument`] that names `y` where it is not one finite measurement of the model's width, `left_out`
    /// where it is out of range, `model` where it has no density or hardly draws from it, `prior` where its designs are of
    /// another width or not finite, or fewer than one in 10,000 lie in the region; otherwise the model's own errors.
    pub fn new(
        prior: P,
        model: M,
        y: ArrayView2<'_, f64>,
        left_out: f64,
        rng: &mut dyn Rng,
    ) -> Result<Self, ProposeError> {
        check_request(y, model.dim_y(), 1, usize::MAX)?;
        if y.nrows() != 1 {
            return Err(InvalidArgument::new("y", "one measurement", y.nrows()).into());
        }
        if prior.domain().dim() != model.dim_x() {
            let expected = format!("designs of {} variables, as the model's", model.dim_x());
            return Err(InvalidArgument::new("prior", expected, prior.domain().dim()).into());
        }
        let domain = prior.domain().clone();
        let whole = Self { prior, y: y.to_owned(), regions: Vec::new(), acceptance_rate: 1.0, domain };
        whole.narrowed(model, left_out, rng)
    }

    /// The part of this prior that lies in another model's region, too.
    ///
    /// * `model`, `left_out`, `rng`: as in [`TruncatedPrior::new`]
    ///
    /// # Errors
    /// As [`TruncatedPrior::new`]; also where the model is of another width than the first.
    pub fn narrowed(mut self, model: M, left_out: f64, rng: &mut dyn Rng) -> Result<Self, ProposeError> {
        check_left_out(left_out)?;
        let (found, expected) = ((model.dim_x(), model.dim_y()), (self.prior.domain().dim(), self.y.ncols()));
        if found != expected {
            let expected = format!("one of {expected:?} variables, x and y");
            return Err(InvalidArgument::new("model", expected, format!("{found:?}")).into());
        }
        check_density(&model)?;
        let least = self.least_log_density(&model, left_out, rng)?;
        self.regions.push((model, least));
        let (inside, trials) = self.search(MEASURED, LARGEST_TRIAL, rng)?;
        if inside.nrows() < LEAST_INSIDE {
            let expected = "one that gives a design in the region once in 10,000";
            return Err(
                InvalidArgument::new("prior", expected, format!("{} in {trials}", inside.nrows())).into()
            );
        }
        // Where the last trial ended with the last that was wanted, the unbiased estimate leaves it out.
        self.acceptance_rate = (inside.nrows() - 1) as f64 / (trials - 1) as f64;
        self.domain = Domain::from_samples(inside.view())?;
        Ok(self)
    }

    /// The share of the prior's designs that lie in the region: to 1.6 % of it (one standard error) where it is 0.004 or
    /// more, to 10 % where it is the least.
    pub fn acceptance_rate(&self) -> f64 {
        self.acceptance_rate
    }

    /// Which designs, (n, `dim_x`), lie in the region.
    ///
    /// # Errors
    /// As [`InverseModel::log_density`].
    pub fn contains(&self, x: ArrayView2<'_, f64>) -> Result<Array1<bool>, ProposeError> {
        check_matrix("x", x, self.prior.domain().dim())?;
        let mut rows: Vec<usize> = (0..x.nrows()).collect();
        for (model, least) in &self.regions {
            let y = self.y.select(Axis(0), &vec![0; rows.len()]);
            let logs = model.log_density(x.select(Axis(0), &rows).view(), y.view())?;
            let logs = logs.filter(|logs| logs.len() == rows.len()).ok_or_else(|| no_density(model))?;
            rows = rows.into_iter().zip(logs).filter(|(_, log)| log >= least).map(|(row, _)| row).collect();
        }
        let mut contained = Array1::from_elem(x.nrows(), false);
        for row in rows {
            contained[row] = true;
        }
        Ok(contained)
    }

    /// `n` designs inside, (n, `dim_x`): what [`Prior::sample`] gives, with the reason where there are none.
    ///
    /// # Errors
    /// Those of the models' densities; [`ProposeError::InvalidArgument`] that names `prior` where its designs are of another
    /// shape or not finite, or lie inside a hundred times less often than was measured.
    pub fn draw(&self, n: usize, rng: &mut dyn Rng) -> Result<Array2<f64>, ProposeError> {
        let most = BLOCK + (PATIENCE * n as f64 / self.acceptance_rate) as usize;
        let (inside, trials) = self.search(n, most, rng)?;
        if inside.nrows() < n {
            let expected =
                format!("{n} designs in the region, of which it holds {:.2e}", self.acceptance_rate);
            return Err(
                InvalidArgument::new("prior", expected, format!("{} in {trials}", inside.nrows())).into()
            );
        }
        Ok(inside)
    }

    /// The log-density that all but a share of a model's draws reach.
    fn least_log_density(&self, model: &M, left_out: f64, rng: &mut dyn Rng) -> Result<f64, ProposeError> {
        let needed = ((1.0 / left_out).ceil() as usize).max(LEAST_DRAWS);
        let mut logs = Vec::new();
        // Where most draws are moved inside the range of the data, few are left of one call.
        for _ in 0..MOST_CALLS {
            let draws =
                model.propose(self.y.view(), DRAWS, rng).map_err(|error| draws_named(error, "model"))?;
            logs.extend(log_densities(model, &draws, self.y.view())?);
            if logs.len() >= needed {
                logs.sort_by(f64::total_cmp);
                return Ok(logs[(left_out * logs.len() as f64) as usize]);
            }
        }
        let expected =
            format!("one with {needed} of {} draws inside the range of its data", MOST_CALLS * DRAWS);
        Err(InvalidArgument::new("model", expected, logs.len()).into())
    }

    /// Up to `n` designs inside, and out of how many of the prior's: about `most`, at most.
    fn search(&self, n: usize, most: usize, rng: &mut dyn Rng) -> Result<(Array2<f64>, usize), ProposeError> {
        let dim_x = self.prior.domain().dim();
        let mut inside: Vec<Array1<f64>> = Vec::new();
        let mut trials = 0;
        while inside.len() < n && trials < most {
            let missing = n - inside.len();
            let block = ((missing as f64 / self.acceptance_rate).ceil() as usize).clamp(1, BLOCK);
            let designs = self.prior.sample(block, rng);
            check_matrix("prior", designs.view(), dim_x)?;
            if designs.nrows() != block {
                return Err(InvalidArgument::new("prior", format!("{block} designs"), designs.nrows()).into());
            }
            let contained = self.contains(designs.view())?;
            let rows = (0..block).filter(|row| contained[*row]).take(missing);
            let before = inside.len();
            let mut last = 0;
            for row in rows {
                inside.push(designs.row(row).to_owned());
                last = row + 1;
            }
            // Designs after the last that was wanted were no trials.
            trials += if inside.len() - before < missing { block } else { last };
        }
        let mut designs = Array2::zeros((inside.len(), dim_x));
        for (mut row, design) in designs.rows_mut().into_iter().zip(&inside) {
            row.assign(design);
        }
        Ok((designs, trials))
    }
}

pub(crate) fn check_left_out(left_out: f64) -> Result<(), InvalidArgument> {
    if (LEAST_LEFT_OUT..=0.5).contains(&left_out) {
        return Ok(());
    }
    Err(InvalidArgument::new("left_out", "a share from 1e-4 to a half", left_out))
}

impl<P, M> fmt::Debug for TruncatedPrior<P, M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TruncatedPrior")
            .field("y", &self.y)
            .field("regions", &self.regions.len())
            .field("acceptance_rate", &self.acceptance_rate)
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}

/// log p̂ of the draws that are draws of it.
fn log_densities(
    model: &impl InverseModel,
    draws: &Proposals,
    y: ArrayView2<'_, f64>,
) -> Result<Vec<f64>, ProposeError> {
    let logs = draws.log_density(model, y)?.ok_or_else(|| no_density(model))?;
    let is_draw = |((target, rank), log): ((usize, usize), &f64)| {
        (draws.is_draw(target, rank) && log.is_finite()).then_some(*log)
    };
    Ok(logs.indexed_iter().filter_map(is_draw).collect())
}

impl<P: Prior, M: InverseModel> Prior for TruncatedPrior<P, M> {
    /// Rows of NaN, which whoever draws refuses, where [`TruncatedPrior::draw`] fails.
    fn sample(&self, n: usize, rng: &mut dyn Rng) -> Array2<f64> {
        let failed = |_| Array2::from_elem((n, self.prior.domain().dim()), f64::NAN);
        self.draw(n, rng).unwrap_or_else(failed)
    }

    /// Mean and range of some thousand designs inside (eq. 5).
    fn domain(&self) -> &Domain {
        &self.domain
    }

    /// As exact as [`TruncatedPrior::acceptance_rate`].
    fn log_density(&self, x: ArrayView2<'_, f64>) -> Option<Array1<f64>> {
        let mut logs = self.prior.log_density(x)?;
        let possible: Vec<usize> =
            logs.indexed_iter().filter(|(_, log)| log.is_finite()).map(|(row, _)| row).collect();
        if possible.is_empty() {
            return Some(logs);
        }
        let contained = self.contains(x.select(Axis(0), &possible).view()).ok()?;
        for (row, contained) in possible.into_iter().zip(contained) {
            logs[row] = if contained { logs[row] - self.acceptance_rate.ln() } else { f64::NEG_INFINITY };
        }
        Some(logs)
    }
}

#[cfg(test)]
#[path = "truncated_prior_tests.rs"]
mod tests;
