//! How well proposals match the true posterior (section 8.1, Table 4).

use std::path::Path;
use std::time::Duration;

use inverse_core::{Dataset, InverseModel, Standardizer, Task};
use inverse_metrics::{Mmd, PosteriorSample, ReferencePosterior};
use ndarray::{Array2, Axis, s};
use serde::{Deserialize, Serialize};

use super::super::plan::streams;
use super::{Study, read_json, write_json};
use crate::StudyError;
use crate::progress::Progress;

const FILE: &str = "matching.json";
const POSTERIORS: &str = "posteriors.json";

/// The mean over targets of the biased MMD² between designs and the true posterior.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PosteriorMatch {
    /// In units of the kernels: 0 where the two are the same.
    pub mmd: f64,
    /// Targets compared.
    pub targets: usize,
    /// Targets left out, because rejection found too few designs for them.
    pub left_out: usize,
}

impl Study {
    /// Draws the reference, and compares its halves: the floor of the comparison.
    pub(super) fn draw_reference(
        &self,
        folder: &Path,
        task: &dyn Task,
        progress: &Progress,
    ) -> Result<(), StudyError> {
        progress.stage(1, "drawing the true posterior");
        let reference = self.reference(folder, task)?;
        let count = reference.proposals;
        let floor = reference.compare(|_, sample| sample.designs.slice(s![count.., ..]).to_owned())?;
        progress.advance(1);
        write_json(folder, FILE, &floor)
    }

    pub(super) fn match_posterior(
        &self,
        folder: &Path,
        task: &dyn Task,
        model: &dyn InverseModel,
        reference: &str,
    ) -> Result<(), StudyError> {
        let reference = self.reference(&self.store.folder(reference), task)?;
        let mut rng = streams(&self.arguments, task).stream("posterior proposals", 0);
        let proposals = model.propose(reference.targets.y(), reference.proposals, &mut rng)?;
        let designs =
            |target, _: &PosteriorSample| proposals.designs().index_axis(Axis(0), target).to_owned();
        write_json(folder, FILE, &reference.compare(designs)?)
    }

    /// The reference that lies in a folder, or is drawn there.
    fn reference(&self, folder: &Path, task: &dyn Task) -> Result<Reference, StudyError> {
        let streams = streams(&self.arguments, task);
        let count = self.arguments.posterior_targets();
        let targets = Dataset::from_task(task, count, &mut streams.stream("posterior targets", 0))?;
        let proposals = self.arguments.posterior_samples();
        // Only the number of draws may end it: a limit of time would make the results those of one machine.
        let time_limit = Duration::MAX;
        let sampler =
            ReferencePosterior { samples: 2 * proposals, time_limit, ..ReferencePosterior::default() };
        let samples = sampler.draw_cached(&folder.join(POSTERIORS), task, targets.y(), streams)?;
        let mut stream = streams.stream("posterior units", 0);
        let units = Standardizer::fit(Dataset::from_task(task, 10_000, &mut stream)?.x())?;
        Ok(Reference { targets, samples, units, proposals })
    }
}

/// What one task's methods are compared with.
struct Reference {
    targets: Dataset,
    samples: Vec<PosteriorSample>,
    /// Designs are compared in units of the prior's standard deviations.
    units: Standardizer,
    proposals: usize,
}

impl Reference {
    /// Compares a half of the reference with what `designs` gives.
    fn compare(
        &self,
        designs: impl Fn(usize, &PosteriorSample) -> Array2<f64>,
    ) -> Result<PosteriorMatch, StudyError> {
        let mmd = Mmd::default();
        let (mut sum, mut targets) = (0.0, 0);
        for (target, sample) in self.samples.iter().enumerate().filter(|(_, sample)| sample.complete) {
            let reference = self.units.transform(sample.designs.slice(s![..self.proposals, ..]))?;
            let designs = self.units.transform(designs(target, sample).view())?;
            sum += mmd.squared(reference.view(), designs.view())?;
            targets += 1;
        }
        let left_out = self.samples.len() - targets;
        Ok(PosteriorMatch { mmd: sum / targets.max(1) as f64, targets, left_out })
    }
}

/// The result of a finished reference or matching.
pub(crate) fn read_match(folder: &Path) -> Result<PosteriorMatch, StudyError> {
    read_json(folder, FILE)
}
