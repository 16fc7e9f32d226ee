//! One target of an adaptive search: what was tried, what is believed, where to look next.
//!
//! All quantities are standardised: x as the surrogate's input, residuals weighted as in
//! [`WeightedSurrogate`](crate::weighted_surrogate::WeightedSurrogate), so that a loss is a squared norm.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, Zip, s};
use rand::{Rng, RngExt};

use crate::adaptive_search_settings::AdaptiveSearchSettings;
use crate::defect_model::DefectModel;
use crate::levenberg_marquardt::{Minimum, squared_norm};
use crate::symmetric_copies::{Standing, SymmetricCopies};
use crate::weighted_surrogate::Reach;

/// A call that lowers the loss by less than this factor counts towards a stall.
pub(crate) const WORTHWHILE_FACTOR: f64 = 0.5;
/// A basin is a dead end where, without a worthwhile step before, its corrected problem promises to keep more than
/// this share of the loss. After worthwhile steps a poor promise only says that the Jacobian is not yet known well.
const DEAD_END_SHARE: f64 = 0.9;
/// A loss this low is the rounding of `f64`: another solution is worth more than another digit.
const ROUNDING_LOSS: f64 = 1e-29;
/// Starts nearer than this in every variable lie in one basin, in standardised units.
const SAME_BASIN: f64 = 0.05;
/// Starts whose predicted residuals differ by less than this share of their size are copies of each other under a
/// symmetry of the simulator: where one cannot meet the target, the other cannot either.
const SAME_RESIDUAL_SHARE: f64 = 0.3;

/// The best simulated design of the basin that is being searched.
#[derive(Clone)]
pub(crate) struct Center {
    pub(crate) x: Array1<f64>,
    /// f(x) − y.
    pub(crate) residuals: Array1<f64>,
    pub(crate) loss: f64,
}

/// What the last call is about.
#[derive(Clone)]
enum Asked {
    Nothing,
    /// A design that opens a basin.
    Opening(Array1<f64>),
    /// A step from the center, and the residuals that the corrected surrogate predicts for it.
    Step(Array1<f64>, Array1<f64>),
    /// The basin's best design once more, at another of its copies.
    Copy(Array1<f64>),
}

/// Answers that are remembered, the latest: kriging takes their number to the third power.
const LARGEST_ANSWER_COUNT: usize = 128;

/// A simulated design and what the surrogate had wrong there.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) x: Array1<f64>,
    /// f(x) − f̂(x), of what is measured.
    pub(crate) defect: Array1<f64>,
}

#[derive(Clone)]
pub(crate) struct TargetSearch {
    /// Designs that open basins, (n, `dim_x`), best first.
    starts: Array2<f64>,
    /// Residuals that the simulator answers for; those behind them are an ensemble's disagreement.
    measured: usize,
    untried: Vec<usize>,
    tried: Vec<usize>,
    /// The answers so far.
    answers: Vec<Answer>,
    center: Option<Center>,
    /// (loss, x) of the best design of all basins.
    best: Option<(f64, Array1<f64>)>,
    /// C, what Broyden's updates add to the transposed Jacobian of the surrogate and its defect, (`dim_x`, `dim_y`).
    pub(crate) correction: Array2<f64>,
    /// What the answers say of the surrogate's error in this basin; as they were when it was opened, so that all updates of
    /// C correct the same thing. The first basin has none, nor have those after the target is met.
    pub(crate) defect: Option<DefectModel>,
    /// Which copy of the designs below is simulated, where the simulator has a symmetry.
    pub(crate) copies: SymmetricCopies,
    radius: f64,
    failures: usize,
    /// Whether the basin's last step was worthwhile.
    is_descending: bool,
    asked: Asked,
    /// Whether no answer came yet.
    is_fresh: bool,
}

impl TargetSearch {
    /// A search whose first design is the first of `starts`.
    ///
    /// * `residuals`: how many there are, of which the first `measured` come from the simulator
    pub(crate) fn new(starts: Array2<f64>, measured: usize, residuals: usize) -> Self {
        let (count, dim_x) = starts.dim();
        Self {
            starts,
            measured,
            untried: (0..count).collect(),
            tried: Vec::new(),
            answers: Vec::new(),
            center: None,
            best: None,
            correction: Array2::zeros((dim_x, residuals)),
            defect: None,
            copies: SymmetricCopies::default(),
            radius: 0.0,
            failures: 0,
            is_descending: false,
            asked: Asked::Nothing,
            is_fresh: true,
        }
    }

    /// The center to step from, where there is hope in its basin.
    pub(crate) fn promising_center(&self, settings: &AdaptiveSearchSettings) -> Option<&Center> {
        self.center.as_ref().filter(|center| center.loss > ROUNDING_LOSS && self.failures < settings.patience)
    }

    /// The box of the next step from `center`: the trust region within the reach.
    pub(crate) fn bounds(&self, center: &Center, reach: &Reach) -> (Array1<f64>, Array1<f64>) {
        // Another model's proposal may lie beyond the reach; steps lead back from there.
        let lower = Zip::from(&center.x)
            .and(&reach.lower)
            .map_collect(|x, lower| (x - self.radius).max(lower.min(*x)));
        let upper = Zip::from(&center.x)
            .and(&reach.upper)
            .map_collect(|x, upper| (x + self.radius).min(upper.max(*x)));
        (lower, upper)
    }

    /// Accepts the minimum of the corrected problem as the next call, unless the basin is a dead end.
    pub(crate) fn take_step(&mut self, step: Minimum) -> bool {
        let Some(center) = &self.center else { return false };
        let length = largest_difference(step.x.view(), center.x.view());
        // The trust region, not the basin, limits a step that ends at the region's edge.
        let limited = length >= self.radius * (1.0 - 1e-9);
        let promise = squared_norm(step.residuals.slice(s![..self.measured]));
        let hopeless = promise > DEAD_END_SHARE * center.loss && !self.is_descending;
        // One call tells of a copy what a step does of this one.
        let leaves = hopeless || (self.copies.wait(center.loss) && promise > WORTHWHILE_FACTOR * center.loss);
        if length == 0.0 || !step.loss.is_finite() || (leaves && !limited) {
            return false;
        }
        self.asked = Asked::Step(step.x, step.residuals);
        true
    }

    /// Goes on at the next copy of the basin's best design, where one may be better.
    pub(crate) fn open_copy(&mut self) -> bool {
        let may = |center: &Center| !self.is_solved() && self.copies.may_be_better(center.loss);
        if !self.center.as_ref().is_some_and(may) {
            return false;
        }
        let Some(center) = self.center.take() else { return false };
        let standing = Standing { center, failures: self.failures, is_descending: self.is_descending };
        let center = self.copies.next(standing);
        self.asked = Asked::Copy(center.x.clone());
        self.center = Some(center);
        true
    }

    /// Comes back from the last copy, where none was better and the basin has calls left: whether there is a step to take.
    pub(crate) fn leave_copies(&mut self, settings: &AdaptiveSearchSettings) -> bool {
        let loss = self.center.as_ref().map_or(f64::INFINITY, |center| center.loss);
        let Some(Standing { center, failures, is_descending }) = self.copies.back(loss) else { return false };
        self.center = Some(center);
        (self.failures, self.is_descending) = (failures, is_descending);
        self.promising_center(settings).is_some()
    }

    /// The starts of basins that were not opened, (untried, `dim_x`), and all answers, where the next opening can learn
    /// from them.
    pub(crate) fn lesson(&self) -> Option<(Array2<f64>, &[Answer])> {
        if self.is_solved() || self.untried.is_empty() || self.answers.is_empty() {
            return None;
        }
        Some((self.starts.select(Axis(0), &self.untried), &self.answers))
    }

    /// Whether the target is met as well as `f64` can: other solutions are looked for, where the surrogate has them.
    fn is_solved(&self) -> bool {
        self.best.as_ref().is_some_and(|(loss, _)| *loss <= ROUNDING_LOSS)
    }

    /// Opens the next basin: the best untried start that is neither near a tried one nor its mirror image.
    ///
    /// * `predict`: the surrogate's residuals at designs, (n, `dim_y`)
    /// * `corrected`: where the untried starts lead to by what was learnt, one each: the lowest is the best
    pub(crate) fn open(
        &mut self,
        predict: impl Fn(ArrayView2<'_, f64>) -> Array2<f64>,
        corrected: Option<Vec<Minimum>>,
        reach: &Reach,
        rng: &mut dyn Rng,
    ) {
        let chosen = match (self.tried.is_empty(), self.untried.is_empty()) {
            (true, false) => Some((0, None)),
            (_, true) => None,
            (false, false) => {
                let residuals = predict(self.starts.view());
                let moved = corrected.and_then(|minima| self.best_corrected(&residuals, minima));
                let unmoved = || Some((self.next_distinct(&residuals)?, None));
                moved.map(|(position, x)| (position, Some(x))).or_else(unmoved)
            }
        };
        let x = if let Some((position, moved)) = chosen {
            let start = self.untried.remove(position);
            self.tried.push(start);
            moved.unwrap_or_else(|| self.starts.row(start).to_owned())
        } else {
            self.random_design(reach, rng)
        };
        self.copies.leave();
        self.asked = Asked::Opening(x);
    }

    /// The position among the untried of the first one of a basin that no tried one belongs to.
    fn next_distinct(&self, residuals: &Array2<f64>) -> Option<usize> {
        let apart =
            |a: usize, b: usize| largest_difference(self.starts.row(a), self.starts.row(b)) > SAME_BASIN;
        let first = |new: &dyn Fn(usize, usize) -> bool| {
            self.untried.iter().position(|&start| self.tried.iter().all(|&tried| new(start, tried)))
        };
        first(&|a, b| apart(a, b) && differ(residuals.row(a), residuals.row(b))).or_else(|| first(&apart))
    }

    /// Of the untried, the position of the one that leads lowest to where nothing was simulated, and where it leads to.
    fn best_corrected(
        &self,
        residuals: &Array2<f64>,
        mut minima: Vec<Minimum>,
    ) -> Option<(usize, Array1<f64>)> {
        let mut order: Vec<usize> = (0..minima.len()).collect();
        order.sort_by(|a, b| minima[*a].loss.total_cmp(&minima[*b].loss));
        order.retain(|&position| {
            let apart =
                |answer: &Answer| largest_difference(minima[position].x.view(), answer.x.view()) > SAME_BASIN;
            minima[position].loss.is_finite() && self.answers.iter().all(apart)
        });
        let new = |position: &&usize| {
            let start = residuals.row(self.untried[**position]);
            self.tried.iter().all(|&tried| differ(start, residuals.row(tried)))
        };
        let position = *order.iter().find(new).or_else(|| order.first())?;
        Some((position, minima.swap_remove(position).x))
    }

    /// Where all basins are used up: a design near the best one.
    fn random_design(&self, reach: &Reach, rng: &mut dyn Rng) -> Array1<f64> {
        let size = (&reach.upper - &reach.lower) * 0.1;
        let center = match &self.best {
            Some((_, x)) => x.clone(),
            None => (&reach.lower + &reach.upper) * 0.5,
        };
        let mut x = center + size.mapv(|size| size * rng.random_range(-1.0..=1.0));
        reach.clamp(&mut x);
        x
    }

    /// The design that was asked for.
    pub(crate) fn design(&self) -> Option<ArrayView1<'_, f64>> {
        match &self.asked {
            Asked::Nothing => None,
            Asked::Opening(x) | Asked::Step(x, _) | Asked::Copy(x) => Some(x.view()),
        }
    }

    /// Whether no answer came yet: what is asked for is the first start.
    pub(crate) fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    /// Learns from an answer.
    ///
    /// * `residuals`: f(x) − y at the asked design, not finite where there was no answer
    /// * `predicted`: f̂(x) − y
    pub(crate) fn learn(
        &mut self,
        residuals: Array1<f64>,
        predicted: ArrayView1<'_, f64>,
        settings: &AdaptiveSearchSettings,
    ) {
        let finite = residuals.iter().all(|value| value.is_finite());
        // A copy's error is about that of its original, where the answers have one already.
        let is_copy = matches!(self.asked, Asked::Copy(_));
        if let (true, Some(x)) = (finite && !is_copy, self.design()) {
            let measured = s![..self.measured];
            let defect = &residuals.slice(measured) - &predicted.slice(measured);
            let answer = Answer { x: x.to_owned(), defect };
            if self.answers.len() == LARGEST_ANSWER_COUNT {
                self.answers.remove(0);
            }
            self.answers.push(answer);
        }
        let loss = if finite { squared_norm(residuals.view()) } else { f64::INFINITY };
        self.is_fresh = false;
        match std::mem::replace(&mut self.asked, Asked::Nothing) {
            Asked::Nothing => {}
            Asked::Opening(x) => {
                self.radius = settings.trust_radius;
                self.failures = 0;
                self.is_descending = false;
                self.correction.fill(0.0);
                let length = settings.error_length.filter(|_| self.answers.len() > 1 && !self.is_solved());
                self.defect = length.map(|length| DefectModel::new(&self.answers, length));
                self.remember(loss, &x);
                self.center = loss.is_finite().then_some(Center { x, residuals, loss });
            }
            Asked::Copy(x) => {
                self.failures = if finite { 0 } else { settings.patience };
                self.is_descending = finite && self.copies.halve(loss);
                if self.is_descending {
                    self.copies.settle();
                }
                if finite {
                    self.copies.measure(&residuals);
                    self.remember(loss, &x);
                    self.center = Some(Center { x, residuals, loss });
                }
            }
            Asked::Step(x, predicted) => {
                self.remember(loss, &x);
                self.learn_from_step(Center { x, residuals, loss }, &predicted);
            }
        }
    }

    fn remember(&mut self, loss: f64, x: &Array1<f64>) {
        if loss.is_finite() && self.best.as_ref().is_none_or(|(lowest, _)| loss < *lowest) {
            self.best = Some((loss, x.clone()));
        }
    }

    fn learn_from_step(&mut self, new: Center, predicted: &Array1<f64>) {
        let Some(center) = &self.center else { return };
        let step = &new.x - &center.x;
        let length = largest_difference(new.x.view(), center.x.view());
        if new.loss.is_finite() {
            // Of an ensemble, every member is corrected: along the step, none is in doubt any more.
            self.correction += &broyden_update(&step, &(&new.residuals - predicted));
        }
        let promised = center.loss - squared_norm(predicted.slice(s![..self.measured]));
        let share = (center.loss - new.loss) / promised;
        if share > 0.75 && length > 0.5 * self.radius {
            self.radius *= 2.0;
        } else if share < 0.25 || share.is_nan() {
            self.radius = 0.25 * length;
        }
        let worthwhile = new.loss <= WORTHWHILE_FACTOR * center.loss;
        self.is_descending = worthwhile;
        if worthwhile {
            self.copies.settle();
        }
        self.failures = if worthwhile { 0 } else { self.failures + 1 };
        if new.loss < center.loss {
            self.center = Some(new);
        }
    }
}

/// Broyden's rank-one update (1965): the least change of the Jacobian that explains what the step has shown.
///
/// Returns s (Δr)ᵀ / ‖s‖², (`dim_x`, `dim_y`), with Δr the surprise: the residuals less what was predicted.
fn broyden_update(step: &Array1<f64>, surprise: &Array1<f64>) -> Array2<f64> {
    let length = step.dot(step);
    let step = if length > 0.0 { step / length } else { Array1::zeros(step.len()) };
    step.insert_axis(Axis(1)).dot(&surprise.view().insert_axis(Axis(0)))
}

/// Whether residuals are more than copies of each other.
fn differ(a: ArrayView1<'_, f64>, b: ArrayView1<'_, f64>) -> bool {
    let size = squared_norm(a).max(squared_norm(b));
    squared_norm((&a - &b).view()) > SAME_RESIDUAL_SHARE.powi(2) * size
}

fn largest_difference(a: ArrayView1<'_, f64>, b: ArrayView1<'_, f64>) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[cfg(test)]
#[path = "adaptive_target_tests.rs"]
mod tests;
