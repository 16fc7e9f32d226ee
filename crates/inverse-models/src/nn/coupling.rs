//! Coupling blocks: invertible layers whose Jacobian is triangular (Dinh et al. 2016; Kingma and Dhariwal 2018).

use candle_core::{DType, Device, Result, Tensor, bail};
use inverse_core::{InvalidArgument, Stream};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::spline::{Direction, spline};
use super::{Activation, FrozenMlp, Mlp, MlpSettings, Network};

/// No spline has more bins; a mistyped count fails with a message.
const LARGEST_BIN_COUNT: usize = 1 << 8;

/// How a coupling block changes a variable, given the others.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Coupling {
    /// x · exp(s) + t, with s kept inside ± `clamp` by a hyperbolic tangent: the paper's (GLOW).
    Affine {
        /// Largest |s|; the authors use 2.
        clamp: f64,
    },
    /// A monotone rational-quadratic spline inside ± `bound`, the identity outside (Durkan et al. 2019).
    Spline {
        /// Number of bins.
        bins: usize,
        /// Half the width of the interval that the spline covers.
        bound: f64,
    },
}

impl Default for Coupling {
    fn default() -> Self {
        Self::Affine { clamp: 2.0 }
    }
}

impl Coupling {
    pub(crate) fn validate(&self) -> std::result::Result<(), InvalidArgument> {
        match *self {
            Self::Affine { clamp } if !(clamp > 0.0 && clamp <= 10.0) => {
                Err(InvalidArgument::new("clamp", "above 0 and at most 10", clamp))
            }
            Self::Spline { bins, .. } if !(2..=LARGEST_BIN_COUNT).contains(&bins) => {
                Err(InvalidArgument::new("bins", format!("2 to {LARGEST_BIN_COUNT}"), bins))
            }
            Self::Spline { bound, .. } if !(bound > 0.0 && bound <= 1e3) => {
                Err(InvalidArgument::new("bound", "above 0 and at most 1000", bound))
            }
            _ => Ok(()),
        }
    }

    /// Numbers that a subnet gives for each variable it changes.
    pub(super) fn parameters(self) -> usize {
        match self {
            Self::Affine { .. } => 2,
            // Saturating: parameters are counted before settings are checked.
            Self::Spline { bins, .. } => bins.saturating_mul(3).saturating_sub(1),
        }
    }

    /// The changed variables, (rows, n), and log |∂ new / ∂ old| of each row, (rows); both `f64`.
    ///
    /// * `x`: (rows, n), `f64`; `parameters`: what a subnet says, `f32`
    fn apply(self, x: &Tensor, parameters: &Tensor, direction: Direction) -> Result<(Tensor, Tensor)> {
        match self {
            #[cfg(feature = "cuda")]
            Self::Affine { clamp } if x.device().is_cuda() => {
                let inverse = direction == Direction::Inverse;
                super::kernels::cuda::affine_coupling(x, parameters, clamp, inverse)
            }
            Self::Affine { clamp } => {
                let parameters = &parameters.to_dtype(DType::F64)?;
                let columns = x.dim(1)?;
                let raw = parameters.narrow(1, 0, columns)?;
                let shift = parameters.narrow(1, columns, columns)?;
                let log_scale = ((raw / clamp)?.tanh()? * clamp)?;
                match direction {
                    Direction::Forward => {
                        let y = ((x * log_scale.exp()?)? + shift)?;
                        Ok((y, log_scale.sum(1)?))
                    }
                    Direction::Inverse => {
                        let log_scale = log_scale.neg()?;
                        let y = ((x - shift)? * log_scale.exp()?)?;
                        Ok((y, log_scale.sum(1)?))
                    }
                }
            }
            Self::Spline { bins, bound } => spline(x, parameters, bins, bound, direction),
        }
    }
}

/// The shape of one coupling block.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BlockShape {
    /// Variables that flow through.
    pub(crate) width: usize,
    /// Numbers that both subnets see beside their half.
    pub(crate) condition: usize,
    /// Widths of the subnets' hidden layers.
    pub(crate) hidden: Vec<usize>,
    pub(crate) activation: Activation,
    pub(crate) coupling: Coupling,
}

impl BlockShape {
    /// Variables in the first half and in the second.
    fn halves(&self) -> (usize, usize) {
        (self.width / 2, self.width - self.width / 2)
    }

    fn subnet(&self, seen: usize, changed: usize) -> MlpSettings {
        MlpSettings {
            inputs: seen.saturating_add(self.condition),
            hidden: self.hidden.clone(),
            outputs: changed.saturating_mul(self.coupling.parameters()),
            activation: self.activation,
            batch_norm: false,
        }
    }

    /// The subnets that change the first half (absent where it is empty) and the second.
    pub(crate) fn subnets(&self) -> (Option<MlpSettings>, MlpSettings) {
        let (first, second) = self.halves();
        ((first > 0).then(|| self.subnet(second, first)), self.subnet(first, second))
    }
}

/// A coupling block in the manner of GLOW: each half is changed in turn, given the other half and the
/// condition; then a fixed permutation mixes the halves.
///
/// `N` is [`Mlp`] in training and [`FrozenMlp`] in use. Subnets compute in `f32`, the variables that flow are `f64`:
/// blocks that stretch and squeeze by e² each would otherwise leave little of a number after six of them, and
/// the inverse would not find the way back.
#[derive(Debug, Clone)]
pub struct CouplingBlock<N> {
    pub(super) coupling: Coupling,
    pub(super) first_width: usize,
    /// Changes the first half; absent where that half is empty.
    pub(crate) first: Option<N>,
    /// Changes the second half.
    pub(crate) second: N,
    pub(crate) permutation: Vec<u32>,
    order: Tensor,
    inverse_order: Tensor,
}

impl CouplingBlock<Mlp> {
    /// A block with random subnets and a random permutation.
    pub(crate) fn new(shape: &BlockShape, device: &Device, stream: &mut Stream) -> Result<Self> {
        let (first, second) = shape.subnets();
        let first = first.map(|first| Mlp::new(&first, device, stream)).transpose()?;
        let second = Mlp::new(&second, device, stream)?;
        let mut permutation: Vec<u32> = (0..shape.width as u32).collect();
        permutation.shuffle(stream);
        Self::from_parts(shape, first, second, permutation, device)
    }

    /// The block with its weights fixed.
    pub(crate) fn freeze(&self) -> Result<CouplingBlock<FrozenMlp>> {
        Ok(CouplingBlock {
            coupling: self.coupling,
            first_width: self.first_width,
            first: self.first.as_ref().map(Mlp::freeze).transpose()?,
            second: self.second.freeze()?,
            permutation: self.permutation.clone(),
            order: self.order.clone(),
            inverse_order: self.inverse_order.clone(),
        })
    }
}

impl<N: Network> CouplingBlock<N> {
    pub(crate) fn from_parts(
        shape: &BlockShape,
        first: Option<N>,
        second: N,
        permutation: Vec<u32>,
        device: &Device,
    ) -> Result<Self> {
        let mut inverse = vec![u32::MAX; permutation.len()];
        for (to, from) in permutation.iter().enumerate() {
            match inverse.get_mut(*from as usize) {
                Some(place) if *place == u32::MAX => *place = to as u32,
                _ => bail!("not a permutation: {permutation:?}"),
            }
        }
        if permutation.len() != shape.width {
            bail!("a permutation of {} variables, found {}", shape.width, permutation.len())
        }
        Ok(Self {
            coupling: shape.coupling,
            first_width: shape.halves().0,
            first,
            second,
            order: Tensor::new(permutation.as_slice(), device)?,
            inverse_order: Tensor::new(inverse.as_slice(), device)?,
            permutation,
        })
    }

    /// The new variables, (rows, width), and log |det J| of each row, (rows).
    ///
    /// * `x`: (rows, width), `f64`; `condition`: (rows, condition), `f32`, where the block has one
    ///
    /// # Errors
    /// Where the shapes disagree or the tensor library fails.
    pub fn forward(&self, x: &Tensor, condition: Option<&Tensor>) -> Result<(Tensor, Tensor)> {
        let (mut first, mut second) = self.split(x)?;
        let mut log_determinant = None;
        if let Some(subnet) = &self.first {
            let parameters = parameters(subnet, &second, condition)?;
            let (changed, log) = self.coupling.apply(&first, &parameters, Direction::Forward)?;
            (first, log_determinant) = (changed, Some(log));
        }
        let parameters = parameters(&self.second, &first, condition)?;
        let (changed, log) = self.coupling.apply(&second, &parameters, Direction::Forward)?;
        second = changed;
        let log_determinant = match log_determinant {
            Some(other) => (other + log)?,
            None => log,
        };
        Ok((self.join(first, second)?.index_select(&self.order, 1)?, log_determinant))
    }

    /// The variables that [`CouplingBlock::forward`] turns into `y`, (rows, width).
    ///
    /// # Errors
    /// As [`CouplingBlock::forward`].
    pub fn inverse(&self, y: &Tensor, condition: Option<&Tensor>) -> Result<Tensor> {
        // Before the permutation, which would drop surplus variables without a word.
        self.check_width(y)?;
        let (mut first, second) = self.split(&y.contiguous()?.index_select(&self.inverse_order, 1)?)?;
        let given = parameters(&self.second, &first, condition)?;
        let (second, _) = self.coupling.apply(&second, &given, Direction::Inverse)?;
        if let Some(subnet) = &self.first {
            let given = parameters(subnet, &second, condition)?;
            (first, _) = self.coupling.apply(&first, &given, Direction::Inverse)?;
        }
        self.join(first, second)
    }

    pub(super) fn check_width(&self, x: &Tensor) -> Result<usize> {
        let (_, width) = x.dims2()?;
        if width != self.permutation.len() {
            bail!("the block takes {} variables, found {width}", self.permutation.len())
        }
        Ok(width)
    }

    fn split(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let width = self.check_width(x)?;
        let first = x.narrow(1, 0, self.first_width)?.contiguous()?;
        Ok((first, x.narrow(1, self.first_width, width - self.first_width)?.contiguous()?))
    }

    fn join(&self, first: Tensor, second: Tensor) -> Result<Tensor> {
        if self.first_width == 0 { Ok(second) } else { Tensor::cat(&[first, second], 1) }
    }
}

/// What a subnet says of the half that it changes, `f32`; it sees the other half and the condition, and an empty
/// half is left out.
fn parameters<N: Network>(subnet: &N, half: &Tensor, condition: Option<&Tensor>) -> Result<Tensor> {
    let half = half.to_dtype(DType::F32)?;
    let seen = match condition {
        Some(condition) if half.dim(1)? == 0 => condition.clone(),
        Some(condition) => Tensor::cat(&[&half, condition], 1)?,
        None => half,
    };
    subnet.forward(&seen)
}
