//! Checks of inverse models.

use ndarray::{ArrayView2, Axis, concatenate, s};
use rand::Rng;

use super::{Nonconformance, density, search};
use crate::{InverseModel, Proposals, RandomStreams, check_matrix};

/// Proposals a target in the checks.
const COUNT: usize = 3;

/// Checks a model on targets it was fitted for, (at least two, `dim_y`).
///
/// * proposals of the right shape, every value finite
/// * the same stream, the same bits
/// * a target's proposals do not depend on the targets after it
/// * a search that [`check_search`](super::check_search) finds sound
/// * a density, where the model has one: a number for each pair, the same alone as among others, and of bad pairs none;
///   that draws follow it within a factor of two (more, where the model says that it moved some of them), as far as 5,500
///   draws for the first target show it
/// * no proposals, no targets, targets of another width or not finite refused by an error that names `n` or `y`
///
/// # Errors
/// [`Nonconformance`] that lists every finding.
pub fn check_model(
    model: &dyn InverseModel,
    targets: ArrayView2<'_, f64>,
    seed: u64,
) -> Result<(), Nonconformance> {
    let mut report = Nonconformance::new(format!("model `{}`", model.name()));
    checks(&mut report, model, targets, seed);
    report.finish()
}

pub(super) fn checks(
    report: &mut Nonconformance,
    model: &dyn InverseModel,
    targets: ArrayView2<'_, f64>,
    seed: u64,
) {
    let dims = (model.dim_x(), model.dim_y());
    report.require(
        dims.0 > 0 && dims.1 > 0,
        "dim_x and dim_y",
        "at least 1",
        format!("{dims:?}"),
        "return the widths of x and y",
    );
    let fit = targets.nrows() >= 2 && check_matrix("targets", targets, dims.1).is_ok();
    report.require(
        fit,
        "the targets of this check",
        format!("at least two rows of {} finite values", dims.1),
        format!("shape {:?}", targets.dim()),
        "pass measurements that the model was fitted for",
    );
    if dims.0 > 0 && dims.1 > 0 && fit {
        proposals(report, model, targets, seed);
        let begin = |budget: usize, rng: &mut dyn Rng| model.search(targets, budget, rng);
        search::checks(report, &begin, (targets.nrows(), dims.0, dims.1), seed);
        refusals(report, model, targets, seed);
        density::checks(report, model, targets, seed);
    }
}

fn proposals(report: &mut Nonconformance, model: &dyn InverseModel, targets: ArrayView2<'_, f64>, seed: u64) {
    let mut propose = |what: &str, y: ArrayView2<'_, f64>| -> Option<Proposals> {
        let mut rng = RandomStreams::new(seed).stream("conformance", 0);
        let proposals = report.expect(what, || model.propose(y, COUNT, &mut rng))?;
        let (expected, came) = ((y.nrows(), COUNT, model.dim_x()), proposals.designs().dim());
        let fits = came == expected;
        let (expected, came) = (format!("shape {expected:?}"), format!("{came:?}"));
        report.require(fits, what, expected, came, "propose (targets, n, dim_x) designs");
        fits.then_some(proposals)
    };
    let Some(all) = propose("targets", targets) else { return };
    let again = propose("the same targets again", targets);
    let rows = targets.nrows();
    let mut lengths = vec![1, rows / 2, rows - 1];
    lengths.dedup();
    let parts: Vec<_> = lengths
        .into_iter()
        .filter_map(|rows| {
            Some((rows, propose(&format!("the first {rows} targets"), targets.slice(s![..rows, ..]))?))
        })
        .collect();
    let finite = all.designs().iter().all(|value| value.is_finite());
    report.require(
        finite,
        "proposals",
        "finite designs",
        "one that is not finite",
        "bring them back to the domain",
    );
    report.require(
        again.is_none_or(|again| same(&again, &all)),
        "proposals",
        "the same bits from the same stream",
        "others",
        "draw from the generator that is passed in, and from nothing else",
    );
    for (rows, part) in parts {
        let first = all.designs().slice_move(s![..rows, .., ..]);
        report.require(
            part.designs().iter().zip(&first).all(|(a, b)| a.to_bits() == b.to_bits()),
            &format!("the first {rows} targets alone"),
            "the proposals they have among others",
            "other ones",
            "draw one seed a target, in order, and let targets share nothing else",
        );
    }
}

/// Equal bits: NaN proposals are another finding's business.
fn same(a: &Proposals, b: &Proposals) -> bool {
    let bits = |a: &f64, b: &f64| a.to_bits() == b.to_bits();
    a.designs().iter().zip(&b.designs()).all(|(a, b)| bits(a, b))
        && match (a.predicted_errors(), b.predicted_errors()) {
            (Some(a), Some(b)) => a.iter().zip(&b).all(|(a, b)| bits(a, b)),
            (None, None) => true,
            _ => false,
        }
}

fn refusals(report: &mut Nonconformance, model: &dyn InverseModel, y: ArrayView2<'_, f64>, seed: u64) {
    let propose = |y: ArrayView2<'_, f64>, n: usize| {
        model.propose(y, n, &mut RandomStreams::new(seed).stream("conformance", 2))
    };
    report.expect_refusal("no proposals", "n", || propose(y, 0));
    report.expect_refusal("no targets", "y", || propose(y.slice(s![..0, ..]), 1));
    if let Ok(wide) = concatenate(Axis(1), &[y, y]) {
        let wide = wide.slice(s![.., ..=y.ncols()]);
        report.expect_refusal("targets of too many variables", "y", || propose(wide, 1));
    }
    let narrow = y.slice(s![.., 1..]);
    report.expect_refusal("targets of too few variables", "y", || propose(narrow, 1));
    for (what, value) in [("a NaN target", f64::NAN), ("an infinite target", f64::INFINITY)] {
        let mut strange = y.to_owned();
        strange[[1, y.ncols() - 1]] = value;
        report.expect_refusal(what, "y", || propose(strange.view(), 1));
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Array3, array};
    use rand::RngExt;

    use super::*;
    use crate::{InvalidArgument, ProposalWalk, ProposeError, Search, check_answered, check_request};

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
            usize::from(self.0 != "empty")
        }

        fn propose(
            &self,
            y: ArrayView2<'_, f64>,
            n: usize,
            rng: &mut dyn Rng,
        ) -> Result<Proposals, ProposeError> {
            match self.0 {
                "careless" => {}
                "misnaming" => check_matrix("targets", y, 1)?,
                "failing" => return Err(ProposeError::Backend("no memory".into())),
                _ => check_request(y, 1, n, usize::MAX)?,
            }
            let width = if self.0 == "wide" { 3 } else { 2 };
            let offset = match self.0 {
                "entangled" => y.sum(),
                // Looks only two targets ahead.
                "peeping" if y.nrows() > 2 => y[[2, 0]],
                "reserved" => y[[0, 0]],
                _ => 0.0,
            };
            let mut designs =
                Array3::from_shape_simple_fn((y.nrows(), n, width), || rng.random::<f64>() + offset);
            match self.0 {
                "moody" => designs[[0, 0, 0]] = call_number(),
                "broken" => designs[[0, 0, 0]] = f64::NAN,
                _ => {}
            }
            let rows = designs.dim().0;
            let errors = if self.0 == "boastful" { call_number() } else { 0.0 };
            Ok(Proposals::new(designs)?.with_predicted_errors(Array2::from_elem((rows, n), errors))?)
        }

        fn search<'a>(
            &'a self,
            y: ArrayView2<'_, f64>,
            budget: usize,
            rng: &mut dyn Rng,
        ) -> Result<Box<dyn Search + 'a>, ProposeError> {
            let walk = ProposalWalk::new(self.propose(y, budget, rng)?, self.dim_y());
            Ok(Box::new(Walk { flaw: self.0, inner: walk, rows: y.nrows(), waiting: false }))
        }
    }

    struct Walk {
        flaw: &'static str,
        inner: ProposalWalk,
        rows: usize,
        waiting: bool,
    }

    impl Search for Walk {
        fn ask(&mut self, rng: &mut dyn Rng) -> Result<Array2<f64>, ProposeError> {
            match self.flaw {
                "endless" => Ok(Array2::zeros((self.rows, 2))),
                "single" => Ok(Array2::zeros((1, 2))),
                "restless" => Ok(self.inner.ask(rng)? + call_number()),
                "hasty" if std::mem::replace(&mut self.waiting, true) => panic!("nobody has answered"),
                "shy" if std::mem::replace(&mut self.waiting, true) => {
                    Err(InvalidArgument::new("budget", "an answer", "none").into())
                }
                "patient" => {
                    check_answered(std::mem::replace(&mut self.waiting, true))?;
                    self.inner.ask(rng)
                }
                _ => self.inner.ask(rng),
            }
        }

        fn tell(&mut self, y: ArrayView2<'_, f64>) -> Result<(), ProposeError> {
            self.waiting = false;
            match self.flaw {
                "deaf" => return Ok(()),
                "proud" => check_matrix("y", y, 1)?,
                _ => {}
            }
            self.inner.tell(y)
        }
    }

    /// A number that changes from call to call.
    fn call_number() -> f64 {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        CALLS.fetch_add(1, Ordering::SeqCst) as f64
    }

    fn findings(flaw: &'static str, targets: Array2<f64>) -> String {
        check_model(&Noise(flaw), targets.view(), 1)
            .err()
            .map(|report| report.to_string())
            .unwrap_or_default()
    }

    fn targets() -> Array2<f64> {
        array![[0.5], [1.5], [2.5], [0.25]]
    }

    #[test]
    fn sound_models_pass() {
        assert_eq!(findings("none", targets()), "");
        assert_eq!(findings("none", array![[0.5], [1.5]]), "");
        assert_eq!(findings("patient", targets()), "", "a search may wait for answers");
        assert_eq!(findings("reserved", targets()), "", "proposals may depend on earlier targets");
    }

    #[test]
    fn every_flaw_is_found() {
        for (flaw, words) in [
            ("careless", "a NaN target: expected InvalidArgument that names `y`, came an answer"),
            ("careless", "an infinite target: expected InvalidArgument that names `y`, came an answer"),
            (
                "careless",
                "no proposals: expected InvalidArgument that names `n`, came an error that names `designs`",
            ),
            ("careless", "targets of too few variables: expected InvalidArgument that names `y`"),
            (
                "misnaming",
                "targets of too many variables: expected InvalidArgument that names `y`, came an error that",
            ),
            (
                "failing",
                "targets: expected an answer, came the error \"tensor computation failed: no memory\"",
            ),
            ("failing", "no targets: expected InvalidArgument that names `y`, came an error of another kind"),
            ("wide", "targets: expected shape (4, 3, 2), came (4, 3, 3)"),
            ("entangled", "the first 1 targets alone: expected the proposals they have among others"),
            ("peeping", "the first 2 targets alone: expected the proposals they have among others"),
            ("moody", "proposals: expected the same bits from the same stream"),
            ("boastful", "proposals: expected the same bits from the same stream"),
            ("broken", "proposals: expected finite designs"),
            ("empty", "dim_x and dim_y: expected at least 1, came (2, 0)"),
            ("endless", "ask beyond the budget: expected InvalidArgument"),
            ("single", "ask 1 of 3: expected shape (4, 2), came (1, 2)"),
            ("restless", "search: expected the same designs from the same stream"),
            (
                "hasty",
                "ask 2 before an answer: expected designs, or InvalidArgument that names `y`, came the panic",
            ),
            (
                "shy",
                "ask 2 before an answer: expected designs, or InvalidArgument that names `y`, came an error",
            ),
            ("deaf", "tell of another width: expected InvalidArgument that names `y`"),
            ("proud", "tell 1 of 3: expected an answer, came the error"),
        ] {
            let report = findings(flaw, targets());
            assert!(report.contains(words), "{flaw}: {report}");
            assert!(report.lines().skip(1).all(|line| line.contains("; ")), "a remedy each: {report}");
        }
    }

    #[test]
    fn findings_do_not_hide_each_other() {
        assert_eq!(findings("broken", targets()).lines().count(), 2, "NaN alone is no other bits");
        assert_eq!(findings("deaf", targets()).lines().count(), 2);
    }

    #[test]
    fn unusable_targets_are_a_finding() {
        for y in
            [array![[1.0]], array![[1.0, 2.0], [3.0, 4.0]], array![[1.0], [f64::NAN]], Array2::zeros((0, 1))]
        {
            assert!(
                findings("none", y).contains("the targets of this check: expected at least two rows of 1")
            );
        }
    }
}
