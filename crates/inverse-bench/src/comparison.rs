//! Two stores side by side: what is the same to the bit, and how far apart the rest is.

use serde_json::Value;

use crate::store::EntryState;
use crate::study::{TRAINING_TIME, read_errors};
use crate::{Cell, Entry, Stage, Store, StudyError};

/// How a cell of one store stands to that of another.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// The same bits; times may differ, and threads where they were taken.
    None,
    /// The same work with other bits in these files.
    Files(Vec<String>),
    /// Other settings, data, seed or version.
    Identity,
    /// Only the first store has it finished.
    OnlyFirst,
    /// Only the second store has it finished.
    OnlySecond,
}

/// One cell in two stores.
#[derive(Debug, Clone, PartialEq)]
pub struct CellComparison {
    /// The cell.
    pub cell: Cell,
    /// How the two differ.
    pub difference: Difference,
    /// Of evaluations that differ: r_1 in the first store and in the second.
    pub one_proposal: Option<[f64; 2]>,
    /// Of evaluations that differ: T, and r_T in the first store and in the second, at the largest T that both have.
    pub all_proposals: Option<(usize, [f64; 2])>,
}

/// Compares the finished cells of two stores; what is unfinished or damaged counts as not there.
///
/// ```
/// use inverse_bench::{Store, compare};
///
/// let folder = tempfile::tempdir()?;
/// let (first, second) = (Store::open(folder.path().join("a"))?, Store::open(folder.path().join("b"))?);
/// assert!(compare(&first, &second)?.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`StudyError`] where a store or a result in it cannot be read.
pub fn compare(first: &Store, second: &Store) -> Result<Vec<CellComparison>, StudyError> {
    let (mut ours, mut theirs) = (finished(first)?, finished(second)?);
    let mut comparisons = Vec::new();
    // The same work first, so that it is not paired with what only looks like it.
    for fit in [same_work, alike] {
        let mut rest = Vec::new();
        for our in ours {
            match theirs.iter().position(|their| fit(&our, their)) {
                Some(place) => {
                    let their = theirs.remove(place);
                    let difference = difference(&our, &their);
                    let ((id, entry), (other, _)) = (our, their);
                    comparisons.push(comparison(entry.cell, difference, (first, &id), (second, &other))?);
                }
                None => rest.push(our),
            }
        }
        ours = rest;
    }
    comparisons.extend(ours.into_iter().map(|(_, entry)| alone(entry.cell, Difference::OnlyFirst)));
    comparisons.extend(theirs.into_iter().map(|(_, entry)| alone(entry.cell, Difference::OnlySecond)));
    Ok(comparisons)
}

/// A finished cell: its name in its store, and its record.
type Finished = (String, Entry);

fn finished(store: &Store) -> Result<Vec<Finished>, StudyError> {
    let entries = store.entries()?.into_iter();
    let finished = entries.filter_map(|(id, state)| match state {
        EntryState::Finished(entry) => Some((id, entry)),
        EntryState::Unfinished | EntryState::Damaged(_) => None,
    });
    Ok(finished.collect())
}

/// Whether two cells are of one name, or differ in no more than the threads with which inference was timed: these are
/// part of a time, and times may differ.
fn same_work((id, a): &Finished, (other, b): &Finished) -> bool {
    let timings = a.cell.stage == Stage::Timing && b.cell.stage == Stage::Timing;
    id == other || (timings && without_threads(a) == without_threads(b))
}

fn without_threads(entry: &Entry) -> Value {
    let mut identity = entry.identity.clone();
    if let Some(of) = identity.get_mut("of").and_then(Value::as_object_mut) {
        of.remove("threads");
    }
    identity
}

/// Whether two cells fill the same place in a table.
fn alike((_, a): &Finished, (_, b): &Finished) -> bool {
    let (a, b) = (&a.cell, &b.cell);
    (&a.task, &a.method, &a.label, a.stage, a.trial) == (&b.task, &b.method, &b.label, b.stage, b.trial)
}

fn difference(our: &Finished, their: &Finished) -> Difference {
    if !same_work(our, their) {
        return Difference::Identity;
    }
    let files = differing(&our.1, &their.1);
    if files.is_empty() { Difference::None } else { Difference::Files(files) }
}

/// Files whose bits differ, beside those that hold times.
fn differing(a: &Entry, b: &Entry) -> Vec<String> {
    if a.cell.stage == Stage::Timing {
        return Vec::new();
    }
    let names = a.files.keys().chain(b.files.keys().filter(|name| !a.files.contains_key(*name)));
    let differ = |name: &&String| *name != TRAINING_TIME && a.files.get(*name) != b.files.get(*name);
    names.filter(differ).cloned().collect()
}

fn alone(cell: Cell, difference: Difference) -> CellComparison {
    CellComparison { cell, difference, one_proposal: None, all_proposals: None }
}

fn comparison(
    cell: Cell,
    difference: Difference,
    (first, id): (&Store, &str),
    (second, other): (&Store, &str),
) -> Result<CellComparison, StudyError> {
    if cell.stage != Stage::Evaluation || difference == Difference::None {
        return Ok(alone(cell, difference));
    }
    let (a, b) = (read_errors(&first.folder(id))?, read_errors(&second.folder(other))?);
    let proposals = a.errors().ncols().min(b.errors().ncols());
    let one_proposal = Some([a.mean(1)?, b.mean(1)?]);
    let all_proposals = Some((proposals, [a.mean(proposals)?, b.mean(proposals)?]));
    Ok(CellComparison { cell, difference, one_proposal, all_proposals })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use serde_json::json;

    use super::*;

    /// A store of one cell of a stage, taken on some threads, with a file of those bytes.
    fn store(folder: &Path, stage: Stage, threads: usize, bytes: &str) -> Store {
        let store = Store::open(folder.join(format!("{threads}{bytes}"))).unwrap();
        let id = format!("task-method-{stage}-{threads}");
        fs::create_dir_all(store.folder(&id)).unwrap();
        fs::write(store.folder(&id).join("result.json"), bytes).unwrap();
        let cell = Cell {
            task: "task".into(),
            method: "method".into(),
            label: "Method".into(),
            stage,
            trial: None,
            profile: "smoke".into(),
            seed: 1,
        };
        let identity = json!({"task": "task", "of": {"training": "one", "threads": threads}});
        store.finish(&id, &cell, &identity).unwrap();
        store
    }

    #[test]
    fn times_on_other_threads_are_the_same_work() {
        let folder = tempfile::tempdir().unwrap();
        for (stage, expected) in [(Stage::Timing, Difference::None), (Stage::Matching, Difference::Identity)]
        {
            let place = folder.path().join(stage.to_string());
            let (one, two) = (store(&place, stage, 1, "0.5"), store(&place, stage, 2, "0.3"));
            let comparisons = compare(&one, &two).unwrap();
            let found: Vec<_> = comparisons.iter().map(|comparison| &comparison.difference).collect();
            assert_eq!(found, [&expected], "{stage}");
        }
    }
}
