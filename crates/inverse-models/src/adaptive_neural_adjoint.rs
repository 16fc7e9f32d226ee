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
//!
//! Of a design's copies under a symmetry that the simulator has only nearly, one alone meets the target: a basin that is
//! stuck goes on at its copies ([`AdaptiveNeuralAdjoint::with_symmetry`]).

mod inner_problems;

use inverse_core::{
    InvalidArgument, Proposals, ProposeError, Search, check_answered, check_answers, check_matrix,
};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, s};
use rand::Rng;
use rayon::prelude::*;

use crate::adaptive_search_settings::{AdaptiveSearchSettings, opening_settings};
use crate::adaptive_target::{Center, TargetSearch};
use crate::defect_model::DefectModel;
use crate::host_network::HostNetwork;
use crate::levenberg_marquardt::{Minimum, minimize, squared_norm};
use crate::neural_adjoint::NeuralAdjointModel;
use crate::nn::HostMlp;
use crate::symmetric_copies::SharedSymmetry;
use crate::weighted_surrogate::{Reach, WeightedSurrogate};

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
    symmetry: Option<SharedSymmetry>,
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
            symmetry: None,
        })
    }

    /// Tells the search of designs that have the same measurements, exactly or nearly.
    ///
    /// * `symmetry`: the other designs of the same measurements as one design, in the data's units; for every design as
    ///   many, in the same order. `ask` refuses copies that are no designs.
    ///
    /// A simulator that was fitted to data, as the paper's D4 was, has its symmetry only nearly: of a design's copies, one
    /// alone meets a measurement to the last digit. Where a basin's steps do not halve the error any more, the search goes
    /// on at the copies of its best design with everything that it has learnt, as long as what the simulator lacks in
    /// symmetry may be the reason; one call tells of each copy. An exact symmetry costs one call a target.
    ///
    /// The surrogate should know of the symmetry, too: train it on
    /// [`Dataset::with_symmetric_copies`](inverse_core::Dataset::with_symmetric_copies).
    ///
    /// ```
    /// use inverse_core::{BoxPrior, Dataset, FitContext, FnSimulator, Method, RandomStreams, SimulatedTask};
    /// use inverse_metrics::resimulate_search;
    /// use inverse_models::{AdaptiveSearchSettings, NeuralAdjoint};
    ///
    /// // The two sides may change places, but for a small flaw.
    /// let box_ = FnSimulator::new(2, 2, |x, y| (y[0], y[1]) = (x[0] * x[1], x[0] + x[1] + 1e-4 * x[0]))?;
    /// let task = SimulatedTask::new("box", box_, BoxPrior::new(&[1.0; 2], &[2.0; 2])?)?;
    /// let symmetry = |x: &[f64]| vec![vec![x[1], x[0]]];
    /// let streams = RandomStreams::new(1);
    /// let data = Dataset::from_task(&task, 400, &mut streams.stream("data", 0))?.with_symmetric_copies(&symmetry)?;
    /// let mut method = NeuralAdjoint { start_count: 50, ..Default::default() };
    /// method.surrogate.hidden = vec![24];
    /// method.surrogate.training.epochs = 60;
    /// let model = method.fit(&data, &mut FitContext::new(1))?;
    ///
    /// let (y, mut rng) = (ndarray::array![[2.04, 2.9]], streams.stream("search", 0));
    /// let search = model.adaptive_search(y.view(), 10, &AdaptiveSearchSettings::default(), &mut rng)?;
    /// let errors = resimulate_search(&task, &mut search.with_symmetry(symmetry), y.view(), 10, &mut rng)?;
    /// assert!(errors.mean(10)? < 1e-8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_symmetry(self, symmetry: impl Fn(&[f64]) -> Vec<Vec<f64>> + Send + Sync + 'static) -> Self {
        self.with_shared_symmetry(Some(SharedSymmetry::new(symmetry)))
    }

    pub(crate) fn with_shared_symmetry(self, symmetry: Option<SharedSymmetry>) -> Self {
        Self { symmetry, ..self }
    }

    fn in_units(&self, x: ArrayView1<'_, f64>) -> Array1<f64> {
        &x * &self.x_units.1 + &self.x_units.0
    }

    fn standardized(&self, x: &Array2<f64>) -> Array2<f64> {
        (x - &self.x_units.0) / &self.x_units.1
    }

    /// The design that a search asks for, in the data's units.
    fn asked(&self, search: &TargetSearch) -> Result<Option<Array1<f64>>, InvalidArgument> {
        let Some(x) = search.design().map(|x| self.in_units(x)) else { return Ok(None) };
        let copy = search.copies.current();
        let Some(symmetry) = self.symmetry.as_ref().filter(|_| copy > 0) else { return Ok(Some(x)) };
        let mut x = self.standardized(&symmetry.copy(&x, copy)?).row(0).to_owned();
        self.reach.clamp(&mut x);
        Ok(Some(self.in_units(x.view())))
    }

    /// Counts the copies of the basins that were just opened, and asks the surrogate how much they differ.
    fn announce_copies(&mut self) -> Result<(), InvalidArgument> {
        let Some(symmetry) = &self.symmetry else { return Ok(()) };
        for target in 0..self.searches.len() {
            let search = &self.searches[target];
            let center = search.promising_center(&self.settings).filter(|_| search.copies.are_unknown());
            let Some(Center { x, .. }) = center else { continue };
            let copies = symmetry.copies(&self.in_units(x.view()))?;
            let own = self.surrogate.values(x.view().insert_axis(Axis(0)));
            let differences = self.surrogate.values(self.standardized(&copies).view()) - &own;
            let measured = differences.slice(s![.., ..self.y.ncols()]);
            let asymmetry = measured.rows().into_iter().map(squared_norm).fold(0.0, f64::max);
            self.searches[target].copies.announce(copies.nrows(), asymmetry);
        }
        Ok(())
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

    /// Lets targets that have a promising center take the next step from there, unless it is none; those need no opening.
    fn take_steps(&mut self, targets: &[usize], opening: &mut [bool]) {
        let steps = self.steps(targets);
        for (&target, step) in targets.iter().zip(steps) {
            opening[target] = !self.searches[target].take_step(step);
        }
    }

    /// Moves every target's search to its next question; gives what to ask.
    fn next_designs(&mut self, rng: &mut dyn Rng) -> Result<Array2<f64>, ProposeError> {
        let stepping: Vec<usize> = (0..self.searches.len())
            .filter(|&target| self.searches[target].promising_center(&self.settings).is_some())
            .collect();
        let mut opening: Vec<bool> = vec![true; self.searches.len()];
        self.take_steps(&stepping, &mut opening);
        let mut returning = Vec::new();
        for (target, search) in self.searches.iter_mut().enumerate() {
            if opening[target] && search.open_copy() {
                opening[target] = false;
            } else if opening[target] && search.leave_copies(&self.settings) {
                returning.push(target);
            }
        }
        self.take_steps(&returning, &mut opening);
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
        }
        for (search, mut row) in self.searches.iter().zip(designs.rows_mut()) {
            if let Some(x) = self.asked(search)?.filter(|_| !search.is_fresh()) {
                row.assign(&x);
            }
        }
        Ok(designs)
    }
}

impl Search for AdaptiveNeuralAdjoint {
    fn ask(&mut self, rng: &mut dyn Rng) -> Result<Array2<f64>, ProposeError> {
        if self.remaining == 0 {
            return Err(InvalidArgument::new("budget", "no more calls than it allows", "one more").into());
        }
        check_answered(self.waiting)?;
        self.announce_copies()?;
        // A symmetry is the user's, and may fail once: the same question can be asked again.
        let before = self.symmetry.is_some().then(|| self.searches.clone());
        match self.next_designs(rng) {
            Ok(designs) => {
                self.remaining -= 1;
                self.waiting = true;
                Ok(designs)
            }
            Err(error) => {
                if let Some(before) = before {
                    self.searches = before;
                }
                Err(error)
            }
        }
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
