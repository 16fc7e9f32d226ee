//! r_T by wall time beside r_T by calls: a search that thinks long before each call pays for it here.

use std::ops::ControlFlow;
use std::time::Instant;

use inverse_core::{InvalidArgument, Search, Simulator};
use ndarray::{Array3, ArrayView2, Axis};
use rand::Rng;

use crate::resimulation::follow_search;
use crate::{MetricError, ResimulationErrors};

/// Errors of a search, and when each of its calls was answered.
///
/// ```
/// use inverse_metrics::{ResimulationErrors, TimedErrors};
/// use ndarray::array;
///
/// let errors = ResimulationErrors::from_errors(array![[4.0, 1.0, 2.0]])?;
/// let timed = TimedErrors::new(errors, vec![0.5, 1.0, 3.0])?;
/// assert_eq!((timed.calls_within(0.9), timed.mean_within(0.9)), (1, Some(4.0)));
/// assert_eq!(timed.mean_within(2.0), Some(1.0));
/// assert_eq!(timed.mean_within(0.1), None);
/// # Ok::<(), inverse_metrics::MetricError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct TimedErrors {
    errors: ResimulationErrors,
    /// Seconds from the start to the end of each call, (calls).
    seconds: Vec<f64>,
}

impl TimedErrors {
    /// * `seconds`: from the start to the answer of each call, all targets together, (calls)
    ///
    /// # Errors
    /// [`MetricError::InvalidArgument`] where there is not one time a call, or times are negative, not finite, or fall.
    pub fn new(errors: ResimulationErrors, seconds: Vec<f64>) -> Result<Self, MetricError> {
        if seconds.len() != errors.count() {
            let expected = format!("{} times, one a call", errors.count());
            return Err(InvalidArgument::new("seconds", expected, seconds.len()).into());
        }
        if let Some(bad) = seconds.iter().find(|time| !(**time >= 0.0 && time.is_finite())) {
            return Err(InvalidArgument::new("seconds", "times of at least 0", bad).into());
        }
        if let Some((later, earlier)) =
            seconds.iter().skip(1).zip(&seconds).find(|(later, earlier)| later < earlier)
        {
            let found = format!("{later} after {earlier}");
            return Err(InvalidArgument::new("seconds", "times in order", found).into());
        }
        Ok(Self { errors, seconds })
    }

    /// The errors by calls.
    pub fn errors(&self) -> &ResimulationErrors {
        &self.errors
    }

    /// Gives the times away.
    pub fn into_errors(self) -> ResimulationErrors {
        self.errors
    }

    /// Seconds from the start to the answer of each call, all targets together, (calls).
    pub fn seconds(&self) -> &[f64] {
        &self.seconds
    }

    /// How many calls were answered within a time, in seconds.
    pub fn calls_within(&self, seconds: f64) -> usize {
        self.seconds.iter().take_while(|time| **time <= seconds).count()
    }

    /// r within a time, in seconds: the mean over targets of the best that was simulated until then; none before the
    /// first call.
    pub fn mean_within(&self, seconds: f64) -> Option<f64> {
        let calls = self.calls_within(seconds);
        // Some call was answered, and no more than there are.
        (calls > 0).then(|| self.errors.mean(calls).ok()).flatten()
    }

    /// The time after which r stays at most `error`; none where it never is.
    pub fn seconds_to(&self, error: f64) -> Option<f64> {
        let mean = self.errors.curve().mean;
        self.seconds.iter().zip(mean).find(|(_, mean)| *mean <= error).map(|(time, _)| *time)
    }
}

/// As [`resimulate_search`](crate::resimulate_search), with the time of every call.
///
/// * `started`: when the clock began; one from before the search was made counts its proposals in
///
/// # Errors
/// As [`resimulate_search`](crate::resimulate_search).
///
/// ```
/// use std::time::Instant;
///
/// use inverse_core::{FnSimulator, ProposalWalk, Proposals, RandomStreams};
/// use inverse_metrics::resimulate_search_timed;
/// use ndarray::array;
///
/// let started = Instant::now();
/// let double = FnSimulator::new(1, 1, |x, y| y[0] = 2.0 * x[0])?;
/// let mut search = ProposalWalk::new(Proposals::new(array![[[0.0], [1.0]]])?, 1);
/// let mut rng = RandomStreams::new(1).stream("search", 0);
/// let timed = resimulate_search_timed(&double, &mut search, array![[2.0]].view(), 2, &mut rng, started)?;
/// assert_eq!((timed.errors().mean(2)?, timed.seconds().len()), (0.0, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn resimulate_search_timed(
    simulator: &dyn Simulator,
    search: &mut dyn Search,
    y: ArrayView2<'_, f64>,
    budget: usize,
    rng: &mut dyn Rng,
    started: Instant,
) -> Result<TimedErrors, MetricError> {
    let mut seconds = Vec::new();
    let errors = follow_search(simulator, search, y, budget, rng, |_, _| {
        seconds.push(started.elapsed().as_secs_f64());
        ControlFlow::Continue(())
    })?;
    TimedErrors::new(errors, seconds)
}

/// As [`resimulate_search_timed`], and the designs that were simulated, (targets, calls, `dim_x`): what the diversity of
/// a search is measured on.
///
/// # Errors
/// As [`resimulate_search`](crate::resimulate_search).
pub fn record_search(
    simulator: &dyn Simulator,
    search: &mut dyn Search,
    y: ArrayView2<'_, f64>,
    budget: usize,
    rng: &mut dyn Rng,
    started: Instant,
) -> Result<(TimedErrors, Array3<f64>), MetricError> {
    let mut seconds = Vec::new();
    let mut designs = Vec::new();
    let errors = follow_search(simulator, search, y, budget, rng, |asked, _| {
        seconds.push(started.elapsed().as_secs_f64());
        designs.push(asked.to_owned());
        ControlFlow::Continue(())
    })?;
    let views: Vec<_> = designs.iter().map(|designs| designs.view()).collect();
    let designs = ndarray::stack(Axis(1), &views)
        .map_err(|error| InvalidArgument::new("search", "designs of one shape", error))?;
    Ok((TimedErrors::new(errors, seconds)?, designs))
}

#[cfg(test)]
mod tests {
    use inverse_core::{FnSimulator, ProposalWalk, Proposals, RandomStreams};
    use ndarray::array;

    use super::*;

    fn errors() -> ResimulationErrors {
        ResimulationErrors::from_errors(array![[4.0, 1.0, 2.0], [8.0, 8.0, 0.0]]).unwrap()
    }

    #[test]
    fn what_was_reached_in_a_time_is_what_its_calls_reached() {
        let timed = TimedErrors::new(errors(), vec![1.0, 2.0, 2.0]).unwrap();
        assert_eq!(timed.calls_within(2.0), 3);
        assert_eq!(timed.mean_within(0.5), None);
        assert_eq!(timed.mean_within(1.5), Some(6.0));
        assert_eq!(timed.mean_within(9.0), Some(0.5));
        assert_eq!(
            (timed.seconds_to(6.0), timed.seconds_to(0.5), timed.seconds_to(0.4)),
            (Some(1.0), Some(2.0), None)
        );
    }

    #[test]
    fn times_that_are_none_are_refused() {
        for seconds in [vec![1.0], vec![1.0, 0.5, 2.0], vec![0.0, f64::NAN, 1.0], vec![-1.0, 0.0, 1.0]] {
            assert!(TimedErrors::new(errors(), seconds).is_err());
        }
    }

    #[test]
    fn designs_are_recorded_in_the_order_of_calls() {
        let double = FnSimulator::new(1, 1, |x, y| y[0] = 2.0 * x[0]).unwrap();
        let proposals = Proposals::new(array![[[0.0], [1.0]], [[2.0], [3.0]]]).unwrap();
        let mut search = ProposalWalk::new(proposals.clone(), 1);
        let mut rng = RandomStreams::new(1).stream("search", 0);
        let y = array![[2.0], [4.0]];
        let (timed, designs) =
            record_search(&double, &mut search, y.view(), 2, &mut rng, Instant::now()).unwrap();
        assert_eq!(designs, proposals.designs());
        assert_eq!(timed.errors().errors(), array![[4.0, 0.0], [0.0, 4.0]]);
        assert!(timed.seconds()[0] <= timed.seconds()[1]);
    }
}
