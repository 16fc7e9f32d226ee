//! Convolutions against nested loops, and their gradients against finite differences.

use approx::assert_abs_diff_eq;
use candle_core::{Device, Tensor};
use inverse_core::{RandomStreams, Stream};
use proptest::prelude::*;

use super::convolution::{Convolution, Convolutions};
use super::*;
use crate::gradient_check::{check_gradient, random_pairs};
use crate::regression_network::RegressionNetwork;
use crate::surrogate::RegressionSettings;

fn stream() -> Stream {
    RandomStreams::new(6).stream("weights", 0)
}

fn network(head: &Convolutions) -> ConvolutionNetwork {
    ConvolutionNetwork::new(head, &Device::Cpu, &mut stream()).unwrap()
}

fn random(rows: usize, columns: usize) -> Tensor {
    random_pairs(rows, columns, 1).x
}

/// One output value straight from the definition: every (input, tap) pair that PyTorch's formula names.
fn entry(layer: &Convolution, x: &[Vec<f64>], weight: &[f32], output: usize, position: usize) -> f64 {
    let mut sum = 0.0;
    for (input, sequence) in x.iter().enumerate() {
        for tap in 0..layer.kernel {
            for (place, value) in sequence.iter().enumerate() {
                let (near, far) = if layer.transposed { (place, position) } else { (position, place) };
                if near * layer.stride + tap == far + layer.padding {
                    let row = if layer.transposed {
                        input * layer.channels + output
                    } else {
                        output * x.len() + input
                    };
                    sum += value * f64::from(weight[row * layer.kernel + tap]);
                }
            }
        }
    }
    sum
}

fn plain(head: &Convolutions, parameters: &[f32], x: &[f32]) -> Vec<f64> {
    let mut value = vec![x.iter().map(|value| f64::from(*value)).collect::<Vec<_>>()];
    let mut rest = parameters;
    for layer in &head.layers {
        let count = value.len() * layer.channels * layer.kernel;
        let length = layer.output_length(value[0].len()).unwrap();
        let bias = &rest[count..count + layer.channels];
        let row = |output: usize| -> Vec<f64> {
            let values = (0..length).map(|position| entry(layer, &value, rest, output, position));
            values.map(|value| value + f64::from(bias[output])).collect()
        };
        value = (0..layer.channels).map(row).collect();
        rest = &rest[count + layer.channels..];
    }
    value.concat()
}

fn any_layer() -> impl Strategy<Value = Convolution> {
    (any::<bool>(), 1..4_usize, 1..6_usize, 1..4_usize, 0..5_usize).prop_map(
        |(transposed, channels, kernel, stride, padding)| Convolution {
            transposed,
            channels,
            kernel,
            stride,
            padding: padding % kernel,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn both_forward_passes_match_the_definition(
        width in 1..14_usize,
        mut layers in prop::collection::vec(any_layer(), 0..4),
    ) {
        layers.push(Convolution::pointwise(1));
        let head = Convolutions { width, layers };
        prop_assume!(head.output_width().is_some());
        let network = network(&head);
        let x = random(3, width);
        let y = network.forward(&x).unwrap().to_vec2::<f32>().unwrap();
        let parameters = network.parameters().to_vec1::<f32>().unwrap();
        let map = network.freeze().unwrap();
        for (x, y) in x.to_vec2::<f32>().unwrap().iter().zip(&y) {
            let expected = plain(&head, &parameters, x);
            prop_assert_eq!(y.len(), expected.len());
            for (row, (y, expected)) in y.iter().zip(&expected).enumerate() {
                // Sums of at most 4 layers, 3 channels and 6 taps of terms of order 1, in f32.
                assert_abs_diff_eq!(f64::from(*y), expected, epsilon = 1e-4);
                let weights = &map.weight[row * width..(row + 1) * width];
                let dot: f64 = weights.iter().zip(x).map(|(weight, x)| weight * f64::from(*x)).sum();
                assert_abs_diff_eq!(dot + map.bias[row], expected, epsilon = 1e-10);
            }
        }
    }
}

/// A squared error through a stack with convolutions at its ends.
struct Squared(RegressionNetwork);

impl Objective for Squared {
    fn stage(&self) -> &'static str {
        "squared"
    }

    fn networks(&self) -> Vec<&dyn TrainableNetwork> {
        self.0.networks()
    }

    fn training_loss(&self, batch: &Pairs, _noise: &mut Stream) -> candle_core::Result<Tensor> {
        (self.0.forward(&batch.x)? - &batch.y)?.sqr()?.mean_all()
    }

    fn validation_loss(&self, pairs: &Pairs, _noise: &mut Stream) -> candle_core::Result<f64> {
        let y = self.0.freeze()?.forward(&pairs.x)?;
        (y - &pairs.y)?.sqr()?.mean_all()?.to_scalar::<f32>().map(f64::from)
    }
}

fn settings(batch_norm: bool) -> RegressionSettings {
    let layers = vec![
        Convolution::transposed(3, 8, 2),
        Convolution::transposed(2, 5, 1),
        Convolution { transposed: false, channels: 2, kernel: 4, stride: 2, padding: 1 },
        Convolution { transposed: true, channels: 1, kernel: 3, stride: 3, padding: 1 },
    ];
    let head = Some(Convolutions { width: 7, layers });
    let layers = vec![
        Convolution::plain(3, 3, 1),
        Convolution::transposed(2, 5, 1),
        Convolution::plain(2, 4, 2),
        Convolution::pointwise(1),
    ];
    let encoder = Some(Convolutions { width: 4, layers });
    RegressionSettings {
        encoder,
        hidden: vec![12, 9],
        activation: Activation::Silu,
        batch_norm,
        head,
        ..Default::default()
    }
}

fn regression(settings: &RegressionSettings) -> RegressionNetwork {
    let outputs = settings.head.as_ref().unwrap().output_width().unwrap();
    RegressionNetwork::new(settings, 4, outputs, &Device::Cpu, &mut stream()).unwrap()
}

#[test]
fn gradients_match_finite_differences() {
    let objective = Squared(regression(&settings(true)));
    assert_eq!(objective.networks().len(), 3);
    check_gradient(&objective, &random_pairs(50, 4, 19));
}

#[test]
fn every_kernel_entry_has_its_gradient() {
    // The loss is a polynomial of degree two in any one entry of a kernel, so a central difference is exact but
    // for the rounding of f32, 1e-7 of a loss of order 1 over the step.
    let objective = Squared(regression(&settings(false)));
    let pairs = random_pairs(20, 4, 19);
    let loss = || objective.training_loss(&pairs, &mut stream()).unwrap();
    let networks = objective.networks();
    let variable = networks[1].parameters();
    let gradient = loss().backward().unwrap().get(variable).unwrap().to_vec1::<f32>().unwrap();
    let start = variable.to_vec1::<f32>().unwrap();
    let mut wrong = Vec::new();
    for (index, gradient) in gradient.iter().enumerate() {
        let at = |shift: f32| {
            let mut moved = start.clone();
            moved[index] += shift;
            variable.set(&Tensor::new(moved, &Device::Cpu).unwrap()).unwrap();
            loss().to_scalar::<f32>().unwrap()
        };
        let difference = (at(0.05) - at(-0.05)) / 0.1;
        if (gradient - difference).abs() > 2e-4 {
            wrong.push((index, *gradient, difference));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn frozen_networks_equal_those_in_training() {
    let network = regression(&settings(false));
    let x = random(150, 4);
    let difference = (network.freeze().unwrap().forward(&x).unwrap() - network.forward(&x).unwrap()).unwrap();
    let largest = difference.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
    // Values of order 1 after eight layers of f32.
    assert!(largest < 5e-6, "{largest}");
    // With normalisation: the same rows until the running statistics are theirs, but for the factor 150/149
    // of the unbiased variance.
    let network = regression(&settings(true));
    (0..200).for_each(|_| drop(network.forward(&x).unwrap()));
    let difference = (network.freeze().unwrap().forward(&x).unwrap() - network.forward(&x).unwrap()).unwrap();
    let largest = difference.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
    assert!(largest < 2e-2, "{largest}");
}

#[test]
fn an_encoder_merged_on_a_device_is_the_one_merged_in_host_memory() {
    let layers = vec![Convolution::plain(2, 5, 1), Convolution::plain(3, 4, 2), Convolution::pointwise(1)];
    let encoder = network(&Convolutions { width: 12, layers });
    let shape = MlpSettings {
        inputs: 6,
        hidden: vec![5],
        outputs: 3,
        activation: Activation::Silu,
        batch_norm: false,
    };
    let stack = Mlp::new(&shape, &Device::Cpu, &mut stream()).unwrap().freeze().unwrap();
    let x = random(9, 12);
    let host = stack.preceded_by(&encoder.freeze().unwrap(), &Device::Cpu).unwrap();
    let resident = stack.layers().unwrap().map(|(weight, bias)| {
        let weight = Tensor::new(weight, &Device::Cpu).unwrap().reshape((bias.len(), ())).unwrap();
        (weight, Tensor::new(bias, &Device::Cpu).unwrap())
    });
    let resident = FrozenMlp::on_device(resident.collect(), Activation::Silu).unwrap();
    let device = encoder.precede_on_device(&resident).unwrap();
    assert_eq!((device.inputs(), device.outputs()), (12, 3));
    let apart = stack.forward(&encoder.forward(&x).unwrap()).unwrap();
    for y in [host.forward(&x).unwrap(), device.forward_composed(&x).unwrap()] {
        let largest = (y - &apart).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        // Values of order 1 after five layers of f32.
        assert!(largest < 2e-6, "{largest}");
    }
}

#[test]
fn training_steps_do_not_depend_on_the_thread_count() {
    let (encoder, head) =
        (Some(Convolutions::metamaterial_encoder()), Some(Convolutions::metamaterial_head()));
    let settings = RegressionSettings { encoder, hidden: vec![40], head, ..Default::default() };
    let network = RegressionNetwork::new(&settings, 300, 300, &Device::Cpu, &mut stream()).unwrap();
    let objective = Squared(network);
    let pairs = random_pairs(257, 300, 300);
    let bits = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let gradients = objective.training_loss(&pairs, &mut stream()).unwrap().backward().unwrap();
            let networks = objective.networks();
            let gradient = |network: &&dyn TrainableNetwork| {
                gradients.get(network.parameters()).unwrap().to_vec1::<f32>().unwrap()
            };
            networks.iter().map(gradient).collect::<Vec<_>>()
        })
    };
    assert_eq!(bits(1), bits(3));
}

#[test]
fn convolutions_that_cannot_be_are_named() {
    let metamaterial = Convolutions::metamaterial_head();
    metamaterial.validate("head", 300).unwrap();
    let message = metamaterial.validate("head", 299).unwrap_err().to_string();
    assert_eq!(message, "invalid `head`: expected 1 channel of 299 values, found 1 of 300");
    for (change, name) in [
        ((|layer| layer.channels = 0) as fn(&mut Convolution), "head.layers[1].channels"),
        (|layer| layer.kernel = usize::MAX, "head.layers[1].kernel"),
        (|layer| layer.stride = 0, "head.layers[1].stride"),
        (|layer| layer.padding = 5, "head.layers[1].padding"),
        (|layer| layer.stride = 1024, "head.layers[1]"),
    ] {
        let mut head = metamaterial.clone();
        change(&mut head.layers[1]);
        assert_eq!(head.validate("head", 300).unwrap_err().argument, name);
        assert!(ConvolutionNetwork::new(&head, &Device::Cpu, &mut stream()).is_err());
    }
    let wide = Convolutions { width: usize::MAX, ..metamaterial };
    assert_eq!(wide.validate("head", 300).unwrap_err().argument, "head.width");
    assert!(wide.output_width().is_none() && wide.parameter_count() == 209);
    let encoder = Some(Convolutions::metamaterial_encoder());
    let settings = RegressionSettings { encoder, ..Default::default() };
    settings.validate(300, 8).unwrap();
    assert_eq!(settings.validate(299, 8).unwrap_err().argument, "encoder.width");
    let wrong = Some(Convolutions { layers: vec![Convolution::plain(2, 5, 1)], width: 300 });
    let message = RegressionSettings { encoder: wrong, ..settings }.validate(300, 8).unwrap_err().to_string();
    assert_eq!(message, "invalid `encoder`: expected 1 channel of 300 values, found 2 of 300");
}

#[test]
fn settings_without_convolutions_read_and_print_as_before() {
    let settings = RegressionSettings::default();
    let json = serde_json::to_string(&settings).unwrap();
    let text = format!("{settings:?}");
    for name in ["head", "encoder"] {
        assert!(!json.contains(name) && !text.contains(name), "{json} {text}");
    }
    assert_eq!(serde_json::from_str::<RegressionSettings>(&json).unwrap(), settings);
    let encoder = Some(Convolutions::metamaterial_encoder());
    let with = RegressionSettings { encoder, head: Some(Convolutions::metamaterial_head()), ..settings };
    let json = serde_json::to_string(&with).unwrap();
    assert_eq!(serde_json::from_str::<RegressionSettings>(&json).unwrap(), with);
    let text = format!("{with:?}");
    assert!(text.contains("encoder: Convolutions") && text.contains("head: Convolutions"), "{text}");
}

#[test]
fn lengths_that_cannot_be_counted_are_none() {
    let layer = Convolution { transposed: false, channels: 1, kernel: 0, stride: 1, padding: 0 };
    assert_eq!(layer.output_length(usize::MAX), None);
    assert_eq!(layer.output_length(4), Some(5));
    assert_eq!(Convolution { transposed: true, stride: 2, ..layer }.output_length(usize::MAX), None);
}

#[test]
fn convolutions_that_no_memory_holds_are_refused() {
    for (width, channels, kernel) in [(1 << 16, 1, 1), (150, 1024, 1023)] {
        let layers = vec![Convolution::plain(channels, kernel, 1), Convolution::plain(1, kernel, 1)];
        let error = Convolutions { width, layers }.validate("head", width).unwrap_err().to_string();
        assert!(error.starts_with("invalid `head`: expected convolutions whose matrices hold"), "{error}");
    }
}
