//! The paper's priors: moments, supports and the domains that eq. 5 takes from them.

#![expect(clippy::unwrap_used, reason = "functions that tests share are tests too")]

use approx::assert_abs_diff_eq;
use inverse_core::{Dataset, RandomStreams, Task};
use ndarray::{Array1, array};

const COUNT: usize = 20_000;

fn check_moments(task: &dyn Task, means: Array1<f64>, deviations: Array1<f64>) {
    let x = task.prior().sample(COUNT, &mut RandomStreams::new(3).stream("prior", 0));
    assert_eq!(x.dim(), (COUNT, task.dim_x()));
    for (column, (mean, deviation)) in x.columns().into_iter().zip(means.iter().zip(&deviations)) {
        // Five standard errors of the mean, and of the deviation (kurtosis at most 3.07).
        let tolerance = 5.0 * deviation / (COUNT as f64).sqrt();
        assert_abs_diff_eq!(column.mean().unwrap(), *mean, epsilon = tolerance);
        assert_abs_diff_eq!(column.std(0.0), *deviation, epsilon = tolerance);
    }
    let data = Dataset::from_task(task, 2000, &mut RandomStreams::new(3).stream("data", 0)).unwrap();
    assert_eq!(data.domain(), task.prior().domain());
}

fn task(name: &str) -> Box<dyn Task> {
    inverse_tasks::by_name(name).unwrap()
}

#[test]
fn ballistics() {
    let task = task("D1");
    let width = 63.0_f64.to_radians();
    let middle = 40.5_f64.to_radians();
    check_moments(
        &*task,
        array![0.0, 1.5, middle, 15.0],
        array![0.5, 0.5, width / 12.0_f64.sqrt(), 15.0_f64.sqrt()],
    );
    let domain = task.prior().domain();
    assert_abs_diff_eq!(domain.center(), array![0.0, 1.5, middle, 15.0].view(), epsilon = 1e-15);
    // 95% of Poisson(15) lies between 8 and 23.
    assert_abs_diff_eq!(domain.range(), array![1.959_964, 1.959_964, width, 15.0].view(), epsilon = 1e-6);
    let x = task.prior().sample(COUNT, &mut RandomStreams::new(4).stream("prior", 0));
    let angles = 9.0_f64.to_radians()..=72.0_f64.to_radians();
    assert!(x.column(2).iter().all(|angle| angles.contains(angle)));
    assert!(x.column(3).iter().all(|speed| *speed >= 0.0 && speed.fract() == 0.0));
}

#[test]
fn ballistics_hardly_ever_misses_the_ground() {
    let task = task("D1");
    let data = Dataset::from_task(&*task, COUNT, &mut RandomStreams::new(5).stream("data", 0)).unwrap();
    // P(x₂ < 0) = Φ(−3) = 0.00135, and most of those throws come out of their hole.
    assert!(data.redrawn() < COUNT / 1000, "{}", data.redrawn());
}

#[test]
fn sine_wave() {
    let task = task("D2");
    check_moments(&*task, array![0.0, 0.0], Array1::from_elem(2, (1.0_f64 / 3.0).sqrt()));
    assert_eq!(task.prior().domain().lower(), array![-1.0, -1.0]);
    assert_eq!(task.prior().domain().upper(), array![1.0, 1.0]);
}

#[test]
fn robotic_arm() {
    let task = task("D3");
    let deviations = array![0.25, 0.5, 0.5, 0.5];
    check_moments(&*task, Array1::zeros(4), deviations.clone());
    assert_eq!(task.prior().domain().center(), Array1::<f64>::zeros(4));
    assert_abs_diff_eq!(task.prior().domain().upper(), deviations * 1.959_964, epsilon = 1e-6);
}
