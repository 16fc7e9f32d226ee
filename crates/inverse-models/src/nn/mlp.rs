//! Fully connected networks: Linear, batch normalisation, activation, repeated; the last layer plain.

use std::sync::{Arc, Mutex};

use candle_core::{Device, Result, Tensor, Var, bail};
use inverse_core::{InvalidArgument, Stream};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::frozen_mlp::FrozenMlp;
use super::kernels::{TrainingPass, TrainingWorkspace};
use super::layout::{LayerLayout, Layout, NORMALIZATION_EPSILON};
use super::training_op::{MlpTrainingOp, Workspaces};
use super::{Activation, TrainableNetwork};

/// Weight of the newest batch in the running statistics.
const MOMENTUM: f64 = 0.1;

/// No layer is wider: a mistyped width fails with a message instead of exhausting the memory.
const LARGEST_WIDTH: usize = 1 << 16;

/// No network has more parameters (1 GiB of them, and Adam takes twice as much again): widths that are allowed one
/// by one can still make a matrix that no memory holds.
const LARGEST_PARAMETER_COUNT: usize = 1 << 28;

pub(super) fn check_parameter_count(count: usize) -> std::result::Result<(), InvalidArgument> {
    if count <= LARGEST_PARAMETER_COUNT {
        return Ok(());
    }
    let expected = format!("widths that make at most {LARGEST_PARAMETER_COUNT} parameters");
    Err(InvalidArgument::new("hidden", expected, count))
}

/// The shape of a fully connected network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MlpSettings {
    /// Number of inputs.
    pub inputs: usize,
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// Number of outputs.
    pub outputs: usize,
    /// The activation after each hidden layer.
    pub activation: Activation,
    /// Whether each hidden layer is batch-normalised before its activation.
    pub batch_norm: bool,
}

impl MlpSettings {
    /// Whether a network can have this shape.
    ///
    /// # Errors
    /// [`InvalidArgument`] where a width is 0 or above 65,536, or all together make more than 2²⁸ parameters.
    pub fn validate(&self) -> std::result::Result<(), InvalidArgument> {
        let widths = [("inputs", self.inputs), ("outputs", self.outputs)];
        let hidden = self.hidden.iter().map(|width| ("hidden", *width));
        for (name, width) in widths.into_iter().chain(hidden) {
            if !(1..=LARGEST_WIDTH).contains(&width) {
                return Err(InvalidArgument::new(name, format!("widths from 1 to {LARGEST_WIDTH}"), width));
            }
        }
        check_parameter_count(self.parameter_count())
    }

    /// Number of trainable parameters; the largest number there is, where no network could have so many.
    pub fn parameter_count(&self) -> usize {
        // Not from the layout, which is made for valid shapes only: widths may be anything here.
        let normalization = if self.batch_norm { 3 } else { 1 };
        let (mut count, mut inputs) = (0_usize, self.inputs);
        for width in &self.hidden {
            let layer = inputs.saturating_add(normalization).saturating_mul(*width);
            (count, inputs) = (count.saturating_add(layer), *width);
        }
        count.saturating_add(inputs.saturating_add(1).saturating_mul(self.outputs))
    }
}

/// A fully connected network in training.
#[derive(Debug)]
pub struct Mlp {
    settings: MlpSettings,
    layout: Arc<Layout>,
    parameters: Var,
    /// Running mean and variance of each normalised layer.
    statistics: Var,
    workspaces: Workspaces,
    /// A gradient that an earlier step is done with.
    gradient: Mutex<Option<Tensor>>,
    #[cfg(feature = "cuda")]
    cuda_workspaces: super::kernels::cuda::CudaWorkspaces,
}

impl Mlp {
    /// A network whose weights and biases are uniform in ±1/√inputs, PyTorch's default.
    ///
    /// # Errors
    /// Where the shape is invalid or the tensor library fails.
    pub fn new(settings: &MlpSettings, device: &Device, stream: &mut Stream) -> Result<Self> {
        settings.validate().map_err(candle_core::Error::wrap)?;
        let layout = Layout::new(settings);
        let mut parameters = vec![0.0_f32; layout.parameter_count];
        let mut statistics = vec![0.0_f32; layout.statistic_count];
        for layer in &layout.layers {
            let bound = 1.0 / (layer.inputs as f32).sqrt();
            for range in [&layer.weight, &layer.bias] {
                parameters[range.clone()].fill_with(|| stream.random_range(-bound..=bound));
            }
            if let Some(normalization) = &layer.normalization {
                parameters[normalization.scale.clone()].fill(1.0);
                statistics[normalization.running_variance.clone()].fill(1.0);
            }
        }
        Self::from_vectors(settings, &parameters, &statistics, device)
    }

    /// Replaces the biases of the last layer, (outputs): the network's output before it has learnt anything.
    ///
    /// # Errors
    /// Where there are more or fewer values than outputs, or the tensor library fails.
    pub fn set_output_bias(&self, values: &[f32]) -> Result<()> {
        let last = self.layout.layers.last().map(|layer| layer.bias.clone()).unwrap_or_default();
        if values.len() != last.len() {
            bail!("the network has {} outputs, found {} biases", last.len(), values.len())
        }
        let mut parameters = self.parameters.to_vec1::<f32>()?;
        parameters[last].copy_from_slice(values);
        self.parameters.set(&Tensor::new(parameters, self.parameters.device())?)
    }

    /// A network with these parameters and running statistics, each layer's in the order of `Layout`.
    pub(crate) fn from_vectors(
        settings: &MlpSettings,
        parameters: &[f32],
        statistics: &[f32],
        device: &Device,
    ) -> Result<Self> {
        Ok(Self {
            settings: settings.clone(),
            layout: Arc::new(Layout::new(settings)),
            parameters: Var::new(parameters, device)?,
            statistics: Var::new(statistics, device)?,
            workspaces: Arc::new(Mutex::new(Vec::new())),
            gradient: Mutex::new(None),
            #[cfg(feature = "cuda")]
            cuda_workspaces: Arc::default(),
        })
    }

    /// The network's shape.
    pub fn settings(&self) -> &MlpSettings {
        &self.settings
    }

    /// The output, (rows, outputs), for x, (rows, inputs), with batch statistics; differentiable by candle.
    ///
    /// Running statistics move towards those of the batch.
    ///
    /// # Errors
    /// Where the shapes disagree or the tensor library fails.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            return self.forward_on_cuda(x);
        }
        let (y, batch) = if x.device().is_cpu() { self.forward_fused(x)? } else { self.forward_composed(x)? };
        if let Some(batch) = batch {
            self.move_statistics_towards(&batch)?;
        }
        Ok(y)
    }

    fn move_statistics_towards(&self, batch: &Tensor) -> Result<()> {
        let moved = ((self.statistics.as_tensor() * (1.0 - MOMENTUM))? + (batch.detach() * MOMENTUM)?)?;
        self.statistics.set(&moved)
    }

    /// Moves the running statistics towards those of a batch, none where nothing is normalised.
    pub(super) fn move_statistics(&self, batch: &[f32]) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        self.move_statistics_towards(&Tensor::new(batch, self.statistics.device())?)
    }

    pub(super) fn parameter_tensor(&self) -> &Tensor {
        self.parameters.as_tensor()
    }

    /// The network with these parameters, for a pass in host memory.
    pub(super) fn pass<'a>(&'a self, parameters: &'a [f32]) -> TrainingPass<'a> {
        TrainingPass { layers: &self.layout.layers, activation: self.settings.activation, parameters }
    }

    /// Buffers that an earlier step has left, or new ones.
    pub(super) fn take_workspace(&self) -> TrainingWorkspace {
        self.workspaces.lock().ok().and_then(|mut waiting| waiting.pop()).unwrap_or_default()
    }

    /// A vector for the gradient of the parameters, (parameters), whose numbers mean nothing yet.
    pub(super) fn take_gradient(&self) -> Result<Tensor> {
        match self.gradient.lock().ok().and_then(|mut kept| kept.take()) {
            Some(gradient) => Ok(gradient),
            None => self.parameters.zeros_like(),
        }
    }

    /// Takes over the memory that another network keeps for its gradient, where the shapes agree.
    pub(super) fn take_gradient_memory_of(&self, other: &Self) {
        // The lock is given back first: both may be the same network.
        let kept = other.gradient.lock().ok().and_then(|mut kept| kept.take());
        if let Some(gradient) = kept {
            self.reuse_gradient(gradient);
        }
    }

    pub(super) fn return_workspace(&self, workspace: TrainingWorkspace) {
        if let Ok(mut waiting) = self.workspaces.lock() {
            waiting.push(workspace);
        }
    }

    #[cfg(feature = "cuda")]
    fn forward_on_cuda(&self, x: &Tensor) -> Result<Tensor> {
        use super::kernels::cuda::{CudaTraining, move_statistics};
        let (layout, workspaces) = (self.layout.clone(), self.cuda_workspaces.clone());
        let statistics = Arc::new(Mutex::new(None));
        let op =
            CudaTraining::new(layout, self.settings.activation, workspaces, statistics.clone(), x.track_op());
        let y = x.contiguous()?.apply_op2(self.parameters.as_tensor(), op)?;
        let batch = statistics.lock().ok().and_then(|mut batch| batch.take());
        if let Some(batch) = batch {
            move_statistics(&self.statistics, batch, MOMENTUM as f32)?;
        }
        Ok(y)
    }

    pub(crate) fn forward_fused(&self, x: &Tensor) -> Result<(Tensor, Option<Tensor>)> {
        let statistics = Arc::new(Mutex::new(Vec::new()));
        let op = MlpTrainingOp::new(
            self.layout.clone(),
            self.settings.activation,
            self.workspaces.clone(),
            statistics.clone(),
            x.track_op(),
        );
        let y = x.contiguous()?.apply_op2(self.parameters.as_tensor(), op)?;
        let batch = statistics.lock().map(|mut batch| std::mem::take(&mut *batch)).unwrap_or_default();
        let batch = if batch.is_empty() {
            None
        } else {
            Some(Tensor::from_vec(batch, self.layout.statistic_count, x.device())?)
        };
        Ok((y, batch))
    }

    /// The same pass as plain candle operations: what devices without a fused kernel run, and what the fused
    /// kernel is tested against.
    pub(crate) fn forward_composed(&self, x: &Tensor) -> Result<(Tensor, Option<Tensor>)> {
        let mut statistics = Vec::new();
        let mut value = x.clone();
        for (index, layer) in self.layout.layers.iter().enumerate() {
            value = self.linear(layer, &value)?;
            if let Some(normalization) = &layer.normalization {
                let rows = value.dim(0)? as f64;
                let mean = value.mean_keepdim(0)?;
                let centred = value.broadcast_sub(&mean)?;
                let variance = centred.sqr()?.mean_keepdim(0)?;
                statistics.push(mean.flatten_all()?);
                statistics.push((variance.flatten_all()? * (rows / (rows - 1.0).max(1.0)))?);
                let normalized = centred.broadcast_div(&(variance + NORMALIZATION_EPSILON)?.sqrt()?)?;
                let scale = self.part(&normalization.scale)?;
                value = normalized.broadcast_mul(&scale)?.broadcast_add(&self.part(&normalization.shift)?)?;
            }
            if index + 1 < self.layout.layers.len() {
                value = self.settings.activation.apply(&value)?;
            }
        }
        let batch = if statistics.is_empty() { None } else { Some(Tensor::cat(&statistics, 0)?) };
        Ok((value, batch))
    }

    fn linear(&self, layer: &LayerLayout, x: &Tensor) -> Result<Tensor> {
        let weight = self.part(&layer.weight)?.reshape((layer.outputs, layer.inputs))?;
        x.matmul(&weight.t()?)?.broadcast_add(&self.part(&layer.bias)?)
    }

    fn part(&self, range: &std::ops::Range<usize>) -> Result<Tensor> {
        self.parameters.as_tensor().narrow(0, range.start, range.len())
    }

    /// The network with its weights fixed and its normalisation folded into them.
    ///
    /// # Errors
    /// Where the tensor library fails.
    pub fn freeze(&self) -> Result<FrozenMlp> {
        if !self.parameters.device().is_cpu() {
            return self.freeze_on_device();
        }
        let parameters = self.parameters.to_vec1::<f32>()?;
        let statistics = self.statistics.to_vec1::<f32>()?;
        let layers = self.layout.layers.iter().map(|layer| fold(layer, &parameters, &statistics)).collect();
        FrozenMlp::new(layers, self.settings.activation, self.parameters.device())
    }
}

impl Mlp {
    /// As [`fold`], without a way through host memory.
    fn freeze_on_device(&self) -> Result<FrozenMlp> {
        let (parameters, statistics) = (self.parameters.detach(), self.statistics.detach());
        let mut layers = Vec::new();
        for layer in &self.layout.layers {
            let part = |range: &std::ops::Range<usize>| parameters.narrow(0, range.start, range.len());
            // Copies: the parameters go on moving in their place.
            let mut weight =
                part(&layer.weight)?.force_contiguous()?.reshape((layer.outputs, layer.inputs))?;
            let mut bias = part(&layer.bias)?.force_contiguous()?;
            if let Some(normalization) = &layer.normalization {
                let (mean, variance) = (&normalization.running_mean, &normalization.running_variance);
                let mean = statistics.narrow(0, mean.start, mean.len())?;
                let variance = statistics.narrow(0, variance.start, variance.len())?;
                let factor = (part(&normalization.scale)? / (variance + NORMALIZATION_EPSILON)?.sqrt()?)?;
                weight = weight.broadcast_mul(&factor.unsqueeze(1)?)?;
                bias = (((bias - mean)? * factor)? + part(&normalization.shift)?)?;
            }
            layers.push((weight, bias));
        }
        FrozenMlp::on_device(layers, self.settings.activation)
    }
}

impl TrainableNetwork for Mlp {
    fn parameters(&self) -> &Var {
        &self.parameters
    }

    fn statistics(&self) -> &Var {
        &self.statistics
    }

    fn reuse_gradient(&self, gradient: Tensor) {
        let fits = gradient.shape() == self.parameters.shape() && gradient.is_contiguous();
        if let (true, Ok(mut kept)) = (fits && gradient.device().is_cpu(), self.gradient.lock()) {
            *kept = Some(gradient);
        }
    }
}

/// A linear layer with its batch normalisation folded in: γ (Wx + b − μ) / σ + β is linear in x again.
fn fold(layer: &LayerLayout, parameters: &[f32], statistics: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let mut weight = parameters[layer.weight.clone()].to_vec();
    let mut bias = parameters[layer.bias.clone()].to_vec();
    if let Some(normalization) = &layer.normalization {
        for output in 0..layer.outputs {
            let variance = f64::from(statistics[normalization.running_variance.start + output]);
            let scale = f64::from(parameters[normalization.scale.start + output]);
            let factor = scale / (variance + NORMALIZATION_EPSILON).sqrt();
            let mean = f64::from(statistics[normalization.running_mean.start + output]);
            let shift = f64::from(parameters[normalization.shift.start + output]);
            bias[output] = ((f64::from(bias[output]) - mean) * factor + shift) as f32;
            for weight in &mut weight[output * layer.inputs..(output + 1) * layer.inputs] {
                *weight = (f64::from(*weight) * factor) as f32;
            }
        }
    }
    (weight, bias)
}
