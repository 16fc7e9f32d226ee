//! Levenberg–Marquardt inversion, adaptive search and refinement on trained surrogates.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]

use std::sync::OnceLock;

use inverse_core::testing::check_search;
use inverse_core::{
    BoxPrior, Dataset, Device, DifferentiableSimulator, Domain, FitContext, FnSimulator, InverseModel,
    Method, Proposals, ProposeError, RandomStreams, Search, SimulatedTask, SimulationError, Simulator, Task,
};
use inverse_metrics::{ResimulationErrors, resimulate_search};
use inverse_models::presets::{PresetMethod, Source};
use inverse_models::{
    AdaptiveNeuralAdjoint, AdaptiveSearchSettings, GeneticSearch, GeneticSearchSettings, GradientSearch,
    LevenbergMarquardtSettings, NearestNeighbor, NeuralAdjoint, NeuralAdjointModel, RefineWith, SavedModel,
};
use inverse_tasks::{RoboticArm, SineWave};
use ndarray::{Array2, Array3, ArrayView2, Axis, array, s};
use rand::Rng;

fn train(task: &dyn Task, pairs: usize, epochs: usize) -> NeuralAdjointModel {
    let data = Dataset::from_task(task, pairs, &mut RandomStreams::new(1).stream("data", 0)).unwrap();
    let mut method = NeuralAdjoint::preset("any", Source::Quick).unwrap();
    method.surrogate.hidden = vec![96; 3];
    method.surrogate.training.epochs = epochs;
    method.start_count = 100;
    method.levenberg_marquardt = Some(LevenbergMarquardtSettings::default());
    method.fit(&data, &mut FitContext::new(1)).unwrap()
}

fn sine_model() -> &'static NeuralAdjointModel {
    static MODEL: OnceLock<NeuralAdjointModel> = OnceLock::new();
    MODEL.get_or_init(|| train(&SineWave::new(), 8000, 50))
}

fn arm_model() -> &'static NeuralAdjointModel {
    static MODEL: OnceLock<NeuralAdjointModel> = OnceLock::new();
    MODEL.get_or_init(|| train(&RoboticArm::new(), 4000, 30))
}

/// A spectrum of 300 points with two resonances: y of many more entries than x.
fn spectrum() -> SimulatedTask<impl Simulator, BoxPrior> {
    let resonances = FnSimulator::new(4, 300, |x, y| {
        for (index, y) in y.iter_mut().enumerate() {
            let place = index as f64 / 150.0 - 1.0;
            let line = |at: f64, width: f64| 1.0 / (1.0 + ((place - 0.5 * at) / (0.3 + 0.1 * width)).powi(2));
            *y = 0.5 * line(x[0] - 1.0, x[1]) + 0.3 * line(x[2] + 1.0, x[3]);
        }
    });
    let prior = BoxPrior::new(&[-1.0; 4], &[1.0; 4]).unwrap();
    SimulatedTask::new("spectrum", resonances.unwrap(), prior).unwrap()
}

fn targets(task: &dyn Task, count: usize) -> Array2<f64> {
    let data = Dataset::from_task(task, count, &mut RandomStreams::new(2).stream("test data", 0)).unwrap();
    data.y().to_owned()
}

fn search(
    model: &NeuralAdjointModel,
    simulator: &dyn Simulator,
    y: &Array2<f64>,
    calls: usize,
) -> ResimulationErrors {
    let mut rng = RandomStreams::new(3).stream("search", 0);
    let settings = AdaptiveSearchSettings::default();
    let mut search = model.adaptive_search(y.view(), calls, &settings, &mut rng).unwrap();
    resimulate_search(simulator, &mut search, y.view(), calls, &mut rng).unwrap()
}

#[test]
fn levenberg_marquardt_finds_what_adam_finds() {
    let model = arm_model();
    let y = targets(&RoboticArm::new(), 20);
    let rng = || RandomStreams::new(3).stream("propose", 0);
    let newton = model.propose(y.view(), 50, &mut rng()).unwrap();
    let adam = model.with_inference(100, model.settings().starts, model.settings().descent.clone()).unwrap();
    let adam = adam.propose(y.view(), 50, &mut rng()).unwrap();
    assert_ne!(newton.designs(), adam.designs(), "two optimisers, two ways");
    let worst = |proposals: &inverse_core::Proposals| {
        proposals.predicted_errors().unwrap().column(9).fold(0.0_f64, |worst, error| worst.max(*error))
    };
    assert!(worst(&newton) <= worst(&adam).max(1e-10), "{} {}", worst(&newton), worst(&adam));
    let errors = newton.predicted_errors().unwrap();
    // All but targets at the edge of what the arm reaches are met to the rounding of `f32`.
    let met = errors.column(0).iter().filter(|error| **error < 1e-10).count();
    assert!(met >= 19, "{met}");
}

#[test]
fn a_few_answers_do_what_hundreds_of_blind_calls_do_not() {
    let calls = 10;
    let cases: [(&dyn Task, NeuralAdjointModel); 3] = [
        (&SineWave::new(), sine_model().clone()),
        (&RoboticArm::new(), arm_model().clone()),
        (&spectrum(), train(&spectrum(), 8000, 40)),
    ];
    for (task, model) in cases {
        let y = targets(task, 40);
        let errors = search(&model, task, &y, calls).curve();
        // y of 1, 2 and 300 entries. Blind calls stay near the surrogate's error, r_1; each answer takes about an
        // order of magnitude off.
        assert!(errors.mean[9] < 1e-10, "{}: {:?}", task.name(), errors.mean);
        assert!(errors.worst[9] < 1e-9, "{}: {:?}", task.name(), errors.worst);
        assert!(errors.mean[4] < 1e-3 * errors.mean[0], "{}: {:?}", task.name(), errors.mean);
    }
}

#[test]
fn the_first_call_is_the_models_own_first_proposal() {
    let model = arm_model();
    let y = targets(&RoboticArm::new(), 7);
    let rng = || RandomStreams::new(5).stream("search", 0);
    let proposals = model.propose(y.view(), 1, &mut rng()).unwrap();
    let settings = AdaptiveSearchSettings::default();
    let mut search = model.adaptive_search(y.view(), 1, &settings, &mut rng()).unwrap();
    assert_eq!(search.ask(&mut rng()).unwrap(), proposals.rank(0).unwrap());
    let error = search.ask(&mut rng()).unwrap_err().to_string();
    assert!(error.contains("budget"), "{error}");
}

#[test]
fn answers_that_are_not_numbers_cost_calls_and_nothing_else() {
    // Nothing where x₁ > 0: half of all solutions cannot be simulated, their mirror images can.
    let sine = SineWave::new();
    let half = FnSimulator::new(2, 1, move |x, y| {
        if x[0] <= 0.0 {
            let x = ndarray::ArrayView2::from_shape((1, 2), x).unwrap();
            y[0] = sine.simulate(x).unwrap()[[0, 0]];
        }
    })
    .unwrap();
    let y = targets(&SineWave::new(), 30);
    let errors = search(sine_model(), &half, &y, 16);
    assert!(errors.invalid() > 0, "some calls are lost");
    assert!(errors.curve().worst[15] < 1e-10, "{:?}", errors.curve().worst);
    let never = FnSimulator::new(2, 1, |_, _| ()).unwrap();
    assert_eq!(search(sine_model(), &never, &y, 120).unanswered(120).unwrap(), 30);
}

#[test]
fn same_bits_whatever_the_threads_and_the_later_targets() {
    let task = RoboticArm::new();
    let y = targets(&task, 40);
    let run = |threads: usize, count: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| search(arm_model(), &task, &y.slice(s![..count, ..]).to_owned(), 6))
    };
    let all = run(1, 40);
    assert_eq!(run(3, 40), all);
    assert_eq!(run(2, 5).errors(), all.errors().slice(s![..5, ..]));
}

#[test]
fn any_models_proposals_are_refined() {
    let task = RoboticArm::new();
    let data = Dataset::from_task(&task, 4000, &mut RandomStreams::new(1).stream("data", 0)).unwrap();
    let neighbor = NearestNeighbor {}.fit(&data, &mut FitContext::new(1)).unwrap();
    let refined = neighbor.clone().refine_with(arm_model()).unwrap();
    let y = targets(&task, 40);
    let mut rng = RandomStreams::new(3).stream("search", 0);
    let proposals = refined.propose(y.view(), 4, &mut rng).unwrap();
    let errors = inverse_metrics::resimulate(&task, &proposals, y.view()).unwrap();
    let plain = neighbor.propose(y.view(), 4, &mut rng).unwrap();
    let plain = inverse_metrics::resimulate(&task, &plain, y.view()).unwrap();
    let (refined_error, plain_error) = (errors.curve().median[3], plain.curve().median[3]);
    assert!(refined_error < 0.3 * plain_error, "{refined_error} {plain_error}");
    let mut search = refined.search(y.view(), 10, &mut rng).unwrap();
    let errors = resimulate_search(&task, &mut *search, y.view(), 10, &mut rng).unwrap();
    assert!(errors.curve().worst[9] < 1e-11, "{:?}", errors.curve().worst);
    drop(search);
    let error = neighbor.refine_with(sine_model()).unwrap_err().to_string();
    assert!(error.contains("`model`"), "{error}");
}

#[test]
fn arguments_are_checked() {
    let model = sine_model();
    let y = array![[0.1], [0.2]];
    let mut rng = RandomStreams::new(3).stream("search", 0);
    let start = |y: &Array2<f64>, budget: usize, settings: AdaptiveSearchSettings| {
        let mut rng = RandomStreams::new(3).stream("search", 0);
        model.adaptive_search(y.view(), budget, &settings, &mut rng).map(|_| ())
    };
    let default = AdaptiveSearchSettings::default();
    for (y, budget, settings, name) in [
        (y.clone(), 0, default.clone(), "`budget`"),
        (array![[f64::NAN]], 3, default.clone(), "`y`"),
        (array![[0.1, 0.2]], 3, default.clone(), "`y`"),
        (Array2::zeros((0, 1)), 3, default.clone(), "`y`"),
        (y.clone(), 3, AdaptiveSearchSettings { basin_count: 0, ..default.clone() }, "`basin_count`"),
        (y.clone(), 3, AdaptiveSearchSettings { patience: 0, ..default.clone() }, "`patience`"),
        (
            y.clone(),
            3,
            AdaptiveSearchSettings { error_length: Some(0.0), ..default.clone() },
            "`error_length`: expected a number from 1e-6 to 1e6",
        ),
        (
            y.clone(),
            3,
            AdaptiveSearchSettings { trust_radius: f64::NAN, ..default.clone() },
            "`trust_radius`",
        ),
    ] {
        let error = start(&y, budget, settings).unwrap_err();
        assert!(
            matches!(error, ProposeError::InvalidArgument(_)) && error.to_string().contains(name),
            "{error}"
        );
    }
    let mut search = model.adaptive_search(y.view(), 3, &default, &mut rng).unwrap();
    assert!(search.tell(y.view()).is_err(), "nothing was asked for yet");
    search.ask(&mut rng).unwrap();
    assert!(search.tell(array![[0.1]].view()).unwrap_err().to_string().contains("`y`"));
    search.tell(y.view()).unwrap();
    let one = model.propose(array![[0.1]].view(), 3, &mut rng).unwrap();
    let error = AdaptiveNeuralAdjoint::new(model, &one, y.view(), 3, &default).unwrap_err().to_string();
    assert!(error.contains("`starts`"), "{error}");
    let bad = LevenbergMarquardtSettings { iterations: 0, ..Default::default() };
    assert_eq!(model.with_levenberg_marquardt(10, bad).unwrap_err().argument, "iterations");
}

#[test]
fn the_optimiser_survives_saving() {
    let folder = tempfile::tempdir().unwrap();
    arm_model().save(folder.path()).unwrap();
    let again = NeuralAdjointModel::load(folder.path(), Device::Cpu).unwrap();
    assert_eq!(again.settings(), arm_model().settings());
    assert!(again.settings().levenberg_marquardt.is_some());
}

#[test]
fn true_gradients_are_a_ceiling() {
    let task = RoboticArm::new();
    let y = targets(&task, 20);
    let mut rng = RandomStreams::new(3).stream("search", 0);
    let starts = arm_model().propose(y.view(), 3, &mut rng).unwrap();
    let domain = task.prior().domain();
    let mut search = GradientSearch::new(&task, domain, &starts, y.view(), 6).unwrap();
    let errors = resimulate_search(&task, &mut search, y.view(), 6, &mut rng).unwrap();
    // Newton's method doubles the digits: from 1e-4 to the rounding of `f64` in four steps.
    assert!(errors.curve().worst[4] < 1e-20, "{:?}", errors.curve().worst);
    assert!(search.ask(&mut rng).is_err(), "the budget is spent");
    assert!(search.tell(y.view()).is_err(), "nothing was asked for");
    let (sine, y_sine) = (SineWave::new(), array![[0.0]]);
    let wide = GradientSearch::new(&sine, domain, &starts, y_sine.view(), 6);
    assert!(wide.unwrap_err().to_string().contains("`starts`"));
    assert!(GradientSearch::new(&task, domain, &starts, y.view(), 0).is_err());
}

#[test]
fn searches_conform() {
    let (task, y) = (SineWave::new(), targets(&SineWave::new(), 4));
    let starts = sine_model().propose(y.view(), 5, &mut RandomStreams::new(3).stream("starts", 0)).unwrap();
    let domain = task.prior().domain();
    let adaptive = |budget: usize, rng: &mut dyn Rng| -> Result<Box<dyn Search>, ProposeError> {
        let settings = AdaptiveSearchSettings::default();
        Ok(Box::new(sine_model().adaptive_search(y.view(), budget, &settings, rng)?))
    };
    let genetic = |budget: usize, _: &mut dyn Rng| -> Result<Box<dyn Search>, ProposeError> {
        let settings = GeneticSearchSettings::default();
        Ok(Box::new(GeneticSearch::new(domain, starts.clone(), y.view(), budget, &settings)?))
    };
    check_search("adaptive", adaptive, (4, 2, 1), 1).unwrap();
    check_search("genetic", genetic, (4, 2, 1), 1).unwrap();
    let gradient = |budget: usize, _: &mut dyn Rng| -> Result<Box<dyn Search + '_>, ProposeError> {
        Ok(Box::new(GradientSearch::new(&task, domain, &starts, y.view(), budget)?))
    };
    check_search("gradient", gradient, (4, 2, 1), 1).unwrap();
}

#[test]
fn a_question_waits_for_the_answer_to_the_one_before() {
    let y = targets(&SineWave::new(), 4);
    let mut rng = RandomStreams::new(3).stream("search", 0);
    let mut adaptive =
        sine_model().adaptive_search(y.view(), 5, &AdaptiveSearchSettings::default(), &mut rng).unwrap();
    let starts = sine_model().propose(y.view(), 3, &mut rng).unwrap();
    let (task, mut rng_again) = (SineWave::new(), RandomStreams::new(3).stream("search", 0));
    let mut gradient = GradientSearch::new(&task, task.prior().domain(), &starts, y.view(), 5).unwrap();
    let searches: [&mut dyn Search; 2] = [&mut adaptive, &mut gradient];
    for search in searches {
        let first = search.ask(&mut rng_again).unwrap();
        assert!(search.ask(&mut rng_again).unwrap_err().to_string().contains("`y`"));
        search.tell(task.simulate(first.view()).unwrap().view()).unwrap();
        search.ask(&mut rng_again).unwrap();
    }
}

/// Two variables, whose derivative fails the first time.
struct FailsOnce {
    failed: std::sync::atomic::AtomicBool,
    shape: (usize, usize),
}

impl Simulator for FailsOnce {
    fn dim_x(&self) -> usize {
        2
    }

    fn dim_y(&self) -> usize {
        1
    }

    fn simulate(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>, SimulationError> {
        Ok(x.sum_axis(Axis(1)).insert_axis(Axis(1)))
    }
}

impl DifferentiableSimulator for FailsOnce {
    fn jacobian(&self, x: ArrayView2<'_, f64>) -> Result<Array3<f64>, SimulationError> {
        if self.failed.swap(true, std::sync::atomic::Ordering::Relaxed) {
            return Ok(Array3::ones((x.nrows(), self.shape.0, self.shape.1)));
        }
        Err(SimulationError::Failed("once".into()))
    }
}

#[test]
fn an_answer_whose_derivative_fails_can_be_told_again() {
    let domain = Domain::from_bounds(&[-1.0; 2], &[1.0; 2]).unwrap();
    let starts = Proposals::new(array![[[0.5, 0.5], [0.1, 0.0]]]).unwrap();
    let y = array![[0.3]];
    let mut rng = RandomStreams::new(3).stream("search", 0);
    for (shape, message) in [((1, 2), None), ((1, 3), Some("`simulator`")), ((2, 2), Some("`simulator`"))] {
        let simulator = FailsOnce { failed: false.into(), shape };
        let mut search = GradientSearch::new(&simulator, &domain, &starts, y.view(), 3).unwrap();
        let x = search.ask(&mut rng).unwrap();
        let answer = simulator.simulate(x.view()).unwrap();
        assert!(search.tell(answer.view()).unwrap_err().to_string().contains("once"));
        let again = search.tell(answer.view()).map_err(|error| error.to_string());
        if let Some(message) = message {
            assert!(again.unwrap_err().contains(message));
            continue;
        }
        again.unwrap();
        let sum: f64 = search.ask(&mut rng).unwrap().sum();
        assert!((sum - 0.3).abs() < 1e-4, "a step from the first start, not another start: {sum}");
    }
}
