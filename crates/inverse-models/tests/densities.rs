//! The densities of the models that have one: they are densities, those that proposals are drawn from, and near the true
//! one where it is known.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use inverse_core::{Dataset, FitContext, InverseModel, Method, RandomStreams};
use inverse_models::nn::{Coupling, FlowSettings};
use inverse_models::presets::{PresetMethod, Source};
use inverse_models::{ConditionalInvertibleNetwork, MixtureDensityNetwork, NearestNeighbor};
use ndarray::{Array2, array, s};
use rand_distr::{Distribution, StandardNormal};

/// Means and standard deviations of two Gaussian variables in very different units.
const MEAN: [f64; 2] = [200.0, 0.005];
const SCALE: [f64; 2] = [50.0, 0.002];
/// Variance of the noise of y, the sum of both variables in standard deviations.
const NOISE: f64 = 0.25;

fn data(pairs: usize, seed: u64) -> Dataset {
    let mut stream = RandomStreams::new(seed).stream("data", 0);
    let draws: Array2<f64> = Array2::from_shape_simple_fn((pairs, 3), || StandardNormal.sample(&mut stream));
    let x = Array2::from_shape_fn((pairs, 2), |(row, axis)| MEAN[axis] + SCALE[axis] * draws[[row, axis]]);
    let y = Array2::from_shape_fn((pairs, 1), |(row, _): (usize, usize)| {
        draws[[row, 0]] + draws[[row, 1]] + NOISE.sqrt() * draws[[row, 2]]
    });
    Dataset::new(x, y).unwrap()
}

/// The true log p(x | y): Gaussian, of precision I + 1 1ᵀ / NOISE, in standard deviations.
fn truth(x: [f64; 2], y: f64) -> f64 {
    let mean = y / (2.0 + NOISE);
    let [a, b] = [0, 1].map(|axis| (x[axis] - MEAN[axis]) / SCALE[axis] - mean);
    let determinant = 1.0 + 2.0 / NOISE;
    let square = a * a + b * b + (a + b) * (a + b) / NOISE;
    0.5 * determinant.ln() - 0.5 * square - std::f64::consts::TAU.ln() - (SCALE[0] * SCALE[1]).ln()
}

/// Midpoints of a grid of 7 standard deviations to each side, and the area of a cell.
fn grid(cells: usize) -> (Array2<f64>, f64) {
    let step = 14.0 / cells as f64;
    let points = Array2::from_shape_fn((cells * cells, 2), |(row, axis)| {
        let index = if axis == 0 { row / cells } else { row % cells };
        MEAN[axis] + SCALE[axis] * ((index as f64 + 0.5) * step - 7.0)
    });
    (points, step * step * SCALE[0] * SCALE[1])
}

/// That the density of x under one target has an integral of 1, and that proposals lie where it says.
fn check(model: &dyn InverseModel, what: &str) {
    const DRAWS: usize = 20_000;
    let (points, area) = grid(300);
    let targets = Array2::from_elem((points.nrows(), 1), 1.0);
    let log = model.log_density(points.view(), targets.view()).unwrap().unwrap();
    let mass = |edge: f64| -> f64 {
        let rows = points.rows().into_iter().zip(&log).filter(|(point, _)| point[0] < edge);
        rows.map(|(_, log)| log.exp() * area).sum()
    };
    let all = mass(f64::INFINITY);
    assert!((all - 1.0).abs() < 0.01, "{what}: the integral is {all}");
    let mut rng = RandomStreams::new(4).stream("propose", 0);
    let proposals = model.propose(array![[1.0]].view(), DRAWS, &mut rng).unwrap();
    let designs = proposals.designs();
    // Between two columns of the grid.
    for edge in [142, 160, 175].map(|column| MEAN[0] + SCALE[0] * (f64::from(column) * 14.0 / 300.0 - 7.0)) {
        let expected = mass(edge);
        let found = designs.slice(s![0, .., 0]).iter().filter(|x| **x < edge).count() as f64 / DRAWS as f64;
        // Four standard deviations of a share of that many draws, and what the integral itself may be off.
        let tolerance = 4.0 * (expected * (1.0 - expected) / DRAWS as f64).sqrt() + (all - 1.0).abs();
        assert!((found - expected).abs() < tolerance, "{what}: {found} below {edge}, expected {expected}");
    }
}

/// That pairs which no model has seen are nearly as likely as under the true density, and not more.
fn check_against_truth(model: &dyn InverseModel, what: &str) {
    let held_out = data(4000, 9);
    let (x, y) = (held_out.x(), held_out.y());
    let log = model.log_density(x, y).unwrap().unwrap();
    let excess = |row: usize| truth([x[[row, 0]], x[[row, 1]]], y[[row, 0]]) - log[row];
    let excess: Vec<f64> = (0..log.len()).map(excess).collect();
    let mean = excess.iter().sum::<f64>() / excess.len() as f64;
    let variance = excess.iter().map(|excess| (excess - mean).powi(2)).sum::<f64>() / excess.len() as f64;
    // The mean is a divergence, never negative but for the sample's error; a tenth of a nat is a good fit.
    let error = 4.0 * (variance / excess.len() as f64).sqrt();
    assert!((-error..0.1 + error).contains(&mean), "{what}: {mean} nats from the true density, ± {error}");
}

#[test]
fn they_integrate_to_one_and_are_those_of_the_proposals() {
    let data = data(4000, 3);
    let mdn = MixtureDensityNetwork::preset("sum", Source::Quick).unwrap();
    let model = mdn.fit(&data, &mut FitContext::new(1)).unwrap();
    check(&model, "MDN");
    check_against_truth(&model, "MDN");
    for coupling in [Coupling::default(), Coupling::Spline { bins: 8, bound: 5.0 }] {
        let quick = ConditionalInvertibleNetwork::preset("sum", Source::Quick).unwrap();
        let flow = FlowSettings { coupling, ..quick.flow };
        let model =
            ConditionalInvertibleNetwork { flow, ..quick }.fit(&data, &mut FitContext::new(1)).unwrap();
        check(&model, &format!("cINN, {coupling:?}"));
        check_against_truth(&model, &format!("cINN, {coupling:?}"));
        check(&model.with_temperature(0.5).unwrap(), &format!("cINN at half the temperature, {coupling:?}"));
    }
}

#[test]
fn boxed_models_keep_their_density_and_others_have_none() {
    let data = data(300, 3);
    let pairs = (data.x(), data.y());
    let mut quick = MixtureDensityNetwork::preset("sum", Source::Quick).unwrap();
    quick.training.epochs = 1;
    let model = quick.fit(&data, &mut FitContext::new(1)).unwrap();
    let expected = model.log_density(pairs.0, pairs.1).unwrap();
    let boxed: Box<dyn InverseModel> = Box::new(model);
    assert_eq!(boxed.log_density(pairs.0, pairs.1).unwrap(), expected);
    assert_eq!(expected.unwrap().len(), 300);
    let nearest = NearestNeighbor::default().fit(&data, &mut FitContext::new(1)).unwrap();
    assert_eq!(nearest.log_density(pairs.0, pairs.1).unwrap(), None);
}
