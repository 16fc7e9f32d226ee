//! Gradient descent on the input of a fixed network, for many targets and starts at once (eq. 4 and 5).

use candle_core::{Result, Tensor};
use inverse_core::InvalidArgument;
use serde::{Deserialize, Serialize};

use crate::boundary_loss::BoundaryLoss;
use crate::ensemble::loss_and_gradient;
use crate::nn::{FrozenMlp, PLATEAU_THRESHOLD, Schedule};

/// Adam's constants; the paper cites them as published.
const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// How designs descend on the surrogate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputDescentSettings {
    /// Adam steps.
    pub steps: usize,
    /// Learning rate of the first step, in standardised units of x.
    pub learning_rate: f64,
    /// How the rate falls; a plateau is one of the mean loss of a target's starts, so that targets do not
    /// influence each other.
    pub schedule: Schedule,
    /// λ, the weight of the boundary loss of eq. 5, in standardised units; 0 leaves it out (Table 5).
    ///
    /// Any positive weight pulls designs back where they can still meet the target inside the domain. A target
    /// that no design in the domain meets is missed by a squared error that grows as λ².
    pub boundary_weight: f64,
    /// Share of the steps, the last ones, whose matrix products keep all 24 bits of `f32` on a GPU; 1, all of them, by
    /// default.
    ///
    /// Products of the steps before round their factors to 11 bits (TF32), which is about twice as fast. The best
    /// point is then sought among the last steps alone, which makes another choice among designs that the surrogate
    /// cannot tell apart. The processor rounds nothing, whatever this says.
    #[serde(default = "default_full_precision_share")]
    pub full_precision_share: f64,
}

fn default_full_precision_share() -> f64 {
    1.0
}

impl Default for InputDescentSettings {
    fn default() -> Self {
        Self {
            steps: 300,
            learning_rate: 0.1,
            schedule: Schedule::Cosine { last: 1e-4 },
            boundary_weight: 0.01,
            full_precision_share: default_full_precision_share(),
        }
    }
}

impl InputDescentSettings {
    pub(crate) fn validate(&self) -> std::result::Result<(), InvalidArgument> {
        if self.steps == 0 {
            return Err(InvalidArgument::new("steps", "at least 1", 0));
        }
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return Err(InvalidArgument::new("learning_rate", "a positive number", self.learning_rate));
        }
        if !(self.boundary_weight >= 0.0 && self.boundary_weight.is_finite()) {
            let found = self.boundary_weight;
            return Err(InvalidArgument::new("boundary_weight", "a number of at least 0", found));
        }
        if !(0.0..=1.0).contains(&self.full_precision_share) {
            let found = self.full_precision_share;
            return Err(InvalidArgument::new("full_precision_share", "a share from 0 to 1", found));
        }
        self.schedule.validate()
    }
}

/// A descent on one network; all quantities in standardised units.
pub(crate) struct InputDescent<'a> {
    /// One, or the members of an ensemble.
    pub(crate) networks: Vec<&'a FrozenMlp>,
    /// κ of an ensemble.
    pub(crate) disagreement: f64,
    pub(crate) settings: &'a InputDescentSettings,
    /// Weight of each output's squared error.
    pub(crate) weights: &'a [f32],
    pub(crate) boundary: &'a BoundaryLoss,
}

/// The best point that each row saw on its way.
pub(crate) struct DescentEnd {
    /// (rows, `dim_x`).
    pub(crate) designs: Tensor,
    /// Squared error plus boundary loss, (rows).
    pub(crate) losses: Tensor,
    /// Squared error, with the members' disagreement, alone, (rows).
    pub(crate) errors: Tensor,
}

/// Loss and gradient of all rows at one point.
struct Evaluation {
    loss: Tensor,
    error: Tensor,
    gradient: Tensor,
}

impl InputDescent<'_> {
    /// Descends from `starts`, (rows, `dim_x`), towards `y`, (targets, `dim_y`); the rows of a target lie
    /// together, equally many for each.
    pub(crate) fn run(&self, starts: &Tensor, y: &Tensor) -> Result<DescentEnd> {
        #[cfg(feature = "cuda")]
        if starts.device().is_cuda() && self.networks.len() == 1 {
            return self.run_on_cuda(starts, y);
        }
        let (targets, outputs) = y.dims2()?;
        let rows = starts.dim(0)?;
        let y = y.unsqueeze(1)?.broadcast_as((targets, rows / targets, outputs))?;
        let y = &y.contiguous()?.reshape((rows, outputs))?;
        let mut x = starts.clone();
        let mut evaluation = self.evaluate(&x, y)?;
        let mut end = DescentEnd {
            designs: x.clone(),
            losses: evaluation.loss.clone(),
            errors: evaluation.error.clone(),
        };
        let mut first = x.zeros_like()?;
        let mut second = x.zeros_like()?;
        let mut rates = Rates::new(self.settings, targets, &x)?;
        for step in 1..=self.settings.steps {
            let gradient = &evaluation.gradient;
            first = ((first * BETA1)? + (gradient * (1.0 - BETA1))?)?;
            second = ((second * BETA2)? + (gradient.sqr()? * (1.0 - BETA2))?)?;
            let power = step.min(1 << 30) as i32;
            let (bias1, bias2) = (1.0 - BETA1.powi(power), 1.0 - BETA2.powi(power));
            let direction = ((&first / bias1)? / ((&second / bias2)?.sqrt()? + EPSILON)?)?;
            x = (x - rates.scale(&direction)?)?;
            evaluation = self.evaluate(&x, y)?;
            end.keep_better(&x, &evaluation)?;
            rates.advance(step, &evaluation.loss)?;
        }
        Ok(end)
    }

    /// The same, without a round trip to the host between the first step and the last.
    #[cfg(feature = "cuda")]
    fn run_on_cuda(&self, starts: &Tensor, y: &Tensor) -> Result<DescentEnd> {
        use crate::nn::{CudaDescent, CudaPlateau};
        let settings = self.settings;
        let (first, steps) = (settings.learning_rate, settings.steps);
        let (rates, plateau) = match settings.schedule {
            Schedule::Cosine { last } => {
                ((0..steps).map(|step| cosine_rate(settings, last, step) as f32).collect(), None)
            }
            Schedule::Plateau { factor, patience, lowest } => {
                let plateau = CudaPlateau {
                    factor: factor as f32,
                    patience: patience.min(i32::MAX as usize) as i32,
                    lowest: lowest as f32,
                    threshold: PLATEAU_THRESHOLD as f32,
                };
                (vec![first as f32], Some(plateau))
            }
        };
        let exact = (settings.full_precision_share * steps as f64).ceil() as usize;
        let floats = |values: &[f64]| values.iter().map(|value| *value as f32).collect();
        let network = self.networks[0].on_cuda();
        let descent = CudaDescent {
            network: &network,
            weights: self.weights,
            center: floats(&self.boundary.center),
            half_range: floats(&self.boundary.half_range),
            boundary_weight: settings.boundary_weight as f32,
            rates,
            plateau,
            steps,
            rounded_steps: steps - exact.min(steps),
            constants: (BETA1, BETA2, EPSILON),
        };
        let [designs, losses, errors] = descent.run(starts, y)?;
        Ok(DescentEnd { designs, losses, errors })
    }

    fn evaluate(&self, x: &Tensor, y: &Tensor) -> Result<Evaluation> {
        let (error, gradient) = match self.networks[..] {
            [network] => network.error_and_gradient(x, y, self.weights)?,
            _ => loss_and_gradient(&self.networks, x, y, self.weights, self.disagreement)?,
        };
        let weight = self.settings.boundary_weight;
        if weight == 0.0 {
            return Ok(Evaluation { loss: error.clone(), error, gradient });
        }
        let (boundary, boundary_gradient) = self.boundary.value_and_gradient(x)?;
        let loss = (&error + (boundary * weight)?)?;
        let gradient = (gradient + (boundary_gradient * weight)?)?;
        Ok(Evaluation { loss, error, gradient })
    }
}

impl DescentEnd {
    fn keep_better(&mut self, x: &Tensor, evaluation: &Evaluation) -> Result<()> {
        let better = evaluation.loss.lt(&self.losses)?;
        self.designs =
            better.unsqueeze(1)?.broadcast_as(x.shape())?.contiguous()?.where_cond(x, &self.designs)?;
        self.losses = better.where_cond(&evaluation.loss, &self.losses)?;
        self.errors = better.where_cond(&evaluation.error, &self.errors)?;
        Ok(())
    }
}

/// The learning rate: one for all, or one a target where plateaus decide. Everything stays on the device.
enum Rates<'a> {
    Common { settings: &'a InputDescentSettings, last: f64, rate: f64 },
    PerTarget { rate: Tensor, best: Tensor, stale: Tensor, factor: f64, patience: f64, lowest: f64 },
}

impl<'a> Rates<'a> {
    fn new(settings: &'a InputDescentSettings, targets: usize, like: &Tensor) -> Result<Self> {
        let first = settings.learning_rate;
        Ok(match settings.schedule {
            Schedule::Cosine { last } => Self::Common { settings, last, rate: first },
            Schedule::Plateau { factor, patience, lowest } => {
                let fill = |value: f64| Tensor::full(value as f32, (targets, 1, 1), like.device());
                Self::PerTarget {
                    rate: fill(first)?,
                    best: fill(f64::INFINITY)?,
                    stale: fill(0.0)?,
                    factor,
                    patience: patience as f64,
                    lowest: lowest.min(first),
                }
            }
        })
    }

    /// direction · rate.
    fn scale(&self, direction: &Tensor) -> Result<Tensor> {
        match self {
            Self::Common { rate, .. } => direction * *rate,
            Self::PerTarget { rate, .. } => {
                let (rows, columns) = direction.dims2()?;
                let targets = rate.dim(0)?;
                let grouped = direction.reshape((targets, rows / targets, columns))?;
                grouped.broadcast_mul(rate)?.reshape((rows, columns))
            }
        }
    }

    fn advance(&mut self, step: usize, loss: &Tensor) -> Result<()> {
        match self {
            Self::Common { settings, last, rate } => {
                *rate = cosine_rate(settings, *last, step);
            }
            Self::PerTarget { rate, best, stale, factor, patience, lowest } => {
                let targets = rate.dim(0)?;
                let mean = loss.reshape((targets, 1, ()))?.mean_keepdim(2)?;
                let fell = mean.lt(&(&*best * (1.0 - PLATEAU_THRESHOLD))?)?;
                *best = fell.where_cond(&mean, best)?;
                *stale = fell.where_cond(&stale.zeros_like()?, &(&*stale + 1.0)?)?;
                let reduce = stale.gt(*patience)?;
                let reduced = (&*rate * *factor)?.maximum(*lowest)?.minimum(&*rate)?;
                *rate = reduce.where_cond(&reduced, rate)?;
                *stale = reduce.where_cond(&stale.zeros_like()?, stale)?;
            }
        }
        Ok(())
    }
}

/// The rate after `step` steps.
fn cosine_rate(settings: &InputDescentSettings, last: f64, step: usize) -> f64 {
    let progress = step as f64 / settings.steps as f64;
    let height = 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
    last + (settings.learning_rate - last) * height
}
