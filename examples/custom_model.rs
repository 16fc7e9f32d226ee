//! An inverse model of your own, scored with r_T: nearest neighbours with a little noise.
//!
//! `cargo run --release --example custom_model`

use inverse::core::{FitError, ProposeError, check_request};
use inverse::prelude::*;
use ndarray::{Array2, Array3, ArrayView2};
use rand::Rng;
use rand_distr::{Distribution, Normal};
use serde::{Deserialize, Serialize};

/// The settings: how far proposals scatter around the neighbours, in units of x.
#[derive(Serialize, Deserialize)]
struct NearestNeighbour {
    scatter: f64,
}

/// The model: the data it was fitted to.
struct Neighbours {
    x: Array2<f64>,
    y: Array2<f64>,
    noise: Normal<f64>,
}

impl Method for NearestNeighbour {
    type Model = Neighbours;

    fn fit(&self, data: &Dataset, _context: &mut FitContext<'_>) -> Result<Neighbours, FitError> {
        let noise = Normal::new(0.0, self.scatter).map_err(|error| FitError::Backend(Box::new(error)))?;
        Ok(Neighbours { x: data.x().to_owned(), y: data.y().to_owned(), noise })
    }
}

impl InverseModel for Neighbours {
    fn name(&self) -> &'static str {
        "nearest neighbour"
    }

    fn dim_x(&self) -> usize {
        self.x.ncols()
    }

    fn dim_y(&self) -> usize {
        self.y.ncols()
    }

    fn propose(
        &self,
        y: ArrayView2<'_, f64>,
        n: usize,
        rng: &mut dyn Rng,
    ) -> Result<Proposals, ProposeError> {
        check_request(y, self.dim_y(), n, self.x.nrows())?;
        let mut designs = Array3::zeros((y.nrows(), n, self.dim_x()));
        for (target, mut designs) in y.rows().into_iter().zip(designs.outer_iter_mut()) {
            let distance = |row: &usize| (&self.y.row(*row) - &target).mapv(|d| d * d).sum();
            let mut rows: Vec<usize> = (0..self.x.nrows()).collect();
            rows.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
            for (mut design, row) in designs.rows_mut().into_iter().zip(rows) {
                design.assign(&self.x.row(row).mapv(|value| value + self.noise.sample(rng)));
            }
        }
        Ok(Proposals::new(designs)?)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let streams = RandomStreams::new(1);
    let task = inverse::tasks::by_name("robotic-arm")?;
    let data = Dataset::from_task(&*task, 10_000, &mut streams.stream("data", 0))?;
    let model = NearestNeighbour { scatter: 0.01 }.fit(&data, &mut FitContext::new(1))?;

    let targets = Dataset::from_task(&*task, 50, &mut streams.stream("targets", 0))?;
    let proposals = model.propose(targets.y(), 100, &mut streams.stream("propose", 0))?;
    let errors = resimulate(&*task, &proposals, targets.y())?;
    for t in [1, 10, 100] {
        let interval = errors.confidence_interval(t, 0.95, 2000, &mut streams.stream("bootstrap", 0))?;
        println!("r_{t} = {:.2e} ({:.2e} to {:.2e})", errors.mean(t)?, interval.lower, interval.upper);
    }
    Ok(())
}
