//! The Neural-Adjoint method (section 3): descend on the input of a surrogate.
//!
//! A network f̂ is trained to imitate the simulator. For a target y, many designs start at draws of Ω and
//! follow eq. 4, x ← x − α ∂L(f̂(x), y)/∂x with Adam's adaptive α, under
//!
//! ```text
//! L = mean_j (f̂_j(x) − y_j)² + λ Σ_i ReLU(|x_i − μ_i| − R_i / 2)        (squared error + eq. 5)
//! ```
//!
//! The surrogate then ranks all end points and the best T are returned (section 3, "Obtaining good results").
//! The descent runs in standardised units, so that no unit of x or y outweighs another; for several
//! measurements the squared error keeps the proportions it has in the units of y, which r_T measures.

use inverse_core::{
    Dataset, Domain, FitContext, FitError, InvalidArgument, InverseModel, Method, Proposals, ProposeError,
    check_request,
};
use ndarray::{Array1, Array2, Array3, ArrayView2, Axis};
use rand::Rng;
use rand::seq::index;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::boundary_loss::BoundaryLoss;
use crate::descent_rows::DescentEnd;
use crate::device::propose_backend;
use crate::ensemble::{EnsembleSettings, fit_others};
use crate::host_network::JacobianNetwork;
use crate::input_descent::{InputDescent, InputDescentSettings};
use crate::levenberg_marquardt::LevenbergMarquardtSettings;
use crate::nn::HostMlp;
use crate::presets::PresetMethod;
use crate::standardized_data::tensor;
use crate::starts::{Screen, StartSource, Starts};
use crate::surrogate::{RegressionSettings, Surrogate};
use crate::weighted_surrogate::{RankedEnds, Reach, WeightedSurrogate};

/// No model draws more starts for one target; a mistyped count fails with a message.
const LARGEST_START_COUNT: usize = 1 << 20;

/// Rows that descend together: it bounds the memory whatever the number of targets.
const GROUP_ROWS: usize = 1 << 16;

/// The same on a GPU, which keeps two dozen numbers a row and takes a network's layers for a few thousand rows at once.
const DEVICE_GROUP_ROWS: usize = 1 << 20;

/// Training designs that a model keeps to draw starts from.
const LARGEST_DESIGN_COUNT: usize = 1 << 14;

/// Settings of the Neural-Adjoint method.
///
/// ```
/// use inverse_core::{BoxPrior, Dataset, FitContext, FnSimulator, InverseModel, Method, RandomStreams, SimulatedTask};
/// use inverse_models::NeuralAdjoint;
///
/// let parabola = FnSimulator::new(1, 1, |x, y| y[0] = x[0] * x[0])?;
/// let task = SimulatedTask::new("parabola", parabola, BoxPrior::new(&[-1.0], &[1.0])?)?;
/// let streams = RandomStreams::new(0);
/// let data = Dataset::from_task(&task, 500, &mut streams.stream("data", 0))?;
/// let mut method = NeuralAdjoint { start_count: 64, ..Default::default() };
/// method.surrogate.hidden = vec![32, 32];
/// method.surrogate.training.epochs = 60;
/// method.surrogate.training.batch_size = 50;
/// let model = method.fit(&data, &mut FitContext::new(0))?;
/// let target = ndarray::array![[0.25]];
/// let proposals = model.propose(target.view(), 8, &mut streams.stream("propose", 0))?;
/// let best = proposals.designs()[[0, 0, 0]];
/// assert!((best.abs() - 0.5).abs() < 0.1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NeuralAdjoint {
    /// The forward network and its training.
    pub surrogate: RegressionSettings,
    /// Starts for each target; the paper extracts "a thousand solutions" (section 3).
    pub start_count: usize,
    /// Where they start.
    pub starts: Starts,
    /// How they descend.
    pub descent: InputDescentSettings,
    /// Descend by these damped Gauss–Newton steps in place of `descent`: to the same minima in a few of its steps.
    ///
    /// They run on the host, whatever the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub levenberg_marquardt: Option<LevenbergMarquardtSettings>,
    /// An ensemble in place of one surrogate, whose disagreement enters the descent and the ranking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ensemble: Option<EnsembleSettings>,
}

impl Default for NeuralAdjoint {
    fn default() -> Self {
        Self {
            surrogate: RegressionSettings::default(),
            start_count: 1000,
            starts: Starts::default(),
            descent: InputDescentSettings::default(),
            levenberg_marquardt: None,
            ensemble: None,
        }
    }
}

impl NeuralAdjoint {
    pub(crate) fn validate(&self) -> Result<(), InvalidArgument> {
        if !(1..=LARGEST_START_COUNT).contains(&self.start_count) {
            let expected = format!("1 to {LARGEST_START_COUNT}");
            return Err(InvalidArgument::new("start_count", expected, self.start_count));
        }
        self.levenberg_marquardt.as_ref().map_or(Ok(()), LevenbergMarquardtSettings::validate)?;
        self.ensemble.as_ref().map_or(Ok(()), EnsembleSettings::validate)?;
        self.descent.validate()
    }
}

impl Method for NeuralAdjoint {
    type Model = NeuralAdjointModel;

    fn fit(&self, data: &Dataset, context: &mut FitContext<'_>) -> Result<Self::Model, FitError> {
        self.validate()?;
        let members = self.ensemble.as_ref().map_or(1, |ensemble| ensemble.members);
        let others = fit_others(&self.surrogate, members, data, context)?;
        let surrogate = Surrogate::fit(&self.surrogate, data, context)?;
        let mut stream = context.streams().stream("neural adjoint designs", 0);
        let count = data.len().min(LARGEST_DESIGN_COUNT);
        let kept = index::sample(&mut stream, data.len(), count).into_vec();
        let designs = surrogate.x.transform(data.x().select(Axis(0), &kept).view())?;
        Ok(NeuralAdjointModel {
            settings: self.clone(),
            surrogate,
            others,
            designs: designs.mapv(|value| value as f32),
            domain: data.domain().clone(),
            dataset_hash: data.content_hash(),
        })
    }
}

/// A fitted Neural-Adjoint model.
#[derive(Debug, Clone)]
pub struct NeuralAdjointModel {
    pub(crate) settings: NeuralAdjoint,
    pub(crate) surrogate: Surrogate,
    /// The other members of an ensemble, standardised as the first.
    pub(crate) others: Vec<Surrogate>,
    /// Training designs in standardised units, (n, `dim_x`): the empirical Ω.
    pub(crate) designs: Array2<f32>,
    pub(crate) domain: Domain,
    pub(crate) dataset_hash: String,
}

impl NeuralAdjointModel {
    /// The forward network; of an ensemble, the first.
    pub fn surrogate(&self) -> &Surrogate {
        &self.surrogate
    }

    /// All forward networks: one, but for an ensemble.
    pub fn members(&self) -> impl Iterator<Item = &Surrogate> {
        std::iter::once(&self.surrogate).chain(&self.others)
    }

    /// The mean of the members' predictions at designs x, (n, `dim_x`), and their variance, both (n, `dim_y`), in the
    /// data's units; the variance is 0 where there is one member.
    ///
    /// # Errors
    /// As [`Surrogate::predict`].
    pub fn predict_with_disagreement(
        &self,
        x: ArrayView2<'_, f64>,
    ) -> Result<(Array2<f64>, Array2<f64>), ProposeError> {
        let predictions: Vec<Array2<f64>> =
            self.members().map(|member| member.predict(x)).collect::<Result<_, _>>()?;
        let zero = Array2::zeros((x.nrows(), self.surrogate.y.width()));
        let count = predictions.len() as f64;
        let mean = predictions.iter().fold(zero.clone(), |sum, prediction| sum + prediction) / count;
        let square = |prediction: &Array2<f64>| (prediction - &mean).mapv(|value| value * value);
        let variance = predictions.iter().map(square).fold(zero, |sum, square| sum + square) / count;
        Ok((mean, variance))
    }

    /// The same ensemble under another κ; nothing is trained. A single surrogate has nothing to disagree with.
    ///
    /// # Errors
    /// [`InvalidArgument`] where the weight is negative or not finite, or there is no ensemble.
    pub fn with_disagreement_weight(&self, disagreement_weight: f64) -> Result<Self, InvalidArgument> {
        let Some(ensemble) = &self.settings.ensemble else {
            return Err(InvalidArgument::new("ensemble", "a model with several members", "one surrogate"));
        };
        let ensemble = Some(EnsembleSettings { disagreement_weight, ..ensemble.clone() });
        let settings = NeuralAdjoint { ensemble, ..self.settings.clone() };
        settings.validate()?;
        Ok(Self { settings, ..self.clone() })
    }

    fn disagreement_weight(&self) -> f64 {
        self.settings.ensemble.as_ref().map_or(0.0, |ensemble| ensemble.disagreement_weight)
    }

    /// The settings it was fitted with.
    pub fn settings(&self) -> &NeuralAdjoint {
        &self.settings
    }

    /// The same surrogate, inverted by Adam under other settings: starts, boundary loss, steps. Nothing is trained.
    ///
    /// # Errors
    /// [`InvalidArgument`] where a setting is out of bounds.
    pub fn with_inference(
        &self,
        start_count: usize,
        starts: Starts,
        descent: InputDescentSettings,
    ) -> Result<Self, InvalidArgument> {
        let levenberg_marquardt = None;
        let settings =
            NeuralAdjoint { start_count, starts, descent, levenberg_marquardt, ..self.settings.clone() };
        settings.validate()?;
        Ok(Self { settings, ..self.clone() })
    }

    /// The same surrogate, inverted by Levenberg–Marquardt from `start_count` starts, in host memory whatever the
    /// device. Nothing is trained.
    ///
    /// # Errors
    /// [`InvalidArgument`] where a setting is out of bounds.
    pub fn with_levenberg_marquardt(
        &self,
        start_count: usize,
        settings: LevenbergMarquardtSettings,
    ) -> Result<Self, InvalidArgument> {
        let settings =
            NeuralAdjoint { start_count, levenberg_marquardt: Some(settings), ..self.settings.clone() };
        settings.validate()?;
        Ok(Self { settings, ..self.clone() })
    }

    /// The same model with other starts.
    #[must_use]
    pub fn with_starts(&self, starts: Starts) -> Self {
        Self { settings: NeuralAdjoint { starts, ..self.settings.clone() }, ..self.clone() }
    }

    /// The surrogate's misfit on the host.
    pub(crate) fn weighted_surrogate<N: JacobianNetwork>(
        &self,
    ) -> Result<WeightedSurrogate<N>, ProposeError> {
        let members: Vec<&Surrogate> = self.members().collect();
        WeightedSurrogate::new(&members, self.disagreement_weight()).map_err(propose_backend)
    }

    pub(crate) fn boundary(&self) -> BoundaryLoss {
        BoundaryLoss::new(&self.domain, &self.surrogate.x)
    }

    /// What draws the starts of every target; `boundary` is the model's own.
    fn start_source<'a>(&'a self, boundary: &'a BoundaryLoss) -> Result<StartSource<'a>, ProposeError> {
        let NeuralAdjoint { starts, start_count: count, .. } = self.settings;
        let screened = starts == Starts::Screened;
        let screen = screened.then(|| Screen::new(&self.surrogate, &self.designs)).transpose()?;
        Ok(StartSource { starts, count, designs: &self.designs, boundary, screen })
    }

    /// Standardised targets, each y times the root of its weight, (targets, `dim_y`).
    fn weighted_targets(&self, y: ArrayView2<'_, f64>) -> Result<Array2<f64>, ProposeError> {
        let roots: Array1<f64> =
            self.surrogate.error_weights().0.iter().map(|weight| f64::from(*weight).sqrt()).collect();
        Ok(self.surrogate.y.transform(y)? * roots)
    }

    /// [`NeuralAdjointModel::propose_group`] by Levenberg–Marquardt.
    fn propose_by_least_squares(
        &self,
        y: ArrayView2<'_, f64>,
        (seeds, source): (&[u64], &StartSource<'_>),
        n: usize,
        settings: &LevenbergMarquardtSettings,
    ) -> Result<(Array2<f64>, Vec<f64>), ProposeError> {
        let surrogate = self.weighted_surrogate::<HostMlp>()?;
        let boundary = source.boundary;
        let reach = Reach::new(boundary, &self.designs);
        let targets = self.weighted_targets(y)?;
        let padded = surrogate.weighted(self.surrogate.y.transform(y)?.view());
        let ranked: Vec<RankedEnds> = seeds
            .par_iter()
            .enumerate()
            .map(|(target, seed)| {
                let starts = source.draw(*seed, targets.row(target));
                let ends = surrogate.descend(starts.view(), padded.row(target), &reach, settings);
                RankedEnds::new(&ends, n, boundary, settings.boundary_weight)
            })
            .collect();
        let designs: Vec<_> = ranked.iter().map(|ends| ends.designs.view()).collect();
        let designs = ndarray::concatenate(Axis(0), &designs)
            .map_err(|error| ProposeError::Backend(Box::new(error)))?;
        let errors =
            ranked.iter().flat_map(|ends| &ends.errors).map(|error| error * surrogate.unit).collect();
        Ok((self.surrogate.x.inverse(designs.view())?, errors))
    }

    /// The best `n` end points of each target in a group: designs and predicted errors.
    fn propose_group(
        &self,
        y: ArrayView2<'_, f64>,
        (seeds, source): (&[u64], &StartSource<'_>),
        n: usize,
    ) -> Result<(Array2<f64>, Vec<f64>), ProposeError> {
        if let Some(settings) = &self.settings.levenberg_marquardt {
            return self.propose_by_least_squares(y, (seeds, source), n, settings);
        }
        let (targets, count) = (seeds.len(), self.settings.start_count);
        let weighted = self.weighted_targets(y)?;
        let starts: Vec<Array2<f64>> =
            seeds.iter().zip(weighted.rows()).map(|(seed, target)| source.draw(*seed, target)).collect();
        let views: Vec<_> = starts.iter().map(|starts| starts.view()).collect();
        let starts =
            ndarray::concatenate(Axis(0), &views).map_err(|error| ProposeError::Backend(Box::new(error)))?;
        let y = self.surrogate.y.transform(y)?;
        let (weights, unit) = self.surrogate.error_weights();
        let descent = InputDescent {
            networks: self.members().map(|member| &member.network).collect(),
            disagreement: self.disagreement_weight(),
            settings: &self.settings.descent,
            weights: &weights,
            boundary: source.boundary,
            wanted: n,
        };
        let device = &self.surrogate.device;
        let end = tensor(starts.view(), device)
            .and_then(|starts| descent.run(&starts, &tensor(y.view(), device)?))
            .map_err(propose_backend)?;
        let DescentEnd { designs, losses, errors } = end;
        let designs = designs.into_iter().map(f64::from).collect();
        let designs = Array2::from_shape_vec(starts.dim(), designs)
            .map_err(|error| ProposeError::Backend(Box::new(error)))?;
        let best: Vec<usize> = (0..targets)
            .flat_map(|target| {
                let mut order: Vec<usize> = (target * count..(target + 1) * count).collect();
                // A stable sort: ties keep the order of the starts on every machine.
                order.sort_by(|a, b| losses[*a].total_cmp(&losses[*b]));
                order.truncate(n);
                order
            })
            .collect();
        let designs = self.surrogate.x.inverse(designs.select(Axis(0), &best).view())?;
        Ok((designs, best.iter().map(|row| f64::from(errors[*row]) * unit).collect()))
    }
}

impl InverseModel for NeuralAdjointModel {
    fn name(&self) -> &'static str {
        NeuralAdjoint::LABEL
    }

    fn dim_x(&self) -> usize {
        self.surrogate.x.width()
    }

    fn dim_y(&self) -> usize {
        self.surrogate.y.width()
    }

    fn parameter_count(&self) -> usize {
        self.members().map(Surrogate::parameter_count).sum()
    }

    fn propose(
        &self,
        y: ArrayView2<'_, f64>,
        n: usize,
        rng: &mut dyn Rng,
    ) -> Result<Proposals, ProposeError> {
        let starts = self.settings.start_count;
        check_request(y, self.dim_y(), n, starts).map_err(|mut error| {
            if n > starts && error.argument == "n" {
                error.expected.push_str(", the model's `start_count`");
            }
            error
        })?;
        // One seed a target, drawn in order: a target's starts depend on no later target.
        let seeds: Vec<u64> = (0..y.nrows()).map(|_| rng.next_u64()).collect();
        let rows = if self.surrogate.device.is_cpu() { GROUP_ROWS } else { DEVICE_GROUP_ROWS };
        let group = (rows / self.settings.start_count).max(1);
        let boundary = self.boundary();
        let source = self.start_source(&boundary)?;
        let (mut designs, mut errors) = (Vec::new(), Vec::new());
        for (seeds, y) in seeds.chunks(group).zip(y.axis_chunks_iter(Axis(0), group)) {
            let (group_designs, group_errors) = self.propose_group(y, (seeds, &source), n)?;
            designs.extend(group_designs);
            errors.extend(group_errors);
        }
        let shape = (y.nrows(), n);
        let failed = |error: ndarray::ShapeError| ProposeError::Backend(Box::new(error));
        let designs = Array3::from_shape_vec((shape.0, n, self.dim_x()), designs).map_err(failed)?;
        let errors = Array2::from_shape_vec(shape, errors).map_err(failed)?;
        Ok(Proposals::new(designs)?.with_predicted_errors(errors)?)
    }
}
