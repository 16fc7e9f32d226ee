//! A surrogate with D4's convolutional head: it trains, counts as Table 8 does, and comes back from a file.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use inverse_core::{
    BoxPrior, Dataset, Device, FitContext, FnSimulator, InverseModel, Method, RandomStreams, SimulatedTask,
};
use inverse_models::nn::{Convolution, Convolutions};
use inverse_models::presets::{PresetMethod, Source};
use inverse_models::{DirectRegression, NeuralAdjoint, NeuralAdjointModel, SavedModel, Tandem};

/// A resonance that moves with x over 40 frequencies.
fn spectra(n: usize) -> Dataset {
    let resonance = FnSimulator::new(2, 40, |x, y| {
        for (index, y) in y.iter_mut().enumerate() {
            let offset = (index as f64 / 20.0 - 1.0 - 0.5 * x[0]) / (0.3 + 0.1 * x[1]);
            *y = 1.0 / (1.0 + offset * offset);
        }
    });
    let prior = BoxPrior::new(&[-1.0; 2], &[1.0; 2]).unwrap();
    let task = SimulatedTask::new("resonance", resonance.unwrap(), prior).unwrap();
    Dataset::from_task(&task, n, &mut RandomStreams::new(4).stream("data", 0)).unwrap()
}

fn method() -> NeuralAdjoint {
    let mut method = NeuralAdjoint { start_count: 12, ..Default::default() };
    method.surrogate.hidden = vec![40, 40];
    method.surrogate.training.epochs = 30;
    method.surrogate.training.batch_size = 64;
    let layers = vec![
        Convolution::transposed(4, 8, 2),
        Convolution::transposed(4, 5, 1),
        Convolution::transposed(4, 5, 1),
        Convolution::pointwise(1),
    ];
    method.surrogate.head = Some(Convolutions { width: 20, layers });
    method.descent.steps = 20;
    method
}

#[test]
fn it_trains_and_comes_back_with_the_same_bits() {
    let data = spectra(600);
    let model = method().fit(&data, &mut FitContext::new(2)).unwrap();
    let report = model.surrogate().report();
    // Standardised measurements have variance 1: a constant has a loss of 1.
    assert!(report.curve[0].training > 0.5 && report.validation_loss < 0.05, "{:?}", report.validation_loss);
    assert_eq!(model.parameter_count(), 3 * 40 + 41 * 40 + 41 * 20 + 160 + 209);
    let folder = tempfile::tempdir().unwrap();
    model.save(folder.path()).unwrap();
    let loaded = NeuralAdjointModel::load(folder.path(), Device::Cpu).unwrap();
    assert_eq!(loaded.settings(), model.settings());
    assert_eq!(loaded.parameter_count(), model.parameter_count());
    let x = data.x();
    assert_eq!(loaded.surrogate().predict(x).unwrap(), model.surrogate().predict(x).unwrap());
    let (targets, rng) =
        (data.y().slice_move(ndarray::s![..3, ..]), RandomStreams::new(1).stream("propose", 0));
    let proposals = model.propose(targets, 4, &mut rng.clone()).unwrap();
    assert_eq!(loaded.propose(targets, 4, &mut rng.clone()).unwrap(), proposals);
    // The same seed gives the same bits.
    let again = method().fit(&data, &mut FitContext::new(2)).unwrap();
    assert_eq!(again.surrogate().predict(x).unwrap(), model.surrogate().predict(x).unwrap());
}

#[test]
fn the_authors_network_for_d4_counts_as_in_table_8() {
    let method = NeuralAdjoint::preset("metamaterial", Source::Authors).unwrap();
    // 8-1000×4-150: 9,000 + 3 · 1,001,000 + 150,150; normalisation 8,000; convolutions 209. The paper prints
    // 3.1 million.
    assert_eq!(method.parameter_count(8, 300), 3_170_359);
    assert_eq!(method.descent.boundary_weight, 1.25);
    let training = &method.surrogate.training;
    assert_eq!((training.learning_rate, training.l2), (5e-4, 2e-5));
}

#[test]
fn heads_of_another_width_are_refused_before_training() {
    let data = spectra(20);
    let mut wrong = method();
    wrong.surrogate.head = Some(Convolutions::metamaterial_head());
    let error = wrong.fit(&data, &mut FitContext::new(0)).unwrap_err().to_string();
    assert!(error.contains("`head`") && error.contains("40 values"), "{error}");
    let mut tandem = Tandem::preset("resonance", Source::Quick).unwrap();
    tandem.inverse.head = Some(Convolutions::metamaterial_head());
    let error = tandem.fit(&data, &mut FitContext::new(0)).unwrap_err().to_string();
    assert!(error.contains("`head`"), "{error}");
    let mut direct = DirectRegression::preset("resonance", Source::Quick).unwrap();
    direct.network.head = Some(Convolutions::metamaterial_head());
    let error = direct.fit(&data, &mut FitContext::new(0)).unwrap_err().to_string();
    assert!(error.contains("`head`"), "{error}");
}
