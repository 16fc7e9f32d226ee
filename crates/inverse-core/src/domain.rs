//! The domain of x: mean μ_x and range R_x of eq. 5.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, Zip};
use serde::{Deserialize, Serialize};

use crate::{InvalidArgument, check_matrix};

/// The box in which designs are trusted: μ_x and R_x of the boundary loss
/// `L_bnd = ReLU(|x − μ_x| − R_x / 2)` (eq. 5).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "DomainFields")]
pub struct Domain {
    center: Array1<f64>,
    range: Array1<f64>,
}

/// The fields as a file holds them, which may be anything.
#[derive(Deserialize)]
struct DomainFields {
    center: Array1<f64>,
    range: Array1<f64>,
}

impl TryFrom<DomainFields> for Domain {
    type Error = InvalidArgument;

    fn try_from(fields: DomainFields) -> Result<Self, InvalidArgument> {
        Self::new(fields.center, fields.range)
    }
}

impl Domain {
    /// The domain with mean μ_x = `center` and range R_x = `range`, in units of x.
    ///
    /// # Errors
    /// [`InvalidArgument`] where the lengths differ or are 0, a value is not finite, or a range is negative.
    pub fn new(center: Array1<f64>, range: Array1<f64>) -> Result<Self, InvalidArgument> {
        if center.is_empty() {
            return Err(InvalidArgument::new("center", "at least one variable", "none"));
        }
        if center.len() != range.len() {
            return Err(InvalidArgument::new("range", format!("{} values", center.len()), range.len()));
        }
        if let Some(value) = center.iter().find(|value| !value.is_finite()) {
            return Err(InvalidArgument::new("center", "finite values", value));
        }
        if let Some(value) = range.iter().find(|value| !(value.is_finite() && **value >= 0.0)) {
            return Err(InvalidArgument::new("range", "finite values of at least 0", value));
        }
        Ok(Self { center, range })
    }

    /// The domain that spans `lower` to `upper` in each variable.
    ///
    /// # Errors
    /// [`InvalidArgument`] where the lengths differ or are 0, a value is not finite, an upper bound is below its lower
    /// one, or they are so huge that mean or range is not finite.
    pub fn from_bounds(lower: &[f64], upper: &[f64]) -> Result<Self, InvalidArgument> {
        if lower.is_empty() {
            return Err(InvalidArgument::new("lower", "at least one variable", "none"));
        }
        if lower.len() != upper.len() {
            return Err(InvalidArgument::new("upper", format!("{} values", lower.len()), upper.len()));
        }
        for (name, bounds) in [("lower", lower), ("upper", upper)] {
            if let Some(value) = bounds.iter().find(|value| !value.is_finite()) {
                return Err(InvalidArgument::new(name, "finite values", value));
            }
        }
        if let Some((low, high)) = lower.iter().zip(upper).find(|(low, high)| low > high) {
            let found = format!("{high} where `lower` is {low}");
            return Err(InvalidArgument::new("upper", "values of at least `lower`", found));
        }
        let center = lower.iter().zip(upper).map(|(low, high)| 0.5 * (low + high)).collect();
        let range = lower.iter().zip(upper).map(|(low, high)| high - low).collect();
        Self::of("upper", center, range)
    }

    /// The domain of a mean and a range that come from `argument`, which an error names.
    pub(crate) fn of(
        argument: &str,
        center: Array1<f64>,
        range: Array1<f64>,
    ) -> Result<Self, InvalidArgument> {
        Self::new(center, range).map_err(|error| {
            let found = format!("a {} of {}", error.argument, error.found);
            InvalidArgument::new(argument, "values whose mean and range are finite", found)
        })
    }

    /// The domain of observed designs: mean and full range of each column, as eq. 5 defines them.
    ///
    /// * `x`: designs, (n, `dim_x`), n at least 1
    ///
    /// # Errors
    /// [`InvalidArgument`] that names `x`, where it is empty or not finite, or so huge that mean or range is not finite.
    pub fn from_samples(x: ArrayView2<'_, f64>) -> Result<Self, InvalidArgument> {
        check_matrix("x", x, x.ncols())?;
        let Some(center) = x.mean_axis(Axis(0)).filter(|center| !center.is_empty()) else {
            let found = format!("shape {:?}", x.dim());
            return Err(InvalidArgument::new("x", "at least one row and one column", found));
        };
        let lower = x.fold_axis(Axis(0), f64::INFINITY, |low, value| low.min(*value));
        let upper = x.fold_axis(Axis(0), f64::NEG_INFINITY, |high, value| high.max(*value));
        Self::of("x", center, upper - lower)
    }

    /// Number of design variables.
    pub fn dim(&self) -> usize {
        self.center.len()
    }

    /// μ_x, (`dim_x`).
    pub fn center(&self) -> ArrayView1<'_, f64> {
        self.center.view()
    }

    /// R_x, (`dim_x`).
    pub fn range(&self) -> ArrayView1<'_, f64> {
        self.range.view()
    }

    /// μ_x − R_x / 2, (`dim_x`).
    pub fn lower(&self) -> Array1<f64> {
        &self.center - &(&self.range / 2.0)
    }

    /// μ_x + R_x / 2, (`dim_x`).
    pub fn upper(&self) -> Array1<f64> {
        &self.center + &(&self.range / 2.0)
    }

    /// The boundary loss of eq. 5, one entry a variable.
    ///
    /// * `x`: designs, (n, `dim_x`)
    ///
    /// Returns ReLU(|x − μ_x| − R_x / 2), (n, `dim_x`): 0 inside the domain.
    ///
    /// # Errors
    /// [`InvalidArgument`] where `x` has another width or is not finite.
    pub fn boundary_loss(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>, InvalidArgument> {
        check_matrix("x", x, self.dim())?;
        let mut loss = x.to_owned();
        for mut row in loss.rows_mut() {
            Zip::from(&mut row).and(&self.center).and(&self.range).for_each(|value, center, range| {
                *value = ((*value - center).abs() - range / 2.0).max(0.0);
            });
        }
        Ok(loss)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn boundary_loss_is_zero_inside_and_grows_outside() {
        let domain = Domain::from_bounds(&[-1.0, 0.0], &[1.0, 4.0]).unwrap();
        let loss = domain.boundary_loss(array![[0.5, 3.9], [-1.5, 5.0], [1.0, 0.0]].view()).unwrap();
        assert_eq!(loss, array![[0.0, 0.0], [0.5, 1.0], [0.0, 0.0]]);
        assert!(domain.boundary_loss(array![[0.5]].view()).is_err());
    }

    #[test]
    fn samples_give_mean_and_range() {
        let domain = Domain::from_samples(array![[0.0, 5.0], [1.0, 5.0], [5.0, 5.0]].view()).unwrap();
        assert_eq!(domain.center(), array![2.0, 5.0]);
        assert_eq!(domain.range(), array![5.0, 0.0]);
        assert!(Domain::from_samples(Array2::zeros((0, 2)).view()).is_err());
    }

    #[test]
    fn files_are_checked() {
        let domain = Domain::new(array![1.0, 2.0], array![0.5, 0.0]).unwrap();
        let json = serde_json::to_string(&domain).unwrap();
        assert_eq!(serde_json::from_str::<Domain>(&json).unwrap(), domain);
        for (from, to) in [("[0.5,", "[-0.5,"), ("[2]", "[1]"), ("1.0,2.0", "1.0")] {
            assert!(json.contains(from), "{json}");
            assert!(serde_json::from_str::<Domain>(&json.replacen(from, to, 1)).is_err(), "{to}");
        }
    }

    #[test]
    fn errors_name_what_was_passed() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        for (lower, upper, message) in [
            (vec![], vec![], "invalid `lower`: expected at least one variable, found none"),
            (vec![0.0], vec![], "invalid `upper`: expected 1 values, found 0"),
            (vec![nan], vec![0.0], "invalid `lower`: expected finite values, found NaN"),
            (vec![0.0], vec![nan], "invalid `upper`: expected finite values, found NaN"),
            (vec![0.0], vec![inf], "invalid `upper`: expected finite values, found inf"),
            (
                vec![1.0],
                vec![0.0],
                "invalid `upper`: expected values of at least `lower`, found 0 where `lower` is 1",
            ),
            (vec![-1e308], vec![1e308], "found a range of inf"),
            (vec![1e308], vec![1.5e308], "found a center of inf"),
        ] {
            let error = Domain::from_bounds(&lower, &upper).unwrap_err();
            assert!(error.to_string().contains(message), "{error}");
            assert!(["lower", "upper"].contains(&&*error.argument), "{error}");
        }
        for x in [array![[1e308], [1e308]], array![[1e308], [-1e308]], Array2::zeros((2, 0))] {
            assert_eq!(Domain::from_samples(x.view()).unwrap_err().argument, "x");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(Domain::new(array![0.0], array![-1.0]).is_err());
        assert!(Domain::new(array![f64::NAN], array![1.0]).is_err());
        assert!(Domain::new(array![], array![]).is_err());
        assert!(Domain::from_bounds(&[0.0], &[1.0, 2.0]).is_err());
    }
}
