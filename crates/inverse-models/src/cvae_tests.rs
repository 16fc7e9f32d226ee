//! The cVAE's loss and gradients, and the sizes of the authors' settings.

use approx::assert_relative_eq;
use candle_core::Device;
use inverse_core::RandomStreams;

use super::*;
use crate::gradient_check::{check_gradient, random_pairs};
use crate::nn::{Convolution, Convolutions};
use crate::presets::Source;

fn small(inputs: usize, outputs: usize) -> Mlp {
    let shape =
        MlpSettings { inputs, hidden: vec![8; 2], outputs, activation: Activation::Silu, batch_norm: true };
    Mlp::new(&shape, &Device::Cpu, &mut RandomStreams::new(1).stream("weights", 0)).unwrap()
}

#[test]
fn the_gradient_matches_finite_differences() {
    let objective = EvidenceBound {
        measurement: None,
        encoder: small(5, 4),
        decoder: small(4, 3),
        latent: 2,
        divergence_weight: 0.5,
        relabeller: Relabeller::none(),
    };
    check_gradient(&objective, &random_pairs(40, 3, 2));
}

#[test]
fn the_gradient_of_an_encoder_of_y_matches_finite_differences() {
    let layers = vec![Convolution::plain(2, 3, 1), Convolution::plain(2, 4, 2), Convolution::pointwise(1)];
    let convolutions = Some(Convolutions { width: 6, layers });
    let settings = MeasurementEncoder { convolutions, hidden: vec![7], code: 2 };
    let mut stream = RandomStreams::new(2).stream("weights", 0);
    let measurement = settings.network(6, Activation::Silu, true, &Device::Cpu, &mut stream);
    let objective = EvidenceBound {
        measurement: Some(measurement.unwrap()),
        encoder: small(5, 4),
        decoder: small(4, 3),
        latent: 2,
        divergence_weight: 0.5,
        relabeller: Relabeller::none(),
    };
    assert_eq!(objective.networks().len(), 4);
    check_gradient(&objective, &random_pairs(40, 3, 6));
}

#[test]
fn the_divergence_is_the_closed_form() {
    let (means, variances) = ([0.3_f64, -1.2, 2.0], [0.5_f64, 1.0, 3.0]);
    let expected = (0..3)
        .map(|index| {
            let (mean, variance) = (means[index], variances[index]);
            0.5 * (variance + mean * mean - 1.0 - variance.ln())
        })
        .sum::<f64>()
        / 3.0;
    let mean = Tensor::new(&[means.map(|mean| mean as f32)], &Device::Cpu).unwrap();
    let logs = Tensor::new(&[variances.map(|variance| variance.ln() as f32)], &Device::Cpu).unwrap();
    let ours = divergence(&mean, &logs).unwrap().to_scalar::<f32>().unwrap();
    assert_relative_eq!(f64::from(ours), expected, max_relative = 1e-6);
}

#[test]
fn authors_settings_have_the_parameters_of_table_8() {
    // Table 8 prints 3.0, 2.5, 3.0 and 19.0 million.
    let tasks = [
        ("ballistics", 4, 1, 3.0),
        ("sine-wave", 2, 1, 2.5),
        ("robotic-arm", 4, 2, 3.0),
        ("metamaterial", 8, 300, 19.0),
    ];
    for (task, dim_x, dim_y, printed) in tasks {
        let settings = ConditionalVae::preset(task, Source::Authors).unwrap();
        let count = settings.parameter_count(dim_x, dim_y);
        assert_relative_eq!(count as f64 / 1e6, printed, epsilon = 0.05);
    }
}
