//! Random settings of every method: a model or an error before any training, no panic.
//!
//! Settings are changed as a file could hold them: one number of their JSON is replaced. What cannot be read back
//! is no settings; what can is fitted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]

use inverse_core::{Dataset, EpochReport, FitContext, InverseModel, Method, RandomStreams, Signal};
use inverse_models::presets::{PresetMethod, Source};
use inverse_models::{
    ConditionalInvertibleNetwork, ConditionalVae, DirectRegression, InvertibleNetwork, MixtureDensityNetwork,
    NearestNeighbor, Relabelling, Tandem,
};
use ndarray::{Array2, array};
use proptest::prelude::*;
use serde_json::Value;

fn data() -> Dataset {
    let x = Array2::from_shape_fn((12, 2), |(row, column)| (row as f64 * 0.7 + column as f64).sin());
    let y = Array2::from_shape_fn((12, 1), |(row, _)| x[[row, 0]] * x[[row, 1]]);
    Dataset::new(x, y).unwrap()
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => (0..4_usize).prop_map(Value::from),
        2 => (-2.0..3.0_f64).prop_map(Value::from),
        2 => prop::num::f64::NORMAL.prop_map(Value::from),
        1 => prop_oneof![Just(1_u64 << 16), Just(1 << 40), Just(u64::MAX)].prop_map(Value::from),
        1 => Just(Value::Null),
    ]
}

/// Everything of the settings that is a number, an empty option, or a list.
fn leaves(value: &mut Value) -> Vec<&mut Value> {
    match value {
        Value::Object(fields) => fields.values_mut().flat_map(leaves).collect(),
        Value::Array(entries) => entries.iter_mut().flat_map(leaves).collect(),
        Value::Number(_) | Value::Null => vec![value],
        _ => Vec::new(),
    }
}

/// Small networks, so that what is allowed is quick; the changes come after it.
fn shrink(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match name.as_str() {
                    "epochs" => *value = 1.into(),
                    "hidden" => *value = vec![4].into(),
                    "blocks" | "components" => *value = 2.into(),
                    _ => shrink(value),
                }
            }
        }
        Value::Array(entries) => entries.iter_mut().for_each(shrink),
        _ => {}
    }
}

/// Replaces numbers of a method's settings, fits what can be read, and asks the model for designs; whether there
/// was a model.
fn try_changed<M: PresetMethod>(
    mut settings: Value,
    changes: &[(prop::sample::Index, Value)],
    n: usize,
) -> bool {
    shrink(&mut settings);
    for (place, number) in changes {
        let mut leaves = leaves(&mut settings);
        let count = leaves.len();
        if count > 0 {
            *leaves[place.index(count)] = number.clone();
        }
    }
    // Wide layers are allowed, and many epochs: neither is a question of this test.
    if leaves(&mut settings).iter().any(|leaf| leaf.as_u64() == Some(1 << 16)) {
        return false;
    }
    let Ok(method) = serde_json::from_value::<M>(settings) else { return false };
    let _ = method.parameter_count(2, 1);
    // One epoch is enough of a training that a change has made long.
    let mut one_epoch =
        |report: &EpochReport| if report.epochs > 4 { Signal::Stop } else { Signal::Continue };
    let mut context = FitContext::new(1).with_observer(&mut one_epoch);
    let Ok(model) = method.fit(&data(), &mut context) else { return false };
    let mut rng = RandomStreams::new(0).stream("propose", 0);
    if let Ok(proposals) = model.propose(array![[0.3], [-0.1]].view(), n, &mut rng) {
        assert_eq!(proposals.designs().dim(), (2, n, 2));
    }
    let pairs = (array![[0.3, 0.1], [1e200, -1e-200]], array![[0.3], [-1e300]]);
    if let Some(log) = model.log_density(pairs.0.view(), pairs.1.view()).unwrap() {
        assert_eq!(log.len(), 2);
    }
    true
}

fn preset<M: PresetMethod>() -> Value {
    serde_json::to_value(M::preset("any", Source::Quick).unwrap()).unwrap()
}

/// The settings with a relabelling, so that its numbers are changed as well.
fn relabelled<M: PresetMethod>() -> Value {
    let Tandem { surrogate, .. } = Tandem::preset("any", Source::Quick).unwrap();
    let mut settings = preset::<M>();
    settings["relabelling"] = serde_json::to_value(Relabelling { surrogate, jitter: 0.4 }).unwrap();
    settings
}

/// How many of the methods gave a model, of how many.
fn try_all(changes: &[(prop::sample::Index, Value)], n: usize) -> (usize, usize) {
    let fitted = [
        try_changed::<Tandem>(preset::<Tandem>(), changes, n),
        try_changed::<ConditionalVae>(preset::<ConditionalVae>(), changes, n),
        try_changed::<ConditionalVae>(relabelled::<ConditionalVae>(), changes, n),
        try_changed::<InvertibleNetwork>(preset::<InvertibleNetwork>(), changes, n),
        try_changed::<InvertibleNetwork>(relabelled::<InvertibleNetwork>(), changes, n),
        try_changed::<ConditionalInvertibleNetwork>(preset::<ConditionalInvertibleNetwork>(), changes, n),
        try_changed::<MixtureDensityNetwork>(preset::<MixtureDensityNetwork>(), changes, n),
        try_changed::<MixtureDensityNetwork>(relabelled::<MixtureDensityNetwork>(), changes, n),
        try_changed::<NearestNeighbor>(preset::<NearestNeighbor>(), changes, n),
        try_changed::<DirectRegression>(preset::<DirectRegression>(), changes, n),
    ];
    (fitted.iter().filter(|fitted| **fitted).count(), fitted.len())
}

#[test]
fn unchanged_settings_are_fitted() {
    let (fitted, all) = try_all(&[], 3);
    assert_eq!(fitted, all);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn changed_settings(changes in prop::collection::vec((any::<prop::sample::Index>(), number()), 1..3), n in 0..4_usize) {
        try_all(&changes, n);
    }

    #[test]
    fn temperatures(temperature in prop_oneof![0.0..3.0_f64, prop::num::f64::ANY]) {
        let quick = |settings: Value| {
            let mut settings = settings;
            shrink(&mut settings);
            settings
        };
        let usable = temperature > 0.0 && temperature.is_finite();
        let inn: InvertibleNetwork = serde_json::from_value(quick(preset::<InvertibleNetwork>())).unwrap();
        let inn = inn.fit(&data(), &mut FitContext::new(1)).unwrap().with_temperature(temperature);
        prop_assert_eq!(inn.is_ok(), usable);
        let cinn: ConditionalInvertibleNetwork =
            serde_json::from_value(quick(preset::<ConditionalInvertibleNetwork>())).unwrap();
        let cinn = cinn.fit(&data(), &mut FitContext::new(1)).unwrap().with_temperature(temperature);
        prop_assert_eq!(cinn.is_ok(), usable);
        if let (Ok(inn), Ok(cinn)) = (inn, cinn) {
            let mut rng = RandomStreams::new(0).stream("propose", 0);
            inn.propose(array![[0.3]].view(), 3, &mut rng).unwrap();
            cinn.propose(array![[0.3]].view(), 3, &mut rng).unwrap();
        }
    }
}
