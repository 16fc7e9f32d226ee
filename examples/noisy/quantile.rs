//! Quantiles of what measurements have come to.

/// The quantile of numbers, of which there is one at least: that of the middle for ½.
pub(crate) fn quantile(mut numbers: Vec<f64>, share: f64) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[((numbers.len() - 1) as f64 * share).round() as usize]
}
