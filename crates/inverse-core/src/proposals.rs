//! Designs that a model proposes.

use ndarray::{Array2, Array3, ArrayView2, ArrayView3, s};

use crate::{InvalidArgument, InverseModel, ProposeError};

/// Numbers of designs and targets whose density is asked for at once: it bounds the memory whatever their number.
const BLOCK_NUMBERS: usize = 1 << 22;

/// Proposed designs, (targets, n, `dim_x`), best guess first.
///
/// A model that diverged may propose designs that are not finite; the metrics count them as invalid.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposals {
    designs: Array3<f64>,
    predicted_errors: Option<Array2<f64>>,
    moved_inside: Option<Array2<bool>>,
}

impl Proposals {
    /// Wraps designs, (targets, n, `dim_x`).
    ///
    /// # Errors
    /// [`InvalidArgument`] where an axis is empty.
    pub fn new(designs: Array3<f64>) -> Result<Self, InvalidArgument> {
        if designs.is_empty() {
            let found = format!("shape {:?}", designs.dim());
            return Err(InvalidArgument::new("designs", "at least one target, proposal and variable", found));
        }
        Ok(Self { designs, predicted_errors: None, moved_inside: None })
    }

    /// Adds the error that the model itself expects of each proposal, (targets, n), in units of y².
    ///
    /// # Errors
    /// [`InvalidArgument`] where the shape is not that of the designs.
    pub fn with_predicted_errors(mut self, errors: Array2<f64>) -> Result<Self, InvalidArgument> {
        self.check_shape("errors", errors.dim())?;
        self.predicted_errors = Some(errors);
        Ok(self)
    }

    /// Says which designs are no draws of the model, (targets, n): what it drew lay outside the range of the training
    /// designs, and was moved to the nearest design inside. A variable that never varied in training has one value whatever
    /// was drawn, and does not count.
    ///
    /// # Errors
    /// [`InvalidArgument`] where the shape is not that of the designs.
    pub fn with_moved_inside(mut self, moved: Array2<bool>) -> Result<Self, InvalidArgument> {
        self.check_shape("moved", moved.dim())?;
        self.moved_inside = Some(moved);
        Ok(self)
    }

    fn check_shape(&self, argument: &str, found: (usize, usize)) -> Result<(), InvalidArgument> {
        let expected = (self.targets(), self.count());
        if found == expected {
            return Ok(());
        }
        Err(InvalidArgument::new(argument, format!("shape {expected:?}"), format!("{found:?}")))
    }

    /// Designs, (targets, n, `dim_x`).
    pub fn designs(&self) -> ArrayView3<'_, f64> {
        self.designs.view()
    }

    /// The model's own estimate of each proposal's squared error, (targets, n), where it has one.
    pub fn predicted_errors(&self) -> Option<ArrayView2<'_, f64>> {
        self.predicted_errors.as_ref().map(|errors| errors.view())
    }

    /// Which designs were moved inside the range of the training designs, (targets, n), where the model says so.
    pub fn moved_inside(&self) -> Option<ArrayView2<'_, bool>> {
        self.moved_inside.as_ref().map(|moved| moved.view())
    }

    /// Whether there is such a proposal, and it is a draw of its model, as far as that says: finite, and not
    /// [moved](Self::moved_inside).
    pub fn is_draw(&self, target: usize, rank: usize) -> bool {
        let moved = self.moved_inside.as_ref().is_some_and(|moved| moved.get((target, rank)) == Some(&true));
        let exists = target < self.targets() && rank < self.count();
        exists && !moved && self.designs.slice(s![target, rank, ..]).iter().all(|value| value.is_finite())
    }

    /// Number of targets.
    pub fn targets(&self) -> usize {
        self.designs.dim().0
    }

    /// Number of proposals for each target.
    pub fn count(&self) -> usize {
        self.designs.dim().1
    }

    /// log p̂(x | y) of each proposal under its own target, (targets, n), in nats per unit of volume of x; `None` where the
    /// model has no density. A proposal that is not finite has −∞.
    ///
    /// * `model`: the one that made them, or another
    /// * `y`: the targets, (targets, `dim_y`)
    ///
    /// # Errors
    /// As [`InverseModel::log_density`]; also where `y` has not one row a target, or the model gives another number of
    /// densities than pairs.
    pub fn log_density(
        &self,
        model: &(impl InverseModel + ?Sized),
        y: ArrayView2<'_, f64>,
    ) -> Result<Option<Array2<f64>>, ProposeError> {
        let (targets, n, dim_x) = self.designs.dim();
        if y.nrows() != targets {
            let expected = format!("a row for each of {targets} targets");
            return Err(InvalidArgument::new("y", expected, y.nrows()).into());
        }
        let mut logs = Array2::from_elem((targets, n), f64::NEG_INFINITY);
        let finite = |place: &(usize, usize)| {
            self.designs.slice(s![place.0, place.1, ..]).iter().all(|value| value.is_finite())
        };
        let places: Vec<_> = ndarray::indices((targets, n)).into_iter().filter(finite).collect();
        let rows = (BLOCK_NUMBERS / (dim_x + y.ncols())).max(1);
        // No proposal that is finite: one empty block, for the model to say whether it has a density.
        let blocks = places.chunks(rows).chain(places.is_empty().then_some(&places[..]));
        for block in blocks {
            let x = Array2::from_shape_fn((block.len(), dim_x), |(row, column)| {
                self.designs[[block[row].0, block[row].1, column]]
            });
            let y =
                Array2::from_shape_fn((block.len(), y.ncols()), |(row, column)| y[[block[row].0, column]]);
            let Some(log) = model.log_density(x.view(), y.view())? else { return Ok(None) };
            if log.len() != block.len() {
                let expected = format!("one that answers {} pairs with as many densities", block.len());
                return Err(InvalidArgument::new("model", expected, log.len()).into());
            }
            for (place, log) in block.iter().zip(&log) {
                logs[*place] = *log;
            }
        }
        Ok(Some(logs))
    }

    /// The proposals of rank `rank` (0 is the best guess) for all targets, (targets, `dim_x`).
    pub fn rank(&self, rank: usize) -> Option<ArrayView2<'_, f64>> {
        (rank < self.count()).then(|| self.designs.slice(s![.., rank, ..]))
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, array};
    use rand::Rng;

    use super::*;
    use crate::check_pairs;

    #[test]
    fn shapes_must_agree() {
        let proposals = Proposals::new(array![[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]]).unwrap();
        assert_eq!((proposals.targets(), proposals.count()), (1, 3));
        assert_eq!(proposals.rank(1).unwrap(), array![[3.0, 4.0]]);
        assert!(proposals.rank(3).is_none());
        assert!(proposals.clone().with_predicted_errors(array![[0.0, 1.0]]).is_err());
        assert!(proposals.clone().with_predicted_errors(array![[0.0, 1.0, 2.0]]).is_ok());
        let error = proposals.clone().with_moved_inside(array![[true], [false], [false]]).unwrap_err();
        assert_eq!(error.to_string(), "invalid `moved`: expected shape (1, 3), found (3, 1)");
        let moved = array![[true, false, false]];
        assert_eq!(proposals.moved_inside(), None);
        let proposals = proposals.with_moved_inside(moved.clone()).unwrap();
        assert_eq!(proposals.moved_inside(), Some(moved.view()));
        let draws: Vec<bool> = (0..4).map(|rank| proposals.is_draw(0, rank)).collect();
        assert_eq!(draws, [false, true, true, false], "the first was moved, and there is no fourth");
        assert!(!proposals.is_draw(1, 1));
        let infinite = Proposals::new(array![[[1.0, f64::INFINITY], [1.0, 2.0]]]).unwrap();
        assert!(!infinite.is_draw(0, 0) && infinite.is_draw(0, 1));
        assert!(Proposals::new(Array3::zeros((1, 0, 2))).is_err());
    }

    /// The density of x is −|x − y|, or there is none, or too few.
    struct Distance {
        density: bool,
        short: bool,
    }

    const DISTANCE: Distance = Distance { density: true, short: false };
    const NONE: Distance = Distance { density: false, short: false };

    impl InverseModel for Distance {
        fn name(&self) -> &'static str {
            "distance"
        }

        fn dim_x(&self) -> usize {
            1
        }

        fn dim_y(&self) -> usize {
            1
        }

        fn propose(
            &self,
            _: ArrayView2<'_, f64>,
            _: usize,
            _: &mut dyn Rng,
        ) -> Result<Proposals, ProposeError> {
            Err(ProposeError::Backend("not asked for here".into()))
        }

        fn log_density(
            &self,
            x: ArrayView2<'_, f64>,
            y: ArrayView2<'_, f64>,
        ) -> Result<Option<Array1<f64>>, ProposeError> {
            check_pairs(x, y, (1, 1))?;
            let rows = x.nrows() - usize::from(self.short);
            let log = -(&x - &y).mapv(f64::abs);
            Ok(self.density.then(|| log.slice(s![..rows, 0]).to_owned()))
        }
    }

    #[test]
    fn densities_are_those_under_their_own_targets() {
        let proposals =
            Proposals::new(array![[[1.0], [f64::NAN], [4.0]], [[1.0], [2.0], [f64::INFINITY]]]).unwrap();
        let y = array![[1.0], [3.0]];
        let logs = proposals.log_density(&DISTANCE, y.view()).unwrap().unwrap();
        let none = f64::NEG_INFINITY;
        assert_eq!(logs, array![[0.0, none, -3.0], [-2.0, -1.0, none]]);
        assert_eq!(proposals.log_density(&NONE, y.view()).unwrap(), None);
        let invalid = Proposals::new(Array3::from_elem((2, 1, 1), f64::NAN)).unwrap();
        let logs = invalid.log_density(&DISTANCE, y.view()).unwrap().unwrap();
        assert_eq!(logs, array![[none], [none]]);
        assert_eq!(invalid.log_density(&NONE, y.view()).unwrap(), None);
        let error = proposals.log_density(&DISTANCE, array![[1.0]].view()).unwrap_err();
        assert_eq!(error.to_string(), "invalid `y`: expected a row for each of 2 targets, found 1");
        let short = Distance { density: true, short: true };
        let error = proposals.log_density(&short, y.view()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid `model`: expected one that answers 4 pairs with as many densities, found 3"
        );
    }

    #[test]
    fn blocks_are_put_together_in_order() {
        // Two numbers a row: two blocks and a part of a third.
        let (targets, n) = (3, BLOCK_NUMBERS / 2 - 7);
        let design = |target: usize, draw: usize| (target * n + draw) as f64;
        let designs = Array3::from_shape_fn((targets, n, 1), |(target, draw, _)| design(target, draw));
        let y = Array2::from_shape_fn((targets, 1), |(target, _)| -(target as f64));
        let proposals = Proposals::new(designs).unwrap();
        let logs = proposals.log_density(&DISTANCE, y.view()).unwrap().unwrap();
        for place in [(0, 0), (0, n - 1), (1, 5), (1, n - 1), (2, 0), (2, n - 1)] {
            assert_eq!(logs[place], -(design(place.0, place.1) + place.0 as f64));
        }
    }
}
