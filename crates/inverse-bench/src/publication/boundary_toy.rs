//! Figures 6 and 7: why the boundary loss helps, on one period of a sine (section 8.3).
//!
//! A small network knows y = sin x on [-π, π] and makes something up outside. How wrong that is depends on
//! the seed, so several networks are trained. A design looks right when the network puts it within 0.001 of
//! the target: without the boundary loss, designs outside look as right as designs inside, and only rounding
//! ranks them; with it, they do not look right. The figure shows the network that is most wrong about them.

use std::f64::consts::PI;

use inverse_core::{
    BoxPrior, Dataset, FitContext, FnSimulator, InverseModel, Method, RandomStreams, SimulatedTask, Task,
};
use inverse_metrics::resimulate;
use inverse_models::nn::{Activation, TrainingSettings};
use inverse_models::{InputDescentSettings, NeuralAdjoint, NeuralAdjointModel, RegressionSettings, Starts};
use ndarray::{Array2, Axis, array};
use serde::Serialize;

use super::Publication;
use crate::{LineFigure, LinePanel, Series, Study, StudyError, Table, scientific};

/// Networks, where nobody asks for another number.
pub(super) const NETWORKS: u64 = 8;

/// The paper's target.
const TARGET: f64 = 0.6;

/// How near to the target the network must see a design, so that it looks right.
const NEAR: f64 = 1e-3;

/// Designs that descend, and the best of them that count for r_T.
const STARTS: usize = 200;
const BEST: usize = 50;

/// One search: the designs that look right, and the numbers of a line of the table.
struct Search {
    designs: Vec<f64>,
    row: Row,
}

/// One search of one network, as a line of the table.
#[derive(Serialize)]
struct Row {
    seed: u64,
    boundary_loss: bool,
    look_right: usize,
    look_right_outside: usize,
    best_50_outside: usize,
    r_1: f64,
    r_50: f64,
    /// Mean squared error, by the simulator, of the designs that look right.
    mean_error: f64,
}

fn method() -> NeuralAdjoint {
    NeuralAdjoint {
        surrogate: RegressionSettings {
            hidden: vec![30, 30],
            activation: Activation::Relu,
            batch_norm: false,
            encoder: None,
            head: None,
            training: TrainingSettings { epochs: 150, batch_size: 100, ..TrainingSettings::default() },
        },
        start_count: STARTS,
        starts: Starts::Uniform,
        // The authors' weight.
        descent: InputDescentSettings { boundary_weight: 0.1, ..InputDescentSettings::default() },
        levenberg_marquardt: None,
        ensemble: None,
    }
}

fn search(task: &dyn Task, model: &NeuralAdjointModel, seed: u64) -> Result<Search, StudyError> {
    let target = array![[TARGET]];
    let mut rng = RandomStreams::new(seed).stream("starts", 0);
    let proposals = model.propose(target.view(), STARTS, &mut rng)?;
    let errors = resimulate(task, &proposals, target.view())?;
    let all = proposals.designs().index_axis(Axis(0), 0).to_owned();
    let seen = model.surrogate().predict(all.view())?;
    let looks_right = |index: &usize| (seen[[*index, 0]] - TARGET).abs() <= NEAR;
    let chosen: Vec<usize> = (0..STARTS).filter(looks_right).collect();
    let outside = |index: &usize| all[[*index, 0]].abs() > PI;
    let true_errors = chosen.iter().map(|index| errors.errors()[[0, *index]]);
    let row = Row {
        seed,
        boundary_loss: model.settings().descent.boundary_weight > 0.0,
        look_right: chosen.len(),
        look_right_outside: chosen.iter().filter(|index| outside(index)).count(),
        best_50_outside: (0..BEST).filter(outside).count(),
        r_1: errors.mean(1)?,
        r_50: errors.mean(BEST)?,
        mean_error: true_errors.sum::<f64>() / chosen.len() as f64,
    };
    Ok(Search { designs: chosen.iter().map(|index| all[[*index, 0]]).collect(), row })
}

/// The truth and what the network makes of it, far beyond its data.
fn panel(model: &NeuralAdjointModel, found: &Search) -> Result<LinePanel, StudyError> {
    let x = Array2::from_shape_fn((241, 1), |(index, _)| 3.0 * PI * (index as f64 / 120.0 - 1.0));
    let y = model.surrogate().predict(x.view())?;
    let truth = x.iter().map(|x| (*x, x.sin())).collect();
    let network = x.iter().copied().zip(y.iter().copied()).collect();
    let designs = Array2::from_shape_fn((found.designs.len(), 1), |(index, _)| found.designs[index]);
    let seen = model.surrogate().predict(designs.view())?;
    let designs = designs.iter().copied().zip(seen.iter().copied()).collect();
    let series = |label: &str, points| Series { label: label.into(), points };
    let Row { seed, look_right, look_right_outside: outside, boundary_loss, .. } = found.row;
    let with = if boundary_loss { "with" } else { "without" };
    Ok(LinePanel {
        title: format!("{with} boundary loss, seed {seed}: {outside} of {look_right} outside"),
        x_label: "x".into(),
        y_label: "y".into(),
        y_range: Some((-1.5, 2.0)),
        lines: vec![series("sin x", truth), series("network", network)],
        points: vec![series("designs that look right for y = 0.6, as the network sees them", designs)],
        verticals: vec![-PI, PI],
    })
}

impl Study {
    /// Trains small networks on a sine and inverts them with and without the boundary loss.
    ///
    /// * `seed`: of the first network; the others follow it
    ///
    /// # Errors
    /// [`StudyError`] where a training or a search fails.
    pub fn boundary_toy(seed: u64, networks: u64) -> Result<Publication, StudyError> {
        let simulator = FnSimulator::new(1, 1, |x, y| y[0] = x[0].sin())?;
        let task = SimulatedTask::new("sine", simulator, BoxPrior::new(&[-PI], &[PI])?)?;
        let mut rows = Vec::new();
        let mut shown: Option<(f64, Vec<LinePanel>)> = None;
        for seed in (0..networks).map(|network| seed.wrapping_add(network)) {
            let data = Dataset::from_task(&task, 2000, &mut RandomStreams::new(seed).stream("data", 0))?;
            let with = method().fit(&data, &mut FitContext::new(seed))?;
            let off = InputDescentSettings { boundary_weight: 0.0, ..with.settings().descent.clone() };
            let without = with.with_inference(STARTS, Starts::Uniform, off)?;
            let (free, bounded) = (search(&task, &without, seed)?, search(&task, &with, seed)?);
            let wrong = free.row.mean_error;
            if shown.as_ref().is_none_or(|(most, _)| wrong > *most) {
                let panels = vec![panel(&without, &free)?, panel(&with, &bounded)?];
                shown = Some((wrong, panels));
            }
            rows.extend([free.row, bounded.row]);
        }
        let figure = LineFigure { panels: shown.map_or_else(Vec::new, |(_, panels)| panels) };
        let title = "what the boundary loss does on one period of a sine";
        Ok(Publication::new("figure6_7", title)
            .with_table(&rows, table(&rows))?
            .with_figure("figure6_7", figure))
    }
}

fn table(rows: &[Row]) -> Table {
    let header = [
        "seed",
        "L_bnd",
        "look right, of 200",
        "outside",
        "their mean error",
        "best 50: outside",
        "r_1",
        "r_50",
    ];
    let mut table = Table::new(&header);
    for row in rows {
        table.push(vec![
            row.seed.to_string(),
            if row.boundary_loss { "with" } else { "without" }.into(),
            row.look_right.to_string(),
            row.look_right_outside.to_string(),
            scientific(row.mean_error),
            row.best_50_outside.to_string(),
            scientific(row.r_1),
            scientific(row.r_50),
        ]);
    }
    table
}
