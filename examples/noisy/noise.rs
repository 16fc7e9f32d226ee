//! Noise in proportion to how much each output varies.

use inverse::bench::StudyError;
use inverse::core::InvalidArgument;
use inverse::prelude::*;
use ndarray::Axis;

/// Outputs that measure how much they vary.
const OUTPUTS: usize = 1000;

/// Independent noise of each output.
///
/// * `share`: its standard deviation, as a share of the output's own
pub(crate) fn noise_of(
    task: &dyn Task,
    share: f64,
    streams: RandomStreams,
) -> Result<GaussianNoise, StudyError> {
    if !(share > 0.0 && share.is_finite()) {
        return Err(InvalidArgument::new("noise", "a positive number", share).into());
    }
    let outputs = Dataset::from_task(task, OUTPUTS, &mut streams.stream("noisy outputs", 0))?;
    let deviations = outputs.y().std_axis(Axis(0), 0.0) * share;
    Ok(GaussianNoise::new(&deviations.to_vec())?)
}
