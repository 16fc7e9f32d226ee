//! The choice among several trainings of one method.

use inverse_core::InvalidArgument;

use crate::StudyError;

/// Trainings of one method, and which is the best so far.
pub(crate) struct Candidates<M> {
    errors: Vec<f64>,
    best: Option<(f64, M)>,
}

impl<M> Default for Candidates<M> {
    fn default() -> Self {
        Self { errors: Vec::new(), best: None }
    }
}

impl<M> Candidates<M> {
    pub(crate) fn add(&mut self, error: f64, model: M) {
        self.errors.push(error);
        if self.best.as_ref().is_none_or(|(lowest, _)| error < *lowest) {
            self.best = Some((error, model));
        }
    }

    pub(crate) fn best(self) -> Result<(M, Vec<f64>), StudyError> {
        let nothing = || InvalidArgument::new("--trainings", "a training with a finite r_1", "none");
        Ok((self.best.ok_or_else(nothing)?.1, self.errors))
    }
}
