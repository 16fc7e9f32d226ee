//! The laws that draws of all rounds come from, taken together.

use inverse_core::{Prior, ProposeError, SimulatedTask};
use ndarray::{Array1, Array2, ArrayView1, Axis};

use super::flattened_noise::FlattenedNoise;
use crate::proxy_simulator::ProxySimulator;
use crate::relative_weights::RelativeWeights;
use crate::tempered_posterior::TemperedPosterior;

/// The posterior that a round's network has of a measurement, flattened.
pub(super) type RoundPosterior<'a> =
    TemperedPosterior<SimulatedTask<ProxySimulator, &'a dyn Prior>, FlattenedNoise<'a>>;

/// One round's law, and its density at the draws of all rounds.
struct Round<'a> {
    posterior: RoundPosterior<'a>,
    log_evidence: f64,
    draws: usize,
    log_density: Vec<f64>,
}

impl Round<'_> {
    /// Of the round's law at designs, (n, `dim_x`).
    fn log_density_of(&self, x: &Array2<f64>, y: ArrayView1<'_, f64>) -> Result<Vec<f64>, ProposeError> {
        let answers = self.posterior.simulate(x.view())?;
        Ok((self.posterior.log_joint(x, answers.view(), y)? - self.log_evidence).to_vec())
    }
}

/// Draws of all rounds of one measurement.
pub(super) struct RoundMixture<'a> {
    y: ArrayView1<'a, f64>,
    rounds: Vec<Round<'a>>,
    /// (n, `dim_x`)
    x: Array2<f64>,
    /// log p(x) + log p(y | f(x)) of each by the simulator itself.
    log_joint: Vec<f64>,
}

impl<'a> RoundMixture<'a> {
    /// * `y`: the measurement, (`dim_y`)
    pub(super) fn new(y: ArrayView1<'a, f64>, dim_x: usize) -> Self {
        Self { y, rounds: Vec::new(), x: Array2::zeros((0, dim_x)), log_joint: Vec::new() }
    }

    /// Adds a round.
    ///
    /// * `x`: its draws, (n, `dim_x`)
    /// * `log_joint`: of each by the simulator itself, (n)
    pub(super) fn push(
        &mut self,
        posterior: RoundPosterior<'a>,
        log_evidence: f64,
        x: &Array2<f64>,
        log_joint: &Array1<f64>,
    ) -> Result<(), ProposeError> {
        for round in &mut self.rounds {
            round.log_density.extend(round.log_density_of(x, self.y)?);
        }
        self.x.append(Axis(0), x.view()).map_err(|error| ProposeError::Backend(Box::new(error)))?;
        self.log_joint.extend(log_joint);
        let mut round = Round { posterior, log_evidence, draws: x.nrows(), log_density: Vec::new() };
        round.log_density = round.log_density_of(&self.x, self.y)?;
        self.rounds.push(round);
        Ok(())
    }

    /// All draws, (n, `dim_x`).
    pub(super) fn x(&self) -> &Array2<f64> {
        &self.x
    }

    pub(super) fn log_joint(&self) -> &[f64] {
        &self.log_joint
    }

    /// Of the mixture of all rounds at each draw, each as large as its share of the draws (Veach and Guibas 1995).
    pub(super) fn log_density(&self) -> Vec<f64> {
        let draws = |draw: usize| {
            let logs: Vec<f64> = self
                .rounds
                .iter()
                .map(|round| round.log_density[draw] + (round.draws as f64 / self.x.nrows() as f64).ln())
                .collect();
            let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            if largest == f64::NEG_INFINITY {
                return largest;
            }
            largest + logs.iter().map(|log| (log - largest).exp()).sum::<f64>().ln()
        };
        (0..self.x.nrows()).map(draws).collect()
    }

    /// How many draws of the posterior all are worth, and the logarithm of its evidence; 0 and −∞ where none counts.
    pub(super) fn effective_count_and_log_evidence(&self) -> (f64, f64) {
        let ratios = self.log_joint.iter().zip(self.log_density());
        let logs: Vec<f64> = ratios
            // The largest number where the difference is beyond it.
            .map(
                |(joint, drawn)| {
                    if drawn.is_finite() { (joint - drawn).min(f64::MAX) } else { f64::NEG_INFINITY }
                },
            )
            .collect();
        if logs.iter().all(|log| *log == f64::NEG_INFINITY) {
            return (0.0, f64::NEG_INFINITY);
        }
        let weights = RelativeWeights::new(&logs, 1.0);
        (weights.effective_count(), weights.log_mean())
    }
}
