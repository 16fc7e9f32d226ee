use approx::assert_abs_diff_eq;
use inverse_core::RandomStreams;
use ndarray::array;

use super::*;

fn reach() -> Reach {
    Reach { lower: array![-1.0, -1.0], upper: array![1.0, 1.0] }
}

fn search() -> TargetSearch {
    // The second start is a neighbour of the first, the third its mirror image, the fourth another basin.
    let starts = array![[0.5, 0.0], [0.51, 0.0], [-0.5, 0.0], [0.0, 0.8]];
    TargetSearch::new(starts, 1, 1)
}

fn predict(x: ArrayView2<'_, f64>) -> Array2<f64> {
    Array2::from_shape_fn((x.nrows(), 1), |(row, _)| x[[row, 0]].abs() + 3.0 * x[[row, 1]])
}

fn learn(search: &mut TargetSearch, residuals: Array1<f64>) {
    search.learn(residuals, array![0.0].view(), &AdaptiveSearchSettings::default());
}

fn open(search: &mut TargetSearch) -> Array1<f64> {
    let mut rng = RandomStreams::new(1).stream("search", 0);
    search.open(predict, None, &reach(), &mut rng);
    search.design().unwrap().to_owned()
}

/// The first basin, with this residual.
fn opened(residual: f64) -> TargetSearch {
    let mut search = search();
    open(&mut search);
    learn(&mut search, array![residual]);
    search
}

#[test]
fn basins_are_opened_from_the_most_distinct_on() {
    let settings = AdaptiveSearchSettings::default();
    let mut search = search();
    assert_eq!(open(&mut search), array![0.5, 0.0]);
    assert!(search.is_fresh());
    learn(&mut search, array![f64::NAN]);
    assert!(search.promising_center(&settings).is_none(), "no answer, no basin");
    assert_eq!(open(&mut search), array![0.0, 0.8]);
    learn(&mut search, array![2.0]);
    assert_eq!(open(&mut search), array![-0.5, 0.0], "a mirror image comes last");
    learn(&mut search, array![1.0]);
    let last = open(&mut search);
    assert!(largest_difference(last.view(), array![-0.5, 0.0].view()) <= 0.2, "near the best: {last}");
}

#[test]
fn what_was_learnt_chooses_the_basin_and_moves_its_opening() {
    let minimum = |x: f64, loss: f64| Minimum { x: array![x, 0.9], residuals: array![0.0], loss };
    let mut search = search();
    open(&mut search);
    assert!(search.lesson().is_none(), "there is no answer yet");
    learn(&mut search, array![2.0]);
    let (starts, answers) = search.lesson().unwrap();
    assert_eq!(starts, array![[0.51, 0.0], [-0.5, 0.0], [0.0, 0.8]]);
    assert_eq!((answers[0].x.to_vec(), answers[0].defect.to_vec()), (vec![0.5, 0.0], vec![2.0]));
    let mut rng = RandomStreams::new(1).stream("search", 0);
    // The lowest ends where something was simulated, the next is a mirror image, the third has no value.
    let simulated = Minimum { x: array![0.52, 0.01], residuals: array![0.0], loss: 0.0 };
    let corrected = vec![simulated, minimum(-0.6, 0.1), minimum(0.1, f64::INFINITY)];
    search.open(predict, Some(corrected), &reach(), &mut rng);
    assert_eq!(search.design().unwrap(), array![-0.6, 0.9], "a mirror image, where nothing else is left");
    learn(&mut search, array![1.0]);
    let corrected = vec![minimum(0.3, 0.1), minimum(0.2, 0.2)];
    search.open(predict, Some(corrected), &reach(), &mut rng);
    assert_eq!(search.design().unwrap(), array![0.2, 0.9], "the first is a neighbour of what was tried");
    learn(&mut search, array![0.0]);
    assert!(search.lesson().is_none(), "where the target is met, other solutions are looked for");
}

#[test]
fn surprises_correct_the_jacobian_along_the_step() {
    let mut search = opened(1.0);
    let step = Minimum { x: array![0.7, 0.1], residuals: array![0.2], loss: 0.04 };
    assert!(search.take_step(step));
    learn(&mut search, array![0.5]);
    // C s is what the prediction lacked, and C is 0 across s.
    let correction = search.correction.t().to_owned();
    assert_abs_diff_eq!(correction.dot(&array![0.2, 0.1]), array![0.3], epsilon = 1e-15);
    assert_abs_diff_eq!(correction.dot(&array![-0.1, 0.2]), array![0.0], epsilon = 1e-15);
    assert_eq!(search.center.as_ref().unwrap().loss, 0.25);
}

#[test]
fn failures_shrink_the_region_and_stall_the_basin() {
    let settings = AdaptiveSearchSettings::default();
    let mut search = opened(1.0);
    for failure in 1..=settings.patience {
        assert!(search.promising_center(&settings).is_some());
        let step = Minimum { x: array![0.5 + 0.4 / failure as f64, 0.0], residuals: array![0.0], loss: 0.0 };
        assert!(search.take_step(step));
        learn(&mut search, array![f64::NAN]);
        assert_abs_diff_eq!(search.radius, 0.1 / failure as f64, epsilon = 1e-12);
    }
    assert!(search.promising_center(&settings).is_none());
    assert!(search.correction.iter().all(|value| *value == 0.0), "nothing is learnt from no answer");
}

#[test]
fn dead_ends_and_steps_to_nowhere_are_refused() {
    let settings = AdaptiveSearchSettings::default();
    let mut search = opened(1.0);
    let step = |x: f64, loss: f64| Minimum { x: array![x, 0.0], residuals: array![loss.sqrt()], loss };
    assert!(!search.take_step(step(0.6, 0.95)));
    assert!(!search.take_step(step(0.5, 0.0)));
    assert!(search.take_step(step(0.5 - settings.trust_radius, 0.95)), "the region limits this one");
}

#[test]
fn a_basin_goes_on_at_its_copies_with_what_it_has_learnt() {
    let settings = AdaptiveSearchSettings::default();
    let mut search = opened(0.2);
    assert!(!search.open_copy(), "nobody told of copies");
    search.copies.announce(2, 1.0);
    // The model promises nothing worthwhile: copies come before the basin's last steps.
    let poor = Minimum { x: array![0.6, 0.0], residuals: array![0.18], loss: 0.18 * 0.18 };
    assert!(!search.take_step(poor));
    assert!(search.open_copy());
    assert_eq!((search.design().unwrap(), search.copies.current()), (array![0.5, 0.0].view(), 1));
    learn(&mut search, array![0.3]);
    let center = search.promising_center(&settings).unwrap();
    assert_eq!((&center.x, &center.residuals), (&array![0.5, 0.0], &array![0.3]));
    let good = Minimum { x: array![0.7, 0.0], residuals: array![0.1], loss: 0.01 };
    assert!(search.take_step(good));
    learn(&mut search, array![0.11]);
    assert_abs_diff_eq!(search.correction[[0, 0]], 0.05, epsilon = 1e-12);
    // 0.11² is below twice the 0.1² that the simulator lacks in symmetry; the second copy does not answer.
    assert!(search.open_copy());
    assert_eq!((search.design().unwrap(), search.copies.current()), (array![0.7, 0.0].view(), 2));
    learn(&mut search, array![f64::NAN]);
    assert!(search.promising_center(&settings).is_none() && !search.open_copy(), "no copy is left");
    assert_eq!(open(&mut search), array![0.0, 0.8]);
    assert_eq!(search.copies.current(), 0);
}
