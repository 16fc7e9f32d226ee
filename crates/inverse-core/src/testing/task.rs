//! Checks of tasks.

use super::Nonconformance;
use super::prior::samples;
use super::simulator::{answers, refusals, usable};
use crate::Task;

/// Share of the prior's samples that must be evaluable: below it, most of a dataset would be draws thrown away.
const EVALUABLE: f64 = 0.5;

/// Checks a task: its prior and domain ([`check_prior`](super::check_prior)), its simulator on 200 samples of the
/// prior ([`check_simulator`](super::check_simulator)), and that most samples can be evaluated.
///
/// # Errors
/// [`Nonconformance`] that lists every finding.
///
/// ```
/// use inverse_core::{BoxPrior, FnSimulator, SimulatedTask, testing::check_task};
///
/// let root = FnSimulator::new(1, 1, |x, y| y[0] = x[0].sqrt())?;
/// let task = SimulatedTask::new("root", root, BoxPrior::new(&[-10.0], &[1.0])?)?;
/// let report = check_task(&task, 1).unwrap_err();
/// assert!(report.findings()[0].starts_with("prior: expected mostly designs that can be evaluated"));
/// # Ok::<(), inverse_core::InvalidArgument>(())
/// ```
pub fn check_task(task: &dyn Task, seed: u64) -> Result<(), Nonconformance> {
    let mut report = Nonconformance::new(format!("task `{}`", task.name()));
    let named = !task.name().trim().is_empty();
    report.require(named, "name", "a name", "an empty one", "tables and commands know a task by its name");
    let Some(x) = samples(&mut report, task.prior(), task.dim_x(), seed) else { return report.finish() };
    let mut simulator = Nonconformance::new("");
    if usable(&mut simulator, task, x.view()) {
        answers(&mut simulator, task, x.view());
        refusals(&mut simulator, x.view(), |x| task.simulate(x));
    }
    // Asked only where the simulator answers properly: otherwise the finding would repeat another.
    if simulator.is_clean()
        && let Ok(y) = task.simulate(x.view())
    {
        let evaluable = y.rows().into_iter().filter(|row| row.iter().all(|value| value.is_finite())).count();
        report.require(
            evaluable as f64 >= EVALUABLE * x.nrows() as f64,
            "prior",
            "mostly designs that can be evaluated",
            format!("{evaluable} of {}", x.nrows()),
            "narrow the prior, or write every entry of y",
        );
    }
    report.findings.append(&mut simulator.findings);
    report.finish()
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, ArrayView2};
    use rand::Rng;

    use super::*;
    use crate::{BoxPrior, Domain, FnSimulator, Prior, SimulatedTask, SimulationError, Simulator};

    fn unit(dim: usize) -> BoxPrior {
        BoxPrior::new(&vec![0.0; dim], &vec![1.0; dim]).unwrap()
    }

    fn report(task: &dyn Task) -> String {
        check_task(task, 1).err().map(|report| report.to_string()).unwrap_or_default()
    }

    fn findings(evaluate: fn(&[f64], &mut [f64]), prior: impl Prior) -> String {
        let simulator = FnSimulator::new(1, 1, evaluate).unwrap();
        report(&SimulatedTask::new("test", simulator, prior).unwrap())
    }

    #[test]
    fn sound_tasks_pass() {
        assert_eq!(findings(|x, y| y[0] = x[0].exp(), unit(1)), "");
        assert_eq!(findings(|x, y| y[0] = (x[0] - 0.2).sqrt(), unit(1)), "", "some rows of NaN are fine");
    }

    #[test]
    fn designs_that_cannot_be_evaluated_are_found() {
        let report = findings(|x, y| y[0] = (x[0] - 0.9).sqrt(), unit(1));
        assert!(report.contains("prior: expected mostly designs that can be evaluated"), "{report}");
        let forgetful = FnSimulator::new(1, 2, |x, y| y[0] = x[0]).unwrap();
        let task = SimulatedTask::new("forgetful", forgetful, unit(1)).unwrap();
        assert!(super::tests::report(&task).contains("came 0 of 200"));
    }

    /// Draws beside the domain of the unit box.
    struct Shifted(BoxPrior);

    impl Prior for Shifted {
        fn sample(&self, n: usize, rng: &mut dyn Rng) -> Array2<f64> {
            self.0.sample(n, rng) + 0.5
        }

        fn domain(&self) -> &Domain {
            self.0.domain()
        }
    }

    #[test]
    fn all_findings_come_in_one_report() {
        let report = findings(|_, y| y[0] = f64::INFINITY, Shifted(unit(1)));
        for words in ["task `test` does not conform", "domain of x1", "came infinity"] {
            assert!(report.contains(words), "{words}: {report}");
        }
    }

    /// A task whose parts do not fit together.
    struct Misfit(BoxPrior);

    impl Simulator for Misfit {
        fn dim_x(&self) -> usize {
            2
        }

        fn dim_y(&self) -> usize {
            1
        }

        fn simulate(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>, SimulationError> {
            Ok(Array2::zeros((x.nrows(), 1)))
        }
    }

    impl Task for Misfit {
        fn name(&self) -> &'static str {
            " "
        }

        fn prior(&self) -> &dyn Prior {
            &self.0
        }
    }

    #[test]
    fn parts_that_do_not_fit_are_found() {
        let narrow = report(&Misfit(unit(3)));
        for words in ["name: expected a name", "came (200, 3)", "domain: expected 2 variables, came 3"] {
            assert!(narrow.contains(words), "{words}: {narrow}");
        }
        let careless = report(&Misfit(unit(2)));
        assert!(careless.contains("a NaN design: expected InvalidArgument"), "{careless}");
    }
}
