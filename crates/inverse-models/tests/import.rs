//! Import of PyTorch state dicts: agreement with reference outputs, and typed errors for everything else.
//!
//! `pytorch_state_dict.py` made the fixture by hand and its outputs with numpy in double precision; where PyTorch
//! is installed, a test lets it write the files and compute the outputs itself.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]

use std::path::{Path, PathBuf};
use std::process::Command;

use approx::assert_abs_diff_eq;
use inverse_core::{Device, Simulator};
use inverse_models::{ImportError, ProxySimulator};
use ndarray::{Array2, s};
use proptest::prelude::*;

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn fixture() -> PathBuf {
    tests().join("pytorch_state_dict")
}

fn error(files: &[PathBuf]) -> ImportError {
    ProxySimulator::from_state_dicts(files, Device::Cpu).expect_err("the file is refused")
}

fn table(file: &Path, columns: usize) -> Array2<f64> {
    let text = std::fs::read_to_string(file).unwrap();
    let values: Vec<f64> = text.split(['\n', ',']).filter_map(|value| value.parse().ok()).collect();
    Array2::from_shape_vec((values.len() / columns, columns), values).unwrap()
}

/// Compares each member of a folder, and their mean, with the outputs beside them.
fn check(folder: &Path) {
    let table = table(&folder.join("outputs.csv"), 72);
    let x = table.slice(s![.., ..8]);
    let members = [table.slice(s![.., 8..40]), table.slice(s![.., 40..])];
    for (index, expected) in members.iter().enumerate() {
        let file = folder.join(format!("member{index}.pth"));
        let proxy = ProxySimulator::from_state_dicts(&[file], Device::Cpu).unwrap();
        assert_abs_diff_eq!(proxy.simulate(x).unwrap(), expected, epsilon = 1e-5);
    }
    let proxy = ProxySimulator::from_state_dict_folder(folder, Device::Cpu).unwrap();
    assert_eq!((proxy.member_count(), proxy.dim_x(), proxy.dim_y()), (2, 8, 32));
    assert!(proxy.report().is_none());
    let mean = (&members[0] + &members[1]) / 2.0;
    assert_abs_diff_eq!(proxy.simulate(x).unwrap(), mean, epsilon = 1e-5);
}

#[test]
fn the_fixture_gives_its_reference_outputs() {
    check(&fixture());
}

/// The script's exit status where PyTorch or numpy cannot be imported.
const NO_PYTORCH: i32 = 3;

#[test]
fn files_that_pytorch_writes_give_its_outputs() {
    let folder = tempfile::tempdir().unwrap();
    let script = tests().join("pytorch_state_dict.py");
    let run = match Command::new("python3").arg(script).arg(folder.path()).arg("--torch").output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return eprintln!("skipped: no python3 here");
        }
        run => run.unwrap(),
    };
    let message = String::from_utf8_lossy(&run.stderr);
    if run.status.code() == Some(NO_PYTORCH) {
        return eprintln!("skipped: {}", message.trim());
    }
    // Where PyTorch is there, a script that fails is a failed test.
    assert!(run.status.success(), "{message}");
    check(folder.path());
    check_other_precisions(folder.path());
    check_other_objects(&folder.path().join("other"));
    check_cuts(&folder.path().join("member0.pth"), 997);
}

/// Weights that PyTorch saved in double and in half precision; computing is in single precision.
fn check_other_precisions(folder: &Path) {
    let (x_and_y, other) = (table(&folder.join("outputs.csv"), 72), folder.join("other"));
    let half = table(&other.join("half.csv"), 32);
    for (file, expected) in [("double.pth", x_and_y.slice(s![.., 8..40])), ("half.pth", half.view())] {
        let proxy = ProxySimulator::from_state_dicts(&[other.join(file)], Device::Cpu).unwrap();
        assert_abs_diff_eq!(proxy.simulate(x_and_y.slice(s![.., ..8])).unwrap(), expected, epsilon = 1e-5);
    }
}

/// What else `torch.save` writes: each is refused by name.
fn check_other_objects(folder: &Path) {
    for file in ["legacy.pth", "checkpoint.pth", "module.pth", "list.pth", "linear.pth"] {
        let error = error(&[folder.join(file)]);
        let is_tensor = matches!(error, ImportError::Tensor { .. });
        assert_eq!(is_tensor, file == "linear.pth", "{error}");
        assert!(is_tensor || matches!(error, ImportError::Foreign { .. }), "{error}");
        assert!(error.to_string().contains(file), "{error}");
    }
    let legacy = error(&[folder.join("legacy.pth")]).to_string();
    assert!(legacy.contains("PyTorch 1.6"), "{legacy}");
}

#[test]
fn truncated_files_are_refused() {
    check_cuts(&fixture().join("member0.pth"), 61);
}

fn check_cuts(whole: &Path, step: usize) {
    let bytes = std::fs::read(whole).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cut.pth");
    for length in (0..bytes.len()).step_by(step) {
        std::fs::write(&file, &bytes[..length]).unwrap();
        let message = error(std::slice::from_ref(&file)).to_string();
        assert!(message.contains("cut.pth"), "{length}: {message}");
    }
}

#[test]
fn foreign_files_and_folders_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("foreign.pth");
    let missing = error(std::slice::from_ref(&file));
    assert!(matches!(missing, ImportError::Io { .. }), "{missing}");
    for bytes in [&b"\x80\x02c__builtin__\nprint\n"[..], b"", b"PK\x03\x04", b"{\"a\": 1}"] {
        std::fs::write(&file, bytes).unwrap();
        let error = error(std::slice::from_ref(&file));
        assert!(matches!(error, ImportError::Foreign { .. }), "{error}");
    }
    assert!(matches!(error(&[]), ImportError::Foreign { .. }));
    let empty = tempfile::tempdir().unwrap();
    let error = ProxySimulator::from_state_dict_folder(empty.path(), Device::Cpu).unwrap_err().to_string();
    assert!(error.contains(".pth"), "{error}");
    let error = ProxySimulator::from_state_dict_folder(&folder.path().join("none"), Device::Cpu);
    assert!(matches!(error, Err(ImportError::Io { .. })));
}

/// The checksum of zip archives.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    assert_eq!(from.len(), to.len(), "offsets in the archive stay");
    let places: Vec<usize> =
        (0..=bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from)).collect();
    assert!(!places.is_empty(), "the text is there");
    for place in places {
        bytes[place..place + to.len()].copy_from_slice(to);
    }
}

/// The refusal of the fixture with every occurrence of one text of its pickle replaced by another, and the
/// archive's checksum made to fit.
fn changed(from: &[u8], to: &[u8]) -> String {
    let mut bytes = std::fs::read(fixture().join("member0.pth")).unwrap();
    // The pickle is the archive's first entry; its header has its size at 18 and the lengths of its name and of an
    // extra field at 26 and 28.
    let number = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let start = 30 + number(26) + number(28);
    let pickle = start..start + number(18);
    let before = crc32(&bytes[pickle.clone()]);
    replace(&mut bytes[pickle.clone()], from, to);
    let after = crc32(&bytes[pickle]);
    replace(&mut bytes, &before.to_le_bytes(), &after.to_le_bytes());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("changed.pth");
    std::fs::write(&file, bytes).unwrap();
    error(&[file]).to_string()
}

#[test]
fn wrong_tensors_are_named_with_both_shapes() {
    // K is the pickle's opcode of a small integer, \x85 and \x86 those of a tuple of one and of two.
    let message = changed(b"K\x0c\x85", b"K\x0b\x85");
    assert!(message.contains("changed.pth") && message.contains("`linears.0.bias`"), "{message}");
    assert!(message.contains("shape [12]") && message.contains("[11]"), "{message}");
    let message = changed(b"linears.1.weight", b"linears.1.heavys");
    assert!(message.contains("linears.1.weight"), "{message}");
    let message = changed(b"convs.3.bias", b"convs.3.more");
    assert!(message.contains("`convs.3.bias`") && message.contains("no such tensor"), "{message}");
    let message = changed(b"bn_linears.1.running_var", b"bn_linears.1.running_law");
    assert!(message.contains("`bn_linears.1.running_var`"), "{message}");
    // Far more values than the file has bytes.
    let message = changed(b"K\x0cK\x08\x86", b"K\xffK\xff\x86");
    assert!(message.contains("`linears.0.weight`") && message.contains("[255, 255]"), "{message}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn flipped_bytes_give_a_proxy_or_an_error(position in 0.0..1.0_f64, value in any::<u8>()) {
        let mut bytes = std::fs::read(fixture().join("member0.pth")).unwrap();
        let index = (position * bytes.len() as f64) as usize;
        bytes[index] = value;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("flipped.pth");
        std::fs::write(&file, bytes).unwrap();
        if let Ok(proxy) = ProxySimulator::from_state_dicts(&[file], Device::Cpu) {
            let _ = proxy.simulate(Array2::zeros((2, proxy.dim_x())).view());
        }
    }
}
