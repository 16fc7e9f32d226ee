//! What the members of a proxy are trained on: designs and their symmetric copies, split and standardised.

use std::iter::repeat_n;

use inverse_core::{
    Dataset, FitContext, FitError, InvalidArgument, Standardizer, Symmetry, with_symmetric_copies,
};
use ndarray::{Array2, ArrayView2, Axis};
use rand::seq::SliceRandom;
use sha2::{Digest, Sha256};

use crate::device::{backend, open_device};
use crate::nn::{MlpSettings, Pairs, TrainingReport};
use crate::proxy_simulator::ProxySimulator;
use crate::standardized_data::{StandardizedData, tensor};
use crate::surrogate::Surrogate;
use crate::tensor_file::Precision;

/// That share of `count`, but at least 1 and at most all but one.
pub(crate) fn share_of(count: usize, share: f64) -> usize {
    ((count as f64 * share).round() as usize).clamp(1, count - 1)
}

/// Designs with their symmetric copies.
pub(crate) struct Copies {
    /// (n, `dim_x`): a design, its copies, the next design, …
    pub(crate) x: Array2<f64>,
    /// The dataset's row from which each one comes, (n).
    pub(crate) rows: Vec<usize>,
}

impl Copies {
    pub(crate) fn of(
        x: ArrayView2<'_, f64>,
        rows: &[usize],
        symmetry: Option<&Symmetry<'_>>,
    ) -> Result<Self, InvalidArgument> {
        let designs = x.select(Axis(0), rows);
        let (x, sources) = with_symmetric_copies(designs.view(), symmetry.unwrap_or(&|_| Vec::new()))?;
        Ok(Self { x, rows: sources.into_iter().map(|source| rows[source]).collect() })
    }
}

/// What all members are trained on.
pub(crate) struct Training<'a> {
    data: &'a Dataset,
    /// The dataset's rows, without copies.
    rows: &'a [usize],
    /// How often each of the dataset's rows is in an epoch, (n): once where there is none.
    repeats: Option<&'a [usize]>,
    symmetry: Option<&'a Symmetry<'a>>,
    pub(crate) copies: Copies,
    x: Standardizer,
    y: Standardizer,
    /// What a member's checkpoint belongs to.
    pub(crate) identity: String,
}

impl<'a> Training<'a> {
    pub(crate) fn new(
        data: &'a Dataset,
        rows: &'a [usize],
        repeats: Option<&'a [usize]>,
        symmetry: Option<&'a Symmetry<'a>>,
        test_share: f64,
    ) -> Result<Self, InvalidArgument> {
        let copies = Copies::of(data.x(), rows, symmetry)?;
        let x = Standardizer::fit(copies.x.view())?;
        let y = Standardizer::fit(data.y().select(Axis(0), rows).view())?;
        // Another symmetry of as many copies makes other pairs.
        let mut hash = Sha256::new();
        copies.x.iter().for_each(|value| hash.update(value.to_le_bytes()));
        repeats.unwrap_or_default().iter().for_each(|count| hash.update(count.to_le_bytes()));
        let identity = format!("proxy {} {test_share} {:x}", data.content_hash(), hash.finalize());
        Ok(Self { data, rows, repeats, symmetry, copies, x, y, identity })
    }

    /// Pairs of one member; the designs that it holds out are drawn from its own stream.
    pub(crate) fn pairs(
        &self,
        validation_share: f64,
        context: &FitContext<'_>,
    ) -> Result<StandardizedData, FitError> {
        let device = open_device(context.device())?;
        let mut rows = self.rows.to_vec();
        rows.shuffle(&mut context.streams().stream("proxy validation split", 0));
        let (validation, training) = rows.split_at(share_of(rows.len(), validation_share));
        let pairs = |rows: &[usize]| -> Result<Pairs, FitError> {
            let rows = &self.repeated(rows);
            let copies = Copies::of(self.data.x(), rows, self.symmetry)?;
            let x = self.x.transform(copies.x.view())?;
            // Measurements stand once in memory in f64, and once a copy in f32.
            let mut place = vec![0_u32; self.data.len()];
            rows.iter().enumerate().for_each(|(index, row)| place[*row] = index as u32);
            let chosen: Vec<u32> = copies.rows.iter().map(|row| place[*row]).collect();
            let y = self.y.transform(self.data.y().select(Axis(0), rows).view())?;
            let gather = || -> candle_core::Result<Pairs> {
                let chosen = candle_core::Tensor::new(chosen, &device)?;
                let y = tensor(y.view(), &device)?.index_select(&chosen, 0)?;
                Ok(Pairs { x: tensor(x.view(), &device)?, y })
            };
            gather().map_err(backend)
        };
        let (training, validation) = (pairs(training)?, pairs(validation)?);
        Ok(StandardizedData { device, x: self.x.clone(), y: self.y.clone(), training, validation })
    }

    /// Rows as often as they are in an epoch.
    fn repeated(&self, rows: &[usize]) -> Vec<usize> {
        let count = |row: usize| self.repeats.and_then(|repeats| repeats.get(row)).copied().unwrap_or(1);
        rows.iter().flat_map(|row| repeat_n(*row, count(*row))).collect()
    }

    /// The trained members as one simulator, and how their trainings went.
    pub(crate) fn assemble(
        &self,
        members: Vec<Surrogate>,
        shapes: Vec<MlpSettings>,
        context: &FitContext<'_>,
    ) -> Result<(ProxySimulator, Vec<TrainingReport>), FitError> {
        let device = open_device(context.device())?;
        let (networks, reports) = members.into_iter().map(|member| (member.network, member.report)).unzip();
        let (x, y) = (self.x.clone(), self.y.clone());
        let precision = Precision::Single;
        Ok((ProxySimulator { networks, shapes, x, y, device, precision, report: None }, reports))
    }
}

#[cfg(test)]
mod tests {
    use inverse_core::Simulator;
    use ndarray::array;

    use super::*;
    use crate::proxy::{ProxyRecipe, SimulatedDesigns};

    fn data() -> Dataset {
        let x = Array2::from_shape_fn((40, 1), |(row, _)| row as f64 / 40.0);
        Dataset::new(x.clone(), x.mapv(|x| (4.0 * x).sin())).unwrap()
    }

    #[test]
    fn rows_are_in_an_epoch_as_often_as_they_should() {
        let data = data();
        let repeats: Vec<usize> = (0..40).map(|row| row % 3).collect();
        let training = Training::new(&data, &[4, 3, 5], Some(&repeats), None, 0.1).unwrap();
        assert_eq!(training.repeated(&[5, 3, 4]), [5, 5, 4]);
        let pairs = training.pairs(0.34, &FitContext::new(1)).unwrap();
        let counts = (pairs.training.x.dims()[0], pairs.validation.x.dims()[0]);
        assert_eq!(counts.0 + counts.1, 3);
        // What stands for a design stands for its measurement.
        let (x, y) = (pairs.training.x.to_vec2::<f32>().unwrap(), pairs.training.y.to_vec2::<f32>().unwrap());
        for (x, y) in x.iter().zip(&y) {
            let x = pairs.x.inverse(array![[f64::from(x[0])]].view()).unwrap()[[0, 0]];
            let y = pairs.y.inverse(array![[f64::from(y[0])]].view()).unwrap()[[0, 0]];
            assert!(((4.0 * x).sin() - y).abs() < 1e-6);
        }
    }

    #[test]
    fn once_each_is_as_without_repeats() {
        let mut recipe = ProxyRecipe::for_posteriors(40);
        recipe.members.truncate(1);
        recipe.members[0].training.epochs = 5;
        let simulated = SimulatedDesigns { data: data(), dropped: 0 };
        let fit = |repeats: Option<&[usize]>| {
            let fitted = recipe.fit_repeated(&simulated, repeats, None, &mut FitContext::new(1)).unwrap();
            fitted.proxy.simulate(data().x()).unwrap()
        };
        assert_eq!(fit(None), fit(Some(&[1; 40])));
        assert_ne!(fit(None), fit(Some(&[2; 40])));
    }
}
