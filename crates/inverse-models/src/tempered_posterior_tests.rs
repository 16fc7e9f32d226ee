use approx::assert_abs_diff_eq;
use inverse_core::{
    BoxPrior, Dataset, Domain, FitContext, FnSimulator, GaussianNoise, IndependentPrior, Marginal, Method,
    Prior, RandomStreams, SimulatedTask, Stream, check_measurements,
    testing::{check_model, check_simulator},
};
use inverse_metrics::{Mmd, ReferencePosterior};
use inverse_tasks::RoboticArm;
use ndarray::{array, s};

use super::*;
use crate::NeuralAdjoint;
use crate::nn::TrainingSettings;

/// Draws share the designs of the prior that they come from: tolerances of means and shares assume that so many count as one.
const RELATED: f64 = 4.0;

fn stream() -> Stream {
    RandomStreams::new(1).stream("test", 0)
}

fn task<F>(lower: &[f64], upper: &[f64], dim_y: usize, f: F) -> impl Task + use<F>
where
    F: Fn(&[f64], &mut [f64]) + Send + Sync,
{
    let simulator = FnSimulator::new(lower.len(), dim_y, f).unwrap();
    SimulatedTask::new("task", simulator, BoxPrior::new(lower, upper).unwrap()).unwrap()
}

/// y = x, on the box ±1.
fn identity(width: usize) -> impl Task {
    task(&vec![-1.0; width], &vec![1.0; width], width, |x, y| y.copy_from_slice(x))
}

fn noise(width: usize, deviation: f64) -> GaussianNoise {
    GaussianNoise::new(&vec![deviation; width]).unwrap()
}

fn tempered<T: Task, N: MeasurementNoise>(task: T, noise: N) -> TemperedPosterior<T, N> {
    TemperedPosterior::new(task, noise, TemperedSettings::default()).unwrap()
}

#[test]
fn gaussians_of_ten_variables_are_met() {
    let y = Array2::from_shape_fn((2, 10), |(target, column)| 0.5 - 0.1 * (target * column) as f64);
    let drawn = tempered(identity(10), noise(10, 0.1)).draw(y.view(), 2048, &mut stream()).unwrap();
    let tolerance = 5.0 * 0.1 * (RELATED / 2048.0).sqrt();
    for (draws, y) in drawn.proposals.designs().outer_iter().zip(y.rows()) {
        for (mean, y) in draws.mean_axis(Axis(0)).unwrap().iter().zip(y) {
            assert_abs_diff_eq!(mean, y, epsilon = tolerance);
        }
        for deviation in draws.std_axis(Axis(0), 0.0) {
            assert_abs_diff_eq!(deviation, 0.1, epsilon = tolerance);
        }
    }
    // The density of the normal law around y, but for the evidence: what is left of it is one number.
    let y = y.select(Axis(0), &[1]);
    let x = drawn.proposals.designs().index_axis_move(Axis(0), 1);
    let normal = noise(10, 0.1).log_likelihood(x, y.broadcast(x.dim()).unwrap()).unwrap();
    let rest = &drawn.log_density.row(1) - &normal;
    let evidence = drawn.log_evidence[1] + 10.0 * 2.0_f64.ln();
    assert!(rest.iter().all(|rest| (rest + evidence).abs() < 1e-9));
    // The prior's density is 2⁻¹⁰, and no edge is within five deviations. A step's weights have the variance 1 / share − 1
    // = 1: the logarithm of their mean over 2,048 has the deviation 0.022, and that of some twenty steps 0.1.
    for log_evidence in drawn.log_evidence {
        assert_abs_diff_eq!(log_evidence, -10.0 * 2.0_f64.ln(), epsilon = 0.5);
    }
}

#[test]
fn solutions_have_their_weights() {
    // y = 1 at x = 1, where the slope is 1, and at x = −0.25, where it is −4: a fifth of the posterior.
    let bent = || task(&[-2.0], &[2.0], 1, |x, y| y[0] = if x[0] > 0.0 { x[0] } else { -4.0 * x[0] });
    let settings = TemperedSettings { particles: 8192, ..TemperedSettings::default() };
    let posterior = TemperedPosterior::new(bent(), noise(1, 0.01), settings).unwrap();
    let drawn = posterior.draw(array![[1.0]].view(), 4000, &mut stream()).unwrap();
    let x = drawn.proposals.designs();
    assert!(x.iter().all(|x| (x - 1.0).abs() < 0.06 || (x + 0.25).abs() < 0.015));
    let share = x.iter().filter(|x| **x < 0.0).count() as f64 / 4000.0;
    assert_abs_diff_eq!(share, 0.2, epsilon = 5.0 * (RELATED * 0.2 * 0.8 / 4000.0).sqrt());
    // ∫ p(x) p(y | f(x)) dx is ¼ (1 + ¼). Five steps of 8,192 designs: a deviation of 0.025.
    assert_abs_diff_eq!(drawn.log_evidence[0], (1.25_f64 / 4.0).ln(), epsilon = 0.125);
    assert!(drawn.simulations[0] > 8192 && drawn.simulations[0] < 10_000_000);
}

#[test]
fn thin_posteriors_are_met() {
    // 1 ± 10⁻⁶ / |∂y/∂x| = 5·10⁻⁷, of either sign: hardly any design of the prior is within a thousand times that.
    let square = task(&[-2.0], &[2.0], 1, |x, y| y[0] = x[0] * x[0]);
    let draws = tempered(square, noise(1, 1e-6)).propose(array![[1.0]].view(), 2000, &mut stream()).unwrap();
    let errors = draws.designs().mapv(|x| (x.abs() - 1.0) / 5e-7);
    let tolerance = 5.0 * (RELATED / 2000.0).sqrt();
    assert_abs_diff_eq!(errors.mean().unwrap(), 0.0, epsilon = tolerance);
    assert_abs_diff_eq!(errors.std(0.0), 1.0, epsilon = tolerance);
    assert!(draws.designs().iter().any(|x| *x > 0.0) && draws.designs().iter().any(|x| *x < 0.0));
}

#[test]
fn draws_are_those_of_rejection() {
    // Four joints and two measurements: a curved sheet of half a tenth's thickness, under a normal prior.
    let arm = RoboticArm::new();
    let noise = noise(2, 0.05);
    let pairs = Dataset::from_task(&arm, 3, &mut stream()).unwrap().measured(&noise, &mut stream()).unwrap();
    let draws = tempered(&arm, &noise).propose(pairs.y(), 1000, &mut stream()).unwrap();
    let rejection = ReferencePosterior { samples: 1000, ..ReferencePosterior::default() };
    let exact = |seed: u64| {
        rejection.draw_measured(&arm, &noise, pairs.y(), RandomStreams::new(seed)).unwrap().into_iter()
    };
    for ((draws, exact), other) in draws.designs().outer_iter().zip(exact(1)).zip(exact(2)) {
        let scale = exact.designs.std_axis(Axis(0), 0.0);
        let distance = |from: ArrayView2<'_, f64>| {
            Mmd::default().squared((&from / &scale).view(), (&exact.designs / &scale).view()).unwrap()
        };
        // Of one law, both distances are alike; of the prior, it is many times as far.
        assert!(distance(draws) < 1.5 * distance(other.designs.view()));
        assert!(distance(arm.prior().sample(1000, &mut stream()).view()) > 10.0 * distance(draws));
    }
}

#[test]
fn designs_without_an_answer_are_not_drawn() {
    let root = task(&[-1.0], &[1.0], 1, |x, y| y[0] = x[0].sqrt());
    let drawn = tempered(root, noise(1, 1.0)).draw(array![[0.5]].view(), 500, &mut stream()).unwrap();
    assert!(drawn.proposals.designs().iter().all(|x| *x >= 0.0));
    // ∫₀¹ ½ φ(√x − ½) dx, by Simpson's rule on u = √x.
    let f = |u: f64| u * (-0.5 * (u - 0.5).powi(2)).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let simpson: f64 = (0..100)
        .map(|k| f64::from(k) / 100.0)
        .map(|u| (f(u) + 4.0 * f(u + 0.005) + f(u + 0.01)) / 600.0)
        .sum();
    // Half of some 4,096 designs had an answer: a deviation of 0.022.
    assert_abs_diff_eq!(drawn.log_evidence[0], simpson.ln(), epsilon = 0.11);
}

/// Within 0.01 of the output, each as likely.
struct Rounding;

impl MeasurementNoise for Rounding {
    fn dim_y(&self) -> usize {
        1
    }

    fn measure(&self, exact: ArrayView2<'_, f64>, _: &mut dyn Rng) -> Result<Array2<f64>, InvalidArgument> {
        Ok(exact.to_owned())
    }

    fn log_likelihood(
        &self,
        exact: ArrayView2<'_, f64>,
        y: ArrayView2<'_, f64>,
    ) -> Result<Array1<f64>, InvalidArgument> {
        check_measurements(exact, y, 1)?;
        let inside = |(exact, y): (&f64, &f64)| (exact - y).abs() <= 0.01;
        let log =
            exact.iter().zip(y).map(|pair| if inside(pair) { 50.0_f64.ln() } else { f64::NEG_INFINITY });
        Ok(log.collect())
    }
}

#[test]
fn likelihoods_may_have_edges() {
    let drawn =
        tempered(identity(1), Rounding).draw(array![[0.3], [0.995]].view(), 100, &mut stream()).unwrap();
    for (x, y) in drawn.proposals.designs().outer_iter().zip([0.3, 0.995]) {
        assert!(x.iter().all(|x| (x - y).abs() <= 0.01 && *x <= 1.0));
    }
    // A hundredth of the prior, and three quarters of that: shares of 2,048 kept designs.
    let exact = [(0.5_f64).ln(), (0.375_f64).ln()];
    for (log_evidence, exact) in drawn.log_evidence.iter().zip(exact) {
        assert_abs_diff_eq!(*log_evidence, exact, epsilon = 5.0 / 2048.0_f64.sqrt());
    }
    let error = tempered(identity(1), Rounding).propose(array![[2.0]].view(), 10, &mut stream()).unwrap_err();
    let expected = "invalid `y`: expected measurements that designs of the prior explain, found 0 of 2048000";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn draws_depend_on_no_thread_and_no_later_target() {
    let posterior = tempered(RoboticArm::new(), noise(2, 0.2));
    let y = array![[0.3, 1.6], [0.0, 1.8], [-0.4, 1.5]];
    let draw = |threads: usize, y: ArrayView2<'_, f64>, n: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| posterior.draw(y, n, &mut stream()).unwrap())
    };
    let drawn = draw(1, y.view(), 300);
    assert_eq!(draw(3, y.view(), 300), drawn);
    let two = draw(2, y.slice(s![..2, ..]), 300);
    assert_eq!(two.proposals.designs(), drawn.proposals.designs().slice(s![..2, .., ..]));
    assert_eq!(two.log_evidence, drawn.log_evidence.slice(s![..2]));
    // More draws than particles come from a larger population, none of which is drawn twice.
    let settings = TemperedSettings { particles: 16, ..TemperedSettings::default() };
    let small = TemperedPosterior::new(RoboticArm::new(), noise(2, 0.2), settings).unwrap();
    let many = small.propose(y.view(), 500, &mut stream()).unwrap();
    assert_eq!(many.designs().dim(), (3, 500, 4));
}

#[test]
fn it_conforms() {
    let settings = TemperedSettings { particles: 64, ..TemperedSettings::default() };
    let posterior = TemperedPosterior::new(RoboticArm::new(), noise(2, 0.2), settings).unwrap();
    check_model(&posterior, array![[0.3, 1.6], [0.0, 1.8], [-0.4, 1.5]].view(), 1).unwrap();
}

#[test]
fn the_network_of_neural_adjoint_stands_for_its_simulator() {
    let square = || task(&[-1.0], &[1.0], 1, |x, y| y[0] = x[0] * x[0]);
    let data = Dataset::from_task(&square(), 400, &mut stream()).unwrap();
    let mut method = NeuralAdjoint { start_count: 50, ..NeuralAdjoint::default() };
    method.surrogate.hidden = vec![32, 32];
    method.surrogate.batch_norm = false;
    method.surrogate.training =
        TrainingSettings { epochs: 60, batch_size: 16, ..TrainingSettings::default() };
    let model = method.fit(&data, &mut FitContext::new(1)).unwrap();
    check_simulator(model.surrogate(), data.x().slice(s![..20, ..])).unwrap();
    let prior = BoxPrior::new(&[-1.0], &[1.0]).unwrap();
    let learnt = SimulatedTask::new("learnt", model.surrogate(), prior).unwrap();
    let draws = tempered(learnt, noise(1, 0.05)).propose(array![[0.49]].view(), 1000, &mut stream()).unwrap();
    // 0.7 ± 0.05 / (2 · 0.7), of either sign: what the network errs by comes on top.
    let sizes = draws.designs().mapv(f64::abs);
    assert_abs_diff_eq!(sizes.mean().unwrap(), 0.7, epsilon = 0.02);
    assert_abs_diff_eq!(sizes.std(0.0), 0.0357, epsilon = 0.01);
}

#[test]
fn settings_and_tasks_are_checked() {
    let refused = |settings: TemperedSettings| {
        TemperedPosterior::new(identity(1), noise(1, 1.0), settings).unwrap_err().to_string()
    };
    let default = TemperedSettings::default;
    for (settings, argument) in [
        (TemperedSettings { particles: 15, ..default() }, "particles"),
        (TemperedSettings { particles: usize::MAX, ..default() }, "particles"),
        (TemperedSettings { effective_share: 1.0, ..default() }, "effective_share"),
        (TemperedSettings { effective_share: f64::NAN, ..default() }, "effective_share"),
        (TemperedSettings { move_limit: 0, ..default() }, "move_limit"),
    ] {
        let error = refused(settings);
        assert!(error.contains(&format!("invalid `{argument}`")), "{error}");
    }
    let error = TemperedPosterior::new(identity(1), noise(2, 1.0), default()).unwrap_err().to_string();
    assert_eq!(error, "invalid `noise`: expected one of 1 measured variables, as the task's, found 2");
    let posterior = tempered(identity(1), noise(1, 1.0));
    for (y, n, argument) in [
        (array![[0.0, 1.0]], 1, "y"),
        (array![[f64::NAN]], 1, "y"),
        (Array2::zeros((0, 1)), 1, "y"),
        (array![[0.0]], 0, "n"),
        (array![[0.0]], usize::MAX, "n"),
    ] {
        let error = posterior.propose(y.view(), n, &mut stream()).unwrap_err().to_string();
        assert!(error.contains(&format!("invalid `{argument}`")), "{error}");
    }
}

/// Uniform on 0 to 1, with a density that it tells or not.
struct Told(Option<f64>);

impl Prior for Told {
    fn sample(&self, n: usize, _: &mut dyn Rng) -> Array2<f64> {
        Array2::from_shape_fn((n, 1), |(row, _)| row as f64 / n as f64)
    }

    fn domain(&self) -> &Domain {
        static DOMAIN: std::sync::LazyLock<Domain> =
            std::sync::LazyLock::new(|| Domain::from_bounds(&[0.0], &[1.0]).unwrap());
        &DOMAIN
    }

    fn log_density(&self, x: ArrayView2<'_, f64>) -> Option<Array1<f64>> {
        self.0.map(|log| Array1::from_elem(x.nrows(), log))
    }
}

#[test]
fn priors_need_a_density_of_continuous_variables() {
    let double = || FnSimulator::new(1, 1, |x, y| y[0] = 2.0 * x[0]).unwrap();
    let with = |prior: Told| {
        let task = SimulatedTask::new("double", double(), prior).unwrap();
        let posterior = TemperedPosterior::new(task, noise(1, 0.1), TemperedSettings::default())?;
        posterior.propose(array![[1.0]].view(), 10, &mut stream())
    };
    assert!(with(Told(Some(0.0))).is_ok());
    assert!(with(Told(None)).unwrap_err().to_string().contains("invalid `task`: expected one whose prior"));
    let error = with(Told(Some(f64::NAN))).unwrap_err().to_string();
    assert_eq!(error, "invalid `task`: expected log-densities below infinity, found NaN");
    let counts = IndependentPrior::new(&[Marginal::Poisson { rate: 3.0 }]).unwrap();
    let posterior = tempered(SimulatedTask::new("double", double(), counts).unwrap(), noise(1, 1.0));
    let error = posterior.propose(array![[4.0]].view(), 10, &mut stream()).unwrap_err().to_string();
    assert!(
        error.starts_with("invalid `task`: expected a prior of continuous variables, found one value of x1")
    );
}
