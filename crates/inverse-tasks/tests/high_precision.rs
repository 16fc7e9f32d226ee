//! Every simulator against measurements computed with 60 digits (high_precision_vectors.py).

#![expect(clippy::unwrap_used, reason = "functions that tests share are tests too")]

use ndarray::{ArrayView2, Axis};

const VECTORS: &str = include_str!("high_precision_vectors.csv");

/// A few dozen operations, each rounded to half an epsilon of the magnitudes that enter y.
const TOLERANCE: f64 = 32.0 * f64::EPSILON;

fn numbers(text: &str) -> Vec<f64> {
    text.split(' ').map(|number| number.parse().unwrap()).collect()
}

/// Checks all vectors of a task and returns how many there were.
fn check(name: &str) -> usize {
    let task = inverse_tasks::by_name(name).unwrap();
    let mut count = 0;
    for line in VECTORS.lines().skip(1) {
        let columns: Vec<_> = line.split(',').collect();
        if columns[0] != name {
            continue;
        }
        let (x, expected, scale) = (numbers(columns[1]), numbers(columns[2]), numbers(columns[3]));
        let x = ArrayView2::from_shape((1, x.len()), &x).unwrap();
        let found = task.simulate(x).unwrap().remove_axis(Axis(0));
        assert_eq!(found.len(), expected.len());
        for ((found, expected), scale) in found.iter().zip(&expected).zip(&scale) {
            assert_eq!(found.is_nan(), expected.is_nan(), "{line}: found {found}");
            let error = (found - expected).abs();
            assert!(
                expected.is_nan() || error <= TOLERANCE * scale,
                "{line}: found {found}, off by {error:e}"
            );
            // Where nothing cancels, that is far closer than twelve digits.
            let cancels = expected.abs() < 0.02 * scale;
            assert!(expected.is_nan() || cancels || error <= 1e-12 * expected.abs(), "{line}: found {found}");
        }
        count += 1;
    }
    count
}

#[test]
fn ballistics() {
    assert!(check("ballistics") >= 40);
}

#[test]
fn sine_wave() {
    assert!(check("sine-wave") >= 15);
}

#[test]
fn robotic_arm() {
    assert!(check("robotic-arm") >= 15);
}
