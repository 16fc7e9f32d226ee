//! A surrogate's misfit as a least-squares problem, on the host.

use ndarray::{Array, Array1, Array2, ArrayView1, ArrayView2, Axis, RemoveAxis, Zip, s};
use rayon::prelude::*;

use crate::boundary_loss::BoundaryLoss;
use crate::host_network::{Evaluation, JacobianNetwork};
use crate::levenberg_marquardt::{Bounds, LevenbergMarquardtSettings, Minimum, minimize};
use crate::surrogate::Surrogate;

/// Starts that descend together: their tangents in one layer stay in a core's second-level cache.
const BLOCK: usize = 64;

/// f̂ between standardised x and standardised y, each y weighted so that ‖√w (f̂(x) − y)‖² is the mean squared error
/// in the proportions of the units of y, as the descent of [`NeuralAdjoint`](crate::NeuralAdjoint) measures it.
///
/// An ensemble adds residuals: its values are √w f̄(x) and, behind it, √(κ w / M) (f̂_m(x) − f̄(x)) of each member, so that
/// the squared norm takes in their variance.
pub(crate) struct WeightedSurrogate<N> {
    networks: Vec<N>,
    /// κ.
    disagreement: f64,
    /// √w, (`dim_y`).
    roots: Array1<f64>,
    /// What turns ‖·‖² into the mean squared error in units of y².
    pub(crate) unit: f64,
}

/// The box that designs may move in, in standardised units.
#[derive(Debug, Clone)]
pub(crate) struct Reach {
    pub(crate) lower: Array1<f64>,
    pub(crate) upper: Array1<f64>,
}

impl Reach {
    /// The domain, and beyond it as far as training designs went: there, too, the surrogate has seen the simulator.
    pub(crate) fn new(boundary: &BoundaryLoss, designs: &Array2<f32>) -> Self {
        let center = Array1::from(boundary.center.clone());
        let half = Array1::from(boundary.half_range.clone());
        let (mut lower, mut upper) = (&center - &half, center + half);
        for design in designs.rows() {
            Zip::from(&mut lower).and(&design).for_each(|lower, x| *lower = lower.min(f64::from(*x)));
            Zip::from(&mut upper).and(&design).for_each(|upper, x| *upper = upper.max(f64::from(*x)));
        }
        Self { lower, upper }
    }

    /// Moves a design to the nearest one within.
    pub(crate) fn clamp(&self, x: &mut Array1<f64>) {
        Zip::from(x)
            .and(&self.lower)
            .and(&self.upper)
            .for_each(|x, lower, upper| *x = x.max(*lower).min(*upper));
    }

    /// The same box for several problems.
    pub(crate) fn bounds(&self, problems: usize) -> Bounds {
        let repeat =
            |row: &Array1<f64>| Array2::from_shape_fn((problems, row.len()), |(_, column)| row[column]);
        Bounds { lower: repeat(&self.lower), upper: repeat(&self.upper) }
    }
}

impl<N: JacobianNetwork> WeightedSurrogate<N> {
    /// The surrogate in host memory.
    ///
    /// # Errors
    /// Where its device does not give the weights back.
    pub(crate) fn new(members: &[&Surrogate], disagreement: f64) -> candle_core::Result<Self> {
        let [first, ..] = members else { candle_core::bail!("a surrogate without members") };
        let (weights, unit) = first.error_weights();
        let roots = weights.iter().map(|weight| f64::from(*weight).sqrt()).collect();
        let networks = members.iter().map(|member| N::of(&member.network)).collect::<Result<_, _>>()?;
        Ok(Self { networks, disagreement, roots, unit })
    }

    /// Residuals of a design: `dim_y`, and as many for each member whose disagreement counts.
    pub(crate) fn width(&self) -> usize {
        let blocks = if self.disagreement > 0.0 && self.networks.len() > 1 { self.networks.len() } else { 0 };
        self.roots.len() * (1 + blocks)
    }

    /// √w y for standardised y, (rows, `width`): where y ends there are zeros.
    pub(crate) fn weighted(&self, y: ArrayView2<'_, f64>) -> Array2<f64> {
        let mut weighted = Array2::zeros((y.nrows(), self.width()));
        weighted.slice_mut(s![.., ..self.roots.len()]).assign(&(&y * &self.roots));
        weighted
    }

    /// The values at x, (rows, `width`).
    pub(crate) fn values(&self, x: ArrayView2<'_, f64>) -> Array2<f64> {
        let mut members: Vec<Array2<f64>> = self.networks.iter().map(|network| network.values(x)).collect();
        for values in &mut members {
            *values *= &self.roots;
        }
        self.spread(members, Axis(1))
    }

    /// The values at x and their transposed Jacobians.
    pub(crate) fn evaluate(&self, x: ArrayView2<'_, f64>) -> Evaluation {
        let (mut values, mut jacobians) = (Vec::new(), Vec::new());
        for network in &self.networks {
            let evaluation = network.evaluate(x);
            values.push(evaluation.values * &self.roots);
            jacobians.push(evaluation.jacobian * &self.roots);
        }
        Evaluation { values: self.spread(values, Axis(1)), jacobian: self.spread(jacobians, Axis(2)) }
    }

    /// The members' mean and, along that axis behind it, their weighted differences from it.
    fn spread<D: RemoveAxis>(&self, mut members: Vec<Array<f64, D>>, axis: Axis) -> Array<f64, D> {
        let count = members.len() as f64;
        let Some(mut mean) = members.pop() else { return Array::default(D::default()) };
        if members.is_empty() {
            return mean;
        }
        let last = mean.clone();
        for member in &members {
            mean += member;
        }
        mean /= count;
        let blocks = self.width() / self.roots.len() - 1;
        if blocks == 0 {
            return mean;
        }
        members.push(last);
        let factor = (self.disagreement / count).sqrt();
        let mut shape = mean.raw_dim();
        shape[axis.index()] *= 1 + blocks;
        let mut spread = Array::zeros(shape);
        for (mut block, index) in spread.axis_chunks_iter_mut(axis, self.roots.len()).zip(0..) {
            match index {
                0 => block.assign(&mean),
                index => block.assign(&((&members[index - 1] - &mean) * factor)),
            }
        }
        spread
    }

    /// Descends from `starts`, (rows, `dim_x`), to the minima of ‖√w f̂(x) − target‖², one a start.
    ///
    /// * `target`: √w y, (`width`), as [`Self::weighted`] gives it
    pub(crate) fn descend(
        &self,
        starts: ArrayView2<'_, f64>,
        target: ArrayView1<'_, f64>,
        reach: &Reach,
        settings: &LevenbergMarquardtSettings,
    ) -> Vec<Minimum> {
        let blocks: Vec<_> = starts.axis_chunks_iter(Axis(0), BLOCK).collect();
        let ends: Vec<Vec<Minimum>> = blocks
            .into_par_iter()
            .map(|starts| {
                minimize(&starts.to_owned(), &reach.bounds(starts.nrows()), settings, |_, x| {
                    let mut evaluation = self.evaluate(x);
                    evaluation.values -= &target;
                    evaluation
                })
            })
            .collect();
        ends.concat()
    }
}

/// End points of starts, ranked as section 3 ranks them: by squared error plus boundary loss.
pub(crate) struct RankedEnds {
    /// Standardised designs, (n, `dim_x`), best first.
    pub(crate) designs: Array2<f64>,
    /// Their squared errors by the surrogate, (n).
    pub(crate) errors: Vec<f64>,
}

impl RankedEnds {
    /// The best `n` of `ends`; ties keep the order of the starts.
    pub(crate) fn new(ends: &[Minimum], n: usize, boundary: &BoundaryLoss, weight: f64) -> Self {
        let excess = |end: &Minimum| -> f64 {
            let box_of = boundary.center.iter().zip(&boundary.half_range);
            end.x.iter().zip(box_of).map(|(x, (center, half))| ((x - center).abs() - half).max(0.0)).sum()
        };
        let losses: Vec<f64> = ends.iter().map(|end| end.loss + weight * excess(end)).collect();
        let mut order: Vec<usize> = (0..ends.len()).collect();
        order.sort_by(|a, b| losses[*a].total_cmp(&losses[*b]));
        order.truncate(n);
        let mut designs = Array2::zeros((order.len(), boundary.center.len()));
        for (row, end) in order.iter().enumerate() {
            designs.slice_mut(s![row, ..]).assign(&ends[*end].x);
        }
        Self { designs, errors: order.iter().map(|end| ends[*end].loss).collect() }
    }
}
