//! Searches that know of a symmetry, exact or near.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use inverse_core::{
    BoxPrior, Dataset, FitContext, FnSimulator, InverseModel, Method, RandomStreams, Search, SimulatedTask,
    Simulator, Task,
};
use inverse_metrics::{ResimulationErrors, resimulate_search};
use inverse_models::presets::{PresetMethod, Source};
use inverse_models::{
    AdaptiveSearchSettings, LevenbergMarquardtSettings, NearestNeighbor, NearestNeighborModel, NeuralAdjoint,
    NeuralAdjointModel, RefineWith, Refined,
};

const CALLS: usize = 10;
const TARGETS: usize = 40;

/// Six measurements of two parts that may change places, but for a term of this size.
fn parts(asymmetry: f64) -> SimulatedTask<impl Simulator, BoxPrior> {
    let lines = FnSimulator::new(4, 6, move |x, y| {
        for (index, y) in y.iter_mut().enumerate() {
            let place = index as f64 / 2.5 - 1.0;
            let line = |height: f64, at: f64| (1.5 + height) / (1.0 + (place - 0.8 * at).powi(2));
            *y = line(x[0], x[1]) + line(x[2], x[3]) + asymmetry * (x[0] * place.cos() + x[1] * place);
        }
    });
    let prior = BoxPrior::new(&[-1.0; 4], &[1.0; 4]).unwrap();
    SimulatedTask::new("parts", lines.unwrap(), prior).unwrap()
}

fn exchange(x: &[f64]) -> Vec<Vec<f64>> {
    vec![vec![x[2], x[3], x[0], x[1]]]
}

fn model() -> &'static NeuralAdjointModel {
    static MODEL: OnceLock<NeuralAdjointModel> = OnceLock::new();
    MODEL.get_or_init(|| {
        let streams = RandomStreams::new(1);
        let data = Dataset::from_task(&parts(0.0), 3000, &mut streams.stream("data", 0)).unwrap();
        let data = data.with_symmetric_copies(&exchange).unwrap();
        let mut method = NeuralAdjoint::preset("any", Source::Quick).unwrap();
        method.surrogate.hidden = vec![96; 3];
        method.surrogate.training.epochs = 40;
        method.start_count = 60;
        method.levenberg_marquardt = Some(LevenbergMarquardtSettings::default());
        method.fit(&data, &mut FitContext::new(1)).unwrap()
    })
}

fn errors(task: &dyn Task, with_symmetry: bool) -> ResimulationErrors {
    let mut rng = RandomStreams::new(2).stream("test data", 0);
    let y = Dataset::from_task(task, TARGETS, &mut rng).unwrap().y().to_owned();
    let (mut rng, settings) = (RandomStreams::new(3).stream("search", 0), AdaptiveSearchSettings::default());
    let mut search = model().adaptive_search(y.view(), CALLS, &settings, &mut rng).unwrap();
    if with_symmetry {
        search = search.with_symmetry(exchange);
    }
    resimulate_search(task, &mut search, y.view(), CALLS, &mut rng).unwrap()
}

#[test]
fn the_right_copy_is_found_where_a_symmetry_holds_nearly() {
    let task = parts(0.002);
    let median = |with_symmetry| errors(&task, with_symmetry).curve().median[CALLS - 1];
    // Half of the first basins are at the wrong copy, where r has a floor; at the right one it has none.
    let (without, with) = (median(false), median(true));
    assert!(with < 1e-3 * without, "{with:e} against {without:e}");
}

#[test]
fn a_refined_model_searches_the_copies_too() {
    let task = parts(0.002);
    let mut rng = RandomStreams::new(1).stream("neighbours", 0);
    let data = Dataset::from_task(&task, 3000, &mut rng).unwrap();
    let neighbor = NearestNeighbor {}.fit(&data, &mut FitContext::new(1)).unwrap();
    let y = Dataset::from_task(&task, TARGETS, &mut RandomStreams::new(2).stream("test data", 0)).unwrap();
    let refined = neighbor.refine_with(model()).unwrap();
    let median = |refined: &Refined<NearestNeighborModel>| {
        let mut rng = RandomStreams::new(3).stream("search", 0);
        let mut search = refined.search(y.y(), CALLS, &mut rng).unwrap();
        resimulate_search(&task, &mut *search, y.y(), CALLS, &mut rng).unwrap().curve().median[CALLS - 1]
    };
    let (without, with) = (median(&refined), median(&refined.clone().with_symmetry(exchange)));
    assert!(with < 1e-3 * without, "{with:e} against {without:e}");
}

#[test]
fn an_exact_symmetry_costs_one_call() {
    let task = parts(0.0);
    let (without, with) = (errors(&task, false), errors(&task, true));
    let pairs = with
        .best_of(CALLS)
        .unwrap()
        .to_owned()
        .into_iter()
        .zip(without.best_of(CALLS - 1).unwrap().to_owned());
    for (target, (with, without)) in pairs.enumerate() {
        // But for the rounding of f64.
        assert!(
            with <= without.max(1e-28),
            "target {target}: {with:e} after {CALLS} calls, {without:e} one earlier"
        );
    }
}

#[test]
fn a_symmetry_must_give_designs() {
    let task = parts(0.002);
    let y = Dataset::from_task(&task, 3, &mut RandomStreams::new(2).stream("test data", 0)).unwrap();
    for (copy, found) in [(vec![0.1], "1 columns"), (vec![f64::NAN; 4], "NaN")] {
        let mut rng = RandomStreams::new(3).stream("search", 0);
        let settings = AdaptiveSearchSettings::default();
        let search = model().adaptive_search(y.y(), CALLS, &settings, &mut rng).unwrap();
        let mut search = search.with_symmetry(move |_| vec![copy.clone()]);
        let x = search.ask(&mut rng).unwrap();
        search.tell(task.simulate(x.view()).unwrap().view()).unwrap();
        let error = search.ask(&mut rng).unwrap_err().to_string();
        assert!(error.contains("`symmetry`") && error.contains(found), "{error}");
    }
}

#[test]
fn a_question_that_failed_is_asked_again() {
    let task = parts(0.002);
    let y = Dataset::from_task(&task, 6, &mut RandomStreams::new(2).stream("test data", 0)).unwrap();
    // Fails once, when it is called for the time `failing`; gives all designs, and whether it failed.
    let designs = |failing: usize| {
        let (settings, calls) = (AdaptiveSearchSettings::default(), AtomicUsize::new(0));
        let mut rng = RandomStreams::new(3).stream("search", 0);
        let search = model().adaptive_search(y.y(), CALLS, &settings, &mut rng).unwrap();
        let mut search = search.with_symmetry(move |x| {
            if calls.fetch_add(1, Ordering::Relaxed) == failing { Vec::new() } else { exchange(x) }
        });
        let (mut asked, mut failed) = (Vec::new(), false);
        for call in 0..CALLS as u64 {
            let mut ask = || search.ask(&mut RandomStreams::new(4).stream("call", call));
            let x = ask().or_else(|_| {
                failed = true;
                ask()
            });
            asked.push(x.unwrap());
            search.tell(task.simulate(asked[asked.len() - 1].view()).unwrap().view()).unwrap();
        }
        (asked, failed)
    };
    let (expected, _) = designs(usize::MAX);
    let failures: Vec<bool> = (0..60)
        .map(|failing| {
            let (asked, failed) = designs(failing);
            assert!(!failed || asked == expected, "the call that failed was {failing}");
            failed
        })
        .collect();
    assert!(failures.iter().filter(|failed| **failed).count() > 10, "{failures:?}");
}
