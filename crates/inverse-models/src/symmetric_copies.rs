//! Copies of a basin under a symmetry that the simulator has exactly or nearly.

use std::sync::Arc;

use inverse_core::{InvalidArgument, with_symmetric_copies};
use ndarray::{Array1, Array2, Axis, s};

use crate::adaptive_target::{Center, WORTHWHILE_FACTOR};
use crate::levenberg_marquardt::squared_norm;

/// By how much ‖a‖² at a solution may exceed what it is where it was measured.
const ASYMMETRY_MARGIN: f64 = 2.0;

type Copies = dyn Fn(&[f64]) -> Vec<Vec<f64>> + Send + Sync;

/// A symmetry, as the user gives it, whose copies are checked.
#[derive(Clone)]
pub(crate) struct SharedSymmetry(Arc<Copies>);

impl SharedSymmetry {
    pub(crate) fn new(symmetry: impl Fn(&[f64]) -> Vec<Vec<f64>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(symmetry))
    }

    /// The copies of a design, (copies, `dim_x`), both in the data's units.
    pub(crate) fn copies(&self, x: &Array1<f64>) -> Result<Array2<f64>, InvalidArgument> {
        let (copies, _) = with_symmetric_copies(x.view().insert_axis(Axis(0)), &*self.0)?;
        Ok(copies.slice_move(s![1.., ..]))
    }

    /// One copy of a design, (1, `dim_x`), both in the data's units.
    ///
    /// * `number`: from 1 on
    pub(crate) fn copy(&self, x: &Array1<f64>, number: usize) -> Result<Array2<f64>, InvalidArgument> {
        let copies = self.copies(x)?;
        if number > copies.nrows() {
            let expected = format!("{number} copies at least, as of another design");
            return Err(InvalidArgument::new("symmetry", expected, copies.nrows()));
        }
        Ok(copies.slice_move(s![number - 1..number, ..]))
    }
}

/// Where a basin stands.
#[derive(Clone)]
pub(crate) struct Standing {
    pub(crate) center: Center,
    /// Calls in a row that were not worthwhile.
    pub(crate) failures: usize,
    /// Whether the last step was worthwhile.
    pub(crate) is_descending: bool,
}

/// Which copy of a basin's designs is simulated, and which ones are left to try.
///
/// With S a symmetry, f(S x) = f(x) + a: a fitted simulator, as the paper's D4, has a ≠ 0, and one copy alone of a design
/// meets its own measurement. A search that has settled in another copy is right about all but a: it goes on at S x with
/// its model as it is.
///
/// While a copy is on trial, what was left for it is kept: the search comes back to it where no copy is better.
#[derive(Clone, Default)]
pub(crate) struct SymmetricCopies {
    /// The copy that is simulated; 0 is the design itself.
    current: usize,
    /// How many copies a design has, itself not counted; none, where nobody has told yet.
    count: Option<usize>,
    /// Copies of this basin that were simulated.
    tried: usize,
    /// How the basin stood at the best of the copies before the current one, and which that was.
    best: Option<(Standing, usize)>,
    /// Whether the current copy has not shown its worth.
    on_trial: bool,
    /// ‖a‖², the largest that the simulator has shown; before, what the surrogate says.
    asymmetry: f64,
    /// Whether the simulator has shown any.
    was_measured: bool,
}

impl SymmetricCopies {
    pub(crate) fn current(&self) -> usize {
        self.current
    }

    /// Whether nobody has told yet about this basin's copies.
    pub(crate) fn are_unknown(&self) -> bool {
        self.count.is_none()
    }

    /// * `count`: how many copies the basin's designs have
    /// * `asymmetry`: ‖f̂(S x) − f̂(x)‖², the largest of all
    pub(crate) fn announce(&mut self, count: usize, asymmetry: f64) {
        self.count = Some(count);
        if !self.was_measured {
            self.asymmetry = asymmetry;
        }
    }

    /// Another basin, whose designs are simulated themselves.
    pub(crate) fn leave(&mut self) {
        *self = Self { asymmetry: self.asymmetry, was_measured: self.was_measured, ..Self::default() };
    }

    /// Whether a copy is left, and may be better than where a basin has this loss: x* with f(x*) = y has a copy in every
    /// such basin, whose loss is ‖a‖², so that one with a higher loss is no copy of a solution's.
    pub(crate) fn may_be_better(&self, loss: f64) -> bool {
        let loss = self.best.as_ref().map_or(loss, |(best, _)| best.center.loss.min(loss));
        self.count.is_some_and(|count| self.tried < count) && loss < ASYMMETRY_MARGIN * self.asymmetry
    }

    /// Whether a step must be worthwhile to be taken: a call tells as much of another copy.
    pub(crate) fn wait(&self, loss: f64) -> bool {
        self.on_trial || self.may_be_better(loss)
    }

    /// The current copy has shown its worth.
    pub(crate) fn settle(&mut self) {
        self.on_trial = false;
    }

    /// Whether a loss at the current copy is at most half of that at the best one before it.
    pub(crate) fn halve(&self, loss: f64) -> bool {
        self.best.as_ref().is_some_and(|(best, _)| loss <= WORTHWHILE_FACTOR * best.center.loss)
    }

    /// Leaves the current copy, where the basin stands so, for the next copy of the best design so far.
    pub(crate) fn next(&mut self, standing: Standing) -> Center {
        let best = match self.best.take() {
            Some(best) if best.0.center.loss <= standing.center.loss => best,
            _ => (standing, self.current),
        };
        self.tried += 1;
        self.current = self.tried;
        self.on_trial = true;
        self.best.insert(best).0.center.clone()
    }

    /// Comes back to the best copy from one on trial that has not got below it.
    pub(crate) fn back(&mut self, loss: f64) -> Option<Standing> {
        let is_worse = |(best, _): &(Standing, usize)| self.on_trial && best.center.loss <= loss;
        let (best, copy) = self.best.take().filter(is_worse)?;
        self.current = copy;
        self.on_trial = false;
        Some(best)
    }

    /// Learns how much the simulator lacks in symmetry from the residuals of the copy that was asked for.
    pub(crate) fn measure(&mut self, residuals: &Array1<f64>) {
        let Some((best, _)) = &self.best else { return };
        let asymmetry = squared_norm((residuals - &best.center.residuals).view());
        self.asymmetry = if self.was_measured { self.asymmetry.max(asymmetry) } else { asymmetry };
        self.was_measured = true;
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn standing(residual: f64, failures: usize) -> Standing {
        let center =
            Center { x: array![residual], residuals: array![residual, 0.0], loss: residual * residual };
        Standing { center, failures, is_descending: true }
    }

    #[test]
    fn copies_are_worth_a_call_while_the_asymmetry_may_be_what_is_left() {
        let mut copies = SymmetricCopies::default();
        assert!(copies.are_unknown() && !copies.may_be_better(1e-9), "nobody told of any");
        copies.announce(2, 1.0);
        assert!(copies.may_be_better(1.99) && !copies.may_be_better(2.01));
        // The simulator has more to say of it than the surrogate.
        assert_eq!(copies.next(standing(0.1, 0)).x, array![0.1]);
        copies.measure(&array![0.1, 0.1]);
        assert!(copies.may_be_better(0.01));
        copies.leave();
        assert!(copies.are_unknown());
        copies.announce(2, 1.0);
        assert!(
            copies.may_be_better(0.019) && !copies.may_be_better(0.021),
            "not forgotten in the next basin"
        );
    }

    #[test]
    fn the_next_copy_is_of_the_best_design_so_far() {
        let mut copies = SymmetricCopies::default();
        copies.announce(3, 1.0);
        assert_eq!(copies.current(), 0);
        assert_eq!(copies.next(standing(0.5, 0)).x, array![0.5]);
        assert_eq!(copies.next(standing(0.9, 0)).x, array![0.5], "the first copy was worse");
        assert_eq!(
            (copies.next(standing(0.2, 1)).x, copies.current()),
            (array![0.2], 3),
            "the second was better"
        );
        assert!(!copies.may_be_better(0.01) && copies.wait(0.01), "there is no fourth, but a trial");
        assert!(copies.halve(0.02) && !copies.halve(0.03));
        let best = copies.back(0.05).unwrap();
        assert_eq!((best.center.x, best.failures, copies.current()), (array![0.2], 1, 2));
        assert!(!copies.wait(0.01) && copies.back(0.05).is_none());
    }

    #[test]
    fn nothing_comes_back_from_a_copy_of_worth() {
        let mut copies = SymmetricCopies::default();
        copies.announce(1, 1.0);
        copies.next(standing(0.5, 0));
        copies.settle();
        assert!(copies.back(0.3).is_none() && copies.current() == 1);
        copies = SymmetricCopies::default();
        copies.announce(1, 1.0);
        copies.next(standing(0.5, 0));
        assert!(copies.back(0.2).is_none() && copies.current() == 1, "below 0.5² without a step that halves");
    }

    #[test]
    fn missing_copies_are_named() {
        let symmetry = SharedSymmetry::new(|x| vec![vec![x[1], x[0]]]);
        let x = array![1.0, 2.0];
        assert_eq!(symmetry.copies(&x).unwrap(), array![[2.0, 1.0]]);
        assert_eq!(symmetry.copy(&x, 1).unwrap(), array![[2.0, 1.0]]);
        let error = symmetry.copy(&x, 2).unwrap_err().to_string();
        assert_eq!(error, "invalid `symmetry`: expected 2 copies at least, as of another design, found 1");
        assert!(SharedSymmetry::new(|_| vec![vec![f64::NAN; 2]]).copies(&x).is_err());
    }
}
