//! What a generative model's own density is worth: its draws as they come, and the densest of them first.
//!
//! `cargo run --release --example densest_first [-- --task D1 --seed 2]`
//!
//! The trainings are those of `table3`, of the two methods that have a density, on held-out targets of their own. No
//! call of the simulator is spent on the order.

use std::process::ExitCode;

use clap::Parser;
use inverse::bench::{Study, StudyArguments, StudyError, Table, exit_code, scientific};
use inverse::models::{AnyMethod, DensestFirst, method_by_name};
use inverse::prelude::*;
use serde::Serialize;

/// Proposals a target.
const PROPOSALS: usize = 200;
/// Draws that the proposals are the densest of.
const CANDIDATES: [usize; 2] = [PROPOSALS, 10 * PROPOSALS];

/// Orders the draws of MDN and cINN by their density.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    study: StudyArguments,
}

/// One line of `densest_first.csv`.
#[derive(Serialize)]
struct Row {
    task: String,
    method: String,
    /// Draws a target that were ordered; none, where proposals are as drawn.
    candidates: Option<usize>,
    r_1: f64,
    r_5: f64,
    r_50: f64,
    r_200: f64,
}

fn rows(study: &Study, task: &dyn Task, method: &dyn AnyMethod) -> Result<Vec<Row>, StudyError> {
    let streams = RandomStreams::new(study.arguments().seed());
    let targets = study.arguments().targets();
    let data = Dataset::from_task(task, targets, &mut streams.stream("densest first targets", 0))?;
    let (model, _) = study.best_model(task, method)?;
    let row = |model: &dyn InverseModel, candidates: Option<usize>| -> Result<Row, StudyError> {
        let mut rng = streams.stream("densest first", 0);
        let errors = resimulate(task, &model.propose(data.y(), PROPOSALS, &mut rng)?, data.y())?;
        Ok(Row {
            task: task.name().to_owned(),
            method: method.label().to_owned(),
            candidates,
            r_1: errors.mean(1)?,
            r_5: errors.mean(5)?,
            r_50: errors.mean(50)?,
            r_200: errors.mean(PROPOSALS)?,
        })
    };
    let mut rows = vec![row(&*model, None)?];
    let mut model: Box<dyn InverseModel> = model;
    for candidates in CANDIDATES {
        let ordered = DensestFirst::new(model, candidates)?;
        rows.push(row(&ordered, Some(candidates))?);
        model = ordered.into_model();
    }
    Ok(rows)
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["task", "method", "proposals", "r_1", "r_5", "r_50", "r_200"]);
    for row in rows {
        let proposals = match row.candidates {
            None => "as drawn".to_owned(),
            Some(candidates) => format!("densest of {candidates}"),
        };
        let numbers = [row.r_1, row.r_5, row.r_50, row.r_200].map(scientific);
        table.push([row.task.clone(), row.method.clone(), proposals].into_iter().chain(numbers).collect());
    }
    table
}

fn run(arguments: &Arguments) -> Result<(), StudyError> {
    let study = Study::new(&arguments.study)?;
    let mut all = Vec::new();
    for task in study.tasks() {
        for name in [MixtureDensityNetwork::NAME, ConditionalInvertibleNetwork::NAME] {
            let method = method_by_name(name, task.name(), study.arguments().profile().source())?;
            all.extend(rows(&study, &**task, &*method)?);
        }
    }
    let table = table(&all);
    study.results().write_table("densest_first", &all, &table)?;
    print!("{}", table.text());
    println!("results in {}", study.results().path().display());
    Ok(())
}

fn main() -> ExitCode {
    exit_code(run(&Arguments::parse()))
}
