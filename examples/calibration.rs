//! Whether each method's proposals are draws of the posterior p(x | y), checked without any posterior.
//!
//! `cargo run --release --example calibration [-- --profile paper --task D1 --method cinn]`
//!
//! Table 4 compares proposals with a reference that rejection has to draw, with up to a billion simulations a target, and
//! that it cannot draw for D4. Ranks need only pairs: the design behind a measurement is one more draw of the posterior.
//! The trainings are those of `table3`. Proposals for as many new measurements are ranked by
//!
//! * each variable of x: the least p-value of them all, times their number;
//! * the distance from the training design whose measurement is nearest, which also finds models that are deaf to
//!   measurements;
//! * the model's own density, where it has one: what share of the pairs lies in its regions of highest density.
//!
//! The figure shows, over each credibility, the share of true values in that middle part of the draws, a mean over the
//! variables: below the diagonal draws are too narrow, above it too broad.
//!
//! The first row of a task is no method: draws from the prior, deaf to measurements. The last columns are the mean of
//! log p̂(x | y) over the pairs, in nats per unit of volume of x, and the share of proposals that were moved inside the
//! range of the training designs.

use std::process::ExitCode;

use clap::Parser;
use inverse::bench::{
    LineFigure, LinePanel, Series, Study, StudyArguments, StudyError, Table, exit_code, scientific,
};
use inverse::core::{InvalidArgument, LARGEST_PAIRS};
use inverse::metrics::RankStatistics;
use inverse::models::{AnyMethod, method_by_name};
use inverse::prelude::*;
use ndarray::{Array2, Array3, ArrayView2};
use rand::Rng;
use serde::Serialize;

/// Ranks true designs among each method's proposals.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    study: StudyArguments,
    /// New pairs a task.
    #[arg(long, default_value_t = 1000, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(10..=100_000))]
    pairs: usize,
    /// Proposals a pair; best one less than a multiple of 20, so that bins are equal.
    #[arg(long, default_value_t = 199, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=10_000))]
    draws: usize,
}

/// One line of `calibration.csv`; shares are of pairs, empty where the model has no density.
#[derive(Serialize)]
struct Row {
    task: String,
    method: String,
    /// The least of the variables' p-values, times their number, at most 1.
    p_variables: f64,
    p_distance: f64,
    p_density: Option<f64>,
    /// Means over the variables.
    central_50: f64,
    central_90: f64,
    highest_density_50: Option<f64>,
    highest_density_90: Option<f64>,
    log_density: Option<f64>,
    /// Share of proposals that were moved inside the range of the training designs; empty where a method does not say.
    moved_inside: Option<f64>,
}

/// What the ranks of one method on one task say.
struct Outcome {
    row: Row,
    /// (credibility, share), a mean over the variables.
    coverage: Vec<(f64, f64)>,
}

/// New pairs of a task, and what is known of the measurements without any method.
struct Pairs {
    task: String,
    data: Dataset,
    /// Training designs whose measurements are nearest, (pairs, `dim_x`).
    references: Array2<f64>,
    streams: RandomStreams,
}

impl Pairs {
    fn outcome(
        &self,
        method: &str,
        proposals: &Proposals,
        model: Option<&dyn InverseModel>,
    ) -> Result<Outcome, StudyError> {
        let (x, y) = (self.data.x(), self.data.y());
        let mut ties = self.streams.stream("calibration ties", 0);
        let variables = RankStatistics::of_variables(x, proposals, &mut ties)?;
        let distances = RankStatistics::of_distances(x, proposals, self.references.view(), &mut ties)?;
        let densities = match model {
            Some(model) => RankStatistics::of_densities(model, x, y, proposals, &mut ties)?,
            None => None,
        };
        let log = model.map(|model| model.log_density(x, y)).transpose()?.flatten();
        let upper = |credibility: f64| {
            densities.as_ref().map(|ranks| ranks.upper_coverage(0, credibility)).transpose()
        };
        let coverage = (0..=20).map(|step| {
            let credibility = f64::from(step) / 20.0;
            Ok((credibility, variables.mean_central_coverage(credibility)?))
        });
        let coverage = coverage.collect::<Result<_, StudyError>>()?;
        let row = Row {
            task: self.task.clone(),
            method: method.to_owned(),
            p_variables: variables.least_p_value()?,
            p_distance: distances.uniformity_p_value(0)?,
            p_density: densities.as_ref().map(|ranks| ranks.uniformity_p_value(0)).transpose()?,
            central_50: variables.mean_central_coverage(0.5)?,
            central_90: variables.mean_central_coverage(0.9)?,
            highest_density_50: upper(0.5)?,
            highest_density_90: upper(0.9)?,
            log_density: log.and_then(|log| log.mean()),
            moved_inside: moved_inside(proposals),
        };
        Ok(Outcome { row, coverage })
    }
}

fn moved_inside(proposals: &Proposals) -> Option<f64> {
    let moved = proposals.moved_inside()?;
    Some(moved.iter().filter(|moved| **moved).count() as f64 / moved.len() as f64)
}

/// Draws from the prior for every pair.
fn deaf(task: &dyn Task, pairs: usize, draws: usize, rng: &mut dyn Rng) -> Result<Proposals, StudyError> {
    let designs = task.prior().sample(pairs * draws, rng);
    let shape = (pairs, draws, designs.ncols());
    let designs =
        Array3::from_shape_fn(shape, |(pair, draw, variable)| designs[[pair * draws + draw, variable]]);
    Ok(Proposals::new(designs)?)
}

fn nearest(study: &Study, task: &dyn Task, y: ArrayView2<'_, f64>) -> Result<Array2<f64>, StudyError> {
    let method = method_by_name(NearestNeighbor::NAME, task.name(), study.arguments().profile().source())?;
    let (model, _) = study.best_model(task, &*method)?;
    let mut unused = RandomStreams::new(study.arguments().seed()).stream("calibration references", 0);
    let proposals = model.propose(y, 1, &mut unused)?;
    let nearest =
        proposals.rank(0).ok_or_else(|| InvalidArgument::new("y", "a proposal for each target", "none"))?;
    Ok(nearest.to_owned())
}

fn calibrate(study: &Study, task: &dyn Task, arguments: &Arguments) -> Result<Vec<Outcome>, StudyError> {
    let streams = RandomStreams::new(study.arguments().seed());
    let data = Dataset::from_task(task, arguments.pairs, &mut streams.stream("calibration pairs", 0))?;
    let references = nearest(study, task, data.y())?;
    let prior = deaf(task, arguments.pairs, arguments.draws, &mut streams.stream("calibration prior", 0))?;
    let pairs = Pairs { task: task.name().to_owned(), data, references, streams };
    let mut outcomes = vec![pairs.outcome("prior", &prior, None)?];
    for name in study.methods() {
        let method: Box<dyn AnyMethod> =
            method_by_name(name, task.name(), study.arguments().profile().source())?;
        let (model, _) = study.best_model(task, &*method)?;
        let mut rng = pairs.streams.stream("calibration proposals", 0);
        let proposals = model.propose(pairs.data.y(), arguments.draws, &mut rng)?;
        outcomes.push(pairs.outcome(method.label(), &proposals, Some(&*model))?);
    }
    Ok(outcomes)
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&[
        "task",
        "method",
        "p, variables",
        "p, distance",
        "p, density",
        "central 50%",
        "central 90%",
        "densest 50%",
        "densest 90%",
        "log density",
        "moved inside",
    ]);
    let percent =
        |share: Option<f64>| share.map(|share| format!("{:.1}%", 100.0 * share)).unwrap_or_default();
    for row in rows {
        table.push(vec![
            row.task.clone(),
            row.method.clone(),
            scientific(row.p_variables),
            scientific(row.p_distance),
            row.p_density.map(scientific).unwrap_or_default(),
            percent(Some(row.central_50)),
            percent(Some(row.central_90)),
            percent(row.highest_density_50),
            percent(row.highest_density_90),
            row.log_density.map(|log| format!("{log:.2}")).unwrap_or_default(),
            percent(row.moved_inside),
        ]);
    }
    table
}

fn panel(outcomes: &[Outcome]) -> LinePanel {
    // The prior's row is left out: as many lines as there are colours remain.
    let lines = outcomes
        .iter()
        .skip(1)
        .map(|outcome| Series { label: outcome.row.method.clone(), points: outcome.coverage.clone() });
    LinePanel {
        title: outcomes.first().map(|outcome| outcome.row.task.clone()).unwrap_or_default(),
        x_label: "credibility".into(),
        y_label: "share of true values".into(),
        y_range: Some((0.0, 1.0)),
        lines: lines.collect(),
        ..LinePanel::default()
    }
}

fn run(arguments: &Arguments) -> Result<(), StudyError> {
    if arguments.pairs * arguments.draws > LARGEST_PAIRS {
        let expected = format!("at most {LARGEST_PAIRS} for all pairs together");
        return Err(InvalidArgument::new("draws", expected, arguments.pairs * arguments.draws).into());
    }
    let study = Study::new(&arguments.study)?;
    let (mut rows, mut panels) = (Vec::new(), Vec::new());
    for task in study.tasks() {
        let outcomes = calibrate(&study, &**task, arguments)?;
        panels.push(panel(&outcomes));
        rows.extend(outcomes.into_iter().map(|outcome| outcome.row));
    }
    let table = table(&rows);
    study.results().write_figure("calibration", &LineFigure { panels })?;
    study.results().write_table("calibration", &rows, &table)?;
    print!("{}", table.text());
    println!("results in {}", study.results().path().display());
    Ok(())
}

fn main() -> ExitCode {
    exit_code(run(&Arguments::parse()))
}
