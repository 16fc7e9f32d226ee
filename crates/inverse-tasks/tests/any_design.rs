//! What the simulators make of designs far from any prior.

#![expect(clippy::unwrap_used, reason = "functions that tests share are tests too")]

use inverse_core::{DifferentiableSimulator, SimulationError, Simulator, Task};
use inverse_tasks::{Ballistics, RoboticArm, SineWave};
use ndarray::{Array2, ArrayView2, Axis};
use proptest::prelude::*;

fn tasks() -> Vec<Box<dyn Task>> {
    inverse_tasks::names().iter().map(|name| inverse_tasks::by_name(name).unwrap()).collect()
}

#[test]
fn what_is_not_a_design_is_refused_by_name() {
    for task in tasks() {
        let dim = task.dim_x();
        for (rows, columns) in [(1, dim + 1), (1, dim - 1), (0, dim + 1), (3, 0)] {
            let error = task.simulate(Array2::zeros((rows, columns)).view()).unwrap_err();
            let SimulationError::InvalidArgument(error) = error else { panic!("{error}") };
            assert_eq!(error.argument, "x");
            assert_eq!(error.expected, format!("{dim} columns"));
        }
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut x = Array2::zeros((2, dim));
            x[[1, dim - 1]] = value;
            let error = task.simulate(x.view()).unwrap_err();
            let SimulationError::InvalidArgument(error) = error else { panic!("{error}") };
            assert_eq!(error.found, format!("{value} in row 1, column {}", dim - 1));
        }
        assert_eq!(task.simulate(Array2::zeros((0, dim)).view()).unwrap().dim(), (0, task.dim_y()));
    }
}

#[test]
fn jacobians_refuse_what_is_not_a_design() {
    fn check(task: &impl DifferentiableSimulator) {
        let (dim_y, dim_x) = (task.dim_y(), task.dim_x());
        assert!(task.jacobian(Array2::zeros((1, dim_x + 1)).view()).is_err());
        assert!(task.jacobian(Array2::from_elem((1, dim_x), f64::NAN).view()).is_err());
        assert_eq!(task.jacobian(Array2::zeros((0, dim_x)).view()).unwrap().dim(), (0, dim_y, dim_x));
    }
    check(&Ballistics::new());
    check(&SineWave::new());
    check(&RoboticArm::new());
}

/// Any finite number: each bit pattern is as likely as another, mixed with numbers of everyday size.
fn number() -> impl Strategy<Value = f64> {
    let any_size = any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |value| value.is_finite());
    let special =
        prop::sample::select(vec![0.0, -0.0, 1.0, -1.0, f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324]);
    prop_oneof![3 => any_size, 3 => -20.0..20.0, 1 => special]
}

fn check_answers<S: DifferentiableSimulator>(task: &S, x: &[f64]) {
    let x = ArrayView2::from_shape((1, task.dim_x()), &x[..task.dim_x()]).unwrap();
    let y = task.simulate(x).unwrap().remove_axis(Axis(0));
    let jacobian = task.jacobian(x).unwrap().remove_axis(Axis(0));
    let unknown = y.iter().all(|value| value.is_nan());
    assert!(unknown || y.iter().all(|value| value.is_finite()), "y = {y} at x = {x}");
    let no_slope = jacobian.iter().all(|value| value.is_nan());
    assert!(no_slope || jacobian.iter().all(|value| value.is_finite()), "dy/dx = {jacobian} at x = {x}");
    assert!(no_slope || !unknown, "dy/dx = {jacobian} without a y at x = {x}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn answers_are_finite_or_nan(x in prop::array::uniform4(number())) {
        check_answers(&Ballistics::new(), &x);
        check_answers(&SineWave::new(), &x);
        check_answers(&RoboticArm::new(), &x);
    }

    #[test]
    fn a_shifted_throw_lands_shifted(x in prop::array::uniform4(-20.0..20.0_f64), shift in -5.0..5.0_f64) {
        let throws = Array2::from_shape_vec((2, 4), vec![x[0], x[1], x[2], x[3], x[0] + shift, x[1], x[2], x[3]]);
        let y = Ballistics::new().simulate(throws.unwrap().view()).unwrap();
        prop_assert_eq!(y[[0, 0]].is_nan(), y[[1, 0]].is_nan());
        prop_assert!(y[[0, 0]].is_nan() || (y[[1, 0]] - y[[0, 0]] - shift).abs() < 1e-13);
    }

    /// An angle beyond the vertical throws backwards: y − x₁ changes its sign.
    #[test]
    fn a_throw_backwards_is_mirrored(height in 0.0..3.0, angle in 0.0..1.5, speed in 0.0..30.0) {
        let throws = Array2::from_shape_vec(
            (2, 4),
            vec![0.0, height, angle, speed, 0.0, height, std::f64::consts::PI - angle, speed],
        );
        let y = Ballistics::new().simulate(throws.unwrap().view()).unwrap();
        // π is rounded: the angle is off by 1.2e-16, the distance by up to dy/dx₃ (below 100) times that.
        prop_assert!((y[[0, 0]] + y[[1, 0]]).abs() < 1e-12);
    }
}
