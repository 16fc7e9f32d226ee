//! Gradient descent on the input of a fixed network, for many targets and starts at once (eq. 4 and 5).

use candle_core::{Result, Tensor};
use inverse_core::InvalidArgument;
use serde::{Deserialize, Serialize};

use crate::boundary_loss::BoundaryLoss;
#[cfg(feature = "cuda")]
use crate::descent_rate::Cosine;
use crate::descent_rate::DescentRate;
#[cfg(feature = "cuda")]
use crate::descent_rows::{BETA1, BETA2, EPSILON};
use crate::descent_rows::{DescentEnd, DescentRows, Evaluation, RestRule};
use crate::ensemble::loss_and_gradient;
#[cfg(feature = "cuda")]
use crate::nn::PLATEAU_THRESHOLD;
use crate::nn::{FrozenMlp, Schedule};

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
    /// A start rests once going on could lower the loss of no proposal by more than this; `None` lets all starts take all
    /// steps, as the paper's do and those of all presets.
    ///
    /// In units of the loss: squared error in standardised units, each y of variance 1. What a start could still gain is
    /// bounded by its gradient's slope over the way that the rates to come allow, and by 0, below which no loss falls: a
    /// bound that is certain where the loss is convex along the way and Adam's steps stay within the rate, as they do
    /// unless gradients grow. A start that cannot get past the last of the asked-for designs by more than the tolerance
    /// rests, and so does one of them that cannot get better; so few proposals from many starts take a part of the time.
    /// Under a plateau schedule, where the starts of a target share a rate, they rest together. On a GPU one network's
    /// starts take all steps, whatever this says. Settings in a file that leave it out have `None`: files of before it
    /// was there keep their meaning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<f64>,
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
            tolerance: Some(1e-8),
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
        if let Some(tolerance) = self.tolerance
            && !(tolerance >= 0.0 && tolerance.is_finite())
        {
            return Err(InvalidArgument::new("tolerance", "a number of at least 0", tolerance));
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
    /// The best end points of each target that will be looked at.
    pub(crate) wanted: usize,
}

impl InputDescent<'_> {
    /// Descends from `starts`, (rows, `dim_x`), towards `y`, (targets, `dim_y`); the rows of a target lie
    /// together, equally many for each.
    pub(crate) fn run(&self, starts: &Tensor, y: &Tensor) -> Result<DescentEnd> {
        #[cfg(feature = "cuda")]
        if starts.device().is_cuda() && self.networks.len() == 1 {
            return self.run_on_cuda(starts, y);
        }
        let targets = y.dim(0)?;
        let mut rows = DescentRows::new(starts, targets)?;
        let mut goals = rows.gather(y)?;
        let mut evaluation = self.evaluate(&rows, &goals)?;
        rows.keep_better(&evaluation);
        let mut rate = DescentRate::new(self.settings, targets);
        for step in 1..=self.settings.steps {
            rows.step(step, &evaluation.gradient, |target| rate.of(target));
            evaluation = self.evaluate(&rows, &goals)?;
            rows.keep_better(&evaluation);
            rate.advance(rows.targets(), &evaluation.loss);
            let Some(tolerance) = self.settings.tolerance else { continue };
            let rule = RestRule { wanted: self.wanted, tolerance, together: rate.is_shared_by_loss() };
            let rested = rows.rest(&mut evaluation, rule, |target| rate.reach(target));
            if rows.is_empty() {
                break;
            }
            if rested {
                goals = rows.gather(y)?;
            }
        }
        Ok(rows.into_end())
    }

    /// The same, without a round trip to the host between the first step and the last.
    #[cfg(feature = "cuda")]
    fn run_on_cuda(&self, starts: &Tensor, y: &Tensor) -> Result<DescentEnd> {
        use crate::nn::{CudaDescent, CudaPlateau};
        let settings = self.settings;
        let (first, steps) = (settings.learning_rate, settings.steps);
        let (rates, plateau) = match settings.schedule {
            Schedule::Cosine { last } => {
                let cosine = Cosine { first, last, steps };
                ((0..steps).map(|step| cosine.rate(step) as f32).collect(), None)
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
        Ok(DescentEnd {
            designs: designs.flatten_all()?.to_vec1()?,
            losses: losses.to_vec1()?,
            errors: errors.to_vec1()?,
        })
    }

    fn evaluate(&self, rows: &DescentRows, y: &Tensor) -> Result<Evaluation> {
        let x = &rows.designs(y.device())?;
        let (error, gradient) = match self.networks[..] {
            [network] => network.error_and_gradient(x, y, self.weights)?,
            _ => loss_and_gradient(&self.networks, x, y, self.weights, self.disagreement)?,
        };
        let weight = self.settings.boundary_weight;
        if weight == 0.0 {
            return Evaluation::new(&error, &error, &gradient);
        }
        let (boundary, boundary_gradient) = self.boundary.value_and_gradient(x)?;
        let loss = (&error + (boundary * weight)?)?;
        let gradient = (gradient + (boundary_gradient * weight)?)?;
        Evaluation::new(&loss, &error, &gradient)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::nn::Activation;

    /// Losses of each target, best first.
    fn ranked(settings: &InputDescentSettings, wanted: usize) -> Vec<Vec<f32>> {
        // y = x₁ + x₂ / 2: the loss is convex, so that the bound is certain.
        let device = &Device::Cpu;
        let layers = vec![(vec![1.0, 0.5], vec![0.0])];
        let network = FrozenMlp::from_layers(layers, Activation::Relu, device).unwrap();
        let boundary = BoundaryLoss { center: vec![0.0; 2], half_range: vec![1.0; 2] };
        let descent = InputDescent {
            networks: vec![&network],
            disagreement: 0.0,
            settings,
            weights: &[1.0],
            boundary: &boundary,
            wanted,
        };
        let starts: Vec<f32> = (0..80).map(|index| ((index * 37 % 80) as f32 - 40.0) / 40.0).collect();
        let starts = Tensor::from_vec(starts, (40, 2), device).unwrap();
        // The second target is out of reach inside the domain, the boundary loss keeps it from 0.
        let y = Tensor::new(&[[0.3_f32], [2.0]], device).unwrap();
        let end = descent.run(&starts, &y).unwrap();
        end.losses
            .chunks(20)
            .map(|losses| {
                let mut losses = losses.to_vec();
                losses.sort_by(f32::total_cmp);
                losses
            })
            .collect()
    }

    #[test]
    fn resting_starts_cost_no_proposal_more_than_the_tolerance() {
        for schedule in
            [Schedule::Cosine { last: 1e-4 }, Schedule::Plateau { factor: 0.5, patience: 5, lowest: 1e-6 }]
        {
            let full = InputDescentSettings { schedule, tolerance: None, ..Default::default() };
            let full_losses = ranked(&full, 20);
            for tolerance in [0.0, 1e-6, 1e-3] {
                let resting = InputDescentSettings { tolerance: Some(tolerance), ..full.clone() };
                for wanted in [1, 5, 20] {
                    let losses = ranked(&resting, wanted);
                    for (losses, full_losses) in losses.iter().zip(&full_losses) {
                        for (loss, full_loss) in losses.iter().zip(full_losses).take(wanted) {
                            let rise = f64::from(loss - full_loss);
                            assert!(rise <= tolerance, "{schedule:?} {tolerance} {wanted}: {rise}");
                        }
                    }
                    // A loose tolerance must show, or nothing has rested.
                    assert_eq!(
                        losses == full_losses,
                        tolerance == 0.0 && wanted == 20,
                        "{tolerance} {wanted}"
                    );
                }
            }
        }
    }
}
