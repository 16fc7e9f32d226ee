//! The simulators against high-precision values, finite differences, the equations themselves, and bad input.

use approx::assert_relative_eq;
use inverse_core::{
    Dataset, DifferentiableSimulator, RandomStreams, SimulationError, Simulator, Task, numerical_jacobian,
};
use inverse_tasks::{Ballistics, RoboticArm, SineWave, by_name, names};
use ndarray::{Array2, ArrayView2, array};
use proptest::prelude::*;

/// Printed by `high_precision_vectors.py`.
const VECTORS: &str = include_str!("high_precision_vectors.csv");

fn numbers(text: &str) -> Vec<f64> {
    text.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

#[test]
fn values_match_fifty_digits() {
    let mut checked = 0;
    for line in VECTORS.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let task = by_name(fields[0]).unwrap();
        let x = Array2::from_shape_vec((1, task.dim_x()), numbers(fields[1])).unwrap();
        let y = task.simulate(x.view()).unwrap();
        let expected = numbers(fields[2]);
        if expected.is_empty() {
            assert!(y.iter().all(|value| value.is_nan()), "{line}");
        }
        for (ours, expected) in y.iter().zip(expected) {
            // Relative to the terms of the sums, which are of order 1 where y itself nearly cancels.
            assert_relative_eq!(*ours, expected, max_relative = 1e-12, epsilon = 1e-14);
        }
        checked += 1;
    }
    assert_eq!(checked, 38);
}

fn check_jacobian(task: &(impl Task + DifferentiableSimulator), step: f64) {
    let mut rng = RandomStreams::new(3).stream("jacobian", 0);
    let data = Dataset::from_task(task, 500, &mut rng).unwrap();
    let analytic = task.jacobian(data.x()).unwrap();
    let numeric = numerical_jacobian(task, data.x(), step).unwrap();
    // Richardson's extrapolation leaves step⁴ · f⁽⁵⁾ / 120 and rounding of 1e-16 / step times |y| ≲ 30.
    for (analytic, numeric) in analytic.iter().zip(&numeric) {
        assert_relative_eq!(*analytic, *numeric, epsilon = 2e-7, max_relative = 2e-7);
    }
}

#[test]
fn jacobians_match_finite_differences() {
    check_jacobian(&SineWave::new().unwrap(), 1e-3);
    check_jacobian(&RoboticArm::new().unwrap(), 1e-2);
    check_jacobian(&Ballistics::new().unwrap(), 1e-3);
}

#[test]
fn a_landed_ball_is_on_the_ground() {
    let (gravity, drag, mass) = (9.81, 0.25, 0.2);
    let mut rng = RandomStreams::new(4).stream("landing", 0);
    let data = Dataset::from_task(&Ballistics::new().unwrap(), 2000, &mut rng).unwrap();
    for (x, y) in data.x().rows().into_iter().zip(data.y()) {
        let (v1, v2) = (x[3] * x[2].cos(), x[3] * x[2].sin());
        if v1 == 0.0 {
            continue;
        }
        // T₁ solved for the time of landing, then T₂ at that time.
        let decay = 1.0 - (y - x[0]) * drag / (v1 * mass);
        let time = -decay.ln() * mass / drag;
        let fall = (gravity * mass + v2 * drag) * (decay - 1.0) + gravity * time * drag;
        let height = x[1] - mass / (drag * drag) * fall;
        // ln amplifies the rounding of y: e^(−kt/m) is at least e⁻⁵ under this prior.
        assert!(height.abs() < 1e-10, "{x}: {height}");
    }
}

#[test]
fn priors_are_the_papers() {
    let expected = [
        (
            "ballistics",
            vec![0.0, 1.5, 40.5_f64.to_radians(), 15.0],
            vec![1.96, 1.96, 63_f64.to_radians(), 15.0],
        ),
        ("sine-wave", vec![0.0, 0.0], vec![2.0, 2.0]),
        ("robotic-arm", vec![0.0; 4], vec![0.98, 1.96, 1.96, 1.96]),
    ];
    for (name, center, range) in expected {
        let task = by_name(name).unwrap();
        let domain = task.prior().domain();
        for column in 0..task.dim_x() {
            assert_relative_eq!(domain.center()[column], center[column], epsilon = 1e-12);
            assert_relative_eq!(domain.range()[column], range[column], max_relative = 1e-4);
        }
        let x = task.prior().sample(50, &mut RandomStreams::new(1).stream("prior", 0));
        assert!(task.prior().log_density(x.view()).unwrap().iter().all(|density| density.is_finite()));
    }
}

#[test]
fn bad_designs_are_named() {
    for name in names() {
        let task = by_name(name).unwrap();
        let mut x = Array2::zeros((3, task.dim_x()));
        x[[2, 1]] = f64::INFINITY;
        for x in [x, Array2::zeros((3, task.dim_x() + 1))] {
            let error = task.simulate(x.view()).unwrap_err();
            assert!(matches!(&error, SimulationError::InvalidArgument(e) if e.argument == "x"), "{error}");
        }
        assert_eq!(task.simulate(Array2::zeros((0, task.dim_x())).view()).unwrap().dim(), (0, task.dim_y()));
    }
}

#[test]
fn any_memory_layout_gives_the_same_answers() {
    let arm = RoboticArm::new().unwrap();
    let x = array![[0.1, 0.2, 0.3, 0.4], [-0.5, 0.6, -0.7, 0.8]];
    let transposed = x.t().to_owned();
    let reversed: ArrayView2<'_, f64> = x.slice(ndarray::s![..;-1, ..]);
    let y = arm.simulate(x.view()).unwrap();
    assert_eq!(arm.simulate(transposed.t()).unwrap(), y);
    assert_eq!(arm.simulate(reversed).unwrap().row(0), y.row(1));
}

proptest! {
    #[test]
    fn any_finite_design_gives_numbers_or_nan(x in prop::collection::vec(prop_oneof![
        -10.0..10.0_f64,
        prop::num::f64::NORMAL | prop::num::f64::ZERO | prop::num::f64::SUBNORMAL,
        prop_oneof![Just(f64::MAX), Just(f64::MIN), Just(f64::MIN_POSITIVE), Just(0.0)],
    ], 8)) {
        let ballistics = Ballistics::new().unwrap();
        let four = Array2::from_shape_vec((2, 4), x.clone()).unwrap();
        let y = ballistics.simulate(four.view()).unwrap();
        prop_assert!(y.iter().all(|value| !value.is_infinite()));
        let jacobian = ballistics.jacobian(four.view()).unwrap();
        prop_assert!(jacobian.iter().all(|value| !value.is_infinite()));
        RoboticArm::new().unwrap().simulate(four.view()).unwrap();
        SineWave::new().unwrap().simulate(Array2::from_shape_vec((4, 2), x).unwrap().view()).unwrap();
    }
}
