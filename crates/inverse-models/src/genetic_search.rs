//! A genetic algorithm: the search that most inverse design without networks is done with.
//!
//! One population a target. A child of two parents, each the winner of a tournament of two, mixes their variables by
//! simulated binary crossover (Deb and Agrawal 1995), some of its variables mutate, and it enters the population in
//! place of the worst where it is better than that: a steady state (Whitley 1989), which learns from every call.

use std::fmt;

use inverse_core::{
    Domain, InvalidArgument, Proposals, ProposeError, Search, check_answered, check_answers, check_matrix,
};
use ndarray::{Array1, Array2, Array3, ArrayView1, ArrayView2, Axis};
use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

/// Children lie near their parents: the usual distribution index of simulated binary crossover is 2 to 20.
const CROSSOVER_INDEX: f64 = 10.0;

/// How a genetic algorithm breeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GeneticSearchSettings {
    /// Probability that a child mixes its parents; else it is a copy of the first, mutated.
    pub crossover_rate: f64,
    /// Deviation of a mutation, as a share of the spread that the population has in that variable.
    pub mutation_share: f64,
}

impl Default for GeneticSearchSettings {
    fn default() -> Self {
        Self { crossover_rate: 0.9, mutation_share: 0.5 }
    }
}

/// One member of a population.
struct Individual {
    x: Array1<f64>,
    error: f64,
}

/// A genetic algorithm for each target, one design a call.
///
/// ```
/// use inverse_core::{Domain, FnSimulator, Proposals, RandomStreams};
/// use inverse_metrics::resimulate_search;
/// use inverse_models::{GeneticSearch, GeneticSearchSettings};
/// use ndarray::{Array3, array};
/// use rand::RngExt;
///
/// let square = FnSimulator::new(2, 1, |x, y| y[0] = x[0] * x[0] + x[1])?;
/// let mut rng = RandomStreams::new(1).stream("search", 0);
/// let population = Proposals::new(Array3::from_shape_fn((1, 20, 2), |_| rng.random_range(-1.0..1.0)))?;
/// let domain = Domain::from_bounds(&[-1.0; 2], &[1.0; 2])?;
/// let y = array![[0.5]];
/// let settings = GeneticSearchSettings::default();
/// let mut search = GeneticSearch::new(&domain, population, y.view(), 200, &settings)?;
/// let errors = resimulate_search(&square, &mut search, y.view(), 200, &mut rng)?;
/// assert!(errors.mean(200)? < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct GeneticSearch {
    settings: GeneticSearchSettings,
    lower: Array1<f64>,
    upper: Array1<f64>,
    /// Designs of the first generation, (targets, n, `dim_x`).
    founders: Array3<f64>,
    y: Array2<f64>,
    populations: Vec<Vec<Individual>>,
    asked: Option<Array2<f64>>,
    calls: usize,
    budget: usize,
}

impl fmt::Debug for GeneticSearch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = formatter.debug_struct("GeneticSearch");
        text.field("settings", &self.settings).field("targets", &self.y.nrows());
        text.field("calls", &self.calls).finish_non_exhaustive()
    }
}

impl GeneticSearch {
    /// A search whose first calls are `founders`, in order: draws of the prior, or any model's proposals.
    ///
    /// * `domain`: children stay inside
    /// * `founders`: finite designs, (targets, n, `dim_x`); n is the size of a population
    /// * `y`: targets, (targets, `dim_y`)
    /// * `budget`: calls a target
    ///
    /// # Errors
    /// [`ProposeError::InvalidArgument`] where a setting is out of bounds, shapes disagree, a value is not finite, there
    /// are fewer than two founders, or `budget` is 0.
    pub fn new(
        domain: &Domain,
        founders: Proposals,
        y: ArrayView2<'_, f64>,
        budget: usize,
        settings: &GeneticSearchSettings,
    ) -> Result<Self, ProposeError> {
        check_matrix("y", y, y.ncols())?;
        let (targets, count, dim_x) = founders.designs().dim();
        if (targets, dim_x) != (y.nrows(), domain.dim()) {
            let expected = format!("{} targets of {} variables, as `domain`", y.nrows(), domain.dim());
            return Err(InvalidArgument::new("founders", expected, format!("{targets} of {dim_x}")).into());
        }
        if count < 2 {
            return Err(InvalidArgument::new("founders", "at least 2 a target", count).into());
        }
        for designs in founders.designs().axis_iter(Axis(0)) {
            check_matrix("founders", designs, dim_x)?;
        }
        if budget == 0 {
            return Err(InvalidArgument::new("budget", "at least one call", 0).into());
        }
        if !(0.0..=1.0).contains(&settings.crossover_rate) {
            let found = settings.crossover_rate;
            return Err(InvalidArgument::new("crossover_rate", "a share from 0 to 1", found).into());
        }
        if !(settings.mutation_share >= 0.0 && settings.mutation_share.is_finite()) {
            let found = settings.mutation_share;
            return Err(InvalidArgument::new("mutation_share", "a number of at least 0", found).into());
        }
        Ok(Self {
            settings: settings.clone(),
            lower: domain.lower(),
            upper: domain.upper(),
            founders: founders.designs().to_owned(),
            y: y.to_owned(),
            populations: (0..targets).map(|_| Vec::with_capacity(count)).collect(),
            asked: None,
            calls: 0,
            budget,
        })
    }

    /// A child of two parents of a whole population.
    fn child(&self, population: &[Individual], rng: &mut dyn Rng) -> Array1<f64> {
        let (first, second) = (tournament(population, rng), tournament(population, rng));
        let mixes = rng.random_bool(self.settings.crossover_rate);
        let count = population.len() as f64;
        let mut child = first.x.clone();
        for (variable, value) in child.iter_mut().enumerate() {
            if mixes && rng.random_bool(0.5) {
                let (near, far) = (*value, second.x[variable]);
                *value = 0.5 * (near + far) + 0.5 * crossover_spread(rng) * (near - far);
            }
            if rng.random_bool(1.0 / first.x.len() as f64) {
                let mean = population.iter().map(|member| member.x[variable]).sum::<f64>() / count;
                let squares = population.iter().map(|member| (member.x[variable] - mean).powi(2));
                let spread = (squares.sum::<f64>() / count).sqrt();
                let normal: f64 = StandardNormal.sample(rng);
                *value += self.settings.mutation_share * spread * normal;
            }
            *value = value.max(self.lower[variable]).min(self.upper[variable]);
        }
        child
    }
}

/// The better of two members drawn at random.
fn tournament<'a>(population: &'a [Individual], rng: &mut dyn Rng) -> &'a Individual {
    let mut draw = || &population[rng.random_range(0..population.len())];
    let (first, second) = (draw(), draw());
    if second.error < first.error { second } else { first }
}

/// β of simulated binary crossover: how far a child lies from its parents' middle, in units of their half distance.
fn crossover_spread(rng: &mut dyn Rng) -> f64 {
    let u: f64 = rng.random_range(0.0..1.0);
    let ratio = if u <= 0.5 { 2.0 * u } else { 0.5 / (1.0 - u) };
    ratio.powf(1.0 / (CROSSOVER_INDEX + 1.0))
}

fn mean_squared_error(answer: ArrayView1<'_, f64>, target: ArrayView1<'_, f64>) -> f64 {
    let squares = answer.iter().zip(target).map(|(answer, target)| (answer - target).powi(2));
    let error = squares.sum::<f64>() / target.len() as f64;
    if error.is_nan() { f64::INFINITY } else { error }
}

impl Search for GeneticSearch {
    fn ask(&mut self, rng: &mut dyn Rng) -> Result<Array2<f64>, ProposeError> {
        if self.calls == self.budget {
            return Err(InvalidArgument::new("budget", "no more calls than it allows", "one more").into());
        }
        check_answered(self.asked.is_some())?;
        let mut designs = Array2::zeros((self.y.nrows(), self.lower.len()));
        for (target, mut row) in designs.rows_mut().into_iter().enumerate() {
            if self.calls < self.founders.dim().1 {
                row.assign(&self.founders.index_axis(Axis(0), target).row(self.calls));
            } else {
                row.assign(&self.child(&self.populations[target], rng));
            }
        }
        self.calls += 1;
        self.asked = Some(designs.clone());
        Ok(designs)
    }

    fn tell(&mut self, y: ArrayView2<'_, f64>) -> Result<(), ProposeError> {
        check_answers(y, self.y.dim())?;
        let Some(designs) = self.asked.take() else {
            return Err(InvalidArgument::new("y", "answers to designs that were asked for", "others").into());
        };
        let founding = self.calls <= self.founders.dim().1;
        for (target, (x, population)) in designs.rows().into_iter().zip(&mut self.populations).enumerate() {
            let individual =
                Individual { x: x.to_owned(), error: mean_squared_error(y.row(target), self.y.row(target)) };
            if founding {
                population.push(individual);
            } else if let Some(worst) =
                population.iter_mut().max_by(|first, second| first.error.total_cmp(&second.error))
                && individual.error < worst.error
            {
                *worst = individual;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use inverse_core::RandomStreams;
    use ndarray::array;

    use super::*;

    fn domain() -> Domain {
        Domain::from_bounds(&[-1.0, 0.0], &[1.0, 2.0]).unwrap()
    }

    fn search(budget: usize, settings: &GeneticSearchSettings) -> Result<GeneticSearch, ProposeError> {
        let founders = Proposals::new(array![[[0.5, 1.0], [-0.5, 1.5], [0.9, 0.1]]]).unwrap();
        GeneticSearch::new(&domain(), founders, array![[0.0]].view(), budget, settings)
    }

    #[test]
    fn founders_come_first_and_the_fittest_survive() {
        let mut rng = RandomStreams::new(1).stream("search", 0);
        let mut search = search(6, &GeneticSearchSettings::default()).unwrap();
        for (expected, answer) in [([0.5, 1.0], 3.0), ([-0.5, 1.5], f64::NAN), ([0.9, 0.1], 2.0)] {
            assert_eq!(search.ask(&mut rng).unwrap().row(0).to_vec(), expected);
            search.tell(array![[answer]].view()).unwrap();
        }
        let child = search.ask(&mut rng).unwrap().row(0).to_owned();
        search.tell(array![[1.0]].view()).unwrap();
        let errors: Vec<f64> = search.populations[0].iter().map(|member| member.error).collect();
        assert_eq!(errors, [9.0, 1.0, 4.0], "the member without an answer makes room");
        assert_eq!(search.populations[0][1].x, child);
        search.ask(&mut rng).unwrap();
        search.tell(array![[7.0]].view()).unwrap();
        assert!(search.populations[0].iter().all(|member| member.error < 49.0), "worse than all: not kept");
        search.ask(&mut rng).unwrap();
        search.tell(array![[7.0]].view()).unwrap();
        assert!(search.ask(&mut rng).is_err() && search.tell(array![[7.0]].view()).is_err());
    }

    #[test]
    fn a_question_waits_for_the_answer_to_the_one_before() {
        let mut rng = RandomStreams::new(1).stream("search", 0);
        let mut search = search(6, &GeneticSearchSettings::default()).unwrap();
        let first = search.ask(&mut rng).unwrap();
        for _ in 0..6 {
            let error = search.ask(&mut rng).unwrap_err().to_string();
            assert_eq!(error, "invalid `y`: expected answers to what was asked for, found another question");
        }
        search.tell(array![[f64::NAN]].view()).unwrap();
        assert_ne!(search.ask(&mut rng).unwrap(), first, "no founder is lost");
    }

    #[test]
    fn children_stay_in_the_domain() {
        let mut rng = RandomStreams::new(2).stream("search", 0);
        let mut search =
            search(200, &GeneticSearchSettings { mutation_share: 5.0, ..Default::default() }).unwrap();
        for call in 0..200 {
            let x = search.ask(&mut rng).unwrap();
            assert!(x[[0, 0]].abs() <= 1.0 && (0.0..=2.0).contains(&x[[0, 1]]), "{x}");
            search.tell(array![[f64::from(call)]].view()).unwrap();
        }
    }

    #[test]
    fn what_cannot_be_bred_is_refused() {
        let argument = |result: Result<GeneticSearch, ProposeError>| match result {
            Err(ProposeError::InvalidArgument(error)) => error.argument,
            other => panic!("{other:?}"),
        };
        let default = GeneticSearchSettings::default();
        assert_eq!(argument(search(0, &default)), "budget");
        let bad = GeneticSearchSettings { crossover_rate: 1.5, ..default.clone() };
        assert_eq!(argument(search(5, &bad)), "crossover_rate");
        let bad = GeneticSearchSettings { mutation_share: f64::NAN, ..default.clone() };
        assert_eq!(argument(search(5, &bad)), "mutation_share");
        let one = Proposals::new(array![[[0.5, 1.0]]]).unwrap();
        assert_eq!(
            argument(GeneticSearch::new(&domain(), one, array![[0.0]].view(), 5, &default)),
            "founders"
        );
    }
}
