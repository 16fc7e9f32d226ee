//! Adam (Kingma and Ba 2014) with an L2 term.

use std::sync::Mutex;

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor, Var, bail};

use super::kernels::adam_step;

/// Decay rates of the moments, and the number that keeps the division finite; the authors keep the defaults.
const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// How far and under which rules a step goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UpdateRule {
    /// Learning rate.
    pub(crate) rate: f64,
    /// Weight of the L2 term: added to the gradient, as the paper's Adam does, not decoupled from it.
    pub(crate) l2: f64,
    /// Each entry of the gradient is cut to ± this before the L2 term is added.
    pub(crate) limit: Option<f64>,
}

/// The numbers of one step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdamStep {
    pub(crate) learning_rate: f32,
    pub(crate) l2: f32,
    /// Infinite where gradients are not cut.
    pub(crate) limit: f32,
    pub(crate) beta1: f32,
    pub(crate) beta2: f32,
    pub(crate) epsilon: f32,
    /// 1 / (1 − β₁ᵗ).
    pub(crate) first_correction: f32,
    /// 1 / (1 − β₂ᵗ).
    pub(crate) second_correction: f32,
}

impl AdamStep {
    /// Step number `count`, from 1.
    pub(crate) fn new(count: u64, rule: &UpdateRule) -> Self {
        let steps = count.min(1 << 30) as i32;
        Self {
            learning_rate: rule.rate as f32,
            l2: rule.l2 as f32,
            limit: rule.limit.map_or(f32::INFINITY, |limit| limit as f32),
            beta1: BETA1 as f32,
            beta2: BETA2 as f32,
            epsilon: EPSILON as f32,
            first_correction: (1.0 / (1.0 - BETA1.powi(steps))) as f32,
            second_correction: (1.0 / (1.0 - BETA2.powi(steps))) as f32,
        }
    }
}

/// The optimiser of one flat vector of parameters.
#[derive(Debug)]
pub(crate) struct Adam {
    count: u64,
    moments: Moments,
}

/// First and second moments of the gradient, beside the parameters they belong to.
#[derive(Debug)]
enum Moments {
    Host {
        first: Vec<f32>,
        second: Vec<f32>,
    },
    #[cfg(feature = "cuda")]
    Cuda(super::kernels::cuda::CudaMoments),
}

impl Adam {
    /// Moments of zero beside `parameters`.
    pub(crate) fn new(parameters: &Var) -> Result<Self> {
        let zeros = parameters.zeros_like()?;
        Self::resume(0, &zeros, &zeros)
    }

    /// Goes on from a saved state; see [`Adam::state`].
    pub(crate) fn resume(count: u64, first: &Tensor, second: &Tensor) -> Result<Self> {
        let moments = match first.device() {
            candle_core::Device::Cpu => Moments::Host { first: first.to_vec1()?, second: second.to_vec1()? },
            #[cfg(feature = "cuda")]
            candle_core::Device::Cuda(_) => {
                Moments::Cuda(super::kernels::cuda::CudaMoments::new(first, second)?)
            }
            other => bail!("there is no Adam for {:?}", other.location()),
        };
        Ok(Self { count, moments })
    }

    /// Number of steps taken.
    pub(crate) fn steps(&self) -> u64 {
        self.count
    }

    /// Number of steps taken, first and second moment: the whole state.
    ///
    /// The moments lie in host memory, wherever the parameters do.
    pub(crate) fn state(&self) -> Result<(u64, Tensor, Tensor)> {
        let host = |values: &[f32]| Tensor::new(values, &candle_core::Device::Cpu);
        let (first, second) = match &self.moments {
            Moments::Host { first, second } => (host(first)?, host(second)?),
            #[cfg(feature = "cuda")]
            Moments::Cuda(moments) => moments.state()?,
        };
        Ok((self.count, first, second))
    }

    /// Moves the parameters against the gradient.
    pub(crate) fn step(&mut self, parameters: &Var, gradient: &Tensor, rule: &UpdateRule) -> Result<()> {
        self.count += 1;
        let step = AdamStep::new(self.count, rule);
        match &mut self.moments {
            Moments::Host { first, second } => {
                let update = HostUpdate { step, moments: Mutex::new((first, second)) };
                parameters.inplace_op2(&gradient.contiguous()?, &update)
            }
            #[cfg(feature = "cuda")]
            Moments::Cuda(moments) => moments.step(parameters, gradient, step),
        }
    }
}

/// The fused update of parameters and moments in host memory.
struct HostUpdate<'a> {
    step: AdamStep,
    moments: Mutex<(&'a mut Vec<f32>, &'a mut Vec<f32>)>,
}

impl InplaceOp2 for HostUpdate<'_> {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn cpu_fwd(
        &self,
        parameters: &mut CpuStorage,
        parameter_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> Result<()> {
        let (CpuStorage::F32(parameters), CpuStorage::F32(gradient)) = (parameters, gradient) else {
            bail!("adam works on f32")
        };
        let (Some((start, end)), Some((gradient_start, gradient_end))) =
            (parameter_layout.contiguous_offsets(), gradient_layout.contiguous_offsets())
        else {
            bail!("adam works on contiguous tensors")
        };
        let Ok(mut moments) = self.moments.lock() else { bail!("an earlier step failed") };
        let (first, second) = &mut *moments;
        let (parameters, gradient) = (&mut parameters[start..end], &gradient[gradient_start..gradient_end]);
        let counts = [gradient.len(), first.len(), second.len()];
        if counts.iter().any(|count| *count != parameters.len()) {
            bail!("{} parameters, their gradient and moments {counts:?}", parameters.len())
        }
        adam_step(&self.step, parameters, gradient, first, second);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;
    use candle_core::Device;

    use super::*;

    /// The algorithm as published, in f64, with the L2 term added to the gradient.
    fn published(mut parameter: f64, gradients: &[f64], rule: &UpdateRule) -> f64 {
        let UpdateRule { rate, l2, limit } = *rule;
        let (mut first, mut second) = (0.0, 0.0);
        for (index, gradient) in gradients.iter().enumerate() {
            let limit = limit.unwrap_or(f64::INFINITY);
            let gradient = gradient.clamp(-limit, limit) + l2 * parameter;
            first = BETA1 * first + (1.0 - BETA1) * gradient;
            second = BETA2 * second + (1.0 - BETA2) * gradient * gradient;
            let count = index as i32 + 1;
            let corrected = second / (1.0 - BETA2.powi(count));
            parameter -= rate * first / (1.0 - BETA1.powi(count)) / (corrected.sqrt() + EPSILON);
        }
        parameter
    }

    #[test]
    fn steps_match_the_published_algorithm() {
        for limit in [None, Some(0.8)] {
            follows_the_published_algorithm(&UpdateRule { rate: 0.01, l2: 0.1, limit });
        }
    }

    fn follows_the_published_algorithm(rule: &UpdateRule) {
        let start = [1.0_f32, -2.0, 0.5];
        let gradients = [[0.3, -1.0, 0.0], [0.1, 2.0, 1e-4], [-0.7, 0.5, 3.0]];
        let parameters = Var::new(&start, &Device::Cpu).unwrap();
        let mut adam = Adam::new(&parameters).unwrap();
        for gradient in &gradients {
            let gradient = Tensor::new(&gradient.map(|g| g as f32), &Device::Cpu).unwrap();
            adam.step(&parameters, &gradient, rule).unwrap();
            let (count, first, second) = adam.state().unwrap();
            adam = Adam::resume(count, &first, &second).unwrap();
        }
        let ours = parameters.to_vec1::<f32>().unwrap();
        for index in 0..3 {
            let own: Vec<f64> = gradients.iter().map(|gradient| gradient[index]).collect();
            let expected = published(f64::from(start[index]), &own, rule);
            assert_relative_eq!(f64::from(ours[index]), expected, max_relative = 1e-5);
        }
    }
}
