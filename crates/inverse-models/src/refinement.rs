//! Refinement: any model's proposals, polished by a surrogate and then by the simulator's answers.

use std::fmt;

use inverse_core::{
    InvalidArgument, InverseModel, Proposals, ProposeError, Search, Standardizer, check_request,
};
use ndarray::{Array2, Array3, ArrayView2, Axis};
use rand::Rng;
use rayon::prelude::*;

use crate::adaptive_neural_adjoint::AdaptiveNeuralAdjoint;
use crate::adaptive_search_settings::AdaptiveSearchSettings;
use crate::levenberg_marquardt::LevenbergMarquardtSettings;
use crate::neural_adjoint::NeuralAdjointModel;
use crate::nn::HostMlp;
use crate::symmetric_copies::SharedSymmetry;
use crate::weighted_surrogate::{RankedEnds, Reach};

/// Adds [`RefineWith::refine_with`] to every inverse model.
pub trait RefineWith: InverseModel + Sized {
    /// This model, its proposals polished by the surrogate of `surrogate`, its searches listening to the simulator.
    ///
    /// A proposal of a generative model is near a solution, not on it; the surrogate knows the way down. Proposals
    /// are the ends of Levenberg–Marquardt descents on the surrogate that start at the model's own, best first by the
    /// surrogate; searches go on from there as [`AdaptiveNeuralAdjoint`] does.
    ///
    /// # Errors
    /// [`InvalidArgument`] where the two models are not for designs and measurements of the same widths.
    ///
    /// ```
    /// use inverse_core::{BoxPrior, Dataset, FitContext, FnSimulator, InverseModel, Method, RandomStreams, SimulatedTask};
    /// use inverse_metrics::{resimulate, resimulate_search};
    /// use inverse_models::{NearestNeighbor, NeuralAdjoint, RefineWith};
    ///
    /// let spring = FnSimulator::new(2, 1, |x, y| y[0] = x[0] * x[1] * x[1])?;
    /// let task = SimulatedTask::new("spring", spring, BoxPrior::new(&[0.5, -1.0], &[1.5, 1.0])?)?;
    /// let streams = RandomStreams::new(1);
    /// let data = Dataset::from_task(&task, 400, &mut streams.stream("data", 0))?;
    /// let mut method = NeuralAdjoint::default();
    /// method.surrogate.hidden = vec![24];
    /// method.surrogate.training.epochs = 20;
    /// let surrogate = method.fit(&data, &mut FitContext::new(1))?;
    /// let neighbor = NearestNeighbor {}.fit(&data, &mut FitContext::new(1))?;
    ///
    /// let refined = neighbor.refine_with(&surrogate)?;
    ///
    /// let (y, mut rng) = (ndarray::array![[0.3]], streams.stream("search", 0));
    /// let mut search = refined.search(y.view(), 6, &mut rng)?;
    /// assert!(resimulate_search(&task, &mut *search, y.view(), 6, &mut rng)?.mean(6)? < 1e-8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn refine_with(self, surrogate: &NeuralAdjointModel) -> Result<Refined<Self>, InvalidArgument> {
        Refined::new(
            self,
            surrogate,
            LevenbergMarquardtSettings::default(),
            AdaptiveSearchSettings::default(),
        )
    }
}

impl<M: InverseModel> RefineWith for M {}

/// A model whose proposals are refined; see [`RefineWith`].
#[derive(Clone)]
pub struct Refined<M> {
    model: M,
    name: String,
    surrogate: NeuralAdjointModel,
    polish: LevenbergMarquardtSettings,
    search: AdaptiveSearchSettings,
    symmetry: Option<SharedSymmetry>,
}

impl<M: InverseModel> fmt::Debug for Refined<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = formatter.debug_struct("Refined");
        text.field("name", &self.name).field("polish", &self.polish).field("search", &self.search);
        text.finish_non_exhaustive()
    }
}

impl<M: InverseModel> Refined<M> {
    /// Refines under settings of one's own; [`RefineWith::refine_with`] takes the defaults.
    ///
    /// * `polish`: the descents on the surrogate
    /// * `search`: how searches spend the simulator's calls
    ///
    /// # Errors
    /// [`InvalidArgument`] where a setting is out of bounds or the models' widths differ.
    pub fn new(
        model: M,
        surrogate: &NeuralAdjointModel,
        polish: LevenbergMarquardtSettings,
        search: AdaptiveSearchSettings,
    ) -> Result<Self, InvalidArgument> {
        polish.validate()?;
        search.validate()?;
        let widths = (surrogate.dim_x(), surrogate.dim_y());
        if (model.dim_x(), model.dim_y()) != widths {
            let expected = format!("(dim_x, dim_y) = {widths:?}, as the surrogate");
            let found = format!("{:?}", (model.dim_x(), model.dim_y()));
            return Err(InvalidArgument::new("model", expected, found));
        }
        let name = format!("{}, refined", model.name());
        Ok(Self { model, name, surrogate: surrogate.clone(), polish, search, symmetry: None })
    }

    /// Tells its searches which designs a symmetry makes of one, as [`AdaptiveNeuralAdjoint::with_symmetry`] does.
    ///
    /// * `symmetry`: the other designs of the same measurements as one design, in the data's units; for every design as
    ///   many
    ///
    /// ```
    /// use inverse_core::{BoxPrior, Dataset, FitContext, FnSimulator, InverseModel, Method, RandomStreams, SimulatedTask};
    /// use inverse_metrics::{resimulate, resimulate_search};
    /// use inverse_models::{NearestNeighbor, NeuralAdjoint, RefineWith};
    ///
    /// // Two sides that may be exchanged, but for a small term.
    /// let box_ = FnSimulator::new(2, 2, |x, y| (y[0], y[1]) = (x[0] * x[1], x[0] + x[1] + 1e-4 * x[0]))?;
    /// let task = SimulatedTask::new("box", box_, BoxPrior::new(&[1.0; 2], &[2.0; 2])?)?;
    /// let symmetry = |x: &[f64]| vec![vec![x[1], x[0]]];
    /// let streams = RandomStreams::new(1);
    /// let data = Dataset::from_task(&task, 400, &mut streams.stream("data", 0))?.with_symmetric_copies(&symmetry)?;
    /// let mut method = NeuralAdjoint::default();
    /// method.surrogate.hidden = vec![24];
    /// method.surrogate.training.epochs = 60;
    /// let surrogate = method.fit(&data, &mut FitContext::new(1))?;
    /// let neighbor = NearestNeighbor {}.fit(&data, &mut FitContext::new(1))?;
    ///
    /// let refined = neighbor.refine_with(&surrogate)?.with_symmetry(symmetry);
    ///
    /// let (y, mut rng) = (ndarray::array![[2.04, 2.9]], streams.stream("search", 0));
    /// let mut search = refined.search(y.view(), 10, &mut rng)?;
    /// assert!(resimulate_search(&task, &mut *search, y.view(), 10, &mut rng)?.mean(10)? < 1e-8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_symmetry(
        mut self,
        symmetry: impl Fn(&[f64]) -> Vec<Vec<f64>> + Send + Sync + 'static,
    ) -> Self {
        self.symmetry = Some(SharedSymmetry::new(symmetry));
        self
    }

    /// The model that proposes.
    pub fn model(&self) -> &M {
        &self.model
    }
}

/// Standardised designs as starts: one that is not finite becomes the center of the domain.
fn starts(designs: ArrayView2<'_, f64>, x: &Standardizer, center: &[f64]) -> Array2<f64> {
    let mut standard = (&designs - &x.mean()) / x.scale();
    for mut row in standard.rows_mut() {
        if row.iter().any(|value| !value.is_finite()) {
            row.iter_mut().zip(center).for_each(|(value, center)| *value = *center);
        }
    }
    standard
}

impl<M: InverseModel> InverseModel for Refined<M> {
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
        self.model.parameter_count() + self.surrogate.parameter_count()
    }

    fn propose(
        &self,
        y: ArrayView2<'_, f64>,
        n: usize,
        rng: &mut dyn Rng,
    ) -> Result<Proposals, ProposeError> {
        check_request(y, self.dim_y(), n, usize::MAX)?;
        let proposals = self.model.propose(y, n, rng)?;
        let network = self.surrogate.weighted_surrogate::<HostMlp>()?;
        let boundary = self.surrogate.boundary();
        let reach = Reach::new(&boundary, &self.surrogate.designs);
        let (x, weight) = (&self.surrogate.surrogate.x, self.polish.boundary_weight);
        let targets = network.weighted(self.surrogate.surrogate.y.transform(y)?.view());
        let ranked: Vec<RankedEnds> = (0..targets.nrows())
            .into_par_iter()
            .map(|target| {
                let designs = proposals.designs();
                let starts = starts(designs.index_axis(Axis(0), target), x, &boundary.center);
                let ends = network.descend(starts.view(), targets.row(target), &reach, &self.polish);
                RankedEnds::new(&ends, n, &boundary, weight)
            })
            .collect();
        let mut designs = Array3::zeros(proposals.designs().dim());
        let mut errors = Array2::zeros((targets.nrows(), n));
        for (target, ends) in ranked.iter().enumerate() {
            designs.index_axis_mut(Axis(0), target).assign(&x.inverse(ends.designs.view())?);
            for (slot, error) in errors.row_mut(target).iter_mut().zip(&ends.errors) {
                *slot = error * network.unit;
            }
        }
        Ok(Proposals::new(designs)?.with_predicted_errors(errors)?)
    }

    /// An [`AdaptiveNeuralAdjoint`] that opens its basins at this model's proposals, as many as calls at most.
    fn search<'a>(
        &'a self,
        y: ArrayView2<'_, f64>,
        budget: usize,
        rng: &mut dyn Rng,
    ) -> Result<Box<dyn Search + 'a>, ProposeError> {
        let starts = self.propose(y, budget.min(self.search.basin_count), rng)?;
        let search = AdaptiveNeuralAdjoint::new(&self.surrogate, &starts, y, budget, &self.search)?;
        Ok(Box::new(search.with_shared_symmetry(self.symmetry.clone())))
    }
}
