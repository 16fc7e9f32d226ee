//! The boundary loss L_bnd (eq. 5): what keeps designs where the surrogate was trained.

use candle_core::{D, Device, Result, Tensor};
use inverse_core::{Domain, Standardizer};

/// The domain in standardised units, and the loss of leaving it.
#[derive(Debug, Clone)]
pub(crate) struct BoundaryLoss {
    /// μ_x, (`dim_x`).
    pub(crate) center: Vec<f64>,
    /// R_x / 2, (`dim_x`).
    pub(crate) half_range: Vec<f64>,
}

impl BoundaryLoss {
    pub(crate) fn new(domain: &Domain, x: &Standardizer) -> Self {
        let (mean, scale) = (x.mean(), x.scale());
        let center = (&domain.center() - &mean) / scale;
        let half_range = &domain.range() / &scale * 0.5;
        Self { center: center.to_vec(), half_range: half_range.to_vec() }
    }

    /// Σ_i ReLU(|x_i − μ_i| − R_i / 2) of each row, (rows); differentiable by candle.
    pub(crate) fn value(&self, x: &Tensor) -> Result<Tensor> {
        self.excess(&self.offset(x)?)?.sum(D::Minus1)
    }

    /// The loss of each row, (rows), and its gradient, (rows, `dim_x`).
    pub(crate) fn value_and_gradient(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let offset = self.offset(x)?;
        let excess = self.excess(&offset)?;
        // The derivative of ReLU(|x − μ| − R / 2) is the sign of x − μ outside the domain and 0 inside.
        let outside = excess.gt(0.0)?.to_dtype(x.dtype())?;
        Ok((excess.sum(D::Minus1)?, (offset.sign()? * outside)?))
    }

    fn offset(&self, x: &Tensor) -> Result<Tensor> {
        x.broadcast_sub(&row(&self.center, x.device())?)
    }

    fn excess(&self, offset: &Tensor) -> Result<Tensor> {
        offset.abs()?.broadcast_sub(&row(&self.half_range, offset.device())?)?.relu()
    }
}

fn row(values: &[f64], device: &Device) -> Result<Tensor> {
    let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
    let columns = values.len();
    Tensor::from_vec(values, (1, columns), device)
}
