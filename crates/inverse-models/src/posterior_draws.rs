//! Draws of a model and nothing else.

use inverse_core::{
    InvalidArgument, InverseModel, LARGEST_PAIRS, Proposals, ProposeError, RandomStreams, check_request,
};
use ndarray::{Array3, ArrayView1, ArrayView2, Axis, s};
use rand::Rng;

use crate::latent_sampling::target_streams;
use crate::log_density::check_shape;

/// How many times as many draws as are missing are made at once, though no more than were asked for.
const SPARE: usize = 2;

/// How many draws may be made for each that is kept, and for how many more: a model that never draws inside is soon found out.
const PATIENCE: usize = 1000;
const GRACE: usize = 10;

/// `n` draws of a model's law for each target, inside the range of the training designs: (targets, n, `dim_x`), in the task's units.
///
/// * `y`: targets, (targets, `dim_y`)
///
/// [`InverseModel::propose`] draws again, a few times, what lies outside that range, and then moves it inside: its cost is
/// bounded, but a design that was moved is a draw no more. Where a posterior is cut off by the edge of the prior, that is many of
/// them. This asks on until there are `n` that [are draws](Proposals::is_draw).
///
/// ```
/// use inverse_core::{BoxPrior, Dataset, FitContext, FnSimulator, Method, RandomStreams, SimulatedTask};
/// use inverse_models::{MixtureDensityNetwork, posterior_draws, presets::{PresetMethod, Source}};
///
/// let sum = FnSimulator::new(2, 1, |x, y| y[0] = x[0] + x[1])?;
/// let task = SimulatedTask::new("sum", sum, BoxPrior::new(&[0.0; 2], &[1.0; 2])?)?;
/// let streams = RandomStreams::new(0);
/// let data = Dataset::from_task(&task, 400, &mut streams.stream("data", 0))?;
/// let model = MixtureDensityNetwork::preset("sum", Source::Quick)?.fit(&data, &mut FitContext::new(0))?;
/// // Only the corner explains so large a sum.
/// let y = ndarray::array![[1.95]];
/// let draws = posterior_draws(&model, y.view(), 200, &mut streams.stream("posterior", 0))?;
/// assert!((0..200).all(|rank| draws.is_draw(0, rank)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A target's draws do not depend on which other targets come after it.
///
/// # Errors
/// [`ProposeError::InvalidArgument`] where `y` or `n` is none that the model can answer, or that names `model` where fewer than
/// one in a thousand of its proposals for a target are draws, or it gives others than it was asked for; the model's own errors.
pub fn posterior_draws<M: InverseModel + ?Sized>(
    model: &M,
    y: ArrayView2<'_, f64>,
    n: usize,
    rng: &mut dyn Rng,
) -> Result<Proposals, ProposeError> {
    check_request(y, model.dim_y(), n, LARGEST_PAIRS)?;
    // All targets at once, for most of the draws; what a target lacks comes from a stream of its own.
    let mut first = RandomStreams::new(rng.next_u64()).stream("posterior draws", 0);
    let proposals = model.propose(y, n, &mut first)?;
    check_shape("model", &proposals, (y.nrows(), n, model.dim_x()))?;
    let mut draws = Array3::zeros((y.nrows(), n, model.dim_x()));
    for (target, mut stream) in target_streams(y.nrows(), rng).into_iter().enumerate() {
        let mut kept = 0;
        let mut keep = |of: &Proposals, target_of: usize| {
            for rank in (0..of.count()).filter(|rank| of.is_draw(target_of, *rank)) {
                if kept < n {
                    let draw: ArrayView1<'_, f64> = of.designs().slice_move(s![target_of, rank, ..]);
                    draws.slice_mut(s![target, kept, ..]).assign(&draw);
                    kept += 1;
                }
            }
            kept
        };
        let mut missing = n - keep(&proposals, target);
        let mut made = n;
        while missing > 0 {
            if made > (n - missing).saturating_add(GRACE).saturating_mul(PATIENCE) {
                let found = format!("{} of {made} for target {target}", n - missing);
                return Err(InvalidArgument::new("model", "one whose proposals are draws", found).into());
            }
            let more = missing.saturating_mul(SPARE).min(n);
            let y = y.slice_axis(Axis(0), (target..=target).into());
            let proposals = model.propose(y, more, &mut stream)?;
            check_shape("model", &proposals, (1, more, model.dim_x()))?;
            made = made.saturating_add(more);
            missing = n - keep(&proposals, 0);
        }
    }
    Ok(Proposals::new(draws)?)
}

#[cfg(test)]
mod tests {
    use inverse_core::Stream;
    use ndarray::{Array2, array};
    use rand::RngExt;

    use super::*;

    /// Uniform on 0 to 1, of which what is below `moved` is moved there.
    struct Edge {
        moved: f64,
        largest: usize,
        width: usize,
    }

    impl InverseModel for Edge {
        fn name(&self) -> &'static str {
            "edge"
        }

        fn dim_x(&self) -> usize {
            1
        }

        fn dim_y(&self) -> usize {
            1
        }

        fn propose(
            &self,
            y: ArrayView2<'_, f64>,
            n: usize,
            rng: &mut dyn Rng,
        ) -> Result<Proposals, ProposeError> {
            check_request(y, 1, n, self.largest)?;
            let mut drawn = Array2::zeros((y.nrows(), n));
            for (mut drawn, mut stream) in drawn.outer_iter_mut().zip(target_streams(y.nrows(), rng)) {
                drawn.mapv_inplace(|_: f64| stream.random());
            }
            let moved = drawn.mapv(|x| x < self.moved);
            let designs = drawn.mapv(|x| x.max(self.moved)).insert_axis(Axis(2));
            let designs = designs.select(Axis(2), &vec![0; self.width]);
            Ok(Proposals::new(designs)?.with_moved_inside(moved)?)
        }
    }

    fn stream() -> Stream {
        RandomStreams::new(1).stream("propose", 0)
    }

    #[test]
    fn all_are_draws_of_what_lies_inside() {
        let (model, y) = (Edge { moved: 0.9, largest: 1 << 20, width: 1 }, array![[0.0], [1.0], [2.0]]);
        let draws = posterior_draws(&model, y.view(), 2000, &mut stream()).unwrap();
        assert_eq!(draws.designs().dim(), (3, 2000, 1));
        for draws in draws.designs().outer_iter() {
            // Uniform on 0.9 to 1: none at the edge, and a mean within five deviations of 0.1/√(12 · 2000).
            assert!(draws.iter().all(|x| *x > 0.9 && *x < 1.0));
            let mean = draws.mean().unwrap();
            assert!((mean - 0.95).abs() < 5.0 * 0.1 / 24_000.0_f64.sqrt(), "{mean}");
        }
        let alone = posterior_draws(&model, y.slice(s![..2, ..]), 2000, &mut stream()).unwrap();
        assert_eq!(alone.designs(), draws.designs().slice(s![..2, .., ..]));
        // No more are asked for at once than the caller asks for.
        let model = Edge { moved: 0.9, largest: 5, width: 1 };
        assert_eq!(posterior_draws(&model, y.view(), 5, &mut stream()).unwrap().count(), 5);
    }

    #[test]
    fn models_that_hardly_draw_are_refused() {
        let refused = |model: Edge, y: Array2<f64>, n: usize| {
            posterior_draws(&model, y.view(), n, &mut stream()).unwrap_err().to_string()
        };
        let error = refused(Edge { moved: 2.0, largest: 1 << 20, width: 1 }, array![[0.5]], 10);
        assert!(
            error.contains("invalid `model`: expected one whose proposals are draws, found 0 of 10"),
            "{error}"
        );
        let error = refused(Edge { moved: 0.5, largest: 1 << 20, width: 2 }, array![[0.5]], 10);
        assert_eq!(error, "invalid `model`: expected proposals of shape (1, 10, 1), found (1, 10, 2)");
        let model = || Edge { moved: 0.5, largest: 1 << 20, width: 1 };
        for (y, n, argument) in
            [(array![[0.5, 0.1]], 10, "y"), (array![[0.5]], 0, "n"), (array![[f64::NAN]], 1, "y")]
        {
            let error = refused(model(), y, n);
            assert!(error.contains(&format!("invalid `{argument}`")), "{error}");
        }
    }
}
