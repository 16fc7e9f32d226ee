//! Networks, flows and the training loop under random shapes and values: an answer or an error, no panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]

use candle_core::{Device, Tensor};
use inverse_core::{FitContext, RandomStreams, Stream};
use inverse_models::nn::{
    Activation, Coupling, Flow, FlowSettings, Mlp, MlpSettings, Objective, Pairs, Schedule, TrainableNetwork,
    TrainingSettings, train, train_earlier_stage,
};
use proptest::prelude::*;

fn value() -> impl Strategy<Value = f32> {
    prop_oneof![
        6 => -3.0..3.0_f32,
        1 => prop::num::f32::ANY,
        1 => prop_oneof![Just(f32::NAN), Just(f32::INFINITY), Just(f32::MAX), Just(-0.0)],
    ]
}

/// Tensors of up to three axes, some of them empty.
fn tensor() -> impl Strategy<Value = Tensor> {
    (prop::collection::vec(0..5_usize, 0..4), prop::collection::vec(value(), 64)).prop_map(
        |(shape, values)| {
            let count = shape.iter().product();
            Tensor::from_vec(values[..count].to_vec(), shape, &Device::Cpu).unwrap()
        },
    )
}

/// Matrices: most functions take nothing else.
fn matrix(columns: std::ops::Range<usize>) -> impl Strategy<Value = Tensor> {
    (0..5_usize, columns, prop::collection::vec(value(), 25)).prop_map(|(rows, columns, values)| {
        Tensor::from_vec(values[..rows * columns].to_vec(), (rows, columns), &Device::Cpu).unwrap()
    })
}

fn any_tensor() -> impl Strategy<Value = Tensor> {
    prop_oneof![4 => matrix(0..5), 1 => tensor()]
}

fn count() -> impl Strategy<Value = usize> {
    prop_oneof![12 => 0..4_usize, 1 => prop_oneof![Just(1 << 16), Just(1 << 40), Just(usize::MAX)]]
}

fn activation() -> impl Strategy<Value = Activation> {
    prop_oneof![Just(Activation::Relu), Just(Activation::Silu), Just(Activation::Tanh)]
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![4 => 0.0..2.0_f64, 1 => prop::num::f64::ANY, 1 => Just(f64::NAN)]
}

fn mlp_settings() -> impl Strategy<Value = MlpSettings> {
    (count(), prop::collection::vec(count(), 0..3), count(), activation(), any::<bool>()).prop_map(
        |(inputs, hidden, outputs, activation, batch_norm)| MlpSettings {
            inputs,
            hidden,
            outputs,
            activation,
            batch_norm,
        },
    )
}

fn coupling() -> impl Strategy<Value = Coupling> {
    prop_oneof![
        number().prop_map(|clamp| Coupling::Affine { clamp }),
        (count(), number()).prop_map(|(bins, bound)| Coupling::Spline { bins, bound }),
        Just(Coupling::Affine { clamp: 2.0 }),
        Just(Coupling::Spline { bins: 3, bound: 2.0 }),
    ]
}

fn stream() -> Stream {
    RandomStreams::new(1).stream("any", 0)
}

/// Squared error, with nothing checked before.
struct SquaredError(Mlp);

impl Objective for SquaredError {
    fn stage(&self) -> &'static str {
        "any"
    }

    fn networks(&self) -> Vec<&dyn TrainableNetwork> {
        vec![&self.0]
    }

    fn training_loss(&self, batch: &Pairs, _noise: &mut Stream) -> candle_core::Result<Tensor> {
        (self.0.forward(&batch.x)? - &batch.y)?.sqr()?.mean_all()
    }

    fn validation_loss(&self, pairs: &Pairs, _noise: &mut Stream) -> candle_core::Result<f64> {
        let y = self.0.freeze()?.forward(&pairs.x)?;
        (y - &pairs.y)?.sqr()?.mean_all()?.to_scalar::<f32>().map(f64::from)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn fully_connected_networks(settings in mlp_settings(), x in any_tensor(), y in any_tensor(), weights in prop::collection::vec(value(), 0..4)) {
        // A layer of 65,536 is allowed, and slow: its making is tested elsewhere.
        prop_assume!(settings.hidden.iter().chain([&settings.inputs, &settings.outputs]).all(|width| *width != 1 << 16));
        prop_assert_eq!(Mlp::new(&settings, &Device::Cpu, &mut stream()).is_ok(), settings.validate().is_ok());
        if let Ok(network) = Mlp::new(&settings, &Device::Cpu, &mut stream()) {
            if let Ok(output) = network.forward(&x) {
                prop_assert_eq!(output.dims2().unwrap(), (x.dim(0).unwrap(), settings.outputs));
            }
            let _ = network.set_output_bias(&weights);
            let frozen = network.freeze().unwrap();
            if let Ok(output) = frozen.forward(&x) {
                prop_assert_eq!(output.dims2().unwrap(), (x.dim(0).unwrap(), settings.outputs));
            }
            let _ = frozen.error_and_gradient(&x, &y, &weights);
        }
    }

    #[test]
    fn flows(blocks in count(), hidden in prop::collection::vec(count(), 0..3), activation in activation(), coupling in coupling(), width in count(), condition in count(), x in any_tensor(), y in any_tensor()) {
        let settings = FlowSettings { blocks, hidden, activation, coupling };
        let _ = settings.parameter_count(width, condition);
        prop_assume!(settings.hidden.iter().chain([&width, &condition]).all(|width| *width != 1 << 16));
        if let Ok(flow) = Flow::new(&settings, width, condition, &Device::Cpu, &mut stream()) {
            let frozen = flow.freeze().unwrap();
            for condition in [None, Some(&y)] {
                for (z, back) in [
                    (flow.forward(&x, condition), flow.inverse(&x, condition)),
                    (frozen.forward(&x, condition), frozen.inverse(&x, condition)),
                ] {
                    if let Ok((z, log_determinant)) = z {
                        prop_assert_eq!(z.dims(), x.dims());
                        prop_assert_eq!(log_determinant.dims1().unwrap(), x.dim(0).unwrap());
                    }
                    if let Ok(back) = back {
                        prop_assert_eq!(back.dims(), x.dims());
                    }
                }
            }
        }
    }

    #[test]
    fn trainings(
        x in any_tensor(), y in any_tensor(), held_out in (matrix(0..4), matrix(0..4)),
        epochs in 0..3_usize, batch_size in count(), learning_rate in number(), l2 in number(),
        early_stop in prop::option::of(count()), gradient_limit in prop::option::of(number()),
        schedule in prop_oneof![
            number().prop_map(|last| Schedule::Cosine { last }),
            (number(), count(), number()).prop_map(|(factor, patience, lowest)| Schedule::Plateau { factor, patience, lowest }),
        ],
    ) {
        let shape = MlpSettings { inputs: 2, hidden: vec![3], outputs: 1, activation: Activation::Tanh, batch_norm: true };
        let settings = TrainingSettings {
            epochs, batch_size, learning_rate, l2, schedule, validation_share: 0.5, early_stop, gradient_limit,
        };
        let (training, validation) = (Pairs { x, y }, Pairs { x: held_out.0, y: held_out.1 });
        for run in [train, train_earlier_stage] {
            let objective = SquaredError(Mlp::new(&shape, &Device::Cpu, &mut stream()).unwrap());
            if let Ok(report) = run(&objective, &training, &validation, &settings, "any", &mut FitContext::new(1)) {
                prop_assert!(report.curve.len() <= epochs && report.best_epoch <= report.epochs);
            }
        }
    }
}
