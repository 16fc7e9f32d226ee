//! The fused passes against plain candle operations, and against finite differences.

use candle_core::{DType, Device, Tensor, Var};
use inverse_core::RandomStreams;
use proptest::prelude::*;
use rand::RngExt;

use super::*;

fn settings(
    inputs: usize,
    hidden: &[usize],
    outputs: usize,
    activation: Activation,
    batch_norm: bool,
) -> MlpSettings {
    MlpSettings { inputs, hidden: hidden.to_vec(), outputs, activation, batch_norm }
}

fn random(rows: usize, columns: usize, seed: u64) -> Tensor {
    let mut stream = RandomStreams::new(seed).stream("test", 0);
    let values: Vec<f32> = (0..rows * columns).map(|_| stream.random_range(-2.0..2.0)).collect();
    Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap()
}

fn network(settings: &MlpSettings, seed: u64) -> Mlp {
    let network =
        Mlp::new(settings, &Device::Cpu, &mut RandomStreams::new(seed).stream("weights", 0)).unwrap();
    // Off the symmetric start, so that every gradient matters.
    let noise = random(1, settings.parameter_count(), seed + 1).flatten_all().unwrap();
    let moved = (network.parameters().as_tensor() + (noise * 0.05).unwrap()).unwrap();
    network.parameters().set(&moved).unwrap();
    network
}

/// The largest difference, in units of the larger tensor's root mean square.
fn distance(a: &Tensor, b: &Tensor) -> f32 {
    let scale = b.sqr().unwrap().mean_all().unwrap().sqrt().unwrap().to_scalar::<f32>().unwrap().max(1e-6);
    let largest = (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
    largest.to_scalar::<f32>().unwrap() / scale
}

/// By how much the normalisations of a batch may blow rounding up: a column that hardly varies about a mean far from 0, as
/// that of a small weight or of few rows, is a difference of nearly equal numbers. The worst column of each layer counts,
/// and layers multiply.
fn amplification(settings: &MlpSettings, statistics: &Tensor) -> f32 {
    let statistics = statistics.to_vec1::<f32>().unwrap();
    let layout = super::layout::Layout::new(settings);
    let normalizations = layout.layers.iter().filter_map(|layer| layer.normalization.as_ref());
    let of_layers = normalizations.map(|normalization| {
        let means = &statistics[normalization.running_mean.clone()];
        let variances = &statistics[normalization.running_variance.clone()];
        let columns = means.iter().zip(variances);
        columns
            .map(|(mean, variance)| {
                (mean.abs() + variance.sqrt())
                    / (variance + super::layout::NORMALIZATION_EPSILON as f32).sqrt()
            })
            .fold(1.0, f32::max)
    });
    of_layers.product()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn fused_training_equals_composed(
        rows in 2..300_usize,
        inputs in 1..6_usize,
        widths in prop::collection::vec(1..40_usize, 0..4),
        outputs in 1..4_usize,
        smooth in any::<bool>(),
        batch_norm in any::<bool>(),
        seed in 0..1000_u64,
    ) {
        let activation = if smooth { Activation::Silu } else { Activation::Tanh };
        let settings = settings(inputs, &widths, outputs, activation, batch_norm);
        let network = network(&settings, seed);
        let x = Var::from_tensor(&random(rows, inputs, seed + 2)).unwrap();
        let weights = random(rows, outputs, seed + 3);
        let run = |composed: bool| {
            let (y, statistics) = if composed {
                network.forward_composed(x.as_tensor()).unwrap()
            } else {
                network.forward_fused(x.as_tensor()).unwrap()
            };
            let loss = (y.sqr().unwrap() * &weights).unwrap().mean_all().unwrap();
            let gradients = loss.backward().unwrap();
            let x_gradient = gradients.get(&x).unwrap().clone();
            (y.detach(), statistics, gradients.get(network.parameters()).unwrap().clone(), x_gradient)
        };
        let (fused, composed) = (run(false), run(true));
        // Where rounding is blown up by much, gradients are differences of nearly equal numbers themselves, as that of a
        // weight whose scale a normalisation takes out. The output is not: hundreds of roundings, each blown up as much.
        let amplified = composed.1.as_ref().map_or(1.0, |statistics| amplification(&settings, statistics));
        let tolerance = (400.0 * f32::EPSILON * amplified).max(2e-3);
        prop_assert!(distance(&fused.0, &composed.0) < tolerance, "output");
        if amplified < 100.0 {
            prop_assert!(distance(&fused.2, &composed.2) < tolerance, "parameter gradient");
            prop_assert!(distance(&fused.3, &composed.3) < tolerance, "input gradient");
        }
        prop_assert_eq!(fused.1.is_some(), composed.1.is_some());
        if let (Some(fused), Some(composed)) = (fused.1, composed.1) {
            prop_assert!(distance(&fused, &composed) < tolerance, "statistics");
        }
    }
}

#[test]
fn gradients_match_finite_differences() {
    // f64 is not available in the fused pass; a step of 1e-2 leaves a truncation error of order 1e-4 and a
    // rounding error of order 1e-7 / 1e-2.
    let network = network(&settings(3, &[7, 5], 2, Activation::Silu, true), 4);
    let x = random(64, 3, 5);
    let loss = || network.forward_fused(&x).unwrap().0.sqr().unwrap().mean_all().unwrap();
    let gradients = loss().backward().unwrap();
    let gradient = gradients.get(network.parameters()).unwrap().to_vec1::<f32>().unwrap();
    let start = network.parameters().to_vec1::<f32>().unwrap();
    let at = |index: usize, shift: f32| {
        let mut moved = start.clone();
        moved[index] += shift;
        network.parameters().set(&Tensor::new(moved.as_slice(), &Device::Cpu).unwrap()).unwrap();
        loss().to_scalar::<f32>().unwrap()
    };
    for (index, gradient) in gradient.iter().enumerate() {
        let numeric = (at(index, 1e-2) - at(index, -1e-2)) / 2e-2;
        assert!((numeric - gradient).abs() < 2e-3, "{index}: {numeric} {gradient}");
    }
}

#[test]
fn frozen_network_equals_training_network_with_running_statistics() {
    let settings = settings(3, &[20, 17], 2, Activation::Relu, true);
    let network = network(&settings, 8);
    let x = random(500, 3, 9);
    for _ in 0..200 {
        network.forward(&x).unwrap();
    }
    // The running variance is the unbiased one: 1/500 above the batch's.
    let frozen = network.freeze().unwrap();
    let (batch, _) = network.forward_composed(&x).unwrap();
    assert!(distance(&frozen.forward(&x).unwrap(), &batch) < 1e-2);
}

#[test]
fn frozen_gradients_match_candle() {
    for (activation, rows) in [(Activation::Silu, 1), (Activation::Tanh, 131), (Activation::Relu, 300)] {
        let network = network(&settings(4, &[33, 20, 9], 3, activation, false), 11);
        let frozen = network.freeze().unwrap();
        let x = Var::from_tensor(&random(rows, 4, 12)).unwrap();
        let y = random(rows, 3, 13);
        let weights = [1.0_f32, 0.25, 2.0];
        let scale = Tensor::new(&weights, &Device::Cpu).unwrap();
        let (composed, _) = network.forward_composed(x.as_tensor()).unwrap();
        let expected = (composed - &y).unwrap().sqr().unwrap().broadcast_mul(&scale).unwrap().sum(1).unwrap();
        let expected_gradient = expected.sum_all().unwrap().backward().unwrap().get(&x).unwrap().clone();
        let (error, gradient) = frozen.error_and_gradient(x.as_tensor(), &y, &weights).unwrap();
        assert!(distance(&error, &expected) < 1e-4);
        assert!(distance(&gradient, &expected_gradient) < 1e-4);
        let tracked = (frozen.forward(x.as_tensor()).unwrap() - &y).unwrap();
        let tracked = tracked.sqr().unwrap().broadcast_mul(&scale).unwrap().sum_all().unwrap();
        let gradient = tracked.backward().unwrap().get(&x).unwrap().clone();
        assert!(distance(&gradient, &expected_gradient) < 1e-4);
    }
}

#[test]
fn results_do_not_depend_on_the_thread_count() {
    let network = network(&settings(4, &[60, 60], 2, Activation::Relu, true), 21);
    let x = random(1000, 4, 22);
    let y = random(1000, 2, 23);
    let frozen = network.freeze().unwrap();
    let bits = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let (output, _) = network.forward_fused(&x).unwrap();
            let gradients = (output - &y).unwrap().sqr().unwrap().mean_all().unwrap().backward().unwrap();
            let parameters = gradients.get(network.parameters()).unwrap().to_vec1::<f32>().unwrap();
            let (error, gradient) = frozen.error_and_gradient(&x, &y, &[1.0, 1.0]).unwrap();
            (parameters, error.to_vec1::<f32>().unwrap(), gradient.to_vec2::<f32>().unwrap())
        })
    };
    assert_eq!(bits(1), bits(3));
}

#[test]
fn wrong_shapes_are_errors() {
    let bad = settings(0, &[3], 1, Activation::Relu, false);
    assert!(bad.validate().unwrap_err().to_string().contains("inputs"));
    assert!(Mlp::new(&bad, &Device::Cpu, &mut RandomStreams::new(0).stream("weights", 0)).is_err());
    let network = network(&settings(2, &[3], 1, Activation::Relu, true), 0);
    assert!(network.forward(&random(4, 3, 0)).is_err());
    assert!(network.forward(&Tensor::zeros((4, 2), DType::F64, &Device::Cpu).unwrap()).is_err());
    let frozen = network.freeze().unwrap();
    assert!(frozen.forward(&random(4, 3, 0)).is_err());
    let (x, y) = (random(4, 2, 0), random(4, 1, 0));
    assert!(frozen.error_and_gradient(&x, &y, &[1.0, 1.0]).is_err());
    assert!(frozen.error_and_gradient(&x, &random(3, 1, 0), &[1.0]).is_err());
}

#[test]
fn networks_that_no_memory_holds_are_refused() {
    let wide = |hidden: &[usize]| settings(4, hidden, 2, Activation::Relu, false).validate();
    assert!(wide(&[1 << 16]).is_ok());
    assert!(wide(&[1 << 13, 1 << 14]).is_ok());
    for hidden in [&[1 << 16; 2][..], &[1 << 14; 3]] {
        let error = wide(hidden).unwrap_err();
        assert_eq!(error.argument, "hidden");
        assert!(error.to_string().contains("268435456 parameters"), "{error}");
    }
}

#[test]
fn errors_and_gradients_of_a_row_do_not_depend_on_the_other_rows() {
    for hidden in [&[8, 8][..], &[40]] {
        let frozen = network(&settings(3, hidden, 2, Activation::Silu, false), 31).freeze().unwrap();
        let (x, y) = (random(300, 3, 32), random(300, 2, 33));
        let (all_errors, all_gradients) = frozen.error_and_gradient(&x, &y, &[1.0, 0.5]).unwrap();
        for rows in [1, 2, 7, 20, 32, 33, 127, 128, 129, 140] {
            let first = |tensor: &Tensor| tensor.narrow(0, 0, rows).unwrap();
            let (errors, gradients) = frozen.error_and_gradient(&first(&x), &first(&y), &[1.0, 0.5]).unwrap();
            assert_eq!(errors.to_vec1::<f32>().unwrap(), first(&all_errors).to_vec1::<f32>().unwrap());
            assert_eq!(gradients.to_vec2::<f32>().unwrap(), first(&all_gradients).to_vec2::<f32>().unwrap());
        }
    }
}

#[test]
fn parameter_counts_are_those_of_the_layers() {
    // 4-500-500-500-1 with normalisation: 2,500 + 2 · 250,500 + 501 + 3 · 1,000.
    let ballistics = settings(4, &[500, 500, 500], 1, Activation::Relu, true);
    assert_eq!(ballistics.parameter_count(), 507_001);
}
