//! What examples with noisy measurements share: tasks, their noise, the methods that have a density.

use inverse::bench::StudyError;
use inverse::core::InvalidArgument;
use inverse::prelude::*;
use ndarray::Axis;

/// Outputs that measure how much they vary.
const OUTPUTS: usize = 1000;

/// Whether no variable of a task's designs is always a whole number. Weights of draws need densities, and a discrete variable has
/// none.
pub(crate) fn is_continuous(task: &dyn Task, streams: RandomStreams) -> bool {
    let x = task.prior().sample(100, &mut streams.stream("noisy prior", 0));
    x.columns().into_iter().all(|column| column.iter().any(|value| value.fract() != 0.0))
}

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

/// MDN as its preset has it, but for the surrogate that would renew measurements without noise.
pub(crate) fn mdn(task: &str, source: Source) -> Result<MixtureDensityNetwork, InvalidArgument> {
    let preset = MixtureDensityNetwork::preset(task, source)?;
    Ok(MixtureDensityNetwork { relabelling: None, ..preset })
}

/// cINN, likewise.
pub(crate) fn cinn(task: &str, source: Source) -> Result<ConditionalInvertibleNetwork, InvalidArgument> {
    let preset = ConditionalInvertibleNetwork::preset(task, source)?;
    Ok(ConditionalInvertibleNetwork { relabelling: None, ..preset })
}
