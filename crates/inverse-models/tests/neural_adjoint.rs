//! The Neural-Adjoint method trains real networks here, and refuses what it cannot work with.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]

use std::sync::OnceLock;

use inverse_core::{
    BoxPrior, Dataset, Device, FitContext, FitError, FnSimulator, InverseModel, Method, ProposeError,
    RandomStreams, Signal, SimulatedTask, Simulator,
};
use inverse_models::nn::{Activation, Schedule};
use inverse_models::presets::{PresetMethod, Source};
use inverse_models::{InputDescentSettings, NeuralAdjoint, NeuralAdjointModel, Starts};
use inverse_tasks::SineWave;
use ndarray::{Array2, array, s};
use proptest::prelude::*;

fn small() -> NeuralAdjoint {
    let mut method = NeuralAdjoint::preset("sine-wave", Source::Quick).unwrap();
    method.surrogate.hidden = vec![96; 3];
    method.surrogate.training.epochs = 50;
    method.start_count = 200;
    method
}

fn train(method: &NeuralAdjoint, pairs: usize) -> NeuralAdjointModel {
    let data =
        Dataset::from_task(&SineWave::new(), pairs, &mut RandomStreams::new(1).stream("data", 0)).unwrap();
    method.fit(&data, &mut FitContext::new(1)).unwrap()
}

/// One well-trained model for all tests that only look at its proposals.
fn sine_model() -> &'static NeuralAdjointModel {
    static MODEL: OnceLock<NeuralAdjointModel> = OnceLock::new();
    MODEL.get_or_init(|| train(&small(), 8000))
}

#[test]
fn proposals_hit_the_target_and_come_best_first() {
    let model = sine_model();
    // On standardised y the variance is 1: the network explains over 95% of it.
    assert!(model.surrogate().report().validation_loss < 0.05);
    let y = array![[-0.3], [1.2], [0.9]];
    let proposals = model.propose(y.view(), 50, &mut RandomStreams::new(1).stream("propose", 0)).unwrap();
    let predicted = proposals.predicted_errors().unwrap().to_owned();
    // The surrogate itself is inverted to within a millionth of y's variance (about 1).
    assert!(predicted.iter().all(|error| *error < 1e-6), "{predicted}");
    for (target, y) in y.iter().enumerate() {
        let designs = proposals.designs().slice(s![target, .., ..]).to_owned();
        let simulated = SineWave::new().simulate(designs.view()).unwrap();
        let nearest = simulated.iter().map(|simulated| (simulated - y).abs()).fold(f64::INFINITY, f64::min);
        // Fifty draws of an error with a deviation below 0.25 come within 0.1 of 0 but for one in 10⁸ times.
        assert!(nearest < 0.1, "{nearest}");
    }
    // Many rings of solutions: the proposals must not all be one point.
    let spread = proposals.designs().slice(s![0, .., 0]).std(0.0);
    assert!(spread > 0.1, "{spread}");
}

#[test]
fn the_boundary_loss_keeps_designs_inside_the_domain() {
    let model = sine_model();
    let y = array![[1.2], [-0.7]];
    let outside = |weight: f64| {
        let descent = InputDescentSettings { boundary_weight: weight, ..model.settings().descent.clone() };
        let model = model.with_inference(200, Starts::Uniform, descent).unwrap();
        let proposals = model.propose(y.view(), 50, &mut RandomStreams::new(2).stream("propose", 0)).unwrap();
        proposals.designs().iter().filter(|value| value.abs() > 1.01).count()
    };
    assert!(outside(0.0) > 0, "without the loss some of the best designs leave the domain");
    assert_eq!(outside(0.1), 0);
}

#[test]
fn plateau_and_cosine_both_descend() {
    let model = sine_model();
    let y = array![[0.4]];
    for schedule in
        [Schedule::Cosine { last: 1e-4 }, Schedule::Plateau { factor: 0.5, patience: 5, lowest: 1e-6 }]
    {
        let descent = InputDescentSettings { steps: 200, schedule, ..model.settings().descent.clone() };
        let model = model.with_inference(100, Starts::Prior, descent).unwrap();
        let proposals = model.propose(y.view(), 10, &mut RandomStreams::new(3).stream("propose", 0)).unwrap();
        assert!(proposals.predicted_errors().unwrap().iter().all(|error| *error < 1e-6), "{schedule:?}");
    }
}

#[test]
fn same_seed_same_bits_whatever_the_thread_count() {
    let mut method = small();
    method.surrogate.training.epochs = 10;
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let y = array![[0.3], [-1.5]];
            train(&method, 1000)
                .propose(y.view(), 200, &mut RandomStreams::new(4).stream("propose", 0))
                .unwrap()
        })
    };
    let one = run(1);
    assert_eq!(run(2), one);
    assert_eq!(run(5), one);
}

#[test]
fn resting_starts_leave_proposals_as_good_as_they_were() {
    let model = sine_model();
    let y = array![[-0.3], [1.2], [0.9], [1.9]];
    let NeuralAdjoint { start_count, starts, ref descent, .. } = *model.settings();
    let predicted = |tolerance, wanted| {
        // Without the boundary loss a proposal's predicted error is its loss.
        let descent = InputDescentSettings { tolerance, boundary_weight: 0.0, ..descent.clone() };
        let model = model.with_inference(start_count, starts, descent).unwrap();
        let proposals =
            model.propose(y.view(), wanted, &mut RandomStreams::new(7).stream("propose", 0)).unwrap();
        proposals.predicted_errors().unwrap().to_owned()
    };
    // In the data's units an error is the loss times y's variance, about 1.3.
    for (tolerance, largest) in [(1e-6, 2e-6), (1e-8, 2e-8)] {
        for wanted in [1, 10, 200] {
            let rise = predicted(Some(tolerance), wanted) - predicted(None, wanted);
            assert!(rise.iter().all(|rise| *rise <= largest), "{tolerance} {wanted}: {rise}");
            assert!(rise.iter().any(|rise| *rise != 0.0), "nothing has rested");
        }
    }
}

#[test]
fn later_targets_do_not_change_earlier_ones() {
    // Narrow networks and few starts: matrix products of few numbers take another path through the kernel.
    let mut narrow = small();
    (narrow.surrogate.hidden, narrow.surrogate.training.epochs) = (vec![8; 2], 3);
    narrow.start_count = 20;
    let narrow = train(&narrow, 500);
    // Starts rest at their own pace: what still descends beside them must not matter.
    let NeuralAdjoint { start_count, starts, descent, .. } = narrow.settings().clone();
    let descent = InputDescentSettings { tolerance: Some(1e-6), ..descent };
    let resting = narrow.with_inference(start_count, starts, descent).unwrap();
    for model in [sine_model(), &narrow, &resting] {
        let propose = |y: Array2<f64>| {
            model.propose(y.view(), 5, &mut RandomStreams::new(5).stream("propose", 0)).unwrap()
        };
        let all = propose(array![[0.3], [1.0], [-0.7], [0.1], [1.9], [-1.4], [0.6], [0.8]]);
        for count in 1..8 {
            let first = array![[0.3], [1.0], [-0.7], [0.1], [1.9], [-1.4], [0.6]].slice_move(s![..count, ..]);
            let first = propose(first);
            assert_eq!(first.designs(), all.designs().slice(s![..count, .., ..]), "{count} targets");
            assert_eq!(
                first.predicted_errors().unwrap(),
                all.predicted_errors().unwrap().slice(s![..count, ..])
            );
        }
    }
}

#[test]
fn the_model_conforms() {
    inverse_core::testing::check_model(sine_model(), array![[0.3], [1.0], [-1.9]].view(), 1).unwrap();
}

#[test]
fn requests_that_cannot_be_met_are_named() {
    let model = sine_model();
    let mut rng = RandomStreams::new(6).stream("propose", 0);
    let mut message = |y: Array2<f64>, n: usize| match model.propose(y.view(), n, &mut rng) {
        Err(ProposeError::InvalidArgument(error)) => error.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        message(array![[0.0]], 201),
        "invalid `n`: expected 1 to 200, the model's `start_count`, found 201"
    );
    assert_eq!(message(array![[0.0]], 0), "invalid `n`: expected 1 to 200, found 0");
    assert!(message(array![[0.0, 1.0]], 1).contains("`y`: expected 1 columns"));
    assert!(message(array![[f64::NAN]], 1).contains("`y`: expected finite values"));
    assert!(message(Array2::zeros((0, 1)), 1).contains("`y`: expected at least one target"));
    assert!(model.with_inference(0, Starts::Prior, InputDescentSettings::default()).is_err());
}

#[test]
fn settings_are_checked_before_training() {
    let data = Dataset::new(array![[0.0], [1.0], [2.0]], array![[0.0], [1.0], [4.0]]).unwrap();
    let refused = |change: fn(&mut NeuralAdjoint), name: &str| {
        let mut method = small();
        change(&mut method);
        match method.fit(&data, &mut FitContext::new(0)) {
            Err(FitError::InvalidArgument(error)) => assert_eq!(error.argument, name),
            other => panic!("{name}: {other:?}"),
        }
    };
    refused(|m| m.start_count = 0, "start_count");
    refused(|m| m.descent.steps = 0, "steps");
    refused(|m| m.descent.learning_rate = f64::NAN, "learning_rate");
    refused(|m| m.descent.boundary_weight = -1.0, "boundary_weight");
    refused(|m| m.descent.tolerance = Some(-1.0), "tolerance");
    refused(|m| m.descent.tolerance = Some(f64::NAN), "tolerance");
    refused(|m| m.surrogate.hidden = vec![0], "hidden");
    refused(|m| m.surrogate.hidden = vec![usize::MAX], "hidden");
    refused(|m| m.surrogate.training.epochs = 0, "epochs");
    refused(|m| m.surrogate.training.batch_size = 0, "batch_size");
    refused(|m| m.surrogate.training.l2 = f64::INFINITY, "l2");
    refused(|m| m.surrogate.training.learning_rate = 0.0, "learning_rate");
    refused(|m| m.surrogate.training.validation_share = 1.0, "validation_share");
    refused(|m| m.surrogate.training.early_stop = Some(0), "early_stop");
    refused(|m| m.surrogate.training.schedule = Schedule::Cosine { last: -1.0 }, "last");
    let one = Dataset::new(array![[0.0]], array![[0.0]]).unwrap();
    let error = small().fit(&one, &mut FitContext::new(0)).unwrap_err().to_string();
    assert_eq!(error, "invalid `data`: expected at least two pairs, found 1");
}

#[test]
#[cfg(not(feature = "cuda"))]
fn a_missing_gpu_is_an_error_and_not_the_processor() {
    let data = Dataset::new(array![[0.0], [1.0]], array![[0.0], [1.0]]).unwrap();
    let mut context = FitContext::new(0).with_device(Device::Cuda(0));
    let error = small().fit(&data, &mut context).unwrap_err().to_string();
    assert!(error.contains("cuda:0") && error.contains("`cuda` feature"), "{error}");
}

#[test]
fn diverging_trainings_say_so() {
    let task = SineWave::new();
    let data = Dataset::from_task(&task, 500, &mut RandomStreams::new(0).stream("data", 0)).unwrap();
    let mut method = small();
    method.surrogate.training.learning_rate = 1e30;
    let error = method.fit(&data, &mut FitContext::new(0)).unwrap_err();
    assert!(matches!(error, FitError::Diverged { .. }), "{error}");
}

#[test]
fn observers_can_stop_a_training() {
    let task = SineWave::new();
    let data = Dataset::from_task(&task, 500, &mut RandomStreams::new(0).stream("data", 0)).unwrap();
    let mut epochs = 0;
    let mut stop_at_three = |report: &inverse_core::EpochReport| {
        epochs = report.epoch;
        if report.epoch == 3 { Signal::Stop } else { Signal::Continue }
    };
    let mut context = FitContext::new(0).with_observer(&mut stop_at_three);
    let model = small().fit(&data, &mut context).unwrap();
    assert_eq!(model.surrogate().report().epochs, 3);
    assert_eq!(epochs, 3);
}

#[test]
fn columns_that_do_not_vary_are_no_obstacle() {
    let flat = FnSimulator::new(2, 2, |x, y| {
        y[0] = x[0];
        y[1] = 5.0;
    })
    .unwrap();
    let prior = BoxPrior::new(&[0.0, 0.0], &[1.0, 1e-9]).unwrap();
    let task = SimulatedTask::new("flat", flat, prior).unwrap();
    let data = Dataset::from_task(&task, 400, &mut RandomStreams::new(0).stream("data", 0)).unwrap();
    let model = small().fit(&data, &mut FitContext::new(0)).unwrap();
    let y = array![[0.5, 5.0]];
    let proposals = model.propose(y.view(), 3, &mut RandomStreams::new(0).stream("propose", 0)).unwrap();
    assert!((proposals.designs()[[0, 0, 0]] - 0.5).abs() < 0.1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_input_gives_a_model_or_an_error(
        rows in 1..12_usize,
        dim_x in 1..4_usize,
        dim_y in 1..4_usize,
        values in prop::collection::vec(prop_oneof![
            8 => -10.0..10.0_f64,
            1 => prop_oneof![Just(0.0), Just(1e300), Just(-1e300), Just(1e-300), Just(f64::NAN), Just(f64::INFINITY)],
        ], 96),
        widths in prop::collection::vec(0..5_usize, 0..3),
        batch_size in 0..6_usize,
        start_count in 0..5_usize,
        n in 0..6_usize,
        batch_norm in any::<bool>(),
        rate in prop_oneof![Just(1e-3), Just(1e3), Just(f64::NAN)],
    ) {
        let at = |shape: (usize, usize), offset: usize| {
            Array2::from_shape_fn(shape, |(row, column)| values[(row * shape.1 + column + offset) % values.len()])
        };
        let Ok(data) = Dataset::new(at((rows, dim_x), 0), at((rows, dim_y), 40)) else { return Ok(()) };
        let mut method = NeuralAdjoint { start_count, ..Default::default() };
        method.surrogate.hidden = widths;
        method.surrogate.activation = Activation::Silu;
        method.surrogate.batch_norm = batch_norm;
        method.surrogate.training.epochs = 2;
        method.surrogate.training.batch_size = batch_size;
        method.surrogate.training.learning_rate = rate;
        method.descent.steps = 3;
        if let Ok(model) = method.fit(&data, &mut FitContext::new(0)) {
            let mut rng = RandomStreams::new(0).stream("propose", 0);
            for y in [at((2, dim_y), 7), at((1, dim_y + 1), 9), data.y().to_owned()] {
                let _ = model.propose(y.view(), n, &mut rng);
            }
            let _ = model.surrogate().predict(at((2, dim_x), 11).view());
        }
    }
}
