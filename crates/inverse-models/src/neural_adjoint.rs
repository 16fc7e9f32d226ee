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
    RandomStreams, check_request,
};
use ndarray::{Array2, Array3, ArrayView2, Axis};
use rand::seq::index;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::boundary_loss::BoundaryLoss;
use crate::device::propose_backend;
use crate::input_descent::{InputDescent, InputDescentSettings};
use crate::nn::{ConvolutionalHead, Schedule};
use crate::presets::{
    PresetMethod, Source, authors_training, smooth_regression, surrogate_widths, tuned_surrogate, unreleased,
};
use crate::standardized_data::{array, tensor};
use crate::surrogate::{RegressionSettings, Surrogate};

/// No model draws more starts for one target; a mistyped count fails with a message.
const LARGEST_START_COUNT: usize = 1 << 20;

/// Rows that descend together: it bounds the memory whatever the number of targets.
const GROUP_ROWS: usize = 1 << 16;

/// The same on a GPU, which keeps two dozen numbers a row and takes a network's layers for a few thousand rows at once.
const DEVICE_GROUP_ROWS: usize = 1 << 20;

/// Training designs that a model keeps to draw starts from.
const LARGEST_DESIGN_COUNT: usize = 1 << 14;

/// Where designs start: the Ω of section 8.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Starts {
    /// Designs of the training data: draws from the prior ("add Ω" in Table 5).
    #[default]
    Prior,
    /// Uniform over the domain (Table 5 without Ω).
    Uniform,
}

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
}

impl Default for NeuralAdjoint {
    fn default() -> Self {
        Self {
            surrogate: RegressionSettings::default(),
            start_count: 1000,
            starts: Starts::default(),
            descent: InputDescentSettings::default(),
        }
    }
}

impl NeuralAdjoint {
    pub(crate) fn validate(&self) -> Result<(), InvalidArgument> {
        if !(1..=LARGEST_START_COUNT).contains(&self.start_count) {
            let expected = format!("1 to {LARGEST_START_COUNT}");
            return Err(InvalidArgument::new("start_count", expected, self.start_count));
        }
        self.descent.validate()
    }
}

impl PresetMethod for NeuralAdjoint {
    const NAME: &'static str = "neural-adjoint";
    const LABEL: &'static str = "NA";

    fn preset(task: &str, source: Source) -> Result<Self, InvalidArgument> {
        let descent = |steps: usize| InputDescentSettings {
            steps,
            learning_rate: 0.3,
            schedule: Schedule::Cosine { last: 1e-4 },
            boundary_weight: 0.01,
            ..InputDescentSettings::default()
        };
        match source {
            Source::Authors => authors_preset(task),
            Source::Tuned => Ok(Self {
                surrogate: tuned_surrogate(task),
                start_count: 1000,
                starts: Starts::Prior,
                descent: descent(100),
            }),
            Source::Quick => Ok(Self {
                surrogate: smooth_regression(vec![200; 3], 60),
                start_count: 250,
                starts: Starts::Prior,
                // A step through 300 measurements costs several of the others'.
                descent: descent(if task == "metamaterial" { 50 } else { 80 }),
            }),
        }
    }

    fn parameter_count(&self, dim_x: usize, dim_y: usize) -> usize {
        self.surrogate.parameter_count(dim_x, dim_y)
    }
}

fn authors_preset(task: &str) -> Result<NeuralAdjoint, InvalidArgument> {
    let (learning_rate, l2, factor) = match task {
        "ballistics" => (1e-2, 5e-3, 0.8),
        "sine-wave" => (5e-4, 5e-4, 0.5),
        "robotic-arm" => (1e-3, 2e-2, 0.5),
        "metamaterial" => (5e-4, 2e-5, 0.5),
        _ => return Err(unreleased(task)),
    };
    let is_metamaterial = task == "metamaterial";
    Ok(NeuralAdjoint {
        surrogate: RegressionSettings {
            hidden: if is_metamaterial { vec![1000; 4] } else { surrogate_widths(task) },
            head: is_metamaterial.then(ConvolutionalHead::metamaterial),
            training: authors_training(learning_rate, l2, factor),
            ..RegressionSettings::default()
        },
        start_count: 2048,
        starts: Starts::Prior,
        descent: InputDescentSettings {
            steps: 300,
            learning_rate: 0.5,
            schedule: Schedule::Plateau { factor: 0.5, patience: 10, lowest: 1e-6 },
            // Ten times the mean over D4's eight variables; a tenth of the sum for the others.
            boundary_weight: if is_metamaterial { 10.0 / 8.0 } else { 0.1 },
            ..InputDescentSettings::default()
        },
    })
}

impl Method for NeuralAdjoint {
    type Model = NeuralAdjointModel;

    fn fit(&self, data: &Dataset, context: &mut FitContext<'_>) -> Result<Self::Model, FitError> {
        self.validate()?;
        let surrogate = Surrogate::fit(&self.surrogate, data, context)?;
        let mut stream = context.streams().stream("neural adjoint designs", 0);
        let count = data.len().min(LARGEST_DESIGN_COUNT);
        let kept = index::sample(&mut stream, data.len(), count).into_vec();
        let designs = surrogate.x.transform(data.x().select(Axis(0), &kept).view())?;
        Ok(NeuralAdjointModel {
            settings: self.clone(),
            surrogate,
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
    /// Training designs in standardised units, (n, `dim_x`): the empirical Ω.
    pub(crate) designs: Array2<f32>,
    pub(crate) domain: Domain,
    pub(crate) dataset_hash: String,
}

impl NeuralAdjointModel {
    /// The forward network.
    pub fn surrogate(&self) -> &Surrogate {
        &self.surrogate
    }

    /// The settings it was fitted with.
    pub fn settings(&self) -> &NeuralAdjoint {
        &self.settings
    }

    /// The same surrogate under other inference settings: starts, boundary loss, steps. Nothing is trained.
    ///
    /// # Errors
    /// [`InvalidArgument`] where a setting is out of bounds.
    pub fn with_inference(
        &self,
        start_count: usize,
        starts: Starts,
        descent: InputDescentSettings,
    ) -> Result<Self, InvalidArgument> {
        let surrogate = self.settings.surrogate.clone();
        let settings = NeuralAdjoint { surrogate, start_count, starts, descent };
        settings.validate()?;
        Ok(Self { settings, ..self.clone() })
    }

    /// Starts of one target in standardised units, (`start_count`, `dim_x`).
    fn starts(&self, seed: u64) -> Array2<f64> {
        let mut stream = RandomStreams::new(seed).stream("neural adjoint starts", 0);
        let count = self.settings.start_count;
        match self.settings.starts {
            Starts::Prior => {
                // Without replacement as long as the designs last: equal starts would be wasted work.
                let rows = self.designs.nrows();
                let mut chosen = Vec::with_capacity(count);
                while chosen.len() < count {
                    chosen.extend(index::sample(&mut stream, rows, rows.min(count - chosen.len())));
                }
                self.designs.select(Axis(0), &chosen).mapv(f64::from)
            }
            Starts::Uniform => {
                let BoundaryLoss { center, half_range: half } =
                    BoundaryLoss::new(&self.domain, &self.surrogate.x);
                Array2::from_shape_fn((count, center.len()), |(_, column)| {
                    center[column] + half[column] * stream.random_range(-1.0..=1.0)
                })
            }
        }
    }

    /// The best `n` end points of each target in a group: designs and predicted errors.
    fn propose_group(
        &self,
        y: ArrayView2<'_, f64>,
        seeds: &[u64],
        n: usize,
    ) -> Result<(Array2<f64>, Vec<f64>), ProposeError> {
        let (targets, count) = (seeds.len(), self.settings.start_count);
        let starts: Vec<Array2<f64>> = seeds.iter().map(|seed| self.starts(*seed)).collect();
        let views: Vec<_> = starts.iter().map(|starts| starts.view()).collect();
        let starts =
            ndarray::concatenate(Axis(0), &views).map_err(|error| ProposeError::Backend(Box::new(error)))?;
        let y = self.surrogate.y.transform(y)?;
        let (weights, unit) = self.surrogate.error_weights();
        let boundary = BoundaryLoss::new(&self.domain, &self.surrogate.x);
        let descent = InputDescent {
            network: &self.surrogate.network,
            settings: &self.settings.descent,
            weights: &weights,
            boundary: &boundary,
        };
        let device = &self.surrogate.device;
        let end = tensor(starts.view(), device)
            .and_then(|starts| descent.run(&starts, &tensor(y.view(), device)?))
            .map_err(propose_backend)?;
        let designs = array(&end.designs).map_err(propose_backend)?;
        let losses = end.losses.to_vec1::<f32>().map_err(propose_backend)?;
        let errors = end.errors.to_vec1::<f32>().map_err(propose_backend)?;
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
        self.surrogate.parameter_count
    }

    fn propose(
        &self,
        y: ArrayView2<'_, f64>,
        n: usize,
        rng: &mut dyn Rng,
    ) -> Result<Proposals, ProposeError> {
        check_request(y, self.dim_y(), n, self.settings.start_count)?;
        // One seed a target, drawn in order: a target's starts depend on no later target.
        let seeds: Vec<u64> = (0..y.nrows()).map(|_| rng.next_u64()).collect();
        let rows = if self.surrogate.device.is_cpu() { GROUP_ROWS } else { DEVICE_GROUP_ROWS };
        let group = (rows / self.settings.start_count).max(1);
        let (mut designs, mut errors) = (Vec::new(), Vec::new());
        for (seeds, y) in seeds.chunks(group).zip(y.axis_chunks_iter(Axis(0), group)) {
            let (group_designs, group_errors) = self.propose_group(y, seeds, n)?;
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
