//! Every registered method, end to end: it learns, conforms, and is kept and found again bit for bit.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use inverse_core::{
    BoxPrior, CheckpointPolicy, Dataset, Device, EpochReport, FitContext, FitError, FnSimulator,
    InverseModel, RandomStreams, Signal, SimulatedTask,
};
use inverse_models::nn::Coupling;
use inverse_models::presets::{PresetMethod, Source};
use inverse_models::{
    AnyMethod, ConditionalInvertibleNetwork, ConditionalVae, DirectRegression, InvertibleNetwork,
    MixtureDensityNetwork, Relabelling, SavedModel, Tandem, any_method, load, method_by_name, method_names,
};
use ndarray::{Array2, Array3, array};
use proptest::prelude::*;

/// Tells the child process where the model lies and where its proposals go.
const FOLDER: &str = "INVERSE_TEST_MODEL";

fn data() -> Dataset {
    let wave = FnSimulator::new(2, 1, |x, y| y[0] = (2.0 * x[0]).sin() + 0.5 * x[1]).unwrap();
    let prior = BoxPrior::new(&[-1.0; 2], &[1.0; 2]).unwrap();
    let task = SimulatedTask::new("wave", wave, prior).unwrap();
    Dataset::from_task(&task, 600, &mut RandomStreams::new(1).stream("data", 0)).unwrap()
}

fn fit(name: &str) -> Box<dyn SavedModel> {
    let method = method_by_name(name, "wave", Source::Quick).unwrap();
    assert!(name.eq_ignore_ascii_case(method.name()) || name.eq_ignore_ascii_case(method.label()));
    method.fit(&data(), &mut FitContext::new(2)).unwrap()
}

fn propose(model: &dyn InverseModel) -> Array3<f64> {
    let mut rng = RandomStreams::new(3).stream("propose", 0);
    model.propose(array![[0.4], [-0.9]].view(), 9, &mut rng).unwrap().designs().to_owned()
}

fn bytes(designs: &Array3<f64>) -> Vec<u8> {
    designs.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The other process: it loads a model and writes down what it proposes.
#[test]
fn child_process() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        let folder = PathBuf::from(folder);
        let model = load(&folder, Device::Cpu).unwrap();
        std::fs::write(folder.join("proposals"), bytes(&propose(&*model))).unwrap();
    }
}

fn proposals_of_a_new_process(folder: &Path) -> Vec<u8> {
    let test = std::env::current_exe().unwrap();
    let status = Command::new(test).args(["--exact", "child_process"]).env(FOLDER, folder).output().unwrap();
    assert!(status.status.success());
    std::fs::read(folder.join("proposals")).unwrap()
}

#[test]
fn every_method_learns_conforms_and_is_found_again() {
    for name in method_names() {
        let model = fit(name);
        inverse_core::testing::check_model(&*model, array![[0.4], [1.0], [-0.9]].view(), 1)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        for (stage, report) in model.training_reports() {
            let (first, last) = (report.curve.first().unwrap(), report.curve.last().unwrap());
            assert!(last.training < first.training, "{name}, {stage}: {first:?} {last:?}");
        }
        let folder = tempfile::tempdir().unwrap();
        model.save(folder.path()).unwrap();
        let loaded = load(folder.path(), Device::Cpu).unwrap();
        assert_eq!(propose(&*loaded), propose(&*model), "{name}");
        assert_eq!(loaded.parameter_count(), model.parameter_count(), "{name}");
        assert_eq!(loaded.training_reports(), model.training_reports(), "{name}");
        assert_eq!(proposals_of_a_new_process(folder.path()), bytes(&propose(&*model)), "{name}");
        refuses_foreign_files(name, folder.path());
    }
}

/// Cuts the file short, and renames each of its tensors in turn.
fn refuses_foreign_files(name: &str, folder: &Path) {
    let file = folder.join("model.safetensors");
    let whole = std::fs::read(&file).unwrap();
    for length in [0, 7, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&file, &whole[..length]).unwrap();
        assert!(load(folder, Device::Cpu).is_err(), "{name}: cut to {length}");
    }
    let header_end = 8 + usize::try_from(u64::from_le_bytes(whole[..8].try_into().unwrap())).unwrap();
    let header: serde_json::Value = serde_json::from_slice(&whole[8..header_end]).unwrap();
    for tensor in header.as_object().unwrap().keys().filter(|key| *key != "__metadata__") {
        let (from, to) = (format!("\"{tensor}\":"), format!("\"{}\":", "?".repeat(tensor.len())));
        let position = whole.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
        let mut renamed = whole.clone();
        renamed[position..position + to.len()].copy_from_slice(to.as_bytes());
        std::fs::write(&file, &renamed).unwrap();
        let error = load(folder, Device::Cpu).err().unwrap_or_else(|| panic!("{name}: {tensor} missing"));
        assert!(error.to_string().contains(tensor.as_str()), "{name}: {error}");
    }
}

#[test]
fn unknown_names_are_listed() {
    let error = method_by_name("gan", "wave", Source::Quick).err().unwrap().to_string();
    assert!(error.contains("cvae") && error.contains("`gan`"), "{error}");
    let error = method_by_name("inn", "wave", Source::Authors).err().unwrap().to_string();
    assert!(error.contains("robotic-arm") && error.contains("`wave`"), "{error}");
    for label in ["NA", "Tandem", "cVAE", "INN", "cINN", "MDN", "nearest neighbour", "direct regression"] {
        assert_eq!(method_by_name(label, "wave", Source::Quick).unwrap().label(), label);
    }
}

/// The setting that a changed preset is refused for; nothing has been trained by then.
fn refused<M: PresetMethod>(change: impl Fn(&mut M)) -> String {
    let mut method = M::preset("wave", Source::Quick).unwrap();
    change(&mut method);
    let data = Dataset::new(array![[0.0], [1.0], [2.0]], array![[0.0], [1.0], [4.0]]).unwrap();
    let mut observer = |_: &EpochReport| -> Signal { panic!("settings are checked before training") };
    match method.fit(&data, &mut FitContext::new(0).with_observer(&mut observer)) {
        Err(FitError::InvalidArgument(error)) => error.argument,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the settings are refused"),
    }
}

#[test]
fn settings_are_checked_before_training() {
    assert_eq!(refused::<Tandem>(|m| m.boundary_weight = f64::NAN), "boundary_weight");
    assert_eq!(refused::<Tandem>(|m| m.inverse.hidden = vec![0]), "hidden");
    assert_eq!(refused::<Tandem>(|m| m.inverse.training.epochs = 0), "epochs");
    assert_eq!(refused::<DirectRegression>(|m| m.network.hidden = vec![usize::MAX]), "hidden");
    assert_eq!(refused::<ConditionalVae>(|m| m.latent = Some(0)), "latent");
    assert_eq!(refused::<ConditionalVae>(|m| m.divergence_weight = -1.0), "divergence_weight");
    assert_eq!(refused::<ConditionalVae>(|m| m.training.batch_size = 0), "batch_size");
    assert_eq!(refused::<MixtureDensityNetwork>(|m| m.components = 0), "components");
    assert_eq!(refused::<MixtureDensityNetwork>(|m| m.components = usize::MAX), "components");
    assert_eq!(refused::<MixtureDensityNetwork>(|m| m.training.gradient_limit = Some(0.0)), "gradient_limit");
    assert_eq!(refused::<InvertibleNetwork>(|m| m.width = Some(1)), "width");
    assert_eq!(refused::<InvertibleNetwork>(|m| m.latent = Some(usize::MAX)), "latent");
    assert_eq!(refused::<InvertibleNetwork>(|m| m.misfit_variance = 0.0), "misfit_variance");
    assert_eq!(refused::<InvertibleNetwork>(|m| m.padding_noise = f64::INFINITY), "padding_noise");
    assert_eq!(refused::<InvertibleNetwork>(|m| m.temperature = 0.0), "temperature");
    assert_eq!(refused::<ConditionalInvertibleNetwork>(|m| m.flow.blocks = 0), "blocks");
    let bins =
        |m: &mut ConditionalInvertibleNetwork| m.flow.coupling = Coupling::Spline { bins: 0, bound: 1.0 };
    assert_eq!(refused(bins), "bins");
}

/// A small surrogate's fresh pairs, in steps that are often longer than the data's range.
fn relabelling() -> Relabelling {
    let Tandem { mut surrogate, .. } = Tandem::preset("wave", Source::Quick).unwrap();
    surrogate.hidden = vec![16];
    surrogate.training.epochs = 2;
    Relabelling { surrogate, jitter: 3.0 }
}

fn relabelled_methods(relabelling: &Relabelling) -> Vec<Box<dyn AnyMethod>> {
    fn quick<M: PresetMethod>() -> M {
        M::preset("wave", Source::Quick).unwrap()
    }
    let relabelling = || Some(relabelling.clone());
    vec![
        any_method(ConditionalVae { relabelling: relabelling(), ..quick() }),
        any_method(InvertibleNetwork { relabelling: relabelling(), ..quick() }),
        any_method(ConditionalInvertibleNetwork { relabelling: relabelling(), ..quick() }),
        any_method(MixtureDensityNetwork { relabelling: relabelling(), ..quick() }),
    ]
}

#[test]
fn surrogates_of_impossible_shape_are_refused_before_training() {
    for hidden in [vec![0], vec![usize::MAX], vec![1 << 16; 2]] {
        let mut impossible = relabelling();
        impossible.surrogate.hidden = hidden;
        for method in relabelled_methods(&impossible) {
            let mut observer = |_: &EpochReport| -> Signal { panic!("settings are checked before training") };
            match method.fit(&data(), &mut FitContext::new(0).with_observer(&mut observer)).err() {
                Some(FitError::InvalidArgument(error)) => assert_eq!(error.argument, "hidden"),
                other => panic!("{}: {other:?}", method.name()),
            }
        }
    }
}

#[test]
fn relabelled_methods_bear_a_column_that_does_not_vary() {
    let all = data();
    let x = Array2::from_shape_fn(
        all.x().dim(),
        |(row, column)| if column == 0 { all.x()[[row, 0]] } else { 7.0 },
    );
    let y = x.slice(ndarray::s![.., ..1]).to_owned();
    let data = Dataset::new(x, y).unwrap();
    for method in relabelled_methods(&relabelling()) {
        let method = method.with_epochs(2).unwrap();
        let model = method.fit(&data, &mut FitContext::new(1)).unwrap();
        let mut rng = RandomStreams::new(3).stream("propose", 0);
        let proposals = model.propose(array![[0.4]].view(), 20, &mut rng).unwrap();
        assert!(proposals.designs().iter().skip(1).step_by(2).all(|x| *x == 7.0), "{}", method.name());
    }
}

#[test]
fn surrogates_of_other_held_out_pairs_are_not_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let fit = |validation_share: f64| {
        let mut method = MixtureDensityNetwork::preset("wave", Source::Quick).unwrap();
        method.relabelling = Some(relabelling());
        method.training.epochs = 2;
        method.training.validation_share = validation_share;
        let policy = CheckpointPolicy { folder: folder.path().to_owned(), every: Duration::ZERO };
        any_method(method).fit(&data(), &mut FitContext::new(2).with_checkpoints(policy)).map(|_| ())
    };
    fit(0.2).unwrap();
    fit(0.2).unwrap();
    // Refused at its own file, before the method's training is looked at.
    let error = fit(0.4).unwrap_err();
    let text = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
    assert!(text.contains("surrogate.checkpoint"), "{text}");
}

#[test]
fn a_stop_ends_the_whole_fit() {
    let two_stages = || {
        let mut methods = relabelled_methods(&relabelling());
        methods.push(any_method(Tandem::preset("wave", Source::Quick).unwrap()));
        methods.into_iter().map(|method| method.with_epochs(4).unwrap())
    };
    let data = data();
    for method in two_stages() {
        let folder = tempfile::tempdir().unwrap();
        let policy = CheckpointPolicy { folder: folder.path().to_owned(), every: Duration::ZERO };
        // In the first stage there is no model yet.
        let mut seen = Vec::new();
        let mut stop = |report: &EpochReport| {
            seen.push((report.stage.clone(), report.epoch));
            if report.epoch == 2 { Signal::Stop } else { Signal::Continue }
        };
        let mut context = FitContext::new(2).with_observer(&mut stop).with_checkpoints(policy.clone());
        match method.fit(&data, &mut context).err() {
            Some(FitError::Stopped { stage, epoch }) => assert_eq!((stage.as_str(), epoch), ("surrogate", 2)),
            other => panic!("{}: {other:?}", method.name()),
        }
        assert_eq!(seen, [("surrogate".to_owned(), 1), ("surrogate".to_owned(), 2)]);
        // In the last stage there is one; and the checkpoints lead to the end that was meant.
        let mut stop = |report: &EpochReport| {
            if report.stage != "surrogate" && report.epoch == 3 { Signal::Stop } else { Signal::Continue }
        };
        let mut context = FitContext::new(2).with_observer(&mut stop).with_checkpoints(policy.clone());
        let stopped = method.fit(&data, &mut context).unwrap();
        assert_eq!(stopped.training_reports().last().unwrap().1.epochs, 3, "{}", method.name());
        let resumed = method.fit(&data, &mut FitContext::new(2).with_checkpoints(policy)).unwrap();
        let whole = method.fit(&data, &mut FitContext::new(2)).unwrap();
        assert!(whole.training_reports().iter().all(|(_, report)| report.epochs == 4), "{}", method.name());
        assert_eq!(resumed.training_reports(), whole.training_reports(), "{}", method.name());
        assert_eq!(propose(&*resumed), propose(&*whole), "{}", method.name());
    }
}

fn column_values() -> impl Strategy<Value = f64> {
    prop_oneof![4 => -3.0..3.0_f64, 1 => Just(0.0), 1 => Just(1e30), 1 => Just(-1e-30)]
}

fn pairs() -> impl Strategy<Value = (Array2<f64>, Array2<f64>)> {
    (1..12_usize, 1..4_usize, 1..4_usize).prop_flat_map(|(rows, dim_x, dim_y)| {
        let values = |columns| prop::collection::vec(column_values(), rows * columns);
        (values(dim_x), values(dim_y)).prop_map(move |(x, y)| {
            let matrix = |values, columns| Array2::from_shape_vec((rows, columns), values).unwrap();
            (matrix(x, dim_x), matrix(y, dim_y))
        })
    })
}

#[test]
fn parameters_of_impossible_settings_are_counted_without_overflow() {
    let huge = usize::MAX;
    let mut cvae = ConditionalVae::preset("any", Source::Quick).unwrap();
    (cvae.latent, cvae.hidden) = (Some(huge), vec![huge; 2]);
    assert_eq!(cvae.parameter_count(huge, huge), huge);
    let mut inn = InvertibleNetwork::preset("any", Source::Quick).unwrap();
    inn.latent = Some(huge);
    let _ = inn.parameter_count(huge, huge);
    for bins in [0, huge] {
        let mut cinn = ConditionalInvertibleNetwork::preset("any", Source::Quick).unwrap();
        cinn.flow.coupling = Coupling::Spline { bins, bound: 1.0 };
        cinn.flow.blocks = huge;
        assert_eq!(cinn.parameter_count(2, 1), huge);
    }
    let mut mdn = MixtureDensityNetwork::preset("any", Source::Quick).unwrap();
    mdn.components = huge;
    assert_eq!(mdn.parameter_count(huge, 1), huge);
    for name in method_names() {
        let _ = method_by_name(name, "any", Source::Quick).unwrap().parameter_count(huge, huge);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn any_data_gives_a_model_or_an_error((x, y) in pairs(), n in 0..5_usize, wanted in column_values()) {
        let data = Dataset::new(x, y.clone()).unwrap();
        for name in method_names() {
            let method = method_by_name(name, "any", Source::Quick).unwrap().with_epochs(1).unwrap();
            if let Ok(model) = method.fit(&data, &mut FitContext::new(1)) {
                let mut rng = RandomStreams::new(0).stream("propose", 0);
                let target = Array2::from_elem((2, y.ncols()), wanted);
                if let Ok(proposals) = model.propose(target.view(), n, &mut rng) {
                    prop_assert_eq!(proposals.designs().dim(), (2, n, data.x().ncols()));
                }
            }
        }
    }
}
