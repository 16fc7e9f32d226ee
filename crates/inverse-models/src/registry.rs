//! The methods this crate knows by name: one line each.

use std::path::Path;

use inverse_core::{Dataset, Device, FitContext, FitError, InvalidArgument, Method};

use crate::cinn::ConditionalInvertibleNetwork;
use crate::cvae::ConditionalVae;
use crate::direct_regression::DirectRegression;
use crate::inn::InvertibleNetwork;
use crate::mdn::MixtureDensityNetwork;
use crate::nearest_neighbor::NearestNeighbor;
use crate::neural_adjoint::NeuralAdjoint;
use crate::presets::{PresetMethod, Source};
use crate::saved_model::{ModelFile, SavedModel};
use crate::tandem::Tandem;
use crate::tensor_file::ModelFileError;

/// In the order of the paper's tables, baselines last.
const METHODS: &[Entry] = &[
    entry::<NeuralAdjoint>(),
    entry::<Tandem>(),
    entry::<ConditionalVae>(),
    entry::<InvertibleNetwork>(),
    entry::<ConditionalInvertibleNetwork>(),
    entry::<MixtureDensityNetwork>(),
    entry::<NearestNeighbor>(),
    entry::<DirectRegression>(),
];

/// A method whose models can be read back.
pub(crate) trait LoadableMethod: PresetMethod<Model: SavedModel> {
    /// The model in that file.
    fn load(file: ModelFile) -> Result<Self::Model, ModelFileError>;
}

/// Settings of some method, when which one is known at run time only.
///
/// ```
/// use inverse_models::{AnyMethod, method_by_name, presets::Source};
///
/// let method = method_by_name("cVAE", "sine-wave", Source::Quick)?;
/// assert_eq!((method.name(), method.label()), ("cvae", "cVAE"));
/// # Ok::<(), inverse_core::InvalidArgument>(())
/// ```
pub trait AnyMethod: Send + Sync {
    /// The method's name in files and on command lines.
    fn name(&self) -> &'static str;

    /// The method's name in tables.
    fn label(&self) -> &'static str;

    /// The settings as JSON: everything that a training depends on beside data and seed.
    ///
    /// # Errors
    /// [`InvalidArgument`] where JSON cannot hold a setting.
    fn settings(&self) -> Result<String, InvalidArgument>;

    /// The same settings with that many epochs in every training: for a look at a method that is not trained well.
    ///
    /// # Errors
    /// [`InvalidArgument`] where JSON cannot hold a setting.
    fn with_epochs(&self, epochs: usize) -> Result<Box<dyn AnyMethod>, InvalidArgument>;

    /// Number of trainable parameters for designs and measurements of those widths.
    fn parameter_count(&self, dim_x: usize, dim_y: usize) -> usize;

    /// Fits the method; see [`Method::fit`].
    ///
    /// # Errors
    /// As [`Method::fit`].
    fn fit(&self, data: &Dataset, context: &mut FitContext<'_>) -> Result<Box<dyn SavedModel>, FitError>;

    /// A model that this method fitted, from the folder it was saved to; see [`PresetMethod::load_model`].
    ///
    /// # Errors
    /// As [`PresetMethod::load_model`].
    fn load(&self, folder: &Path, device: Device) -> Result<Box<dyn SavedModel>, ModelFileError>;
}

/// The adapter behind [`AnyMethod`]; a type of its own, so that [`Method::fit`] stays unambiguous.
struct Erased<M>(M);

impl<M: PresetMethod<Model: SavedModel + 'static> + Send + Sync + 'static> AnyMethod for Erased<M> {
    fn name(&self) -> &'static str {
        M::NAME
    }

    fn label(&self) -> &'static str {
        M::LABEL
    }

    fn settings(&self) -> Result<String, InvalidArgument> {
        serde_json::to_string(&self.0).map_err(unwritable)
    }

    fn with_epochs(&self, epochs: usize) -> Result<Box<dyn AnyMethod>, InvalidArgument> {
        let mut settings = serde_json::to_value(&self.0).map_err(unwritable)?;
        set_epochs(&mut settings, epochs);
        Ok(any_method(serde_json::from_value::<M>(settings).map_err(unwritable)?))
    }

    fn parameter_count(&self, dim_x: usize, dim_y: usize) -> usize {
        self.0.parameter_count(dim_x, dim_y)
    }

    fn fit(&self, data: &Dataset, context: &mut FitContext<'_>) -> Result<Box<dyn SavedModel>, FitError> {
        Ok(Box::new(Method::fit(&self.0, data, context)?))
    }

    fn load(&self, folder: &Path, device: Device) -> Result<Box<dyn SavedModel>, ModelFileError> {
        M::load_model(folder, device)
    }
}

fn unwritable(error: serde_json::Error) -> InvalidArgument {
    InvalidArgument::new("settings", "numbers that JSON can hold", error)
}

/// Writes `epochs` into every [`TrainingSettings`](crate::nn::TrainingSettings) among the settings.
fn set_epochs(settings: &mut serde_json::Value, epochs: usize) {
    if let Some(fields) = settings.as_object_mut() {
        for (name, value) in fields {
            if name == "epochs" {
                *value = epochs.into();
            } else {
                set_epochs(value, epochs);
            }
        }
    }
}

/// Settings of a method of one's own as [`AnyMethod`], for studies.
pub fn any_method<M>(method: M) -> Box<dyn AnyMethod>
where
    M: PresetMethod<Model: SavedModel + 'static> + Send + Sync + 'static,
{
    Box::new(Erased(method))
}

/// Makes preset settings for a task.
type Preset = fn(&str, Source) -> Result<Box<dyn AnyMethod>, InvalidArgument>;

/// Reads one kind of model from its file.
pub(crate) type Loader = fn(ModelFile) -> Result<Box<dyn SavedModel>, ModelFileError>;

struct Entry {
    name: &'static str,
    label: &'static str,
    loader: Loader,
    preset: Preset,
}

const fn entry<M>() -> Entry
where
    M: LoadableMethod<Model: 'static> + Send + Sync + 'static,
{
    Entry {
        name: M::NAME,
        label: M::LABEL,
        loader: |file| Ok(Box::new(M::load(file)?)),
        preset: |task, source| Ok(any_method(M::preset(task, source)?)),
    }
}

/// The names of all methods, in the order of the paper's tables; baselines last.
pub fn method_names() -> Vec<&'static str> {
    METHODS.iter().map(|entry| entry.name).collect()
}

/// Preset settings of the method of that name; its name in tables is known too, in any case.
///
/// # Errors
/// [`InvalidArgument`] where no method has that name, or the source has no settings for the task.
pub fn method_by_name(name: &str, task: &str, source: Source) -> Result<Box<dyn AnyMethod>, InvalidArgument> {
    let known = |entry: &&Entry| entry.name == name || entry.label.eq_ignore_ascii_case(name);
    let entry = METHODS.iter().find(known).ok_or_else(|| {
        let expected = format!("one of {}", method_names().join(", "));
        InvalidArgument::new("method", expected, format!("`{name}`"))
    })?;
    (entry.preset)(task, source)
}

pub(crate) fn loader(name: &str) -> Option<Loader> {
    METHODS.iter().find(|entry| entry.name == name).map(|entry| entry.loader)
}
