//! Every Jacobian against central differences, at designs drawn from the prior.

#![expect(clippy::unwrap_used, reason = "functions that tests share are tests too")]

use std::f64::consts::PI;

use inverse_core::{DifferentiableSimulator, RandomStreams, Simulator, Task, numerical_jacobian};
use inverse_tasks::{Ballistics, RoboticArm, SineWave};
use ndarray::{Array2, Axis, array};

const COUNT: usize = 2000;

fn prior_designs(task: &dyn Task) -> Array2<f64> {
    task.prior().sample(COUNT, &mut RandomStreams::new(11).stream("designs", 0))
}

/// What rounding does to `numerical_jacobian`: its two differences, weighted 4/3 and 1/3, divide values with
/// an error of a few epsilons of `scale` by `step` and 2 `step`.
fn rounding(scale: f64, step: f64) -> f64 {
    16.0 * f64::EPSILON * scale / step
}

/// Compares with a bound from the fifth derivative: Richardson's remainder is step⁴ |f⁗ʹ| / 480.
fn check(task: &(impl Task + DifferentiableSimulator), fifth_derivative: f64, scale: f64) {
    let (x, step) = (prior_designs(task), 1e-3);
    let exact = task.jacobian(x.view()).unwrap();
    let numerical = numerical_jacobian(task, x.view(), step).unwrap();
    let tolerance = step.powi(4) * fifth_derivative / 480.0 + rounding(scale, step);
    assert_eq!(exact.dim(), (COUNT, task.dim_y(), task.dim_x()));
    for (exact, numerical) in exact.iter().zip(&numerical) {
        assert!((exact - numerical).abs() <= tolerance, "{exact} against {numerical}, allowed {tolerance:e}");
    }
}

#[test]
fn sine_wave() {
    // |y| ≤ 2, and the phase of up to 3π rounds as well.
    check(&SineWave::new(), (3.0 * PI).powi(5), 2.0 + 6.0 * PI);
}

#[test]
fn robotic_arm() {
    // One variable turns all links at most, of total length 2; |x₁| and the angles stay below 3.
    check(&RoboticArm::new(), 2.0, 2.0 + 9.0);
}

#[test]
fn ballistics() {
    let task = Ballistics::new();
    let x = prior_designs(&task);
    let step = 1e-2;
    let y = task.simulate(x.view()).unwrap();
    let exact = task.jacobian(x.view()).unwrap();
    let coarse = numerical_jacobian(&task, x.view(), step).unwrap();
    let fine = numerical_jacobian(&task, x.view(), step / 2.0).unwrap();
    let mut compared = 0;
    for (row, y) in y.iter().enumerate() {
        let [exact, coarse, fine] =
            [&exact, &coarse, &fine].map(|jacobian| jacobian.index_axis(Axis(0), row));
        // A throw from below the ground that lands only just has no neighbour on one side.
        if coarse.iter().any(|value| value.is_nan()) {
            continue;
        }
        compared += 1;
        for ((exact, coarse), fine) in exact.iter().zip(coarse).zip(fine) {
            // The remainder of order step⁴ shrinks 16 times from coarse to fine.
            let tolerance = (coarse - fine).abs() + rounding(y.abs() + 30.0, step / 2.0);
            assert!(
                (exact - fine).abs() <= tolerance,
                "{exact} against {fine}, allowed {tolerance:e}, x = {}",
                x.row(row)
            );
        }
    }
    assert!(compared > COUNT * 99 / 100, "{compared}");
}

#[test]
fn ballistics_from_the_ground() {
    // Without height or drag y = x₁ + v² sin(2x₃) / g; drag takes parts of the order v / terminal speed.
    let jacobian = Ballistics::new().jacobian(array![[0.0, 0.0, PI / 4.0, 1e-9]].view()).unwrap();
    let expected = array![[[1.0, 1.0, 0.0, 2e-9 / 9.81]]];
    for (found, expected) in jacobian.iter().zip(&expected) {
        assert!((found - expected).abs() <= 1e-9 * expected.abs() + 1e-26, "{found} against {expected}");
    }
}

#[test]
fn ballistics_without_impact_has_no_derivative() {
    let x = array![[0.0, -1.0, -0.5, 10.0], [0.0, 0.0, 0.5, 0.0], [0.0, 1.0, 0.5, 10.0]];
    let jacobian = Ballistics::new().jacobian(x.view()).unwrap();
    // The second ball rests on the ground: it lands where it lies, but lower it would not.
    assert!(jacobian.index_axis(Axis(0), 0).iter().all(|value| value.is_nan()));
    assert!(jacobian.index_axis(Axis(0), 1).iter().all(|value| value.is_nan()));
    assert!(jacobian.index_axis(Axis(0), 2).iter().all(|value| value.is_finite()));
}
