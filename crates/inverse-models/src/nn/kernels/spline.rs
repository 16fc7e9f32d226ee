//! One monotone rational-quadratic spline: value, inverse and derivative by hand (Durkan et al. 2019).

use super::vector_unit::{exponential_f64, vectorized};
use crate::nn::spline::{LEAST_SHARE, LEAST_SLOPE};

/// Number of bins, and half the width of the interval that they cover.
#[derive(Debug, Clone, Copy)]
pub(super) struct SplineShape {
    pub(super) bins: usize,
    pub(super) bound: f64,
}

/// A spline's buffers, used for one variable after another.
pub(super) struct Spline {
    shape: SplineShape,
    /// Softmax of the raw widths and heights.
    widths: Vec<f64>,
    heights: Vec<f64>,
    /// The shift that makes a slope of 1 of a raw 0.
    shift: f64,
}

/// The bin in which a value lies.
#[derive(Clone, Copy)]
struct Bin {
    index: usize,
    x: f64,
    y: f64,
    width: f64,
    height: f64,
    left: f64,
    right: f64,
}

/// What value and slope at one place of a bin are made of.
#[derive(Clone, Copy)]
struct Place {
    /// Share of the bin's width that lies left of it, θ.
    position: f64,
    /// θ (1 − θ).
    mixed: f64,
    secant: f64,
    curvature: f64,
    denominator: f64,
    numerator: f64,
    /// The slope's numerator over the square of the secant.
    ends: f64,
}

impl Spline {
    pub(super) fn new(shape: SplineShape) -> Self {
        let zeros = vec![0.0; shape.bins];
        let shift = (1.0 - LEAST_SLOPE).exp_m1().ln();
        Self { shape, widths: zeros.clone(), heights: zeros, shift }
    }

    /// y and log dy/dx.
    ///
    /// * `parameters`: raw widths, heights and inner slopes, (3 · bins − 1)
    pub(super) fn forward(&mut self, x: f64, parameters: &[f32]) -> (f64, f64) {
        if !self.holds(x) {
            return (x, 0.0);
        }
        let bin = self.bin(x, parameters, false);
        let place = bin.at((x - bin.x) / bin.width);
        (bin.y + bin.height * place.numerator / place.denominator, place.log_slope())
    }

    /// The x whose value is y.
    pub(super) fn inverse(&mut self, y: f64, parameters: &[f32]) -> f64 {
        if !self.holds(y) {
            return y;
        }
        let bin = self.bin(y, parameters, true);
        let secant = bin.height / bin.width;
        let curvature = bin.left + bin.right - 2.0 * secant;
        let offset = y - bin.y;
        // The quadratic equation of the position, solved without cancellation (their eq. 6 to 8).
        let a = bin.height * (secant - bin.left) + offset * curvature;
        let b = bin.height * bin.left - offset * curvature;
        let c = -secant * offset;
        let root = (b * b - 4.0 * a * c).max(0.0).sqrt();
        bin.x + (2.0 * c / (-b - root)).clamp(0.0, 1.0) * bin.width
    }

    /// The gradient of x, given that of y and of the log slope; writes that of the parameters.
    pub(super) fn backward(
        &mut self,
        x: f64,
        parameters: &[f32],
        gradient: f64,
        log_gradient: f64,
        parameter_gradient: &mut [f32],
    ) -> f64 {
        parameter_gradient.fill(0.0);
        if !self.holds(x) {
            return gradient;
        }
        let bin = self.bin(x, parameters, false);
        let place = bin.at((x - bin.x) / bin.width);
        let of = place.pull_back(&bin, gradient, log_gradient);
        let SplineShape { bins, bound } = self.shape;
        let (widths, rest) = parameter_gradient.split_at_mut(bins);
        let (heights, slopes) = rest.split_at_mut(bins);
        let scale = 2.0 * bound * (1.0 - LEAST_SHARE * bins as f64);
        shares_backward(&self.widths, bin.index, (of.x * scale, of.width * scale), widths);
        shares_backward(&self.heights, bin.index, (of.y * scale, of.height * scale), heights);
        let raw = &parameters[2 * bins..];
        for (knot, of_slope) in [(bin.index, of.left), (bin.index + 1, of.right)] {
            // The slopes at both ends are 1, whatever the parameters say.
            if (1..bins).contains(&knot) {
                let z = f64::from(raw[knot - 1]) + self.shift;
                slopes[knot - 1] = (of_slope / (1.0 + (-z).exp())) as f32;
            }
        }
        of.value
    }

    /// Whether the spline acts there; NaN passes through as the identity's.
    fn holds(&self, value: f64) -> bool {
        value.abs() < self.shape.bound
    }

    fn bin(&mut self, value: f64, parameters: &[f32], inverse: bool) -> Bin {
        let SplineShape { bins, bound } = self.shape;
        softmax(&parameters[..bins], &mut self.widths);
        softmax(&parameters[bins..2 * bins], &mut self.heights);
        let span = 2.0 * bound;
        let share = |probability: f64| span * (probability * (1.0 - LEAST_SHARE * bins as f64) + LEAST_SHARE);
        let (mut x, mut y, mut index) = (-bound, -bound, 0);
        let (mut width, mut height) = (share(self.widths[0]), share(self.heights[0]));
        while index + 1 < bins {
            let end = if inverse { y + height } else { x + width };
            // Written so that NaN stays in the first bin and makes its value NaN.
            if !(value >= end) {
                break;
            }
            (x, y, index) = (x + width, y + height, index + 1);
            (width, height) = (share(self.widths[index]), share(self.heights[index]));
        }
        let raw = &parameters[2 * bins..];
        let slope = |knot: usize| {
            if (1..bins).contains(&knot) {
                let z = f64::from(raw[knot - 1]) + self.shift;
                z.max(0.0) + (-z.abs()).exp().ln_1p() + LEAST_SLOPE
            } else {
                1.0
            }
        };
        Bin { index, x, y, width, height, left: slope(index), right: slope(index + 1) }
    }
}

/// Gradients of what [`Bin`] holds, and of the value that lies in it.
struct BinGradient {
    value: f64,
    x: f64,
    y: f64,
    width: f64,
    height: f64,
    left: f64,
    right: f64,
}

impl Bin {
    fn at(&self, position: f64) -> Place {
        let rest = 1.0 - position;
        let mixed = position * rest;
        let secant = self.height / self.width;
        let curvature = self.left + self.right - 2.0 * secant;
        Place {
            position,
            mixed,
            secant,
            curvature,
            denominator: secant + curvature * mixed,
            numerator: secant * position * position + self.left * mixed,
            ends: self.right * position * position + 2.0 * secant * mixed + self.left * rest * rest,
        }
    }
}

impl Place {
    /// Their eq. 5.
    fn log_slope(&self) -> f64 {
        (self.secant * self.secant * self.ends / (self.denominator * self.denominator)).ln()
    }

    /// The chain rule through [`Spline::forward`], line by line from its end.
    fn pull_back(&self, bin: &Bin, gradient: f64, log_gradient: f64) -> BinGradient {
        let Self { position, mixed, secant, curvature, denominator, numerator, ends } = *self;
        let rest = 1.0 - position;
        let of_numerator = gradient * bin.height / denominator;
        let of_denominator = -of_numerator * numerator / denominator - 2.0 * log_gradient / denominator;
        let of_ends = log_gradient / ends;
        let of_curvature = of_denominator * mixed;
        let of_mixed = of_denominator * curvature + of_numerator * bin.left + of_ends * 2.0 * secant;
        let of_secant = 2.0 * log_gradient / secant
            + of_denominator
            + of_numerator * position * position
            + of_ends * 2.0 * mixed
            - 2.0 * of_curvature;
        let of_position = of_numerator * 2.0 * secant * position
            + of_ends * 2.0 * (bin.right * position - bin.left * rest)
            + of_mixed * (1.0 - 2.0 * position);
        let of_value = of_position / bin.width;
        BinGradient {
            value: of_value,
            x: -of_value,
            y: gradient,
            width: -(of_secant * secant + of_position * position) / bin.width,
            height: gradient * numerator / denominator + of_secant / bin.width,
            left: of_numerator * mixed + of_ends * rest * rest + of_curvature,
            right: of_ends * position * position + of_curvature,
        }
    }
}

/// The gradient of raw widths (or heights), of which `probabilities` are the softmax: the bins below `index` move its
/// left end, it itself its size.
fn shares_backward(probabilities: &[f64], index: usize, (of_end, of_size): (f64, f64), gradient: &mut [f32]) {
    let below: f64 = probabilities[..index].iter().sum();
    let mean = below * of_end + probabilities[index] * of_size;
    for (bin, (gradient, probability)) in gradient.iter_mut().zip(probabilities).enumerate() {
        let of_share = match bin.cmp(&index) {
            std::cmp::Ordering::Less => of_end,
            std::cmp::Ordering::Equal => of_size,
            std::cmp::Ordering::Greater => 0.0,
        };
        *gradient = (probability * (of_share - mean)) as f32;
    }
}

fn softmax(raw: &[f32], probabilities: &mut [f64]) {
    vectorized(
        #[inline(always)]
        || {
            let largest = raw.iter().fold(f32::NEG_INFINITY, |largest, value| largest.max(*value));
            let mut sum = 0.0;
            for (probability, raw) in probabilities.iter_mut().zip(raw) {
                *probability = exponential_f64(f64::from(*raw) - f64::from(largest));
            }
            for probability in probabilities.iter() {
                sum += probability;
            }
            for probability in probabilities {
                *probability /= sum;
            }
        },
    );
}
