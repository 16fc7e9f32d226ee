//! Re-simulation: invalid proposals are counted, threads do not matter, searches score like their proposals.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]

use inverse_core::{FnSimulator, ProposalWalk, Proposals, RandomStreams, Simulator};
use inverse_metrics::{MetricError, resimulate, resimulate_search};
use ndarray::{Array2, Array3, array};
use rand::RngExt;

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
    assert_eq!(run(1), run(4));
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
    assert!(resimulate_search(&root(), &mut walk(), y.view(), 0, &mut rng).is_err());
    let spent = resimulate_search(&root(), &mut walk(), y.view(), 10, &mut rng).unwrap_err();
    assert!(matches!(spent, MetricError::Propose(_)), "{spent}");
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
