//! `list` and `plan`: what there is and what there is to do.

use std::collections::BTreeSet;

use inverse_bench::{EntryState, PlannedCell, Study, StudyError};
use serde_json::json;

use super::failure::{Ending, Failure};
use super::output::{Output, print};

/// Prints every cell of the study with its state, then what else lies in the store.
pub(super) fn list(study: &Study, output: Output) -> Result<Ending, Failure> {
    let plan = study.whole_plan().map_err(Failure::of_arguments)?;
    let (mut ids, mut finished) = (BTreeSet::new(), 0);
    for planned in plan.cells() {
        ids.insert(planned.id.as_str());
        let (state, reason) = state(study, planned)?;
        finished += usize::from(state == "finished");
        line(output, state, &planned.id, &reason, &planned.cell.to_string())?;
    }
    let entries = study.store().entries().map_err(StudyError::from)?;
    for (id, state) in entries.iter().filter(|(id, _)| !ids.contains(id.as_str())) {
        match state {
            EntryState::Finished(entry) => {
                let of = format!("{} ({}, seed {})", entry.cell, entry.cell.profile, entry.cell.seed);
                line(output, "of another study", id, "", &of)?;
            }
            EntryState::Unfinished => line(output, "unknown", id, "it has no entry.json", "")?,
            EntryState::Damaged(reason) => line(output, "damaged", id, reason, "")?,
        }
    }
    let all = plan.cells().len();
    if !output.json {
        print(&format!("{finished} of {all} cells are finished\n"))?;
    }
    Ok(if finished == all { Ending::Well } else { Ending::Different })
}

fn line(output: Output, state: &str, id: &str, reason: &str, what: &str) -> Result<(), Failure> {
    output.line(
        || json!({"state": state, "id": id, "reason": reason, "what": what}),
        || format!("{state:<16}  {id}  {what}  {reason}").trim_end().to_owned(),
    )?;
    Ok(())
}

/// How a cell stands, in a word, and why, where it is damaged.
fn state(study: &Study, planned: &PlannedCell<'_>) -> Result<(&'static str, String), StudyError> {
    match study.store().state(&planned.id, &planned.identity)? {
        EntryState::Finished(_) => Ok(("finished", String::new())),
        EntryState::Damaged(reason) => Ok(("damaged", reason)),
        EntryState::Unfinished => {
            // Given back at once: a worker that looks in between looks again.
            let claim = study.store().claim(&planned.id)?;
            Ok((if claim.is_some() { "unfinished" } else { "in work" }, String::new()))
        }
    }
}

/// Prints the cells that are not finished, each after those it builds on.
pub(super) fn plan(study: &Study, output: Output) -> Result<Ending, Failure> {
    let plan = study.whole_plan().map_err(Failure::of_arguments)?;
    let mut open = BTreeSet::new();
    for planned in plan.cells() {
        if state(study, planned)?.0 == "finished" {
            continue;
        }
        open.insert(planned.id.as_str());
        let needs: Vec<&str> =
            planned.inputs.iter().map(String::as_str).filter(|id| open.contains(id)).collect();
        let joined = if needs.is_empty() { "-".to_owned() } else { needs.join(",") };
        output.line(
            || json!({"id": planned.id, "needs": needs, "cell": planned.cell}),
            || format!("{}\t{joined}\t{}", planned.id, planned.cell),
        )?;
    }
    Ok(Ending::Well)
}
