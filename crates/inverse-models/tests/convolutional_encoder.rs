//! Tandem and cVAE with convolutions along the measurement: they train, come back from a file, and refuse other widths.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use inverse_core::{
    BoxPrior, Dataset, Device, FitContext, FnSimulator, InverseModel, Method, RandomStreams, SimulatedTask,
};
use inverse_metrics::resimulate;
use inverse_models::nn::{Convolution, Convolutions};
use inverse_models::presets::{PresetMethod, Source};
use inverse_models::{ConditionalVae, MeasurementEncoder, SavedModel, Tandem, load};
use ndarray::s;

/// A resonance that moves with x₀ and widens with x₁, over 40 frequencies.
fn task() -> SimulatedTask<impl inverse_core::Simulator, BoxPrior> {
    let resonance = FnSimulator::new(2, 40, |x, y| {
        for (index, y) in y.iter_mut().enumerate() {
            let offset = (index as f64 / 20.0 - 1.0 - 0.5 * x[0]) / (0.3 + 0.1 * x[1]);
            *y = 1.0 / (1.0 + offset * offset);
        }
    });
    let prior = BoxPrior::new(&[-1.0; 2], &[1.0; 2]).unwrap();
    SimulatedTask::new("resonance", resonance.unwrap(), prior).unwrap()
}

fn spectra(n: usize) -> Dataset {
    Dataset::from_task(&task(), n, &mut RandomStreams::new(4).stream("data", 0)).unwrap()
}

fn convolutions() -> Convolutions {
    let layers = vec![
        Convolution::plain(4, 5, 1),
        Convolution::plain(4, 5, 1),
        Convolution::plain(4, 8, 2),
        Convolution::pointwise(1),
    ];
    Convolutions { width: 40, layers }
}

fn tandem() -> Tandem {
    let mut method = Tandem::preset("resonance", Source::Quick).unwrap();
    method.surrogate.hidden = vec![40, 40];
    method.inverse.hidden = vec![40, 40];
    method.inverse.encoder = Some(convolutions());
    method
}

fn vae() -> ConditionalVae {
    let mut method = ConditionalVae::preset("resonance", Source::Quick).unwrap();
    method.hidden = vec![40, 40];
    method.batch_norm = true;
    method.measurement_encoder =
        Some(MeasurementEncoder { convolutions: Some(convolutions()), hidden: vec![30], code: 5 });
    method
}

/// r_1 of a model on 30 targets; a copy of it from a file proposes the same bits, and so does one more training.
fn check<M: Method<Model: SavedModel>>(method: &M) -> f64 {
    let data = spectra(600);
    let model = method.fit(&data, &mut FitContext::new(2)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    model.save(folder.path()).unwrap();
    let loaded = load(folder.path(), Device::Cpu).unwrap();
    let again = method.fit(&data, &mut FitContext::new(2)).unwrap();
    assert_eq!(loaded.parameter_count(), model.parameter_count());
    let targets = data.y().slice_move(s![..30, ..]);
    let rng = RandomStreams::new(1).stream("propose", 0);
    let proposals = model.propose(targets, 20, &mut rng.clone()).unwrap();
    assert_eq!(loaded.propose(targets, 20, &mut rng.clone()).unwrap(), proposals);
    assert_eq!(again.propose(targets, 20, &mut rng.clone()).unwrap(), proposals);
    resimulate(&task(), &proposals, targets).unwrap().mean(1).unwrap()
}

/// r_1 of designs that know nothing of their target.
fn blind() -> f64 {
    let (data, strangers) = (spectra(30), spectra(60));
    let designs = strangers.x().slice_move(s![30..60, ..]).to_shape((30, 1, 2)).unwrap().to_owned();
    let proposals = inverse_core::Proposals::new(designs).unwrap();
    resimulate(&task(), &proposals, data.y()).unwrap().mean(1).unwrap()
}

#[test]
fn a_tandem_trains_and_comes_back_with_the_same_bits() {
    let (error, blind) = (check(&tandem()), blind());
    assert!(error < 0.3 * blind, "{error} {blind}");
}

#[test]
fn a_vae_trains_and_comes_back_with_the_same_bits() {
    let (error, blind) = (check(&vae()), blind());
    assert!(error < 0.3 * blind, "{error} {blind}");
}

#[test]
fn parameters_are_those_of_the_layers() {
    // 20-40-40-2 behind 245 parameters of convolutions; a surrogate 2-40-40-40.
    let inverse = 21 * 40 + 41 * 40 + 41 * 2 + 245;
    assert_eq!(tandem().parameter_count(2, 40), inverse + 3 * 40 + 41 * 40 + 41 * 40);
    // Encoder of y 20-30-5, encoder (2 + 5)-40-40-4, decoder (2 + 5)-40-40-2; normalisation 60 and 2 · 160.
    let networks = 21 * 30 + 31 * 5 + 245 + 2 * (8 * 40 + 41 * 40) + 41 * 4 + 41 * 2 + 60 + 320;
    assert_eq!(vae().parameter_count(2, 40), networks);
}

#[test]
fn encoders_of_another_width_are_refused_before_training() {
    let data = spectra(20);
    let wide = Some(Convolutions::metamaterial_encoder());
    let mut method = tandem();
    method.inverse.encoder.clone_from(&wide);
    let error = method.fit(&data, &mut FitContext::new(0)).unwrap_err().to_string();
    assert!(error.contains("`encoder.width`") && error.contains("300"), "{error}");
    let mut method = vae();
    method.measurement_encoder = Some(MeasurementEncoder { convolutions: wide, hidden: vec![], code: 5 });
    let error = method.fit(&data, &mut FitContext::new(0)).unwrap_err().to_string();
    assert!(error.contains("`encoder.width`") && error.contains("300"), "{error}");
    method.measurement_encoder = Some(MeasurementEncoder { convolutions: None, hidden: vec![], code: 0 });
    let error = method.fit(&data, &mut FitContext::new(0)).unwrap_err().to_string();
    assert!(error.contains("`measurement_encoder.code`"), "{error}");
}

#[test]
fn settings_without_an_encoder_read_and_print_as_before() {
    let settings = ConditionalVae::preset("resonance", Source::Quick).unwrap();
    let json = serde_json::to_string(&settings).unwrap();
    assert!(!json.contains("measurement") && !format!("{settings:?}").contains("measurement"), "{json}");
    assert_eq!(serde_json::from_str::<ConditionalVae>(&json).unwrap(), settings);
    let json = serde_json::to_string(&vae()).unwrap();
    assert_eq!(serde_json::from_str::<ConditionalVae>(&json).unwrap(), vae());
    assert!(format!("{:?}", vae()).contains("measurement_encoder: MeasurementEncoder"));
}
