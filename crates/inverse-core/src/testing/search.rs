//! Checks of searches.

use ndarray::Array2;
use rand::Rng;

use super::{Nonconformance, Refusal, caught};
use crate::{LARGEST_PAIRS, ProposeError, RandomStreams, Search};

/// Calls a target in the checks.
const COUNT: usize = 3;

/// Begins a search with that many calls a target, for the targets of the check.
type Begin<'a, 's> = &'a dyn Fn(usize, &mut dyn Rng) -> Result<Box<dyn Search + 's>, ProposeError>;

/// Checks a search, begun anew for each part of the check.
///
/// * designs of the right shape are asked for, and answers of NaN lived with
/// * the same stream and answers, the same designs
/// * a question before the answer to the one before is answered, or refused by an error that names `y`
/// * calls beyond the budget and answers of another shape are refused
///
/// Arguments:
///
/// * `name`: what the report calls it
/// * `begin`: begins the search with a budget of calls a target, three here, its draws from the generator that is
///   passed in
/// * `shape`: (targets, `dim_x`, `dim_y`), at least 1 each, at most [`LARGEST_PAIRS`] numbers a call
/// * `seed`: of that generator
///
/// # Errors
/// [`Nonconformance`] that lists every finding.
///
/// ```
/// use inverse_core::{ProposalWalk, Proposals, testing};
/// use ndarray::array;
///
/// let proposals = Proposals::new(array![[[0.1], [0.2], [0.3]], [[0.4], [0.5], [0.6]]])?;
/// let begin = |budget: usize, _: &mut dyn rand::Rng| -> Result<Box<dyn inverse_core::Search>, _> {
///     assert!(budget <= proposals.count());
///     Ok(Box::new(ProposalWalk::new(proposals.clone(), 1)))
/// };
/// testing::check_search("a walk", begin, (2, 1, 1), 1)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn check_search<'s>(
    name: &str,
    begin: impl Fn(usize, &mut dyn Rng) -> Result<Box<dyn Search + 's>, ProposeError>,
    shape: (usize, usize, usize),
    seed: u64,
) -> Result<(), Nonconformance> {
    let mut report = Nonconformance::new(format!("search `{name}`"));
    let (targets, dim_x, dim_y) = shape;
    let numbers = targets.saturating_mul(dim_x.max(dim_y));
    let fits = [targets, dim_x, dim_y].iter().all(|size| *size > 0) && numbers <= LARGEST_PAIRS;
    report.require(
        fits,
        "the shape of this check",
        format!("(targets, dim_x, dim_y), at least 1 each, of at most {LARGEST_PAIRS} numbers a call"),
        format!("{shape:?}"),
        "pass that of the search",
    );
    if fits {
        checks(&mut report, &begin, shape, seed);
    }
    report.finish()
}

pub(super) fn checks(
    report: &mut Nonconformance,
    begin: Begin<'_, '_>,
    shape: (usize, usize, usize),
    seed: u64,
) {
    let first = walk(report, begin, shape, seed);
    let second = walk(&mut Nonconformance::new(""), begin, shape, seed);
    report.require(
        first == second,
        "search",
        "the same designs from the same stream and answers",
        "others",
        "draw from the generator that is passed in, and from nothing else",
    );
    if first.is_some() {
        impatient(report, begin, shape, seed);
    }
}

/// The designs a search asks for, as bits, when it is told NaN and 0 in turn.
fn walk(
    report: &mut Nonconformance,
    begin: Begin<'_, '_>,
    (rows, dim_x, dim_y): (usize, usize, usize),
    seed: u64,
) -> Option<Vec<u64>> {
    let mut rng = RandomStreams::new(seed).stream("conformance", 1);
    let mut search = report.expect("search", || begin(COUNT, &mut rng))?;
    let mut bits = Vec::new();
    for call in 1..=COUNT {
        let what = format!("ask {call} of {COUNT}");
        let designs = report.expect(&what, || search.ask(&mut rng))?;
        let (expected, came) = ((rows, dim_x), designs.dim());
        let (shape, found) = (format!("shape {expected:?}"), format!("{came:?}"));
        report.require(came == expected, &what, shape, found, "ask for one design a target");
        bits.extend(designs.iter().map(|value| value.to_bits()));
        // A search must live with simulators that have no answer.
        let answers = Array2::from_elem((rows, dim_y), if call == 1 { f64::NAN } else { 0.0 });
        report.expect(&format!("tell {call} of {COUNT}"), || search.tell(answers.view()))?;
    }
    beyond(report, &mut *search, &mut rng, (rows, dim_y));
    Some(bits)
}

/// What a search has to refuse; the trait leaves the name of its budget open.
fn beyond(report: &mut Nonconformance, search: &mut dyn Search, rng: &mut dyn Rng, shape: (usize, usize)) {
    let strange = Array2::zeros((shape.0, shape.1 + 1));
    report.expect_refusal("tell of another width", "y", || search.tell(strange.view()));
    let refused = matches!(caught(|| search.ask(rng)), Ok(Err(ProposeError::InvalidArgument(_))));
    report.require(
        refused,
        "ask beyond the budget",
        "InvalidArgument",
        "something else",
        "count the calls: a search that goes on would be scored on calls it was not granted",
    );
}

/// Asks without telling, as a program does whose simulator has failed.
fn impatient(
    report: &mut Nonconformance,
    begin: Begin<'_, '_>,
    (rows, dim_x, _): (usize, usize, usize),
    seed: u64,
) {
    let mut rng = RandomStreams::new(seed).stream("conformance", 3);
    let Some(mut search) = report.expect("search", || begin(COUNT, &mut rng)) else { return };
    for call in 1..=COUNT {
        let came = match caught(|| search.ask(&mut rng)) {
            Ok(Ok(designs)) if designs.dim() == (rows, dim_x) => continue,
            Ok(Ok(designs)) => format!("shape {:?}", designs.dim()),
            Ok(Err(error)) => match error.invalid_argument() {
                Some(refused) if call > 1 && refused.argument == "y" => continue,
                _ => format!("an error, \"{error}\""),
            },
            Err(panic) => panic,
        };
        let expected = "designs, or InvalidArgument that names `y`";
        let remedy = "refuse what cannot be answered, as `check_answered` does";
        report.require(false, &format!("ask {call} before an answer"), expected, came, remedy);
        return;
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::{ProposalWalk, Proposals};

    #[test]
    fn unusable_shapes_are_a_finding() {
        let begin = |_: usize, _: &mut dyn Rng| -> Result<Box<dyn Search>, ProposeError> {
            let proposals = Proposals::new(array![[[0.1], [0.2], [0.3]]])?;
            Ok(Box::new(ProposalWalk::new(proposals, 1)))
        };
        check_search("a walk", begin, (1, 1, 1), 1).unwrap();
        for shape in [(0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, usize::MAX), (usize::MAX, 2, 1)] {
            let report = check_search("a walk", begin, shape, 1).unwrap_err();
            assert_eq!(report.findings().len(), 1, "{report}");
            assert!(report.findings()[0].starts_with("the shape of this check"), "{report}");
        }
        // A walk of other targets than the check's.
        assert!(check_search("a walk", begin, (2, 1, 1), 1).is_err());
    }
}
