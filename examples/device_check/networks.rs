//! Parity of networks: outputs, gradients, running statistics, fixed networks, flows, convolutions, and a short training.

use std::error::Error;

use candle_core::{DType, Device, Tensor, Var};
use inverse::core::{Device as Place, FitContext, RandomStreams};
use inverse::models::nn::{
    Activation, ConvolutionNetwork, Convolutions, Coupling, Flow, FlowSettings, Mlp, MlpSettings, Network,
    Objective, Pairs, Schedule, TrainableNetwork, TrainingSettings, train,
};
use inverse::models::open_device;
use rand::RngExt;

use crate::{Parity, Values, compare};

type Outcome = Result<Values, Box<dyn Error>>;

/// `f32` has 24 bits, 6e-8; a pass adds up to 1,000 products in another order, layer after layer, and errors of a few
/// hundred of the last digit remain. A factor forgotten in one place is at least 1e-3.
const BOUND: f64 = 1e-4;

pub(crate) fn check(device: Place) -> Result<Vec<Parity>, Box<dyn Error>> {
    let (host, device) = (Device::Cpu, open_device(device)?);
    let mut lines = Vec::new();
    for activation in [Activation::Relu, Activation::Silu, Activation::Tanh] {
        for batch_norm in [false, true] {
            for (rows, hidden) in [(1024, vec![500, 500]), (37, vec![33, 64, 130]), (300, vec![])] {
                let title = format!("{activation:?}, norm {batch_norm}, {rows} rows, {hidden:?}");
                let shape = MlpSettings { inputs: 5, hidden, outputs: 3, activation, batch_norm };
                let on = |device: &Device| network(&shape, rows, device);
                lines.extend(compare(&title, &on(&host)?, &on(&device)?, BOUND));
            }
        }
    }
    for coupling in [Coupling::default(), Coupling::Spline { bins: 8, bound: 4.0 }] {
        let on = |device: &Device| flow(coupling, device);
        lines.extend(compare(&format!("flow, {coupling:?}"), &on(&host)?, &on(&device)?, BOUND));
    }
    let ends = [
        ("convolutional head", Convolutions::metamaterial_head()),
        ("convolutional encoder", Convolutions::metamaterial_encoder()),
    ];
    for (title, settings) in ends {
        let on = |device: &Device| convolutions(&settings, device);
        lines.extend(compare(title, &on(&host)?, &on(&device)?, BOUND));
    }
    lines.extend(compare("six epochs of Adam", &training(&host)?, &training(&device)?, 10.0 * BOUND));
    Ok(lines)
}

fn values(tensor: &Tensor) -> candle_core::Result<Vec<f64>> {
    tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()
}

/// Numbers that are the same on every device.
fn draw(rows: usize, columns: usize, purpose: &str, device: &Device) -> candle_core::Result<Tensor> {
    let mut stream = RandomStreams::new(5).stream(purpose, 0);
    let values: Vec<f32> = (0..rows * columns).map(|_| stream.random_range(-2.0..2.0)).collect();
    Tensor::from_vec(values, (rows, columns), device)
}

fn network(shape: &MlpSettings, rows: usize, device: &Device) -> Outcome {
    let mut weights = RandomStreams::new(1).stream("weights", 0);
    let network = Mlp::new(shape, device, &mut weights)?;
    let x = Var::from_tensor(&draw(rows, shape.inputs, "x", device)?)?;
    let factors = draw(rows, shape.outputs, "factors", device)?;
    let output = network.forward(x.as_tensor())?;
    let gradients = (&output * &factors)?.sum_all()?.backward()?;
    let gradient = |of: &Tensor| gradients.get(of).ok_or("no gradient");
    let mut found = vec![
        ("output".to_owned(), values(&output)?),
        ("gradient of x".to_owned(), values(gradient(&x)?)?),
        ("gradient of parameters".to_owned(), values(gradient(network.parameters())?)?),
    ];
    if shape.batch_norm && !shape.hidden.is_empty() {
        found.push(("running statistics".to_owned(), values(network.statistics())?));
    }
    let fixed = network.freeze()?;
    // More rows than a kernel takes at once.
    let x = Var::from_tensor(&draw(9001, shape.inputs, "more x", device)?)?;
    let y = draw(9001, shape.outputs, "y", device)?;
    let output = fixed.forward(x.as_tensor())?;
    let gradients = (&output * &y)?.sum_all()?.backward()?;
    let (error, of_error) = fixed.error_and_gradient(x.as_tensor(), &y, &[0.2, 1.0, 0.7])?;
    found.extend([
        ("fixed output".to_owned(), values(&output)?),
        ("fixed gradient of x".to_owned(), values(gradients.get(&x).ok_or("no gradient")?)?),
        ("weighted error".to_owned(), values(&error)?),
        ("gradient of weighted error".to_owned(), values(&of_error)?),
    ]);
    Ok(found)
}

fn flow(coupling: Coupling, device: &Device) -> Outcome {
    let settings = FlowSettings { blocks: 3, hidden: vec![64; 2], activation: Activation::Relu, coupling };
    let mut weights = RandomStreams::new(2).stream("weights", 0);
    let flow = Flow::new(&settings, 5, 2, device, &mut weights)?;
    let (x, condition) = (draw(500, 5, "x", device)?, draw(500, 2, "condition", device)?);
    let (z, log_determinant) = flow.forward(&x, Some(&condition))?;
    let back = flow.inverse(&draw(500, 5, "z", device)?.to_dtype(DType::F64)?, Some(&condition))?;
    let loss = (z.sqr()?.sum_all()? - log_determinant.sum_all()?)?;
    let gradients = (loss + back.sqr()?.sum_all()?)?.backward()?;
    let mut of_parameters = Vec::new();
    for network in flow.networks() {
        of_parameters.extend(values(gradients.get(network.parameters()).ok_or("no gradient")?)?);
    }
    let fixed = flow.freeze()?;
    Ok(vec![
        ("z".to_owned(), values(&z)?),
        ("log determinant".to_owned(), values(&log_determinant)?),
        ("inverse".to_owned(), values(&back)?),
        ("gradient of parameters".to_owned(), of_parameters),
        ("inverse of z, fixed".to_owned(), values(&fixed.inverse(&z, Some(&condition))?)?),
    ])
}

fn convolutions(settings: &Convolutions, device: &Device) -> Outcome {
    let mut weights = RandomStreams::new(3).stream("weights", 0);
    let network = ConvolutionNetwork::new(settings, device, &mut weights)?;
    let y = network.forward(&draw(60, settings.width, "x", device)?)?;
    let gradients = y.sqr()?.sum_all()?.backward()?;
    let gradient = gradients.get(network.parameters()).ok_or("no gradient")?;
    Ok(vec![("output".to_owned(), values(&y)?), ("gradient of parameters".to_owned(), values(gradient)?)])
}

/// The squared error of a plain network.
struct SquaredError(Mlp);

impl Objective for SquaredError {
    fn stage(&self) -> &'static str {
        "parity"
    }

    fn networks(&self) -> Vec<&dyn TrainableNetwork> {
        vec![&self.0]
    }

    fn training_loss(
        &self,
        batch: &Pairs,
        _noise: &mut inverse::core::Stream,
    ) -> candle_core::Result<Tensor> {
        (self.0.forward(&batch.x)? - &batch.y)?.sqr()?.mean_all()
    }

    fn validation_loss(&self, pairs: &Pairs, _noise: &mut inverse::core::Stream) -> candle_core::Result<f64> {
        let y = self.0.freeze()?.forward(&pairs.x)?;
        (y - &pairs.y)?.sqr()?.mean_all()?.to_scalar::<f32>().map(f64::from)
    }
}

fn training(device: &Device) -> Outcome {
    // Smooth, so that rounding moves no unit across ReLU's corner.
    let shape = MlpSettings {
        inputs: 3,
        hidden: vec![64; 2],
        outputs: 2,
        activation: Activation::Silu,
        batch_norm: true,
    };
    let mut weights = RandomStreams::new(4).stream("weights", 0);
    let objective = SquaredError(Mlp::new(&shape, device, &mut weights)?);
    let x = draw(600, 3, "x", device)?;
    let pairs = Pairs { y: x.narrow(1, 0, 2)?.sin()?, x };
    let settings = TrainingSettings {
        epochs: 6,
        batch_size: 100,
        l2: 1e-3,
        gradient_limit: Some(0.01),
        schedule: Schedule::Cosine { last: 1e-5 },
        ..TrainingSettings::default()
    };
    let report = train(&objective, &pairs, &pairs, &settings, "parity", &mut FitContext::new(1))?;
    Ok(vec![
        ("training losses".to_owned(), report.curve.iter().map(|epoch| epoch.training).collect()),
        ("validation losses".to_owned(), report.curve.iter().map(|epoch| epoch.validation).collect()),
        ("parameters".to_owned(), values(objective.0.parameters())?),
    ])
}
