//! Per-column standardisation.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use crate::{InvalidArgument, check_matrix};

/// Shifts and scales each column to mean 0 and standard deviation 1.
///
/// A column that does not vary keeps a scale of 1, so nothing is ever divided by zero.
///
/// ```
/// use inverse_core::Standardizer;
/// use ndarray::array;
///
/// let x = array![[1.0, 7.0], [3.0, 7.0]];
/// let standardizer = Standardizer::fit(x.view())?;
/// let standard = standardizer.transform(x.view())?;
/// assert_eq!(standard, array![[-1.0, 0.0], [1.0, 0.0]]);
/// assert_eq!(standardizer.inverse(standard.view())?, x);
/// # Ok::<(), inverse_core::InvalidArgument>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StandardizerFields")]
pub struct Standardizer {
    mean: Array1<f64>,
    scale: Array1<f64>,
}

/// The fields as a file holds them, which may be anything.
#[derive(Deserialize)]
struct StandardizerFields {
    mean: Array1<f64>,
    scale: Array1<f64>,
}

impl TryFrom<StandardizerFields> for Standardizer {
    type Error = InvalidArgument;

    fn try_from(fields: StandardizerFields) -> Result<Self, InvalidArgument> {
        let standardizer = Self { mean: fields.mean, scale: fields.scale };
        standardizer.validate()?;
        Ok(standardizer)
    }
}

impl Standardizer {
    /// Measures the columns of `samples`, (n, columns).
    ///
    /// # Errors
    /// [`InvalidArgument`] where there is no row, no column, or a value that is not finite.
    pub fn fit(samples: ArrayView2<'_, f64>) -> Result<Self, InvalidArgument> {
        check_matrix("samples", samples, samples.ncols())?;
        if samples.is_empty() {
            return Err(InvalidArgument::new(
                "samples",
                "at least one row and one column",
                format!("{:?}", samples.dim()),
            ));
        }
        // Scaling by the largest magnitude first keeps the squares of huge values finite.
        let largest = samples.fold_axis(Axis(0), 0.0_f64, |largest, value| largest.max(value.abs()));
        let unit = largest.mapv(|largest| if largest > 0.0 { largest } else { 1.0 });
        let scaled = &samples / &unit;
        let count = samples.nrows() as f64;
        let mean = scaled.sum_axis(Axis(0)) / count;
        let deviation = ((&scaled - &mean).mapv(|value| value * value).sum_axis(Axis(0)) / count).sqrt();
        // Rounding leaves a constant column a deviation of a few ulps; that is no variation. Nor is one that has
        // no normal number: dividing by it would lose its digits, or be a division by zero.
        let scale = deviation
            .iter()
            .zip(&unit)
            .map(|(deviation, unit)| {
                let varies = *deviation > 1e-12 && deviation * unit >= f64::MIN_POSITIVE;
                if varies { deviation * unit } else { 1.0 }
            })
            .collect();
        Ok(Self { mean: mean * unit, scale })
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.mean.len()
    }

    /// Mean of each column.
    pub fn mean(&self) -> ArrayView1<'_, f64> {
        self.mean.view()
    }

    /// Standard deviation of each column; 1 where the column does not vary.
    pub fn scale(&self) -> ArrayView1<'_, f64> {
        self.scale.view()
    }

    /// Whether the fields can come from [`Standardizer::fit`]; deserialising checks it.
    ///
    /// # Errors
    /// [`InvalidArgument`] where the lengths differ or are 0, a value is not finite, or a scale is not positive.
    pub fn validate(&self) -> Result<(), InvalidArgument> {
        if self.mean.is_empty() || self.mean.len() != self.scale.len() {
            let found = format!("{} means and {} scales", self.mean.len(), self.scale.len());
            return Err(InvalidArgument::new("standardizer", "as many means as scales", found));
        }
        let usable = self.mean.iter().all(|mean| mean.is_finite())
            && self.scale.iter().all(|scale| scale.is_finite() && *scale > 0.0);
        if usable {
            Ok(())
        } else {
            Err(InvalidArgument::new("standardizer", "finite means, positive scales", format!("{self:?}")))
        }
    }

    /// (samples − mean) / scale.
    ///
    /// # Errors
    /// [`InvalidArgument`] where `samples` has another width or is not finite.
    pub fn transform(&self, samples: ArrayView2<'_, f64>) -> Result<Array2<f64>, InvalidArgument> {
        check_matrix("samples", samples, self.width())?;
        let mut standard = (&samples - &self.mean) / &self.scale;
        for (place, value) in standard.indexed_iter_mut() {
            // The difference of huge values of both signs overflows where that of their quotients does not.
            if value.is_infinite() && (samples[place] - self.mean[place.1]).is_infinite() {
                let scale = self.scale[place.1];
                *value = samples[place] / scale - self.mean[place.1] / scale;
            }
        }
        Ok(standard)
    }

    /// standard · scale + mean. Values that are not finite pass through.
    ///
    /// # Errors
    /// [`InvalidArgument`] where `standard` has another width.
    pub fn inverse(&self, standard: ArrayView2<'_, f64>) -> Result<Array2<f64>, InvalidArgument> {
        if standard.ncols() != self.width() {
            return Err(InvalidArgument::new(
                "standard",
                format!("{} columns", self.width()),
                format!("{} columns", standard.ncols()),
            ));
        }
        let mut samples = &standard * &self.scale + &self.mean;
        for (place, value) in samples.indexed_iter_mut() {
            // As above: half the product may be a number where the product is none, though the sum is one.
            if value.is_infinite() {
                *value = 2.0 * (standard[place] * (0.5 * self.scale[place.1]) + 0.5 * self.mean[place.1]);
            }
        }
        Ok(samples)
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use ndarray::array;

    use super::*;

    #[test]
    fn constant_and_huge_columns_are_safe() {
        let samples = array![[0.1, 1e300, 0.0], [0.1, -1e300, 0.0], [0.1, 1e300, 0.0]];
        let standardizer = Standardizer::fit(samples.view()).unwrap();
        assert_eq!(standardizer.scale()[0], 1.0);
        assert_eq!(standardizer.scale()[2], 1.0);
        let standard = standardizer.transform(samples.view()).unwrap();
        assert!(standard.iter().all(|value| value.is_finite()));
        assert_abs_diff_eq!(standard.column(1).std(0.0), 1.0, epsilon = 1e-12);
    }

    #[test]
    fn the_largest_numbers_stay_numbers() {
        let samples = array![[1.7e308], [-1.7e308], [-1.7e308], [-1.7e308]];
        let standardizer = Standardizer::fit(samples.view()).unwrap();
        let standard = standardizer.transform(samples.view()).unwrap();
        // One value of four: √3 and −1/√3.
        assert_abs_diff_eq!(standard[[0, 0]], 3.0_f64.sqrt(), epsilon = 1e-12);
        assert_abs_diff_eq!(standard[[3, 0]], -1.0 / 3.0_f64.sqrt(), epsilon = 1e-12);
        let read = standardizer.inverse(standard.view()).unwrap();
        assert_abs_diff_eq!(read / 1.7e308, samples / 1.7e308, epsilon = 1e-12);
        let beyond =
            standardizer.inverse(array![[1e300], [f64::INFINITY], [f64::NEG_INFINITY]].view()).unwrap();
        assert_eq!(beyond, array![[f64::INFINITY], [f64::INFINITY], [f64::NEG_INFINITY]]);
    }

    #[test]
    fn columns_of_subnormal_numbers_are_constant() {
        let least = f64::from_bits(1);
        let samples = array![[0.0, 0.0], [least, 3.0 * f64::MIN_POSITIVE], [0.0, 0.0]];
        let standardizer = Standardizer::fit(samples.view()).unwrap();
        assert!(standardizer.validate().is_ok(), "{standardizer:?}");
        assert_eq!(standardizer.scale()[0], 1.0);
        assert!(standardizer.transform(samples.view()).unwrap().iter().all(|value| value.is_finite()));
    }

    #[test]
    fn files_are_checked() {
        let standardizer = Standardizer::fit(array![[1.0, 7.0], [3.0, 7.0]].view()).unwrap();
        let json = serde_json::to_string(&standardizer).unwrap();
        assert_eq!(serde_json::from_str::<Standardizer>(&json).unwrap(), standardizer);
        let scales = r#""data":[1.0,1.0]"#;
        assert!(json.contains(scales), "{json}");
        for broken in [r#""data":[0.0,1.0]"#, r#""data":[-1.0,1.0]"#, r#""data":[1.0]"#] {
            assert!(
                serde_json::from_str::<Standardizer>(&json.replacen(scales, broken, 1)).is_err(),
                "{broken}"
            );
        }
    }

    #[test]
    fn bad_input_is_refused() {
        assert!(Standardizer::fit(Array2::zeros((0, 3)).view()).is_err());
        assert!(Standardizer::fit(Array2::zeros((3, 0)).view()).is_err());
        assert!(Standardizer::fit(array![[f64::INFINITY]].view()).is_err());
        let standardizer = Standardizer::fit(array![[1.0, 2.0]].view()).unwrap();
        assert!(standardizer.transform(array![[1.0]].view()).is_err());
        assert!(standardizer.inverse(array![[1.0]].view()).is_err());
        let broken = Standardizer { mean: array![0.0], scale: array![0.0] };
        assert!(broken.validate().is_err());
    }
}
