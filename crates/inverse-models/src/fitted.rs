//! What every fitted model keeps beside its networks; also its header in files.

use inverse_core::{Dataset, InvalidArgument, Standardizer};
use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::nn::TrainingReport;
use crate::saved_model::ModelFile;
use crate::standardized_data::StandardizedData;
use crate::tensor_file::ModelFileError;

/// Settings, units, and how the training went.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Fitted<S> {
    pub(crate) settings: S,
    pub(crate) x: Standardizer,
    pub(crate) y: Standardizer,
    pub(crate) range: DesignRange,
    pub(crate) training: TrainingReport,
    pub(crate) dataset_hash: String,
}

/// The smallest box around the training designs.
///
/// Models that sample keep their proposals inside: a design beyond every one that was ever simulated is a tail
/// of the network, not of the data, and many simulators have no answer to it. Such draws are drawn again, as long as they are
/// few ([`draw_inside`](crate::redraws::draw_inside)); what is still outside is moved to the nearest design inside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DesignRange {
    low: Vec<f64>,
    high: Vec<f64>,
}

impl DesignRange {
    pub(crate) fn of(designs: ArrayView2<'_, f64>) -> Self {
        let fold = |start: f64, choose: fn(f64, f64) -> f64| {
            designs.fold_axis(Axis(0), start, |end, value| choose(*end, *value)).to_vec()
        };
        Self { low: fold(f64::INFINITY, f64::min), high: fold(f64::NEG_INFINITY, f64::max) }
    }

    /// `dim_x`.
    pub(crate) fn width(&self) -> usize {
        self.low.len()
    }

    /// Whether a variable of a design lies outside; NaN does not, and one that never varied has no outside.
    pub(crate) fn is_outside(&self, design: ArrayView1<'_, f64>) -> bool {
        let ends = self.low.iter().zip(&self.high);
        design.iter().zip(ends).any(|(value, (low, high))| low < high && (value < low || value > high))
    }

    /// Moves each design, (n, `dim_x`), to the nearest one inside, and says which were [outside](Self::is_outside); NaN
    /// stays NaN.
    pub(crate) fn keep_inside(&self, designs: &mut Array2<f64>) -> Vec<bool> {
        let outside = designs.rows().into_iter().map(|design| self.is_outside(design)).collect();
        for mut design in designs.rows_mut() {
            for (value, (low, high)) in design.iter_mut().zip(self.low.iter().zip(&self.high)) {
                // Not `clamp`, which refuses ends in the wrong order; a file's were checked.
                *value = if *value < *low { *low } else { *value };
                *value = if *value > *high { *high } else { *value };
            }
        }
        outside
    }

    fn is_usable(&self, dim_x: usize) -> bool {
        let ordered = self.low.iter().zip(&self.high).all(|(low, high)| low <= high);
        self.low.len() == dim_x && self.high.len() == dim_x && ordered
    }
}

impl<S: Clone> Fitted<S> {
    pub(crate) fn new(
        settings: &S,
        data: &Dataset,
        pairs: &StandardizedData,
        training: TrainingReport,
    ) -> Self {
        Self {
            settings: settings.clone(),
            x: pairs.x.clone(),
            y: pairs.y.clone(),
            range: DesignRange::of(data.x()),
            training,
            dataset_hash: data.content_hash(),
        }
    }
}

impl<S: DeserializeOwned> Fitted<S> {
    /// The header of a model's file, checked.
    pub(crate) fn from_file(
        file: &ModelFile,
        validate: impl Fn(&S) -> Result<(), InvalidArgument>,
    ) -> Result<Self, ModelFileError> {
        let fitted: Self = file.description()?;
        validate(&fitted.settings).map_err(|error| file.inconsistent(&error))?;
        file.check_standardizers([&fitted.x, &fitted.y])?;
        if !fitted.range.is_usable(fitted.x.width()) {
            return Err(file.foreign("a range of designs", format!("{:?}", fitted.range)));
        }
        Ok(fitted)
    }
}

/// Whether a setting is a finite number of at least 0.
pub(crate) fn check_not_negative(name: &str, value: f64) -> Result<(), InvalidArgument> {
    if value >= 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(InvalidArgument::new(name, "a number of at least 0", value))
}

/// Whether a setting is a finite number above 0.
pub(crate) fn check_positive(name: &str, value: f64) -> Result<(), InvalidArgument> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(InvalidArgument::new(name, "a positive number", value))
}

/// Whether a count can be used.
pub(crate) fn check_count(name: &str, count: usize, largest: usize) -> Result<(), InvalidArgument> {
    if (1..=largest).contains(&count) {
        return Ok(());
    }
    Err(InvalidArgument::new(name, format!("1 to {largest}"), count))
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn designs_are_moved_to_the_nearest_inside() {
        let range = DesignRange::of(array![[0.0, 5.0], [1.0, 3.0]].view());
        let mut designs = array![[-1.0, 4.0], [0.5, 9.0], [f64::NAN, 1.0]];
        let outside: Vec<bool> = designs.rows().into_iter().map(|row| range.is_outside(row)).collect();
        assert_eq!(outside, [true, true, true]);
        assert_eq!(range.keep_inside(&mut designs), outside);
        assert!(designs.rows().into_iter().all(|row| !range.is_outside(row)));
        let constant = DesignRange::of(array![[0.0, 5.0], [1.0, 5.0]].view());
        assert!(
            !constant.is_outside(array![0.5, 4.0].view()) && constant.is_outside(array![2.0, 5.0].view())
        );
        assert_eq!(designs.slice(ndarray::s![..2, ..]), array![[0.0, 4.0], [0.5, 5.0]]);
        assert!(designs[[2, 0]].is_nan() && designs[[2, 1]] == 3.0);
        assert!(range.is_usable(2) && !range.is_usable(3));
        let reversed = DesignRange { low: vec![1.0], high: vec![0.0] };
        assert!(!reversed.is_usable(1));
    }
}
