//! Posteriors by the paper's forward network, for noise whose law is known.

use inverse::bench::StudyError;
use inverse::core::InvalidArgument;
use inverse::models::{ProxyRecipe, SimulatedDesigns};
use inverse::prelude::*;

/// The posterior that a network has in place of a task's simulator.
///
/// * `exact`: pairs without noise
/// * `noise`: the noise together with the network's error, whose deviations on held-out pairs it is given
pub(crate) fn surrogate_posterior<'a, N: MeasurementNoise>(
    task: &'a dyn Task,
    exact: &Dataset,
    noise: impl FnOnce(&[f64]) -> Result<N, InvalidArgument>,
    context: &mut FitContext<'_>,
) -> Result<TemperedPosterior<SimulatedTask<ProxySimulator, &'a dyn Prior>, N>, StudyError> {
    let recipe = ProxyRecipe::for_posteriors(exact.len());
    let pairs = SimulatedDesigns { data: exact.clone(), dropped: 0 };
    let network = recipe.fit_data(&pairs, None, context)?;
    let errors = network.report().map(|report| report.test_deviations.clone()).unwrap_or_default();
    let task = SimulatedTask::new("surrogate", network, task.prior())?;
    Ok(TemperedPosterior::new(task, noise(&errors)?, TemperedSettings::default())?)
}
