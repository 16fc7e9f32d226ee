//! Learning-rate schedules.

use inverse_core::InvalidArgument;
use serde::{Deserialize, Serialize};

/// How the learning rate falls during a training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Schedule {
    /// Multiplies the rate by `factor` when the training loss has not fallen for `patience` epochs: the
    /// paper's (Table 6). A fall counts when it is larger than one part in 10⁴ of the loss's size, whatever its
    /// sign: log-likelihoods make negative losses.
    Plateau {
        /// What the rate is multiplied by, between 0 and 1.
        factor: f64,
        /// Epochs without a fall that are still borne.
        patience: usize,
        /// The rate does not fall below this.
        lowest: f64,
    },
    /// Half a cosine from the first rate to `last` over all epochs (Loshchilov and Hutter 2017).
    Cosine {
        /// Rate of the last epoch.
        last: f64,
    },
}

/// A fall of the loss counts when it is larger than this share of the loss.
pub(crate) const PLATEAU_THRESHOLD: f64 = 1e-4;

impl Schedule {
    pub(crate) fn validate(&self) -> Result<(), InvalidArgument> {
        let positive = |name: &str, value: f64, largest: f64| {
            if value > 0.0 && value <= largest {
                return Ok(());
            }
            Err(InvalidArgument::new(name, format!("above 0 and at most {largest}"), value))
        };
        match *self {
            Self::Plateau { factor, lowest, .. } => {
                if factor >= 1.0 {
                    return Err(InvalidArgument::new("factor", "between 0 and 1", factor));
                }
                positive("factor", factor, 1.0)?;
                positive("lowest", lowest, 1.0)
            }
            Self::Cosine { last } => positive("last", last, 1.0),
        }
    }
}

/// Where a schedule stands; part of a training checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ScheduleState {
    first_rate: f64,
    rate: f64,
    /// The lowest loss so far; `None` before the first epoch, for JSON knows no infinity.
    best: Option<f64>,
    stale_epochs: usize,
}

impl ScheduleState {
    /// Whether a training that has done `epoch` epochs can stand here; a file may hold anything.
    pub(crate) fn is_usable(&self, epoch: usize) -> bool {
        let rates = [self.first_rate, self.rate];
        rates.iter().all(|rate| rate.is_finite() && *rate > 0.0) && self.stale_epochs <= epoch
    }

    pub(crate) fn new(rate: f64) -> Self {
        Self { first_rate: rate, rate, best: None, stale_epochs: 0 }
    }

    /// The rate of the coming epoch.
    pub(crate) fn rate(&self) -> f64 {
        self.rate
    }

    /// Takes in the loss of epoch number `epoch` of `epochs`, counted from 1.
    pub(crate) fn advance(&mut self, schedule: &Schedule, loss: f64, epoch: usize, epochs: usize) {
        match *schedule {
            Schedule::Plateau { factor, patience, lowest } => {
                // best − |best| · threshold: below a negative loss is farther from 0.
                let fell = |best: f64| loss < best * (1.0 - PLATEAU_THRESHOLD * best.signum());
                if self.best.is_none_or(fell) {
                    self.best = Some(loss);
                    self.stale_epochs = 0;
                } else {
                    self.stale_epochs += 1;
                }
                if self.stale_epochs > patience {
                    self.rate = (self.rate * factor).max(lowest.min(self.rate));
                    self.stale_epochs = 0;
                }
            }
            Schedule::Cosine { last } => {
                let progress = (epoch as f64 / (epochs.max(2) - 1) as f64).min(1.0);
                let height = 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
                self.rate = last + (self.first_rate - last) * height;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::*;

    #[test]
    fn plateau_waits_then_falls() {
        let schedule = Schedule::Plateau { factor: 0.5, patience: 2, lowest: 0.3 };
        let mut state = ScheduleState::new(1.0);
        let mut rates = Vec::new();
        for (epoch, loss) in [1.0, 0.9, 0.899_99, 0.9, 0.95, 0.5, 0.5, 0.5, 0.5, 0.5].into_iter().enumerate()
        {
            state.advance(&schedule, loss, epoch + 1, 10);
            rates.push(state.rate());
        }
        assert_eq!(rates, [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.3, 0.3]);
    }

    #[test]
    fn plateaus_of_negative_losses_are_seen() {
        let schedule = Schedule::Plateau { factor: 0.5, patience: 1, lowest: 1e-6 };
        let mut state = ScheduleState::new(1.0);
        let rates = [0.5, -1.0, -1.0, -1.000_01, -1.5, -2.0, -2.0, -2.0].map(|loss| {
            state.advance(&schedule, loss, 1, 10);
            state.rate()
        });
        // Two epochs at -1 (the second falls by less than one part in 10⁴), and two at -2.
        assert_eq!(rates, [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25]);
    }

    #[test]
    fn cosine_ends_at_the_last_rate() {
        let schedule = Schedule::Cosine { last: 1e-5 };
        let mut state = ScheduleState::new(1e-2);
        for epoch in 1..100 {
            let before = state.rate();
            state.advance(&schedule, 1.0, epoch, 100);
            assert!(state.rate() < before);
        }
        assert_relative_eq!(state.rate(), 1e-5, max_relative = 1e-9);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(Schedule::Cosine { last: 0.0 }.validate().is_err());
        assert!(Schedule::Plateau { factor: 1.0, patience: 1, lowest: 1e-6 }.validate().is_err());
        assert!(Schedule::Plateau { factor: f64::NAN, patience: 1, lowest: 1e-6 }.validate().is_err());
        assert!(Schedule::Plateau { factor: 0.5, patience: 1, lowest: -1.0 }.validate().is_err());
    }
}
