//! Activation functions.
#![allow(clippy::inline_always, reason = "parts of loops that must become vector code")]

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

use crate::nn::kernels::vectorized;

/// The function between two linear layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Activation {
    /// max(z, 0): the paper's.
    #[default]
    Relu,
    /// z · sigmoid(z): smooth, for smooth simulators (Elfwing et al. 2018).
    Silu,
    /// The hyperbolic tangent.
    Tanh,
}

impl Activation {
    /// The activation as candle operations, differentiable by candle.
    ///
    /// # Errors
    /// Where the tensor library fails.
    pub fn apply(self, z: &Tensor) -> Result<Tensor> {
        match self {
            Self::Relu => z.relu(),
            Self::Silu => z.silu(),
            Self::Tanh => z.tanh(),
        }
    }

    /// Replaces each z by its activation, and writes the derivative at z.
    #[inline(never)] // A profile shows it by its name.
    pub(crate) fn apply_in_place(self, values: &mut [f32], derivatives: &mut [f32]) {
        vectorized(
            #[inline(always)]
            || {
                // One loop a function: a choice inside the loop would keep it from becoming vector code.
                match self {
                    Self::Relu => replace_each(values, derivatives, relu),
                    Self::Silu => replace_each(values, derivatives, silu),
                    Self::Tanh => replace_each(values, derivatives, tanh),
                }
            },
        );
    }

    /// Replaces each z by its activation.
    #[inline(never)] // A profile shows it by its name.
    pub(crate) fn value_in_place(self, values: &mut [f32]) {
        vectorized(
            #[inline(always)]
            || match self {
                Self::Relu => values.iter_mut().for_each(|z| *z = relu(*z).0),
                Self::Silu => values.iter_mut().for_each(|z| *z = silu(*z).0),
                Self::Tanh => values.iter_mut().for_each(|z| *z = tanh(*z).0),
            },
        );
    }
}

#[inline(always)]
fn replace_each(values: &mut [f32], derivatives: &mut [f32], function: impl Fn(f32) -> (f32, f32)) {
    for (value, derivative) in values.iter_mut().zip(derivatives) {
        (*value, *derivative) = function(*value);
    }
}

#[inline(always)]
fn relu(z: f32) -> (f32, f32) {
    let slope = if z > 0.0 { 1.0 } else { 0.0 };
    // Written so that NaN stays NaN: a diverged network must not look healthy.
    (if z < 0.0 { 0.0 } else { z }, slope)
}

#[inline(always)]
fn silu(z: f32) -> (f32, f32) {
    let gate = 1.0 / (1.0 + exponential(-z));
    (z * gate, gate * (1.0 + z * (1.0 - gate)))
}

#[inline(always)]
fn tanh(z: f32) -> (f32, f32) {
    let value = 1.0 - 2.0 / (1.0 + exponential(2.0 * z));
    (value, 1.0 - value * value)
}

/// eˣ with a relative error below 3e-7, without branches, so that loops over it become vector code.
///
/// eˣ = 2ⁿ · e^r with n the nearest integer to x / ln 2 and |r| ≤ ln 2 / 2; e^r by its Taylor polynomial of
/// degree 7, whose remainder is below 0.35⁸ / 8! = 6e-9.
#[inline(always)]
fn exponential(x: f32) -> f32 {
    /// Adding and subtracting 1.5 · 2²³ rounds to the nearest integer.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts: the first has so few bits that n times it is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let clamped = if x < -87.0 { -87.0 } else { x };
    let clamped = if clamped > 88.0 { 88.0 } else { clamped };
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (clamped - n * LN_2_HIGH) - n * LN_2_LOW;
    let series = 1.0 / 120.0 + r * (1.0 / 720.0 + r * (1.0 / 5040.0));
    let polynomial = 1.0 + r * (1.0 + r * (0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * series))));
    // The low bits of `shifted` hold n: moved into the exponent they multiply by 2ⁿ.
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    polynomial * power
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;
    use candle_core::Device;

    use super::*;

    #[test]
    fn exponential_is_accurate() {
        for step in -8700..8800 {
            let x = step as f32 / 100.0;
            assert_relative_eq!(exponential(x), f64::from(x).exp() as f32, max_relative = 3e-7);
        }
        assert!(exponential(f32::NAN).is_nan());
        assert!(exponential(f32::NEG_INFINITY) < 1e-37);
        assert!(exponential(f32::INFINITY) > 1e38);
    }

    #[test]
    fn values_and_derivatives_match_candle() {
        let points: Vec<f32> = (-60..=60).map(|step| step as f32 / 7.0 + 0.01).collect();
        for activation in [Activation::Relu, Activation::Silu, Activation::Tanh] {
            let z = candle_core::Var::new(points.as_slice(), &Device::Cpu).unwrap();
            let value = activation.apply(&z).unwrap();
            let gradients = value.sum_all().unwrap().backward().unwrap();
            let slopes = gradients.get(&z).unwrap().to_vec1::<f32>().unwrap();
            let value = value.to_vec1::<f32>().unwrap();
            let (mut ours, mut derivatives) = (points.clone(), vec![0.0; points.len()]);
            activation.apply_in_place(&mut ours, &mut derivatives);
            for index in 0..points.len() {
                assert_relative_eq!(ours[index], value[index], epsilon = 1e-6, max_relative = 1e-5);
                assert_relative_eq!(derivatives[index], slopes[index], epsilon = 2e-6, max_relative = 1e-4);
            }
        }
    }

    #[test]
    fn nan_stays_nan() {
        for activation in [Activation::Relu, Activation::Silu, Activation::Tanh] {
            let (mut value, mut derivative) = ([f32::NAN], [0.0]);
            activation.apply_in_place(&mut value, &mut derivative);
            assert!(value[0].is_nan(), "{activation:?}");
        }
    }
}
