//! What methods are asked in a case whose posteriors can be drawn exactly, and what their draws are held against.

use std::path::Path;

use inverse::bench::StudyError;
use inverse::core::InvalidArgument;
use inverse::metrics::Mmd;
use inverse::prelude::*;
use ndarray::{Array2, Array3, Axis};

use crate::cases::Case;

/// New measurements, and exact draws of their posteriors.
pub(crate) struct Questions {
    pub(crate) case: String,
    pub(crate) measurements: Dataset,
    /// Exact draws, (measurements, draws, `dim_x`).
    pub(crate) reference: Array3<f64>,
}

impl Questions {
    /// * `draws`: of each measurement's posterior
    pub(crate) fn new(
        case: &Case,
        measurements: usize,
        draws: usize,
        streams: RandomStreams,
    ) -> Result<Self, StudyError> {
        let measurements = noisy_pairs(case, measurements, streams, 1)?;
        let reference = case.posterior(measurements.y(), draws, streams)?;
        Ok(Self { case: case.task.name().to_owned(), measurements, reference })
    }

    /// Writes the measurements and the exact draws to folders of a case's.
    pub(crate) fn save(&self, folder: &Path) -> Result<(), StudyError> {
        self.measurements.save_npy(&folder.join("measurements"))?;
        self.save_draws(&folder.join("reference"), &self.reference)
    }

    /// Writes draws, (measurements, draws, `dim_x`), each as a pair with its measurement.
    pub(crate) fn save_draws(&self, folder: &Path, draws: &Array3<f64>) -> Result<(), StudyError> {
        let (targets, each, width) = draws.dim();
        let x = draws
            .to_shape((targets * each, width))
            .map_err(|error| InvalidArgument::new("draws", "rows", error))?;
        let of_draw: Vec<usize> = (0..targets * each).map(|draw| draw / each).collect();
        let y: Array2<f64> = self.measurements.y().select(Axis(0), &of_draw);
        Ok(Dataset::new(x.to_owned(), y)?.save_npy(folder)?)
    }

    /// MMD² between draws, (measurements, draws, `dim_x`), and exact draws, in units of the exact draws' deviations, a mean over the
    /// measurements.
    pub(crate) fn mmd(&self, draws: &Array3<f64>) -> Result<f64, StudyError> {
        let mut mmd = 0.0;
        for (drawn, exact) in draws.outer_iter().zip(self.reference.outer_iter()) {
            let scale = exact.std_axis(Axis(0), 0.0);
            mmd += Mmd::default().squared((&drawn / &scale).view(), (&exact / &scale).view())?;
        }
        Ok(mmd / self.measurements.len() as f64)
    }
}

/// Pairs without noise, of a stream of that number.
pub(crate) fn exact_pairs(
    case: &Case,
    count: usize,
    streams: RandomStreams,
    number: u64,
) -> Result<Dataset, StudyError> {
    Ok(Dataset::from_task(&*case.task, count, &mut streams.stream("noisy pairs", number))?)
}

/// Pairs with noise, of streams of that number.
pub(crate) fn noisy_pairs(
    case: &Case,
    count: usize,
    streams: RandomStreams,
    number: u64,
) -> Result<Dataset, StudyError> {
    let exact = exact_pairs(case, count, streams, number)?;
    Ok(exact.measured(&*case.noise, &mut streams.stream("noise", number))?)
}
