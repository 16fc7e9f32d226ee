//! Neural Adjoint that listens: after every call, the surrogate is corrected by what the simulator answered.
//!
//! The paper ranks the surrogate's solutions once and walks down that list (section 3), deaf to the answers. Here an
//! answer f(x_k) moves the problem that the surrogate solves. Around the best design x_c of a basin the corrected
//! surrogate
//!
//! ```text
//! m(x) = f(x_c) + f̂(x) − f̂(x_c) + C (x − x_c)
//! ```
//!
//! is exact at x_c, as in space mapping (Bandler et al. 1994, 2004) and defect correction; Broyden's rank-one updates
//! (1965) of C make it agree with the earlier answers as well, and the tail superlinear. The next design is
//!
//! ```text
//! x_(k+1) = argmin ‖m(x) − y‖²,   ‖x − x_c‖_∞ ≤ Δ, x within reach
//! ```
//!
//! by Levenberg–Marquardt steps in `f64`. With an ensemble, the squared norm also takes in by how much the members
//! disagree on what the step from x_c will change, times κ. The trust region Δ follows how well m predicted (Moré 1983).
//!
//! Where calls stop paying, or m itself sees no solution in its basin, the search goes on from the next distinct one. At two
//! solutions of one target the surrogate errs alike, for their measurements are alike. So the answers so far are
//! interpolated by kriging into a defect d(x) ≈ f(x) − f̂(x), all starts descend once more on f̂ + d, and where the lowest of
//! them ends the next basin opens; f̂ + d takes the place of f̂ in its m.

use inverse_core::{InvalidArgument, Proposals, ProposeError, Search, check_answers, check_matrix};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, s};
use rand::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::adaptive_target::{Center, TargetSearch};
use crate::defect_model::DefectModel;
use crate::host_network::{Evaluation, HostNetwork};
use crate::levenberg_marquardt::{Bounds, LevenbergMarquardtSettings, Minimum, minimize};
use crate::neural_adjoint::NeuralAdjointModel;
use crate::nn::HostMlp;
use crate::weighted_surrogate::{Reach, WeightedSurrogate};

/// Targets whose corrected problems are solved together; fixed, so that results do not depend on the threads.
const BLOCK: usize = 32;

/// How an adaptive search spends its calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdaptiveSearchSettings {
    /// Proposals of the model that the search may open basins from.
    pub basin_count: usize,
    /// Half width of the first trust region of a basin, in standardised units of x.
    pub trust_radius: f64,
    /// Calls in a row that do not halve the error until a basin is given up.
    pub patience: usize,
    /// How far the surrogate's error at one design resembles that at another, in standardised units of x, from 1e-6 to
    /// 1e6: ℓ of the kernel (1 + ‖x − x'‖² / ℓ²)^(−1/2), by which the next basin is chosen. `None` chooses it by the
    /// surrogate alone.
    pub error_length: Option<f64>,
}

impl Default for AdaptiveSearchSettings {
    fn default() -> Self {
        Self { basin_count: 64, trust_radius: 1.0, patience: 3, error_length: Some(2.0) }
    }
}

impl AdaptiveSearchSettings {
    pub(crate) fn validate(&self) -> Result<(), InvalidArgument> {
        for (name, count) in [("basin_count", self.basin_count), ("patience", self.patience)] {
            if count == 0 {
                return Err(InvalidArgument::new(name, "at least 1", 0));
            }
        }
        if !(self.trust_radius > 0.0 && self.trust_radius.is_finite()) {
            return Err(InvalidArgument::new("trust_radius", "a positive number", self.trust_radius));
        }
        if let Some(length) = self.error_length.filter(|length| !(1e-6..=1e6).contains(length)) {
            return Err(InvalidArgument::new("error_length", "a number from 1e-6 to 1e6", length));
        }
        Ok(())
    }
}

/// The inner problems: from near Gauss–Newton, because the trust region already bounds the steps.
fn inner_settings() -> LevenbergMarquardtSettings {
    // The tolerance is relative: residuals are scaled by that of the center.
    LevenbergMarquardtSettings {
        iterations: 12,
        damping: 1e-8,
        tolerance: 1e-12,
        least_decrease: 1e-6,
        boundary_weight: 0.0,
    }
}

/// The descents that choose a basin: they start at the ends of others, and a ranking needs no last digits.
fn opening_settings() -> LevenbergMarquardtSettings {
    LevenbergMarquardtSettings { iterations: 8, least_decrease: 0.1, ..LevenbergMarquardtSettings::default() }
}

/// A search that corrects the surrogate by every answer of the simulator.
///
/// ```
/// use inverse_core::{BoxPrior, Dataset, FitContext, FnSimulator, Method, RandomStreams, SimulatedTask};
/// use inverse_metrics::resimulate_search;
/// use inverse_models::{AdaptiveSearchSettings, NeuralAdjoint};
///
/// let spring = FnSimulator::new(2, 1, |x, y| y[0] = x[0] * x[1] * x[1])?;
/// let task = SimulatedTask::new("spring", spring, BoxPrior::new(&[0.5, -1.0], &[1.5, 1.0])?)?;
/// let streams = RandomStreams::new(1);
/// let data = Dataset::from_task(&task, 400, &mut streams.stream("data", 0))?;
/// let mut method = NeuralAdjoint { start_count: 50, ..Default::default() };
/// method.surrogate.hidden = vec![24];
/// method.surrogate.training.epochs = 20;
/// let model = method.fit(&data, &mut FitContext::new(1))?;
///
/// let y = ndarray::array![[0.3], [0.7]];
/// let mut rng = streams.stream("search", 0);
/// let mut search = model.adaptive_search(y.view(), 10, &AdaptiveSearchSettings::default(), &mut rng)?;
/// let errors = resimulate_search(&task, &mut search, y.view(), 10, &mut rng)?;
/// assert!(errors.mean(10)? < 1e-8);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AdaptiveNeuralAdjoint {
    surrogate: WeightedSurrogate<HostNetwork>,
    /// The same in `f32`, by which basins are chosen.
    quick_surrogate: WeightedSurrogate<HostMlp>,
    settings: AdaptiveSearchSettings,
    reach: Reach,
    /// Mean and scale of x.
    x_units: (Array1<f64>, Array1<f64>),
    /// What turns y − y' into weighted residuals, and zeros behind them, one each of the surrogate's.
    y_factors: Array1<f64>,
    /// Targets in the data's units, (targets, `dim_y`).
    y: Array2<f64>,
    /// Targets as the weighted surrogate measures them, (targets, residuals).
    weighted_y: Array2<f64>,
    /// The first start of each target in the data's units: the first call is that design to the last bit.
    first: Array2<f64>,
    searches: Vec<TargetSearch>,
    remaining: usize,
    waiting: bool,
}

impl std::fmt::Debug for AdaptiveNeuralAdjoint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = formatter.debug_struct("AdaptiveNeuralAdjoint");
        text.field("settings", &self.settings).field("targets", &self.y.nrows());
        text.field("remaining", &self.remaining).finish_non_exhaustive()
    }
}

impl NeuralAdjointModel {
    /// Starts a search of `budget` calls a target that learns from every answer.
    ///
    /// * `y`: targets, (targets, `dim_y`), in the data's units
    ///
    /// Its first call is the model's own first proposal: with a budget of 1 it is the paper's NA.
    ///
    /// # Errors
    /// As [`InverseModel::propose`](inverse_core::InverseModel::propose); also where a setting is out of bounds.
    pub fn adaptive_search(
        &self,
        y: ArrayView2<'_, f64>,
        budget: usize,
        settings: &AdaptiveSearchSettings,
        rng: &mut dyn Rng,
    ) -> Result<AdaptiveNeuralAdjoint, ProposeError> {
        settings.validate()?;
        let count = settings.basin_count.min(self.settings.start_count);
        let starts = inverse_core::InverseModel::propose(self, y, count, rng)?;
        AdaptiveNeuralAdjoint::new(self, &starts, y, budget, settings)
    }
}

impl AdaptiveNeuralAdjoint {
    /// A search with the surrogate of `model` that opens its basins at `starts`, best first.
    ///
    /// * `starts`: designs of any model for the same targets, in the data's units; those that are not finite are left
    ///   out
    /// * `y`: targets, (targets, `dim_y`)
    /// * `budget`: calls a target
    ///
    /// # Errors
    /// [`ProposeError::InvalidArgument`] where a setting is out of bounds, shapes disagree, a target is not finite, or
    /// `budget` is 0.
    pub fn new(
        model: &NeuralAdjointModel,
        starts: &Proposals,
        y: ArrayView2<'_, f64>,
        budget: usize,
        settings: &AdaptiveSearchSettings,
    ) -> Result<Self, ProposeError> {
        settings.validate()?;
        let (x_scale, y_scale) = (&model.surrogate.x, &model.surrogate.y);
        check_matrix("y", y, y_scale.width())?;
        if budget == 0 {
            return Err(InvalidArgument::new("budget", "at least one call", 0).into());
        }
        let (targets, _, dim_x) = starts.designs().dim();
        if (targets, dim_x) != (y.nrows(), x_scale.width()) {
            let expected = format!("{} targets of {} variables", y.nrows(), x_scale.width());
            let found = format!("{targets} of {dim_x}");
            return Err(InvalidArgument::new("starts", expected, found).into());
        }
        let surrogate = model.weighted_surrogate::<HostNetwork>()?;
        let y_factors =
            surrogate.weighted(y_scale.scale().mapv(|scale| 1.0 / scale).insert_axis(Axis(0)).view());
        let reach = Reach::new(&model.boundary(), &model.designs);
        let mut first = Array2::zeros((targets, dim_x));
        let mut searches = Vec::with_capacity(targets);
        for (target, designs) in starts.designs().axis_iter(Axis(0)).enumerate() {
            let finite = |row: &usize| designs.row(*row).iter().all(|value| value.is_finite());
            let rows: Vec<usize> = (0..designs.nrows()).filter(finite).take(settings.basin_count).collect();
            let designs = if rows.is_empty() {
                model.domain.center().to_owned().insert_axis(Axis(0))
            } else {
                designs.select(Axis(0), &rows)
            };
            first.row_mut(target).assign(&designs.row(0));
            let designs = x_scale.transform(designs.view())?;
            searches.push(TargetSearch::new(designs, y.ncols(), surrogate.width()));
        }
        Ok(Self {
            weighted_y: surrogate.weighted(y_scale.transform(y)?.view()),
            surrogate,
            quick_surrogate: model.weighted_surrogate::<HostMlp>()?,
            settings: settings.clone(),
            reach,
            x_units: (x_scale.mean().to_owned(), x_scale.scale().to_owned()),
            y_factors: y_factors.row(0).to_owned(),
            y: y.to_owned(),
            first,
            searches,
            remaining: budget,
            waiting: false,
        })
    }

    /// Where the untried starts of a target lead to, with f̂ corrected by what its answers say of f − f̂ (kriging).
    fn corrected_starts(&self, target: usize) -> Option<Vec<Minimum>> {
        let length = self.settings.error_length?;
        let (starts, answers) = self.searches[target].lesson()?;
        let defect = DefectModel::new(answers, length);
        let y = self.weighted_y.row(target);
        let bounds = self.reach.bounds(starts.nrows());
        Some(minimize(&starts, &bounds, &opening_settings(), |_, x| {
            let mut evaluation = self.quick_surrogate.evaluate(x);
            evaluation.values -= &y;
            for (row, x) in x.rows().into_iter().enumerate() {
                defect.correct(&mut evaluation, row, x);
            }
            evaluation
        }))
    }

    /// Minima of the corrected problems of targets that have a promising center, in order.
    fn steps(&self, targets: &[usize]) -> Vec<Minimum> {
        let blocks: Vec<Vec<Minimum>> =
            targets.par_chunks(BLOCK).map(|targets| self.steps_of_block(targets)).collect();
        blocks.concat()
    }

    fn steps_of_block(&self, targets: &[usize]) -> Vec<Minimum> {
        let centers: Vec<(&Center, &TargetSearch)> = targets
            .iter()
            .filter_map(|&target| {
                let search = &self.searches[target];
                search.promising_center(&self.settings).map(|center| (center, search))
            })
            .collect();
        let dim_x = self.first.ncols();
        let mut starts = Array2::zeros((centers.len(), dim_x));
        let mut bounds = Bounds { lower: starts.clone(), upper: starts.clone() };
        for (row, (center, search)) in centers.iter().enumerate() {
            starts.row_mut(row).assign(&center.x);
            let (lower, upper) = search.bounds(center, &self.reach);
            bounds.lower.row_mut(row).assign(&lower);
            bounds.upper.row_mut(row).assign(&upper);
        }
        let mut base = self.surrogate.values(starts.view());
        for (mut base, (center, search)) in base.rows_mut().into_iter().zip(&centers) {
            if let Some(defect) = &search.defect {
                let mut measured = base.slice_mut(s![..self.y.ncols()]);
                measured += &defect.values(center.x.view());
            }
        }
        let mut minima = minimize(&starts, &bounds, &inner_settings(), |problems, x| {
            let mut evaluation = self.surrogate.evaluate(x);
            for (row, &problem) in problems.iter().enumerate() {
                let (center, search) = centers[problem];
                correct(&mut evaluation, row, x.row(row), base.row(problem), (center, search));
            }
            evaluation
        });
        for (minimum, (center, _)) in minima.iter_mut().zip(&centers) {
            minimum.residuals *= center.loss.sqrt();
            minimum.loss *= center.loss;
        }
        minima
    }
}

/// Turns f̂ and its Jacobian at one row into m(x) − y and m's Jacobian, both in units of the center's residual norm:
/// the inner problem then has the same tolerance in the first call and in the last.
fn correct(
    evaluation: &mut Evaluation,
    row: usize,
    x: ArrayView1<'_, f64>,
    base: ArrayView1<'_, f64>,
    (center, search): (&Center, &TargetSearch),
) {
    if let Some(defect) = &search.defect {
        defect.correct(evaluation, row, x);
    }
    let correction = &search.correction;
    let scale = 1.0 / center.loss.sqrt();
    let linear = correction.t().dot(&(&x - &center.x));
    let mut values = evaluation.values.row_mut(row);
    values -= &base;
    values += &center.residuals;
    values += &linear;
    values *= scale;
    let mut jacobian = evaluation.jacobian.index_axis_mut(Axis(0), row);
    jacobian += correction;
    jacobian *= scale;
}

impl Search for AdaptiveNeuralAdjoint {
    fn ask(&mut self, rng: &mut dyn Rng) -> Result<Array2<f64>, ProposeError> {
        if self.remaining == 0 {
            return Err(InvalidArgument::new("budget", "no more calls than it allows", "one more").into());
        }
        let stepping: Vec<usize> = (0..self.searches.len())
            .filter(|&target| self.searches[target].promising_center(&self.settings).is_some())
            .collect();
        let mut opening: Vec<bool> = vec![true; self.searches.len()];
        let steps = self.steps(&stepping);
        for (target, step) in stepping.into_iter().zip(steps) {
            opening[target] = !self.searches[target].take_step(step);
        }
        let corrected: Vec<Option<Vec<Minimum>>> = opening
            .par_iter()
            .enumerate()
            .map(|(target, opening)| if *opening { self.corrected_starts(target) } else { None })
            .collect();
        let mut designs = self.first.clone();
        for ((target, search), corrected) in self.searches.iter_mut().enumerate().zip(corrected) {
            if opening[target] {
                let y = self.weighted_y.row(target);
                search.open(|x| self.surrogate.values(x) - y, corrected, &self.reach, rng);
            }
            if let Some(x) = search.design().filter(|_| !search.is_fresh()) {
                designs.row_mut(target).assign(&(&x * &self.x_units.1 + &self.x_units.0));
            }
        }
        self.remaining -= 1;
        self.waiting = true;
        Ok(designs)
    }

    fn tell(&mut self, y: ArrayView2<'_, f64>) -> Result<(), ProposeError> {
        check_answers(y, self.y.dim())?;
        if !std::mem::take(&mut self.waiting) {
            return Err(InvalidArgument::new("y", "answers to designs that were asked for", "others").into());
        }
        let mut asked = Array2::zeros(self.first.dim());
        for (search, mut row) in self.searches.iter().zip(asked.rows_mut()) {
            search.design().into_iter().for_each(|x| row.assign(&x));
        }
        let predicted = self.surrogate.values(asked.view()) - &self.weighted_y;
        for ((target, search), predicted) in self.searches.iter_mut().enumerate().zip(predicted.rows()) {
            let mut residuals = self.y_factors.clone();
            let measured = y.row(target).len();
            // What an ensemble adds is measured from the center, where it is 0.
            residuals.slice_mut(s![..measured]).zip_mut_with(
                &(&y.row(target) - &self.y.row(target)),
                |factor, difference| {
                    *factor *= difference;
                },
            );
            search.learn(residuals, predicted, &self.settings);
        }
        Ok(())
    }
}
