//! The matrix products that training and inference cannot avoid: the floor that both sides are held against.

use std::error::Error;
use std::time::Instant;

use candle_core::{Device, Tensor};
use inverse::bench::Profile;
use inverse::models::nn::{Coupling, FlowSettings, TrainingSettings};
use inverse::prelude::*;
use serde::Serialize;

use crate::cells::SOLUTIONS;

/// (rows, inner) · (inner, columns), `count` times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Product {
    rows: usize,
    inner: usize,
    columns: usize,
    count: usize,
}

impl Product {
    /// Multiplications and additions.
    pub(crate) fn operations(&self) -> f64 {
        2.0 * (self.rows * self.inner * self.columns) as f64 * self.count as f64
    }
}

/// The products of one epoch, held-out pairs included, and of one inference.
#[derive(Debug, Clone, Default)]
pub(crate) struct Products {
    pub(crate) epoch: Vec<Product>,
    pub(crate) inference: Vec<Product>,
}

/// Which gradients a network's backward pass gives.
#[derive(Debug, Clone, Copy, Default)]
struct Gradients {
    weights: bool,
    input: bool,
}

impl Gradients {
    const NONE: Self = Self { weights: false, input: false };
    const WEIGHTS: Self = Self { weights: true, input: false };
    const INPUT: Self = Self { weights: false, input: true };
    const BOTH: Self = Self { weights: true, input: true };
}

/// A network's layers, from its inputs to its outputs.
fn widths(inputs: usize, hidden: &[usize], outputs: usize) -> Vec<usize> {
    std::iter::once(inputs).chain(hidden.iter().copied()).chain([outputs]).collect()
}

fn push(products: &mut Vec<Product>, widths: &[usize], rows: usize, gradients: Gradients, count: usize) {
    for (layer, pair) in widths.windows(2).enumerate() {
        let (inputs, outputs) = (pair[0], pair[1]);
        products.push(Product { rows, inner: inputs, columns: outputs, count });
        if gradients.weights {
            products.push(Product { rows: outputs, inner: rows, columns: inputs, count });
        }
        if gradients.input || (gradients.weights && layer > 0) {
            products.push(Product { rows, inner: outputs, columns: inputs, count });
        }
    }
}

/// One epoch of one training, as it goes through the networks.
struct Epoch {
    products: Vec<Product>,
    batch: usize,
    steps: usize,
    validation: usize,
}

impl Epoch {
    fn new(training: &TrainingSettings) -> Self {
        let pairs = Profile::Paper.pairs();
        let validation = (pairs as f64 * training.validation_share).round() as usize;
        let steps = (pairs - validation) / training.batch_size;
        Self { products: Vec::new(), batch: training.batch_size, steps, validation }
    }

    fn through(&mut self, widths: &[usize], gradients: Gradients) {
        push(&mut self.products, widths, self.batch, gradients, self.steps);
        push(&mut self.products, widths, self.validation, Gradients::NONE, 1);
    }

    /// A surrogate that renews the training pairs and no others.
    fn renewed_by(&mut self, surrogate: Option<&RegressionSettings>, (dim_x, dim_y): (usize, usize)) {
        if let Some(surrogate) = surrogate {
            let widths = widths(dim_x, &surrogate.hidden, dim_y);
            push(&mut self.products, &widths, self.batch, Gradients::NONE, self.steps);
        }
    }
}

impl Products {
    pub(crate) fn new(method: &str, task: &str, dims: (usize, usize)) -> Result<Self, Box<dyn Error>> {
        let (dim_x, dim_y) = dims;
        let source = Profile::Paper.source();
        let mut inference = Vec::new();
        let epoch = match method {
            "NA" => {
                let NeuralAdjoint { surrogate, descent, .. } = NeuralAdjoint::preset(task, source)?;
                let network = widths(dim_x, &surrogate.hidden, dim_y);
                let mut epoch = Epoch::new(&surrogate.training);
                epoch.through(&network, Gradients::WEIGHTS);
                push(&mut inference, &network, SOLUTIONS, Gradients::INPUT, descent.steps + 1);
                epoch
            }
            "Tandem" => {
                let Tandem { surrogate, inverse, .. } = Tandem::preset(task, source)?;
                let network = widths(dim_y, &inverse.hidden, dim_x);
                let mut epoch = Epoch::new(&inverse.training);
                epoch.through(&network, Gradients::WEIGHTS);
                epoch.through(&widths(dim_x, &surrogate.hidden, dim_y), Gradients::INPUT);
                // One answer a target, however often it is asked for.
                push(&mut inference, &network, 1, Gradients::NONE, 1);
                epoch
            }
            "cVAE" => {
                let method = ConditionalVae::preset(task, source)?;
                let latent = method.latent.unwrap_or(dim_x);
                let decoder = widths(latent + dim_y, &method.hidden, dim_x);
                let mut epoch = Epoch::new(&method.training);
                epoch.renewed_by(method.relabelling.as_ref().map(|renewal| &renewal.surrogate), dims);
                epoch.through(&widths(dim_x + dim_y, &method.hidden, 2 * latent), Gradients::WEIGHTS);
                epoch.through(&decoder, Gradients::BOTH);
                push(&mut inference, &decoder, SOLUTIONS, Gradients::NONE, 1);
                epoch
            }
            "INN" => {
                let method = InvertibleNetwork::preset(task, source)?;
                let latent = method.latent.unwrap_or(dim_x.saturating_sub(dim_y).max(1));
                let width = method.width.unwrap_or(dim_x.max(dim_y + latent));
                let mut epoch = Epoch::new(&method.training);
                epoch.renewed_by(method.relabelling.as_ref().map(|renewal| &renewal.surrogate), dims);
                flow(&mut epoch, &mut inference, &method.flow, width, 0);
                epoch
            }
            "cINN" => {
                let method = ConditionalInvertibleNetwork::preset(task, source)?;
                let mut epoch = Epoch::new(&method.training);
                epoch.renewed_by(method.relabelling.as_ref().map(|renewal| &renewal.surrogate), dims);
                flow(&mut epoch, &mut inference, &method.flow, dim_x, dim_y);
                epoch
            }
            "MDN" => {
                let method = MixtureDensityNetwork::preset(task, source)?;
                let outputs = method.components * (1 + 2 * dim_x + dim_x * (dim_x - 1) / 2);
                let network = widths(dim_y, &method.hidden, outputs);
                let mut epoch = Epoch::new(&method.training);
                epoch.renewed_by(method.relabelling.as_ref().map(|renewal| &renewal.surrogate), dims);
                epoch.through(&network, Gradients::WEIGHTS);
                push(&mut inference, &network, 1, Gradients::NONE, 1);
                epoch
            }
            other => return Err(format!("no method `{other}`").into()),
        };
        Ok(Self { epoch: epoch.products, inference })
    }
}

fn flow(
    epoch: &mut Epoch,
    inference: &mut Vec<Product>,
    flow: &FlowSettings,
    width: usize,
    condition: usize,
) {
    let outputs = match flow.coupling {
        Coupling::Spline { bins, .. } => 3 * bins - 1,
        _ => 2,
    };
    let (first, second) = (width / 2, width - width / 2);
    for block in 0..flow.blocks {
        for (seen, changed) in [(second, first), (first, second)] {
            if changed > 0 {
                let subnet = widths(seen + condition, &flow.hidden, changed * outputs);
                // The first block's first subnet sees data alone.
                let data = block == 0 && seen == second && first > 0;
                epoch.through(&subnet, if data { Gradients::WEIGHTS } else { Gradients::BOTH });
                push(inference, &subnet, SOLUTIONS, Gradients::NONE, 1);
            }
        }
    }
}

/// Seconds of the products alone, on all threads; each is run as often as it is wanted.
pub(crate) fn seconds(products: &[Product]) -> Result<f64, Box<dyn Error>> {
    let mut total = 0.0;
    for product in products {
        let fill = |rows: usize, columns: usize| {
            let values: Vec<f32> = (0..rows * columns).map(|index| (index % 17) as f32 * 0.1 - 0.8).collect();
            Tensor::from_vec(values, (rows, columns), &Device::Cpu)
        };
        let (a, b) = (fill(product.rows, product.inner)?, fill(product.inner, product.columns)?);
        a.matmul(&b)?;
        let start = Instant::now();
        for _ in 0..product.count {
            std::hint::black_box(a.matmul(&b)?);
        }
        total += start.elapsed().as_secs_f64();
    }
    Ok(total)
}
