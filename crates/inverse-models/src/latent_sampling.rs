//! Proposals of models that turn a Gaussian latent and a target into a design: x̂ = f̂⁻¹(y, z) (section 1.1).

use candle_core::{Device, Result, Tensor};
use inverse_core::{Proposals, ProposeError, RandomStreams, Standardizer, Stream, check_request};
use ndarray::{Array2, Array3, ArrayView2, s};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::device::propose_backend;
use crate::fitted::DesignRange;
use crate::nn::repeated;
use crate::standardized_data::{array, tensor};

/// No model makes more proposals for one target; a mistyped count fails with a message.
pub(crate) const LARGEST_PROPOSAL_COUNT: usize = 1 << 20;

/// Rows that are decoded together: it bounds the memory whatever the number of targets.
const GROUP_ROWS: usize = 1 << 14;

/// Independent draws of N(0, 1).
pub(crate) fn standard_normal(
    rows: usize,
    columns: usize,
    device: &Device,
    stream: &mut Stream,
) -> Result<Tensor> {
    let draws: Vec<f32> = StandardNormal.sample_iter(stream).take(rows * columns).collect();
    Tensor::from_vec(draws, (rows, columns), device)
}

/// One stream a target, whose seeds are drawn in order: a target's draws depend on no later target.
pub(crate) fn target_streams(targets: usize, rng: &mut dyn Rng) -> Vec<Stream> {
    (0..targets).map(|_| RandomStreams::new(rng.next_u64()).stream("latent", 0)).collect()
}

/// The targets of rows that are decoded together.
pub(crate) struct Targets {
    /// (distinct targets, `dim_y`), standardised.
    pub(crate) distinct: Tensor,
    /// Which of them each row has.
    pub(crate) of_row: Vec<usize>,
}

impl Targets {
    /// Each row's target, (rows, `dim_y`).
    pub(crate) fn repeated(&self) -> Result<Tensor> {
        repeated(&self.distinct, &self.of_row)
    }
}

/// Where latents and targets become designs.
pub(crate) struct LatentSampler<'a> {
    pub(crate) x: &'a Standardizer,
    pub(crate) y: &'a Standardizer,
    pub(crate) range: &'a DesignRange,
    pub(crate) device: &'a Device,
    /// Number of latent variables of one design.
    pub(crate) latent: usize,
}

impl LatentSampler<'_> {
    /// `n` designs for each target.
    ///
    /// * `decode`: (z, y) → x, (rows, latent) and each row's target to (rows, `dim_x`), standardised
    pub(crate) fn propose(
        &self,
        y: ArrayView2<'_, f64>,
        n: usize,
        rng: &mut dyn Rng,
        decode: impl Fn(&Tensor, &Targets) -> Result<Tensor>,
    ) -> std::result::Result<Proposals, ProposeError> {
        check_request(y, self.y.width(), n, LARGEST_PROPOSAL_COUNT)?;
        let targets = self.y.transform(y)?;
        let mut streams = target_streams(y.nrows(), rng);
        let rows = y.nrows() * n;
        let mut designs = Vec::with_capacity(rows * self.x.width());
        for start in (0..rows).step_by(GROUP_ROWS) {
            let group: Vec<usize> = (start..rows.min(start + GROUP_ROWS)).map(|row| row / n).collect();
            let mut latents = Array2::zeros((group.len(), self.latent));
            for (mut row, target) in latents.rows_mut().into_iter().zip(&group) {
                row.mapv_inplace(|_: f64| StandardNormal.sample(&mut streams[*target]));
            }
            let (first, last) = (group[0], group[group.len() - 1]);
            let own = targets.slice(s![first..=last, ..]);
            let of_row = group.iter().map(|target| target - first).collect();
            let decoded = tensor(own, self.device)
                .and_then(|distinct| {
                    decode(&tensor(latents.view(), self.device)?, &Targets { distinct, of_row })
                })
                .and_then(|decoded| array(&decoded))
                .map_err(propose_backend)?;
            let mut decoded = self.x.inverse(decoded.view())?;
            self.range.keep_inside(&mut decoded);
            designs.extend(decoded);
        }
        let shape = (y.nrows(), n, self.x.width());
        let designs =
            Array3::from_shape_vec(shape, designs).map_err(|error| ProposeError::Backend(Box::new(error)))?;
        Ok(Proposals::new(designs)?)
    }
}
