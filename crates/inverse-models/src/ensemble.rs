//! Ensembles of surrogates, whose disagreement tells where a surrogate makes things up.
//!
//! The paper's boundary loss (eq. 5) keeps designs where training designs were, whatever the surrogate says there. Networks
//! that differ in their first weights alone agree where data held them together and part where it did not
//! (Lakshminarayanan et al. 2017). With M members f̂_m and their mean f̄, designs descend on
//!
//! ```text
//! mean_j [(f̄_j(x) − y_j)² + κ Var_m f̂_mj(x)],
//! ```
//!
//! which for κ = 1 is the members' mean squared error. A design that the members do not agree on ranks lower.

use candle_core::{Result, Tensor, Var, bail};
use inverse_core::{Dataset, FitContext, FitError, InvalidArgument};
use serde::{Deserialize, Serialize};

use crate::member_contexts::MemberContexts;
use crate::nn::FrozenMlp;
use crate::standardized_data::StandardizedData;
use crate::surrogate::{RegressionSettings, Surrogate};

/// A mistyped count fails with a message, not after days.
pub(crate) const LARGEST_MEMBER_COUNT: usize = 64;

/// An ensemble of surrogates in place of one: the field [`NeuralAdjoint::ensemble`](crate::NeuralAdjoint::ensemble).
///
/// Adaptive searches and refinements of such a model take the disagreement in, too; it is kept in the model's file.
///
/// ```
/// use inverse_core::{BoxPrior, Dataset, FitContext, FnSimulator, Method, RandomStreams, SimulatedTask};
/// use inverse_models::{EnsembleSettings, NeuralAdjoint};
///
/// let parabola = FnSimulator::new(1, 1, |x, y| y[0] = x[0] * x[0])?;
/// let task = SimulatedTask::new("parabola", parabola, BoxPrior::new(&[-1.0], &[1.0])?)?;
/// let data = Dataset::from_task(&task, 500, &mut RandomStreams::new(0).stream("data", 0))?;
/// let ensemble = Some(EnsembleSettings { members: 3, ..EnsembleSettings::default() });
/// let mut method = NeuralAdjoint { ensemble, ..NeuralAdjoint::default() };
/// method.surrogate.hidden = vec![32];
/// method.surrogate.training.epochs = 30;
/// method.surrogate.training.batch_size = 50;
/// let model = method.fit(&data, &mut FitContext::new(0))?;
/// // Where there was data the members agree; far away they do not.
/// let (_, variance) = model.predict_with_disagreement(ndarray::array![[0.5], [5.0]].view())?;
/// assert!(variance[[0, 0]] < 0.1 * variance[[1, 0]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnsembleSettings {
    /// Networks, 2 to 64; each is trained on the same pairs, from first weights of its own.
    pub members: usize,
    /// κ, the weight of the variance of the members' predictions beside the squared error of their mean; 0 only averages.
    pub disagreement_weight: f64,
}

impl Default for EnsembleSettings {
    fn default() -> Self {
        Self { members: 5, disagreement_weight: 1.0 }
    }
}

impl EnsembleSettings {
    pub(crate) fn validate(&self) -> std::result::Result<(), InvalidArgument> {
        if !(2..=LARGEST_MEMBER_COUNT).contains(&self.members) {
            let expected = format!("2 to {LARGEST_MEMBER_COUNT}");
            return Err(InvalidArgument::new("members", expected, self.members));
        }
        if !(self.disagreement_weight >= 0.0 && self.disagreement_weight.is_finite()) {
            let found = self.disagreement_weight;
            return Err(InvalidArgument::new("disagreement_weight", "a number of at least 0", found));
        }
        Ok(())
    }
}

/// Trains the members beside the first, each with streams and checkpoints of its own.
pub(crate) fn fit_others(
    settings: &RegressionSettings,
    members: usize,
    data: &Dataset,
    context: &mut FitContext<'_>,
) -> std::result::Result<Vec<Surrogate>, FitError> {
    settings.validate(data.x().ncols(), data.y().ncols())?;
    // One split and one standardisation for all: their outputs can be averaged.
    let pairs = StandardizedData::new(data, settings.training.validation_share, context)?;
    let identity = data.content_hash();
    let mut others = Vec::new();
    let own = MemberContexts::of(context, "surrogate member");
    for index in 1..members {
        let mut member = own.context(index).with_observer(context.observer());
        others.push(Surrogate::fit_first(settings, &pairs, &identity, &mut member)?);
    }
    Ok(others)
}

/// Loss and input gradient of an ensemble, by automatic differentiation.
///
/// * `x`: (rows, inputs), `y`: (rows, outputs), standardised
/// * `weights`: of each output's squared error, (outputs)
/// * `disagreement`: κ
///
/// Returns the loss of each row, (rows), and its gradient, (rows, inputs).
pub(crate) fn loss_and_gradient(
    networks: &[&FrozenMlp],
    x: &Tensor,
    y: &Tensor,
    weights: &[f32],
    disagreement: f64,
) -> Result<(Tensor, Tensor)> {
    let x = Var::from_tensor(x)?;
    let predictions: Vec<Tensor> =
        networks.iter().map(|network| network.forward(x.as_tensor())).collect::<Result<_>>()?;
    let predictions = Tensor::stack(&predictions, 0)?;
    let mean = predictions.mean(0)?;
    let mut squares = (&mean - y)?.sqr()?;
    if disagreement > 0.0 {
        let variance = predictions.broadcast_sub(&mean)?.sqr()?.mean(0)?;
        squares = (squares + (variance * disagreement)?)?;
    }
    let loss = squares.broadcast_mul(&Tensor::new(weights, x.device())?)?.sum(1)?;
    let gradients = loss.sum_all()?.backward()?;
    let Some(gradient) = gradients.get(&x) else { bail!("candle returned no input gradient") };
    Ok((loss.detach(), gradient.clone()))
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;
    use candle_core::Device;

    use super::*;
    use crate::nn::Activation;

    /// y = a x + b.
    fn line(a: f32, b: f32) -> FrozenMlp {
        FrozenMlp::from_layers(vec![(vec![a], vec![b])], Activation::Relu, &Device::Cpu).unwrap()
    }

    #[test]
    fn the_loss_is_error_and_variance() {
        let (first, second) = (line(1.0, 0.0), line(3.0, 1.0));
        let x = Tensor::from_slice(&[2.0_f32], (1, 1), &Device::Cpu).unwrap();
        let y = Tensor::from_slice(&[4.0_f32], (1, 1), &Device::Cpu).unwrap();
        // Predictions 2 and 7: mean 4.5, variance 6.25; slopes 1 and 3: mean 2, of the variance 2 · 2.5 · 1.
        for (disagreement, loss, slope) in [(0.0, 0.25, 2.0), (1.0, 6.5, 7.0), (2.0, 12.75, 12.0)] {
            let (value, gradient) =
                loss_and_gradient(&[&first, &second], &x, &y, &[1.0], disagreement).unwrap();
            assert_relative_eq!(value.to_vec1::<f32>().unwrap()[0], loss);
            assert_relative_eq!(gradient.to_vec2::<f32>().unwrap()[0][0], slope);
        }
    }

    #[test]
    fn settings_are_checked() {
        let default = EnsembleSettings::default();
        assert!(default.validate().is_ok());
        let one = EnsembleSettings { members: 1, ..default.clone() };
        assert_eq!(one.validate().unwrap_err().argument, "members");
        let negative = EnsembleSettings { disagreement_weight: -1.0, ..default };
        assert_eq!(negative.validate().unwrap_err().argument, "disagreement_weight");
    }
}
