//! What every fitted model keeps beside its networks; also its header in files.

use inverse_core::{Dataset, InvalidArgument, Standardizer};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::nn::TrainingReport;
use crate::saved_model::ModelFile;
use crate::standardized_data::StandardizedData;
use crate::tensor_file::ModelFileError;

/// Settings, units, and how the training went.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Fitted<S> {
    pub(crate) settings: S,
    pub(crate) x: Standardizer,
    pub(crate) y: Standardizer,
    pub(crate) training: TrainingReport,
    pub(crate) dataset_hash: String,
}

impl<S: Clone> Fitted<S> {
    pub(crate) fn new(
        settings: &S,
        data: &Dataset,
        pairs: &StandardizedData,
        training: TrainingReport,
    ) -> Self {
        Self {
            settings: settings.clone(),
            x: pairs.x.clone(),
            y: pairs.y.clone(),
            training,
            dataset_hash: data.content_hash(),
        }
    }
}

impl<S: DeserializeOwned> Fitted<S> {
    /// The header of a model's file, checked.
    pub(crate) fn from_file(
        file: &ModelFile,
        validate: impl Fn(&S) -> Result<(), InvalidArgument>,
    ) -> Result<Self, ModelFileError> {
        let fitted: Self = file.description()?;
        validate(&fitted.settings).map_err(|error| file.inconsistent(&error))?;
        file.check_standardizers([&fitted.x, &fitted.y])?;
        Ok(fitted)
    }
}

/// Whether a setting is a finite number of at least 0.
pub(crate) fn check_not_negative(name: &str, value: f64) -> Result<(), InvalidArgument> {
    if value >= 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(InvalidArgument::new(name, "a number of at least 0", value))
}

/// Whether a setting is a finite number above 0.
pub(crate) fn check_positive(name: &str, value: f64) -> Result<(), InvalidArgument> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(InvalidArgument::new(name, "a positive number", value))
}

/// Whether a count can be used.
pub(crate) fn check_count(name: &str, count: usize, largest: usize) -> Result<(), InvalidArgument> {
    if (1..=largest).contains(&count) {
        return Ok(());
    }
    Err(InvalidArgument::new(name, format!("1 to {largest}"), count))
}
