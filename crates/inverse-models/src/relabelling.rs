//! Fresh training pairs from a surrogate: designs are moved a little and measured by f̂.
//!
//! A generative model that sees the same 8,000 pairs in every epoch learns them by heart; more pairs would
//! help, but each costs a simulation. A surrogate is accurate long before that: so each batch moves its
//! designs by a small Gaussian step, reflected at the ends of the data, and takes f̂(x) as their measurement.
//! Unlike noise on x alone, the pairs stay consistent, so no accuracy is lost. Our addition: the paper trains
//! on the pairs as they are, which is what models do without this setting.

use candle_core::{Result, Tensor};
use inverse_core::{FitContext, FitError, InvalidArgument, Stream};
use serde::{Deserialize, Serialize};

use crate::device::backend;
use crate::latent_sampling::standard_normal;
use crate::nn::{FrozenMlp, Pairs};
use crate::standardized_data::StandardizedData;
use crate::surrogate::{RegressionSettings, Surrogate};

/// How a model's training pairs are renewed by a surrogate.
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
        if !(self.jitter > 0.0 && self.jitter.is_finite()) {
            return Err(InvalidArgument::new("jitter", "a positive number", self.jitter));
        }
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
    /// Trains the surrogate, if there is to be one.
    pub(crate) fn fit(
        settings: Option<&Relabelling>,
        data: &StandardizedData,
        dataset_hash: &str,
        context: &mut FitContext<'_>,
    ) -> std::result::Result<Self, FitError> {
        let Some(settings) = settings else { return Ok(Self { active: None }) };
        let surrogate = Surrogate::fit_standardized(&settings.surrogate, data, dataset_hash, context)?;
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
        let x = moved.broadcast_sub(low)?.abs()?.broadcast_add(low)?.detach();
        let y = surrogate.forward(&x)?.detach();
        Ok(Pairs { x, y })
    }
}
