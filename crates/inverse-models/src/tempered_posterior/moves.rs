//! Metropolis moves of a population, one half along differences within the other.

use inverse_core::{InvalidArgument, Prior};
use ndarray::{Array1, Array2, Axis};
use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};

use super::population::{Particles, log_prior};

/// The share of moves that should be accepted: about the best for Gaussians (Roberts, Gelman and Gilks 1997).
const ACCEPTANCE: f64 = 0.25;

/// Between which numbers the scale of moves stays, and by what factor at most a move is shorter: a posterior may be thin in places.
const LEAST_SCALE: f64 = 1e-3;
const LARGEST_SCALE: f64 = 10.0;
const SHORTENING: f64 = 10.0;

/// The share of moves by a whole difference, which may lead from one solution to another.
const JUMP_SHARE: f64 = 0.1;

/// How much each variable's part of a move differs from the difference, relative to it: so that designs are reached which no sum of
/// differences hits, however thin the posterior.
const JITTER: f64 = 1e-2;

/// Moves go on until twice as many take designs no farther than this, as a ratio of mean squared distances, and at least so many.
const FARTHER: f64 = 1.1;
const LEAST_SWEEPS: usize = 8;

/// Moves at one exponent of the likelihood.
pub(super) struct Moves {
    exponent: f64,
    /// Where designs were at first, and each variable's deviation then.
    start: Array2<f64>,
    deviations: Array1<f64>,
    /// Of differences, relative to the best for a Gaussian.
    scale: f64,
    /// Which half moves next: 0 or 1.
    half: usize,
    /// Moves of every design, and how many were accepted, of all and in this sweep.
    sweeps: usize,
    accepted: usize,
    accepted_now: usize,
    /// Mean squared distance from the start after half the sweeps.
    distance: f64,
}

/// Moves of one half that the prior allows.
pub(super) struct Proposed {
    rows: Vec<usize>,
    /// (moves, `dim_x`)
    pub(super) x: Array2<f64>,
    log_prior: Vec<f64>,
}

impl Moves {
    /// * `scale`: what earlier moves ended with
    pub(super) fn new(particles: &Particles, exponent: f64, scale: Option<f64>) -> Self {
        Self {
            exponent,
            start: particles.x.clone(),
            deviations: particles.x.std_axis(Axis(0), 0.0),
            scale: scale.unwrap_or(1.0),
            half: 0,
            sweeps: 0,
            accepted: 0,
            accepted_now: 0,
            distance: 0.0,
        }
    }

    pub(super) fn scale(&self) -> f64 {
        self.scale
    }

    /// A move of every second design, along the difference of two others: as likely as its reverse, because the two stay where they are.
    pub(super) fn propose(
        &self,
        particles: &Particles,
        prior: &dyn Prior,
        rng: &mut impl Rng,
    ) -> Result<Proposed, InvalidArgument> {
        let (count, dim_x) = particles.x.dim();
        let moving: Vec<usize> = (self.half..count).step_by(2).collect();
        let resting: Vec<usize> = (1 - self.half..count).step_by(2).collect();
        let best = 2.38 / (2.0 * dim_x as f64).sqrt();
        let mut x = particles.x.select(Axis(0), &moving);
        for mut row in x.rows_mut() {
            let first = rng.random_range(0..resting.len());
            let second = (first + rng.random_range(1..resting.len())) % resting.len();
            let factor = if rng.random_bool(JUMP_SHARE) {
                1.0
            } else {
                best * self.scale * SHORTENING.powf(-rng.random::<f64>())
            };
            let (first, second) = (particles.x.row(resting[first]), particles.x.row(resting[second]));
            for (column, value) in row.iter_mut().enumerate() {
                let normal: f64 = StandardNormal.sample(rng);
                *value += factor * (first[column] - second[column]) * (1.0 + JITTER * normal);
            }
        }
        let finite = |place: &usize| x.row(*place).iter().all(|value| value.is_finite());
        let places: Vec<usize> = (0..moving.len()).filter(finite).collect();
        let (x, moving) = (x.select(Axis(0), &places), select(&moving, &places));
        let log_prior = log_prior(prior, &x)?.to_vec();
        let places: Vec<usize> =
            (0..moving.len()).filter(|place| log_prior[*place] > f64::NEG_INFINITY).collect();
        Ok(Proposed {
            rows: select(&moving, &places),
            x: x.select(Axis(0), &places),
            log_prior: select(&log_prior, &places),
        })
    }

    /// Accepts moves by the rule of Metropolis.
    pub(super) fn accept(
        &mut self,
        proposed: Proposed,
        log_likelihood: &[f64],
        particles: &mut Particles,
        rng: &mut impl Rng,
    ) {
        let moves = proposed.rows.into_iter().zip(proposed.x.rows()).zip(proposed.log_prior);
        for (((row, x), log_prior), log_likelihood) in moves.zip(log_likelihood) {
            let gain = log_prior - particles.log_prior[row]
                + self.exponent * (log_likelihood - particles.log_likelihood[row]);
            if rng.random::<f64>() < gain.exp() {
                particles.x.row_mut(row).assign(&x);
                particles.log_prior[row] = log_prior;
                particles.log_likelihood[row] = *log_likelihood;
                self.accepted_now += 1;
            }
        }
        self.half = 1 - self.half;
        if self.half == 0 {
            let rate = self.accepted_now as f64 / particles.count() as f64;
            self.scale = (self.scale * (rate - ACCEPTANCE).exp()).clamp(LEAST_SCALE, LARGEST_SCALE);
            self.sweeps += 1;
            self.accepted += self.accepted_now;
            self.accepted_now = 0;
        }
    }

    /// Whether more moves would change little: asked after each half of a sweep.
    pub(super) fn have_mixed(&mut self, particles: &Particles, limit: usize) -> bool {
        if self.half == 1 {
            return false;
        }
        if self.sweeps >= limit {
            return true;
        }
        if !self.sweeps.is_power_of_two() {
            return false;
        }
        let distance = self.distance_from_start(particles);
        let mixed = distance <= FARTHER * self.distance;
        self.distance = distance;
        // A few designs that moved say nothing of the others.
        mixed && self.sweeps >= LEAST_SWEEPS && self.accepted >= 2 * particles.count()
    }

    fn distance_from_start(&self, particles: &Particles) -> f64 {
        let rows = particles.x.rows().into_iter().zip(self.start.rows());
        let squares = rows.flat_map(|(now, start)| {
            let values = now.into_iter().zip(start).zip(&self.deviations);
            values.map(
                |((now, start), deviation)| {
                    if *deviation > 0.0 { ((now - start) / deviation).powi(2) } else { 0.0 }
                },
            )
        });
        squares.sum::<f64>() / particles.count() as f64
    }
}

fn select<T: Copy>(values: &[T], places: &[usize]) -> Vec<T> {
    places.iter().map(|place| values[*place]).collect()
}
