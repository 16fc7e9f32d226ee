//! Studies with a task and a method of one's own: trained once, loaded from their own files ever after.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use inverse_bench::{Profile, Study, StudyArguments, TaskResult};
use inverse_core::{
    BoxPrior, Dataset, Device, FitContext, FitError, FnSimulator, InvalidArgument, InverseModel, Method,
    Proposals, ProposeError, SimulatedTask, check_request,
};
use inverse_models::presets::{PresetMethod, Source};
use inverse_models::{AnyMethod, ModelFileError, SavedModel, any_method};
use ndarray::{Array3, ArrayView2};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

static TRAININGS: AtomicUsize = AtomicUsize::new(0);

/// Designs around the mean of the training designs.
#[derive(Serialize, Deserialize)]
struct AroundTheMean {
    spread: f64,
}

#[derive(Serialize, Deserialize)]
struct Mean {
    mean: f64,
    spread: f64,
}

impl Method for AroundTheMean {
    type Model = Mean;

    fn fit(&self, data: &Dataset, _context: &mut FitContext<'_>) -> Result<Mean, FitError> {
        TRAININGS.fetch_add(1, Ordering::Relaxed);
        Ok(Mean { mean: data.x().mean().unwrap_or_default(), spread: self.spread })
    }
}

impl InverseModel for Mean {
    fn name(&self) -> &'static str {
        "around-the-mean"
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
        check_request(y, 1, n, usize::MAX)?;
        let design = || self.mean + self.spread * rng.random_range(-1.0..1.0);
        Ok(Proposals::new(Array3::from_shape_simple_fn((y.nrows(), n, 1), design))?)
    }
}

impl SavedModel for Mean {
    fn save(&self, folder: &Path) -> Result<(), ModelFileError> {
        let path = folder.join("mean.json");
        let json = serde_json::to_vec(self).unwrap();
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&path, json))
            .map_err(|source| ModelFileError::Io { path, source })
    }
}

impl PresetMethod for AroundTheMean {
    const NAME: &'static str = "around-the-mean";
    const LABEL: &'static str = "around the mean";

    fn preset(_task: &str, _source: Source) -> Result<Self, InvalidArgument> {
        Ok(Self { spread: 0.25 })
    }

    fn parameter_count(&self, _dim_x: usize, _dim_y: usize) -> usize {
        1
    }

    fn load_model(folder: &Path, _device: Device) -> Result<Box<dyn SavedModel>, ModelFileError> {
        let path = folder.join("mean.json");
        let bytes = fs::read(&path).map_err(|source| ModelFileError::Io { path, source })?;
        Ok(Box::new(serde_json::from_slice::<Mean>(&bytes).unwrap()))
    }
}

fn score(folder: &Path) -> (TaskResult, String) {
    let square = FnSimulator::new(1, 1, |x, y| y[0] = x[0] * x[0]).unwrap();
    let task = SimulatedTask::new("square", square, BoxPrior::new(&[0.0], &[1.0]).unwrap()).unwrap();
    let arguments = StudyArguments {
        profile: Some(Profile::Smoke),
        out: Some(folder.into()),
        threads: Some(2),
        trainings: Some(2),
        proposals: Some(20),
        quiet: true,
        ..StudyArguments::default()
    };
    // Twice in one process, with as many threads.
    let study = Study::new(&arguments).unwrap();
    let own: Box<dyn AnyMethod> = any_method(AroundTheMean::preset("square", Source::Quick).unwrap());
    let result = study.variant(&task, &*own, own.label()).unwrap();
    let rows = study.score_rows(std::slice::from_ref(&result), 20, 3).unwrap();
    (result, format!("{rows:?}"))
}

#[test]
fn a_method_of_ones_own_is_trained_once_and_loaded_from_its_own_files() {
    let folder = tempfile::tempdir().unwrap();
    let (first, rows) = score(folder.path());
    assert_eq!(TRAININGS.load(Ordering::Relaxed), 2);
    assert_eq!((first.task.as_str(), first.method.as_str()), ("square", "around the mean"));
    // Designs are 1/4 to 3/4, so y = x² of 0 to 1 is met within (1 - 9/16)² at worst, and r_T falls with T.
    let (r_1, r_20) = (first.errors.mean(1).unwrap(), first.errors.mean(20).unwrap());
    assert!(r_20 < r_1 && r_20 < 0.2, "r_1 = {r_1}, r_20 = {r_20}");
    let (_, again) = score(folder.path());
    assert_eq!((TRAININGS.load(Ordering::Relaxed), again), (2, rows));
}
