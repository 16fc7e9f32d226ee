//! A training killed at any moment goes on from its checkpoint and ends with the same bits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use inverse_core::{
    BoxPrior, CheckpointPolicy, Dataset, FitContext, FitError, FnSimulator, Method, RandomStreams,
    SimulatedTask,
};
use inverse_models::{NeuralAdjoint, NeuralAdjointModel, SavedModel};
use rand::RngExt;

/// How long a child may take to its first checkpoint: seconds, but for a machine that has much else to do.
const PATIENCE: Duration = Duration::from_mins(2);

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
        let start = Instant::now();
        while attempt == 0 && !checkpoint(folder.path()).exists() {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "the child ended without a checkpoint: {ended:?}");
            if start.elapsed() > PATIENCE {
                child.kill().unwrap();
                panic!("no checkpoint after {PATIENCE:?}");
            }
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

/// The error of going on from a checkpoint some of whose bytes were replaced by as many others.
fn refusal(folder: &Path, whole: &[u8], from: &str, to: &str) -> String {
    assert_eq!(from.len(), to.len());
    let position = whole.windows(from.len()).position(|window| window == from.as_bytes());
    let position = position.unwrap_or_else(|| panic!("no {from} in the checkpoint"));
    let mut changed = whole.to_vec();
    changed[position..position + to.len()].copy_from_slice(to.as_bytes());
    std::fs::write(checkpoint(folder), &changed).unwrap();
    match fit(3, 7, Some(folder)) {
        Err(FitError::Checkpoint(error)) => error.to_string(),
        other => panic!("{from} → {to}: {other:?}"),
    }
}

#[test]
fn checkpoints_that_no_training_writes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    fit(3, 7, Some(folder.path())).unwrap();
    let whole = std::fs::read(checkpoint(folder.path())).unwrap();
    let refused = |from: &str, to: &str| refusal(folder.path(), &whole, from, to);
    let number = |name: &str, digits: &str| format!("\\\"{name}\\\": {digits}");
    let error = refused(&number("schema_version", "1"), &number("schema_version", "2"));
    assert!(error.contains("update the library"), "{error}");
    for (name, digit) in [("epoch", "4"), ("epoch", "2"), ("epoch", "9"), ("best_epoch", "9")] {
        let text = String::from_utf8_lossy(&whole).into_owned();
        let start = text.find(&number(name, "")).unwrap() + number(name, "").len();
        let found = &text[start..=start];
        let error = refused(&number(name, found), &number(name, digit));
        assert!(error.contains("at most 3 epochs"), "{name} {digit}: {error}");
    }
    let error = refused("\\\"finished\\\"", "\\\"finishes\\\"");
    assert!(error.contains("missing field `finished`"), "{error}");
    let error = refused("first_moment.0", "last__moment.0");
    assert!(error.contains("`first_moment.0`"), "{error}");
}

#[test]
fn flipped_bytes_of_a_checkpoint_end_in_a_model_or_an_error() {
    let folder = tempfile::tempdir().unwrap();
    fit(1, 7, Some(folder.path())).unwrap();
    let whole = std::fs::read(checkpoint(folder.path())).unwrap();
    let mut stream = RandomStreams::new(9).stream("flips", 0);
    for round in 0..60 {
        let mut changed = whole.clone();
        // The header is short beside the tensors: every other flip is meant for it.
        let end = if round % 2 == 0 { 2500 } else { whole.len() };
        changed[stream.random_range(0..end)] ^= stream.random_range(1..=255_u8);
        std::fs::write(checkpoint(folder.path()), &changed).unwrap();
        let _ = fit(1, 7, Some(folder.path()));
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
