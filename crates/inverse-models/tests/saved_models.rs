//! Saved models: the same bits in a new process, and typed errors for every file that is not a model.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]

use std::path::{Path, PathBuf};

use inverse_core::{
    BoxPrior, Dataset, Device, FitContext, FnSimulator, InverseModel, Method, RandomStreams, SimulatedTask,
};
use inverse_models::{ModelFileError, NeuralAdjoint, NeuralAdjointModel, SavedModel, load};
use ndarray::array;
use proptest::prelude::*;

fn model() -> NeuralAdjointModel {
    let wave = FnSimulator::new(2, 2, |x, y| {
        y[0] = (3.0 * x[0]).sin();
        y[1] = 100.0 * x[1];
    })
    .unwrap();
    let prior = BoxPrior::new(&[-1.0; 2], &[1.0; 2]).unwrap();
    let task = SimulatedTask::new("wave", wave, prior).unwrap();
    let data = Dataset::from_task(&task, 200, &mut RandomStreams::new(1).stream("data", 0)).unwrap();
    let mut method = NeuralAdjoint { start_count: 20, ..Default::default() };
    method.surrogate.hidden = vec![8, 8];
    method.surrogate.training.epochs = 5;
    method.surrogate.training.batch_size = 40;
    method.fit(&data, &mut FitContext::new(3)).unwrap()
}

fn saved() -> (tempfile::TempDir, PathBuf, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    model().save(folder.path()).unwrap();
    let file = folder.path().join("model.safetensors");
    let bytes = std::fs::read(&file).unwrap();
    (folder, file, bytes)
}

fn error(folder: &Path) -> ModelFileError {
    load(folder, Device::Cpu).err().expect("the file is refused")
}

/// The file's header (everything before the tensors) with one text replaced by another of equal length.
fn with_header(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len(), "the header's length is written before it");
    let position = bytes.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
    let mut changed = bytes.to_vec();
    changed[position..position + from.len()].copy_from_slice(to.as_bytes());
    changed
}

#[test]
fn loaded_models_propose_the_same_bits() {
    let model = model();
    let folder = tempfile::tempdir().unwrap();
    model.save(folder.path()).unwrap();
    let loaded = load(folder.path(), Device::Cpu).unwrap();
    let y = array![[0.5, 20.0], [-0.2, -70.0]];
    let rng = RandomStreams::new(9).stream("propose", 0);
    let ours = model.propose(y.view(), 7, &mut rng.clone()).unwrap();
    assert_eq!(loaded.propose(y.view(), 7, &mut rng.clone()).unwrap(), ours);
    assert_eq!(loaded.parameter_count(), model.parameter_count());
    let again = NeuralAdjointModel::load(folder.path(), Device::Cpu).unwrap();
    assert_eq!(again.settings(), model.settings());
    let readable = std::fs::read_to_string(folder.path().join("model.json")).unwrap();
    assert!(readable.contains("neural-adjoint") && readable.contains("dataset_hash"));
}

#[test]
fn truncated_files_are_refused() {
    let (folder, file, bytes) = saved();
    for length in (0..bytes.len()).step_by(bytes.len() / 97 + 1) {
        std::fs::write(&file, &bytes[..length]).unwrap();
        let error = error(folder.path());
        assert!(matches!(error, ModelFileError::Foreign { .. }), "{length}: {error}");
    }
}

#[test]
fn foreign_and_newer_files_are_refused() {
    let (folder, file, bytes) = saved();
    let tampered: [(&str, &str, &str); 6] = [
        (r#"schema_version\": 1"#, r#"schema_version\": 2"#, "schema version 2"),
        ("neural-adjoint", "natural-method", "natural-method"),
        ("surrogate.weight.0", "surrogate.weight.9", "surrogate.weight.0"),
        (r#"start_count\": 20"#, r#"start_count\":  0"#, "start_count"),
        (r#"\"activation\": \"relu\""#, r#"\"activation\": \"sine\""#, "sine"),
        (r#""shape":[8,2]"#, r#""shape":[2,8]"#, "[2, 8]"),
    ];
    for (from, to, word) in tampered {
        std::fs::write(&file, with_header(&bytes, from, to)).unwrap();
        let message = error(folder.path()).to_string();
        assert!(message.contains(word), "{from}: {message}");
    }
    let mut not_finite = bytes.clone();
    let end = not_finite.len();
    not_finite[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&file, not_finite).unwrap();
    assert!(error(folder.path()).to_string().contains("finite values"));
}

#[test]
fn missing_models_and_unwritable_folders_are_named() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(error(folder.path()), ModelFileError::Io { .. }));
    let file = folder.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    let error = model().save(&file).unwrap_err();
    assert!(error.to_string().contains("file"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
}

#[test]
#[cfg(not(feature = "cuda"))]
fn absent_devices_are_named() {
    let (folder, ..) = saved();
    let error = load(folder.path(), Device::Cuda(0)).err().unwrap().to_string();
    assert!(error.contains("cuda:0"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn flipped_bytes_give_a_model_or_an_error(position in 0.0..1.0_f64, value in any::<u8>()) {
        let (folder, file, mut bytes) = saved();
        let index = (position * bytes.len() as f64) as usize;
        bytes[index] = value;
        std::fs::write(&file, bytes).unwrap();
        if let Ok(model) = load(folder.path(), Device::Cpu) {
            let mut rng = RandomStreams::new(0).stream("propose", 0);
            let _ = model.propose(array![[0.0, 0.0]].view(), 3, &mut rng);
        }
    }
}
