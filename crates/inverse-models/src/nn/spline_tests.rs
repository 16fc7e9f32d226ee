//! The fused spline against the same formulas in plain candle operations, which differentiate themselves.

use candle_core::{D, DType, Device, Result, Tensor, Var};
use inverse_core::RandomStreams;
use proptest::prelude::*;

use super::spline::{Direction, spline};
use crate::latent_sampling::standard_normal;

const LEAST_SHARE: f64 = 1e-3;
const LEAST_SLOPE: f64 = 1e-3;

fn draws(rows: usize, columns: usize, scale: f64, seed: u64) -> Tensor {
    let mut stream = RandomStreams::new(seed).stream("draws", 0);
    (standard_normal(rows, columns, &Device::Cpu, &mut stream).unwrap() * scale).unwrap()
}

type Transform = fn(&Tensor, &Tensor, usize, f64, Direction) -> Result<(Tensor, Tensor)>;

/// Values, log slopes, and gradients of a loss of both with respect to x and the parameters.
fn outcomes(
    transform: Transform,
    (x, parameters): (&Tensor, &Tensor),
    (bins, bound, direction): (usize, f64, Direction),
) -> Result<Vec<Vec<f64>>> {
    let (x, parameters) = (Var::from_tensor(x)?, Var::from_tensor(parameters)?);
    let (y, log_slope) = transform(&x, &parameters, bins, bound, direction)?;
    let loss = ((&y * y.sin()?)?.sum_all()? + (&log_slope * log_slope.cos()?)?.sum_all()?)?;
    let gradients = loss.backward()?;
    let numbers = |tensor: &Tensor| tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
    let gradient = |var: &Var| numbers(gradients.get(var).expect("every input has a gradient"));
    Ok(vec![numbers(&y)?, numbers(&log_slope)?, gradient(&x)?, gradient(&parameters)?])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn values_and_gradients_are_those_of_the_plain_formulas(
        rows in 1..150_usize, columns in 1..4_usize, bins in 2..9_usize, bound in 0.5..6.0_f64,
        scale in 0.1..3.0_f64, inverse: bool, seed in 0..1000_u64
    ) {
        let direction = if inverse { Direction::Inverse } else { Direction::Forward };
        let x = draws(rows, columns, 0.6 * bound, seed).to_dtype(DType::F64).unwrap();
        let parameters = draws(rows, columns * (3 * bins - 1), scale, seed + 1);
        let given = ((&x, &parameters), (bins, bound, direction));
        let ours = outcomes(spline, given.0, given.1).unwrap();
        let plain = outcomes(reference, given.0, given.1).unwrap();
        // Both compute in f64; the gradient of the parameters is rounded to f32. Slopes of 1e-3 and bins of 1e-3 of
        // the interval lose up to eight of the sixteen digits.
        for (name, tolerance, ours, plain) in [
            ("value", 1e-8, &ours[0], &plain[0]),
            ("log slope", 1e-8, &ours[1], &plain[1]),
            ("gradient of x", 1e-6, &ours[2], &plain[2]),
            ("gradient of the parameters", 1e-5, &ours[3], &plain[3]),
        ] {
            for (one, other) in ours.iter().zip(plain) {
                let near = (one - other).abs() <= tolerance * (1.0 + other.abs());
                prop_assert!(near, "{name}: {one:e}, expected {other:e}");
            }
        }
    }
}

#[test]
fn what_is_not_inside_stays_as_it_is() {
    let x = Tensor::new(&[[f64::NAN, f64::INFINITY], [-2.0, 2.5]], &Device::Cpu).unwrap();
    let parameters = draws(2, 2 * 11, 1.0, 3);
    for direction in [Direction::Forward, Direction::Inverse] {
        let (y, log_slope) = spline(&x, &parameters, 4, 2.0, direction).unwrap();
        let y = y.to_vec2::<f64>().unwrap();
        assert!(y[0][0].is_nan() && y[0][1] == f64::INFINITY);
        assert_eq!((y[1].as_slice(), log_slope.to_vec1::<f64>().unwrap()), (&[-2.0, 2.5][..], vec![0.0; 2]));
    }
    assert!(spline(&x, &parameters, 5, 2.0, Direction::Forward).is_err());
}

/// Transformed x, (rows, n), and the log of its slope, summed over columns, (rows).
///
/// * `parameters`: (rows, n · (3 · bins − 1)); for each variable the widths, the heights and the slopes at
///   the inner knots, before they are made positive
fn reference(
    x: &Tensor,
    parameters: &Tensor,
    bins: usize,
    bound: f64,
    direction: Direction,
) -> Result<(Tensor, Tensor)> {
    let (rows, columns) = x.dims2()?;
    let parameters = parameters.to_dtype(DType::F64)?.reshape((rows * columns, 3 * bins - 1))?;
    let knots = Knots::new(&parameters, bins, bound)?;
    let x = x.reshape((rows * columns, 1))?;
    let inside = x.abs()?.lt(bound)?;
    let clamped = x.clamp(-bound, bound)?;
    let (y, log_slope) = match direction {
        Direction::Forward => knots.forward(&clamped)?,
        Direction::Inverse => knots.inverse(&clamped)?,
    };
    let y = inside.where_cond(&y, &x)?;
    let log_slope = inside.where_cond(&log_slope, &log_slope.zeros_like()?)?;
    Ok((y.reshape((rows, columns))?, log_slope.reshape((rows, columns))?.sum(1)?))
}

/// One spline a row: knots in both directions, and slopes at them.
struct Knots {
    bins: usize,
    /// (rows, bins + 1).
    x: Tensor,
    y: Tensor,
    slope: Tensor,
}

/// One bin a row: its left end, its width and height, and the slopes at its ends, each (rows, 1).
struct Bin {
    x: Tensor,
    y: Tensor,
    width: Tensor,
    height: Tensor,
    left: Tensor,
    right: Tensor,
}

impl Knots {
    fn new(parameters: &Tensor, bins: usize, bound: f64) -> Result<Self> {
        let place = |start: usize| -> Result<Tensor> {
            let shares = candle_nn::ops::softmax(&parameters.narrow(1, start, bins)?.contiguous()?, 1)?;
            let shares = ((shares * (1.0 - LEAST_SHARE * bins as f64))? + LEAST_SHARE)?;
            shares.matmul(&sums(bins, parameters)?)?.affine(2.0 * bound, -bound)
        };
        let raw = parameters.narrow(1, 2 * bins, bins - 1)?;
        // softplus(z) = max(z, 0) + log(1 + e^−|z|); the shift makes a slope of 1 of z = 0.
        let raw = (raw + (1.0_f64 - LEAST_SLOPE).exp_m1().ln())?;
        let positive = (raw.relu()? + (raw.abs()?.neg()?.exp()? + 1.0)?.log()?)?;
        let inner = (positive + LEAST_SLOPE)?;
        // Slope 1 at both ends meets the identity outside without a kink.
        let one = inner.narrow(1, 0, 1)?.ones_like()?;
        let slope = Tensor::cat(&[&one, &inner, &one], 1)?;
        Ok(Self { bins, x: place(0)?, y: place(bins)?, slope })
    }

    /// The bin in which `value`, (rows, 1), lies along `knots`.
    fn bin(&self, value: &Tensor, knots: &Tensor) -> Result<Bin> {
        // 1 at every inner knot that lies at or below the value; their count is the bin's number.
        let inner = knots.narrow(1, 1, self.bins - 1)?;
        let passed = value.broadcast_ge(&inner)?.to_dtype(value.dtype())?.detach();
        let one = passed.narrow(1, 0, 1)?.ones_like()?;
        let below = Tensor::cat(&[&one, &passed], 1)?;
        let above = Tensor::cat(&[&passed, &one.zeros_like()?], 1)?;
        let chosen = (below - above)?;
        let pick = |values: &Tensor, start: usize| -> Result<Tensor> {
            (values.narrow(1, start, self.bins)? * &chosen)?.sum_keepdim(D::Minus1)
        };
        let (x, y) = (pick(&self.x, 0)?, pick(&self.y, 0)?);
        Ok(Bin {
            width: (pick(&self.x, 1)? - &x)?,
            height: (pick(&self.y, 1)? - &y)?,
            left: pick(&self.slope, 0)?,
            right: pick(&self.slope, 1)?,
            x,
            y,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let bin = self.bin(x, &self.x)?;
        let position = ((x - &bin.x)? / &bin.width)?;
        let secant = (&bin.height / &bin.width)?;
        let mixed = (&position * (1.0 - &position)?)?;
        let curvature = ((&bin.left + &bin.right)? - (&secant * 2.0)?)?;
        let denominator = (&secant + (&curvature * &mixed)?)?;
        let numerator = ((&secant * position.sqr()?)? + (&bin.left * &mixed)?)?;
        let y = (&bin.y + ((&bin.height * numerator)? / denominator)?)?;
        Ok((y, bin.log_slope(&position)?))
    }

    fn inverse(&self, y: &Tensor) -> Result<(Tensor, Tensor)> {
        let bin = self.bin(y, &self.y)?;
        let secant = (&bin.height / &bin.width)?;
        let curvature = ((&bin.left + &bin.right)? - (&secant * 2.0)?)?;
        let offset = (y - &bin.y)?;
        // The quadratic equation of the position, solved without cancellation (their eq. 6 to 8).
        let a = ((&bin.height * (&secant - &bin.left)?)? + (&offset * &curvature)?)?;
        let b = ((&bin.height * &bin.left)? - (&offset * &curvature)?)?;
        let c = (&secant * offset)?.neg()?;
        let root = (b.sqr()? - ((a * &c)? * 4.0)?)?.relu()?.sqrt()?;
        let position = ((c * 2.0)? / (b.neg()? - root)?)?.clamp(0.0, 1.0)?;
        let x = (&bin.x + (&position * &bin.width)?)?;
        Ok((x, bin.log_slope(&position)?.neg()?))
    }
}

impl Bin {
    /// log dy/dx at a position between 0 and 1 (their eq. 5).
    fn log_slope(&self, position: &Tensor) -> Result<Tensor> {
        let rest = (1.0 - position)?;
        let secant = (&self.height / &self.width)?;
        let mixed = (position * &rest)?;
        let curvature = ((&self.left + &self.right)? - (&secant * 2.0)?)?;
        let denominator = (&secant + (curvature * &mixed)?)?;
        let ends = ((&self.right * position.sqr()?)? + (&self.left * rest.sqr()?)?)?;
        let numerator = (ends + ((&secant * mixed)? * 2.0)?)?;
        ((secant.log()? * 2.0)? + numerator.log()?)? - (denominator.log()? * 2.0)?
    }
}

/// (bins, bins + 1) with a 1 where a bin lies left of a knot: shares times this are the knots.
fn sums(bins: usize, like: &Tensor) -> Result<Tensor> {
    let entry = |index: usize| f64::from(u8::from(index / (bins + 1) < index % (bins + 1)));
    let entries: Vec<f64> = (0..bins * (bins + 1)).map(entry).collect();
    Tensor::from_vec(entries, (bins, bins + 1), like.device())?.to_dtype(like.dtype())
}
