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
        let (bends, scales) = bends_and_scales(raw, clamp);
        sums.iter_mut().zip(&bends).for_each(|(sum, bend)| *sum += bend * clamp);
        for ((x, scale), shift) in x.iter_mut().zip(&scales).zip(shift) {
            *x = *x * scale + f64::from(*shift);
        }
    }
    sums.iter().sum()
}

/// tanh(raw / c) and exp(c · tanh(raw / c)) of up to as many variables as there are lanes; 0 and 1 for those missing.
///
/// Arrays of one length, in which nothing else can lie, become vector code; a loop over all that a coupling reads and
/// writes does not.
#[inline(always)]
#[allow(clippy::inline_always, reason = "the caller's vector unit holds only for what is inlined into it")]
fn bends_and_scales(raw: &[f32], clamp: f64) -> ([f64; LANES], [f64; LANES]) {
    let (mut bends, mut scales) = ([0.0_f64; LANES], [0.0_f64; LANES]);
    bends.iter_mut().zip(raw).for_each(|(bend, raw)| *bend = f64::from(*raw));
    for (bend, scale) in bends.iter_mut().zip(&mut scales) {
        *bend = hyperbolic_tangent_f64(*bend / clamp);
        *scale = exponential_f64(*bend * clamp);
    }
    (bends, scales)
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
    let wanted = raw_gradient.chunks_mut(LANES).zip(shift_gradient.chunks_mut(LANES));
    let given = x.chunks(LANES).zip(parameters[..x.len()].chunks(LANES)).zip(gradient.chunks_mut(LANES));
    for (((x, raw), gradient), (raw_gradient, shift_gradient)) in given.zip(wanted) {
        let (bends, scales) = bends_and_scales(raw, clamp);
        for (wanted, gradient) in shift_gradient.iter_mut().zip(&*gradient) {
            *wanted = *gradient as f32;
        }
        let slopes = x.iter().zip(&*gradient).zip(bends.iter().zip(&scales));
        for (wanted, ((x, gradient), (bend, scale))) in raw_gradient.iter_mut().zip(slopes) {
            *wanted = ((gradient * x * scale + log_gradient) * (1.0 - bend * bend)) as f32;
        }
        gradient.iter_mut().zip(&scales).for_each(|(gradient, scale)| *gradient *= scale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn affine_couplings_have_the_bits_of_a_plain_loop_at_every_width() {
        let (clamp, log_gradient, rows) = (1.9, -0.25, 3);
        for columns in [1, 2, 5, 15, 16, 17, 33, 165] {
            let number = |index: usize| ((index * 37 + columns) % 41) as f64 / 8.0 - 2.5;
            let x: Vec<f64> = (0..rows * columns).map(number).collect();
            let parameters: Vec<f32> =
                (0..2 * rows * columns).map(|index| number(index + 7) as f32).collect();
            let gradient: Vec<f64> = (0..rows * columns).map(|index| number(index + 3)).collect();
            let pass = CouplingPass { coupling: Coupling::Affine { clamp }, columns };
            let (mut changed, mut log, mut pulled) = (x.clone(), vec![0.0; rows], gradient.clone());
            pass.forward(&mut changed, &parameters, &mut log);
            let of_parameters = pass.backward(&x, &parameters, &mut pulled, log_gradient);
            for (row, log) in log.iter().enumerate() {
                let mut sums = [0.0_f64; LANES];
                for column in 0..columns {
                    let (place, raw) = (row * columns + column, 2 * row * columns + column);
                    let bend = hyperbolic_tangent_f64(f64::from(parameters[raw]) / clamp);
                    let scale = exponential_f64(bend * clamp);
                    sums[column % LANES] += bend * clamp;
                    assert_eq!(changed[place], x[place] * scale + f64::from(parameters[raw + columns]));
                    assert_eq!(pulled[place], gradient[place] * scale);
                    let slope = (gradient[place] * x[place] * scale + log_gradient) * (1.0 - bend * bend);
                    assert_eq!(of_parameters[raw], slope as f32);
                    assert_eq!(of_parameters[raw + columns], gradient[place] as f32);
                }
                assert_eq!(*log, sums.iter().sum::<f64>());
            }
        }
    }
}
