//! Reference posteriors: a known posterior is met, bands hold, draws are as if one by one, files are checked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]

use std::fs;
use std::time::Duration;

use inverse_core::{
    BoxPrior, FnSimulator, InvalidArgument, RandomStreams, SimulatedTask, SimulationError, Simulator, Task,
};
use inverse_metrics::{MetricError, PosteriorSample, ReferencePosterior};
use ndarray::{Array2, ArrayView2, Axis, array};
use proptest::prelude::*;

const STREAMS: RandomStreams = RandomStreams::new(3);

/// y = x₁ + x₂ on the unit square.
fn sum() -> impl Task {
    let simulator = FnSimulator::new(2, 1, |x, y| y[0] = x[0] + x[1]).unwrap();
    SimulatedTask::new("sum", simulator, BoxPrior::new(&[0.0; 2], &[1.0; 2]).unwrap()).unwrap()
}

/// y = (√x₁ + x₂, 10 x₁ x₂); no answer for negative x₁.
fn root() -> impl Task {
    let simulator = FnSimulator::new(2, 2, |x, y| {
        (y[0], y[1]) = (x[0].sqrt() + x[1], 10.0 * x[0] * x[1]);
    });
    let prior = BoxPrior::new(&[-0.5, -1.0], &[1.0, 1.0]).unwrap();
    SimulatedTask::new("root", simulator.unwrap(), prior).unwrap()
}

/// What `n` designs of the prior measure, less those without an answer.
fn targets(task: &dyn Task, n: usize) -> Array2<f64> {
    let y = task.simulate(task.prior().sample(n, &mut STREAMS.stream("targets", 0)).view()).unwrap();
    let answered: Vec<usize> = (0..n).filter(|row| y.row(*row).iter().all(|y| y.is_finite())).collect();
    y.select(Axis(0), &answered)
}

fn settings(band: f64, samples: usize) -> ReferencePosterior {
    ReferencePosterior { band, samples, ..ReferencePosterior::default() }
}

fn invalid(result: Result<Vec<PosteriorSample>, MetricError>) -> InvalidArgument {
    match result {
        Err(MetricError::InvalidArgument(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_linear_task_has_the_posterior_that_geometry_gives() {
    // The designs with |x₁ + x₂ − 0.6| ≤ r are segments x₁ + x₂ = t of length ∝ t, on each of which x₁ is
    // uniform on [0, t]. With t of density ∝ t on 0.6 ± r: E x₁ = 0.3 + r²/3.6,
    // E x₁² = E t²/3 = (0.36 + r²)/3, and the share kept is ∫ t dt = 1.2 r.
    let samples = 4000;
    for band in [0.01, 0.7] {
        let r = band * ReferencePosterior::output_scale(&sum(), STREAMS).unwrap()[0];
        let posterior = settings(band, samples).draw(&sum(), array![[0.6]].view(), STREAMS).unwrap();
        let [posterior] = &posterior[..] else { panic!("one target") };
        assert!(posterior.complete);
        assert_eq!(posterior.designs.dim(), (samples, 2));
        let mean = 0.3 + r * r / 3.6;
        let variance = (0.36 + r * r) / 3.0 - mean * mean;
        for x in posterior.designs.columns() {
            // Four standard errors of a mean, σ/√n, and of a variance, σ² √((κ − 1)/n), where the kurtosis κ is
            // 1.8 for a uniform variable and below 2.4 with the wide band.
            let error = (variance / samples as f64).sqrt();
            assert!((x.mean().unwrap() - mean).abs() < 4.0 * error, "{band}: {} {mean}", x.mean().unwrap());
            let error = variance * (1.4 / samples as f64).sqrt();
            assert!((x.var(0.0) - variance).abs() < 4.0 * error, "{band}: {} {variance}", x.var(0.0));
        }
        // The draws for n kept have a relative deviation below 1/√n.
        let share = posterior.acceptance_rate() / (1.2 * r);
        assert!((share - 1.0).abs() < 4.0 / (samples as f64).sqrt(), "{band}: {share}");
    }
}

#[test]
fn the_scale_is_the_deviation_of_the_outputs() {
    // Var(x₁ + x₂) = 1/6; 4,096 draws know a deviation to 1/√(2 · 4096) = 1.1%, less for the short tails here.
    let scale = ReferencePosterior::output_scale(&sum(), STREAMS).unwrap();
    assert!((scale[0] * 6.0_f64.sqrt() - 1.0).abs() < 0.044, "{scale}");
}

/// Draws one design after the other and holds it against one target: the definition.
fn one_by_one(
    settings: &ReferencePosterior,
    task: &dyn Task,
    y: ArrayView2<'_, f64>,
) -> Vec<(Vec<f64>, u64)> {
    let reach = ReferencePosterior::output_scale(task, STREAMS).unwrap() * settings.band;
    let mut samples = vec![(vec![], 0); y.nrows()];
    let mut draws = 0;
    for block in 0.. {
        let x = task.prior().sample(settings.block, &mut STREAMS.stream("reference posterior", block));
        let answers = task.simulate(x.view()).unwrap();
        for (x, answer) in x.rows().into_iter().zip(answers.rows()) {
            if draws == settings.draw_limit {
                return samples;
            }
            draws += 1;
            for (y, (designs, count)) in y.rows().into_iter().zip(&mut samples) {
                if designs.len() == settings.samples * task.dim_x() {
                    continue;
                }
                *count = draws;
                let near = |j: usize| y[j] - reach[j] <= answer[j] && answer[j] <= y[j] + reach[j];
                if (0..y.len()).all(near) {
                    designs.extend(x);
                }
            }
        }
    }
    unreachable!("the draw limit ends the loop")
}

#[test]
fn draws_are_as_if_one_by_one_on_any_number_of_threads() {
    let mut y = targets(&root(), 40);
    y.row_mut(7).fill(1e9);
    // Wide and narrow bands, blocks that a round does and does not fill, a limit within a block.
    for (band, samples, block) in [(0.05, 12, 64), (3.0, 500, 1000), (0.2, 40, 7)] {
        let settings = ReferencePosterior { block, draw_limit: 20_011, ..settings(band, samples) };
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| settings.draw(&root(), y.view(), STREAMS).unwrap())
        };
        let posteriors = run(1);
        assert_eq!(run(2), posteriors);
        let expected = one_by_one(&settings, &root(), y.view());
        for (target, (posterior, (designs, draws))) in posteriors.iter().zip(expected).enumerate() {
            assert_eq!(posterior.designs.iter().copied().collect::<Vec<_>>(), designs, "{target}");
            assert_eq!((posterior.draws, posterior.designs.ncols()), (draws, 2), "{target}");
            assert_eq!(posterior.complete, designs.len() == 2 * samples, "{target}");
        }
        assert!(!posteriors[7].complete && posteriors.iter().any(|posterior| posterior.complete));
        let alone = settings.draw(&root(), y.slice(ndarray::s![4..5, ..]), STREAMS).unwrap();
        assert_eq!(alone[0], posteriors[4], "other targets do not matter");
    }
}

#[test]
fn kept_designs_of_the_paper_tasks_hit_their_targets() {
    // Table 4's; rejection finds nothing in the 300 dimensions of D4's measurements.
    for name in ["ballistics", "sine-wave", "robotic-arm"] {
        let task = inverse_tasks::by_name(name).unwrap();
        let y = targets(&*task, 20);
        let settings = ReferencePosterior { draw_limit: 1_000_000, ..settings(0.02, 30) };
        let scale = ReferencePosterior::output_scale(&*task, STREAMS).unwrap();
        let posteriors = settings.draw(&*task, y.view(), STREAMS).unwrap();
        assert!(posteriors.iter().any(|posterior| posterior.complete), "{name}");
        for (posterior, y) in posteriors.iter().zip(y.rows()) {
            for answer in task.simulate(posterior.designs.view()).unwrap().rows() {
                // The ends of the band are rounded once, hence the last bits.
                let near = |j: usize| (answer[j] - y[j]).abs() <= 0.02 * scale[j] + 1e-14 * y[j].abs();
                assert!((0..y.len()).all(near), "{name}: {answer} for {y}");
            }
        }
    }
}

#[test]
fn a_limit_leaves_samples_short_and_says_so() {
    let task = sum();
    let y = array![[1.0], [0.5]];
    let timed = ReferencePosterior { time_limit: Duration::ZERO, ..settings(0.1, 10) };
    let nothing = ReferencePosterior { draw_limit: 0, ..settings(0.1, 10) };
    for settings in [timed, nothing] {
        for posterior in settings.draw(&task, y.view(), STREAMS).unwrap() {
            assert_eq!((posterior.designs.dim(), posterior.draws, posterior.complete), ((0, 2), 0, false));
            assert_eq!(posterior.acceptance_rate(), 0.0);
        }
    }
    // An unreachable target ends with the time, and the reachable one is complete long before.
    let short = ReferencePosterior { time_limit: Duration::from_millis(300), ..settings(0.1, 10) };
    let posteriors = short.draw(&task, array![[1.0], [9.0]].view(), STREAMS).unwrap();
    assert!(posteriors[0].complete && !posteriors[1].complete);
    assert!(posteriors[1].draws >= posteriors[0].draws);
}

#[test]
fn bad_input_is_named() {
    let task = root();
    let named = |settings: ReferencePosterior, y: ArrayView2<'_, f64>| {
        invalid(settings.draw(&task, y, STREAMS)).argument
    };
    let y = array![[0.5, 0.1]];
    for band in [0.0, -0.1, f64::NAN, f64::INFINITY, f64::MAX] {
        assert_eq!(named(settings(band, 5), y.view()), "band", "{band}");
    }
    assert_eq!(named(settings(0.1, 0), y.view()), "samples");
    for block in [0, usize::MAX] {
        assert_eq!(named(ReferencePosterior { block, ..settings(0.1, 5) }, y.view()), "block");
    }
    for y in [array![[0.5]], array![[0.5, f64::NAN]], array![[f64::INFINITY, 0.0]], Array2::zeros((0, 2))] {
        assert_eq!(named(settings(0.1, 5), y.view()), "y", "{y}");
    }
}

#[test]
fn tasks_without_answers_are_refused() {
    let prior = BoxPrior::new(&[0.0], &[1.0]).unwrap();
    let never = SimulatedTask::new("never", FnSimulator::new(1, 1, |_, _| ()).unwrap(), prior).unwrap();
    let error = invalid(settings(0.1, 5).draw(&never, array![[0.5]].view(), STREAMS));
    assert_eq!((error.argument.as_str(), error.found.as_str()), ("task", "0 of 4096 draws"));
}

/// Fails, or answers fewer designs than it was asked for.
struct Broken {
    failing: bool,
}

impl Simulator for Broken {
    fn dim_x(&self) -> usize {
        1
    }

    fn dim_y(&self) -> usize {
        1
    }

    fn simulate(&self, _: ArrayView2<'_, f64>) -> Result<Array2<f64>, SimulationError> {
        if self.failing { Err(SimulationError::Failed("no connection".into())) } else { Ok(array![[0.5]]) }
    }
}

#[test]
fn broken_simulators_are_errors() {
    let draw = |failing| {
        let prior = BoxPrior::new(&[0.0], &[1.0]).unwrap();
        let task = SimulatedTask::new("broken", Broken { failing }, prior).unwrap();
        settings(0.1, 5).draw(&task, array![[0.5]].view(), STREAMS)
    };
    assert!(matches!(draw(true), Err(MetricError::Simulation(SimulationError::Failed(_)))));
    assert_eq!(invalid(draw(false)).found, "(1, 1)");
}

#[test]
fn files_hold_every_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("posteriors.json");
    let settings = ReferencePosterior { draw_limit: 30_000, ..settings(0.05, 40) };
    let y = array![[0.7, 1.0 / 3.0], [0.1, 0.0], [50.0, 50.0]];
    let task = root();
    let drawn = settings.draw(&task, y.view(), STREAMS).unwrap();
    assert_eq!(settings.draw_cached(&path, &task, y.view(), STREAMS).unwrap(), drawn);
    let bytes = fs::read(&path).unwrap();
    assert_eq!(settings.load(&path, &task, y.view(), STREAMS).unwrap(), drawn);
    assert_eq!(settings.draw_cached(&path, &task, y.view(), STREAMS).unwrap(), drawn);
    settings.save(&path, &task, y.view(), STREAMS, &drawn).unwrap();
    assert_eq!(fs::read(&path).unwrap(), bytes);

    let error = settings.save(&path, &task, y.view(), STREAMS, &drawn[..2]).unwrap_err();
    assert!(error.to_string().ends_with("2 samples for 3 targets"), "{error}");
    let missing = folder.path().join("no folder").join("posteriors.json");
    for result in [
        settings.draw_cached(&missing, &task, y.view(), STREAMS),
        settings.load(&missing, &task, y.view(), STREAMS),
        settings.draw_cached(folder.path(), &task, y.view(), STREAMS),
    ] {
        assert!(matches!(result, Err(MetricError::Io { .. })), "{result:?}");
    }
}

#[test]
fn files_of_another_request_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("posteriors.json");
    let (task, y, asked) = (sum(), array![[0.7], [1.2]], settings(0.1, 20));
    asked.draw_cached(&path, &task, y.view(), STREAMS).unwrap();
    let refused =
        |settings: ReferencePosterior, task: &dyn Task, y: ArrayView2<'_, f64>, seed: u64| match settings
            .draw_cached(&path, task, y, RandomStreams::new(seed))
        {
            Err(MetricError::Mismatch { argument, .. }) => argument,
            other => panic!("{other:?}"),
        };
    let seed = STREAMS.seed();
    for (argument, other) in [
        ("band", settings(0.2, 20)),
        ("samples", settings(0.1, 21)),
        ("block", ReferencePosterior { block: 100, ..asked }),
        ("draw_limit", ReferencePosterior { draw_limit: 1, ..asked }),
    ] {
        assert_eq!(refused(other, &task, y.view(), seed), argument);
    }
    assert_eq!(refused(asked, &task, y.view(), seed + 1), "seed");
    assert_eq!(refused(asked, &task, array![[0.7]].view(), seed), "y");
    assert_eq!(refused(asked, &task, array![[0.7], [1.2 + 1e-15]].view(), seed), "y");
    let simulator = FnSimulator::new(2, 1, |x, y| y[0] = x[0] + x[1]).unwrap();
    let prior = BoxPrior::new(&[0.0; 2], &[1.0, 1.1]).unwrap();
    let renamed = SimulatedTask::new("total", simulator.clone(), prior.clone()).unwrap();
    assert_eq!(refused(asked, &renamed, y.view(), seed), "task");
    let changed = SimulatedTask::new("sum", simulator, prior).unwrap();
    assert_eq!(refused(asked, &changed, y.view(), seed), "output_scale");

    // Time changed nothing where all samples are complete.
    let hurried = ReferencePosterior { time_limit: Duration::ZERO, ..asked };
    assert!(hurried.draw_cached(&path, &task, y.view(), STREAMS).unwrap()[0].complete);
    fs::remove_file(&path).unwrap();
    assert!(!hurried.draw_cached(&path, &task, y.view(), STREAMS).unwrap()[0].complete);
    assert_eq!(refused(asked, &task, y.view(), seed), "time_limit");
}

#[test]
fn damaged_and_foreign_files_are_refused_and_stay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("posteriors.json");
    let (task, y, asked) = (sum(), array![[0.7]], settings(0.1, 3));
    asked.draw_cached(&path, &task, y.view(), STREAMS).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let mut damaged: Vec<String> = (0..text.len()).map(|length| text[..length].to_owned()).collect();
    damaged.push("{}".into());
    damaged.push("r_T,0.1".into());
    damaged.push(text.replace("posteriors 1", "posteriors 2"));
    damaged.push(text.replace("\"complete\":true", "\"complete\":false"));
    damaged.push(text.replace("\"dim\":[3,2]", "\"dim\":[2,3]"));
    damaged.push(text.replace("\"dim\":[3,2]", "\"dim\":[18446744073709551615,2]"));
    damaged.push(text.replace("\"draws\":", "\"draws\":9999999999"));
    for damaged in damaged {
        fs::write(&path, &damaged).unwrap();
        let result = asked.draw_cached(&path, &task, y.view(), STREAMS);
        assert!(matches!(result, Err(MetricError::Format { .. })), "{damaged}: {result:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_request_gives_samples_or_an_error(
        band in prop_oneof![Just(0.0), Just(1e-300), Just(f64::MAX), Just(f64::NAN), 0.01..10.0_f64],
        samples in prop_oneof![Just(0_usize), Just(usize::MAX), 1..100_usize],
        block in prop_oneof![Just(0_usize), Just(usize::MAX), 1..100_usize],
        draw_limit in 0..1000_u64,
        shape in (0..4_usize, 0..4_usize),
        value in prop_oneof![Just(f64::NAN), Just(f64::MAX), -2.0..2.0_f64],
    ) {
        let settings = ReferencePosterior { draw_limit, block, ..settings(band, samples) };
        let y = Array2::from_elem(shape, value);
        if let Ok(posteriors) = settings.draw(&root(), y.view(), STREAMS) {
            prop_assert_eq!(posteriors.len(), shape.0);
            for posterior in posteriors {
                prop_assert!(posterior.draws <= draw_limit && posterior.designs.nrows() <= samples);
            }
        }
    }
}
