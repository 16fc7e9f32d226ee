//! Proposals of models that turn a Gaussian latent and a target into a design: x̂ = f̂⁻¹(y, z) (section 1.1).

use candle_core::{Device, Result, Tensor};
use inverse_core::{Proposals, ProposeError, RandomStreams, Standardizer, Stream, check_request};
use ndarray::{Array2, ArrayView2, Axis};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::device::propose_backend;
use crate::fitted::DesignRange;
use crate::nn::repeated;
use crate::redraws::draw_inside;
use crate::standardized_data::{array, tensor};

/// No model makes more proposals for one target; a mistyped count fails with a message.
pub(crate) const LARGEST_PROPOSAL_COUNT: usize = 1 << 20;

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
        draw_inside(self.range, n, &mut streams, |of_target, streams| {
            self.draw(of_target, targets.view(), streams, &decode)
        })
    }

    /// One draw for each of the targets `of_target`, in ascending order, in the data's units.
    fn draw(
        &self,
        of_target: &[usize],
        targets: ArrayView2<'_, f64>,
        streams: &mut [Stream],
        decode: &impl Fn(&Tensor, &Targets) -> Result<Tensor>,
    ) -> std::result::Result<Array2<f64>, ProposeError> {
        let mut latents = Array2::zeros((of_target.len(), self.latent));
        for (mut row, target) in latents.rows_mut().into_iter().zip(of_target) {
            row.mapv_inplace(|_: f64| StandardNormal.sample(&mut streams[*target]));
        }
        let mut present = of_target.to_vec();
        present.dedup();
        let of_row = of_target.iter().map(|target| present.partition_point(|other| other < target)).collect();
        let decoded = tensor(targets.select(Axis(0), &present).view(), self.device)
            .and_then(|distinct| decode(&tensor(latents.view(), self.device)?, &Targets { distinct, of_row }))
            .and_then(|decoded| array(&decoded))
            .map_err(propose_backend)?;
        Ok(self.x.inverse(decoded.view())?)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use ndarray::{Array1, array, concatenate, s};

    use super::*;
    use crate::redraws::GROUP_ROWS;

    /// Proposals that are the latents themselves, one variable, within ± `end`, and how many were drawn.
    fn propose(y: &Array2<f64>, n: usize, end: f64) -> (Array1<f64>, usize) {
        let standard = Standardizer::fit(array![[-1.0], [1.0]].view()).unwrap();
        let range = DesignRange::of(array![[-end], [end]].view());
        let sampler =
            LatentSampler { x: &standard, y: &standard, range: &range, device: &Device::Cpu, latent: 1 };
        let drawn = Cell::new(0);
        let mut rng = RandomStreams::new(1).stream("propose", 0);
        let proposals = sampler.propose(y.view(), n, &mut rng, |latents, targets| {
            drawn.set(drawn.get() + targets.of_row.len());
            assert_eq!(targets.repeated()?.dims(), latents.dims());
            Ok(latents.clone())
        });
        let proposals = proposals.unwrap();
        let draws: Array1<f64> = proposals.designs().iter().copied().collect();
        let moved: Array1<bool> = proposals.moved_inside().unwrap().iter().copied().collect();
        assert_eq!(moved, draws.mapv(|x| x.abs() == end), "those at an end, and no other");
        (draws, drawn.get())
    }

    #[test]
    fn draws_outside_the_range_are_drawn_again() {
        let (draws, drawn) = propose(&array![[0.0]], 20_000, 2.0);
        assert!(draws.iter().all(|x| x.abs() < 2.0), "a quarter is more than the 4.6 % that lie outside");
        // 1 / (1 − 0.0455) draws a proposal; four standard deviations of it.
        assert!(((drawn as f64 / 20_000.0) - 1.0477).abs() < 0.0064, "{drawn}");
        // The variance of a normal law cut off at two deviations is 0.7737, that of its square 0.91.
        let variance = draws.mapv(|x| x * x).mean().unwrap();
        assert!((variance - 0.7737).abs() < 4.0 * (0.91_f64 / 20_000.0).sqrt(), "{variance}");
    }

    #[test]
    fn a_model_that_is_outside_costs_a_quarter_more() {
        let (draws, drawn) = propose(&array![[0.0], [1.0]], 100, 1e-9);
        assert_eq!(drawn, 250);
        assert!(draws.iter().all(|x| x.abs() == 1e-9));
    }

    #[test]
    fn redraws_of_targets_do_not_mix() {
        let y = array![[0.3], [-0.2], [0.9]];
        // More than one group of rows.
        let n = GROUP_ROWS / 2 + 5;
        let (all, _) = propose(&y, n, 1.5);
        let (first, _) = propose(&y.slice(s![..1, ..]).to_owned(), n, 1.5);
        assert_eq!(all.slice(s![..n]), first);
        let (more, _) = propose(&concatenate![Axis(0), y, y], n, 1.5);
        assert_eq!(more.slice(s![..3 * n]), all);
    }
}
