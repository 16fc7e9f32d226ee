//! Reference posteriors of noisy measurements: a known posterior is met, draws depend on nothing else, noise is checked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]

use inverse_core::{
    BoxPrior, FnSimulator, GaussianNoise, InvalidArgument, MeasurementNoise, RandomStreams, SimulatedTask,
    Task,
};
use inverse_metrics::{MetricError, ReferencePosterior};
use ndarray::{Array1, Array2, ArrayView2, array};
use rand::Rng;

const STREAMS: RandomStreams = RandomStreams::new(5);

/// y = x₁ + x₂ on the unit square; no answer where x₁ is above `answered`.
fn sum(answered: f64) -> impl Task {
    let simulator = FnSimulator::new(2, 1, move |x, y| {
        y[0] = if x[0] > answered { f64::NAN } else { x[0] + x[1] };
    });
    let prior = BoxPrior::new(&[0.0; 2], &[1.0; 2]).unwrap();
    SimulatedTask::new("sum", simulator.unwrap(), prior).unwrap()
}

fn settings(samples: usize) -> ReferencePosterior {
    ReferencePosterior { samples, ..ReferencePosterior::default() }
}

#[test]
fn a_linear_task_has_the_posterior_of_its_noise() {
    // s = x₁ + x₂ has the density s up to 1, so given y = 0.6 ± σ one ∝ s N(s; 0.6, σ²); with σ = 0.1 both ends are four
    // deviations or more away. E s = 0.6 + σ²/0.6, E s² = 0.36 + 3σ²; x₁ is uniform on [0, s].
    let (samples, variance) = (20_000, 0.01);
    let noise = GaussianNoise::new(&[0.1]).unwrap();
    let drawn = settings(samples).draw_measured(&sum(2.0), &noise, array![[0.6]].view(), STREAMS).unwrap();
    let [posterior] = &drawn[..] else { panic!("one measurement") };
    assert!(posterior.complete);
    let mean = 0.3 + variance / 1.2;
    let spread = (0.36 + 3.0 * variance) / 3.0 - mean * mean;
    for x in posterior.designs.columns() {
        // Four standard errors of a mean and of a variance, whose kurtosis is below 2.4; s beyond 1 moves either by less
        // than 1e-4, a tenth of an error.
        let error = (spread / samples as f64).sqrt();
        assert!((x.mean().unwrap() - mean).abs() < 4.0 * error, "{} {mean}", x.mean().unwrap());
        let error = spread * (1.4 / samples as f64).sqrt();
        assert!((x.var(0.0) - spread).abs() < 4.0 * error, "{} {spread}", x.var(0.0));
    }
    // The share kept is ∫ s exp(−(s − 0.6)²/2σ²) ds = 0.6 σ √(2π); its relative deviation is below 1/√n.
    let share = posterior.acceptance_rate() / (0.06 * (2.0 * std::f64::consts::PI).sqrt());
    assert!((share - 1.0).abs() < 4.0 / (samples as f64).sqrt(), "{share}");
}

#[test]
fn draws_depend_neither_on_threads_nor_on_other_measurements() {
    let noise = GaussianNoise::new(&[0.05]).unwrap();
    let task = sum(0.7);
    let draw = |threads: usize, y: Array2<f64>| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| settings(300).draw_measured(&task, &noise, y.view(), STREAMS).unwrap())
    };
    let both = draw(1, array![[0.3], [1.4]]);
    assert_eq!(both, draw(3, array![[0.3], [1.4]]));
    assert_eq!(both[1..], draw(2, array![[1.4]]));
    // Designs without an answer explain nothing.
    assert!(both.iter().all(|posterior| posterior.designs.column(0).iter().all(|x| *x <= 0.7)));
    assert!(both[1].designs.column(1).iter().all(|x| *x > 0.4));
}

/// Gaussian noise with this bound, and so much added to each log-likelihood.
struct Bounded(GaussianNoise, Option<f64>, f64);

impl MeasurementNoise for Bounded {
    fn dim_y(&self) -> usize {
        self.0.dim_y()
    }

    fn measure(&self, exact: ArrayView2<'_, f64>, rng: &mut dyn Rng) -> Result<Array2<f64>, InvalidArgument> {
        self.0.measure(exact, rng)
    }

    fn log_likelihood(
        &self,
        exact: ArrayView2<'_, f64>,
        y: ArrayView2<'_, f64>,
    ) -> Result<Array1<f64>, InvalidArgument> {
        let log = self.0.log_likelihood(exact, y)? + self.2;
        // A hundred added stands for a number too many.
        Ok(if self.2 == 100.0 { log.iter().copied().chain([0.0]).collect() } else { log })
    }

    fn largest_log_likelihood(&self) -> Option<f64> {
        self.1
    }
}

#[test]
fn a_looser_bound_gives_draws_of_the_same_law() {
    let gaussian = GaussianNoise::new(&[0.1]).unwrap();
    let bound = gaussian.largest_log_likelihood().unwrap() + 2.0_f64.ln();
    let noise = Bounded(gaussian, Some(bound), 0.0);
    let samples = 5000;
    let drawn = settings(samples).draw_measured(&sum(2.0), &noise, array![[0.6]].view(), STREAMS).unwrap();
    // Half as many are kept as above; the mean is the same, to four standard errors.
    let share = drawn[0].acceptance_rate() / (0.03 * (2.0 * std::f64::consts::PI).sqrt());
    assert!((share - 1.0).abs() < 4.0 / (samples as f64).sqrt(), "{share}");
    let mean = drawn[0].designs.mean().unwrap();
    assert!((mean - (0.3 + 0.01 / 1.2)).abs() < 4.0 * (0.035 / samples as f64).sqrt(), "{mean}");
}

#[test]
fn noise_without_a_bound_or_above_it_is_refused() {
    let gaussian = GaussianNoise::new(&[0.1]).unwrap();
    let largest = gaussian.largest_log_likelihood().unwrap();
    let refused =
        |noise: &dyn MeasurementNoise, y: Array2<f64>, argument: &str, words: &str| match settings(10)
            .draw_measured(&sum(2.0), noise, y.view(), STREAMS)
        {
            Err(MetricError::InvalidArgument(error)) => {
                assert_eq!(error.argument, argument);
                assert!(error.to_string().contains(words), "{error}");
            }
            other => panic!("{other:?}"),
        };
    let y = || array![[0.6]];
    for (bound, words) in
        [(None, "found none"), (Some(f64::NAN), "found NaN"), (Some(f64::INFINITY), "found inf")]
    {
        refused(&Bounded(gaussian.clone(), bound, 0.0), y(), "noise", words);
    }
    refused(&Bounded(gaussian.clone(), Some(largest), 0.1), y(), "noise", "its largest");
    refused(&Bounded(gaussian.clone(), Some(largest), f64::NAN), y(), "noise", "found NaN");
    refused(
        &Bounded(gaussian.clone(), Some(largest + 100.0), 100.0),
        y(),
        "noise",
        "log-likelihoods, found 8193",
    );
    refused(&GaussianNoise::new(&[0.1; 2]).unwrap(), y(), "noise", "1 measured variables");
    refused(&gaussian, array![[0.6, 0.1]], "y", "1 ");
    refused(&gaussian, array![[f64::NAN]], "y", "");
    refused(&gaussian, Array2::zeros((0, 1)), "y", "at least one target");
}
