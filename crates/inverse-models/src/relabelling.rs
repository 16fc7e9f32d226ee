//! Fresh training pairs from a surrogate: designs are moved a little and measured by f̂.
//!
//! A generative model that sees the same 8,000 pairs in every epoch learns them by heart; more pairs would
//! help, but each costs a simulation. A surrogate is accurate long before that: so each batch moves its
//! designs by a small Gaussian step, reflected at the ends of the data, and takes f̂(x) as their measurement.
//! Unlike noise on x alone, the pairs stay consistent: proposals meet their targets as well. Our addition: the paper
//! trains on the pairs as they are, which is what models do without this setting.

use candle_core::{Result, Tensor};
use inverse_core::{FitContext, FitError, InvalidArgument, Stream};
use serde::{Deserialize, Serialize};

use crate::device::backend;
use crate::fitted::check_positive;
use crate::latent_sampling::standard_normal;
use crate::nn::{FrozenMlp, Pairs};
use crate::standardized_data::StandardizedData;
use crate::surrogate::{RegressionSettings, Surrogate};

/// How a model's training pairs are renewed by a surrogate.
///
/// It is for simulators whose measurements are free of noise, and for low errors of proposals. It replaces y by f̂(x), so that a
/// model learns nothing of noise in y; and its steps make the prior broader, so that a model's densities are less sharp than
/// they could be. Leave it out where draws of p(x | y) are wanted, or where y is measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relabelling {
    /// The surrogate, trained first on the same pairs.
    pub surrogate: RegressionSettings,
    /// Standard deviation of a design's step, in units of the designs' own.
    pub jitter: f64,
}

impl Relabelling {
    pub(crate) fn validate(&self) -> std::result::Result<(), InvalidArgument> {
        check_positive("jitter", self.jitter)?;
        // The widths of the data are not known here; those of the hidden layers are all that can be wrong.
        self.surrogate.shape(1, 1).validate()?;
        self.surrogate.training.validate()
    }
}

/// Renews batches; leaves them as they are where no relabelling was asked for.
pub(crate) struct Relabeller {
    active: Option<Active>,
}

struct Active {
    surrogate: FrozenMlp,
    jitter: f64,
    /// Ends of the training designs, (1, `dim_x`).
    low: Tensor,
    high: Tensor,
}

impl Relabeller {
    /// Leaves batches as they are.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self { active: None }
    }

    /// Trains the surrogate, if there is to be one.
    pub(crate) fn fit(
        settings: Option<&Relabelling>,
        data: &StandardizedData,
        dataset_hash: &str,
        context: &mut FitContext<'_>,
    ) -> std::result::Result<Self, FitError> {
        let Some(settings) = settings else { return Ok(Self { active: None }) };
        // The method holds out pairs by its own share, not by the surrogate's.
        let held_out = data.validation.x.dim(0).map_err(backend)?;
        let identity = format!("{dataset_hash} {held_out}");
        let surrogate = Surrogate::fit_first(&settings.surrogate, data, &identity, context)?;
        let low = data.training.x.min_keepdim(0).map_err(backend)?;
        let high = data.training.x.max_keepdim(0).map_err(backend)?;
        let active = Active { surrogate: surrogate.network, jitter: settings.jitter, low, high };
        Ok(Self { active: Some(active) })
    }

    /// A batch of fresh pairs near those of `batch`.
    pub(crate) fn renew(&self, batch: &Pairs, noise: &mut Stream) -> Result<Pairs> {
        let Some(Active { surrogate, jitter, low, high }) = &self.active else { return Ok(batch.clone()) };
        let (rows, columns) = batch.x.dims2()?;
        let step = (standard_normal(rows, columns, batch.x.device(), noise)? * *jitter)?;
        let moved = (&batch.x + step)?;
        // Reflection: high − |high − x| above, low + |x − low| below.
        let moved = high.broadcast_sub(&high.broadcast_sub(&moved)?.abs()?)?;
        let x = moved.broadcast_sub(low)?.abs()?.broadcast_add(low)?;
        // A step longer than the range is reflected out at the other end; a column that does not vary has none.
        let x = x.broadcast_maximum(low)?.broadcast_minimum(high)?.detach();
        let y = surrogate.forward(&x)?.detach();
        Ok(Pairs { x, y })
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};
    use inverse_core::RandomStreams;

    use super::*;
    use crate::gradient_check::random_pairs;
    use crate::nn::{Activation, Mlp, MlpSettings};

    #[test]
    fn steps_longer_than_the_range_stay_inside() {
        let shape = MlpSettings {
            inputs: 3,
            hidden: vec![4],
            outputs: 1,
            activation: Activation::Tanh,
            batch_norm: false,
        };
        let mut stream = RandomStreams::new(1).stream("weights", 0);
        let surrogate = Mlp::new(&shape, &Device::Cpu, &mut stream).unwrap().freeze().unwrap();
        let pairs = random_pairs(500, 3, 1);
        // One column as usual, one narrower than a step, one that does not vary.
        let end = |values: [f32; 3]| Tensor::new(&[values], &Device::Cpu).unwrap();
        let (low, high) = (end([-1.0, -0.1, 0.0]), end([1.0, 0.1, 0.0]));
        let x = pairs.x.broadcast_maximum(&low).unwrap().broadcast_minimum(&high).unwrap();
        let active = Active { surrogate, jitter: 5.0, low, high };
        let fresh = Relabeller { active: Some(active) }.renew(&Pairs { x, ..pairs }, &mut stream).unwrap();
        for row in fresh.x.to_vec2::<f32>().unwrap() {
            assert!(row[0].abs() <= 1.0 && row[1].abs() <= 0.1 && row[2] == 0.0, "{row:?}");
        }
    }

    #[test]
    fn renewed_pairs_stay_inside_and_agree_with_the_surrogate() {
        let shape = MlpSettings {
            inputs: 2,
            hidden: vec![8],
            outputs: 1,
            activation: Activation::Tanh,
            batch_norm: false,
        };
        let mut stream = RandomStreams::new(1).stream("weights", 0);
        let surrogate = Mlp::new(&shape, &Device::Cpu, &mut stream).unwrap().freeze().unwrap();
        let pairs = random_pairs(500, 2, 1);
        let x = pairs.x.clamp(-1.0, 1.0).unwrap();
        let pairs = Pairs { x, ..pairs };
        let end = |value: f32| Tensor::new(&[[value; 2]], &Device::Cpu).unwrap();
        let (low, high) = (end(-1.0), end(1.0));
        let active = Active { surrogate: surrogate.clone(), jitter: 0.1, low, high };
        let relabeller = Relabeller { active: Some(active) };
        let fresh = relabeller.renew(&pairs, &mut stream).unwrap();
        assert!(fresh.x.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap() <= 1.0);
        let moved = (&fresh.x - &pairs.x).unwrap().sqr().unwrap().mean_all().unwrap();
        let moved = f64::from(moved.to_scalar::<f32>().unwrap()).sqrt();
        // Reflection shortens some steps, and 0.1 is their deviation before it.
        assert!((0.06..0.11).contains(&moved), "{moved}");
        let difference = (surrogate.forward(&fresh.x).unwrap() - &fresh.y).unwrap();
        assert_eq!(difference.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap(), 0.0);
        assert!(Relabelling { surrogate: RegressionSettings::default(), jitter: 0.0 }.validate().is_err());
    }
}
