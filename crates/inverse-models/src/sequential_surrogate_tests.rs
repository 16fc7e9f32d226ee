use approx::assert_abs_diff_eq;
use inverse_core::{BoxPrior, FnSimulator, GaussianNoise, ProposeError};
use inverse_metrics::ImportanceWeights;
use ndarray::{Array1, array};

use super::*;

fn task<F>(dim_x: usize, dim_y: usize, f: F) -> impl Task + use<F>
where
    F: Fn(&[f64], &mut [f64]) + Send + Sync,
{
    let simulator = FnSimulator::new(dim_x, dim_y, f).unwrap();
    let prior = BoxPrior::new(&vec![-2.0; dim_x], &vec![2.0; dim_x]).unwrap();
    SimulatedTask::new("task", simulator, prior).unwrap()
}

/// One small network, and rounds that all take place.
fn method(first: usize, each: usize, rounds: usize) -> SequentialSurrogate {
    let mut recipe = ProxyRecipe::for_posteriors(first);
    recipe.members.truncate(1);
    recipe.members[0].hidden = vec![32; 2];
    recipe.members[0].training.epochs /= 3;
    let tempered = TemperedSettings { particles: 512, ..TemperedSettings::default() };
    SequentialSurrogate { recipe, each, rounds, enough: f64::INFINITY, tempered }
}

fn drawn(
    method: &SequentialSurrogate,
    task: &dyn Task,
    noise: &GaussianNoise,
    y: &Array1<f64>,
) -> SequentialDraws {
    let first = method.first_round(task, &mut FitContext::new(1)).unwrap();
    method.explain(task, noise, &first, y.view(), &mut FitContext::new(2)).unwrap()
}

fn weights(drawn: &SequentialDraws) -> Array1<f64> {
    let weights = ImportanceWeights::of_logarithms(drawn.log_joint.view(), drawn.log_density.view()).unwrap();
    let last = drawn.rounds.last().unwrap();
    assert_abs_diff_eq!(weights.effective_sample_sizes()[0], last.effective_sample_size, epsilon = 1e-6);
    weights.weights().row(0).to_owned()
}

#[test]
fn weighed_draws_are_those_of_the_posterior() {
    // y = 1 at x = 1, where the slope is 1, and at x = −0.25, where it is −4: a fifth of the posterior.
    let bent = task(1, 1, |x, y| y[0] = if x[0] > 0.0 { x[0] } else { -4.0 * x[0] });
    let drawn = drawn(&method(60, 100, 5), &bent, &GaussianNoise::new(&[0.02]).unwrap(), &array![1.0]);
    let weights = weights(&drawn);
    let x = drawn.proposals.designs().index_axis(Axis(0), 0).index_axis_move(Axis(1), 0).to_owned();
    let mean = |value: &dyn Fn(f64) -> f64| x.iter().zip(&weights).map(|(x, w)| w * value(*x)).sum::<f64>();
    let effective = drawn.rounds[4].effective_sample_size;
    assert!(effective > 150.0, "{effective}");
    let five = |deviation: f64| 5.0 * deviation / effective.sqrt();
    assert_abs_diff_eq!(mean(&|x| f64::from(x < 0.0)), 0.2, epsilon = five(0.4));
    // Around 1 by 0.02, with the weight 0.8.
    let near = |x: f64| f64::from(x > 0.0);
    assert_abs_diff_eq!(mean(&|x| near(x) * (x - 1.0)) / 0.8, 0.0, epsilon = five(0.02 / 0.8_f64.sqrt()));
    let square = mean(&|x| near(x) * (x - 1.0).powi(2)) / mean(&near);
    assert_abs_diff_eq!(square.sqrt(), 0.02, epsilon = five(0.02));
    // ∫ p(x) p(y | f(x)) dx is ¼ (1 + ¼). The rounds' own evidence, of 512 designs in some ten steps, is good to 0.14.
    let last = &drawn.rounds[4];
    assert_abs_diff_eq!(last.log_evidence, (1.25_f64 / 4.0).ln(), epsilon = five(1.0) + 0.14);
    assert_eq!((last.simulations, drawn.pairs.len(), x.len()), (560, 560, 500));
    assert!(drawn.rounds.iter().all(|round| round.power > 0.0 && round.power <= 1.0));
    // A tenth of 60 designs is too few to say anything.
    assert!(drawn.rounds[0].power < 1e-300 && drawn.rounds[1].power > 1e-10);
    assert!(last.errors[0] < drawn.rounds[0].errors[0]);
}

#[test]
fn rounds_end_with_enough() {
    let plane = task(2, 1, |x, y| y[0] = x[0] + 0.5 * x[1]);
    let noise = GaussianNoise::new(&[0.1]).unwrap();
    let mut method = method(60, 60, 10);
    let all = drawn(&method, &plane, &noise, &array![0.3]);
    assert_eq!(all.rounds.len(), 10);
    method.enough = all.rounds[2].effective_sample_size;
    let some = drawn(&method, &plane, &noise, &array![0.3]);
    let end = all.rounds.iter().position(|round| round.effective_sample_size >= method.enough).unwrap() + 1;
    assert_eq!(some.rounds, all.rounds[..end]);
    assert!(end <= 3);
}

#[test]
fn designs_without_an_answer_teach_nothing() {
    // Half of the prior has none, and the surrogate, which never hears of it, goes on there as elsewhere.
    let half = task(2, 1, |x, y| y[0] = if x[1] < 0.0 { f64::NAN } else { x[0] });
    let drawn = drawn(&method(80, 60, 3), &half, &GaussianNoise::new(&[0.2]).unwrap(), &array![0.6]);
    let x = drawn.proposals.designs().index_axis(Axis(0), 0).index_axis_move(Axis(1), 1).to_owned();
    let failed: Vec<bool> = x.iter().map(|x| *x < 0.0).collect();
    let count = failed.iter().filter(|failed| **failed).count();
    assert!(count > 0);
    for (log, failed) in drawn.log_joint.iter().zip(failed) {
        assert_eq!(*log == f64::NEG_INFINITY, failed);
    }
    assert!(drawn.pairs.len() < 80 + 180 - count && drawn.pairs.len() >= 180 - count);
    assert_eq!(drawn.rounds[2].simulations, 260);
    assert!(drawn.rounds[2].effective_sample_size > 10.0);
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let sum = task(3, 2, |x, y| {
        y[0] = x[0] + x[1] * x[2];
        y[1] = x[1].sin();
    });
    let noise = GaussianNoise::new(&[0.1, 0.1]).unwrap();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| drawn(&method(60, 300, 2), &sum, &noise, &array![0.5, 0.2]))
    };
    let (one, three) = (run(1), run(3));
    assert_eq!(one.proposals, three.proposals);
    assert_eq!((one.log_joint, one.log_density), (three.log_joint, three.log_density));
    assert_eq!(one.rounds, three.rounds);
}

#[test]
fn bad_arguments_are_named() {
    let plane = task(2, 1, |x, y| y[0] = x[0] + x[1]);
    let wide = task(2, 2, |x, y| y.copy_from_slice(x));
    let noise = GaussianNoise::new(&[0.1]).unwrap();
    let good = method(30, 20, 1);
    let first = good.first_round(&plane, &mut FitContext::new(1)).unwrap();
    assert_eq!((first.pairs().len(), first.network().dim_x()), (30, 2));
    let named = |error: ProxyError, argument: &str| match error {
        ProxyError::InvalidArgument(error) | ProxyError::Propose(ProposeError::InvalidArgument(error)) => {
            assert_eq!(error.argument, argument);
        }
        error => panic!("{error}"),
    };
    let bad = [
        ("each", SequentialSurrogate { each: 15, ..good.clone() }),
        ("rounds", SequentialSurrogate { rounds: 0, ..good.clone() }),
        ("enough", SequentialSurrogate { enough: f64::NAN, ..good.clone() }),
        ("enough", SequentialSurrogate { enough: 0.0, ..good.clone() }),
    ];
    let explain = |method: &SequentialSurrogate, task: &dyn Task, noise: &GaussianNoise, y: Array1<f64>| {
        method.explain(task, noise, &first, y.view(), &mut FitContext::new(1)).unwrap_err()
    };
    for (argument, method) in &bad {
        named(method.first_round(&plane, &mut FitContext::new(1)).unwrap_err(), argument);
        named(explain(method, &plane, &noise, array![0.0]), argument);
    }
    let tempered = TemperedSettings { particles: 0, ..TemperedSettings::default() };
    named(
        explain(&SequentialSurrogate { tempered, ..good.clone() }, &plane, &noise, array![0.0]),
        "particles",
    );
    named(explain(&good, &plane, &noise, array![0.0, 1.0]), "y");
    named(explain(&good, &plane, &noise, array![f64::NAN]), "y");
    named(explain(&good, &wide, &noise, array![0.0, 0.0]), "first");
    named(explain(&good, &plane, &GaussianNoise::new(&[1.0, 1.0]).unwrap(), array![0.0]), "noise");
}
