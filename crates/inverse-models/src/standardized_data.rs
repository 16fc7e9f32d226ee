//! What every training begins with: split, standardise, move to the device.

use candle_core::{Device, Tensor};
use inverse_core::{Dataset, FitContext, FitError, InvalidArgument, Standardizer};
use ndarray::{Array2, ArrayView2};

use crate::device::{backend, open_device};
use crate::nn::Pairs;

/// Training and validation pairs in standardised units, and the way back to the data's.
pub(crate) struct StandardizedData {
    pub(crate) device: Device,
    pub(crate) x: Standardizer,
    pub(crate) y: Standardizer,
    pub(crate) training: Pairs,
    pub(crate) validation: Pairs,
}

impl StandardizedData {
    /// Splits by the stream "surrogate validation split", so that all methods of one seed hold out the same
    /// pairs.
    pub(crate) fn new(
        data: &Dataset,
        validation_share: f64,
        context: &FitContext<'_>,
    ) -> Result<Self, FitError> {
        let device = open_device(context.device())?;
        let mut split = context.streams().stream("surrogate validation split", 0);
        let (training, validation) = data
            .split(validation_share, &mut split)
            .map_err(|_| InvalidArgument::new("data", "at least two pairs", data.len()))?;
        let (x, y) = (Standardizer::fit(training.x())?, Standardizer::fit(training.y())?);
        let pairs = |data: &Dataset| -> Result<Pairs, FitError> {
            let (x, y) = (x.transform(data.x())?, y.transform(data.y())?);
            Ok(Pairs {
                x: tensor(x.view(), &device).map_err(backend)?,
                y: tensor(y.view(), &device).map_err(backend)?,
            })
        };
        let (training, validation) = (pairs(&training)?, pairs(&validation)?);
        Ok(Self { device, x, y, training, validation })
    }
}

/// A matrix of f64 as a tensor of f32.
pub(crate) fn tensor(matrix: ArrayView2<'_, f64>, device: &Device) -> candle_core::Result<Tensor> {
    let values: Vec<f32> = matrix.iter().map(|value| *value as f32).collect();
    Tensor::from_vec(values, matrix.dim(), device)
}

/// A tensor of two axes as a matrix of f64.
pub(crate) fn array(tensor: &Tensor) -> candle_core::Result<Array2<f64>> {
    let shape = tensor.dims2()?;
    let values = tensor.flatten_all()?.to_vec1::<f32>()?;
    Array2::from_shape_vec(shape, values.into_iter().map(f64::from).collect())
        .map_err(candle_core::Error::wrap)
}
