//! Methods and the inverse models they fit.

use ndarray::{Array1, ArrayView2};
use rand::Rng;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Dataset, FitContext, FitError, InvalidArgument, LARGEST_PAIRS, ProposalWalk, Proposals, ProposeError,
    Search, check_matrix,
};

/// A method's settings; fitting them to data gives a model.
pub trait Method: Serialize + DeserializeOwned {
    /// What fitting gives.
    type Model: InverseModel;

    /// Fits the method to pairs of designs and measurements.
    ///
    /// # Errors
    /// [`FitError`] where a setting or the data cannot be used, training diverges, the observer stops it,
    /// or the device fails. Settings are checked before any training.
    fn fit(&self, data: &Dataset, context: &mut FitContext<'_>) -> Result<Self::Model, FitError>;
}

/// A fitted inverse model: a way of searching x-space for designs that give a wanted y (section 1.1).
pub trait InverseModel: Send + Sync {
    /// The method's name, as tables print it.
    fn name(&self) -> &str;

    /// Number of design variables.
    fn dim_x(&self) -> usize;

    /// Number of measured variables.
    fn dim_y(&self) -> usize;

    /// Number of trainable parameters, as Table 8 counts them; 0 for a model without any.
    fn parameter_count(&self) -> usize {
        0
    }

    /// Proposes `n` designs for each target, best guess first where the model can tell.
    ///
    /// * `y`: targets, (targets, `dim_y`)
    ///
    /// A target's proposals do not depend on which other targets come after it. The library's models that sample draw again
    /// what lies outside the range of the training designs, a few times, then move it to the nearest design inside.
    ///
    /// # Errors
    /// [`ProposeError::InvalidArgument`] where `y` has another width, is not finite, or has no row, `n` is 0 or
    /// more than the model can give, or there would be more than [`LARGEST_PAIRS`] designs.
    fn propose(&self, y: ArrayView2<'_, f64>, n: usize, rng: &mut dyn Rng)
    -> Result<Proposals, ProposeError>;

    /// Starts a search of `budget` simulator calls a target that may learn from each answer.
    ///
    /// The default makes `budget` proposals and walks down them, deaf to the answers.
    ///
    /// * `y`: targets, (targets, `dim_y`)
    ///
    /// # Errors
    /// As [`InverseModel::propose`], of `budget` instead of `n`.
    fn search<'a>(
        &'a self,
        y: ArrayView2<'_, f64>,
        budget: usize,
        rng: &mut dyn Rng,
    ) -> Result<Box<dyn Search + 'a>, ProposeError> {
        let proposals = self.propose(y, budget, rng).map_err(|error| match error {
            ProposeError::InvalidArgument(mut error) if error.argument == "n" => {
                error.argument = "budget".into();
                error.into()
            }
            error => error,
        })?;
        Ok(Box::new(ProposalWalk::new(proposals, self.dim_y())))
    }

    /// log p̂(x | y) of each design under its own target, (pairs), in nats per unit of volume of x; `None`, the
    /// default, where the model has no density that it can evaluate.
    ///
    /// It is the density that [`InverseModel::propose`] draws from, before a model that does so draws again, or moves inside,
    /// what lies outside the range of the training designs. Its mean over pairs that were held out scores a sampler without any draw: the higher,
    /// the better. Pairs so far from the data that numbers overflow have −∞ or NaN.
    ///
    /// * `x`: designs, (pairs, `dim_x`); there may be none
    /// * `y`: their targets, (pairs, `dim_y`)
    ///
    /// # Errors
    /// Of a model that has a density: [`ProposeError::InvalidArgument`] where `x` or `y` has another width or is not
    /// finite, or `y` has not one row for each of `x`.
    fn log_density(
        &self,
        _x: ArrayView2<'_, f64>,
        _y: ArrayView2<'_, f64>,
    ) -> Result<Option<Array1<f64>>, ProposeError> {
        Ok(None)
    }
}

impl<M: InverseModel + ?Sized> InverseModel for Box<M> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn dim_x(&self) -> usize {
        (**self).dim_x()
    }

    fn dim_y(&self) -> usize {
        (**self).dim_y()
    }

    fn parameter_count(&self) -> usize {
        (**self).parameter_count()
    }

    fn propose(
        &self,
        y: ArrayView2<'_, f64>,
        n: usize,
        rng: &mut dyn Rng,
    ) -> Result<Proposals, ProposeError> {
        (**self).propose(y, n, rng)
    }

    fn search<'a>(
        &'a self,
        y: ArrayView2<'_, f64>,
        budget: usize,
        rng: &mut dyn Rng,
    ) -> Result<Box<dyn Search + 'a>, ProposeError> {
        (**self).search(y, budget, rng)
    }

    fn log_density(
        &self,
        x: ArrayView2<'_, f64>,
        y: ArrayView2<'_, f64>,
    ) -> Result<Option<Array1<f64>>, ProposeError> {
        (**self).log_density(x, y)
    }
}

/// Checks the arguments of [`InverseModel::propose`].
///
/// * `largest`: the most proposals the model can make for one target
///
/// # Errors
/// [`InvalidArgument`] that names `y` or `n`.
pub fn check_request(
    y: ArrayView2<'_, f64>,
    dim_y: usize,
    n: usize,
    largest: usize,
) -> Result<(), InvalidArgument> {
    check_matrix("y", y, dim_y)?;
    if y.nrows() == 0 {
        return Err(InvalidArgument::new("y", "at least one target", "none"));
    }
    if n == 0 || n > largest {
        let expected = if largest == usize::MAX { "at least 1".into() } else { format!("1 to {largest}") };
        return Err(InvalidArgument::new("n", expected, n));
    }
    if y.nrows().saturating_mul(n) > LARGEST_PAIRS {
        let expected = format!("at most {LARGEST_PAIRS} designs for all targets together");
        return Err(InvalidArgument::new("n", expected, format!("{} targets times {n}", y.nrows())));
    }
    Ok(())
}

/// Checks the arguments of [`InverseModel::log_density`].
///
/// * `dims`: (`dim_x`, `dim_y`)
///
/// # Errors
/// [`InvalidArgument`] that names `x` or `y`.
pub fn check_pairs(
    x: ArrayView2<'_, f64>,
    y: ArrayView2<'_, f64>,
    dims: (usize, usize),
) -> Result<(), InvalidArgument> {
    check_matrix("x", x, dims.0)?;
    check_matrix("y", y, dims.1)?;
    if x.nrows() != y.nrows() {
        let expected = format!("a target for each of {} designs", x.nrows());
        return Err(InvalidArgument::new("y", expected, y.nrows()));
    }
    Ok(())
}

/// Checks that a search which learns from answers is not asked before it has them.
///
/// * `waiting`: whether it was asked, and not told, since
///
/// # Errors
/// [`InvalidArgument`] that names `y`.
pub fn check_answered(waiting: bool) -> Result<(), InvalidArgument> {
    if waiting {
        return Err(InvalidArgument::new("y", "answers to what was asked for", "another question"));
    }
    Ok(())
}

/// Checks the answers of [`Search::tell`](crate::Search::tell) to what was asked for.
///
/// * `y`: the answers; `expected`: (targets, `dim_y`)
///
/// # Errors
/// [`InvalidArgument`] that names `y`.
pub fn check_answers(y: ArrayView2<'_, f64>, expected: (usize, usize)) -> Result<(), InvalidArgument> {
    if y.dim() == expected {
        return Ok(());
    }
    Err(InvalidArgument::new("y", format!("shape {expected:?}"), format!("{:?}", y.dim())))
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Array3, array, s};

    use super::*;
    use crate::RandomStreams;

    /// Proposes zeros.
    struct Zeros;

    impl InverseModel for Zeros {
        fn name(&self) -> &'static str {
            "zeros"
        }

        fn dim_x(&self) -> usize {
            1
        }

        fn dim_y(&self) -> usize {
            1
        }

        fn propose(
            &self,
            y: ArrayView2<'_, f64>,
            n: usize,
            _: &mut dyn Rng,
        ) -> Result<Proposals, ProposeError> {
            check_request(y, 1, n, 4)?;
            Ok(Proposals::new(Array3::zeros((y.nrows(), n, 1)))?)
        }
    }

    #[test]
    fn searches_name_their_budget() {
        let mut rng = RandomStreams::new(0).stream("search", 0);
        let y = array![[0.0]];
        for budget in [0, 5] {
            let error = Zeros.search(y.view(), budget, &mut rng).err().unwrap().to_string();
            assert_eq!(error, format!("invalid `budget`: expected 1 to 4, found {budget}"));
        }
        let error = Zeros.search(array![[0.0, 0.0]].view(), 1, &mut rng).err().unwrap().to_string();
        assert!(error.contains("`y`"), "{error}");
    }

    #[test]
    fn requests_are_checked() {
        let y = array![[0.0]];
        assert!(check_request(y.view(), 1, 1, 1).is_ok());
        assert_eq!(
            check_request(y.view(), 1, 300, 256).unwrap_err().to_string(),
            "invalid `n`: expected 1 to 256, found 300"
        );
        assert!(check_request(y.view(), 1, 0, usize::MAX).is_err());
        assert!(check_request(y.view(), 1, LARGEST_PAIRS, usize::MAX).is_ok());
        let two = array![[0.0], [0.0]];
        for n in [LARGEST_PAIRS / 2 + 1, usize::MAX] {
            let error = check_request(two.view(), 1, n, usize::MAX).unwrap_err().to_string();
            assert!(error.contains(&format!("found 2 targets times {n}")), "{error}");
        }
        assert!(check_request(y.view(), 2, 1, 1).is_err());
        assert!(check_request(Array2::zeros((0, 1)).view(), 1, 1, 1).is_err());
    }

    #[test]
    fn pairs_are_checked() {
        let (x, y) = (array![[0.0, 1.0], [2.0, 3.0]], array![[0.0], [1.0]]);
        assert!(check_pairs(x.view(), y.view(), (2, 1)).is_ok());
        assert!(check_pairs(x.slice(s![..0, ..]), y.slice(s![..0, ..]), (2, 1)).is_ok());
        let named = |x: &Array2<f64>, y: &Array2<f64>, dims| {
            check_pairs(x.view(), y.view(), dims).unwrap_err().to_string()
        };
        assert_eq!(named(&x, &y, (3, 1)), "invalid `x`: expected 3 columns, found 2 columns");
        assert_eq!(named(&x, &x, (2, 1)), "invalid `y`: expected 1 columns, found 2 columns");
        let single = array![[0.0]];
        assert_eq!(
            named(&x, &single, (2, 1)),
            "invalid `y`: expected a target for each of 2 designs, found 1"
        );
        assert!(named(&x, &array![[0.0], [f64::NAN]], (2, 1)).contains("`y`"));
    }

    #[test]
    fn a_model_without_a_density_says_so() {
        let model: Box<dyn InverseModel> = Box::new(Zeros);
        assert_eq!(model.log_density(array![[0.0]].view(), array![[0.0]].view()).unwrap(), None);
    }
}
