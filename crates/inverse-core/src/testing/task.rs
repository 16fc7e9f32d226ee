//! Checks of tasks.

use super::Nonconformance;
use super::simulator::{answers, refusals};
use crate::{RandomStreams, Task};

/// Designs drawn for the checks.
const SAMPLES: usize = 200;

/// Shares of samples that must be evaluable, and inside the domain in each variable. A 95% interval leaves 5%
/// outside a variable's range; 200 draws scatter by 1.5%.
const EVALUABLE: f64 = 0.5;
const INSIDE: f64 = 0.85;

/// Checks a task: its simulator ([`check_simulator`](super::check_simulator)), its prior and its domain.
///
/// # Errors
/// [`Nonconformance`] that lists every finding.
pub fn check_task(task: &dyn Task, seed: u64) -> Result<(), Nonconformance> {
    let mut report = Nonconformance::new(format!("task `{}`", task.name()));
    report.require(!task.name().trim().is_empty(), || "name: expected a name, came an empty one".into());
    let streams = RandomStreams::new(seed);
    let draw = || task.prior().sample(SAMPLES, &mut streams.stream("conformance", 0));
    let x = draw();
    let expected = (SAMPLES, task.dim_x());
    report
        .require(x.dim() == expected, || format!("prior: expected samples {expected:?}, came {:?}", x.dim()));
    report.require(x.iter().all(|value| value.is_finite()), || "prior: a sample is not finite".into());
    report.require(draw() == x, || {
        "prior: the same stream gave other samples; draw from the generator that is passed in alone".into()
    });
    let domain = task.prior().domain();
    report.require(domain.dim() == task.dim_x(), || {
        format!("domain: expected {} variables, came {}", task.dim_x(), domain.dim())
    });
    if report.findings().is_empty() {
        prior_and_domain(&mut report, task, &x);
        answers(&mut report, task, x.view());
        refusals(&mut report, task);
    }
    report.finish()
}

fn prior_and_domain(report: &mut Nonconformance, task: &dyn Task, x: &ndarray::Array2<f64>) {
    let domain = task.prior().domain();
    for (variable, column) in x.columns().into_iter().enumerate() {
        let (lower, upper) = (domain.lower()[variable], domain.upper()[variable]);
        let inside = column.iter().filter(|value| (lower..=upper).contains(value)).count() as f64;
        report.require(inside >= INSIDE * SAMPLES as f64, || {
            format!(
                "domain: expected most samples of x{} in {lower} to {upper}, came {inside} of {SAMPLES}",
                variable + 1
            )
        });
    }
    if let Some(density) = task.prior().log_density(x.view()) {
        report.require(density.len() == SAMPLES, || {
            format!("density: expected {SAMPLES} values, came {}", density.len())
        });
        report.require(density.iter().all(|value| value.is_finite()), || {
            "density: the prior calls one of its own samples impossible".into()
        });
    }
    if let Ok(y) = task.simulate(x.view()) {
        let evaluable = y.rows().into_iter().filter(|row| row.iter().all(|value| value.is_finite())).count();
        report.require(evaluable as f64 >= EVALUABLE * SAMPLES as f64, || {
            format!("prior: expected designs that can be evaluated, came {evaluable} of {SAMPLES}")
        });
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use rand::Rng;

    use super::*;
    use crate::{BoxPrior, Domain, FnSimulator, Prior, SimulatedTask};

    fn findings(evaluate: fn(&[f64], &mut [f64]), prior: impl Prior) -> String {
        let simulator = FnSimulator::new(1, 1, evaluate).unwrap();
        let task = SimulatedTask::new("test", simulator, prior).unwrap();
        check_task(&task, 1).err().map(|report| report.to_string()).unwrap_or_default()
    }

    fn unit() -> BoxPrior {
        BoxPrior::new(&[0.0], &[1.0]).unwrap()
    }

    #[test]
    fn sound_tasks_pass() {
        assert_eq!(findings(|x, y| y[0] = x[0].exp(), unit()), "");
    }

    #[test]
    fn designs_that_cannot_be_evaluated_are_found() {
        let report = findings(|x, y| y[0] = (x[0] - 0.9).sqrt(), unit());
        assert!(report.contains("expected designs that can be evaluated"), "{report}");
    }

    /// Draws from a box of its own, with a shift, under the domain of the unit box.
    struct Shifted {
        unit: BoxPrior,
        shift: f64,
    }

    impl Prior for Shifted {
        fn sample(&self, n: usize, rng: &mut dyn Rng) -> Array2<f64> {
            self.unit.sample(n, rng) + self.shift
        }

        fn domain(&self) -> &Domain {
            self.unit.domain()
        }

        fn log_density(&self, x: ndarray::ArrayView2<'_, f64>) -> Option<ndarray::Array1<f64>> {
            self.unit.log_density(x)
        }
    }

    #[test]
    fn priors_that_contradict_themselves_are_found() {
        let report = findings(|x, y| y[0] = x[0], Shifted { unit: unit(), shift: 0.5 });
        assert!(report.contains("domain: expected most samples of x1 in 0 to 1"), "{report}");
        assert!(report.contains("calls one of its own samples impossible"), "{report}");
        let report = findings(|x, y| y[0] = x[0], Shifted { unit: unit(), shift: f64::NAN });
        assert!(report.contains("a sample is not finite"), "{report}");
    }
}
