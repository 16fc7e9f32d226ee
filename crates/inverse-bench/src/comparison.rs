//! Two stores side by side: what is the same to the bit, and how far apart the rest is.

use crate::store::EntryState;
use crate::study::{TRAINING_TIME, read_errors};
use crate::{Cell, Entry, Stage, Store, StudyError};

/// How a cell of one store stands to that of another.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// The same bits; times may differ.
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
    let (ours, mut theirs) = (finished(first)?, finished(second)?);
    let mut comparisons = Vec::new();
    // The same work first, so that it is not paired with what only looks like it.
    let mut rest = Vec::new();
    for (id, entry) in ours {
        match theirs.iter().position(|(other, _)| *other == id) {
            Some(place) => {
                let (_, other) = theirs.remove(place);
                let files = differing(&entry, &other);
                let difference = if files.is_empty() { Difference::None } else { Difference::Files(files) };
                comparisons.push(comparison(entry.cell, difference, (first, &id), (second, &id))?);
            }
            None => rest.push((id, entry)),
        }
    }
    for (id, entry) in rest {
        match theirs.iter().position(|(_, other)| alike(&entry.cell, &other.cell)) {
            Some(place) => {
                let (other, _) = theirs.remove(place);
                comparisons.push(comparison(
                    entry.cell,
                    Difference::Identity,
                    (first, &id),
                    (second, &other),
                )?);
            }
            None => comparisons.push(alone(entry.cell, Difference::OnlyFirst)),
        }
    }
    comparisons.extend(theirs.into_iter().map(|(_, entry)| alone(entry.cell, Difference::OnlySecond)));
    Ok(comparisons)
}

fn finished(store: &Store) -> Result<Vec<(String, Entry)>, StudyError> {
    let entries = store.entries()?.into_iter();
    let finished = entries.filter_map(|(id, state)| match state {
        EntryState::Finished(entry) => Some((id, entry)),
        EntryState::Unfinished | EntryState::Damaged(_) => None,
    });
    Ok(finished.collect())
}

/// Whether two cells fill the same place in a table.
fn alike(a: &Cell, b: &Cell) -> bool {
    (&a.task, &a.method, &a.label, a.stage, a.trial) == (&b.task, &b.method, &b.label, b.stage, b.trial)
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
