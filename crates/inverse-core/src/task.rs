//! Tasks: a simulator with the prior its designs come from.

use ndarray::{Array2, ArrayView2};

use crate::{InvalidArgument, Prior, SimulationError, Simulator};

/// A benchmark task: f and the distribution of x.
pub trait Task: Simulator {
    /// The name by which results and command lines know the task.
    fn name(&self) -> &str;

    /// The distribution of designs.
    fn prior(&self) -> &dyn Prior;
}

impl<T: Task + ?Sized> Task for Box<T> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn prior(&self) -> &dyn Prior {
        (**self).prior()
    }
}

impl<T: Task + ?Sized> Task for &T {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn prior(&self) -> &dyn Prior {
        (**self).prior()
    }
}

/// A task made of any simulator and any prior.
///
/// ```
/// use inverse_core::{BoxPrior, FnSimulator, SimulatedTask, Task};
///
/// let simulator = FnSimulator::new(1, 1, |x, y| y[0] = x[0].powi(3))?;
/// let task = SimulatedTask::new("cube", simulator, BoxPrior::new(&[-1.0], &[1.0])?)?;
/// assert_eq!(task.name(), "cube");
/// # Ok::<(), inverse_core::InvalidArgument>(())
/// ```
#[derive(Debug, Clone)]
pub struct SimulatedTask<S, P> {
    name: String,
    simulator: S,
    prior: P,
}

impl<S: Simulator, P: Prior> SimulatedTask<S, P> {
    /// Joins a simulator and a prior under a name.
    ///
    /// # Errors
    /// [`InvalidArgument`] where the name is empty or the prior's width is not the simulator's.
    pub fn new(name: impl Into<String>, simulator: S, prior: P) -> Result<Self, InvalidArgument> {
        let name = name.into();
        if name.trim().is_empty() {
            return Err(InvalidArgument::new("name", "a name", "an empty one"));
        }
        let width = prior.domain().dim();
        if width != simulator.dim_x() {
            let expected = format!("{} variables, as the simulator has", simulator.dim_x());
            return Err(InvalidArgument::new("prior", expected, format!("{width} variables")));
        }
        Ok(Self { name, simulator, prior })
    }
}

impl<S: Simulator, P: Prior> Simulator for SimulatedTask<S, P> {
    fn dim_x(&self) -> usize {
        self.simulator.dim_x()
    }

    fn dim_y(&self) -> usize {
        self.simulator.dim_y()
    }

    fn simulate(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>, SimulationError> {
        self.simulator.simulate(x)
    }
}

impl<S: Simulator, P: Prior> Task for SimulatedTask<S, P> {
    fn name(&self) -> &str {
        &self.name
    }

    fn prior(&self) -> &dyn Prior {
        &self.prior
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BoxPrior, FnSimulator};

    #[test]
    fn widths_must_agree() {
        let simulator = FnSimulator::new(2, 1, |x, y| y[0] = x[0]).unwrap();
        let prior = BoxPrior::new(&[0.0], &[1.0]).unwrap();
        let error = SimulatedTask::new("narrow", simulator.clone(), prior).unwrap_err().to_string();
        assert_eq!(error, "invalid `prior`: expected 2 variables, as the simulator has, found 1 variables");
        let prior = BoxPrior::new(&[0.0; 2], &[1.0; 2]).unwrap();
        assert!(SimulatedTask::new(" ", simulator, prior).is_err());
    }
}
