use approx::assert_relative_eq;
use candle_core::{Device, Var};
use inverse_core::RandomStreams;
use ndarray::{Array1, Array2};

use super::*;
use crate::gaussian_mixture::Mixture;
use crate::gradient_check::{check_gradient, random_pairs};

const LAYOUT: MixtureLayout = MixtureLayout { components: 2, dim: 3 };

/// Some output of a network: every part of the mixture differs from every other.
fn output() -> Vec<f64> {
    (0..LAYOUT.outputs()).map(|index| (index as f64 * 1.7).sin() * 0.6).collect()
}

/// Eq. 15 with dense matrices in f64: Σ⁻¹ = L Lᵀ and its determinant by elimination.
fn dense(output: &[f64], x: &[f64; 3]) -> f64 {
    let mixture = LAYOUT.mixture(Array1::from(output.to_vec()).view());
    let total: f64 = mixture.weights.iter().sum();
    let terms = mixture.weights.iter().zip(&mixture.components).map(|(weight, (mean, factor))| {
        let precision = factor.dot(&factor.t());
        let offset: Vec<f64> = x.iter().zip(mean).map(|(x, mean)| mean - x).collect();
        let offset = Array1::from(offset);
        let p = |row: usize, column: usize| precision[[row, column]];
        let determinant = p(0, 0) * (p(1, 1) * p(2, 2) - p(1, 2) * p(2, 1))
            - p(0, 1) * (p(1, 0) * p(2, 2) - p(1, 2) * p(2, 0))
            + p(0, 2) * (p(1, 0) * p(2, 1) - p(1, 1) * p(2, 0));
        weight / total * determinant.sqrt() * (-0.5 * offset.dot(&precision.dot(&offset))).exp()
    });
    terms.sum::<f64>().ln()
}

fn ours(output: &Tensor, x: [f64; 3]) -> f64 {
    let x = Tensor::new(&[x.map(|x| x as f32)], &Device::Cpu).unwrap();
    let value = LAYOUT.log_likelihood(output, &x).unwrap().to_vec1::<f32>().unwrap();
    f64::from(value[0])
}

fn as_tensor(output: &[f64]) -> Tensor {
    let values: Vec<f32> = output.iter().map(|value| *value as f32).collect();
    Tensor::from_vec(values, (1, output.len()), &Device::Cpu).unwrap()
}

#[test]
fn the_likelihood_is_that_of_dense_matrices() {
    for x in [[0.1, -0.4, 0.9], [0.0; 3], [2.0, -1.0, 0.5]] {
        let output = output();
        assert_relative_eq!(ours(&as_tensor(&output), x), dense(&output, &x), max_relative = 1e-5);
    }
    // Far away every term underflows; the logarithm does not.
    assert!(ours(&as_tensor(&output()), [300.0, -200.0, 100.0]).is_finite());
}

#[test]
fn the_density_of_a_mixture_has_its_constants() {
    let output = output();
    let mixture = LAYOUT.mixture(Array1::from(output.clone()).view());
    for x in [[0.1, -0.4, 0.9], [0.0; 3], [2.0, -1.0, 0.5]] {
        let constant = 1.5 * std::f64::consts::TAU.ln();
        let density = mixture.log_density(ArrayView1::from(&x));
        assert_relative_eq!(density, dense(&output, &x) - constant, max_relative = 1e-12);
    }
    assert_eq!(mixture.log_density(ArrayView1::from(&[1e200, 0.0, 0.0])), f64::NEG_INFINITY);
    assert!(mixture.log_density(ArrayView1::from(&[f64::NAN, 0.0, 0.0])).is_nan());
}

#[test]
fn gradients_match_finite_differences() {
    let (output, x) = (output(), [0.3, -0.8, 0.5]);
    let variable = Var::from_tensor(&as_tensor(&output)).unwrap();
    let point = Tensor::new(&[x.map(|x| x as f32)], &Device::Cpu).unwrap();
    let value = LAYOUT.log_likelihood(&variable, &point).unwrap().sum_all().unwrap();
    let gradients = value.backward().unwrap();
    let gradient = gradients.get(&variable).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    for index in 0..output.len() {
        let moved = |step: f64| {
            let mut moved = output.clone();
            moved[index] += step;
            dense(&moved, &x)
        };
        let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        assert_relative_eq!(f64::from(gradient[index]), difference, epsilon = 1e-5, max_relative = 1e-3);
    }
}

#[test]
fn samples_have_the_moments_of_the_mixture() {
    let one = MixtureLayout { components: 1, dim: 2 };
    // p, μ, log diagonal, the entry below it.
    let output = [0.0, 0.5, -1.0, 0.2, -0.3, 0.7];
    let mixture = one.mixture(Array1::from(output.to_vec()).view());
    let factor = &mixture.components[0].1;
    let precision = factor.dot(&factor.t());
    let determinant = precision[[0, 0]] * precision[[1, 1]] - precision[[0, 1]].powi(2);
    let covariance = [
        [precision[[1, 1]] / determinant, -precision[[0, 1]] / determinant],
        [-precision[[0, 1]] / determinant, precision[[0, 0]] / determinant],
    ];
    let count = 100_000;
    let mut stream = RandomStreams::new(1).stream("mixture", 0);
    let draws: Vec<Vec<f64>> = (0..count).map(|_| mixture.sample(&mut stream)).collect();
    let means = [0, 1].map(|column| draws.iter().map(|draw| draw[column]).sum::<f64>() / f64::from(count));
    for column in 0..2 {
        // Five standard errors of the mean.
        let error = 5.0 * (covariance[column][column] / f64::from(count)).sqrt();
        assert!((means[column] - output[1 + column]).abs() < error);
        for other in 0..2 {
            let products =
                draws.iter().map(|draw| (draw[column] - means[column]) * (draw[other] - means[other]));
            let found = products.sum::<f64>() / f64::from(count);
            // The variance of a product of Gaussians is at most 2 σ_i² σ_j².
            let error = 5.0 * (2.0 * covariance[column][column] * covariance[other][other]).sqrt()
                / f64::from(count).sqrt();
            assert!((found - covariance[column][other]).abs() < error, "{found}");
        }
    }
}

#[test]
fn components_are_drawn_by_their_weights() {
    let mixture = Mixture {
        weights: vec![1.0, 3.0],
        components: vec![
            (vec![-10.0], Array2::from_elem((1, 1), 1.0)),
            (vec![10.0], Array2::from_elem((1, 1), 1.0)),
        ],
    };
    let mut stream = RandomStreams::new(2).stream("mixture", 0);
    let high = (0..10_000).filter(|_| mixture.sample(&mut stream)[0] > 0.0).count();
    // 7,500 ± 5 standard deviations of √(10,000 · ¾ · ¼) = 43.
    assert!((7283..7717).contains(&high), "{high}");
}

#[test]
fn authors_settings_have_the_parameters_of_table_8() {
    // Table 8 prints 3.0, 4.0 and 1.5 million; D1's 3.12 and D2's 4.09 count the heads of the mixture too.
    for (task, dim_x, dim_y, printed) in
        [("ballistics", 4, 1, 3.0), ("sine-wave", 2, 1, 4.0), ("robotic-arm", 4, 2, 1.5)]
    {
        let settings = MixtureDensityNetwork::preset(task, Source::Authors).unwrap();
        let count = settings.parameter_count(dim_x, dim_y);
        assert_relative_eq!(count as f64 / 1e6, printed, epsilon = 0.13);
    }
}

#[test]
fn the_gradient_by_hand_is_that_of_candle_and_of_finite_differences() {
    for (dim, components) in [(1, 3), (3, 2), (4, 1)] {
        let layout = MixtureLayout::new(components, dim);
        let shape = MlpSettings {
            inputs: 2,
            hidden: vec![8; 2],
            outputs: layout.outputs(),
            activation: Activation::Silu,
            batch_norm: true,
        };
        let mut stream = RandomStreams::new(1).stream("weights", 0);
        let network = Mlp::new(&shape, &Device::Cpu, &mut stream).unwrap();
        let objective = Likelihood { network, layout, relabeller: Relabeller::none() };
        check_gradient(&objective, &random_pairs(40, dim, 2));
    }
}

#[test]
fn draws_outside_the_range_of_the_data_are_drawn_again() {
    let x = Array2::from_shape_fn((400, 1), |(row, _)| row as f64 / 199.5 - 1.0);
    let data = Dataset::new(x.clone(), x.mapv(|x| x * x)).unwrap();
    let method = MixtureDensityNetwork::preset("parabola", Source::Quick).unwrap();
    let model = method.fit(&data, &mut FitContext::new(0)).unwrap();
    // Near the ends of x: some of the model's mass lies outside, less than a quarter.
    let y = Array2::from_elem((1, 1), 0.85);
    let step = 1e-3;
    let beyond = Array2::from_shape_fn((2000, 1), |(row, _)| {
        let distance = 1.0 + (row / 2) as f64 * step + step / 2.0;
        if row % 2 == 0 { distance } else { -distance }
    });
    let repeated = Array2::from_elem((2000, 1), 0.85);
    let log = model.log_density(beyond.view(), repeated.view()).unwrap().unwrap();
    let outside: f64 = log.iter().map(|log| log.exp() * step).sum();
    assert!((0.005..0.2).contains(&outside), "{outside}");
    let proposals = model.propose(y.view(), 4000, &mut RandomStreams::new(1).stream("propose", 0)).unwrap();
    assert!(proposals.designs().iter().all(|x| x.abs() < 1.0), "none had to be moved to an end");
}
