//! A training killed at any moment goes on from its checkpoint and ends with the same bits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use inverse_core::{
    BoxPrior, CheckpointPolicy, Dataset, FitContext, FitError, FnSimulator, Method, RandomStreams,
    SimulatedTask,
};
use inverse_models::{NeuralAdjoint, NeuralAdjointModel, SavedModel};
use rand::RngExt;

/// Tells the child process where its checkpoints are.
const FOLDER: &str = "INVERSE_TEST_CHECKPOINTS";

fn method(epochs: usize) -> NeuralAdjoint {
    let mut method = NeuralAdjoint { start_count: 10, ..Default::default() };
    method.surrogate.hidden = vec![60, 60];
    method.surrogate.training.epochs = epochs;
    method.surrogate.training.batch_size = 32;
    method
}

fn data() -> Dataset {
    let wave = FnSimulator::new(2, 1, |x, y| y[0] = (3.0 * x[0]).sin() * x[1]).unwrap();
    let prior = BoxPrior::new(&[-1.0; 2], &[1.0; 2]).unwrap();
    let task = SimulatedTask::new("wave", wave, prior).unwrap();
    Dataset::from_task(&task, 600, &mut RandomStreams::new(1).stream("data", 0)).unwrap()
}

fn fit(epochs: usize, seed: u64, checkpoints: Option<&Path>) -> Result<NeuralAdjointModel, FitError> {
    let mut context = FitContext::new(seed);
    if let Some(folder) = checkpoints {
        let policy = CheckpointPolicy { folder: folder.to_owned(), every: Duration::ZERO };
        context = context.with_checkpoints(policy);
    }
    method(epochs).fit(&data(), &mut context)
}

fn bytes(model: &NeuralAdjointModel) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    model.save(folder.path()).unwrap();
    std::fs::read(folder.path().join("model.safetensors")).unwrap()
}

fn checkpoint(folder: &Path) -> PathBuf {
    folder.join("surrogate.checkpoint.safetensors")
}

/// The process that is killed; it does nothing unless the parent says where.
#[test]
fn child_process() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        fit(400, 7, Some(Path::new(&folder))).unwrap();
    }
}

#[test]
fn killed_trainings_end_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let mut moments = RandomStreams::new(5).stream("kill", 0);
    let mut killed = 0;
    for attempt in 0..6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child_process", "--exact"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // The first kill waits for a checkpoint, so that there is something to resume; later ones do not.
        while attempt == 0 && !checkpoint(folder.path()).exists() {
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_millis(moments.random_range(1..120)));
        // On Unix this is SIGKILL.
        child.kill().unwrap();
        killed += usize::from(!child.wait().unwrap().success());
    }
    assert!(killed > 0, "the child was too fast to be killed");
    let resumed = fit(400, 7, Some(folder.path())).unwrap();
    let uninterrupted = fit(400, 7, None).unwrap();
    assert_eq!(bytes(&resumed), bytes(&uninterrupted));
}

#[test]
fn checkpoints_of_another_training_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    fit(2, 7, Some(folder.path())).unwrap();
    for (epochs, seed) in [(3, 7), (2, 8)] {
        let error = fit(epochs, seed, Some(folder.path())).unwrap_err().to_string();
        assert!(error.contains("belongs to something else"), "{error}");
    }
    assert!(checkpoint(folder.path()).exists(), "a refused checkpoint is kept");
}

#[test]
fn damaged_checkpoints_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    fit(2, 7, Some(folder.path())).unwrap();
    let file = checkpoint(folder.path());
    let whole = std::fs::read(&file).unwrap();
    for length in [0, 7, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&file, &whole[..length]).unwrap();
        let error = fit(2, 7, Some(folder.path())).unwrap_err();
        assert!(matches!(error, FitError::Checkpoint(_)), "{error}");
    }
}

#[test]
fn folders_that_cannot_be_written_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").unwrap();
    let error = fit(2, 7, Some(&file)).unwrap_err().to_string();
    assert!(error.contains("cannot access") && error.contains("file"), "{error}");
}
