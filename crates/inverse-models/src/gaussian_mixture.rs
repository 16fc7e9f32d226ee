//! Mixtures of Gaussians as a network's output: their likelihood and their samples (eq. 6 and 15).

use candle_core::Tensor;
use inverse_core::Stream;
use ndarray::{Array2, ArrayView1};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use crate::log_density::LOG_ROOT_TWO_PI;

/// The logarithm of L's diagonal stays inside ± this, by a hyperbolic tangent: a component that narrows onto
/// one training pair would make the likelihood infinite.
const LARGEST_LOG_DIAGONAL: f64 = 7.0;

/// Where the parts of a mixture lie in the network's output: logits of p, then μ, then log diagonals of L,
/// then its entries below the diagonal, row by row; each for all components.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MixtureLayout {
    pub(crate) components: usize,
    pub(crate) dim: usize,
}

impl MixtureLayout {
    pub(crate) fn new(components: usize, dim: usize) -> Self {
        Self { components, dim }
    }

    fn below(&self) -> usize {
        self.dim.saturating_mul(self.dim.saturating_sub(1)) / 2
    }

    pub(crate) fn outputs(&self) -> usize {
        // Saturating: a monstrous count is refused as a width, not here.
        let each = self.dim.saturating_mul(2).saturating_add(self.below()).saturating_add(1);
        self.components.saturating_mul(each)
    }

    /// Output biases that place the components apart: means at training designs, each far from those before
    /// it, and spreads such that the components together fill the space. From a common centre they would all
    /// learn the same average first, and a mixture of many modes seldom leaves it.
    pub(crate) fn spread_out(&self, designs: &Tensor, stream: &mut Stream) -> candle_core::Result<Vec<f32>> {
        let designs = designs.to_vec2::<f32>()?;
        let mut bias = vec![0.0; self.outputs()];
        let mut nearest = vec![f32::INFINITY; designs.len()];
        let mut chosen = stream.random_range(0..designs.len());
        for component in 0..self.components {
            let mean = &designs[chosen];
            let start = self.components + component * self.dim;
            bias[start..start + self.dim].copy_from_slice(mean);
            for (nearest, design) in nearest.iter_mut().zip(&designs) {
                let squares = design.iter().zip(mean).map(|(a, b)| (a - b) * (a - b));
                *nearest = nearest.min(squares.sum());
            }
            // k-means++: the next mean is drawn by its squared distance from those before.
            let mut rest = stream.random::<f32>() * nearest.iter().sum::<f32>();
            chosen = nearest
                .iter()
                .position(|square| {
                    rest -= square;
                    rest < 0.0
                })
                .unwrap_or(chosen);
        }
        let log_diagonal = (self.components as f32).ln() / self.dim as f32;
        let diagonals = self.components * (1 + self.dim)..self.components * (1 + 2 * self.dim);
        bias[diagonals].fill(log_diagonal);
        Ok(bias)
    }

    /// (row, column) of each entry below the diagonal.
    fn entries(&self) -> Vec<(usize, usize)> {
        self.entries_in_order().collect()
    }

    /// log Σ_k p_k |Σ_k⁻¹|^½ exp(−½ …) of each row, (rows): eq. 15 without its sign.
    ///
    /// * `output`: (rows, outputs), `x`: (rows, dim)
    pub(crate) fn log_likelihood(&self, output: &Tensor, x: &Tensor) -> candle_core::Result<Tensor> {
        let (rows, k, d) = (x.dim(0)?, self.components, self.dim);
        let part = |start: usize, width: usize| -> candle_core::Result<Tensor> {
            output.narrow(1, start * k, width * k)?.contiguous()?.reshape((rows * k, width))
        };
        let logits = output.narrow(1, 0, k)?.contiguous()?;
        let means = part(1, d)?;
        let log_diagonal = limited(&part(1 + d, d)?)?;
        let repeated = x.unsqueeze(1)?.broadcast_as((rows, k, d))?.contiguous()?.reshape((rows * k, d))?;
        let offset = (repeated - means)?;
        // Lᵀ (x − μ), column by column: the diagonal's share and that of the entries below it.
        let mut whitened = (&offset * log_diagonal.exp()?)?;
        if self.below() > 0 {
            let below = part(1 + 2 * d, self.below())?;
            let (gather, scatter) = self.incidence(x.device())?;
            whitened = (whitened + (below * offset.matmul(&gather)?)?.matmul(&scatter)?)?;
        }
        let square = (whitened.sqr()?.sum(1)? * 0.5)?;
        let component = (log_diagonal.sum(1)? - square)?.reshape((rows, k))?;
        let joint = (candle_nn::ops::log_softmax(&logits, 1)? + component)?;
        // log-sum-exp, with the largest term taken out first.
        let largest = joint.max_keepdim(1)?.detach();
        joint.broadcast_sub(&largest)?.exp()?.sum(1)?.log()? + largest.squeeze(1)?
    }

    /// The log-likelihood of one row, as [`MixtureLayout::log_likelihood`] has it; turns the network's output into
    /// `share` times its gradient.
    ///
    /// * `output`: (outputs), `x`: (dim)
    fn row_gradient(&self, output: &mut [f32], x: &[f32], share: f64) -> f64 {
        let (k, d, below) = (self.components, self.dim, self.below());
        let softened = |raw: f32| (f64::from(raw) / LARGEST_LOG_DIAGONAL).tanh();
        let mut whitened = vec![0.0; k * d];
        let mut joint = vec![0.0; k];
        let (logits, rest) = output.split_at_mut(k);
        let (means, rest) = rest.split_at_mut(k * d);
        let (diagonals, entries) = rest.split_at_mut(k * d);
        let log_sum = log_sum_exp(logits.iter().map(|logit| f64::from(*logit)));
        for component in 0..k {
            let own = component * d..(component + 1) * d;
            let (mean, whitened) = (&means[own.clone()], &mut whitened[own.clone()]);
            let offset = |index: usize| f64::from(x[index]) - f64::from(mean[index]);
            let mut log_density = f64::from(logits[component]) - log_sum;
            for (index, raw) in diagonals[own].iter().enumerate() {
                let log_diagonal = LARGEST_LOG_DIAGONAL * softened(*raw);
                whitened[index] = offset(index) * log_diagonal.exp();
                log_density += log_diagonal;
            }
            let factors = &entries[component * below..(component + 1) * below];
            for (factor, (row, column)) in factors.iter().zip(self.entries_in_order()) {
                whitened[column] += f64::from(*factor) * offset(row);
            }
            joint[component] = log_density - 0.5 * whitened.iter().map(|value| value * value).sum::<f64>();
        }
        let likelihood = log_sum_exp(joint.iter().copied());
        for component in 0..k {
            let own = component * d..(component + 1) * d;
            let (mean, whitened) = (&mut means[own.clone()], &whitened[own.clone()]);
            let offset: Vec<f64> =
                x.iter().zip(mean.iter()).map(|(x, mean)| f64::from(*x) - f64::from(*mean)).collect();
            let responsibility = share * (joint[component] - likelihood).exp();
            let prior = (f64::from(logits[component]) - log_sum).exp();
            logits[component] = (responsibility - share * prior) as f32;
            let mut of_offset = vec![0.0; d];
            for (index, raw) in diagonals[own].iter_mut().enumerate() {
                let bend = softened(*raw);
                let scale = (LARGEST_LOG_DIAGONAL * bend).exp();
                of_offset[index] = -responsibility * whitened[index] * scale;
                let of_logarithm = responsibility + of_offset[index] * offset[index];
                *raw = (of_logarithm * (1.0 - bend * bend)) as f32;
            }
            let factors = &mut entries[component * below..(component + 1) * below];
            for (factor, (row, column)) in factors.iter_mut().zip(self.entries_in_order()) {
                of_offset[row] -= responsibility * whitened[column] * f64::from(*factor);
                *factor = (-responsibility * whitened[column] * offset[row]) as f32;
            }
            mean.iter_mut().zip(&of_offset).for_each(|(mean, of)| *mean = -*of as f32);
        }
        likelihood
    }

    /// The mean negative log-likelihood of some rows; turns the network's output into its gradient.
    ///
    /// * `output`: (rows, outputs), `x`: (rows, dim), both in host memory
    pub(crate) fn host_loss(&self, output: &mut [f32], x: &[f32]) -> f64 {
        /// Rows a block: enough work for a thread to be worth waking.
        const BLOCK: usize = 16;
        let (outputs, rows) = (self.outputs(), x.len() / self.dim);
        let share = -1.0 / rows as f64;
        let blocks = output.par_chunks_mut(BLOCK * outputs).zip(x.par_chunks(BLOCK * self.dim));
        let sums: Vec<f64> = blocks
            .map(|(output, x)| {
                let rows = output.chunks_exact_mut(outputs).zip(x.chunks_exact(self.dim));
                rows.map(|(output, x)| self.row_gradient(output, x, share)).sum()
            })
            .collect();
        share * sums.iter().sum::<f64>()
    }

    fn entries_in_order(&self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.dim).flat_map(|row| (0..row).map(move |column| (row, column)))
    }

    /// (dim, below) that picks x_row for each entry, and (below, dim) that adds it to its column.
    fn incidence(&self, device: &candle_core::Device) -> candle_core::Result<(Tensor, Tensor)> {
        let (d, entries) = (self.dim, self.entries());
        let mut gather = vec![0.0_f32; d * entries.len()];
        let mut scatter = vec![0.0_f32; entries.len() * d];
        for (index, (row, column)) in entries.iter().enumerate() {
            gather[row * entries.len() + index] = 1.0;
            scatter[index * d + column] = 1.0;
        }
        let count = entries.len();
        Ok((Tensor::from_vec(gather, (d, count), device)?, Tensor::from_vec(scatter, (count, d), device)?))
    }

    /// The mixture in one row of the network's output.
    pub(crate) fn mixture(&self, output: ArrayView1<'_, f64>) -> Mixture {
        let (k, d) = (self.components, self.dim);
        let largest = output.iter().take(k).copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = output.iter().take(k).map(|logit| (logit - largest).exp()).collect();
        let at = |start: usize, width: usize, component: usize, index: usize| {
            output[start * k + component * width + index]
        };
        let components = (0..k)
            .map(|component| {
                let mut factor = Array2::zeros((d, d));
                for index in 0..d {
                    let raw = at(1 + d, d, component, index);
                    let limited = LARGEST_LOG_DIAGONAL * (raw / LARGEST_LOG_DIAGONAL).tanh();
                    factor[[index, index]] = limited.exp();
                }
                for (index, (row, column)) in self.entries().into_iter().enumerate() {
                    factor[[row, column]] = at(1 + 2 * d, self.below(), component, index);
                }
                ((0..d).map(|index| at(1, d, component, index)).collect(), factor)
            })
            .collect();
        Mixture { weights, components }
    }
}

/// log Σ exp, with the largest term taken out first.
fn log_sum_exp(terms: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = terms.clone().fold(f64::NEG_INFINITY, f64::max);
    // `max` passes NaN over.
    if largest == f64::NEG_INFINITY && !terms.clone().any(f64::is_nan) {
        return largest;
    }
    largest + terms.map(|term| (term - largest).exp()).sum::<f64>().ln()
}

/// The logarithm of the diagonal, from the network's output.
fn limited(raw: &Tensor) -> candle_core::Result<Tensor> {
    (raw / LARGEST_LOG_DIAGONAL)?.tanh()? * LARGEST_LOG_DIAGONAL
}

/// One mixture of Gaussians, in standardised units.
pub(crate) struct Mixture {
    /// Not normalised.
    pub(crate) weights: Vec<f64>,
    /// μ and L of each component.
    pub(crate) components: Vec<(Vec<f64>, Array2<f64>)>,
}

impl Mixture {
    /// log Σ_k p_k N(x; μ_k, (L_k L_kᵀ)⁻¹), constants included.
    ///
    /// * `x`: (dim)
    pub(crate) fn log_density(&self, x: ArrayView1<'_, f64>) -> f64 {
        let log_sum = self.weights.iter().sum::<f64>().ln();
        let joint: Vec<f64> = (self.weights.iter().zip(&self.components))
            .map(|(weight, (mean, factor))| {
                // Lᵀ (x − μ): sums of one order on every machine, which products of ndarray do not promise.
                let whitened = factor.columns().into_iter().map(|column| -> f64 {
                    let terms = column.into_iter().zip(x).zip(mean);
                    terms.map(|((entry, x), mean)| entry * (x - mean)).sum()
                });
                let square: f64 = whitened.map(|value| value * value).sum();
                let log_determinant: f64 = factor.diag().iter().map(|entry| entry.ln()).sum();
                weight.ln() - log_sum + log_determinant - 0.5 * square
            })
            .collect();
        log_sum_exp(joint.iter().copied()) - x.len() as f64 * LOG_ROOT_TWO_PI
    }

    /// One draw: x = μ + L⁻ᵀ ε, whose covariance is (L Lᵀ)⁻¹.
    pub(crate) fn sample(&self, stream: &mut Stream) -> Vec<f64> {
        let mut rest = stream.random::<f64>() * self.weights.iter().sum::<f64>();
        let mut chosen = 0;
        for (index, weight) in self.weights.iter().enumerate() {
            chosen = index;
            rest -= weight;
            if rest < 0.0 {
                break;
            }
        }
        let (mean, factor) = &self.components[chosen];
        let mut draw: Vec<f64> = mean.iter().map(|_| StandardNormal.sample(stream)).collect();
        for row in (0..draw.len()).rev() {
            let known: f64 = (row + 1..draw.len()).map(|column| factor[[column, row]] * draw[column]).sum();
            draw[row] = (draw[row] - known) / factor[[row, row]];
        }
        draw.iter().zip(mean).map(|(offset, mean)| mean + offset).collect()
    }
}
