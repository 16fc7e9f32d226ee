//! How long inference takes (Table 2).

use std::path::Path;
use std::time::{Duration, Instant};

use inverse_core::{InverseModel, Task};
use inverse_models::presets::PresetMethod;
use inverse_models::{AnyMethod, NeuralAdjoint};
use ndarray::s;
use serde::{Deserialize, Serialize};

use super::super::plan::{InferenceSettings, streams};
use super::{Study, neural_adjoint, neural_adjoint_settings, write_json};
use crate::StudyError;
use crate::progress::Progress;

pub(crate) const TIMES: &str = "timing.json";

/// Solutions of the paper's Table 2.
const SOLUTIONS: usize = 1000;

/// Repeats at least, and at most; between the two, as many as fit in the profile's time.
const LEAST_REPEATS: usize = 3;
const MOST_REPEATS: usize = 101;

/// Times of inference for one target, with the model already loaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InferenceTimes {
    /// One solution.
    pub one: Repeats,
    /// 1,000 solutions.
    pub thousand: Repeats,
    /// Threads that worked.
    pub threads: usize,
    /// Where.
    pub device: String,
}

/// Repeated times of one thing, after one repeat that is not counted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Repeats {
    /// The median, s.
    pub median: f64,
    /// The quickest, s.
    pub shortest: f64,
    /// The slowest, s.
    pub longest: f64,
    /// How many.
    pub count: usize,
}

impl Study {
    pub(super) fn time(
        &self,
        folder: &Path,
        task: &dyn Task,
        method: &dyn AnyMethod,
        training: &str,
        progress: &Progress,
    ) -> Result<(), StudyError> {
        progress.stage(1, "timing");
        let target = self.test_targets(task)?;
        let target = target.y().slice_move(s![..1, ..]);
        let model = self.model(method, None, training)?;
        let streams = streams(&self.arguments, task);
        let run = |model: &dyn InverseModel, count| {
            repeat(self.arguments.profile().timing_budget(), |repeat| {
                // Proposals come back as numbers on the processor: the device has done all its work by then.
                model.propose(target, count, &mut streams.stream("timed proposals", repeat))?;
                Ok(())
            })
        };
        let one = run(&*model, 1)?;
        let thousand = run(&*self.model_for_thousand(method, training)?, SOLUTIONS)?;
        let device = self.arguments.device().to_string();
        let times = InferenceTimes { one, thousand, threads: rayon::current_num_threads(), device };
        progress.advance(1);
        write_json(folder, TIMES, &times)
    }

    /// A model that can make 1,000 proposals: NA starts from as many designs, as the paper's does.
    fn model_for_thousand(
        &self,
        method: &dyn AnyMethod,
        training: &str,
    ) -> Result<Box<dyn InverseModel>, StudyError> {
        if method.name() != NeuralAdjoint::NAME {
            return Ok(Box::new(self.model(method, None, training)?));
        }
        let NeuralAdjoint { starts, descent, levenberg_marquardt, .. } = neural_adjoint_settings(method)?;
        let inference = InferenceSettings { starts, descent, levenberg_marquardt };
        let (folder, device) = (self.store.folder(training), self.arguments.device());
        Ok(Box::new(neural_adjoint(&folder, device, SOLUTIONS, &inference)?))
    }
}

/// Times something again and again; the first time is not counted.
fn repeat(
    budget: Duration,
    mut what: impl FnMut(u64) -> Result<(), StudyError>,
) -> Result<Repeats, StudyError> {
    what(0)?;
    let begun = Instant::now();
    let mut seconds = Vec::new();
    while seconds.len() < LEAST_REPEATS || (seconds.len() < MOST_REPEATS && begun.elapsed() < budget) {
        let started = Instant::now();
        what(1 + seconds.len() as u64)?;
        seconds.push(started.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    let count = seconds.len();
    Ok(Repeats { median: seconds[count / 2], shortest: seconds[0], longest: seconds[count - 1], count })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_leave_the_first_out() {
        let mut calls = Vec::new();
        let times = repeat(Duration::from_secs(2), |index| {
            calls.push(index);
            std::thread::sleep(Duration::from_millis(if index == 0 { 900 } else { 100 }));
            Ok(())
        })
        .unwrap();
        assert_eq!(calls, (0..=times.count as u64).collect::<Vec<_>>());
        assert!(times.count >= LEAST_REPEATS);
        assert!(times.shortest >= 0.1 && times.shortest <= times.median && times.median <= times.longest);
    }
}
