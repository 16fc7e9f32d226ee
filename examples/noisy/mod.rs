//! What examples with noisy measurements share: tasks and their noise.

mod noise;

use inverse::prelude::*;

pub(crate) use noise::noise_of;

/// Whether no variable of a task's designs is always a whole number. Weights of draws need densities, and a discrete variable has
/// none.
pub(crate) fn is_continuous(task: &dyn Task, streams: RandomStreams) -> bool {
    let x = task.prior().sample(100, &mut streams.stream("noisy prior", 0));
    x.columns().into_iter().all(|column| column.iter().any(|value| value.fract() != 0.0))
}
