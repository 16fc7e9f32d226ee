//! One Adam step over all parameters in a single pass.

use rayon::prelude::*;

use super::vector_unit::{flush, vectorized};
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
        update_block(step, parameters, gradient, first, second);
    });
}

/// One block of [`adam_step`]; a profile shows it by its name.
#[inline(never)]
fn update_block(
    step: &AdamStep,
    parameters: &mut [f32],
    gradient: &[f32],
    first: &mut [f32],
    second: &mut [f32],
) {
    vectorized(
        #[inline(always)]
        || update_values(step, parameters, gradient, first, second),
    );
}

/// Written without branches so that the loop becomes vector code.
#[inline(always)]
#[allow(clippy::inline_always, reason = "the caller's vector unit holds only for what is inlined into it")]
fn update_values(
    step: &AdamStep,
    parameters: &mut [f32],
    gradient: &[f32],
    first: &mut [f32],
    second: &mut [f32],
) {
    let rate = step.learning_rate * step.first_correction;
    let values = parameters.iter_mut().zip(gradient).zip(first.iter_mut().zip(second));
    // The moments of a unit that ReLU has switched off shrink by a constant factor a step until they would be subnormal;
    // L2 does the same to that unit's weights.
    for ((parameter, &gradient), (first, second)) in values {
        // Selected so that NaN stays NaN: a diverged training must not look healthy.
        let capped = if gradient > step.limit { step.limit } else { gradient };
        let capped = if capped < -step.limit { -step.limit } else { capped };
        let gradient = capped + step.l2 * *parameter;
        *first = flush(step.beta1 * *first + (1.0 - step.beta1) * gradient);
        *second = flush(step.beta2 * *second + (1.0 - step.beta2) * gradient * gradient);
        let denominator = (*second * step.second_correction).sqrt() + step.epsilon;
        *parameter = flush(*parameter - rate * *first / denominator);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::optimizer::UpdateRule;

    #[test]
    fn moments_without_a_gradient_end_at_zero_and_nan_stays() {
        let rule = UpdateRule { rate: 1e-3, l2: 0.0, limit: None };
        let (mut parameters, mut first, mut second) = ([1.0_f32; 2], [0.0; 2], [0.0; 2]);
        let mut gradient = [1.0, f32::NAN];
        // 0.9 to the power of 900 and 0.999 to that of 100,000 are below the smallest normal number, 1.2e-38.
        for count in 1..=100_000 {
            adam_step(&AdamStep::new(count, &rule), &mut parameters, &gradient, &mut first, &mut second);
            gradient[0] = 0.0;
            assert!(!first[0].is_subnormal() && !second[0].is_subnormal(), "step {count}");
        }
        assert_eq!((first[0], second[0]), (0.0, 0.0));
        assert!(parameters[0].is_finite() && parameters[1].is_nan());
    }

    #[test]
    fn a_parameter_below_the_normal_numbers_becomes_zero() {
        let step = AdamStep::new(1, &UpdateRule { rate: 0.0, l2: 0.0, limit: None });
        let mut parameters = [1.0e-39_f32, -1.0e-39, f32::MIN_POSITIVE];
        adam_step(&step, &mut parameters, &[0.0; 3], &mut [0.0; 3], &mut [0.0; 3]);
        assert_eq!(parameters, [0.0, 0.0, f32::MIN_POSITIVE]);
    }
}
