//! Normalising flows: coupling blocks in a row, shared by INN and cINN.

use candle_core::{DType, Device, Result, Tensor, bail};
use inverse_core::{InvalidArgument, Stream};
use serde::{Deserialize, Serialize};

use super::coupling::{BlockShape, Coupling, CouplingBlock};
use super::flow_step::ConditionRows;
use super::{Activation, FrozenMlp, Mlp, Network, TrainableNetwork, repeated};
use crate::saved_model::{ModelFile, insert_network};
use crate::tensor_file::{ModelFileError, NamedTensors};

/// No flow is deeper; a mistyped count fails with a message.
const LARGEST_BLOCK_COUNT: usize = 1 << 8;

/// The blocks of a flow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowSettings {
    /// Number of coupling blocks.
    pub blocks: usize,
    /// Widths of the hidden layers of each subnet; the authors use two of 512.
    pub hidden: Vec<usize>,
    /// The activation of the subnets.
    pub activation: Activation,
    /// How a block changes its variables.
    pub coupling: Coupling,
}

impl Default for FlowSettings {
    /// Six affine blocks of two subnets in-512-512-out with ReLU.
    fn default() -> Self {
        Self { blocks: 6, hidden: vec![512; 2], activation: Activation::Relu, coupling: Coupling::default() }
    }
}

impl FlowSettings {
    fn block(&self, width: usize, condition: usize) -> BlockShape {
        BlockShape {
            width,
            condition,
            hidden: self.hidden.clone(),
            activation: self.activation,
            coupling: self.coupling,
        }
    }

    /// Whether a flow of that width and condition can be built.
    pub(crate) fn validate(
        &self,
        width: usize,
        condition: usize,
    ) -> std::result::Result<(), InvalidArgument> {
        if !(1..=LARGEST_BLOCK_COUNT).contains(&self.blocks) {
            let expected = format!("1 to {LARGEST_BLOCK_COUNT}");
            return Err(InvalidArgument::new("blocks", expected, self.blocks));
        }
        self.coupling.validate()?;
        let (first, second) = self.block(width, condition).subnets();
        first.iter().chain([&second]).try_for_each(super::MlpSettings::validate)?;
        super::mlp::check_parameter_count(self.parameter_count(width, condition))
    }

    /// Number of trainable parameters of a flow of that width and condition.
    pub fn parameter_count(&self, width: usize, condition: usize) -> usize {
        let (first, second) = self.block(width, condition).subnets();
        let subnets = first.iter().chain([&second]).map(super::MlpSettings::parameter_count);
        subnets.fold(0_usize, usize::saturating_add).saturating_mul(self.blocks)
    }
}

/// Coupling blocks in a row, x → z; `N` is [`Mlp`] in training and [`FrozenMlp`] in use.
#[derive(Debug, Clone)]
pub struct Flow<N> {
    pub(super) blocks: Vec<CouplingBlock<N>>,
}

impl Flow<Mlp> {
    /// A flow of `width` variables with random subnets and permutations.
    ///
    /// * `condition`: numbers that every subnet sees beside its half
    ///
    /// # Errors
    /// Where the shape is invalid or the tensor library fails.
    pub fn new(
        settings: &FlowSettings,
        width: usize,
        condition: usize,
        device: &Device,
        stream: &mut Stream,
    ) -> Result<Self> {
        settings.validate(width, condition).map_err(candle_core::Error::wrap)?;
        let shape = settings.block(width, condition);
        let blocks = (0..settings.blocks).map(|_| CouplingBlock::new(&shape, device, stream));
        Ok(Self { blocks: blocks.collect::<Result<_>>()? })
    }

    /// The subnets, for the training loop.
    pub fn networks(&self) -> Vec<&dyn TrainableNetwork> {
        let mut networks: Vec<&dyn TrainableNetwork> = Vec::new();
        for block in &self.blocks {
            networks.extend(block.first.iter().map(|subnet| subnet as &dyn TrainableNetwork));
            networks.push(&block.second);
        }
        networks
    }

    /// As [`Flow::networks`], by their type.
    pub(super) fn subnets(&self) -> impl Iterator<Item = &Mlp> {
        self.blocks.iter().flat_map(|block| block.first.iter().chain([&block.second]))
    }

    /// The flow with its weights fixed.
    ///
    /// # Errors
    /// Where the tensor library fails.
    pub fn freeze(&self) -> Result<Flow<FrozenMlp>> {
        Ok(Flow { blocks: self.blocks.iter().map(CouplingBlock::freeze).collect::<Result<_>>()? })
    }
}

impl<N: Network> Flow<N> {
    /// z, (rows, width), and log |det ∂z/∂x| of each row, (rows); both `f64`.
    ///
    /// * `x`: (rows, width), `condition`: (rows, condition), `f32`, where the flow has one
    ///
    /// # Errors
    /// Where the shapes disagree or the tensor library fails.
    pub fn forward(&self, x: &Tensor, condition: Option<&Tensor>) -> Result<(Tensor, Tensor)> {
        let mut z = x.to_dtype(DType::F64)?;
        let mut log_determinant = Tensor::zeros(x.dim(0)?, DType::F64, x.device())?;
        for block in &self.blocks {
            let (changed, log) = block.forward(&z, condition)?;
            z = changed;
            log_determinant = (log_determinant + log)?;
        }
        Ok((z, log_determinant))
    }

    /// The x, (rows, width), `f64`, that [`Flow::forward`] turns into z.
    ///
    /// # Errors
    /// As [`Flow::forward`].
    pub fn inverse(&self, z: &Tensor, condition: Option<&Tensor>) -> Result<Tensor> {
        let mut x = z.to_dtype(DType::F64)?;
        for block in self.blocks.iter().rev() {
            x = block.inverse(&x, condition)?;
        }
        Ok(x)
    }
}

impl Flow<FrozenMlp> {
    /// As [`Flow::forward`], on the processor without candle's operations between the subnets; not differentiable.
    ///
    /// * `condition`: distinct rows, and which of them each row of x has
    pub(crate) fn apply(
        &self,
        x: &Tensor,
        condition: Option<(&Tensor, &[usize])>,
    ) -> Result<(Tensor, Tensor)> {
        let rows = self.check(x, condition)?;
        if !x.device().is_cpu() {
            return self.forward(x, as_rows(condition)?.as_ref());
        }
        let mut values = x.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
        let log = self.host_forward(&mut values, rows, given(rows, condition)?.as_condition())?;
        Ok((Tensor::from_vec(values, x.shape(), x.device())?, Tensor::from_vec(log, rows, x.device())?))
    }

    /// As [`Flow::inverse`], on the processor without candle's operations between the subnets.
    ///
    /// * `condition`: distinct rows, and which of them each row of z has
    pub(crate) fn invert(&self, z: &Tensor, condition: Option<(&Tensor, &[usize])>) -> Result<Tensor> {
        let rows = self.check(z, condition)?;
        if !z.device().is_cpu() {
            return self.inverse(z, as_rows(condition)?.as_ref());
        }
        let mut values = z.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
        self.host_inverse(&mut values, rows, given(rows, condition)?.as_condition())?;
        Tensor::from_vec(values, z.shape(), z.device())
    }

    fn check(&self, x: &Tensor, condition: Option<(&Tensor, &[usize])>) -> Result<usize> {
        self.blocks.iter().try_for_each(|block| block.check_width(x).map(drop))?;
        let rows = x.dim(0)?;
        if rows == 0 {
            bail!("a flow takes at least one row")
        }
        if let Some((_, of_row)) = condition
            && of_row.len() != rows
        {
            bail!("a condition for each of {rows} rows, found {}", of_row.len())
        }
        Ok(rows)
    }

    /// Adds subnets and permutations to a model's tensors.
    pub(crate) fn insert(&self, tensors: &mut NamedTensors) -> std::result::Result<(), ModelFileError> {
        for (index, block) in self.blocks.iter().enumerate() {
            if let Some(subnet) = &block.first {
                insert_network(tensors, &format!("block.{index}.first"), subnet)?;
            }
            insert_network(tensors, &format!("block.{index}.second"), &block.second)?;
            let order: Vec<f32> = block.permutation.iter().map(|place| *place as f32).collect();
            tensors.insert(format!("block.{index}.permutation"), (vec![order.len()], order));
        }
        Ok(())
    }

    /// The flow of a model's file.
    pub(crate) fn from_file(
        file: &mut ModelFile,
        settings: &FlowSettings,
        width: usize,
        condition: usize,
    ) -> std::result::Result<Self, ModelFileError> {
        settings.validate(width, condition).map_err(|error| file.inconsistent(&error))?;
        let shape = settings.block(width, condition);
        let (first, second) = shape.subnets();
        let mut blocks = Vec::new();
        for index in 0..settings.blocks {
            let first = first
                .as_ref()
                .map(|first| file.take_network(&format!("block.{index}.first"), first))
                .transpose()?;
            let second = file.take_network(&format!("block.{index}.second"), &second)?;
            let order = file.take(&format!("block.{index}.permutation"), &[width])?;
            let order: Vec<u32> = order.into_iter().map(|place| place as u32).collect();
            let block = CouplingBlock::from_parts(&shape, first, second, order, &file.device);
            blocks.push(block.map_err(|error| file.foreign("a permutation", error))?);
        }
        Ok(Self { blocks })
    }
}

/// A condition for each row, in host memory.
fn given(rows: usize, condition: Option<(&Tensor, &[usize])>) -> Result<ConditionRows> {
    match condition {
        Some((distinct, of_row)) => ConditionRows::shared(Some(distinct), of_row.to_vec()),
        None => ConditionRows::new(rows, None),
    }
}

/// A condition for each row, where the distinct ones are.
fn as_rows(condition: Option<(&Tensor, &[usize])>) -> Result<Option<Tensor>> {
    condition.map(|(distinct, of_row)| repeated(distinct, of_row)).transpose()
}
