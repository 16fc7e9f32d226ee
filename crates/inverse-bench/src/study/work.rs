//! Doing a plan's cells, beside any number of other processes that do the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::stages::CHECKPOINTS;
use super::{Plan, PlannedCell, Study};
use crate::progress::Progress;
use crate::store::EntryState;
use crate::{Cell, Stage, StudyError};

/// How often to look whether another process has finished what this one waits for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What happens while a plan is worked on.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A cell is begun, or gone on with.
    Started {
        /// Which.
        cell: &'a Cell,
        /// Its name in the store.
        id: &'a str,
    },
    /// A cell has ended.
    Finished {
        /// Which.
        cell: &'a Cell,
        /// Its name in the store.
        id: &'a str,
        /// How long it took in this sitting.
        seconds: f64,
        /// Cells of the plan that are finished.
        done: usize,
        /// Cells of the plan.
        all: usize,
    },
    /// What lay in a cell's folder could not be trusted, and was moved.
    SetAside {
        /// Of which cell.
        cell: &'a Cell,
        /// What is wrong with it.
        reason: &'a str,
        /// Where it is now.
        place: PathBuf,
    },
    /// A cell could not be done.
    Failed {
        /// Which.
        cell: &'a Cell,
        /// Why not.
        error: &'a StudyError,
    },
}

/// What came of working on a plan.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Cells that this process did.
    pub worked: usize,
    /// Cells that could not be done.
    pub failed: Vec<(Cell, StudyError)>,
    /// Cells that build on those.
    pub blocked: usize,
}

impl Study {
    /// Does all cells of a plan that are not finished, and waits for those that other processes do.
    ///
    /// A cell that fails is reported, and so is what builds on it; the others are done. What lies in a cell's folder
    /// and cannot be trusted is set aside and done anew.
    ///
    /// ```no_run
    /// use inverse_bench::{Event, Profile, Study, StudyArguments};
    ///
    /// let arguments = StudyArguments { profile: Some(Profile::Smoke), ..StudyArguments::default() };
    /// let study = Study::new(&arguments)?;
    /// let outcome = study.work(&study.whole_plan()?, &mut |event| {
    ///     if let Event::Finished { cell, seconds, done, all, .. } = event {
    ///         println!("{done} of {all}: {cell} in {seconds:.1} s");
    ///     }
    /// })?;
    /// assert!(outcome.failed.is_empty());
    /// # Ok::<(), inverse_bench::StudyError>(())
    /// ```
    ///
    /// # Errors
    /// [`StudyError::Store`] where the store cannot be used.
    pub fn work(&self, plan: &Plan<'_>, report: &mut dyn FnMut(&Event<'_>)) -> Result<Outcome, StudyError> {
        let mut round =
            Round { study: self, plan, done: BTreeSet::new(), failed: BTreeMap::new(), worked: 0 };
        let started = Instant::now();
        while round.open().next().is_some() {
            if !round.pass(report, started)? {
                sleep(LOOK_EVERY);
            }
        }
        let Round { failed, worked, done, .. } = round;
        let blocked = plan.cells().len() - done.len() - failed.len();
        Ok(Outcome { worked, failed: failed.into_values().collect(), blocked })
    }
}

/// An estimate in as many words as it is good for.
fn rounded(seconds: f64) -> String {
    match seconds {
        ..60.0 => format!("{:.0} s", (seconds / 5.0).ceil() * 5.0),
        ..5400.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.0} h", seconds / 3600.0),
    }
}

/// How far one process is with a plan.
struct Round<'a> {
    study: &'a Study,
    plan: &'a Plan<'a>,
    done: BTreeSet<&'a str>,
    failed: BTreeMap<&'a str, (Cell, StudyError)>,
    worked: usize,
}

impl<'a> Round<'a> {
    /// Cells that are not finished and may still become so.
    fn open(&self) -> impl Iterator<Item = &'a PlannedCell<'a>> + use<'a> {
        let mut lost: BTreeSet<&str> = self.failed.keys().copied().collect();
        let mut open = Vec::new();
        for cell in self.plan.cells() {
            if cell.inputs.iter().any(|input| lost.contains(input.as_str())) {
                lost.insert(&cell.id);
            }
            if !lost.contains(cell.id.as_str()) && !self.done.contains(cell.id.as_str()) {
                open.push(cell);
            }
        }
        open.into_iter()
    }

    /// Goes through the open cells once; whether anything has moved.
    fn pass(&mut self, report: &mut dyn FnMut(&Event<'_>), started: Instant) -> Result<bool, StudyError> {
        let mut moved = false;
        for planned in self.open() {
            let ready = planned.inputs.iter().all(|input| self.done.contains(input.as_str()));
            if !ready {
                continue;
            }
            if let EntryState::Finished(_) = self.study.store.state(&planned.id, &planned.identity)? {
                self.done.insert(&planned.id);
                moved = true;
                continue;
            }
            let alone = planned.cell.stage == Stage::Timing;
            let Some(_claim) = self.study.store.claim(&planned.id)? else { continue };
            let Some(_machine) = self.study.store.occupy_machine(alone)? else { continue };
            moved = true;
            self.work_on(planned, report, started)?;
        }
        Ok(moved)
    }

    /// Does a cell that this process has claimed.
    fn work_on(
        &mut self,
        planned: &'a PlannedCell<'a>,
        report: &mut dyn FnMut(&Event<'_>),
        started: Instant,
    ) -> Result<(), StudyError> {
        let (cell, id, store) = (&planned.cell, planned.id.as_str(), &self.study.store);
        match store.state(id, &planned.identity)? {
            // Another process has finished it between the first look and the claim.
            EntryState::Finished(_) => {
                self.done.insert(id);
                return Ok(());
            }
            EntryState::Damaged(reason) => {
                let place = store.set_aside(id)?;
                report(&Event::SetAside { cell, reason: &reason, place });
            }
            EntryState::Unfinished => {}
        }
        report(&Event::Started { cell, id });
        let begun = Instant::now();
        let progress = Progress::new(self.label(planned, started), self.study.arguments.quiet);
        let had_remains = store.folder(id).exists();
        let mut outcome = self.study.execute(planned, &progress);
        if let Err(error) = &outcome
            && error.is_damage()
            && had_remains
        {
            let reason = error.to_string();
            let place = store.set_aside(id)?;
            report(&Event::SetAside { cell, reason: &reason, place });
            outcome = self.study.execute(planned, &progress);
        }
        progress.finish();
        let outcome = outcome.and_then(|()| Ok(store.finish(id, cell, &planned.identity)?));
        match outcome {
            Ok(_) => {
                // They have done their work; where they cannot be removed they harm nothing.
                let _ = fs::remove_dir_all(store.folder(id).join(CHECKPOINTS));
                self.done.insert(id);
                self.worked += 1;
                let (done, all) = (self.done.len(), self.plan.cells().len());
                let seconds = begun.elapsed().as_secs_f64();
                report(&Event::Finished { cell, id, seconds, done, all });
            }
            Err(error) => {
                report(&Event::Failed { cell, error: &error });
                self.failed.insert(id, (cell.clone(), error));
            }
        }
        Ok(())
    }

    /// Where the whole study stands, for the progress bar.
    fn label(&self, planned: &PlannedCell<'_>, started: Instant) -> String {
        let (done, all) = (self.done.len(), self.plan.cells().len());
        let place = format!("{}/{all}", done + 1);
        if self.worked == 0 || done >= all {
            return format!("[{place}] {}", planned.cell);
        }
        let left = started.elapsed().as_secs_f64() / self.worked as f64 * (all - done) as f64;
        format!("[{place}, about {} left] {}", rounded(left), planned.cell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_are_short() {
        let written = [0.0, 12.0, 59.0, 60.0, 3600.0, 7200.0, f64::NAN].map(rounded);
        assert_eq!(written, ["0 s", "15 s", "60 s", "1 min", "60 min", "2 h", "NaN h"]);
    }
}
