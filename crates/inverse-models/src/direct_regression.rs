//! Direct regression: one network from measurement to design, trained on squared error.
//!
//! A baseline that shows why inverse problems need more (section 2): where several designs give one
//! measurement, squared error is least at their average, which usually gives another.

use std::path::Path;

use inverse_core::{
    Dataset, Device, FitContext, FitError, InvalidArgument, InverseModel, Method, Proposals, ProposeError,
};
use ndarray::ArrayView2;
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::deterministic_proposals::propose_one;
use crate::device::backend;
use crate::fitted::Fitted;
use crate::nn::{FrozenMlp, Pairs, TrainingReport, train};
use crate::presets::{PresetMethod, Source, smooth_regression};
use crate::registry::LoadableMethod;
use crate::regression_network::RegressionNetwork;
use crate::saved_model::{self, ModelFile, SavedModel, insert_network};
use crate::standardized_data::StandardizedData;
use crate::surrogate::{Regression, RegressionSettings};
use crate::tensor_file::{ModelFileError, NamedTensors};

/// Settings of the direct-regression baseline.
///
/// ```
/// use inverse_core::{BoxPrior, Dataset, FitContext, FnSimulator, InverseModel, Method, RandomStreams, SimulatedTask};
/// use inverse_models::{DirectRegression, presets::{PresetMethod, Source}};
///
/// let parabola = FnSimulator::new(1, 1, |x, y| y[0] = x[0] * x[0])?;
/// let task = SimulatedTask::new("parabola", parabola, BoxPrior::new(&[-1.0], &[1.0])?)?;
/// let streams = RandomStreams::new(0);
/// let data = Dataset::from_task(&task, 400, &mut streams.stream("data", 0))?;
/// let model = DirectRegression::preset("parabola", Source::Quick)?.fit(&data, &mut FitContext::new(0))?;
/// let target = ndarray::array![[0.64]];
/// let proposals = model.propose(target.view(), 1, &mut streams.stream("propose", 0))?;
/// // ±0.8 are the solutions; their average is none.
/// assert!(proposals.designs()[[0, 0, 0]].abs() < 0.4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectRegression {
    /// The network from y to x.
    pub network: RegressionSettings,
}

impl PresetMethod for DirectRegression {
    const NAME: &'static str = "direct-regression";
    const LABEL: &'static str = "direct regression";

    /// The same for all tasks; the authors have no such method, so [`Source::Authors`] is the paper's
    /// forward network turned round.
    fn preset(_task: &str, source: Source) -> Result<Self, InvalidArgument> {
        let network = match source {
            Source::Authors => RegressionSettings::default(),
            Source::Tuned => smooth_regression(vec![500; 4], 40),
            Source::Quick => smooth_regression(vec![64; 3], 20),
        };
        Ok(Self { network })
    }

    fn parameter_count(&self, dim_x: usize, dim_y: usize) -> usize {
        self.network.parameter_count(dim_y, dim_x)
    }
}

impl Method for DirectRegression {
    type Model = DirectRegressionModel;

    fn fit(&self, data: &Dataset, context: &mut FitContext<'_>) -> Result<Self::Model, FitError> {
        let settings = &self.network.training;
        let (inputs, outputs) = (data.y().ncols(), data.x().ncols());
        self.network.validate(inputs, outputs)?;
        let pairs = StandardizedData::new(data, settings.validation_share, context)?;
        let mut stream = context.streams().stream("direct regression weights", 0);
        let network = RegressionNetwork::new(&self.network, inputs, outputs, &pairs.device, &mut stream)
            .map_err(backend)?;
        let objective = Regression { stage: "inverse network", network };
        let turned = |pairs: &Pairs| Pairs { x: pairs.y.clone(), y: pairs.x.clone() };
        let (training, validation) = (turned(&pairs.training), turned(&pairs.validation));
        let identity = format!("{self:?} {}", data.content_hash());
        let report = train(&objective, &training, &validation, settings, &identity, context)?;
        let network = objective.network.freeze().map_err(backend)?;
        let fitted = Fitted::new(self, data, &pairs, report);
        Ok(DirectRegressionModel { fitted, network, device: pairs.device })
    }
}

/// A fitted direct regression.
#[derive(Debug, Clone)]
pub struct DirectRegressionModel {
    fitted: Fitted<DirectRegression>,
    network: FrozenMlp,
    device: candle_core::Device,
}

impl DirectRegressionModel {
    /// The settings it was fitted with.
    pub fn settings(&self) -> &DirectRegression {
        &self.fitted.settings
    }

    /// Loads a direct regression; [`load`](crate::load) loads any model.
    ///
    /// # Errors
    /// As [`load`](crate::load); also where the folder holds a model of another method.
    pub fn load(folder: &Path, device: Device) -> Result<Self, ModelFileError> {
        saved_model::load_as::<DirectRegression>(folder, device)
    }
}

impl InverseModel for DirectRegressionModel {
    fn name(&self) -> &'static str {
        DirectRegression::LABEL
    }

    fn dim_x(&self) -> usize {
        self.fitted.x.width()
    }

    fn dim_y(&self) -> usize {
        self.fitted.y.width()
    }

    fn parameter_count(&self) -> usize {
        self.settings().parameter_count(self.dim_x(), self.dim_y())
    }

    /// One design a target, `n` times: the model is deterministic.
    fn propose(
        &self,
        y: ArrayView2<'_, f64>,
        n: usize,
        _rng: &mut dyn Rng,
    ) -> Result<Proposals, ProposeError> {
        let Fitted { x, y: y_units, .. } = &self.fitted;
        propose_one(&self.network, y_units, x, &self.device, y, n)
    }
}

impl SavedModel for DirectRegressionModel {
    fn save(&self, folder: &Path) -> Result<(), ModelFileError> {
        let mut tensors = NamedTensors::new();
        insert_network(&mut tensors, "network", &self.network)?;
        saved_model::save(folder, DirectRegression::NAME, &self.fitted, &tensors)
    }

    fn training_reports(&self) -> Vec<(&'static str, &TrainingReport)> {
        vec![("inverse network", &self.fitted.training)]
    }
}

impl LoadableMethod for DirectRegression {
    fn load(mut file: ModelFile) -> Result<DirectRegressionModel, ModelFileError> {
        let fitted: Fitted<DirectRegression> =
            Fitted::from_file(&file, |settings: &DirectRegression| settings.network.training.validate())?;
        let shape = fitted.settings.network.shape(fitted.y.width(), fitted.x.width());
        let network = file.take_network("network", &shape)?;
        Ok(DirectRegressionModel { fitted, network, device: file.device.clone() })
    }
}
