//! The paper's second contribution as a recipe: a slow simulator in, a fast proxy simulator with its error out.
//!
//! The paper's D4 is such a proxy (section 5.2): geometries from a full-wave solver, multiplied by the symmetries
//! of the layout, an ensemble of networks, 20% of the designs held out to measure it. Nothing here knows of
//! metamaterials.

use inverse_core::{
    DataError, Dataset, FitContext, FitError, InvalidArgument, LARGEST_PAIRS, Prior, ProposeError,
    RandomStreams, SimulationError, Simulator, Symmetry, check_matrix,
};
use ndarray::{Array2, Axis};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::member_contexts::MemberContexts;
use crate::nn::{Activation, MlpSettings, TrainingSettings};
use crate::presets::cosine_training;
use crate::proxy_simulator::{ProxyErrors, ProxyReport, ProxySimulator};
use crate::proxy_training::{Copies, Training, share_of};
use crate::surrogate::{RegressionSettings, Surrogate};

/// Why a proxy could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// A setting, the prior's designs or the symmetry cannot be used.
    #[error(transparent)]
    InvalidArgument(#[from] InvalidArgument),
    /// The simulator failed as a whole.
    #[error(transparent)]
    Simulation(#[from] SimulationError),
    /// The simulator's answers are no dataset.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A member could not be trained.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// A posterior could not be drawn with it.
    #[error(transparent)]
    Propose(#[from] ProposeError),
}

/// How a proxy is made.
///
/// ```
/// use inverse_core::{BoxPrior, FitContext, FnSimulator, Simulator};
/// use inverse_models::{ProxyRecipe, ProxySimulator};
///
/// // Two springs in series: exchanging them changes nothing.
/// let slow = FnSimulator::new(2, 1, |x, y| y[0] = 1.0 / (1.0 / x[0] + 1.0 / x[1]))?;
/// let prior = BoxPrior::new(&[1.0; 2], &[3.0; 2])?;
/// let mut recipe = ProxyRecipe { samples: 300, ..ProxyRecipe::default() };
/// for member in &mut recipe.members {
///     member.hidden = vec![16, 16];
///     member.training.epochs = 40;
///     member.training.batch_size = 32;
/// }
/// let exchanged = |x: &[f64]| vec![vec![x[1], x[0]]];
/// let proxy = recipe.fit(&slow, &prior, Some(&exchanged), &mut FitContext::new(1))?;
/// let report = proxy.report().ok_or("a fitted proxy has a report")?;
/// assert!(report.test_errors.ensemble < 0.01 * report.test_variance);
/// assert_eq!((report.training_pairs, report.test_pairs), (480, 120));
/// let y = proxy.simulate(ndarray::array![[2.0, 2.0]].view())?;
/// assert!((y[[0, 0]] - 1.0).abs() < 0.05);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyRecipe {
    /// Designs to simulate: from 3 to [`LARGEST_PAIRS`].
    pub samples: usize,
    /// Share of the designs that no member sees, to measure the error; the paper's is 0.2.
    pub test_share: f64,
    /// One network each; varied ones err in different ways, so that their mean errs less. Each holds out
    /// `validation_share` of its training designs, others than the next member, to choose its best epoch.
    pub members: Vec<RegressionSettings>,
}

impl Default for ProxyRecipe {
    /// 10,000 designs, a fifth of them held out, three smooth networks of different widths and depths.
    fn default() -> Self {
        let member = |hidden| RegressionSettings {
            hidden,
            activation: Activation::Silu,
            batch_norm: false,
            encoder: None,
            head: None,
            training: TrainingSettings { validation_share: 0.05, ..cosine_training(100, 128, 2e-3) },
        };
        let members = vec![member(vec![256; 3]), member(vec![192; 4]), member(vec![320; 3])];
        Self { samples: 10_000, test_share: 0.2, members }
    }
}

impl ProxyRecipe {
    /// Narrow networks for few designs: what a [`TemperedPosterior`](crate::TemperedPosterior) asks in place of a dear
    /// simulator, hundreds of thousands of times.
    ///
    /// * `samples`: designs to simulate, of which a tenth are held out. A training takes some 6,000 batches of 32 whatever their number,
    ///   but 50 epochs at least.
    ///
    /// ```
    /// use inverse_models::ProxyRecipe;
    ///
    /// let recipe = ProxyRecipe::for_posteriors(300);
    /// assert_eq!((recipe.samples, recipe.members.len()), (300, 3));
    /// ```
    pub fn for_posteriors(samples: usize) -> Self {
        let batches = samples.div_ceil(POSTERIOR_BATCH).max(1);
        let epochs = POSTERIOR_STEPS.div_ceil(batches).max(LEAST_EPOCHS);
        let member = RegressionSettings {
            hidden: vec![64; 3],
            activation: Activation::Silu,
            batch_norm: false,
            encoder: None,
            head: None,
            training: TrainingSettings {
                validation_share: 0.05,
                ..cosine_training(epochs, POSTERIOR_BATCH, 2e-3)
            },
        };
        Self { samples, test_share: 0.1, members: vec![member; 3] }
    }
}

/// Of [`ProxyRecipe::for_posteriors`].
const POSTERIOR_BATCH: usize = 32;
const POSTERIOR_STEPS: usize = 6000;
const LEAST_EPOCHS: usize = 50;

/// Simulated pairs, and how many designs had no answer.
#[derive(Debug, Clone)]
pub struct SimulatedDesigns {
    /// Designs with their measurements.
    pub data: Dataset,
    /// Designs that the simulator could not evaluate (rows of NaN).
    pub dropped: usize,
}

/// A proxy, and the pairs that were held out from it.
pub(crate) struct MeasuredProxy {
    pub(crate) proxy: ProxySimulator,
    /// (n, `dim_x`)
    pub(crate) test_x: Array2<f64>,
    /// (n, `dim_y`)
    pub(crate) test_y: Array2<f64>,
}

impl ProxyRecipe {
    /// Draws designs from the prior, simulates them, and trains the ensemble on them.
    ///
    /// * `symmetry`: the symmetric copies of a design, which need no simulation; a design and its copies are
    ///   never split between training and test
    ///
    /// # Errors
    /// [`ProxyError`] where a setting or a design cannot be used, the simulator fails, fewer than three designs
    /// have measurements, or a training fails.
    pub fn fit(
        &self,
        simulator: &dyn Simulator,
        prior: &dyn Prior,
        symmetry: Option<&Symmetry<'_>>,
        context: &mut FitContext<'_>,
    ) -> Result<ProxySimulator, ProxyError> {
        self.validate(simulator.dim_x(), simulator.dim_y())?;
        let simulated = self.simulate(simulator, prior, context.streams())?;
        self.fit_data(&simulated, symmetry, context)
    }

    /// The first half of [`ProxyRecipe::fit`]: designs and their measurements.
    ///
    /// # Errors
    /// As [`ProxyRecipe::fit`].
    pub fn simulate(
        &self,
        simulator: &dyn Simulator,
        prior: &dyn Prior,
        streams: RandomStreams,
    ) -> Result<SimulatedDesigns, ProxyError> {
        self.check_samples()?;
        let x = prior.sample(self.samples, &mut streams.stream("proxy designs", 0));
        check_matrix("prior", x.view(), simulator.dim_x())?;
        let y = simulator.simulate(x.view())?;
        if y.dim() != (x.nrows(), simulator.dim_y()) {
            let expected = format!("measurements of shape {:?}", (x.nrows(), simulator.dim_y()));
            return Err(InvalidArgument::new("simulator", expected, format!("{:?}", y.dim())).into());
        }
        let usable = |row: &usize| y.row(*row).iter().all(|value| value.is_finite());
        let rows: Vec<usize> = (0..y.nrows()).filter(usable).collect();
        if rows.len() < 3 {
            let found = format!("{} of {}", rows.len(), y.nrows());
            return Err(InvalidArgument::new("samples", "at least 3 designs with measurements", found).into());
        }
        let dropped = y.nrows() - rows.len();
        let data = Dataset::new(x.select(Axis(0), &rows), y.select(Axis(0), &rows))?;
        Ok(SimulatedDesigns { data: data.with_domain(prior.domain().clone())?, dropped })
    }

    /// The second half of [`ProxyRecipe::fit`]: an ensemble from measurements that are already there.
    ///
    /// # Errors
    /// As [`ProxyRecipe::fit`].
    pub fn fit_data(
        &self,
        simulated: &SimulatedDesigns,
        symmetry: Option<&Symmetry<'_>>,
        context: &mut FitContext<'_>,
    ) -> Result<ProxySimulator, ProxyError> {
        Ok(self.fit_repeated(simulated, None, symmetry, context)?.proxy)
    }

    /// As [`ProxyRecipe::fit_data`], with designs that count more than others.
    ///
    /// * `repeats`: how often each design is in an epoch, (n): once where there is none
    pub(crate) fn fit_repeated(
        &self,
        simulated: &SimulatedDesigns,
        repeats: Option<&[usize]>,
        symmetry: Option<&Symmetry<'_>>,
        context: &mut FitContext<'_>,
    ) -> Result<MeasuredProxy, ProxyError> {
        let SimulatedDesigns { data, dropped } = simulated;
        self.validate(data.x().ncols(), data.y().ncols())?;
        let mut rows: Vec<usize> = (0..data.len()).collect();
        if rows.len() < 3 {
            return Err(InvalidArgument::new("data", "at least 3 designs", rows.len()).into());
        }
        rows.shuffle(&mut context.streams().stream("proxy test split", 0));
        let (test, training) = rows.split_at(share_of(rows.len() - 1, self.test_share));
        let training = Training::new(data, training, repeats, symmetry, self.test_share)?;
        let members = self.train(&training, context)?;
        let (mut proxy, reports) = training.assemble(members, self.shapes(data), context)?;
        let test = Copies::of(data.x(), test, symmetry)?;
        let y = data.y().select(Axis(0), &test.rows);
        let errors = |proxy: &ProxySimulator| -> Result<ProxyErrors, ProxyError> {
            Ok(proxy.errors(test.x.view(), y.view())?)
        };
        proxy.report = Some(ProxyReport {
            designs: data.len(),
            dropped: *dropped,
            training_pairs: training.copies.rows.len(),
            test_pairs: test.rows.len(),
            test_variance: y.var_axis(Axis(0), 0.0).mean().unwrap_or(0.0),
            test_errors: errors(&proxy)?,
            test_deviations: root_mean_squares(proxy.simulate(test.x.view())? - &y),
            half_precision_test_errors: errors(&proxy.to_half_precision()?)?,
            training: reports,
        });
        Ok(MeasuredProxy { proxy, test_x: test.x, test_y: y })
    }

    /// Trains one member after the other, each with streams and checkpoints of its own.
    fn train(
        &self,
        training: &Training<'_>,
        context: &mut FitContext<'_>,
    ) -> Result<Vec<Surrogate>, FitError> {
        let mut members = Vec::new();
        let own = MemberContexts::of(context, "proxy member");
        for (index, settings) in self.members.iter().enumerate() {
            let mut member = own.context(index).with_observer(context.observer());
            let pairs = training.pairs(settings.training.validation_share, &member)?;
            members.push(Surrogate::fit_first(settings, &pairs, &training.identity, &mut member)?);
        }
        Ok(members)
    }

    /// Each member's shape in use, where no normalisation is left.
    fn shapes(&self, data: &Dataset) -> Vec<MlpSettings> {
        let (inputs, outputs) = (data.x().ncols(), data.y().ncols());
        let shape = |member: &RegressionSettings| member.shape(inputs, outputs);
        self.members.iter().map(|member| MlpSettings { batch_norm: false, ..shape(member) }).collect()
    }

    fn check_samples(&self) -> Result<(), InvalidArgument> {
        if (3..=LARGEST_PAIRS).contains(&self.samples) {
            return Ok(());
        }
        Err(InvalidArgument::new("samples", format!("from 3 to {LARGEST_PAIRS}"), self.samples))
    }

    pub(crate) fn validate(&self, dim_x: usize, dim_y: usize) -> Result<(), InvalidArgument> {
        self.check_samples()?;
        if !(self.test_share > 0.0 && self.test_share < 1.0) {
            return Err(InvalidArgument::new("test_share", "a share between 0 and 1", self.test_share));
        }
        if self.members.is_empty() {
            return Err(InvalidArgument::new("members", "at least one network", "none"));
        }
        self.members.iter().try_for_each(|member| member.validate(dim_x, dim_y))
    }
}

/// Of each column.
pub(crate) fn root_mean_squares(errors: Array2<f64>) -> Vec<f64> {
    let squares = errors.mapv_into(|error| error * error);
    squares.mean_axis(Axis(0)).unwrap_or_default().mapv(f64::sqrt).to_vec()
}
