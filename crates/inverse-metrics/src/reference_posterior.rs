//! Reference posteriors: designs from the true p(x | y*) by rejection, to hold a model's proposals against.
//!
//! Section 8.1 of the paper compares proposals with "the ground truth (rejection sampled) distribution": draw
//! designs from the prior, simulate them, keep those whose measurement is the target.
//!
//! f is deterministic and y continuous, so a draw hits a target exactly with probability 0 and a **band** around
//! it has to do: what is kept follows the mean of p(x | y) over the y in the band, weighted by how often the
//! task gives them (approximate Bayesian computation with a uniform kernel: Pritchard et al. 1999). Where that
//! posterior changes smoothly with y, expectations are off by the order of band². To first order,
//! a kept design lies within band · scale / |∇f| of the true solution set: that distance belongs well below the
//! shortest length of interest, such as the smallest scale of [`Mmd`](crate::Mmd). A narrower band costs draws: the share kept
//! falls with band to the power of `dim_y`, which is why rejection is hopeless for many measured variables.
//!
//! Where measurements have noise, no band is needed: a draw that is kept with a chance proportional to p(y* | f(x)) is a draw
//! of the posterior, exactly ([`ReferencePosterior::draw_measured`]).

mod file;
mod likelihood;
mod matching;

use std::time::{Duration, Instant};

use inverse_core::{InvalidArgument, MeasurementNoise, RandomStreams, Standardizer, Task, check_matrix};
use ndarray::{Array1, Array2, ArrayView2, Axis, Slice};
use rand::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::MetricError;
use likelihood::LikelihoodAcceptance;
use matching::{Bands, TargetIndex};

/// Designs that measure the spread of each output: enough for about 1% of a normal one's.
const SCALE_DRAWS: usize = 4096;

/// Larger blocks only cost memory.
const LARGEST_BLOCK: usize = 1 << 20;

/// Blocks of the largest round.
const LARGEST_ROUND: usize = 64;

/// Rejection sampling of p(x | y*) for many targets from the same draws of the prior.
///
/// ```
/// use inverse_core::{BoxPrior, FnSimulator, RandomStreams, SimulatedTask};
/// use inverse_metrics::ReferencePosterior;
/// use ndarray::array;
///
/// // y = x² on [-1, 1]: two solutions, ±0.5, for y = 0.25.
/// let square = FnSimulator::new(1, 1, |x, y| y[0] = x[0] * x[0])?;
/// let task = SimulatedTask::new("square", square, BoxPrior::new(&[-1.0], &[1.0])?)?;
/// let settings = ReferencePosterior { samples: 100, draw_limit: 100_000, ..ReferencePosterior::default() };
/// let posteriors = settings.draw(&task, array![[0.25], [7.0]].view(), RandomStreams::new(1))?;
/// assert!(posteriors[0].complete);
/// assert!(posteriors[0].designs.iter().all(|x| (x.abs() - 0.5).abs() < 0.01));
/// // No design gives 7.
/// assert!(!posteriors[1].complete && posteriors[1].designs.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReferencePosterior {
    /// How far each output of a kept design may be from its target, in units of that output's standard
    /// deviation under the prior ([`ReferencePosterior::output_scale`]). Default: 0.01, so that the band's bias
    /// stays below the noise of a thousand samples wherever the posterior changes over 0.1 units or more.
    pub band: f64,
    /// Designs wanted for each target. Default: 1,000.
    pub samples: usize,
    /// Draws from the prior after which to stop: the same on every machine. Default: 10⁹.
    pub draw_limit: u64,
    /// Time after which to stop, measured from the start of the draw; blocks under way are finished, and so is
    /// the measurement of the scale. Default: ten minutes.
    pub time_limit: Duration,
    /// Designs drawn from one random stream and simulated in one call, at most 2²⁰; another block draws other
    /// designs. Default: 8,192; fewer where one simulation takes long.
    pub block: usize,
}

/// The designs that rejection sampling kept for one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PosteriorSample {
    /// Kept designs in the order they were drawn, (at most `samples`, `dim_x`), in the task's units.
    pub designs: Array2<f64>,
    /// Draws from the prior held against this target, up to the one that completed it.
    pub draws: u64,
    /// Whether all the samples wanted were found before a limit struck.
    pub complete: bool,
}

impl PosteriorSample {
    /// The share of draws that was kept; 0 where there was no draw.
    pub fn acceptance_rate(&self) -> f64 {
        if self.draws == 0 { 0.0 } else { self.designs.nrows() as f64 / self.draws as f64 }
    }
}

impl Default for ReferencePosterior {
    fn default() -> Self {
        Self {
            band: 0.01,
            samples: 1000,
            draw_limit: 1_000_000_000,
            time_limit: Duration::from_mins(10),
            block: 8192,
        }
    }
}

impl ReferencePosterior {
    /// Draws the posterior of each target.
    ///
    /// * `y`: targets, (targets, `dim_y`), in the task's units
    ///
    /// Returns one sample a target. A design is kept for every target in whose band it falls: samples of
    /// neighbouring targets share designs. Draws that the simulator cannot evaluate (rows of NaN) fall in no
    /// band, but are counted. A limit that strikes leaves samples short and `complete` false.
    ///
    /// Block b comes from the stream ("reference posterior", b) of `streams`, and kept designs are gathered in
    /// the order of blocks, as if drawn one by one: the same seed gives the same bits on any number of threads,
    /// and a target's sample is the same whatever the other targets are.
    /// Only where `time_limit` strikes does it depend on the machine how far the unfinished samples got. Memory
    /// is needed for the samples and for one round of at most 64 blocks.
    ///
    /// # Errors
    /// [`MetricError::InvalidArgument`] where a setting is out of range, there is no target, a target is not
    /// finite or of another width than the task's measurements, or the prior hardly ever gives a design that can
    /// be evaluated; [`MetricError::Simulation`] where the simulator fails.
    pub fn draw(
        &self,
        task: &dyn Task,
        y: ArrayView2<'_, f64>,
        streams: RandomStreams,
    ) -> Result<Vec<PosteriorSample>, MetricError> {
        let started = Instant::now();
        self.check(task, y)?;
        let scale = Self::output_scale(task, streams)?;
        self.draw_within(task, y, &scale, streams, started)
    }

    /// Draws what falls in the bands around targets.
    fn draw_within(
        &self,
        task: &dyn Task,
        y: ArrayView2<'_, f64>,
        scale: &Array1<f64>,
        streams: RandomStreams,
        started: Instant,
    ) -> Result<Vec<PosteriorSample>, MetricError> {
        let bands = Bands::new(y, &(scale * self.band))?;
        self.draw_kept(task, y.nrows(), streams, started, |missing| TargetIndex::new(&bands, missing))
    }

    /// Draws the posterior of each noisy measurement: p(x | y) ∝ p(x) p(y | f(x)), without a band's bias.
    ///
    /// * `noise`: p(y | f(x)), with a [largest likelihood](MeasurementNoise::largest_log_likelihood)
    /// * `y`: measurements, (targets, `dim_y`), in the task's units
    ///
    /// A draw of the prior is kept with the chance that its likelihood is of the largest; `band` has no say. The share kept
    /// falls with the noise's deviation to the power of `dim_y`. All else is as in [`ReferencePosterior::draw`].
    ///
    /// ```
    /// use inverse_core::{BoxPrior, FnSimulator, GaussianNoise, RandomStreams, SimulatedTask};
    /// use inverse_metrics::ReferencePosterior;
    /// use ndarray::array;
    ///
    /// let square = FnSimulator::new(1, 1, |x, y| y[0] = x[0] * x[0])?;
    /// let task = SimulatedTask::new("square", square, BoxPrior::new(&[-1.0], &[1.0])?)?;
    /// let settings = ReferencePosterior { samples: 100, ..ReferencePosterior::default() };
    /// let noise = GaussianNoise::new(&[0.02])?;
    /// let posteriors = settings.draw_measured(&task, &noise, array![[0.25]].view(), RandomStreams::new(1))?;
    /// // y is known to 0.02, so x to 0.02 / |∂y/∂x| = 0.02.
    /// assert!(posteriors[0].designs.iter().all(|x| (x.abs() - 0.5).abs() < 0.1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`ReferencePosterior::draw`]; also [`MetricError::InvalidArgument`] that names `noise` where it is of another width
    /// than the task's measurements, has no largest likelihood, or gives one that is larger or NaN.
    pub fn draw_measured(
        &self,
        task: &dyn Task,
        noise: &dyn MeasurementNoise,
        y: ArrayView2<'_, f64>,
        streams: RandomStreams,
    ) -> Result<Vec<PosteriorSample>, MetricError> {
        let started = Instant::now();
        self.check(task, y)?;
        if noise.dim_y() != task.dim_y() {
            let expected = format!("noise of {} measured variables, as the task's", task.dim_y());
            return Err(InvalidArgument::new("noise", expected, noise.dim_y()).into());
        }
        let bound = noise.largest_log_likelihood();
        let Some(bound) = bound.filter(|bound| bound.is_finite()) else {
            let found = bound.map_or("none".to_owned(), |bound| bound.to_string());
            return Err(InvalidArgument::new("noise", "one that knows its largest likelihood", found).into());
        };
        self.draw_kept(task, y.nrows(), streams, started, |missing| {
            LikelihoodAcceptance::new(noise, y, bound, missing)
        })
    }

    /// The unit of `band`: the standard deviation of each output under the prior, (`dim_y`).
    ///
    /// Measured on 4,096 designs of the stream ("reference posterior scale", 0), without those that cannot be
    /// evaluated; 1 for an output that does not vary.
    ///
    /// # Errors
    /// As [`ReferencePosterior::draw`].
    pub fn output_scale(task: &dyn Task, streams: RandomStreams) -> Result<Array1<f64>, MetricError> {
        let mut rng = streams.stream("reference posterior scale", 0);
        let (_, answers) = simulate(task, SCALE_DRAWS, &mut rng)?;
        let finite = |row: &usize| answers.row(*row).iter().all(|value| value.is_finite());
        let valid: Vec<usize> = (0..SCALE_DRAWS).filter(finite).collect();
        if valid.len() < 2 {
            let found = format!("{} of {SCALE_DRAWS} draws", valid.len());
            return Err(
                InvalidArgument::new("task", "a prior of designs that can be evaluated", found).into()
            );
        }
        Ok(Standardizer::fit(answers.select(Axis(0), &valid).view())?.scale().to_owned())
    }

    fn check(&self, task: &dyn Task, y: ArrayView2<'_, f64>) -> Result<(), InvalidArgument> {
        if !(self.band.is_finite() && self.band > 0.0) {
            return Err(InvalidArgument::new("band", "a positive number", self.band));
        }
        if self.samples == 0 {
            return Err(InvalidArgument::new("samples", "at least 1", 0));
        }
        if self.block == 0 || self.block > LARGEST_BLOCK {
            return Err(InvalidArgument::new("block", format!("1 to {LARGEST_BLOCK}"), self.block));
        }
        if task.dim_x() == 0 || task.dim_y() == 0 {
            let found = format!("{} to {}", task.dim_x(), task.dim_y());
            return Err(InvalidArgument::new("task", "at least one design and one measured variable", found));
        }
        check_matrix("y", y, task.dim_y())?;
        if y.nrows() == 0 {
            return Err(InvalidArgument::new("y", "at least one target", "none"));
        }
        Ok(())
    }

    /// Rounds of blocks until every target has its samples or a limit strikes.
    ///
    /// Rounds double from one block up: a round then keeps about as many designs as all before it, so that it
    /// does not run far past the last sample wanted. What is kept does not depend on rounds.
    ///
    /// * `acceptance`: what keeps draws, given how many samples each target lacks
    fn draw_kept<A: Acceptance>(
        &self,
        task: &dyn Task,
        targets: usize,
        streams: RandomStreams,
        started: Instant,
        acceptance: impl Fn(&[usize]) -> A,
    ) -> Result<Vec<PosteriorSample>, MetricError> {
        let mut kept = vec![Kept::default(); targets];
        let (mut block, mut round) = (0_u64, 1);
        let mut draws = 0;
        while draws < self.draw_limit && started.elapsed() < self.time_limit {
            let missing: Vec<usize> = kept.iter().map(|kept| self.samples - kept.count).collect();
            if missing.iter().all(|missing| *missing == 0) {
                break;
            }
            let acceptance = acceptance(&missing);
            let results: Vec<_> = (0..round)
                .into_par_iter()
                .map(|offset: usize| {
                    self.block(task, &acceptance, &missing, streams, block + offset as u64, started)
                })
                .collect();
            for result in results {
                // Blocks drawn beyond the last one needed must not fail the draw, nor those after a gap count.
                let finished = kept.iter().all(|kept| kept.count == self.samples);
                let Some(accepted) = (if finished { None } else { result? }) else { break };
                accepted.append(&mut kept, self.samples, draws, task.dim_x());
                draws = draws.saturating_add(self.block as u64).min(self.draw_limit);
            }
            block += round as u64;
            round = (2 * round).min(LARGEST_ROUND);
        }
        kept.into_iter().map(|kept| kept.into_sample(self.samples, draws, task.dim_x())).collect()
    }

    /// Draws and tests one block; `None` where a limit struck before it began.
    fn block(
        &self,
        task: &dyn Task,
        acceptance: &dyn Acceptance,
        missing: &[usize],
        streams: RandomStreams,
        block: u64,
        started: Instant,
    ) -> Result<Option<Accepted>, MetricError> {
        let first = block.saturating_mul(self.block as u64);
        let wanted = self.draw_limit.saturating_sub(first).min(self.block as u64) as usize;
        if wanted == 0 || started.elapsed() >= self.time_limit {
            return Ok(None);
        }
        let mut rng = streams.stream("reference posterior", block);
        let (designs, answers) = simulate(task, self.block, &mut rng)?;
        let mut accepted = Accepted::default();
        let mut missing = missing.to_vec();
        acceptance.accept(
            answers.slice_axis(Axis(0), Slice::from(..wanted)),
            &mut rng,
            &mut |target, row| {
                // No block gives a target more than it lacks, so wide bands do not fill the memory.
                if missing[target] > 0 {
                    missing[target] -= 1;
                    accepted.rows.push((target, row));
                    accepted.designs.extend(designs.row(row));
                }
            },
        )?;
        Ok(Some(accepted))
    }
}

/// What decides which draws are kept.
trait Acceptance: Sync {
    /// Calls `keep` with each target and row of a block that is kept for it; a target's rows in their order, and none for
    /// targets that lack no sample.
    ///
    /// * `answers`: what designs of the prior measure, (n, `dim_y`); rows of NaN have no answer
    /// * `rng`: the block's, after its designs
    fn accept(
        &self,
        answers: ArrayView2<'_, f64>,
        rng: &mut dyn Rng,
        keep: &mut dyn FnMut(usize, usize),
    ) -> Result<(), MetricError>;
}

/// Draws and simulates designs and returns both, (n, `dim_x`) and (n, `dim_y`).
fn simulate(task: &dyn Task, n: usize, rng: &mut dyn Rng) -> Result<(Array2<f64>, Array2<f64>), MetricError> {
    let designs = task.prior().sample(n, rng);
    if designs.dim() != (n, task.dim_x()) {
        let expected = format!("designs of shape {:?}", (n, task.dim_x()));
        return Err(InvalidArgument::new("prior", expected, format!("{:?}", designs.dim())).into());
    }
    let answers = task.simulate(designs.view())?;
    if answers.dim() != (n, task.dim_y()) {
        let expected = format!("measurements of shape {:?}", (n, task.dim_y()));
        return Err(InvalidArgument::new("task", expected, format!("{:?}", answers.dim())).into());
    }
    Ok((designs, answers))
}

/// What one block gave: the target and the row of each kept design, a target's in order of rows, and the designs.
#[derive(Default)]
struct Accepted {
    rows: Vec<(usize, usize)>,
    designs: Vec<f64>,
}

/// What one target has so far.
#[derive(Clone, Default)]
struct Kept {
    designs: Vec<f64>,
    count: usize,
    /// Number of the last kept draw, counted from 1.
    last: u64,
}

impl Accepted {
    /// Hands each design to its target, until that has all its samples; `draws` were tested before this block.
    fn append(self, kept: &mut [Kept], samples: usize, draws: u64, dim_x: usize) {
        for ((target, row), design) in self.rows.into_iter().zip(self.designs.chunks_exact(dim_x)) {
            if kept[target].count < samples {
                kept[target].push(design, draws + row as u64 + 1);
            }
        }
    }
}

impl Kept {
    fn push(&mut self, design: &[f64], draw: u64) {
        self.designs.extend_from_slice(design);
        self.count += 1;
        self.last = draw;
    }

    fn into_sample(self, samples: usize, draws: u64, dim_x: usize) -> Result<PosteriorSample, MetricError> {
        let complete = self.count == samples;
        let designs = Array2::from_shape_vec((self.count, dim_x), self.designs)
            .map_err(|error| InvalidArgument::new("prior", "designs of one width", error))?;
        Ok(PosteriorSample { designs, draws: if complete { self.last } else { draws }, complete })
    }
}
