//! What examples with noisy measurements share: tasks, their noise, the methods that have a density.

mod noise;

use inverse::core::InvalidArgument;
use inverse::prelude::*;

pub(crate) use noise::noise_of;

/// Whether no variable of a task's designs is always a whole number. Weights of draws need densities, and a discrete variable has
/// none.
pub(crate) fn is_continuous(task: &dyn Task, streams: RandomStreams) -> bool {
    let x = task.prior().sample(100, &mut streams.stream("noisy prior", 0));
    x.columns().into_iter().all(|column| column.iter().any(|value| value.fract() != 0.0))
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
