//! One target of an adaptive search: what was tried, what is believed, where to look next.
//!
//! All quantities are standardised: x as the surrogate's input, residuals weighted as in
//! [`WeightedSurrogate`](crate::weighted_surrogate::WeightedSurrogate), so that a loss is a squared norm.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, Zip, s};
use rand::{Rng, RngExt};

use crate::adaptive_neural_adjoint::AdaptiveSearchSettings;
use crate::levenberg_marquardt::{Minimum, squared_norm};
use crate::weighted_surrogate::Reach;

/// A call that lowers the loss by less than this factor counts towards a stall.
const WORTHWHILE_FACTOR: f64 = 0.5;
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
pub(crate) struct Center {
    pub(crate) x: Array1<f64>,
    /// f(x) − y.
    pub(crate) residuals: Array1<f64>,
    pub(crate) loss: f64,
}

/// What the last call is about.
enum Asked {
    Nothing,
    /// A design that opens a basin.
    Opening(Array1<f64>),
    /// A step from the center, and the residuals that the corrected surrogate predicts for it.
    Step(Array1<f64>, Array1<f64>),
}

pub(crate) struct TargetSearch {
    /// Designs that open basins, (n, `dim_x`), best first.
    starts: Array2<f64>,
    /// Residuals that the simulator answers for; those behind them are an ensemble's disagreement.
    measured: usize,
    untried: Vec<usize>,
    tried: Vec<usize>,
    center: Option<Center>,
    /// (loss, x) of the best design of all basins.
    best: Option<(f64, Array1<f64>)>,
    /// C, what Broyden's updates add to the transposed Jacobian of the surrogate, (`dim_x`, `dim_y`).
    pub(crate) correction: Array2<f64>,
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
            center: None,
            best: None,
            correction: Array2::zeros((dim_x, residuals)),
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
        let hopeless = promise > DEAD_END_SHARE * center.loss && !limited && !self.is_descending;
        if length == 0.0 || !step.loss.is_finite() || hopeless {
            return false;
        }
        self.asked = Asked::Step(step.x, step.residuals);
        true
    }

    /// Opens the next basin: the best untried start that is neither near a tried one nor its mirror image.
    ///
    /// * `predict`: the surrogate's residuals at designs, (n, `dim_y`)
    pub(crate) fn open(
        &mut self,
        predict: impl Fn(ArrayView2<'_, f64>) -> Array2<f64>,
        reach: &Reach,
        rng: &mut dyn Rng,
    ) {
        let chosen = match (self.tried.is_empty(), self.untried.is_empty()) {
            (true, false) => Some(0),
            (_, true) => None,
            (false, false) => self.next_distinct(&predict(self.starts.view())),
        };
        let x = if let Some(position) = chosen {
            let start = self.untried.remove(position);
            self.tried.push(start);
            self.starts.row(start).to_owned()
        } else {
            self.random_design(reach, rng)
        };
        self.asked = Asked::Opening(x);
    }

    /// The position among the untried of the first one of a basin that no tried one belongs to.
    fn next_distinct(&self, residuals: &Array2<f64>) -> Option<usize> {
        let apart =
            |a: usize, b: usize| largest_difference(self.starts.row(a), self.starts.row(b)) > SAME_BASIN;
        let differ = |a: usize, b: usize| {
            let (a, b) = (residuals.row(a), residuals.row(b));
            let size = squared_norm(a).max(squared_norm(b));
            squared_norm((&a - &b).view()) > SAME_RESIDUAL_SHARE.powi(2) * size
        };
        let first = |new: &dyn Fn(usize, usize) -> bool| {
            self.untried.iter().position(|&start| self.tried.iter().all(|&tried| new(start, tried)))
        };
        first(&|a, b| apart(a, b) && differ(a, b)).or_else(|| first(&apart))
    }

    /// Where all basins are used up: a design near the best one.
    fn random_design(&self, reach: &Reach, rng: &mut dyn Rng) -> Array1<f64> {
        let size = (&reach.upper - &reach.lower) * 0.1;
        let center = match &self.best {
            Some((_, x)) => x.clone(),
            None => (&reach.lower + &reach.upper) * 0.5,
        };
        let mut x = center + size.mapv(|size| size * rng.random_range(-1.0..=1.0));
        Zip::from(&mut x).and(&reach.lower).and(&reach.upper).for_each(|x, lower, upper| {
            *x = x.max(*lower).min(*upper);
        });
        x
    }

    /// The design that was asked for.
    pub(crate) fn design(&self) -> Option<ArrayView1<'_, f64>> {
        match &self.asked {
            Asked::Nothing => None,
            Asked::Opening(x) | Asked::Step(x, _) => Some(x.view()),
        }
    }

    /// Whether no answer came yet: what is asked for is the first start.
    pub(crate) fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    /// Learns from an answer: f(x) − y at the asked design, not finite where there was no answer.
    pub(crate) fn learn(&mut self, residuals: Array1<f64>, settings: &AdaptiveSearchSettings) {
        let finite = residuals.iter().all(|value| value.is_finite());
        let loss = if finite { squared_norm(residuals.view()) } else { f64::INFINITY };
        self.is_fresh = false;
        match std::mem::replace(&mut self.asked, Asked::Nothing) {
            Asked::Nothing => {}
            Asked::Opening(x) => {
                self.radius = settings.trust_radius;
                self.failures = 0;
                self.is_descending = false;
                self.correction.fill(0.0);
                self.remember(loss, &x);
                self.center = loss.is_finite().then_some(Center { x, residuals, loss });
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

fn largest_difference(a: ArrayView1<'_, f64>, b: ArrayView1<'_, f64>) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use inverse_core::RandomStreams;
    use ndarray::array;

    use super::*;

    fn reach() -> Reach {
        Reach { lower: array![-1.0, -1.0], upper: array![1.0, 1.0] }
    }

    fn search() -> TargetSearch {
        // The second start is a neighbour of the first, the third its mirror image, the fourth another basin.
        let starts = array![[0.5, 0.0], [0.51, 0.0], [-0.5, 0.0], [0.0, 0.8]];
        TargetSearch::new(starts, 1, 1)
    }

    fn predict(x: ArrayView2<'_, f64>) -> Array2<f64> {
        Array2::from_shape_fn((x.nrows(), 1), |(row, _)| x[[row, 0]].abs() + 3.0 * x[[row, 1]])
    }

    fn open(search: &mut TargetSearch) -> Array1<f64> {
        let mut rng = RandomStreams::new(1).stream("search", 0);
        search.open(predict, &reach(), &mut rng);
        search.design().unwrap().to_owned()
    }

    #[test]
    fn basins_are_opened_from_the_most_distinct_on() {
        let settings = AdaptiveSearchSettings::default();
        let mut search = search();
        assert_eq!(open(&mut search), array![0.5, 0.0]);
        assert!(search.is_fresh());
        search.learn(array![f64::NAN], &settings);
        assert!(search.promising_center(&settings).is_none(), "no answer, no basin");
        assert_eq!(open(&mut search), array![0.0, 0.8]);
        search.learn(array![2.0], &settings);
        assert_eq!(open(&mut search), array![-0.5, 0.0], "a mirror image comes last");
        search.learn(array![1.0], &settings);
        let last = open(&mut search);
        assert!(largest_difference(last.view(), array![-0.5, 0.0].view()) <= 0.2, "near the best: {last}");
    }

    #[test]
    fn surprises_correct_the_jacobian_along_the_step() {
        let settings = AdaptiveSearchSettings::default();
        let mut search = search();
        open(&mut search);
        search.learn(array![1.0], &settings);
        let step = Minimum { x: array![0.7, 0.1], residuals: array![0.2], loss: 0.04 };
        assert!(search.take_step(step));
        search.learn(array![0.5], &settings);
        // C s is what the prediction lacked, and C is 0 across s.
        let correction = search.correction.t().to_owned();
        assert_abs_diff_eq!(correction.dot(&array![0.2, 0.1]), array![0.3], epsilon = 1e-15);
        assert_abs_diff_eq!(correction.dot(&array![-0.1, 0.2]), array![0.0], epsilon = 1e-15);
        assert_eq!(search.center.as_ref().unwrap().loss, 0.25);
    }

    #[test]
    fn failures_shrink_the_region_and_stall_the_basin() {
        let settings = AdaptiveSearchSettings::default();
        let mut search = search();
        open(&mut search);
        search.learn(array![1.0], &settings);
        for failure in 1..=settings.patience {
            assert!(search.promising_center(&settings).is_some());
            let step =
                Minimum { x: array![0.5 + 0.4 / failure as f64, 0.0], residuals: array![0.0], loss: 0.0 };
            assert!(search.take_step(step));
            search.learn(array![f64::NAN], &settings);
            assert_abs_diff_eq!(search.radius, 0.1 / failure as f64, epsilon = 1e-12);
        }
        assert!(search.promising_center(&settings).is_none());
        assert!(search.correction.iter().all(|value| *value == 0.0), "nothing is learnt from no answer");
    }

    #[test]
    fn dead_ends_and_steps_to_nowhere_are_refused() {
        let settings = AdaptiveSearchSettings::default();
        let mut search = search();
        open(&mut search);
        search.learn(array![1.0], &settings);
        let step = |x: f64, loss: f64| Minimum { x: array![x, 0.0], residuals: array![loss.sqrt()], loss };
        assert!(!search.take_step(step(0.6, 0.95)));
        assert!(!search.take_step(step(0.5, 0.0)));
        assert!(search.take_step(step(0.5 - settings.trust_radius, 0.95)), "the region limits this one");
    }
}
