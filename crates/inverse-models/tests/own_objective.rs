//! Objectives of one's own in the training loop: what they may hand over, and what a resumed training does.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]

use std::time::Duration;

use candle_core::{DType, Device, Result, Tensor};
use inverse_core::{
    CheckpointPolicy, EpochReport, FitContext, FitError, Observer, RandomStreams, Signal, Stream,
};
use inverse_models::nn::{
    Activation, LossGradients, Mlp, MlpSettings, Objective, Pairs, TrainableNetwork, TrainingSettings, train,
};

fn network(seed: u64) -> Mlp {
    let settings = MlpSettings {
        inputs: 2,
        hidden: vec![8],
        outputs: 1,
        activation: Activation::Tanh,
        batch_norm: false,
    };
    Mlp::new(&settings, &Device::Cpu, &mut RandomStreams::new(seed).stream("weights", 0)).unwrap()
}

/// Of one table: the columns of x, and behind them that of y.
fn table() -> Tensor {
    let x = Tensor::arange(0_f32, 64.0, &Device::Cpu).unwrap().reshape((32, 2)).unwrap();
    let x = ((x / 32.0).unwrap() - 1.0).unwrap();
    Tensor::cat(&[&x, &x.sqr().unwrap().sum_keepdim(1).unwrap()], 1).unwrap()
}

fn pairs() -> Pairs {
    let table = table();
    Pairs { x: table.narrow(1, 0, 2).unwrap(), y: table.narrow(1, 2, 1).unwrap() }
}

/// The squared error of the second network alone, in a number type of its own.
struct SecondAlone {
    networks: [Mlp; 2],
    dtype: DType,
    /// Numbers of the gradient that are left out at its end.
    left_out: usize,
}

impl SecondAlone {
    fn new() -> Self {
        Self { networks: [network(1), network(2)], dtype: DType::F32, left_out: 0 }
    }

    fn parameters(&self) -> Vec<f32> {
        self.networks[1].parameters().to_vec1().unwrap()
    }
}

impl Objective for SecondAlone {
    fn stage(&self) -> &'static str {
        "second alone"
    }

    fn networks(&self) -> Vec<&dyn TrainableNetwork> {
        vec![&self.networks[0], &self.networks[1]]
    }

    fn training_loss(&self, batch: &Pairs, _noise: &mut Stream) -> Result<Tensor> {
        let error = (self.networks[1].forward(&batch.x)? - &batch.y)?.sqr()?.mean_all()?;
        error.to_dtype(self.dtype)
    }

    fn loss_gradients(&self, batch: &Pairs, noise: &mut Stream) -> Result<LossGradients> {
        let mut gradients = LossGradients::by_candle(self, batch, noise)?;
        if let Some(gradient) = &mut gradients.parameters[1] {
            *gradient = gradient.narrow(0, 0, gradient.elem_count() - self.left_out)?;
        }
        Ok(gradients)
    }

    fn validation_loss(&self, pairs: &Pairs, _noise: &mut Stream) -> Result<f64> {
        let y = self.networks[1].freeze()?.forward(&pairs.x)?;
        (y - &pairs.y)?.sqr()?.mean_all()?.to_scalar::<f32>().map(f64::from)
    }
}

fn fit(objective: &SecondAlone, context: &mut FitContext<'_>) -> std::result::Result<(), FitError> {
    let settings = TrainingSettings { epochs: 12, batch_size: 8, ..TrainingSettings::default() };
    train(objective, &pairs(), &pairs(), &settings, "own objective", context).map(|_| ())
}

/// Stops after some epochs.
struct StopAfter(usize);

impl Observer for StopAfter {
    fn epoch(&mut self, report: &EpochReport) -> Signal {
        if report.epoch == self.0 { Signal::Stop } else { Signal::Continue }
    }
}

#[test]
fn a_network_that_rests_does_not_set_the_others_back() {
    let whole = SecondAlone::new();
    fit(&whole, &mut FitContext::new(3)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let policy = CheckpointPolicy { folder: folder.path().to_owned(), every: Duration::ZERO };
    let mut stop = StopAfter(5);
    let mut context = FitContext::new(3).with_observer(&mut stop).with_checkpoints(policy.clone());
    fit(&SecondAlone::new(), &mut context).unwrap();
    let resumed = SecondAlone::new();
    fit(&resumed, &mut FitContext::new(3).with_checkpoints(policy)).unwrap();
    assert_eq!(resumed.parameters(), whole.parameters());
    assert_ne!(whole.parameters(), SecondAlone::new().parameters());
}

#[test]
fn a_loss_in_double_precision_trains_as_well() {
    let double = SecondAlone { dtype: DType::F64, ..SecondAlone::new() };
    fit(&double, &mut FitContext::new(3)).unwrap();
    let single = SecondAlone::new();
    fit(&single, &mut FitContext::new(3)).unwrap();
    assert_eq!(double.parameters(), single.parameters());
}

#[test]
fn a_gradient_of_another_length_is_an_error() {
    let objective = SecondAlone { left_out: 1, ..SecondAlone::new() };
    let before = objective.parameters();
    let error = fit(&objective, &mut FitContext::new(3)).unwrap_err().to_string();
    assert!(error.contains("33 parameters"), "{error}");
    assert_eq!(objective.parameters(), before, "nothing has moved");
}
