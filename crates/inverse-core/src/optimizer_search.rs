//! Any optimiser that calls an objective as an ask/tell search.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use ndarray::{Array2, ArrayView2};
use rand::Rng;

use crate::simulator::check_dimension;
use crate::{
    InvalidArgument, ProposeError, RandomStreams, Search, Stream, check_answered, check_answers, check_matrix,
};

/// The objective of one target, for an optimiser to call: the mean squared error of a design's measurement.
#[derive(Debug)]
pub struct Objective {
    target: usize,
    remaining: usize,
    called: bool,
    designs: Sender<Vec<f64>>,
    errors: Receiver<f64>,
}

impl Objective {
    /// The mean squared error at the design `x`, (`dim_x`): one call of the simulator.
    ///
    /// Infinite where the simulator has no answer. None where the budget is spent, or the search was dropped: the
    /// optimiser shall end.
    pub fn call(&mut self, x: &[f64]) -> Option<f64> {
        if self.remaining == 0 {
            return None;
        }
        self.remaining -= 1;
        self.called = true;
        let error = self.designs.send(x.to_vec()).ok().and_then(|()| self.errors.recv().ok());
        if error.is_none() {
            self.remaining = 0;
        }
        error
    }

    /// The calls that are left.
    pub fn remaining(&self) -> usize {
        self.remaining
    }

    /// The number of the target, in order of the targets.
    pub fn target(&self) -> usize {
        self.target
    }
}

/// Both ends of one target's optimiser.
struct Client {
    designs: Receiver<Vec<f64>>,
    errors: Sender<f64>,
}

/// A search by any optimiser that calls an objective: one from a crate, one of your own.
///
/// Such optimisers own their loop; a [`Search`] is asked and told. Each target's optimiser runs on a thread of its own,
/// which waits in [`Objective::call`] for the simulator's answer. Every call counts, those of line searches and of the
/// first population too. An optimiser that ends before its budget is started again: it gets another random stream.
/// What it asks depends on its stream and the answers alone, not on how threads run.
///
/// ```
/// use inverse_core::{FnSimulator, Objective, OptimizerSearch, RandomStreams, Search, Simulator, Stream};
/// use ndarray::array;
/// use rand::RngExt;
///
/// // Halves the interval that holds the minimum, by golden section.
/// let golden = |objective: &mut Objective, _: &mut Stream| {
///     let (mut low, mut high, share) = (0.0, 4.0, 0.5 * (5.0_f64.sqrt() - 1.0));
///     while high - low > 1e-6 {
///         let (left, right) = (high - share * (high - low), low + share * (high - low));
///         let (Some(at_left), Some(at_right)) = (objective.call(&[left]), objective.call(&[right])) else { return };
///         if at_left < at_right { high = right } else { low = left }
///     }
/// };
/// let square = FnSimulator::new(1, 1, |x, y| y[0] = x[0] * x[0])?;
/// let y = array![[2.0], [9.0]];
/// let mut rng = RandomStreams::new(1).stream("search", 0);
/// let mut search = OptimizerSearch::new(golden, 1, y.view(), 40, &mut rng)?;
/// let mut x = array![[0.0], [0.0]];
/// for _ in 0..40 {
///     x = search.ask(&mut rng)?;
///     search.tell(square.simulate(x.view())?.view())?;
/// }
/// assert!((x[[0, 0]] - 2.0_f64.sqrt()).abs() < 1e-2 && (x[[1, 0]] - 3.0).abs() < 1e-2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct OptimizerSearch {
    clients: Vec<Client>,
    y: Array2<f64>,
    dim_x: usize,
    remaining: usize,
    waiting: bool,
}

impl fmt::Debug for OptimizerSearch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = formatter.debug_struct("OptimizerSearch");
        text.field("targets", &self.y.nrows()).field("remaining", &self.remaining).finish_non_exhaustive()
    }
}

impl OptimizerSearch {
    /// A search that runs `optimizer` for each target.
    ///
    /// * `optimizer`: minimises the objective; it ends where that gives none
    /// * `y`: targets, (targets, `dim_y`)
    /// * `budget`: calls a target
    ///
    /// # Errors
    /// [`ProposeError::InvalidArgument`] where `dim_x` is 0 or above [`LARGEST_DIMENSION`](crate::LARGEST_DIMENSION),
    /// `budget` is 0, there is no target, or one is not finite;
    /// [`ProposeError::Backend`] where the operating system refuses a thread.
    pub fn new(
        optimizer: impl Fn(&mut Objective, &mut Stream) + Send + Sync + 'static,
        dim_x: usize,
        y: ArrayView2<'_, f64>,
        budget: usize,
        rng: &mut dyn Rng,
    ) -> Result<Self, ProposeError> {
        check_matrix("y", y, y.ncols())?;
        if y.is_empty() {
            let found = format!("shape {:?}", y.dim());
            return Err(InvalidArgument::new("y", "at least one target and one variable", found).into());
        }
        check_dimension("dim_x", dim_x)?;
        if budget == 0 {
            return Err(InvalidArgument::new("budget", "at least 1", budget).into());
        }
        let optimizer = Arc::new(optimizer);
        let clients = (0..y.nrows()).map(|target| {
            let streams = RandomStreams::new(rng.next_u64());
            let (optimizer, (designs, asked), (errors, told)) = (optimizer.clone(), channel(), channel());
            let objective = Objective { target, remaining: budget, called: false, designs, errors: told };
            thread::Builder::new()
                .name(format!("optimizer {target}"))
                .spawn(move || run(&*optimizer, objective, streams))
                .map_err(|error| ProposeError::Backend(Box::new(error)))?;
            Ok(Client { designs: asked, errors })
        });
        let clients = clients.collect::<Result<_, ProposeError>>()?;
        Ok(Self { clients, y: y.to_owned(), dim_x, remaining: budget, waiting: false })
    }
}

/// Starts the optimiser again and again, until its calls are spent or it makes none.
fn run(optimizer: &dyn Fn(&mut Objective, &mut Stream), mut objective: Objective, streams: RandomStreams) {
    let mut start = 0;
    while objective.remaining > 0 {
        objective.called = false;
        optimizer(&mut objective, &mut streams.stream("optimizer", start));
        if !objective.called {
            break;
        }
        start += 1;
    }
}

impl OptimizerSearch {
    /// What each optimiser asks for, (targets, `dim_x`).
    fn designs(&self) -> Result<Array2<f64>, InvalidArgument> {
        let mut designs = Array2::zeros((self.clients.len(), self.dim_x));
        for (target, (client, mut row)) in self.clients.iter().zip(designs.rows_mut()).enumerate() {
            let Ok(design) = client.designs.recv() else {
                let found = format!("an end without one, for target {target}");
                return Err(InvalidArgument::new("optimizer", "calls of the objective", found));
            };
            if design.len() != self.dim_x {
                let expected = format!("designs of {} variables", self.dim_x);
                return Err(InvalidArgument::new("optimizer", expected, design.len()));
            }
            row.iter_mut().zip(design).for_each(|(slot, value)| *slot = value);
        }
        Ok(designs)
    }
}

impl Search for OptimizerSearch {
    /// As [`Search::ask`]; also [`ProposeError::InvalidArgument`] where an optimiser ends without a call, panics, or
    /// asks for a design of another width: the search is over then, for all targets.
    fn ask(&mut self, _rng: &mut dyn Rng) -> Result<Array2<f64>, ProposeError> {
        if self.remaining == 0 {
            return Err(InvalidArgument::new("budget", "no more calls than it allows", "one more").into());
        }
        check_answered(self.waiting)?;
        if self.clients.is_empty() {
            let found = "one that ended with an error";
            return Err(InvalidArgument::new("optimizer", "a search that goes on", found).into());
        }
        // The other optimisers wait for answers that will not come: without their clients they end.
        let designs = self.designs().inspect_err(|_| self.clients.clear())?;
        self.remaining -= 1;
        self.waiting = true;
        Ok(designs)
    }

    fn tell(&mut self, y: ArrayView2<'_, f64>) -> Result<(), ProposeError> {
        check_answers(y, self.y.dim())?;
        if !std::mem::take(&mut self.waiting) {
            return Err(InvalidArgument::new("y", "answers to designs that were asked for", "others").into());
        }
        for (client, (answer, target)) in self.clients.iter().zip(y.rows().into_iter().zip(self.y.rows())) {
            let squares = answer.iter().zip(target).map(|(answer, target)| (answer - target).powi(2));
            let error = squares.sum::<f64>() / target.len() as f64;
            // An optimiser that is gone shows in the next question.
            let _gone = client.errors.send(if error.is_nan() { f64::INFINITY } else { error });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use rand::RngExt;

    use super::*;

    fn stream() -> Stream {
        RandomStreams::new(3).stream("search", 0)
    }

    /// Two random designs, then an end.
    fn pair(objective: &mut Objective, stream: &mut Stream) {
        for _ in 0..2 {
            if objective.call(&[stream.random_range(0.0..1.0), objective.target() as f64]).is_none() {
                return;
            }
        }
    }

    #[test]
    fn it_conforms() {
        let y = array![[0.0], [1.0]];
        let begin = |budget: usize, rng: &mut dyn Rng| -> Result<Box<dyn Search>, ProposeError> {
            Ok(Box::new(OptimizerSearch::new(pair, 2, y.view(), budget, rng)?))
        };
        crate::testing::check_search("optimiser", begin, (2, 2, 1), 1).unwrap();
    }

    #[test]
    fn every_call_counts_and_runs_start_again() {
        let y = array![[0.0], [1.0]];
        let designs = || {
            let mut search = OptimizerSearch::new(pair, 2, y.view(), 5, &mut stream()).unwrap();
            let asked: Vec<Array2<f64>> = (0..5)
                .map(|_| {
                    let x = search.ask(&mut stream()).unwrap();
                    search.tell(array![[1.0], [f64::NAN]].view()).unwrap();
                    x
                })
                .collect();
            assert!(search.ask(&mut stream()).is_err(), "the budget is spent");
            asked
        };
        let asked = designs();
        assert_eq!(asked, designs());
        for x in &asked {
            assert_eq!(x.column(1), array![0.0, 1.0]);
        }
        // Restarts draw from other streams.
        assert_ne!(asked[0], asked[2]);
    }

    #[test]
    fn errors_are_mean_squares_and_infinite_without_an_answer() {
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let log = seen.clone();
        let optimizer = move |objective: &mut Objective, _: &mut Stream| {
            while let Some(error) = objective.call(&[0.5]) {
                log.lock().unwrap().push((error, objective.remaining()));
            }
        };
        let y = array![[1.0, 2.0]];
        let mut search = OptimizerSearch::new(optimizer, 1, y.view(), 2, &mut stream()).unwrap();
        for answer in [array![[2.0, 5.0]], array![[f64::NAN, 0.0]]] {
            assert_eq!(search.ask(&mut stream()).unwrap(), array![[0.5]]);
            assert!(search.ask(&mut stream()).is_err(), "an answer is due");
            search.tell(answer.view()).unwrap();
        }
        // The thread ends after its last answer; its log is whole then.
        while Arc::strong_count(&seen) > 1 {
            thread::yield_now();
        }
        assert_eq!(*seen.lock().unwrap(), [(5.0, 1), (f64::INFINITY, 0)]);
    }

    #[test]
    fn an_error_ends_the_search_for_all_targets() {
        let kept = Arc::new(());
        let alive = kept.clone();
        // The second target's optimiser makes no call; the first one's waits for an answer.
        let optimizer = move |objective: &mut Objective, _: &mut Stream| {
            while objective.target() == 0 && objective.call(&[0.5]).is_some() {}
            assert!(Arc::strong_count(&alive) > 1, "the test holds the other one");
        };
        let y = array![[0.0], [1.0]];
        let mut search = OptimizerSearch::new(optimizer, 1, y.view(), 9, &mut stream()).unwrap();
        // On a thread of its own: what waits for ever fails, and does not hold up the other tests.
        let (sender, asked) = channel();
        thread::spawn(move || {
            for _ in 0..3 {
                sender.send(search.ask(&mut stream()).unwrap_err().to_string()).unwrap();
            }
            search.tell(array![[0.0], [0.0]].view()).unwrap_err();
        });
        let next = || asked.recv_timeout(std::time::Duration::from_mins(1)).unwrap();
        assert!(next().contains("an end without one, for target 1"));
        for _ in 0..2 {
            assert!(next().contains("one that ended with an error"));
        }
        while Arc::strong_count(&kept) > 1 {
            thread::yield_now();
        }
    }

    #[test]
    fn optimizers_that_do_not_ask_are_errors() {
        let y = array![[0.0]];
        let new = |optimizer: fn(&mut Objective, &mut Stream), dim_x, budget| {
            OptimizerSearch::new(optimizer, dim_x, y.view(), budget, &mut stream())
        };
        let argument = |result: Result<Array2<f64>, ProposeError>| match result {
            Err(ProposeError::InvalidArgument(error)) => error.argument,
            other => panic!("{other:?}"),
        };
        let mut silent = new(|_, _| (), 1, 3).unwrap();
        assert_eq!(argument(silent.ask(&mut stream())), "optimizer");
        let mut wide = new(pair, 3, 3).unwrap();
        assert_eq!(argument(wide.ask(&mut stream())), "optimizer");
        for (dim_x, budget, argument) in [(0, 3, "dim_x"), (usize::MAX, 3, "dim_x"), (2, 0, "budget")] {
            let error = new(pair, dim_x, budget).unwrap_err().to_string();
            assert!(error.contains(&format!("invalid `{argument}`")), "{error}");
        }
        let mut early = new(pair, 2, 3).unwrap();
        assert!(early.tell(array![[0.0]].view()).is_err());
    }
}
