//! What an invertible network is trained by: eq. 13 and its gradient by hand.

use candle_core::{DType, Tensor};
use inverse_core::Stream;

use super::{InvertibleNetwork, Sides};
use crate::latent_sampling::standard_normal;
use crate::nn::{
    ConditionRows, Flow, LossGradients, Mlp, Objective, Pairs, TrainableNetwork, Updates, host_scalar, values,
};
use crate::relabelling::Relabeller;

/// Eq. 13.
pub(super) struct Likelihood {
    pub(super) flow: Flow<Mlp>,
    pub(super) sides: Sides,
    pub(super) settings: InvertibleNetwork,
    pub(super) relabeller: Relabeller,
}

/// What one pass through the flow takes and shall give.
struct Wanted {
    /// Designs and their padding, (rows, width).
    x: Tensor,
    /// Measurements with their noise, (rows, `dim_y`).
    y: Tensor,
}

impl Likelihood {
    fn draw(&self, pairs: &Pairs, noise: &mut Stream) -> candle_core::Result<Wanted> {
        let (sides, settings) = (&self.sides, &self.settings);
        let (rows, device) = (pairs.x.dim(0)?, pairs.x.device());
        let mut draw = |columns: usize, scale: f64| standard_normal(rows, columns, device, noise)? * scale;
        let x = if sides.x_padding > 0 {
            Tensor::cat(&[&pairs.x, &draw(sides.x_padding, settings.padding_noise)?], 1)?
        } else {
            pairs.x.clone()
        };
        let y = if settings.measurement_noise > 0.0 {
            (&pairs.y + draw(sides.y, settings.measurement_noise)?)?
        } else {
            pairs.y.clone()
        };
        Ok(Wanted { x, y })
    }

    /// Eq. 13 of a pass's outcome: output and log-determinants.
    fn loss(
        &self,
        (output, log_determinant): (Tensor, Tensor),
        wanted: &Tensor,
    ) -> candle_core::Result<Tensor> {
        let (sides, settings) = (&self.sides, &self.settings);
        let misfit = (output.narrow(1, 0, sides.y)? - wanted.to_dtype(DType::F64)?)?.sqr()?.sum(1)?;
        let latent = output.narrow(1, sides.y, sides.z)?.sqr()?.sum(1)?;
        let mut likelihood = ((misfit / settings.misfit_variance)? + latent)?;
        if sides.z_padding > 0 {
            let padding = output.narrow(1, sides.y + sides.z, sides.z_padding)?.sqr()?.sum(1)?;
            likelihood = (likelihood + (padding / settings.padding_noise.powi(2))?)?;
        }
        ((likelihood * 0.5)? - log_determinant)?.mean_all()?.to_dtype(DType::F32)
    }

    /// The same loss on the host; turns the output into its gradient.
    fn host_loss(&self, output: &mut [f64], log_determinant: &[f64], wanted: &[f32]) -> f64 {
        let (sides, settings, rows) = (&self.sides, &self.settings, log_determinant.len() as f64);
        let mut loss = -log_determinant.iter().sum::<f64>();
        for (output, wanted) in output.chunks_exact_mut(sides.width()).zip(wanted.chunks_exact(sides.y)) {
            let (measured, rest) = output.split_at_mut(sides.y);
            let (latent, padding) = rest.split_at_mut(sides.z);
            measured.iter_mut().zip(wanted).for_each(|(y, wanted)| *y -= f64::from(*wanted));
            let variances = [settings.misfit_variance, 1.0, settings.padding_noise.powi(2)];
            for (part, variance) in [measured, latent, padding].into_iter().zip(variances) {
                for value in part {
                    loss += 0.5 * *value * *value / variance;
                    *value /= variance * rows;
                }
            }
        }
        loss / rows
    }
}

impl Objective for Likelihood {
    fn stage(&self) -> &'static str {
        "invertible network"
    }

    fn networks(&self) -> Vec<&dyn TrainableNetwork> {
        self.flow.networks()
    }

    fn training_loss(&self, batch: &Pairs, noise: &mut Stream) -> candle_core::Result<Tensor> {
        let Wanted { x, y } = self.draw(&self.relabeller.renew(batch, noise)?, noise)?;
        self.loss(self.flow.forward(&x, None)?, &y)
    }

    fn step(
        &self,
        batch: &Pairs,
        noise: &mut Stream,
        updates: &mut Updates<'_>,
    ) -> candle_core::Result<Tensor> {
        if !batch.x.device().is_cpu() {
            return updates.apply_all(LossGradients::by_candle(self, batch, noise)?);
        }
        let Wanted { x, y } = self.draw(&self.relabeller.renew(batch, noise)?, noise)?;
        let (rows, wanted) = (x.dim(0)?, values(&y)?);
        let x = values(&x)?.into_iter().map(f64::from).collect();
        let condition = ConditionRows::new(rows, None)?;
        let loss =
            |output: &mut [f64], log_determinant: &[f64]| self.host_loss(output, log_determinant, &wanted);
        host_scalar(self.flow.host_step(x, rows, condition.as_condition(), loss, updates)?)
    }

    fn validation_loss(&self, pairs: &Pairs, noise: &mut Stream) -> candle_core::Result<f64> {
        let Wanted { x, y } = self.draw(pairs, noise)?;
        self.loss(self.flow.freeze()?.apply(&x, None)?, &y)?.to_scalar::<f32>().map(f64::from)
    }
}
