//! Draws by weight with the least scatter.

use ndarray::ArrayView1;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

use crate::InvalidArgument;

/// `n` places, each as often as its weight says, in random order (systematic resampling: Carpenter, Clifford and Fearnhead 1999).
///
/// A comb of n teeth is laid at random over the weights: one of share w comes n w times, rounded up or down.
///
/// * `weights`: one a place, (places), at least one above 0; they need not have the sum 1
///
/// ```
/// use inverse_core::{RandomStreams, systematic_draws};
/// use ndarray::aview1;
///
/// let mut rng = RandomStreams::new(1).stream("draws", 0);
/// let drawn = systematic_draws(aview1(&[1.0, 0.0, 3.0]), 8, &mut rng)?;
/// assert_eq!(drawn.iter().filter(|place| **place == 2).count(), 6);
/// # Ok::<(), inverse_core::InvalidArgument>(())
/// ```
///
/// # Errors
/// [`InvalidArgument`] that names `weights` where one is negative or NaN, or their sum is not a positive number.
pub fn systematic_draws(
    weights: ArrayView1<'_, f64>,
    n: usize,
    rng: &mut dyn Rng,
) -> Result<Vec<usize>, InvalidArgument> {
    if let Some(weight) = weights.iter().find(|weight| weight.is_nan() || **weight < 0.0) {
        return Err(InvalidArgument::new("weights", "numbers of 0 or more", weight));
    }
    let sum = weights.sum();
    if !(sum > 0.0 && sum.is_finite()) {
        return Err(InvalidArgument::new("weights", "numbers whose sum is positive", sum));
    }
    let offset: f64 = rng.random();
    let step = sum / n as f64;
    let mut places = Vec::with_capacity(n);
    let (mut place, mut reached) = (0, weights[0]);
    // Rounding may leave the last tooth beyond the sum.
    let last = weights.iter().rposition(|weight| *weight > 0.0).unwrap_or(0);
    for tooth in 0..n {
        while place < last && reached <= (tooth as f64 + offset) * step {
            place += 1;
            reached += weights[place];
        }
        places.push(place);
    }
    places.shuffle(rng);
    Ok(places)
}

#[cfg(test)]
mod tests {
    use ndarray::aview1;

    use super::*;
    use crate::RandomStreams;

    #[test]
    fn places_come_as_often_as_they_weigh() {
        let mut counts = [0_usize; 4];
        for index in 0..2000 {
            let mut rng = RandomStreams::new(1).stream("test", index);
            let drawn = systematic_draws(aview1(&[1.0, 3.0, 4.0, 0.0]), 3, &mut rng).unwrap();
            assert_eq!(drawn.len(), 3);
            for place in drawn {
                counts[place] += 1;
            }
        }
        // Each is drawn 2000 × 3 × w times; a count that is one of two numbers scatters by √2000 / 2 at most: five of it.
        for (count, share) in counts.iter().zip([0.125, 0.375, 0.5]) {
            assert!((*count as f64 - 6000.0 * share).abs() < 112.0, "{counts:?}");
        }
        assert_eq!(counts[3], 0);
        let mut rng = RandomStreams::new(1).stream("test", 0);
        assert!(systematic_draws(aview1(&[1.0]), 0, &mut rng).unwrap().is_empty());
    }

    #[test]
    fn bad_weights_are_named() {
        let mut rng = RandomStreams::new(1).stream("test", 0);
        for weights in [&[][..], &[0.0], &[1.0, -1.0], &[f64::NAN], &[f64::INFINITY], &[f64::MAX, f64::MAX]] {
            let error = systematic_draws(aview1(weights), 1, &mut rng).unwrap_err();
            assert_eq!(error.argument, "weights");
        }
    }
}
