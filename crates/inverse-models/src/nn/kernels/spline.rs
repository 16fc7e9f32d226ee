//! Monotone rational-quadratic splines (Durkan et al. 2019, "Neural Spline Flows", section 3.1), one variable at a
//! time, and their derivatives.

use super::vector_unit::{exponential_f64, vectorized};

/// Least share of the interval that a bin covers, and least slope at a knot: they keep the inverse stable.
pub(crate) const LEAST_SHARE: f64 = 1e-3;
pub(crate) const LEAST_SLOPE: f64 = 1e-3;

/// Which way a transform runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Forward,
    Inverse,
}

/// A transformed value and the log of its slope.
pub(crate) struct Transformed {
    pub(crate) value: f64,
    pub(crate) log_slope: f64,
}

/// Splines of one shape; the parameters say where the knots lie. Keeps what one spline needs from call to call.
///
/// Parameters of a variable: the widths and the heights of the bins and the slopes at the inner knots, before they are
/// made positive; 3 · bins − 1 numbers.
pub(crate) struct Spline {
    bins: usize,
    bound: f64,
    direction: Direction,
    /// Softmax of the raw widths and heights.
    widths: Vec<f64>,
    heights: Vec<f64>,
}

/// The bin in which a value lies: its left end, its width and height, the slopes at its ends, and the value's place
/// between 0 and 1.
struct Bin {
    index: usize,
    y: f64,
    x: f64,
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    position: f64,
}

/// Derivatives of a loss with respect to x and to what a bin is made of.
#[derive(Default)]
struct Pulled {
    x: f64,
    bin_x: f64,
    bin_y: f64,
    width: f64,
    height: f64,
    left: f64,
    right: f64,
}

impl Spline {
    pub(crate) fn new(bins: usize, bound: f64, direction: Direction) -> Self {
        Self { bins, bound, direction, widths: vec![0.0; bins], heights: vec![0.0; bins] }
    }

    /// The transformed value; outside ± `bound` the value itself.
    pub(crate) fn transform(&mut self, value: f64, raw: &[f32]) -> Transformed {
        let Some(bin) = self.bin(value, raw) else { return Transformed { value, log_slope: 0.0 } };
        let log_slope = bin.log_slope();
        match self.direction {
            Direction::Forward => Transformed { value: bin.forward(), log_slope },
            Direction::Inverse => {
                Transformed { value: bin.x + bin.position * bin.width, log_slope: -log_slope }
            }
        }
    }

    /// The derivative with respect to the value, where the loss has these with respect to the transformed value and to
    /// the log of its slope; those of the parameters are written to `raw_gradient`.
    pub(crate) fn pull_back(
        &mut self,
        value: f64,
        raw: &[f32],
        (of_value, of_log_slope): (f64, f64),
        raw_gradient: &mut [f64],
    ) -> f64 {
        let Some(bin) = self.bin(value, raw) else {
            raw_gradient.fill(0.0);
            return of_value;
        };
        match self.direction {
            Direction::Forward => {
                let pulled = bin.pull_back(of_value, of_log_slope);
                self.pull_back_knots(&bin, &pulled, raw, raw_gradient);
                pulled.x
            }
            // y = f(x; θ) stays the same: dx = (dy − ∂f/∂θ dθ) / f′, and the log slope is that of f at x, negated.
            Direction::Inverse => {
                let total = of_value - of_log_slope * bin.pull_back(0.0, 1.0).x;
                let of_y = total / bin.log_slope().exp();
                let pulled = bin.pull_back(-of_y, -of_log_slope);
                self.pull_back_knots(&bin, &pulled, raw, raw_gradient);
                of_y
            }
        }
    }

    /// Part of the interval that a softmax value stands for.
    fn share(&self, softmax: f64) -> f64 {
        LEAST_SHARE + (1.0 - LEAST_SHARE * self.bins as f64) * softmax
    }

    fn bin(&mut self, value: f64, raw: &[f32]) -> Option<Bin> {
        // Not a number is nowhere inside.
        if value.abs() < self.bound {
            softmax(&raw[..self.bins], &mut self.widths);
            softmax(&raw[self.bins..2 * self.bins], &mut self.heights);
            Some(self.locate(value, &raw[2 * self.bins..]))
        } else {
            None
        }
    }

    fn locate(&self, value: f64, raw_slopes: &[f32]) -> Bin {
        let (mut x, mut y) = (-self.bound, -self.bound);
        let mut index = 0;
        loop {
            let width = 2.0 * self.bound * self.share(self.widths[index]);
            let height = 2.0 * self.bound * self.share(self.heights[index]);
            let end = match self.direction {
                Direction::Forward => x + width,
                Direction::Inverse => y + height,
            };
            if value < end || index + 1 == self.bins {
                // Slope 1 at both ends meets the identity outside without a kink.
                let left = if index == 0 { 1.0 } else { positive(raw_slopes[index - 1]) };
                let right = raw_slopes.get(index).map_or(1.0, |raw| positive(*raw));
                let mut bin = Bin { index, y, x, width, height, left, right, position: 0.0 };
                bin.position = match self.direction {
                    Direction::Forward => (value - x) / width,
                    Direction::Inverse => bin.solve(value),
                };
                return bin;
            }
            (x, y, index) = (x + width, y + height, index + 1);
        }
    }

    /// From the bin's ends, sizes and slopes to the parameters behind them.
    fn pull_back_knots(&self, bin: &Bin, pulled: &Pulled, raw: &[f32], raw_gradient: &mut [f64]) {
        let (widths, rest) = raw_gradient.split_at_mut(self.bins);
        let (heights, slopes) = rest.split_at_mut(self.bins);
        let reach = 2.0 * self.bound * (1.0 - LEAST_SHARE * self.bins as f64);
        for (softmax, end, size, gradient) in [
            (&self.widths, pulled.bin_x, pulled.width, widths),
            (&self.heights, pulled.bin_y, pulled.height, heights),
        ] {
            // Bins to the left move the bin's left end; its own share is its size.
            let of_share = |index: usize| match index.cmp(&bin.index) {
                std::cmp::Ordering::Less => end,
                std::cmp::Ordering::Equal => size,
                std::cmp::Ordering::Greater => 0.0,
            };
            let mean: f64 = softmax.iter().enumerate().map(|(index, p)| p * of_share(index)).sum();
            for (index, (entry, p)) in gradient.iter_mut().zip(softmax).enumerate() {
                *entry = reach * p * (of_share(index) - mean);
            }
        }
        slopes.fill(0.0);
        let raw = &raw[2 * self.bins..];
        if bin.index > 0 {
            slopes[bin.index - 1] = pulled.left * positive_slope(raw[bin.index - 1]);
        }
        if bin.index + 1 < self.bins {
            slopes[bin.index] = pulled.right * positive_slope(raw[bin.index]);
        }
    }
}

impl Bin {
    fn secant(&self) -> f64 {
        self.height / self.width
    }

    fn curvature(&self) -> f64 {
        self.left + self.right - 2.0 * self.secant()
    }

    /// ξ (1 − ξ).
    fn mixed(&self) -> f64 {
        self.position * (1.0 - self.position)
    }

    /// Numerator and denominator of the transformed value's share of the height (their eq. 4).
    fn fraction(&self) -> (f64, f64) {
        let (secant, mixed) = (self.secant(), self.mixed());
        let numerator = secant * self.position * self.position + self.left * mixed;
        (numerator, secant + self.curvature() * mixed)
    }

    fn forward(&self) -> f64 {
        let (numerator, denominator) = self.fraction();
        self.y + self.height * numerator / denominator
    }

    /// The position of y: a quadratic equation, solved without cancellation (their eq. 6 to 8).
    fn solve(&self, y: f64) -> f64 {
        let (secant, curvature, offset) = (self.secant(), self.curvature(), y - self.y);
        let a = self.height * (secant - self.left) + offset * curvature;
        let b = self.height * self.left - offset * curvature;
        let c = -secant * offset;
        let root = (b * b - 4.0 * a * c).max(0.0).sqrt();
        (2.0 * c / (-b - root)).clamp(0.0, 1.0)
    }

    /// Second factor of the slope: slope = secant² · ends / denominator² (their eq. 5).
    fn ends(&self) -> f64 {
        let rest = 1.0 - self.position;
        self.right * self.position * self.position
            + 2.0 * self.secant() * self.mixed()
            + self.left * rest * rest
    }

    fn log_slope(&self) -> f64 {
        2.0 * self.secant().ln() + self.ends().ln() - 2.0 * self.fraction().1.ln()
    }

    /// Derivatives of a loss that has these with respect to y and to the log slope, both as functions of x.
    fn pull_back(&self, of_y: f64, of_log_slope: f64) -> Pulled {
        let (position, rest) = (self.position, 1.0 - self.position);
        let (secant, mixed, curvature) = (self.secant(), self.mixed(), self.curvature());
        let (numerator, denominator) = self.fraction();
        let of_numerator = of_y * self.height / denominator;
        let of_denominator = -of_numerator * numerator / denominator - 2.0 * of_log_slope / denominator;
        let of_ends = of_log_slope / self.ends();
        let of_curvature = of_denominator * mixed;
        let of_mixed = 2.0 * secant * of_ends + self.left * of_numerator + curvature * of_denominator;
        let of_secant = 2.0 * of_log_slope / secant
            + 2.0 * mixed * of_ends
            + position * position * of_numerator
            + of_denominator
            - 2.0 * of_curvature;
        let of_position = 2.0 * (self.right * position - self.left * rest) * of_ends
            + 2.0 * secant * position * of_numerator
            + (1.0 - 2.0 * position) * of_mixed;
        let x = of_position / self.width;
        Pulled {
            x,
            bin_x: -x,
            bin_y: of_y,
            width: -(of_secant * secant + of_position * position) / self.width,
            height: of_y * numerator / denominator + of_secant / self.width,
            left: rest * rest * of_ends + mixed * of_numerator + of_curvature,
            right: position * position * of_ends + of_curvature,
        }
    }
}

fn softmax(raw: &[f32], result: &mut [f64]) {
    vectorized(
        #[inline(always)]
        || {
            let largest = raw.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            for (entry, value) in result.iter_mut().zip(raw) {
                *entry = exponential_f64(f64::from(*value) - f64::from(largest));
            }
            let sum: f64 = result.iter().sum();
            for entry in result {
                *entry /= sum;
            }
        },
    );
}

/// Makes the slope at a raw 0 a 1.
fn shifted(raw: f32) -> f64 {
    f64::from(raw) + (1.0 - LEAST_SLOPE).exp_m1().ln()
}

/// Softplus of the shifted number, above the least slope.
fn positive(raw: f32) -> f64 {
    let value = shifted(raw);
    LEAST_SLOPE + value.max(0.0) + (-value.abs()).exp().ln_1p()
}

/// Derivative of [`positive`].
fn positive_slope(raw: f32) -> f64 {
    1.0 / (1.0 + (-shifted(raw)).exp())
}
