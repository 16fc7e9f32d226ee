//! The prior where one measurement's posterior is: training pairs for it, round by round.

use std::fmt;

use inverse_core::{
    Domain, InvalidArgument, InverseModel, Prior, Proposals, ProposeError, check_matrix, check_request,
};
use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate};
use rand::Rng;

/// Draws of the model that its region is measured by.
const DRAWS: usize = 10_000;

/// Of them, how many have to be draws of its density.
const LEAST_DRAWS: usize = 100;

/// Designs of the prior that are asked about at once.
const BLOCK: usize = 1 << 14;

/// How many designs have to lie in the region, to measure it by.
const LEAST_INSIDE: usize = 100;

/// The least share of the prior's designs in the region.
const RAREST: f64 = 1e-4;

/// How many times as many designs of the prior as are expected may be drawn.
const PATIENCE: f64 = 100.0;

/// A prior without the designs that a model rules out, given one measurement.
///
/// Where a simulation is dear and a single measurement is to be explained, most designs of the prior are wasted: their
/// outputs are nowhere near. This prior keeps those in the model's region of highest density for that measurement, and leaves
/// the rest out. Inside the region it is the prior but for a factor, so that what a model learns from its pairs about
/// that measurement is still p(x | y), in the region (truncated sequential posterior estimation: Deistler et al. 2022). Round
/// by round the region shrinks and the model sharpens.
///
/// Designs are drawn from the prior until enough lie inside: the cost grows as the region shrinks, in evaluations of the density,
/// not in simulations. Models of other rounds are asked nothing; pairs of earlier rounds stay useful where they lie
/// [inside](Self::contains).
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
/// let first = Dataset::from_task(&task, 2000, &mut streams.stream("data", 0))?;
/// let first = first.measured(&noise, &mut streams.stream("noise", 0))?;
/// let model = method.fit(&first, &mut FitContext::new(1))?;
///
/// let mut rng = streams.stream("region", 0);
/// let prior = TruncatedPrior::new(task.prior(), &model, measured.view(), 1e-3, &mut rng)?;
/// println!("{:.0} % of the prior", 100.0 * prior.acceptance_rate());
/// assert!(prior.acceptance_rate() < 0.6);
/// let task = SimulatedTask::new("product near 0.5", &task, prior)?;
/// let second = Dataset::from_task(&task, 500, &mut streams.stream("data", 1))?;
/// let distance = |data: &Dataset| data.y().mapv(|y| (y - 0.5).abs()).mean();
/// println!("{:?} from the measurement, before {:?}", distance(&second), distance(&first));
/// assert!(distance(&second) < distance(&first));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TruncatedPrior<P, M> {
    prior: P,
    model: M,
    y: Array2<f64>,
    least_log_density: f64,
    acceptance_rate: f64,
    domain: Domain,
}

impl<P: Prior, M: InverseModel> TruncatedPrior<P, M> {
    /// Cuts a prior down to a model's region of highest density.
    ///
    /// * `y`: the measurement, (1, `dim_y`)
    /// * `left_out`: share of the model's own draws that the region leaves out, above 0 and at most ½; 1e-3 is usual: what the
    ///   model does not draw, no later round sees
    /// * `rng`: draws of the model and the prior, which measure the region
    ///
    /// # Errors
    /// [`ProposeError::InvalidArgument`] that names `y` where it is not one finite measurement of the model's width, `left_out`
    /// where it is out of range, `model` where it has no density or hardly draws from it, `prior` where it is of another
    /// width, or not one in 10,000 of its designs lies in the region; otherwise the model's own errors.
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
        if !(left_out > 0.0 && left_out <= 0.5) {
            return Err(
                InvalidArgument::new("left_out", "a share above 0, and at most a half", left_out).into()
            );
        }
        if prior.domain().dim() != model.dim_x() {
            let expected = format!("designs of {} variables, as the model's", model.dim_x());
            return Err(InvalidArgument::new("prior", expected, prior.domain().dim()).into());
        }
        let draws = model.propose(y, DRAWS, rng)?;
        let least_log_density = quantile(log_densities(&model, &draws, y)?, left_out)?;
        let domain = prior.domain().clone();
        let mut truncated =
            Self { prior, model, y: y.to_owned(), least_log_density, acceptance_rate: RAREST, domain };
        let (inside, trials) = truncated.draw(LEAST_INSIDE, (LEAST_INSIDE as f64 / RAREST) as usize, rng)?;
        if inside.nrows() < LEAST_INSIDE {
            let expected = "one that gives a design in the model's region once in 10,000";
            return Err(
                InvalidArgument::new("prior", expected, format!("{} in {trials}", inside.nrows())).into()
            );
        }
        truncated.acceptance_rate = inside.nrows() as f64 / trials as f64;
        truncated.domain = Domain::from_samples(inside.view())?;
        Ok(truncated)
    }

    /// The share of the prior's designs that lie in the region, as far as a few hundred tell.
    pub fn acceptance_rate(&self) -> f64 {
        self.acceptance_rate
    }

    /// Which designs, (n, `dim_x`), lie in the region.
    ///
    /// # Errors
    /// As [`InverseModel::log_density`].
    pub fn contains(&self, x: ArrayView2<'_, f64>) -> Result<Array1<bool>, ProposeError> {
        check_matrix("x", x, self.model.dim_x())?;
        let y = self.y.select(Axis(0), &vec![0; x.nrows()]);
        let logs = self.model.log_density(x, y.view())?.filter(|logs| logs.len() == x.nrows());
        let logs = logs.ok_or_else(|| no_density(&self.model))?;
        Ok(logs.mapv(|log| log >= self.least_log_density))
    }

    /// Up to `n` designs inside, and out of how many of the prior's, which are at most about `trials`.
    fn draw(&self, n: usize, trials: usize, rng: &mut dyn Rng) -> Result<(Array2<f64>, usize), ProposeError> {
        let mut inside = Array2::zeros((0, self.model.dim_x()));
        let mut drawn = 0;
        while inside.nrows() < n && drawn < trials {
            let wanted = ((n - inside.nrows()) as f64 / self.acceptance_rate).ceil();
            let block = self.prior.sample((wanted as usize).clamp(1, BLOCK), rng);
            let contained = self.contains(block.view())?;
            let rows: Vec<usize> = (0..block.nrows()).filter(|row| contained[*row]).collect();
            let missing = n - inside.nrows();
            // Designs after the last that is wanted were not needed to find it.
            drawn += if rows.len() < missing { block.nrows() } else { rows[missing - 1] + 1 };
            let rows = &rows[..rows.len().min(missing)];
            inside = concatenate(Axis(0), &[inside.view(), block.select(Axis(0), rows).view()])
                .map_err(|error| InvalidArgument::new("prior", "designs of its own width", error))?;
        }
        Ok((inside, drawn))
    }
}

impl<P, M> fmt::Debug for TruncatedPrior<P, M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TruncatedPrior")
            .field("y", &self.y)
            .field("least_log_density", &self.least_log_density)
            .field("acceptance_rate", &self.acceptance_rate)
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}

fn no_density(model: &impl InverseModel) -> InvalidArgument {
    InvalidArgument::new("model", "one with a density of every pair", model.name())
}

/// log p̂ of the draws that are draws of it.
fn log_densities(
    model: &impl InverseModel,
    draws: &Proposals,
    y: ArrayView2<'_, f64>,
) -> Result<Vec<f64>, ProposeError> {
    let logs = draws.log_density(model, y)?.ok_or_else(|| no_density(model))?;
    let is_draw = |(place, log): ((usize, usize), &f64)| {
        let moved = draws.moved_inside().is_some_and(|moved| moved[place]);
        (!moved && log.is_finite()).then_some(*log)
    };
    Ok(logs.indexed_iter().filter_map(is_draw).collect())
}

fn quantile(mut logs: Vec<f64>, left_out: f64) -> Result<f64, InvalidArgument> {
    if logs.len() < LEAST_DRAWS {
        let expected = format!("one that draws {LEAST_DRAWS} of {DRAWS} designs from its density");
        return Err(InvalidArgument::new("model", expected, logs.len()));
    }
    logs.sort_by(f64::total_cmp);
    Ok(logs[(left_out * logs.len() as f64) as usize])
}

impl<P: Prior, M: InverseModel> Prior for TruncatedPrior<P, M> {
    /// Fewer designs where the model fails, or the region is hit a hundred times less often than was measured:
    /// [`Dataset::from_task`](inverse_core::Dataset::from_task) reports that.
    fn sample(&self, n: usize, rng: &mut dyn Rng) -> Array2<f64> {
        let trials = BLOCK + (PATIENCE * n as f64 / self.acceptance_rate) as usize;
        let drawn = self.draw(n, trials, rng);
        drawn.map_or_else(|_| Array2::zeros((0, self.model.dim_x())), |(inside, _)| inside)
    }

    /// That of designs inside: the smallest box around a hundred of them.
    fn domain(&self) -> &Domain {
        &self.domain
    }

    fn log_density(&self, x: ArrayView2<'_, f64>) -> Option<Array1<f64>> {
        let mut logs = self.prior.log_density(x)?;
        if x.ncols() != self.model.dim_x() {
            return Some(logs);
        }
        let contained = self.contains(x).ok()?;
        for (log, contained) in logs.iter_mut().zip(contained) {
            *log = if contained { *log - self.acceptance_rate.ln() } else { f64::NEG_INFINITY };
        }
        Some(logs)
    }
}

#[cfg(test)]
#[path = "truncated_prior_tests.rs"]
mod tests;
