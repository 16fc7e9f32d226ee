use approx::assert_abs_diff_eq;
use inverse_core::{BoxPrior, Domain, FnSimulator, GaussianNoise, RandomStreams, SimulatedTask};
use ndarray::array;

use super::*;
use crate::NearestNeighbor;

/// One number measured three times: as it is, doubled, and negated; each to 0.2.
fn data(n: usize) -> Dataset {
    let thrice = FnSimulator::new(1, 3, |x, y| y.copy_from_slice(&[x[0], 2.0 * x[0], -x[0]])).unwrap();
    let task = SimulatedTask::new("thrice", thrice, prior()).unwrap();
    let streams = RandomStreams::new(1);
    let exact = Dataset::from_task(&task, n, &mut streams.stream("data", 0)).unwrap();
    exact.measured(&GaussianNoise::new(&[0.2; 3]).unwrap(), &mut streams.stream("noise", 0)).unwrap()
}

fn prior() -> BoxPrior {
    BoxPrior::new(&[-2.0], &[2.0]).unwrap()
}

fn small() -> NeuralLikelihood<MixtureDensityNetwork> {
    let mut method = NeuralLikelihood::for_posteriors(1000);
    method.method.hidden = vec![32; 2];
    method.method.components = 2;
    method.method.training.epochs = 60;
    method
}

#[test]
fn draws_are_those_of_a_known_posterior() {
    let posterior = small().fit(&data(1000), prior(), &mut FitContext::new(1)).unwrap();
    assert_eq!((posterior.dim_x(), posterior.dim_y()), (1, 3));
    let y = array![[0.7, 1.2, -0.5], [-0.9, -2.2, 1.3]];
    let drawn = posterior.draw(y.view(), 2000, &mut RandomStreams::new(2).stream("draws", 0)).unwrap();
    for (target, y) in y.rows().into_iter().enumerate() {
        // A flat prior: the mean is (y₁ + 2 y₂ − y₃) / 6, the deviation 0.2 / √6.
        let mean = (y[0] + 2.0 * y[1] - y[2]) / 6.0;
        let deviation = 0.2 / 6.0_f64.sqrt();
        let x = drawn.proposals.designs().index_axis_move(Axis(0), target);
        // A fit of some 30 numbers to 1,000 pairs is off by √0.03 of a deviation; three times as much is half of it.
        assert_abs_diff_eq!(x.mean().unwrap(), mean, epsilon = 0.5 * deviation);
        assert_abs_diff_eq!(x.std(0.0), deviation, epsilon = 0.25 * deviation);
        // p(y) = ∫ N(y; f(x), 0.2²) dx / 4, in closed form; half a nat is a tenth or so in each of three deviations, and the means.
        let rest = y.dot(&y) - 6.0 * mean * mean;
        let exact = -0.5 * rest / 0.04 - 3.0 * (0.2 * (2.0 * std::f64::consts::PI).sqrt()).ln()
            + (deviation * (2.0 * std::f64::consts::PI).sqrt()).ln()
            - 4.0_f64.ln();
        assert_abs_diff_eq!(drawn.log_evidence[target], exact, epsilon = 0.5);
    }
}

#[test]
fn draws_depend_on_seeds_alone() {
    let draws = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let posterior = small().fit(&data(100), prior(), &mut FitContext::new(1)).unwrap();
            let mut rng = RandomStreams::new(2).stream("draws", 0);
            posterior.propose(array![[0.7, 1.2, -0.5]].view(), 20, &mut rng).unwrap()
        })
    };
    assert_eq!(draws(1), draws(3));
}

/// Draws, and no density.
struct Silent(Domain);

impl Prior for Silent {
    fn domain(&self) -> &Domain {
        &self.0
    }

    fn sample(&self, n: usize, _rng: &mut dyn Rng) -> Array2<f64> {
        Array2::zeros((n, 1))
    }
}

fn refused(result: Result<impl fmt::Debug, FitError>) -> String {
    match result.unwrap_err() {
        FitError::InvalidArgument(error) => error.argument,
        error => panic!("{error}"),
    }
}

#[test]
fn what_cannot_be_used_is_named() {
    let data = data(50);
    let mut context = FitContext::new(1);
    let wide = BoxPrior::new(&[0.0; 2], &[1.0; 2]).unwrap();
    assert_eq!(refused(small().fit(&data, wide, &mut context)), "prior");
    let silent = Silent(Domain::from_samples(data.x()).unwrap());
    assert_eq!(refused(small().fit(&data, silent, &mut context)), "prior");
    let none = NeuralLikelihood { method: NearestNeighbor {}, tempered: TemperedSettings::default() };
    assert_eq!(refused(none.fit(&data, prior(), &mut context)), "model");
    let mut few = small();
    few.tempered.particles = 1;
    assert_eq!(refused(few.fit(&data, prior(), &mut context)), "particles");

    let posterior = small().fit(&data, prior(), &mut context).unwrap();
    let mut rng = RandomStreams::new(2).stream("draws", 0);
    for y in [array![[0.7, 1.2]], array![[0.7, 1.2, f64::INFINITY]]] {
        let error = posterior.propose(y.view(), 20, &mut rng).unwrap_err();
        assert!(matches!(&error, ProposeError::InvalidArgument(error) if error.argument == "y"), "{error}");
    }
}

#[test]
fn a_likelihood_serves_another_prior() {
    let fitted = small().fit(&data(200), prior(), &mut FitContext::new(1)).unwrap();
    let model = fitted.likelihood().clone();
    let draws = |posterior: &dyn InverseModel| {
        posterior.propose(array![[0.7, 1.2, -0.5]].view(), 50, &mut RandomStreams::new(2).stream("draws", 0))
    };
    let settings = TemperedSettings::default();
    let again = NeuralLikelihoodModel::new(prior(), model.clone(), settings.clone()).unwrap();
    assert_eq!(draws(&again).unwrap(), draws(&fitted).unwrap());
    // Half of the posterior, which is around 0.6.
    let above = BoxPrior::new(&[0.6], &[2.0]).unwrap();
    let cut = NeuralLikelihoodModel::new(above, model.clone(), settings.clone()).unwrap();
    assert!(draws(&cut).unwrap().designs().iter().all(|x| *x >= 0.6));
    let wide = BoxPrior::new(&[0.0; 3], &[1.0; 3]).unwrap();
    assert_eq!(NeuralLikelihoodModel::new(wide, model, settings).unwrap_err().argument, "prior");
}
