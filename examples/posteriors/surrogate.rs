//! A posterior by the paper's forward network, for noise whose law is known.

use inverse::bench::StudyError;
use inverse::core::InvalidArgument;
use inverse::models::{ProxyError, ProxyRecipe, ProxySimulator, SimulatedDesigns};
use inverse::prelude::*;

use super::cases::{Case, KnownNoise};

/// The posterior that the network has in place of the case's simulator, its error on held-out pairs added to the noise.
///
/// * `exact`: pairs without noise
pub(crate) fn posterior(
    case: &Case,
    exact: Dataset,
    seed: u64,
) -> Result<TemperedPosterior<impl Task, Box<dyn KnownNoise>>, StudyError> {
    let recipe = ProxyRecipe::for_posteriors(exact.len());
    let pairs = SimulatedDesigns { data: exact, dropped: 0 };
    let network: ProxySimulator = recipe.fit_data(&pairs, None, &mut FitContext::new(seed)).map_err(named)?;
    let errors = network.report().map(|report| report.test_deviations.clone()).unwrap_or_default();
    let noise = case.noise.with_error(&errors)?;
    let task = SimulatedTask::new("surrogate", network, case.task.prior())?;
    Ok(TemperedPosterior::new(task, noise, TemperedSettings::default())?)
}

fn named(error: ProxyError) -> StudyError {
    match error {
        ProxyError::InvalidArgument(error) => error.into(),
        ProxyError::Simulation(error) => error.into(),
        ProxyError::Data(error) => error.into(),
        ProxyError::Fit(error) => error.into(),
        error => InvalidArgument::new("pairs", "pairs that a network learns", error).into(),
    }
}
