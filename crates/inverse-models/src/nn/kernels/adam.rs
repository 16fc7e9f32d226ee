//! One Adam step over all parameters in a single pass.

use rayon::prelude::*;

use crate::nn::optimizer::AdamStep;

/// Values a parallel block: large enough that starting a task costs nothing beside it.
const BLOCK: usize = 1 << 15;

/// Updates parameters and moments in place; each value depends on its own index alone.
pub(crate) fn adam_step(
    step: &AdamStep,
    parameters: &mut [f32],
    gradient: &[f32],
    first: &mut [f32],
    second: &mut [f32],
) {
    let blocks = parameters.par_chunks_mut(BLOCK).zip(gradient.par_chunks(BLOCK));
    let moments = first.par_chunks_mut(BLOCK).zip(second.par_chunks_mut(BLOCK));
    blocks.zip(moments).for_each(|((parameters, gradient), (first, second))| {
        let values = parameters.iter_mut().zip(gradient).zip(first.iter_mut().zip(second));
        for ((parameter, gradient), (first, second)) in values {
            // `clamp` keeps NaN: a diverged training must not look healthy.
            let gradient = gradient.clamp(-step.limit, step.limit) + step.l2 * *parameter;
            *first = step.beta1 * *first + (1.0 - step.beta1) * gradient;
            *second = step.beta2 * *second + (1.0 - step.beta2) * gradient * gradient;
            let denominator = (*second * step.second_correction).sqrt() + step.epsilon;
            *parameter -= step.learning_rate * step.first_correction * *first / denominator;
        }
    });
}
