//! Nearest neighbour: the training designs whose measurements lie closest to the target.
//!
//! A baseline that learns nothing. A model that is not better than it has only learnt its data by heart.

use std::path::Path;

use inverse_core::{
    Dataset, Device, FitContext, FitError, InvalidArgument, InverseModel, Method, Proposals, ProposeError,
    check_request,
};
use ndarray::{Array2, Array3, ArrayView1, ArrayView2, Axis};
use rand::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::nn::squared_distance;
use crate::presets::{PresetMethod, Source};
use crate::registry::LoadableMethod;
use crate::saved_model::{self, ModelFile, SavedModel};
use crate::tensor_file::{ModelFileError, NamedTensors};

/// Settings of the nearest-neighbour baseline: there are none.
///
/// ```
/// use inverse_core::{Dataset, FitContext, InverseModel, Method, RandomStreams};
/// use inverse_models::NearestNeighbor;
/// use ndarray::array;
///
/// let data = Dataset::new(array![[1.0], [2.0], [3.0]], array![[1.0], [4.0], [9.0]])?;
/// let model = NearestNeighbor {}.fit(&data, &mut FitContext::new(0))?;
/// let mut rng = RandomStreams::new(0).stream("propose", 0);
/// let proposals = model.propose(array![[5.0]].view(), 2, &mut rng)?;
/// assert_eq!(proposals.designs(), array![[[2.0], [1.0]]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NearestNeighbor {}

impl PresetMethod for NearestNeighbor {
    const NAME: &'static str = "nearest-neighbor";
    const LABEL: &'static str = "nearest neighbour";

    fn preset(_task: &str, _source: Source) -> Result<Self, InvalidArgument> {
        Ok(Self {})
    }

    fn parameter_count(&self, _dim_x: usize, _dim_y: usize) -> usize {
        0
    }
}

impl Method for NearestNeighbor {
    type Model = NearestNeighborModel;

    fn fit(&self, data: &Dataset, _context: &mut FitContext<'_>) -> Result<Self::Model, FitError> {
        for (name, values) in [("x", data.x()), ("y", data.y())] {
            if let Some(value) = values.iter().find(|value| !(**value as f32).is_finite()) {
                return Err(InvalidArgument::new(name, "values inside the range of f32", value).into());
            }
        }
        // Files hold f32: a model that is saved and loaded proposes what it proposed before.
        let kept = |values: ArrayView2<'_, f64>| values.mapv(|value| value as f32);
        Ok(NearestNeighborModel {
            designs: kept(data.x()),
            measurements: kept(data.y()),
            dataset_hash: data.content_hash(),
        })
    }
}

/// All training pairs.
#[derive(Debug, Clone)]
pub struct NearestNeighborModel {
    /// (n, `dim_x`).
    designs: Array2<f32>,
    /// (n, `dim_y`).
    measurements: Array2<f32>,
    dataset_hash: String,
}

impl NearestNeighborModel {
    /// Loads a nearest-neighbour model; [`load`](crate::load) loads any model.
    ///
    /// # Errors
    /// As [`load`](crate::load); also where the folder holds a model of another method.
    pub fn load(folder: &Path, device: Device) -> Result<Self, ModelFileError> {
        saved_model::load_as::<NearestNeighbor>(folder, device)
    }

    /// The `n` nearest rows and their mean squared errors.
    fn nearest(&self, y: ArrayView1<'_, f64>, n: usize) -> Vec<(f64, usize)> {
        let wanted = y.to_vec();
        let error = |row: ArrayView1<'_, f32>| {
            let sum = match row.as_slice() {
                Some(row) => squared_distance(row, &wanted),
                None => squared_distance(&row.to_vec(), &wanted),
            };
            sum / wanted.len() as f64
        };
        let rows = self.measurements.rows().into_iter().enumerate();
        let mut errors: Vec<(f64, usize)> = rows.map(|(index, row)| (error(row), index)).collect();
        let order = |a: &(f64, usize), b: &(f64, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
        if n < errors.len() {
            errors.select_nth_unstable_by(n, order);
            errors.truncate(n);
        }
        errors.sort_unstable_by(order);
        errors
    }
}

impl InverseModel for NearestNeighborModel {
    fn name(&self) -> &'static str {
        NearestNeighbor::LABEL
    }

    fn dim_x(&self) -> usize {
        self.designs.ncols()
    }

    fn dim_y(&self) -> usize {
        self.measurements.ncols()
    }

    fn propose(
        &self,
        y: ArrayView2<'_, f64>,
        n: usize,
        _rng: &mut dyn Rng,
    ) -> Result<Proposals, ProposeError> {
        check_request(y, self.dim_y(), n, self.designs.nrows())?;
        let targets: Vec<ArrayView1<'_, f64>> = y.rows().into_iter().collect();
        let nearest: Vec<_> = targets.par_iter().map(|target| self.nearest(*target, n)).collect();
        let mut designs = Array3::zeros((y.nrows(), n, self.dim_x()));
        let mut errors = Array2::zeros((y.nrows(), n));
        for (target, nearest) in nearest.iter().enumerate() {
            for (rank, (error, row)) in nearest.iter().enumerate() {
                let design = self.designs.index_axis(Axis(0), *row).mapv(f64::from);
                designs.slice_mut(ndarray::s![target, rank, ..]).assign(&design);
                errors[[target, rank]] = *error;
            }
        }
        Ok(Proposals::new(designs)?.with_predicted_errors(errors)?)
    }
}

/// The method's part of a file's header.
#[derive(Serialize, Deserialize)]
struct Description {
    dim_x: usize,
    dim_y: usize,
    dataset_hash: String,
}

impl SavedModel for NearestNeighborModel {
    fn save(&self, folder: &Path) -> Result<(), ModelFileError> {
        let mut tensors = NamedTensors::new();
        for (name, values) in [("designs", &self.designs), ("measurements", &self.measurements)] {
            let shape = vec![values.nrows(), values.ncols()];
            tensors.insert(name.to_owned(), (shape, values.iter().copied().collect()));
        }
        let (dim_x, dim_y) = (self.dim_x(), self.dim_y());
        let description = Description { dim_x, dim_y, dataset_hash: self.dataset_hash.clone() };
        saved_model::save(folder, NearestNeighbor::NAME, &description, &tensors)
    }
}

impl LoadableMethod for NearestNeighbor {
    fn load(mut file: ModelFile) -> Result<NearestNeighborModel, ModelFileError> {
        let Description { dim_x, dim_y, dataset_hash } = file.description()?;
        let mut take = |name: &str, columns: usize| {
            let values = file.take_rows(name, columns)?;
            let rows = values.len().checked_div(columns).unwrap_or(0);
            match Array2::from_shape_vec((rows, columns), values) {
                Ok(matrix) if rows > 0 => Ok(matrix),
                _ => Err(file.foreign(&format!("rows in `{name}`"), "none")),
            }
        };
        let (designs, measurements) = (take("designs", dim_x)?, take("measurements", dim_y)?);
        if designs.nrows() != measurements.nrows() {
            let expected = format!("{} measurements", designs.nrows());
            return Err(file.foreign(&expected, measurements.nrows()));
        }
        Ok(NearestNeighborModel { designs, measurements, dataset_hash })
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn data_beyond_f32_is_refused_by_name() {
        let fit = |x: f64, y: f64| {
            let data = Dataset::new(array![[0.0], [x]], array![[0.0], [y]]).unwrap();
            NearestNeighbor {}.fit(&data, &mut FitContext::new(0)).map(drop)
        };
        assert!(fit(3e38, -3e38).is_ok());
        for (x, y, name) in [(1e39, 0.0, "`x`"), (0.0, -1e300, "`y`")] {
            let error = fit(x, y).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("range of f32"), "{error}");
        }
    }
}
