//! One target's designs, on their way from the prior to its posterior.

use inverse_core::{InvalidArgument, MeasurementNoise, Prior, Stream, check_log_densities, check_matrix};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use rand::seq::index;
use rayon::prelude::*;

use super::exponent::next_exponent;
use super::moves::{Moves, Proposed};
use super::{BLOCK, TemperedSettings};
use crate::relative_weights::RelativeWeights;

/// How many times as many designs of the prior may be drawn as have to explain the measurement at all.
const PATIENCE: u64 = 1000;

/// Steps of the exponent after which a posterior is given up.
const LARGEST_STEPS: usize = 1000;

/// The share of designs that may have another's value before a variable counts as discrete: numbers may have been rounded.
const LARGEST_TIED_SHARE: f64 = 0.01;

/// What populations ask about designs, short of the simulator.
pub(super) struct Densities<'a> {
    pub(super) prior: &'a dyn Prior,
    pub(super) noise: &'a dyn MeasurementNoise,
}

impl Densities<'_> {
    /// log p(y | f(x)) of each answer f(x), (n, `dim_y`); −∞ where one is not finite.
    ///
    /// * `y`: one measurement, (`dim_y`)
    pub(super) fn log_likelihood(
        &self,
        y: ArrayView1<'_, f64>,
        answers: ArrayView2<'_, f64>,
    ) -> Result<Vec<f64>, InvalidArgument> {
        let blocks: Vec<_> = answers.axis_chunks_iter(Axis(0), BLOCK).collect();
        let blocks = blocks.into_par_iter().map(|answers| {
            let answered = |row: &usize| answers.row(*row).iter().all(|value| value.is_finite());
            let rows: Vec<usize> = (0..answers.nrows()).filter(answered).collect();
            let y = y.broadcast((rows.len(), y.len()));
            let y = y.ok_or_else(|| InvalidArgument::new("y", "a row", "none"))?;
            let logs = self.noise.log_likelihood(answers.select(Axis(0), &rows).view(), y)?;
            check_log_densities("noise", &logs, rows.len())?;
            let mut all = vec![f64::NEG_INFINITY; answers.nrows()];
            rows.into_iter().zip(logs).for_each(|(row, log)| all[row] = log);
            Ok(all)
        });
        Ok(blocks.collect::<Result<Vec<_>, InvalidArgument>>()?.concat())
    }
}

/// Designs with the logarithms of their prior density and likelihood.
#[derive(Clone)]
pub(super) struct Particles {
    /// (n, `dim_x`)
    pub(super) x: Array2<f64>,
    pub(super) log_prior: Vec<f64>,
    pub(super) log_likelihood: Vec<f64>,
}

impl Particles {
    fn none(dim_x: usize) -> Self {
        Self { x: Array2::zeros((0, dim_x)), log_prior: Vec::new(), log_likelihood: Vec::new() }
    }

    /// log p(x) + log p(y | f(x)) of each.
    pub(super) fn log_joint(&self) -> Array1<f64> {
        self.log_prior
            .iter()
            .zip(&self.log_likelihood)
            .map(|(prior, likelihood)| prior + likelihood)
            .collect()
    }

    pub(super) fn count(&self) -> usize {
        self.log_prior.len()
    }

    fn select(&self, rows: &[usize]) -> Self {
        let of = |logs: &[f64]| rows.iter().map(|row| logs[*row]).collect();
        Self {
            x: self.x.select(Axis(0), rows),
            log_prior: of(&self.log_prior),
            log_likelihood: of(&self.log_likelihood),
        }
    }
}

/// What a population has asked for.
enum Asked {
    /// Designs of the prior.
    Start(Array2<f64>),
    /// Moves of one half.
    Moves(Proposed),
    Nothing,
}

/// One target's designs.
pub(super) struct Population {
    rng: Stream,
    y: Array1<f64>,
    count: usize,
    settings: TemperedSettings,
    asked: Asked,
    /// None until there are enough of any likelihood at all.
    moves: Option<Moves>,
    particles: Particles,
    /// Designs of the prior that were drawn.
    drawn: u64,
    exponent: f64,
    steps: usize,
    log_evidence: f64,
    simulations: u64,
    done: bool,
}

impl Population {
    /// A population of at least `n` designs, before any is drawn.
    pub(super) fn new(
        y: ArrayView1<'_, f64>,
        dim_x: usize,
        n: usize,
        settings: &TemperedSettings,
        rng: Stream,
    ) -> Self {
        Self {
            rng,
            y: y.to_owned(),
            count: settings.particles.max(n),
            settings: settings.clone(),
            asked: Asked::Nothing,
            moves: None,
            particles: Particles::none(dim_x),
            drawn: 0,
            exponent: 0.0,
            steps: 0,
            log_evidence: 0.0,
            simulations: 0,
            done: false,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    pub(super) fn log_evidence(&self) -> f64 {
        self.log_evidence
    }

    pub(super) fn simulations(&self) -> u64 {
        self.simulations
    }

    /// `n` of the designs, each no more than once.
    pub(super) fn draws(&mut self, n: usize) -> Particles {
        let rows = index::sample(&mut self.rng, self.particles.count(), n).into_vec();
        self.particles.select(&rows)
    }

    /// Designs to be simulated, (n, `dim_x`); there may be none.
    pub(super) fn ask(&mut self, densities: &Densities<'_>) -> Result<Array2<f64>, InvalidArgument> {
        let dim_x = self.particles.x.ncols();
        let (asked, x) = if self.done {
            (Asked::Nothing, Array2::zeros((0, dim_x)))
        } else if let Some(moves) = &mut self.moves {
            let proposed = moves.propose(&self.particles, densities.prior, &mut self.rng)?;
            let x = proposed.x.clone();
            (Asked::Moves(proposed), x)
        } else {
            let x = densities.prior.sample(self.count, &mut self.rng);
            check_matrix("task", x.view(), dim_x)?;
            if x.nrows() != self.count {
                let expected = format!("a prior that gives {} designs when asked to", self.count);
                return Err(InvalidArgument::new("task", expected, x.nrows()));
            }
            (Asked::Start(x.clone()), x)
        };
        self.asked = asked;
        self.simulations += x.nrows() as u64;
        Ok(x)
    }

    /// Takes what the designs measure, (n, `dim_y`); rows that are not finite have no answer.
    pub(super) fn tell(
        &mut self,
        answers: ArrayView2<'_, f64>,
        densities: &Densities<'_>,
    ) -> Result<(), InvalidArgument> {
        let asked = std::mem::replace(&mut self.asked, Asked::Nothing);
        if matches!(asked, Asked::Nothing) {
            return Ok(());
        }
        let log_likelihood = densities.log_likelihood(self.y.view(), answers)?;
        match (asked, &mut self.moves) {
            (Asked::Start(x), _) => self.start(&x, &log_likelihood, densities.prior),
            (Asked::Moves(proposed), Some(moves)) => {
                moves.accept(proposed, &log_likelihood, &mut self.particles, &mut self.rng);
                if moves.have_mixed(&self.particles, self.settings.move_limit) {
                    self.step()?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Keeps designs of the prior that have any likelihood, until there are enough: a step from the exponent 0 to the least
    /// above it.
    fn start(
        &mut self,
        x: &Array2<f64>,
        log_likelihood: &[f64],
        prior: &dyn Prior,
    ) -> Result<(), InvalidArgument> {
        let log_prior = log_prior(prior, x)?;
        for (row, x) in x.rows().into_iter().enumerate() {
            if self.particles.count() == self.count {
                break;
            }
            self.drawn += 1;
            if log_prior[row] > f64::NEG_INFINITY && log_likelihood[row] > f64::NEG_INFINITY {
                let pushed = self.particles.x.push_row(x);
                pushed.map_err(|error| InvalidArgument::new("task", "designs of one width", error))?;
                self.particles.log_prior.push(log_prior[row]);
                self.particles.log_likelihood.push(log_likelihood[row]);
            }
        }
        let found = self.particles.count();
        if found == self.count {
            check_continuous(&self.particles.x)?;
            self.log_evidence = (found as f64 / self.drawn as f64).ln();
            return self.step();
        }
        if self.drawn >= PATIENCE.saturating_mul(self.count as u64) {
            let expected = "measurements that designs of the prior explain";
            return Err(InvalidArgument::new("y", expected, format!("{found} of {}", self.drawn)));
        }
        Ok(())
    }

    /// Raises the likelihood's exponent, and draws designs again by their weights; done where it was 1.
    fn step(&mut self) -> Result<(), InvalidArgument> {
        if self.exponent == 1.0 {
            self.done = true;
            return Ok(());
        }
        if self.steps == LARGEST_STEPS {
            let expected = format!("measurements whose likelihood is reached in {LARGEST_STEPS} steps");
            return Err(InvalidArgument::new("y", expected, format!("its power {}", self.exponent)));
        }
        let logs = &self.particles.log_likelihood;
        let next = next_exponent(logs, self.exponent, self.settings.effective_share);
        let weights = RelativeWeights::new(logs, next - self.exponent);
        self.log_evidence += weights.log_mean();
        // In random order, copies of one design come into both halves.
        let rows = weights.resample(&mut self.rng)?;
        self.particles = self.particles.select(&rows);
        self.exponent = next;
        self.steps += 1;
        let scale = self.moves.as_ref().map(Moves::scale);
        self.moves = Some(Moves::new(&self.particles, next, scale));
        Ok(())
    }
}

/// log p(x) of each design, below infinity.
pub(super) fn log_prior(prior: &dyn Prior, x: &Array2<f64>) -> Result<Array1<f64>, InvalidArgument> {
    let logs = prior.log_density(x.view());
    let logs = logs.ok_or_else(|| InvalidArgument::new("task", "one whose prior has a density", "none"))?;
    check_log_densities("task", &logs, x.nrows())?;
    Ok(logs)
}

/// Whether hardly any two designs agree in a variable: moves never meet a discrete one's values.
fn check_continuous(x: &Array2<f64>) -> Result<(), InvalidArgument> {
    for (variable, column) in x.columns().into_iter().enumerate() {
        let mut values = column.to_vec();
        values.sort_by(f64::total_cmp);
        let tied = values.windows(2).filter(|pair| pair[0] == pair[1]).count();
        if tied as f64 > LARGEST_TIED_SHARE * values.len() as f64 {
            let found = format!("one value of x{} more than once in {} designs", variable + 1, values.len());
            return Err(InvalidArgument::new("task", "a prior of continuous variables", found));
        }
    }
    Ok(())
}
