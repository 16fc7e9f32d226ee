//! The learning rate of a descent on the input, and how far the steps to come can reach.

use std::f64::consts::PI;

use crate::input_descent::InputDescentSettings;
use crate::nn::{Schedule, ScheduleState};

/// One rate for all designs, or one for each target where plateaus decide.
pub(crate) enum DescentRate {
    Cosine { cosine: Cosine, step: usize },
    Plateau { schedule: Schedule, targets: Vec<ScheduleState>, step: usize, steps: usize },
}

/// A rate that falls from `first` to `last` along half a cosine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cosine {
    pub(crate) first: f64,
    pub(crate) last: f64,
    pub(crate) steps: usize,
}

impl DescentRate {
    pub(crate) fn new(settings: &InputDescentSettings, targets: usize) -> Self {
        let (first, steps) = (settings.learning_rate, settings.steps);
        match settings.schedule {
            Schedule::Cosine { last } => Self::Cosine { cosine: Cosine { first, last, steps }, step: 0 },
            schedule @ Schedule::Plateau { .. } => {
                Self::Plateau { schedule, targets: vec![ScheduleState::new(first); targets], step: 0, steps }
            }
        }
    }

    /// The rate of the next step for the designs of a target.
    pub(crate) fn of(&self, target: usize) -> f32 {
        match self {
            Self::Cosine { cosine, step } => cosine.rate(*step) as f32,
            Self::Plateau { targets, .. } => targets[target].rate() as f32,
        }
    }

    /// The sum of all rates still to come for a target, as far as they are known: no coordinate goes further, as Adam's
    /// steps are within the rate unless gradients grow.
    pub(crate) fn reach(&self, target: usize) -> f64 {
        match self {
            Self::Cosine { cosine, step } => cosine.sum_from(*step),
            // Rates never rise.
            Self::Plateau { targets, step, steps, .. } => targets[target].rate() * (steps - step) as f64,
        }
    }

    /// Whether the designs of a target influence each other through their rate.
    pub(crate) fn is_shared_by_loss(&self) -> bool {
        matches!(self, Self::Plateau { .. })
    }

    /// One step was taken.
    ///
    /// * `targets`, `losses`: of each design; those of a target lie together
    pub(crate) fn advance(&mut self, targets: &[usize], losses: &[f32]) {
        match self {
            Self::Cosine { step, .. } => *step += 1,
            Self::Plateau { schedule, targets: states, step, steps } => {
                *step = (*step + 1).min(*steps);
                let mut first = 0;
                for group in targets.chunk_by(|a, b| a == b) {
                    let losses = &losses[first..first + group.len()];
                    first += group.len();
                    let mean = losses.iter().sum::<f32>() / group.len() as f32;
                    states[group[0]].advance(schedule, f64::from(mean), *step, *steps);
                }
            }
        }
    }
}

impl Cosine {
    /// The rate after `step` steps.
    pub(crate) fn rate(&self, step: usize) -> f64 {
        let progress = step as f64 / self.steps as f64;
        let height = 0.5 * (1.0 + (PI * progress).cos());
        self.last + (self.first - self.last) * height
    }

    /// The sum of the rates from `step` to the last.
    fn sum_from(&self, step: usize) -> f64 {
        let (steps, remaining) = (self.steps as f64, self.steps.saturating_sub(step) as f64);
        // Lagrange: Σ cos(π t / S) for t from s to S − 1.
        let half = 0.5 * PI / steps;
        let middle = (half * (step as f64 + steps - 1.0)).cos();
        let cosines = middle * (half * remaining).sin() / half.sin();
        self.last * remaining + (self.first - self.last) * 0.5 * (remaining + cosines).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::*;

    #[test]
    fn a_cosine_falls_from_first_to_last_and_its_reach_is_what_remains() {
        let schedule = Schedule::Cosine { last: 0.0 };
        let settings = InputDescentSettings { steps: 4, learning_rate: 1.0, schedule, ..Default::default() };
        let mut rate = DescentRate::new(&settings, 1);
        // (1 + cos(π t / 4)) / 2 for t from 0 to 3: 1, 0.853553, 0.5, 0.146447.
        assert_relative_eq!(rate.reach(0), 2.5, max_relative = 1e-12);
        for (expected, reach) in [(1.0, 1.5), (0.853_553, 0.646_447), (0.5, 0.146_447), (0.146_447, 0.0)] {
            assert_relative_eq!(rate.of(0), expected, max_relative = 1e-5);
            rate.advance(&[0], &[1.0]);
            assert_relative_eq!(rate.reach(0), reach, epsilon = 1e-6);
        }
    }

    #[test]
    fn a_plateau_lowers_the_rate_of_its_target_alone() {
        let schedule = Schedule::Plateau { factor: 0.5, patience: 1, lowest: 0.3 };
        let settings = InputDescentSettings { steps: 10, learning_rate: 1.0, schedule, ..Default::default() };
        let mut rate = DescentRate::new(&settings, 2);
        // Target 0 falls at each step, target 1 stays where it is: one step to set the best, two to be impatient.
        let mut seen = Vec::new();
        for step in 0..6 {
            let falling = 1.0 / (step + 1) as f32;
            rate.advance(&[0, 0, 1], &[falling, falling, 2.0]);
            seen.push((rate.of(0), rate.of(1)));
        }
        assert_eq!(seen, [(1.0, 1.0), (1.0, 1.0), (1.0, 0.5), (1.0, 0.5), (1.0, 0.3), (1.0, 0.3)]);
        assert_relative_eq!(rate.reach(0), 4.0);
        assert_relative_eq!(rate.reach(1), 1.2, max_relative = 1e-6);
    }
}
