use approx::assert_abs_diff_eq;
use inverse_core::{BoxPrior, FnSimulator, GaussianNoise, RandomStreams};
use ndarray::{Array1, array};
use rand_distr::{Distribution, StandardNormal};

use super::*;
use crate::{MixtureDensityNetwork, NearestNeighbor};

type Simulated = Result<Array2<f64>, SimulationError>;

fn prior() -> BoxPrior {
    BoxPrior::new(&[-1.0; 2], &[1.0; 2]).unwrap()
}

fn method(rounds: usize) -> SequentialDensity<MixtureDensityNetwork> {
    SequentialDensity { method: MixtureDensityNetwork::for_posteriors(), each: 200, rounds, left_out: 1e-3 }
}

/// The difference, measured to 0.05; and never where the sum is above 1.5.
fn difference(x: ArrayView2<'_, f64>, rng: &mut dyn Rng) -> Simulated {
    check_matrix("x", x, 2)?;
    let measured = x.rows().into_iter().map(|x| {
        let normal: f64 = StandardNormal.sample(rng);
        if x.sum() > 1.5 { f64::NAN } else { x[0] - x[1] + 0.05 * normal }
    });
    Ok(measured.collect::<Array1<f64>>().insert_axis(Axis(1)))
}

fn explained(prior: &BoxPrior, y: f64) -> DensityRounds<'_, crate::MixtureDensityNetworkModel> {
    let method = method(4);
    let first = method.first_round(prior, &mut difference, &mut FitContext::new(1)).unwrap();
    method.explain(prior, &mut difference, &first, array![y].view(), &mut FitContext::new(2)).unwrap()
}

#[test]
fn rounds_come_nearer_to_the_posterior_than_the_first() {
    let prior = prior();
    let rounds = explained(&prior, 0.4);
    let draws = rounds.draw(2000, &mut RandomStreams::new(3).stream("draws", 0)).unwrap();
    let x = draws.designs().index_axis_move(Axis(0), 0);
    assert_eq!(x.nrows(), 2000);
    // Each lies where the last round drew from, which is a small part of the prior, and smaller than the first one's.
    assert!(rounds.region.contains(x.view()).unwrap().iter().all(|inside| *inside));
    assert_eq!(rounds.shares.len(), 3);
    assert!(rounds.shares[2] < 0.25 && rounds.shares[2] <= rounds.shares[0], "{:?}", rounds.shares);
    let difference: Array1<f64> = x.rows().into_iter().map(|x| x[0] - x[1]).collect();
    // A network's bounds: a fifth of the noise's deviation for the mean, and a quarter of it for the deviation.
    assert_abs_diff_eq!(difference.mean().unwrap(), 0.4, epsilon = 0.01);
    assert_abs_diff_eq!(difference.std(0.0), 0.05, epsilon = 0.0125);
    // The sum is the prior's: from −1.6 to 1.5, as it is at that difference.
    let sum: Array1<f64> = x.rows().into_iter().map(|x| x.sum()).collect();
    assert_abs_diff_eq!(sum.mean().unwrap(), -0.05, epsilon = 0.1);
    assert_abs_diff_eq!(sum.std(0.0), 3.1 / 12.0_f64.sqrt(), epsilon = 0.1);
}

#[test]
fn pairs_are_those_with_answers_inside_the_last_region() {
    let prior = prior();
    let rounds = explained(&prior, 0.4);
    assert!(rounds.region.contains(rounds.pairs.x()).unwrap().iter().all(|inside| *inside));
    assert!(rounds.pairs.x().rows().into_iter().all(|x| x.sum() <= 1.5));
    // The last round's 200 lie inside, but for those without an answer; most others do not.
    assert!((190..790).contains(&rounds.pairs.len()), "{}", rounds.pairs.len());
}

#[test]
fn draws_depend_on_the_seed_alone() {
    let draws = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let prior = prior();
            let mut rng = RandomStreams::new(3).stream("draws", 0);
            explained(&prior, -0.2).draw(50, &mut rng).unwrap()
        })
    };
    assert_eq!(draws(1), draws(3));
}

fn argument(error: SequentialError) -> String {
    match error {
        SequentialError::InvalidArgument(error)
        | SequentialError::Propose(ProposeError::InvalidArgument(error)) => error.argument.clone(),
        error => panic!("{error}"),
    }
}

#[test]
fn settings_out_of_range_are_named() {
    let prior = prior();
    let base = method(3);
    for (method, name) in [
        (SequentialDensity { each: 19, ..base.clone() }, "each"),
        (SequentialDensity { each: LARGEST_PAIRS + 1, ..base.clone() }, "each"),
        (SequentialDensity { rounds: 1, ..base.clone() }, "rounds"),
        (SequentialDensity { left_out: 0.0, ..base.clone() }, "left_out"),
        (SequentialDensity { left_out: f64::NAN, ..base.clone() }, "left_out"),
    ] {
        let mut simulate =
            |_: ArrayView2<'_, f64>, _: &mut dyn Rng| -> Simulated { panic!("nothing is simulated") };
        let error = method.first_round(&prior, &mut simulate, &mut FitContext::new(1)).unwrap_err();
        assert_eq!(argument(error), name);
    }
}

#[test]
fn answers_of_another_shape_are_named_and_failures_passed_on() {
    let (prior, method) = (prior(), method(2));
    let mut context = FitContext::new(1);
    let mut short =
        |x: ArrayView2<'_, f64>, _: &mut dyn Rng| -> Simulated { Ok(Array2::zeros((x.nrows() - 1, 1))) };
    let error = method.first_round(&prior, &mut short, &mut context).unwrap_err();
    assert_eq!(argument(error), "simulate");
    let mut none = |x: ArrayView2<'_, f64>, _: &mut dyn Rng| -> Simulated {
        Ok(Array2::from_elem((x.nrows(), 1), f64::NAN))
    };
    let error = method.first_round(&prior, &mut none, &mut context).unwrap_err();
    assert_eq!(argument(error), "simulate");
    let mut failed = |_: ArrayView2<'_, f64>, _: &mut dyn Rng| -> Simulated {
        Err(SimulationError::InvalidArgument(InvalidArgument::new("licence", "a valid one", "none")))
    };
    let error = method.first_round(&prior, &mut failed, &mut context).unwrap_err();
    assert!(
        matches!(&error, SequentialError::Simulation(_)) && error.to_string().contains("licence"),
        "{error}"
    );

    let first = method.first_round(&prior, &mut difference, &mut context).unwrap();
    let mut wide =
        |x: ArrayView2<'_, f64>, _: &mut dyn Rng| -> Simulated { Ok(Array2::zeros((x.nrows(), 2))) };
    let error = method.explain(&prior, &mut wide, &first, array![0.4].view(), &mut context).unwrap_err();
    assert_eq!(argument(error), "simulate");
    for y in [array![0.4, 0.4], array![f64::NAN], array![]] {
        let error = method.explain(&prior, &mut difference, &first, y.view(), &mut context).unwrap_err();
        assert_eq!(argument(error), "y");
    }
}

#[test]
fn a_method_without_a_density_is_refused() {
    let method = SequentialDensity { method: NearestNeighbor {}, each: 50, rounds: 2, left_out: 1e-3 };
    let error = method.first_round(&prior(), &mut difference, &mut FitContext::new(1)).unwrap_err();
    assert_eq!(argument(error), "model");
}

#[test]
fn a_simulator_and_its_noise_measure_what_has_an_answer() {
    let roots = FnSimulator::new(1, 1, |x, y| y[0] = x[0].sqrt()).unwrap();
    let noise = GaussianNoise::new(&[0.5]).unwrap();
    let mut rng = RandomStreams::new(1).stream("noise", 0);
    let y = noisy_simulator(&roots, &noise)(array![[4.0], [-1.0], [9.0]].view(), &mut rng).unwrap();
    // The same draws as of these two alone.
    let mut rng = RandomStreams::new(1).stream("noise", 0);
    let two = noise.measure(array![[2.0], [3.0]].view(), &mut rng).unwrap();
    assert_eq!((y[[0, 0]], y[[2, 0]]), (two[[0, 0]], two[[1, 0]]));
    assert!(y[[1, 0]].is_nan());
    let wide = GaussianNoise::new(&[0.5; 2]).unwrap();
    let error = noisy_simulator(&roots, &wide)(array![[4.0]].view(), &mut rng).unwrap_err();
    assert!(matches!(error, SimulationError::InvalidArgument(_)), "{error}");
}
