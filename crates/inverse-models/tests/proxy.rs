//! The proxy recipe end to end: error, symmetry, dropped designs, files, threads, derivative.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]

use std::sync::Mutex;
use std::time::Duration;

use approx::assert_abs_diff_eq;
use inverse_core::{
    BoxPrior, CheckpointPolicy, Device, DifferentiableSimulator, FitContext, FnSimulator, LARGEST_PAIRS,
    Prior, RandomStreams, Simulator, numerical_jacobian,
};
use inverse_models::nn::{Activation, Convolutions, TrainingSettings};
use inverse_models::{
    ModelFileError, Precision, ProxyRecipe, ProxySimulator, RegressionSettings, SimulatedDesigns,
};
use ndarray::{Array2, s};

/// Two springs in series over ten loads; exchanging them changes nothing. Soft pairs have no answer.
fn springs() -> FnSimulator<impl Fn(&[f64], &mut [f64]) + Send + Sync> {
    FnSimulator::new(2, 10, |x, y| {
        if x[0] + x[1] > 2.2 {
            let stiffness = 1.0 / (1.0 / x[0] + 1.0 / x[1]);
            for (load, y) in y.iter_mut().enumerate() {
                *y = 100.0 * (0.3 * load as f64 / stiffness).sin();
            }
        }
    })
    .unwrap()
}

fn prior() -> BoxPrior {
    BoxPrior::new(&[1.0; 2], &[3.0; 2]).unwrap()
}

fn exchanged(x: &[f64]) -> Vec<Vec<f64>> {
    vec![vec![x[1], x[0]]]
}

fn member(hidden: &[usize], activation: Activation, batch_norm: bool) -> RegressionSettings {
    let training = TrainingSettings { epochs: 40, batch_size: 32, learning_rate: 3e-3, ..Default::default() };
    RegressionSettings {
        hidden: hidden.to_vec(),
        activation,
        batch_norm,
        encoder: None,
        head: None,
        training,
    }
}

fn recipe() -> ProxyRecipe {
    let members = vec![
        member(&[24, 24], Activation::Silu, false),
        member(&[32, 32], Activation::Silu, false),
        member(&[20, 20], Activation::Silu, true),
    ];
    ProxyRecipe { samples: 300, test_share: 0.2, members }
}

fn proxy() -> ProxySimulator {
    recipe().fit(&springs(), &prior(), Some(&exchanged), &mut FitContext::new(5)).unwrap()
}

fn designs(n: usize) -> Array2<f64> {
    prior().sample(n, &mut RandomStreams::new(8).stream("designs", 0))
}

#[test]
fn the_report_is_what_a_fresh_measurement_gives() {
    let proxy = proxy();
    let report = proxy.report().unwrap();
    assert_eq!(report.designs + report.dropped, 300);
    assert!(report.dropped > 0, "soft springs are dropped, and counted");
    assert_eq!(report.training_pairs + report.test_pairs, 2 * report.designs);
    let errors = &report.test_errors;
    let mean = errors.members.iter().sum::<f64>() / 3.0;
    // The squared error of a mean is at most the mean of the squared errors.
    assert!(errors.ensemble <= mean && errors.ensemble < 0.01 * report.test_variance, "{errors:?}");
    assert_eq!(report.training.len(), 3);
    // The same error, told of each measured variable.
    assert_eq!(report.test_deviations.len(), springs().dim_y());
    let squares = report.test_deviations.iter().map(|deviation| deviation * deviation);
    let mean = squares.sum::<f64>() / springs().dim_y() as f64;
    assert_abs_diff_eq!(mean, errors.ensemble, epsilon = 1e-9 * errors.ensemble);
    // Fresh designs have the error that the report promises, up to the sampling of a few hundred designs.
    let x = designs(2000);
    let y = springs().simulate(x.view()).unwrap();
    let rows: Vec<usize> = (0..x.nrows()).filter(|row| y[[*row, 0]].is_finite()).collect();
    let (x, y) = (x.select(ndarray::Axis(0), &rows), y.select(ndarray::Axis(0), &rows));
    let fresh = proxy.errors(x.view(), y.view()).unwrap();
    assert!(fresh.ensemble < 5.0 * errors.ensemble && errors.ensemble < 5.0 * fresh.ensemble, "{fresh:?}");
    // Its definition, from the simulated values.
    let difference = proxy.simulate(x.view()).unwrap() - &y;
    let plain = difference.mapv(|value| value * value).mean().unwrap();
    assert_abs_diff_eq!(fresh.ensemble, plain, epsilon = 1e-9 * plain);
    assert_eq!(proxy.errors(x.view(), y.view()).unwrap(), fresh);
}

#[test]
fn copies_of_a_design_are_never_split() {
    // A symmetry that writes down which designs it was asked for: with each split, a design's copies come with it.
    // So it suffices that no design is asked for both in the training set and in the test set.
    let asked = Mutex::new(Vec::new());
    let watch = |x: &[f64]| {
        asked.lock().unwrap().push((x[0].to_bits(), x[1].to_bits()));
        exchanged(x)
    };
    let mut recipe = recipe();
    recipe.members.truncate(1);
    recipe.members[0].training.epochs = 1;
    let proxy = recipe.fit(&springs(), &prior(), Some(&watch), &mut FitContext::new(5)).unwrap();
    let report = proxy.report().unwrap();
    let asked = asked.into_inner().unwrap();
    // Once for the units of x, once for the member's training and validation, then the test designs.
    let training = report.training_pairs / 2;
    assert_eq!(asked.len(), 2 * training + report.test_pairs / 2);
    let mut known: Vec<_> = asked[..training].to_vec();
    known.sort_unstable();
    let mut member: Vec<_> = asked[training..2 * training].to_vec();
    member.sort_unstable();
    assert_eq!(known, member);
    assert!(asked[2 * training..].iter().all(|design| known.binary_search(design).is_err()));
}

#[test]
fn files_give_the_same_bits_and_half_precision_has_the_error_it_reports() {
    let proxy = proxy();
    let folder = tempfile::tempdir().unwrap();
    let (single, half) = (folder.path().join("single.safetensors"), folder.path().join("half.safetensors"));
    proxy.save(&single, Precision::Single).unwrap();
    proxy.save(&half, Precision::Half).unwrap();
    let x = designs(300);
    let loaded = ProxySimulator::load(&single, Device::Cpu).unwrap();
    assert_eq!(loaded.simulate(x.view()).unwrap(), proxy.simulate(x.view()).unwrap());
    assert_eq!(loaded.report(), proxy.report());
    let bytes = std::fs::read(&half).unwrap();
    let rounded = ProxySimulator::from_bytes(&bytes, Device::Cpu).unwrap();
    assert_eq!(rounded.precision(), Precision::Half);
    let expected = proxy.to_half_precision().unwrap();
    assert_eq!(rounded.simulate(x.view()).unwrap(), expected.simulate(x.view()).unwrap());
    assert_eq!(rounded.test_errors(), Some(&proxy.report().unwrap().half_precision_test_errors));
    assert_ne!(rounded.test_errors(), proxy.test_errors());
    // A rounded proxy is kept as it is.
    let again = folder.path().join("again.safetensors");
    rounded.save(&again, Precision::Half).unwrap();
    assert_eq!(std::fs::read(&again).unwrap(), bytes);
}

#[test]
fn damaged_and_foreign_files_are_refused() {
    let proxy = proxy();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("proxy.safetensors");
    proxy.save(&file, Precision::Half).unwrap();
    let bytes = std::fs::read(&file).unwrap();
    for length in (0..bytes.len()).step_by(bytes.len() / 50) {
        assert!(ProxySimulator::from_bytes(&bytes[..length], Device::Cpu).is_err(), "{length}");
    }
    for (from, to, word) in [
        (r#"\"method\": \"proxy\""#, r#"\"method\": \"proxi\""#, "proxi"),
        ("member.0.weight.0", "member.9.weight.0", "member.0.weight.0"),
        (r#"\"precision\": \"half\""#, r#"\"precision\": \"hulf\""#, "hulf"),
        (r#"\"inputs\": 2,"#, r#"\"inputs\": 3,"#, "member 0 from 2 to 10"),
    ] {
        let position = bytes.windows(from.len()).position(|window| window == from.as_bytes()).expect(from);
        let mut changed = bytes.clone();
        changed[position..position + to.len()].copy_from_slice(to.as_bytes());
        let error = ProxySimulator::from_bytes(&changed, Device::Cpu).unwrap_err();
        assert!(!matches!(error, ModelFileError::Io { .. }) && error.to_string().contains(word), "{error}");
    }
    let missing = ProxySimulator::load(&folder.path().join("none"), Device::Cpu).unwrap_err();
    assert!(matches!(missing, ModelFileError::Io { .. }));
}

#[test]
fn rows_depend_neither_on_threads_nor_on_each_other() {
    let proxy = proxy();
    let x = designs(9000);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| proxy.simulate(x.view()).unwrap())
    };
    let y = run(1);
    assert_eq!(run(3), y);
    assert_eq!(proxy.simulate(x.slice(s![8190..8195, ..])).unwrap(), y.slice(s![8190..8195, ..]));
    assert_eq!(proxy.simulate(x.slice(s![..0, ..])).unwrap().dim(), (0, 10));
    // The same seed gives the same proxy.
    let again = self::proxy();
    assert_eq!(again.simulate(x.view()).unwrap(), y);
}

#[test]
fn the_derivative_is_that_of_the_ensemble() {
    let proxy = proxy();
    let x = designs(40);
    let exact = proxy.jacobian(x.view()).unwrap();
    // Values of order 100 in f32, so 1e-5, over a step of 0.02; the extrapolation's fourth order adds less.
    let numerical = numerical_jacobian(&proxy, x.view(), 0.02).unwrap();
    let scale = exact.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    assert_abs_diff_eq!(exact, numerical, epsilon = 2e-3 * scale);
}

#[test]
fn unusable_settings_and_symmetries_are_named() {
    let named = |recipe: &ProxyRecipe| {
        recipe.fit(&springs(), &prior(), None, &mut FitContext::new(0)).unwrap_err().to_string()
    };
    for samples in [2, LARGEST_PAIRS + 1, usize::MAX] {
        let recipe = ProxyRecipe { samples, ..recipe() };
        assert!(named(&recipe).contains("`samples`"));
        let simulated = recipe.simulate(&springs(), &prior(), RandomStreams::new(0));
        assert!(simulated.unwrap_err().to_string().contains("`samples`"));
    }
    assert!(named(&ProxyRecipe { test_share: 1.0, ..recipe() }).contains("`test_share`"));
    assert!(named(&ProxyRecipe { members: Vec::new(), ..recipe() }).contains("`members`"));
    let mut wrong = recipe();
    wrong.members[1].head = Some(Convolutions::metamaterial_head());
    assert!(named(&wrong).contains("`head`"));
    let nothing = FnSimulator::new(2, 10, |_, _| ()).unwrap();
    let error = recipe().fit(&nothing, &prior(), None, &mut FitContext::new(0)).unwrap_err().to_string();
    assert!(error.contains("0 of 300"), "{error}");
    for copies in [vec![1.0], vec![f64::NAN, 1.0]] {
        let symmetry = |_: &[f64]| vec![copies.clone()];
        let error = recipe().fit(&springs(), &prior(), Some(&symmetry), &mut FitContext::new(0));
        assert!(error.unwrap_err().to_string().contains("`symmetry`"));
    }
}

#[test]
fn three_designs_are_enough() {
    let x = designs(400);
    let y = springs().simulate(x.view()).unwrap();
    let rows: Vec<usize> = (0..400).filter(|row| y[[*row, 0]].is_finite()).take(3).collect();
    let data =
        inverse_core::Dataset::new(x.select(ndarray::Axis(0), &rows), y.select(ndarray::Axis(0), &rows));
    let simulated = SimulatedDesigns { data: data.unwrap(), dropped: 0 };
    let mut recipe = recipe();
    recipe.members.truncate(1);
    let proxy = recipe.fit_data(&simulated, None, &mut FitContext::new(0)).unwrap();
    assert_eq!(proxy.report().unwrap().test_pairs, 1);
}

#[test]
fn checkpoints_of_another_symmetry_are_not_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = recipe();
    recipe.members.truncate(1);
    recipe.members[0].training.epochs = 3;
    let fit = |symmetry: &dyn Fn(&[f64]) -> Vec<Vec<f64>>| {
        let policy = CheckpointPolicy { folder: folder.path().to_owned(), every: Duration::ZERO };
        let mut context = FitContext::new(5).with_checkpoints(policy);
        recipe.fit(&springs(), &prior(), Some(&|x: &[f64]| symmetry(x)), &mut context)
    };
    fit(&exchanged).unwrap();
    fit(&exchanged).unwrap();
    // As many copies, but wrong ones.
    let error = fit(&|x: &[f64]| vec![vec![x[0], x[0]]]).unwrap_err().to_string();
    assert!(error.contains("checkpoint"), "{error}");
}
