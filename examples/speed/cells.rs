//! The cells of Tables 2 and 10: four tasks by six methods, at the sizes of the paper's profile.

use std::error::Error;

use inverse::bench::Profile;
use inverse::models::{AnyMethod, any_method};
use inverse::prelude::*;
use serde::Serialize;
use serde_json::Value;

use crate::products::{Product, Products};

pub(crate) const TASKS: [&str; 4] = ["D1", "D2", "D3", "D4"];
pub(crate) const METHODS: [&str; 6] = ["NA", "Tandem", "cVAE", "INN", "cINN", "MDN"];

/// Solutions of Table 2.
pub(crate) const SOLUTIONS: usize = 1000;

/// Everything that the other side must know of a cell.
#[derive(Serialize)]
pub(crate) struct Cell {
    task: &'static str,
    method: &'static str,
    /// The method's settings, with every width, batch size and rate.
    settings: Value,
    dim_x: usize,
    dim_y: usize,
    pairs: usize,
    /// Trainable parameters, for a check that both sides build the same network.
    parameters: usize,
    solutions: usize,
    /// The matrix products of one epoch and of one inference.
    training_products: Vec<Product>,
    inference_products: Vec<Product>,
}

/// All cells, task by task.
pub(crate) fn all() -> Result<Vec<Cell>, Box<dyn Error>> {
    let mut cells = Vec::new();
    for task in TASKS {
        let known = inverse::tasks::by_name(task)?;
        let (dim_x, dim_y) = (known.dim_x(), known.dim_y());
        for method in METHODS {
            let settings = settings(task, method)?;
            let products = Products::new(method, known.name(), (dim_x, dim_y))?;
            cells.push(Cell {
                task,
                method,
                settings: serde_json::from_str(&settings.settings()?)?,
                dim_x,
                dim_y,
                pairs: Profile::Paper.pairs(),
                parameters: settings.parameter_count(dim_x, dim_y),
                solutions: SOLUTIONS,
                training_products: products.epoch,
                inference_products: products.inference,
            });
        }
    }
    Ok(cells)
}

/// The pairs of the paper's profile.
pub(crate) fn data(task: &str) -> Result<Dataset, Box<dyn Error>> {
    let task = inverse::tasks::by_name(task)?;
    Ok(Dataset::from_task(&*task, Profile::Paper.pairs(), &mut RandomStreams::new(1).stream("data", 0))?)
}

/// The paper profile's settings as they are.
fn settings(task: &str, method: &str) -> Result<Box<dyn AnyMethod>, Box<dyn Error>> {
    let task = inverse::tasks::by_name(task)?;
    Ok(inverse::models::method_by_name(method, task.name(), Profile::Paper.source())?)
}

/// The same settings with one epoch in the first of two trainings, and in the last as many as are asked for.
///
/// Gives also the number of trainings before the last.
pub(crate) fn endless(task: &str, method: &str) -> Result<(Box<dyn AnyMethod>, usize), Box<dyn Error>> {
    /// More than anyone will wait for.
    const EPOCHS: usize = 1_000_000;
    let task = inverse::tasks::by_name(task)?;
    let (task, source) = (task.name(), Profile::Paper.source());
    /// A method whose pairs a surrogate may renew: the surrogate is trained first.
    macro_rules! relabelled {
        ($method:ty) => {{
            let mut method = <$method>::preset(task, source)?;
            method.training.epochs = EPOCHS;
            let stages = usize::from(method.relabelling.is_some());
            if let Some(relabelling) = &mut method.relabelling {
                relabelling.surrogate.training.epochs = 1;
            }
            (any_method(method), stages)
        }};
    }
    Ok(match method {
        "NA" => {
            let mut method = NeuralAdjoint::preset(task, source)?;
            method.surrogate.training.epochs = EPOCHS;
            (any_method(method), 0)
        }
        "Tandem" => {
            let mut method = Tandem::preset(task, source)?;
            method.surrogate.training.epochs = 1;
            method.inverse.training.epochs = EPOCHS;
            (any_method(method), 1)
        }
        "cVAE" => relabelled!(ConditionalVae),
        "INN" => relabelled!(InvertibleNetwork),
        "cINN" => relabelled!(ConditionalInvertibleNetwork),
        "MDN" => relabelled!(MixtureDensityNetwork),
        other => return Err(format!("one of {METHODS:?}, found `{other}`").into()),
    })
}
