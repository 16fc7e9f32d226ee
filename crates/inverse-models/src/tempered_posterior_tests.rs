use approx::assert_abs_diff_eq;
use inverse_core::{BoxPrior, Dataset, FnSimulator, GaussianNoise, RandomStreams, SimulatedTask, Stream};
use inverse_metrics::{Mmd, ReferencePosterior};
use inverse_tasks::{Ballistics, RoboticArm, SineWave};
use ndarray::{array, s};

use super::*;

fn stream() -> Stream {
    RandomStreams::new(1).stream("test", 0)
}

fn square() -> impl Task {
    let square = FnSimulator::new(1, 1, |x, y| y[0] = x[0] * x[0]).unwrap();
    SimulatedTask::new("square", square, BoxPrior::new(&[-2.0], &[2.0]).unwrap()).unwrap()
}

/// y = x, on the box ±1.
fn identity(width: usize) -> impl Task {
    let identity = FnSimulator::new(width, width, |x, y| y.copy_from_slice(x)).unwrap();
    let prior = BoxPrior::new(&vec![-1.0; width], &vec![1.0; width]).unwrap();
    SimulatedTask::new("identity", identity, prior).unwrap()
}

fn noise(width: usize, deviation: f64) -> GaussianNoise {
    GaussianNoise::new(&vec![deviation; width]).unwrap()
}

#[test]
fn gaussians_of_ten_variables_are_met() {
    let posterior =
        TemperedPosterior::new(identity(10), noise(10, 0.1), TemperedSettings::default()).unwrap();
    let y = Array2::from_shape_fn((2, 10), |(target, column)| 0.5 - 0.1 * (target * column) as f64);
    let drawn = posterior.draw(y.view(), 2048, &mut stream()).unwrap();
    for (target, draws) in drawn.proposals.designs().outer_iter().enumerate() {
        println!("{} {:?}", drawn.log_evidence[target], drawn.simulations);
        println!("{}", draws.mean_axis(Axis(0)).unwrap() - y.row(target));
        println!("{}", draws.std_axis(Axis(0), 0.0));
    }
}
