//! Checks of inverse models.

use ndarray::{Array2, ArrayView2, Axis, s};

use super::{Nonconformance, Outcome};
use crate::{InverseModel, ProposeError, RandomStreams};

/// Proposals a target in the checks.
const COUNT: usize = 3;

/// Checks a model on targets it was fitted for, (at least two, `dim_y`).
///
/// Shapes; finite proposals; the same stream, the same proposals; earlier targets untouched by later ones;
/// a search of the model's own width; requests that cannot be met refused by name.
///
/// # Errors
/// [`Nonconformance`] that lists every finding.
pub fn check_model(
    model: &dyn InverseModel,
    targets: ArrayView2<'_, f64>,
    seed: u64,
) -> Result<(), Nonconformance> {
    let mut report = Nonconformance::new(format!("model `{}`", model.name()));
    let stream = || RandomStreams::new(seed).stream("conformance", 0);
    let propose = |y: ArrayView2<'_, f64>, n: usize| model.propose(y, n, &mut stream());
    let expected = (targets.nrows(), COUNT, model.dim_x());
    if let Some(proposals) = report.expect("targets", propose(targets, COUNT)) {
        let designs = proposals.designs();
        if designs.dim() == expected {
            report.require(designs.iter().all(|value| value.is_finite()), || {
                "proposals: a design is not finite".into()
            });
            let again = report.expect("the same targets again", propose(targets, COUNT));
            report.require(again.is_none_or(|again| again == proposals), || {
                "the same stream gave other proposals; draw from the generator that is passed in alone".into()
            });
            let first = targets.slice_axis(Axis(0), (0..1).into());
            if let Some(alone) = report.expect("the first target alone", propose(first, COUNT)) {
                report.require(alone.designs().slice(s![0, .., ..]) == designs.slice(s![0, .., ..]), || {
                    "the first target's proposals change with the targets after it".into()
                });
            }
        } else {
            let found = designs.dim();
            report.require(false, || format!("proposals: expected shape {expected:?}, came {found:?}"));
        }
    }
    search(&mut report, model, targets, seed);
    refusals(&mut report, model, targets, seed);
    report.finish()
}

fn search(report: &mut Nonconformance, model: &dyn InverseModel, targets: ArrayView2<'_, f64>, seed: u64) {
    let mut rng = RandomStreams::new(seed).stream("conformance", 1);
    let Some(mut search) = report.expect("a search", model.search(targets, COUNT, &mut rng)) else { return };
    let expected = (targets.nrows(), model.dim_x());
    for call in 1..=COUNT {
        let Some(designs) = report.expect(&format!("ask {call} of {COUNT}"), search.ask(&mut rng)) else {
            return;
        };
        report.require(designs.dim() == expected, || {
            format!("ask: expected shape {expected:?}, came {:?}", designs.dim())
        });
        // A search must live with simulators that have no answer.
        let answers = Array2::from_elem((targets.nrows(), model.dim_y()), f64::NAN);
        report.expect("tell of NaN", search.tell(answers.view()));
    }
}

fn refusals(report: &mut Nonconformance, model: &dyn InverseModel, y: ArrayView2<'_, f64>, seed: u64) {
    let mut rng = RandomStreams::new(seed).stream("conformance", 2);
    let mut refusal = |y: ArrayView2<'_, f64>, n: usize| match model.propose(y, n, &mut rng) {
        Ok(_) => Outcome::Answer,
        Err(ProposeError::InvalidArgument(error)) => Outcome::Refused(error),
        Err(_) => Outcome::OtherError,
    };
    report.expect_refusal("no proposals", "n", refusal(y, 0));
    let dim_y = model.dim_y();
    report.expect_refusal("no targets", "y", refusal(Array2::zeros((0, dim_y)).view(), 1));
    report.expect_refusal("a target of another width", "y", refusal(Array2::zeros((1, dim_y + 1)).view(), 1));
    report.expect_refusal("a NaN target", "y", refusal(Array2::from_elem((1, dim_y), f64::NAN).view(), 1));
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, array};
    use rand::{Rng, RngExt};

    use super::*;
    use crate::{Proposals, check_request};

    /// Proposes noise, with one flaw or none.
    struct Noise(&'static str);

    impl InverseModel for Noise {
        fn name(&self) -> &'static str {
            "noise"
        }

        fn dim_x(&self) -> usize {
            2
        }

        fn dim_y(&self) -> usize {
            1
        }

        fn propose(
            &self,
            y: ArrayView2<'_, f64>,
            n: usize,
            rng: &mut dyn Rng,
        ) -> Result<Proposals, ProposeError> {
            if self.0 != "careless" {
                check_request(y, 1, n, usize::MAX)?;
            }
            let width = if self.0 == "wide" { 3 } else { 2 };
            let offset = if self.0 == "entangled" { y.sum() } else { 0.0 };
            let mut designs =
                Array3::from_shape_simple_fn((y.nrows(), n, width), || rng.random::<f64>() + offset);
            if self.0 == "moody" {
                designs[[0, 0, 0]] = call_number();
            }
            if self.0 == "broken" {
                designs[[0, 0, 0]] = f64::NAN;
            }
            Ok(Proposals::new(designs)?)
        }
    }

    /// A number that changes from call to call.
    fn call_number() -> f64 {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        CALLS.fetch_add(1, Ordering::SeqCst) as f64
    }

    fn findings(flaw: &'static str) -> String {
        let targets = array![[0.5], [1.5]];
        check_model(&Noise(flaw), targets.view(), 1)
            .err()
            .map(|report| report.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn sound_models_pass() {
        assert_eq!(findings("none"), "");
    }

    #[test]
    fn every_flaw_is_found() {
        for (flaw, words) in [
            ("careless", "a NaN target: expected an error that names `y`"),
            ("wide", "proposals: expected shape (2, 3, 2), came (2, 3, 3)"),
            ("entangled", "change with the targets after it"),
            ("moody", "the same stream gave other proposals"),
            ("broken", "a design is not finite"),
        ] {
            let report = findings(flaw);
            assert!(report.contains(words), "{flaw}: {report}");
        }
    }
}
