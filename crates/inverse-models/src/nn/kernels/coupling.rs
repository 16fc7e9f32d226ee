//! What a coupling does to the variables that it changes, and its derivative by hand, a row at a time.

use rayon::prelude::*;

use super::TRAINING_BLOCK;
use super::spline::{Direction, Spline};
use super::vector_unit::{LANES, exponential_f64, hyperbolic_tangent_f64, vectorized};
use crate::nn::Coupling;

/// A coupling of `columns` variables a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CouplingPass {
    pub(crate) coupling: Coupling,
    pub(crate) columns: usize,
}

impl CouplingPass {
    fn parameters(self) -> usize {
        self.columns * self.coupling.parameters()
    }

    /// Changes x, (rows, columns), in place and adds log |∂ new / ∂ old| of each row to `log`, (rows).
    ///
    /// * `parameters`: (rows, columns · parameters a variable), as the subnet gives them
    pub(crate) fn forward(self, x: &mut [f64], parameters: &[f32], log: &mut [f64]) {
        self.rows_mut(x, parameters).zip(log.par_chunks_mut(TRAINING_BLOCK)).for_each(
            |((x, parameters), log)| {
                let rows = x.chunks_exact_mut(self.columns).zip(parameters.chunks_exact(self.parameters()));
                match self.coupling {
                    Coupling::Affine { clamp } => vectorized(
                        #[inline(always)]
                        || {
                            for ((x, parameters), log) in rows.zip(log) {
                                *log += affine(x, parameters, clamp);
                            }
                        },
                    ),
                    Coupling::Spline { bins, bound } => {
                        let mut spline = Spline::new(bins, bound, Direction::Forward);
                        for ((x, parameters), log) in rows.zip(log) {
                            for (x, parameters) in x.iter_mut().zip(parameters.chunks_exact(3 * bins - 1)) {
                                let transformed = spline.transform(*x, parameters);
                                *x = transformed.value;
                                *log += transformed.log_slope;
                            }
                        }
                    }
                }
            },
        );
    }

    /// Undoes [`CouplingPass::forward`] in place.
    pub(crate) fn inverse(self, y: &mut [f64], parameters: &[f32]) {
        self.rows_mut(y, parameters).for_each(|(y, parameters)| {
            let rows = y.chunks_exact_mut(self.columns).zip(parameters.chunks_exact(self.parameters()));
            match self.coupling {
                Coupling::Affine { clamp } => vectorized(
                    #[inline(always)]
                    || {
                        for (y, parameters) in rows {
                            let (raw, shift) = parameters.split_at(y.len());
                            for ((y, raw), shift) in y.iter_mut().zip(raw).zip(shift) {
                                let log_scale = hyperbolic_tangent_f64(f64::from(*raw) / clamp) * clamp;
                                *y = (*y - f64::from(*shift)) * exponential_f64(-log_scale);
                            }
                        }
                    },
                ),
                Coupling::Spline { bins, bound } => {
                    let mut spline = Spline::new(bins, bound, Direction::Inverse);
                    for (y, parameters) in rows {
                        for (y, parameters) in y.iter_mut().zip(parameters.chunks_exact(3 * bins - 1)) {
                            *y = spline.transform(*y, parameters).value;
                        }
                    }
                }
            }
        });
    }

    /// Turns the gradient of the changed variables into that of the old ones, in place, and gives that of the
    /// parameters.
    ///
    /// * `x`: the old variables; `log_gradient`: that of every row's log-determinant
    pub(crate) fn backward(
        self,
        x: &[f64],
        parameters: &[f32],
        gradient: &mut [f64],
        log_gradient: f64,
    ) -> Vec<f32> {
        let mut parameter_gradient = vec![0.0; parameters.len()];
        let blocks = parameter_gradient.par_chunks_mut(TRAINING_BLOCK * self.parameters());
        let x = x.par_chunks(TRAINING_BLOCK * self.columns);
        self.rows_mut(gradient, parameters).zip(x).zip(blocks).for_each(
            |(((gradient, parameters), x), parameter_gradient)| {
                let rows = gradient.chunks_exact_mut(self.columns).zip(x.chunks_exact(self.columns));
                let given = parameters.chunks_exact(self.parameters());
                let wanted = parameter_gradient.chunks_exact_mut(self.parameters());
                match self.coupling {
                    Coupling::Affine { clamp } => vectorized(
                        #[inline(always)]
                        || {
                            for (((gradient, x), given), wanted) in rows.zip(given).zip(wanted) {
                                affine_backward(x, given, clamp, gradient, log_gradient, wanted);
                            }
                        },
                    ),
                    Coupling::Spline { bins, bound } => {
                        let mut spline = Spline::new(bins, bound, Direction::Forward);
                        let each = 3 * bins - 1;
                        let mut of_raw = vec![0.0; each];
                        for (((gradient, x), given), wanted) in rows.zip(given).zip(wanted) {
                            let given = given.chunks_exact(each).zip(wanted.chunks_exact_mut(each));
                            for ((gradient, x), (given, wanted)) in gradient.iter_mut().zip(x).zip(given) {
                                let of = (*gradient, log_gradient);
                                *gradient = spline.pull_back(*x, given, of, &mut of_raw);
                                for (wanted, value) in wanted.iter_mut().zip(&of_raw) {
                                    *wanted = *value as f32;
                                }
                            }
                        }
                    }
                }
            },
        );
        parameter_gradient
    }

    fn rows_mut<'a>(
        self,
        x: &'a mut [f64],
        parameters: &'a [f32],
    ) -> impl IndexedParallelIterator<Item = (&'a mut [f64], &'a [f32])> {
        let parameters = parameters.par_chunks(TRAINING_BLOCK * self.parameters());
        x.par_chunks_mut(TRAINING_BLOCK * self.columns).zip(parameters)
    }
}

/// x ← x · exp(s) + t with s = c · tanh(raw / c); gives Σ s.
#[inline(always)]
#[allow(clippy::inline_always, reason = "the caller's vector unit holds only for what is inlined into it")]
fn affine(x: &mut [f64], parameters: &[f32], clamp: f64) -> f64 {
    let (raw, shift) = parameters.split_at(x.len());
    let mut sums = [0.0_f64; LANES];
    for ((x, raw), shift) in x.chunks_mut(LANES).zip(raw.chunks(LANES)).zip(shift.chunks(LANES)) {
        for (((x, raw), shift), sum) in x.iter_mut().zip(raw).zip(shift).zip(&mut sums) {
            let log_scale = hyperbolic_tangent_f64(f64::from(*raw) / clamp) * clamp;
            *x = *x * exponential_f64(log_scale) + f64::from(*shift);
            *sum += log_scale;
        }
    }
    sums.iter().sum()
}

#[inline(always)]
#[allow(clippy::inline_always, reason = "the caller's vector unit holds only for what is inlined into it")]
fn affine_backward(
    x: &[f64],
    parameters: &[f32],
    clamp: f64,
    gradient: &mut [f64],
    log_gradient: f64,
    parameter_gradient: &mut [f32],
) {
    let (raw_gradient, shift_gradient) = parameter_gradient.split_at_mut(x.len());
    let wanted = raw_gradient.iter_mut().zip(shift_gradient);
    for (((x, raw), gradient), (raw_gradient, shift_gradient)) in
        x.iter().zip(parameters).zip(gradient).zip(wanted)
    {
        let bend = hyperbolic_tangent_f64(f64::from(*raw) / clamp);
        let scale = exponential_f64(bend * clamp);
        *shift_gradient = *gradient as f32;
        *raw_gradient = ((*gradient * x * scale + log_gradient) * (1.0 - bend * bend)) as f32;
        *gradient *= scale;
    }
}
