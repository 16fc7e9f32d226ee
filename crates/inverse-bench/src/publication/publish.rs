//! A table or figure from nothing: its cells are done, its files written.

use std::io::{self, Write};

use super::{PaperItem, Publication};
use crate::{Study, StudyArguments, StudyError};

impl Study {
    /// Does the cells of a table or figure that are not finished, then writes and prints it.
    ///
    /// ```no_run
    /// use inverse_bench::{PaperItem, Profile, Study, StudyArguments};
    ///
    /// let arguments = StudyArguments { profile: Some(Profile::Smoke), ..StudyArguments::default() };
    /// Study::new(&arguments)?.publish(PaperItem::Table(3))?;
    /// # Ok::<(), inverse_bench::StudyError>(())
    /// ```
    ///
    /// # Errors
    /// [`StudyError`] where the study has nothing of it, a cell fails, or files cannot be written.
    pub fn publish(&self, item: PaperItem) -> Result<(), StudyError> {
        self.complete(&self.item_plan(item)?)?;
        self.show(&self.item(item)?)
    }

    /// Writes a table or figure to the folder of results, and prints it.
    ///
    /// # Errors
    /// [`StudyError::ResultFile`] where a file cannot be written.
    pub fn show(&self, publication: &Publication) -> Result<(), StudyError> {
        publication.write(self.results())?;
        let text = format!("{}results in {}\n", publication.text(), self.results().path().display());
        // The files are what counts: a reader that went away, as `head` does, is no failure.
        let _ = io::stdout().lock().write_all(text.as_bytes());
        Ok(())
    }
}

/// What the example of a table or figure does: see [`Study::publish`].
///
/// # Errors
/// As [`Study::new`] and [`Study::publish`].
pub fn publish(arguments: &StudyArguments, item: PaperItem) -> Result<(), StudyError> {
    Study::new(arguments)?.publish(item)
}
