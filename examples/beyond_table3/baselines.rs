//! Searches of general use: what inverse design is done with where there is no network.
//!
//! CMA-ES and Nelder–Mead come from crates that own their loop; [`OptimizerSearch`] makes ask/tell searches of them, and
//! counts every call. They work in units of half the domain's range; what leaves the domain is simulated at its edge and
//! pays for its distance.

use std::cell::RefCell;

use argmin::core::{CostFunction, Error, Executor};
use argmin::solver::neldermead::NelderMead;
use cmaes::{CMAESOptions, DVector};
use inverse::core::{Domain, Objective, OptimizerSearch, ProposeError, Stream};
use inverse::models::{GeneticSearch, GeneticSearchSettings, Surrogate};
use inverse::prelude::*;
use ndarray::{Array1, Array2, Array3, ArrayView2, Axis};
use rand::{Rng, RngExt};

/// Members of the genetic algorithm's population.
const POPULATION: usize = 20;

/// The design at z, each variable from −1 to 1, and by how much z lies outside.
fn design(domain: &Domain, z: &[f64]) -> (Vec<f64>, f64) {
    let (center, range) = (domain.center(), domain.range());
    let x = z.iter().enumerate().map(|(i, z)| center[i] + 0.5 * range[i] * z.clamp(-1.0, 1.0));
    let outside = z.iter().map(|z| (z.abs() - 1.0).max(0.0).powi(2)).sum();
    (x.collect(), outside)
}

/// One start of CMA-ES (Hansen 2016) from a random mean; it starts again where it converges.
fn cma_es(domain: &Domain, objective: &mut Objective, stream: &mut Stream) {
    let mean: Vec<f64> = (0..domain.dim()).map(|_| stream.random_range(-1.0..1.0)).collect();
    let options = CMAESOptions::new(mean, 0.5)
        .seed(stream.next_u64())
        .tol_fun(1e-30)
        .tol_x(1e-15)
        .max_function_evals(objective.remaining());
    let evaluate = |z: &DVector<f64>| {
        let (x, outside) = design(domain, z.as_slice());
        objective.call(&x).map_or(f64::INFINITY, |error| error + outside)
    };
    if let Ok(mut state) = options.build(evaluate) {
        state.run();
    }
}

struct Cost<'a> {
    domain: &'a Domain,
    objective: RefCell<&'a mut Objective>,
}

impl CostFunction for Cost<'_> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, z: &Vec<f64>) -> Result<f64, Error> {
        let (x, outside) = design(self.domain, z);
        // An error would end the solver, but in its first evaluations it panics over one.
        Ok(self.objective.borrow_mut().call(&x).map_or(f64::INFINITY, |error| error + outside))
    }
}

/// One descent of Nelder and Mead's simplex (1965) from a random corner; it starts again where the simplex collapses.
fn nelder_mead(domain: &Domain, objective: &mut Objective, stream: &mut Stream) {
    let corner: Vec<f64> = (0..domain.dim()).map(|_| stream.random_range(-1.0..1.0)).collect();
    let mut simplex = vec![corner.clone(); domain.dim() + 1];
    for (variable, vertex) in simplex.iter_mut().skip(1).enumerate() {
        vertex[variable] += if vertex[variable] > 0.0 { -0.5 } else { 0.5 };
    }
    let Ok(solver) = NelderMead::new(simplex).with_sd_tolerance(1e-30) else { return };
    let calls = objective.remaining() as u64;
    let cost = Cost { domain, objective: RefCell::new(objective) };
    // What it has found was recorded call by call.
    let _ended = Executor::new(cost, solver).configure(|state| state.max_iters(calls)).run();
}

/// A search that needs no network.
#[derive(Clone, Copy)]
pub(crate) enum Baseline {
    CmaEs,
    NelderMead,
    Genetic,
}

impl Baseline {
    pub(crate) const ALL: [Self; 3] = [Self::CmaEs, Self::NelderMead, Self::Genetic];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::CmaEs => "CMA-ES",
            Self::NelderMead => "Nelder–Mead",
            Self::Genetic => "genetic algorithm",
        }
    }

    pub(crate) fn search(
        self,
        task: &dyn Task,
        y: ArrayView2<'_, f64>,
        budget: usize,
        rng: &mut dyn Rng,
    ) -> Result<Box<dyn Search>, ProposeError> {
        let (domain, dim_x) = (task.prior().domain().clone(), task.dim_x());
        let start: fn(&Domain, &mut Objective, &mut Stream) = match self {
            Self::CmaEs => cma_es,
            Self::NelderMead => nelder_mead,
            Self::Genetic => {
                let founders = task.prior().sample(y.nrows() * POPULATION, rng);
                let shape = (y.nrows(), POPULATION, dim_x);
                let founders = Array3::from_shape_fn(shape, |(target, member, variable)| {
                    founders[[target * POPULATION + member, variable]]
                });
                let settings = GeneticSearchSettings::default();
                let founders = Proposals::new(founders)?;
                return Ok(Box::new(GeneticSearch::new(&domain, founders, y, budget, &settings)?));
            }
        };
        let run = move |objective: &mut Objective, stream: &mut Stream| start(&domain, objective, stream);
        Ok(Box::new(OptimizerSearch::new(run, dim_x, y, budget, rng)?))
    }
}

/// Runs a search on the surrogate for `evaluations` a target; proposes the `n` designs that it liked best.
pub(crate) fn on_surrogate(
    surrogate: &Surrogate,
    search: &mut dyn Search,
    y: ArrayView2<'_, f64>,
    (evaluations, n): (usize, usize),
    rng: &mut dyn Rng,
) -> Result<Proposals, ProposeError> {
    let (mut designs, mut errors) = (Vec::new(), Vec::new());
    for _ in 0..evaluations {
        let x = search.ask(rng)?;
        let answers = surrogate.predict(x.view())?;
        search.tell(answers.view())?;
        let squared: Array2<f64> = (answers - y).mapv(|difference| difference * difference);
        errors.push(squared.sum_axis(Axis(1)));
        designs.push(x);
    }
    let mut proposals = Array3::zeros((y.nrows(), n, designs[0].ncols()));
    for target in 0..y.nrows() {
        let errors: Array1<f64> = errors.iter().map(|errors| errors[target]).collect();
        let mut order: Vec<usize> = (0..evaluations).collect();
        order.sort_by(|a, b| errors[*a].total_cmp(&errors[*b]));
        for (rank, evaluation) in order.into_iter().take(n).enumerate() {
            proposals.slice_mut(ndarray::s![target, rank, ..]).assign(&designs[evaluation].row(target));
        }
    }
    Ok(Proposals::new(proposals)?)
}
