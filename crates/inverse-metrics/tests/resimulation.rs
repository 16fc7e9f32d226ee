//! Re-simulation: invalid proposals are counted, threads do not matter, searches score like their proposals.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]

use inverse_core::{FnSimulator, ProposalWalk, Proposals, ProposeError, RandomStreams, Search, Simulator};
use inverse_metrics::{MetricError, resimulate, resimulate_search};
use ndarray::{Array2, Array3, ArrayView2, array, s};
use proptest::prelude::*;
use rand::{Rng, RngExt};

/// y = √x₁ + x₂; no answer for negative x₁.
fn root() -> impl Simulator {
    FnSimulator::new(2, 1, |x, y| y[0] = x[0].sqrt() + x[1]).unwrap()
}

#[test]
fn invalid_proposals_are_counted_and_never_win() {
    let designs = array![
        [[-1.0, 0.0], [f64::NAN, 0.0], [4.0, 0.0]],
        [[1.0, 0.0], [f64::INFINITY, 0.0], [1.0, 2.0]],
        [[-1.0, 0.0], [-2.0, 0.0], [-3.0, 0.0]],
    ];
    let proposals = Proposals::new(designs).unwrap();
    let errors = resimulate(&root(), &proposals, array![[3.0], [3.0], [3.0]].view()).unwrap();
    let infinite = f64::INFINITY;
    let expected = array![[infinite, infinite, 1.0], [4.0, infinite, 0.0], [infinite, infinite, infinite]];
    assert_eq!(errors.errors(), expected);
    assert_eq!(errors.invalid(), 6);
    assert_eq!(errors.invalid_by_target(), [2, 1, 3]);
    assert_eq!(errors.worst_target(3).unwrap(), 2);
    assert_eq!((errors.unanswered(1).unwrap(), errors.unanswered(3).unwrap()), (2, 1));
    assert_eq!(errors.mean(3).unwrap(), infinite, "a target without an answer is not dropped");
    assert_eq!(errors.curve().median[2], 1.0);
}

#[test]
fn several_measurements_are_averaged() {
    let both = FnSimulator::new(1, 2, |x, y| (y[0], y[1]) = (x[0], 2.0 * x[0])).unwrap();
    let proposals = Proposals::new(array![[[1.0]]]).unwrap();
    let errors = resimulate(&both, &proposals, array![[0.0, 0.0]].view()).unwrap();
    assert_eq!(errors.mean(1).unwrap(), 2.5);
}

#[test]
fn threads_do_not_change_a_bit() {
    let mut rng = RandomStreams::new(1).stream("designs", 0);
    let designs = Array3::from_shape_simple_fn((50, 201, 2), || rng.random_range(-0.2..3.0));
    let y = Array2::from_shape_simple_fn((50, 1), || rng.random_range(0.0..3.0));
    let proposals = Proposals::new(designs).unwrap();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| resimulate(&root(), &proposals, y.view()).unwrap())
    };
    let errors = run(1);
    assert_eq!(run(4), errors);
    // Across the edges of blocks, too, every design is held against its own target.
    for ((target, rank), error) in errors.errors().indexed_iter() {
        let design = proposals.designs().slice(s![target, rank, ..]).to_vec();
        let squared = (design[0].sqrt() + design[1] - y[[target, 0]]).powi(2);
        assert_eq!(*error, if squared.is_nan() { f64::INFINITY } else { squared }, "{target}, {rank}");
    }
}

#[test]
fn a_walk_scores_like_its_proposals() {
    let mut rng = RandomStreams::new(2).stream("designs", 0);
    let proposals =
        Proposals::new(Array3::from_shape_simple_fn((6, 9, 2), || rng.random_range(-0.5..3.0))).unwrap();
    let y = Array2::from_shape_simple_fn((6, 1), || rng.random_range(0.0..3.0));
    let walk = || ProposalWalk::new(proposals.clone(), 1);
    let searched = resimulate_search(&root(), &mut walk(), y.view(), 9, &mut rng).unwrap();
    assert_eq!(searched, resimulate(&root(), &proposals, y.view()).unwrap());
    let error = resimulate_search(&root(), &mut walk(), y.view(), 0, &mut rng).unwrap_err();
    assert!(error.to_string().contains("`budget`"), "{error}");
    let none = Array2::zeros((0, 1));
    let error = resimulate_search(&root(), &mut walk(), none.view(), 9, &mut rng).unwrap_err();
    assert!(error.to_string().contains("`y`"), "{error}");
    for budget in [10, usize::MAX] {
        let spent = resimulate_search(&root(), &mut walk(), y.view(), budget, &mut rng).unwrap_err();
        assert!(matches!(spent, MetricError::Propose(_)), "{spent}");
    }
}

/// Steps of Newton's method for y = x²: hears each answer, and its first design cannot be evaluated.
struct Newton {
    y: Array2<f64>,
    x: Array2<f64>,
}

impl Search for Newton {
    fn ask(&mut self, _rng: &mut dyn Rng) -> Result<Array2<f64>, ProposeError> {
        Ok(self.x.clone())
    }

    fn tell(&mut self, y: ArrayView2<'_, f64>) -> Result<(), ProposeError> {
        for ((x, answer), target) in self.x.iter_mut().zip(y).zip(&self.y) {
            *x = if answer.is_nan() { 1.0 } else { *x - (answer - target) / (2.0 * *x) };
        }
        Ok(())
    }
}

#[test]
fn an_adaptive_search_is_told_every_answer() {
    let square =
        FnSimulator::new(1, 1, |x, y| y[0] = if x[0] < 0.0 { f64::NAN } else { x[0] * x[0] }).unwrap();
    let y = array![[4.0], [2.25]];
    let mut search = Newton { y: y.clone(), x: array![[-1.0], [f64::NAN]] };
    let mut rng = RandomStreams::new(3).stream("search", 0);
    let errors = resimulate_search(&square, &mut search, y.view(), 9, &mut rng).unwrap();
    assert_eq!((errors.invalid(), errors.unanswered(1).unwrap()), (2, 2));
    assert_eq!(errors.errors().column(1), array![9.0, 1.5625], "(1 - 4)² and (1 - 2.25)²");
    assert!(errors.mean(9).unwrap() < 1e-20, "Newton's method converges: {}", errors.mean(9).unwrap());
}

#[test]
fn a_search_of_another_width_is_named() {
    let mut search = Newton { y: array![[1.0]], x: array![[1.0]] };
    let mut rng = RandomStreams::new(4).stream("search", 0);
    let error = resimulate_search(&root(), &mut search, array![[1.0]].view(), 2, &mut rng).unwrap_err();
    assert!(error.to_string().contains("`search`: expected designs of shape (1, 2)"), "{error}");
}

/// Refuses nothing, forgets rows, or fails, to see that a faulty simulator becomes an error.
struct Faulty(&'static str);

impl Simulator for Faulty {
    fn dim_x(&self) -> usize {
        1
    }

    fn dim_y(&self) -> usize {
        1
    }

    fn simulate(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>, inverse_core::SimulationError> {
        match self.0 {
            "short" => Ok(Array2::zeros((x.nrows() - 1, 1))),
            "strict" => {
                Ok(Array2::from_elem((x.nrows(), 1), if x.iter().all(|x| x.is_finite()) { 0.0 } else { 9.0 }))
            }
            _ => Err(inverse_core::SimulationError::Failed("the licence has expired".into())),
        }
    }
}

#[test]
fn faulty_simulators_become_errors() {
    let proposals = Proposals::new(array![[[1.0], [f64::NAN], [f64::NEG_INFINITY]]]).unwrap();
    let run = |fault| resimulate(&Faulty(fault), &proposals, array![[0.0]].view());
    let message = run("short").unwrap_err().to_string();
    assert!(message.contains("`simulator`: expected answers of shape (1, 1)"), "{message}");
    let error = run("expired").unwrap_err();
    assert!(matches!(error, MetricError::Simulation(_)) && error.to_string().contains("licence"), "{error}");
    let errors = run("strict").unwrap();
    assert_eq!(errors.errors()[[0, 0]], 0.0, "designs that are not finite never reach the simulator");
    assert_eq!(errors.invalid(), 2);
}

fn value() -> impl Strategy<Value = f64> {
    let strange = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, -0.0];
    prop_oneof![8 => -3.0..3.0_f64, 1 => prop::sample::select(strange.to_vec()), 1 => prop::num::f64::ANY]
}

proptest! {
    /// Every T from one set of proposals, against simulating and scoring each proposal from scratch.
    #[test]
    fn equals_brute_force_from_designs_on(
        (targets, count) in (1..6_usize, 1..9_usize),
        values in prop::collection::vec(value(), 108),
        y in prop::collection::vec(-3.0..3.0_f64, 12),
    ) {
        let simulator = FnSimulator::new(2, 2, |x, y| (y[0], y[1]) = (x[0].sqrt() + x[1], x[0] * x[1])).unwrap();
        let design = |row: usize, rank: usize| [values[2 * (row * 9 + rank)], values[2 * (row * 9 + rank) + 1]];
        let designs = Array3::from_shape_fn((targets, count, 2), |(row, rank, column)| design(row, rank)[column]);
        let y = Array2::from_shape_fn((targets, 2), |(row, column)| y[2 * row + column]);
        let errors = resimulate(&simulator, &Proposals::new(designs).unwrap(), y.view()).unwrap();
        let error = |row: usize, rank: usize| {
            let answer = simulator.simulate(Array2::from(vec![design(row, rank)]).view()).ok()?;
            let squares = [(answer[[0, 0]] - y[[row, 0]]).powi(2), (answer[[0, 1]] - y[[row, 1]]).powi(2)];
            Some(squares.iter().sum::<f64>() / 2.0).filter(|error| error.is_finite())
        };
        for t in 1..=count {
            let best = |row| (0..t).filter_map(|rank| error(row, rank)).fold(f64::INFINITY, f64::min);
            let expected = (0..targets).map(best).sum::<f64>() / targets as f64;
            prop_assert_eq!(errors.mean(t).unwrap(), expected);
        }
        let invalid = |row| (0..count).filter(|rank| error(row, *rank).is_none()).count();
        prop_assert_eq!(errors.invalid_by_target(), (0..targets).map(invalid).collect::<Vec<_>>());
    }

    #[test]
    fn any_shape_and_value_gives_a_result_or_an_error(
        shape in (0..4_usize, 0..4_usize, 0..4_usize),
        targets in (0..4_usize, 0..3_usize),
        values in prop::collection::vec(value(), 64),
        t in 0..5_usize,
        level in value(),
    ) {
        let designs = Array3::from_shape_fn(shape, |(i, j, k)| values[i * 16 + j * 4 + k]);
        let y = Array2::from_shape_fn(targets, |(i, j)| values[63 - i * 3 - j]);
        let mut rng = RandomStreams::new(2).stream("any", 0);
        if let Ok(proposals) = Proposals::new(designs) {
            let mut walk = ProposalWalk::new(proposals.clone(), 1);
            let _ = resimulate_search(&root(), &mut walk, y.view(), t, &mut rng);
            if let Ok(errors) = resimulate(&root(), &proposals, y.view()) {
                let curve = errors.curve();
                prop_assert!(curve.mean.iter().chain(&curve.median).all(|error| *error >= 0.0));
                let inside = (1..=errors.count()).contains(&t);
                prop_assert_eq!(errors.mean(t).is_ok(), inside);
                let interval = errors.confidence_interval(t, level, 5, &mut rng);
                prop_assert_eq!(interval.is_ok(), inside && level > 0.0 && level < 1.0);
                prop_assert!(!interval.is_ok_and(|ends| ends.lower > ends.upper));
            }
        }
    }
}

#[test]
fn shapes_that_disagree_are_named() {
    let proposals = Proposals::new(array![[[1.0, 2.0]], [[1.0, 2.0]]]).unwrap();
    let message = |y: Array2<f64>| resimulate(&root(), &proposals, y.view()).unwrap_err().to_string();
    assert!(message(array![[1.0]]).contains("`y`: expected 2 targets"));
    assert!(message(array![[1.0, 2.0], [1.0, 2.0]]).contains("`y`: expected 1 columns"));
    assert!(message(array![[1.0], [f64::NAN]]).contains("`y`: expected finite values"));
    let narrow = Proposals::new(array![[[1.0]]]).unwrap();
    let error = resimulate(&root(), &narrow, array![[1.0]].view()).unwrap_err().to_string();
    assert!(error.contains("`proposals`: expected designs of 2 variables"), "{error}");
}
