//! Draws in the order of the model's own density.

use std::cmp::Ordering;

use inverse_core::{InverseModel, Proposals, ProposeError, check_request};
use ndarray::{Array2, Array3, ArrayView1, ArrayView2, Axis, s};
use rand::Rng;

use crate::fitted::check_count;
use crate::latent_sampling::LARGEST_PROPOSAL_COUNT;
use crate::log_density::{check_density, check_shape, draws_named, no_density};

/// Candidates drawn at once: it bounds the memory whatever the number of targets.
const GROUP_ROWS: usize = 1 << 18;

/// A model whose proposals are the densest of its draws, the densest first.
///
/// Generative models draw from all right designs, and now and then from between two of them: the mean error of one draw
/// is that of the worst. The model's own density knows which draws are unlikely, at the price of its evaluation and
/// without the simulator. The paper's r_1 of these methods is that of a single draw; this is one of ours.
///
/// Candidates as many as proposals put the same draws in another order. More candidates leave unlikely draws out, and
/// crowd the rest where the density is highest: better first proposals, fewer different ones. So they are no draws of the
/// model's law any more, and [`log_density`](InverseModel::log_density) is `None`; that of the draws is
/// [`model`](Self::model)'s.
///
/// ```
/// use inverse_core::{BoxPrior, Dataset, FitContext, FnSimulator, InverseModel, Method, RandomStreams, SimulatedTask};
/// use inverse_models::{DensestFirst, MixtureDensityNetwork, presets::{PresetMethod, Source}};
///
/// let parabola = FnSimulator::new(1, 1, |x, y| y[0] = x[0] * x[0])?;
/// let task = SimulatedTask::new("parabola", parabola, BoxPrior::new(&[-1.0], &[1.0])?)?;
/// let streams = RandomStreams::new(0);
/// let data = Dataset::from_task(&task, 400, &mut streams.stream("data", 0))?;
/// let model = MixtureDensityNetwork::preset("parabola", Source::Quick)?.fit(&data, &mut FitContext::new(0))?;
///
/// let model = DensestFirst::new(model, 100)?;
/// let y = ndarray::array![[0.25]];
/// let proposals = model.propose(y.view(), 10, &mut streams.stream("propose", 0))?;
/// let log = proposals.log_density(model.model(), y.view())?.ok_or("no density")?;
/// assert!(log[[0, 0]] >= log[[0, 9]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct DensestFirst<M> {
    model: M,
    name: String,
    candidates: usize,
}

impl<M: InverseModel> DensestFirst<M> {
    /// Orders the draws of a model that has a density.
    ///
    /// * `candidates`: draws a target, 1 to 2²⁰; where more proposals are asked for, as many as those
    ///
    /// # Errors
    /// [`ProposeError::InvalidArgument`] that names `candidates` where there are none or too many, `model` where it has no
    /// density; the model's own error where its density of no pairs fails.
    pub fn new(model: M, candidates: usize) -> Result<Self, ProposeError> {
        check_count("candidates", candidates, LARGEST_PROPOSAL_COUNT)?;
        check_density(&model)?;
        let name = format!("{}, densest first", model.name());
        Ok(Self { model, name, candidates })
    }

    /// The model that draws.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// The model that draws, out of this one.
    pub fn into_model(self) -> M {
        self.model
    }
}

/// The places of the highest values, highest first; NaN is lowest.
fn highest(values: ArrayView1<'_, f64>, n: usize) -> Vec<usize> {
    let descending = |a: &usize, b: &usize| -> Ordering {
        match (values[*a].is_nan(), values[*b].is_nan()) {
            (false, false) => values[*b].total_cmp(&values[*a]),
            (a, b) => a.cmp(&b),
        }
    };
    let mut order: Vec<usize> = (0..values.len()).collect();
    // Stable, so that draws of equal density keep their order.
    order.sort_by(descending);
    order.truncate(n);
    order
}

impl<M: InverseModel> InverseModel for DensestFirst<M> {
    fn name(&self) -> &str {
        &self.name
    }

    fn dim_x(&self) -> usize {
        self.model.dim_x()
    }

    fn dim_y(&self) -> usize {
        self.model.dim_y()
    }

    fn parameter_count(&self) -> usize {
        self.model.parameter_count()
    }

    fn propose(
        &self,
        y: ArrayView2<'_, f64>,
        n: usize,
        rng: &mut dyn Rng,
    ) -> Result<Proposals, ProposeError> {
        check_request(y, self.dim_y(), n, usize::MAX)?;
        let candidates = self.candidates.max(n);
        let mut designs = Array3::zeros((y.nrows(), n, self.dim_x()));
        let mut known = Vec::new();
        let group = (GROUP_ROWS / candidates).max(1);
        let groups = y.axis_chunks_iter(Axis(0), group).zip(designs.axis_chunks_iter_mut(Axis(0), group));
        for (y, mut chosen) in groups {
            let draws = self
                .model
                .propose(y, candidates, rng)
                .map_err(|error| if candidates > n { draws_named(error, "candidates") } else { error })?;
            check_shape("model", &draws, (y.nrows(), candidates, self.dim_x()))?;
            let logs = draws.log_density(&self.model, y)?.ok_or_else(|| no_density(&self.model))?;
            for (target, logs) in logs.rows().into_iter().enumerate() {
                for (rank, place) in highest(logs, n).into_iter().enumerate() {
                    chosen.slice_mut(s![target, rank, ..]).assign(&draws.designs().slice(s![
                        target,
                        place,
                        ..
                    ]));
                    known.push(draws.moved_inside().map(|moved| moved[[target, place]]));
                }
            }
        }
        let proposals = Proposals::new(designs)?;
        // In the order of the designs, and unknown as soon as one group's are.
        let moved: Option<Vec<bool>> = known.into_iter().collect();
        match moved.map(|moved| Array2::from_shape_vec((y.nrows(), n), moved)) {
            Some(Ok(moved)) => Ok(proposals.with_moved_inside(moved)?),
            _ => Ok(proposals),
        }
    }
}

#[cfg(test)]
mod tests {
    use inverse_core::testing::check_model;
    use inverse_core::{RandomStreams, check_pairs};
    use ndarray::{Array1, array};
    use rand::RngExt;

    use super::*;

    /// Draws from the unit interval; the nearer to the target, the denser.
    #[derive(Debug)]
    struct Uniform {
        density: bool,
        /// Proposals that it makes at most.
        largest: usize,
        /// How many fewer it makes than it was asked for.
        missing: usize,
    }

    /// What it says it has moved.
    const MOVED_BELOW: f64 = 0.6;

    const UNIFORM: Uniform = Uniform { density: true, largest: usize::MAX, missing: 0 };

    impl InverseModel for Uniform {
        fn name(&self) -> &'static str {
            "uniform"
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
            let shape = (y.nrows(), n - self.missing, 1);
            let proposals = Proposals::new(Array3::from_shape_simple_fn(shape, || rng.random()))?;
            let moved = proposals.designs().remove_axis(Axis(2)).mapv(|x| x < MOVED_BELOW);
            Ok(if self.density { proposals.with_moved_inside(moved)? } else { proposals })
        }

        fn log_density(
            &self,
            x: ArrayView2<'_, f64>,
            y: ArrayView2<'_, f64>,
        ) -> Result<Option<Array1<f64>>, ProposeError> {
            check_pairs(x, y, (1, 1))?;
            Ok(self.density.then(|| -(&x - &y).mapv(f64::abs).remove_axis(Axis(1))))
        }
    }

    fn stream() -> inverse_core::Stream {
        RandomStreams::new(1).stream("propose", 0)
    }

    #[test]
    fn the_densest_of_the_candidates_come_first() {
        let y = array![[0.2], [0.7], [0.5]];
        let model = DensestFirst::new(UNIFORM, 50).unwrap();
        let proposals = model.propose(y.view(), 4, &mut stream()).unwrap();
        let draws = UNIFORM.propose(y.view(), 50, &mut stream()).unwrap();
        for ((y, draws), proposals) in
            y.iter().zip(draws.designs().outer_iter()).zip(proposals.designs().outer_iter())
        {
            let mut expected: Vec<f64> = draws.iter().copied().collect();
            expected.sort_by(|a, b| (a - y).abs().total_cmp(&(b - y).abs()));
            assert_eq!(proposals.iter().copied().collect::<Vec<_>>(), expected[..4]);
        }
        let moved = proposals.designs().remove_axis(Axis(2)).mapv(|x| x < MOVED_BELOW);
        assert!(moved.iter().any(|moved| *moved) && !moved.iter().all(|moved| *moved));
        assert_eq!(proposals.moved_inside(), Some(moved.view()));
        // More proposals than candidates: all draws, in another order.
        let all = model.propose(y.view(), 60, &mut stream()).unwrap();
        assert_eq!(all.count(), 60);
        assert_eq!(model.name(), "uniform, densest first");
        check_model(&model, y.view(), 1).unwrap();
    }

    #[test]
    fn groups_of_targets_draw_as_all_together() {
        // Two targets a group, of three.
        let model = DensestFirst::new(UNIFORM, GROUP_ROWS / 2).unwrap();
        let y = array![[0.2], [0.7], [0.5]];
        let proposals = model.propose(y.view(), 1, &mut stream()).unwrap();
        for (y, design) in y.iter().zip(proposals.designs().iter()) {
            // The nearest of 131,072 uniform draws is further than 2e-4 once in e^52.
            assert!((y - design).abs() < 2e-4);
        }
        let first = model.propose(y.slice(s![..1, ..]), 1, &mut stream()).unwrap();
        assert_eq!(first.designs()[[0, 0, 0]], proposals.designs()[[0, 0, 0]]);
    }

    #[test]
    fn a_density_that_is_no_number_is_lowest() {
        let values = array![f64::NAN, 1.0, f64::NEG_INFINITY, 2.0, f64::NAN, 1.0];
        assert_eq!(highest(values.view(), 6), [3, 1, 5, 2, 0, 4]);
        assert_eq!(highest(values.view(), 2), [3, 1]);
    }

    #[test]
    fn models_and_counts_that_cannot_be_used_are_named() {
        let error = DensestFirst::new(Uniform { density: false, ..UNIFORM }, 50).unwrap_err().to_string();
        assert!(error.contains("invalid `model`: expected one with a density, found uniform"), "{error}");
        let y = array![[0.2]];
        let limited = DensestFirst::new(Uniform { largest: 10, ..UNIFORM }, 20).unwrap();
        for (n, argument) in [(5, "candidates"), (30, "n")] {
            let error = limited.propose(y.view(), n, &mut stream()).unwrap_err().to_string();
            assert!(error.contains(&format!("invalid `{argument}`: expected 1 to 10")), "{error}");
        }
        let short = DensestFirst::new(Uniform { missing: 3, ..UNIFORM }, 20).unwrap();
        let error = short.propose(y.view(), 5, &mut stream()).unwrap_err().to_string();
        assert_eq!(error, "invalid `model`: expected proposals of shape (1, 20, 1), found (1, 17, 1)");
        for candidates in [0, usize::MAX] {
            let error = DensestFirst::new(UNIFORM, candidates).unwrap_err().to_string();
            assert!(error.contains("`candidates`"), "{error}");
        }
    }
}
